"""Commands about whole databases: select, count, walk, empty and swap them.

Decides: what each command reads, changes, answers and logs.
Must not know: the log, roles, clocks, how cursors are made (engine.scan).
"""

from __future__ import annotations

from memstore.commands.generic import check_database, database_index, lookup_in
from memstore.commands.parse import int32, integer, syntax_error
from memstore.engine import expiry, reply
from memstore.engine.command import (
    EVERYWHERE,
    FAST,
    LOADING,
    LOCAL,
    READONLY,
    STALE,
    WRITE,
    command,
)
from memstore.engine.context import Context
from memstore.engine.glob import compiled
from memstore.engine.reply import CommandError
from memstore.engine.scan import keys_by_slot, parse_cursor, random_key, scan
from memstore.engine.values.value_types import typed

_DEFAULT_COUNT = 10


@command(
    b"SELECT",
    arity=2,
    flags=LOADING | STALE | FAST | LOCAL,
    since="1.0.0",
    group="connection",
    summary="Chooses the connection's database",
)
def select(ctx: Context, argv: list[bytes]) -> bytes:
    index = database_index(ctx, argv[1])
    if index and ctx.engine.settings.cluster_enabled:
        raise CommandError("ERR SELECT is not allowed in cluster mode")
    ctx.session.db = index
    ctx.session.update_fast_path()
    ctx.follow(ctx.session)
    return reply.OK


@command(
    b"DBSIZE",
    arity=1,
    flags=READONLY | FAST | EVERYWHERE,
    since="1.0.0",
    group="server",
    summary="Counts the database's keys",
)
def dbsize(ctx: Context, argv: list[bytes]) -> bytes:
    gone = expiry.hidden(ctx, ctx.database)
    return reply.integer(len(ctx.database) - gone)


@command(
    b"KEYS",
    arity=2,
    flags=READONLY | EVERYWHERE,
    since="1.0.0",
    summary="Lists the keys that match a pattern",
    complexity="O(N), N keys in the database",
)
def keys(ctx: Context, argv: list[bytes]) -> bytes:
    pattern = argv[1]
    matches = compiled(pattern) if pattern != b"*" else None
    count, pieces = 0, [b""]
    for found in keys_by_slot(ctx, ctx.database):
        if matches is not None:
            found = list(filter(matches, found))
        count += len(found)
        pieces.append(reply.bulks(found))
    pieces[0] = b"*%d\r\n" % count
    return b"".join(pieces)


@command(
    b"SCAN",
    arity=-2,
    flags=READONLY | EVERYWHERE,
    since="2.8.0",
    summary="Walks the keys, some a call",
    complexity="O(1) a call, O(N) a walk",
)
def scan_(ctx: Context, argv: list[bytes]) -> bytes:
    cursor = parse_cursor(argv[1])
    if cursor is None:
        raise CommandError("ERR invalid cursor")
    count, pattern, kind, at = _DEFAULT_COUNT, b"*", None, 2
    while at < len(argv):
        option = argv[at].upper()
        if at + 1 == len(argv) or option not in (b"COUNT", b"MATCH", b"TYPE"):
            raise syntax_error()
        value = argv[at + 1]
        if option == b"COUNT":
            count = integer(value)
            if count < 1:
                raise syntax_error()
        elif option == b"MATCH":
            pattern = value
        else:
            kind = value.lower()
        at += 2
    database = ctx.database
    cursor, found = scan(ctx, database, cursor, count)
    if pattern != b"*":
        found = list(filter(compiled(pattern), found))
    if kind is not None:
        found = [key for key in found if typed(database.get(key)).type_name == kind]
    return reply.array([reply.bulk(b"%d" % cursor), reply.bulk_array(found)])


@command(
    b"RANDOMKEY",
    arity=1,
    flags=READONLY | EVERYWHERE,
    since="1.0.0",
    summary="Returns a key by chance",
)
def randomkey(ctx: Context, argv: list[bytes]) -> bytes:
    key = random_key(ctx, ctx.database)
    return ctx.nil if key is None else reply.bulk(key)


def _check_mode(argv: list[bytes]) -> None:
    """Check ASYNC or SYNC. In Redis they select which thread frees the memory.
    Here the option is accepted and has no effect.
    """
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in (b"ASYNC", b"SYNC")):
        raise syntax_error()


def _touch_watched(ctx: Context, *indexes: int) -> None:
    """Name the watched keys of these databases that exist in any of them.
    The command changes those watched keys, and no others.

    Expired keys are deleted first: a watching session must see no difference between a missing and
    an expired key.
    """
    for index, key in [*ctx.engine.watched.sessions]:
        if index in indexes:
            alive = [lookup_in(ctx, other, key) for other in indexes]
            if alive != [None] * len(indexes):
                ctx.touch(key, index)


@command(
    b"FLUSHDB",
    arity=-1,
    flags=WRITE | EVERYWHERE,
    since="1.0.0",
    group="server",
    summary="Deletes all keys of the database",
    complexity="O(N), N keys",
)
def flushdb(ctx: Context, argv: list[bytes]) -> bytes:
    _check_mode(argv)
    database = ctx.database
    if len(database):
        _touch_watched(ctx, database.index)
        ctx.keyspace.discard(database.clear())
        ctx.effect_all([database.index], b"FLUSHDB")
    return reply.OK


@command(
    b"FLUSHALL",
    arity=-1,
    flags=WRITE | EVERYWHERE,
    since="1.0.0",
    group="server",
    summary="Deletes all keys of all databases",
    complexity="O(N), N keys",
)
def flushall(ctx: Context, argv: list[bytes]) -> bytes:
    _check_mode(argv)
    filled = [database for database in ctx.keyspace.existing() if len(database)]
    if filled:
        for database in filled:
            _touch_watched(ctx, database.index)
            ctx.keyspace.discard(database.clear())
        ctx.effect_all([database.index for database in filled], b"FLUSHALL")
    return reply.OK


@command(
    b"SWAPDB",
    arity=3,
    flags=WRITE | FAST | EVERYWHERE,
    since="4.0.0",
    group="server",
    summary="Exchanges two databases' contents",
)
def swapdb(ctx: Context, argv: list[bytes]) -> bytes:
    if ctx.engine.settings.cluster_enabled:
        raise CommandError("ERR SWAPDB is not allowed in cluster mode")
    one, two = (
        int32(argv[1], "ERR invalid first DB index"),
        int32(argv[2], "ERR invalid second DB index"),
    )
    check_database(ctx, one)
    check_database(ctx, two)
    if one != two:
        _touch_watched(ctx, one, two)
        ctx.keyspace.swap(one, two)
        ctx.effect_all([one, two], b"SWAPDB", b"%d" % one, b"%d" % two)
    return reply.OK
