"""Commands about keys of any type, except for expiry (expires.py) and whole databases
(databases.py).

Decides: what each command reads, changes, answers and logs.
Must not know: which types exist (engine.values knows), the log, roles, clocks.
"""

from __future__ import annotations

from typing import Final

from memstore.commands.parse import int32, syntax_error
from memstore.engine import reply
from memstore.engine.command import (
    ALL,
    DENYOOM,
    FAST,
    FIRST,
    FIRST_TWO,
    LOADING,
    READONLY,
    STALE,
    WRITE,
    command,
)
from memstore.engine.context import IGNORE_EXPIRED, Context
from memstore.engine.keyspace import Value
from memstore.engine.reply import CommandError
from memstore.engine.values import SHARED_INTEGERS, parse_integer
from memstore.engine.values.value_types import typed

_SAME_OBJECT: Final = "ERR source and destination objects are the same"
_SECOND: Final = (2, 2, 1)


# ----------------------------------------------------------------- presence


def _delete(ctx: Context, argv: list[bytes]) -> bytes:
    """Delete keys with one DEL effect for each key: a missing key is not in the log."""
    count = 0
    database = ctx.database
    for key in argv[1:]:
        if ctx.lookup(key) is not None:
            database.remove(key)
            ctx.effect(b"DEL", key)
            count += 1
    return reply.integer(count)


@command(
    b"DEL",
    arity=-2,
    flags=WRITE,
    keys=ALL,
    since="1.0.0",
    summary="Deletes keys",
    complexity="O(N), N keys",
)
def delete(ctx: Context, argv: list[bytes]) -> bytes:
    return _delete(ctx, argv)


@command(
    b"UNLINK",
    arity=-2,
    flags=WRITE | FAST,
    keys=ALL,
    since="4.0.0",
    summary="Deletes keys",
    complexity="O(N), N keys",
)
def unlink(ctx: Context, argv: list[bytes]) -> bytes:
    return _delete(ctx, argv)


def _count_present(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.integer(sum([ctx.lookup(key) is not None for key in argv[1:]]))


@command(
    b"EXISTS",
    arity=-2,
    flags=READONLY | FAST,
    keys=ALL,
    since="1.0.0",
    summary="Counts which of the keys named exist",
    complexity="O(N), N keys",
)
def exists(ctx: Context, argv: list[bytes]) -> bytes:
    return _count_present(ctx, argv)


@command(
    b"TOUCH",
    arity=-2,
    flags=READONLY | FAST,
    keys=ALL,
    since="3.2.1",
    summary="Counts which of the keys named exist",
    complexity="O(N), N keys",
)
def touch(ctx: Context, argv: list[bytes]) -> bytes:
    return _count_present(ctx, argv)


@command(
    b"TYPE",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="1.0.0",
    summary="Returns the type of a key's value",
)
def type_(ctx: Context, argv: list[bytes]) -> bytes:
    value = ctx.lookup(argv[1])
    return reply.simple(b"none" if value is None else typed(value).type_name)


# ----------------------------------------------------------------- moving and copying


def _rename(ctx: Context, old: bytes, new: bytes, only_new: bool) -> bool:
    """Rename a key; return True if it has the new name now."""
    value = ctx.lookup(old)
    if value is None:
        raise CommandError(reply.NO_SUCH_KEY)
    if old == new:
        return not only_new
    if ctx.lookup(new) is not None:
        if only_new:
            return False
        ctx.database.remove(new)
    database = ctx.database
    at_ms = database.expire_at(old)
    database.remove(old)
    database.put(new, value)
    if at_ms >= 0:
        database.set_expire(new, at_ms)
    ctx.effect(b"RENAME", old, new)
    ctx.touch(new)
    return True


@command(
    b"RENAME",
    arity=3,
    flags=WRITE,
    keys=FIRST_TWO,
    since="1.0.0",
    summary="Gives a key another name, over what had it",
)
def rename(ctx: Context, argv: list[bytes]) -> bytes:
    _rename(ctx, argv[1], argv[2], False)
    return reply.OK


@command(
    b"RENAMENX",
    arity=3,
    flags=WRITE | FAST,
    keys=FIRST_TWO,
    since="1.0.0",
    summary="Gives a key another name if nothing has it",
)
def renamenx(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.ONE if _rename(ctx, argv[1], argv[2], True) else reply.ZERO


def database_index(ctx: Context, arg: bytes) -> int:
    return check_database(ctx, int32(arg))


def check_database(ctx: Context, index: int) -> int:
    if not 0 <= index < len(ctx.keyspace.databases):
        raise CommandError("ERR DB index is out of range")
    return index


def lookup_in(ctx: Context, index: int, key: bytes) -> Value | None:
    """`Context.lookup` in a database that need not be the session's."""
    here = ctx.database
    if index == here.index:
        return ctx.lookup(key)
    if ctx.expiry != IGNORE_EXPIRED:
        ctx.looked.append((index, key) if index else key)
    ctx.database = ctx.keyspace.database(index)
    try:
        return ctx.lookup(key)
    finally:
        ctx.database = here


@command(
    b"MOVE",
    arity=3,
    flags=WRITE | FAST,
    keys=FIRST,
    since="1.0.0",
    summary="Moves a key to another database",
)
def move(ctx: Context, argv: list[bytes]) -> bytes:
    if ctx.engine.settings.cluster_enabled:
        raise CommandError("ERR MOVE is not allowed in cluster mode")
    key = argv[1]
    index = database_index(ctx, argv[2])
    source = ctx.database
    if index == source.index:
        raise CommandError(_SAME_OBJECT)
    value = ctx.lookup(key)
    if value is None or lookup_in(ctx, index, key) is not None:
        return reply.ZERO
    at_ms = source.expire_at(key)
    source.remove(key)
    target = ctx.keyspace.database(index)
    target.put(key, value)
    if at_ms >= 0:
        target.set_expire(key, at_ms)
    ctx.effect(b"MOVE", key, b"%d" % index)
    ctx.touch(key, index)
    return reply.ONE


@command(
    b"COPY",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys=FIRST_TWO,
    since="6.2.0",
    summary="Copies a value to another key",
    complexity="O(N), N elements",
)
def copy(ctx: Context, argv: list[bytes]) -> bytes:
    key, new = argv[1], argv[2]
    source = ctx.database
    index, replace, at = source.index, False, 3
    while at < len(argv):
        option = argv[at].upper()
        if option == b"REPLACE":
            replace = True
        elif option == b"DB" and at + 1 < len(argv):
            at += 1
            index = database_index(ctx, argv[at])
        else:
            raise syntax_error()
        at += 1
    if ctx.engine.settings.cluster_enabled and (source.index or index):
        raise CommandError("ERR Copying to another database is not allowed in cluster mode")
    if index == source.index and key == new:
        raise CommandError(_SAME_OBJECT)
    value = ctx.lookup(key)
    if value is None or (lookup_in(ctx, index, new) is not None and not replace):
        return reply.ZERO
    target = ctx.keyspace.database(index)
    at_ms = source.expire_at(key)
    target.remove(new)
    target.put(new, typed(value).copy())
    if at_ms >= 0:
        target.set_expire(new, at_ms)
    ctx.effect(b"COPY", key, new, b"DB", b"%d" % index, b"REPLACE")
    ctx.changed[-1] = (index, new) if index else new  # the copy changed, not its source
    return reply.ONE


# ----------------------------------------------------------------- OBJECT

_HELP: Final = (
    b"OBJECT <subcommand> [<arg> ...]. Subcommands are:",
    b"ENCODING <key>",
    b"    How the value is stored.",
    b"FREQ <key>",
    b"    How often the key is used; only with an LFU policy.",
    b"IDLETIME <key>",
    b"    Seconds since the key was used.",
    b"REFCOUNT <key>",
    b"    How many references to the value exist.",
    b"HELP",
    b"    This text.",
)


@command(
    b"OBJECT|ENCODING",
    arity=3,
    flags=READONLY,
    keys=_SECOND,
    since="2.2.3",
    summary="Tells how a value is stored",
)
def object_encoding(ctx: Context, argv: list[bytes]) -> bytes:
    value = ctx.lookup(argv[2])
    return ctx.nil if value is None else reply.bulk(typed(value).encoding())


@command(
    b"OBJECT|FREQ",
    arity=3,
    flags=READONLY,
    keys=_SECOND,
    since="4.0.0",
    summary="Tells how often a key is used",
)
def object_freq(ctx: Context, argv: list[bytes]) -> bytes:
    if ctx.lookup(argv[2]) is None:
        return ctx.nil
    raise CommandError(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
        "that when switching between policies at runtime "
        "LRU and LFU data will take some time to adjust."
    )


@command(
    b"OBJECT|IDLETIME",
    arity=3,
    flags=READONLY,
    keys=_SECOND,
    since="2.2.3",
    summary="Tells how long ago a key was used",
)
def object_idletime(ctx: Context, argv: list[bytes]) -> bytes:
    # Access times are not kept, because nothing evicts yet and they would cost time at every GET.
    # So every key counts as just used.
    return ctx.nil if ctx.lookup(argv[2]) is None else reply.ZERO


@command(
    b"OBJECT|REFCOUNT",
    arity=3,
    flags=READONLY,
    keys=_SECOND,
    since="2.2.3",
    summary="Tells how many references to a value exist",
)
def object_refcount(ctx: Context, argv: list[bytes]) -> bytes:
    value = ctx.lookup(argv[2])
    if value is None:
        return ctx.nil
    number = parse_integer(value) if type(value) is bytes else None
    return reply.integer(2147483647 if number is not None and 0 <= number < SHARED_INTEGERS else 1)


@command(
    b"OBJECT|HELP", arity=2, flags=LOADING | STALE, since="6.2.0", summary="Lists the subcommands"
)
def object_help(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.array([reply.simple(line) for line in _HELP])
