"""String commands: values as a whole and in part. Numbers are in counters.py, LCS in lcs.py.

Decides: what each command reads, changes, answers and logs.
Must not know: the log, roles, clocks.

GET and SET are on the hot path: they find the slot themselves. They build replies and effects from
prepared heads, with joins in place of formatting. Effects carry absolute times only: ``SET key
value`` or ``SET key value PXAT ms``.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

from memstore.commands.parse import expire_at, integer, syntax_error
from memstore.engine import effects, reply
from memstore.engine.command import ALL, DENYOOM, FAST, FIRST, PAIRS, READONLY, WRITE, command
from memstore.engine.context import DELETE_EXPIRED, IGNORE_EXPIRED, Context
from memstore.engine.keyspace import BRACE, slot_of
from memstore.engine.reply import HEADS, CommandError, bulk
from memstore.engine.values.longstring import LONG, LongString, written

_CRLF: Final = b"\r\n"
_SET_HEAD: Final = b"*3\r\n$3\r\nSET\r\n"
_MANY: Final = len(HEADS)
_TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
# option -> (milliseconds in a unit, relative to now)
_EXPIRES: Final = {
    b"EX": (1000, True),
    b"PX": (1, True),
    b"EXAT": (1000, False),
    b"PXAT": (1, False),
}


# ----------------------------------------------------------------- GET and SET


@command(
    b"GET",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Returns a key's string value",
)
def get(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    database = ctx.database
    slot = (crc_hqx(key, 0) & 16383) if BRACE not in key else slot_of(key)
    value = database.slots[slot].get(key)
    if database.volatile and key in database.expires[slot]:
        value = ctx.lookup(key)
    if type(value) is bytes:
        length = len(value)
        return (
            HEADS[length] + value + b"\r\n"
            if length < _MANY
            else b"$%d\r\n%b\r\n" % (length, value)
        )
    if value is None:
        return ctx.nil
    if type(value) is LongString:
        return value.bulk()
    raise CommandError(reply.WRONGTYPE)


@command(
    b"SET",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Sets a key to a string, whatever it held",
)
def set_(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) != 3:
        return _set_with_options(ctx, argv)
    _set_plain(ctx, argv[1], argv[2])
    return b"+OK\r\n"


def _set_plain(ctx: Context, key: bytes, value: bytes) -> None:
    """``SET key value``; it removes an expiry."""
    database = ctx.database
    slot = (crc_hqx(key, 0) & 16383) if BRACE not in key else slot_of(key)
    database.slots[slot][key] = value
    if database.volatile and database.expires[slot].pop(key, None) is not None:
        database.volatile -= 1
    index = database.index
    ctx.changed.append((index, key) if index else key)
    # an effect is being applied: it is not encoded again
    if ctx.expiry == IGNORE_EXPIRED:
        return
    if index != ctx.unit_db:
        ctx.unit.append(effects.select(index))
        ctx.unit_db = index
    key_length, value_length = len(key), len(value)
    if key_length < _MANY and value_length < _MANY:
        ctx.unit.append(
            b"".join((_SET_HEAD, HEADS[key_length], key, _CRLF, HEADS[value_length], value, _CRLF))
        )
    else:
        ctx.unit.append(
            b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
            % (key_length, key, value_length, value)
        )


def store(ctx: Context, key: bytes, value: bytes, at_ms: int) -> None:
    """``SET key value PXAT at_ms``; -1: no expiry. A time that has passed leaves no key."""
    if at_ms < 0:
        _set_plain(ctx, key, value)
    elif at_ms <= ctx.wall_ms and ctx.expiry == DELETE_EXPIRED:
        if ctx.database.remove(key) is not None:
            ctx.effect(b"DEL", key)
    else:
        database = ctx.database
        database.put(key, value)
        database.set_expire(key, at_ms)
        ctx.effect(b"SET", key, value, b"PXAT", b"%d" % at_ms)


class _Options:
    __slots__ = ("at", "get", "keep", "nx", "persist", "relative", "unit_ms", "xx")

    def __init__(self) -> None:
        self.nx = self.xx = self.get = self.keep = self.persist = self.relative = False
        self.at: bytes | None = None
        self.unit_ms = 0

    def allows_expire(self, unit_ms: int, relative: bool) -> bool:
        """Only one kind of expiry is allowed, but it may be repeated: the last one counts."""
        same = self.at is None or (self.unit_ms, self.relative) == (unit_ms, relative)
        return same and not self.keep and not self.persist


def _options(argv: list[bytes], start: int, setting: bool) -> _Options:
    """The options of SET (``setting``) or GETEX."""
    found = _Options()
    at = start
    while at < len(argv):
        name = argv[at].upper()
        expires = _EXPIRES.get(name)
        if expires is not None and at + 1 < len(argv) and found.allows_expire(*expires):
            found.unit_ms, found.relative = expires
            at += 1
            found.at = argv[at]
        elif name == b"NX" and setting and not found.xx:
            found.nx = True
        elif name == b"XX" and setting and not found.nx:
            found.xx = True
        elif name == b"GET" and setting:
            found.get = True
        elif name == b"KEEPTTL" and setting and found.at is None:
            found.keep = True
        elif name == b"PERSIST" and not setting and found.at is None:
            found.persist = True
        else:
            raise syntax_error()
        at += 1
    return found


def _set_with_options(ctx: Context, argv: list[bytes]) -> bytes:
    key, value = argv[1], argv[2]
    options = _options(argv, 3, True)
    at_ms = -1
    if options.at is not None:
        at_ms = expire_at(options.at, options.unit_ms, options.relative, ctx.wall_ms, "set")
    answer = b"+OK\r\n"
    if options.get:
        old = ctx.lookup_string(key)
        answer = ctx.nil if old is None else bulk(old)
        found = old is not None
    else:
        found = ctx.lookup(key) is not None
    if (options.nx and found) or (options.xx and not found):
        return answer if options.get else ctx.nil
    if options.keep:
        at_ms = ctx.database.expire_at(key)
    store(ctx, key, value, at_ms)
    return answer


@command(
    b"SETNX",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Sets a key that does not exist",
)
def setnx(ctx: Context, argv: list[bytes]) -> bytes:
    if ctx.lookup(argv[1]) is not None:
        return reply.ZERO
    _set_plain(ctx, argv[1], argv[2])
    return reply.ONE


@command(
    b"SETEX",
    arity=4,
    flags=WRITE | DENYOOM,
    keys=FIRST,
    since="2.0.0",
    group="string",
    summary="Sets a key and its time to live in seconds",
)
def setex(ctx: Context, argv: list[bytes]) -> bytes:
    store(ctx, argv[1], argv[3], expire_at(argv[2], 1000, True, ctx.wall_ms, "setex"))
    return reply.OK


@command(
    b"PSETEX",
    arity=4,
    flags=WRITE | DENYOOM,
    keys=FIRST,
    since="2.6.0",
    group="string",
    summary="Sets a key and its time to live in ms",
)
def psetex(ctx: Context, argv: list[bytes]) -> bytes:
    store(ctx, argv[1], argv[3], expire_at(argv[2], 1, True, ctx.wall_ms, "psetex"))
    return reply.OK


@command(
    b"GETSET",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Sets a key and returns what it held",
)
def getset(ctx: Context, argv: list[bytes]) -> bytes:
    old = ctx.lookup_string(argv[1])
    _set_plain(ctx, argv[1], argv[2])
    return ctx.nil if old is None else bulk(old)


@command(
    b"GETDEL",
    arity=2,
    flags=WRITE | FAST,
    keys=FIRST,
    since="6.2.0",
    group="string",
    summary="Deletes a key and returns what it held",
)
def getdel(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    old = ctx.lookup_string(key)
    if old is None:
        return ctx.nil
    ctx.database.remove(key)
    ctx.effect(b"DEL", key)
    return bulk(old)


@command(
    b"GETEX",
    arity=-2,
    flags=WRITE | FAST,
    keys=FIRST,
    since="6.2.0",
    group="string",
    summary="Returns a key's value and changes its expiry",
)
def getex(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    options = _options(argv, 2, False)
    value = ctx.lookup_string(key)
    if value is None:
        return ctx.nil
    if options.at is not None:
        at_ms = expire_at(options.at, options.unit_ms, options.relative, ctx.wall_ms, "getex")
        if at_ms <= ctx.wall_ms and ctx.expiry == DELETE_EXPIRED:
            ctx.database.remove(key)
            ctx.effect(b"DEL", key)
        else:
            ctx.database.set_expire(key, at_ms)
            ctx.effect(b"PEXPIREAT", key, b"%d" % at_ms)
    elif options.persist and ctx.database.persist(key):
        ctx.effect(b"PERSIST", key)
    return bulk(value)


# ----------------------------------------------------------------- many keys


@command(
    b"MGET",
    arity=-2,
    flags=READONLY | FAST,
    keys=ALL,
    since="1.0.0",
    group="string",
    summary="Returns several keys' string values",
    complexity="O(N), N keys",
)
def mget(ctx: Context, argv: list[bytes]) -> bytes:
    parts = [b"*%d\r\n" % (len(argv) - 1)]
    lookup, nil = ctx.lookup, ctx.nil
    for key in argv[1:]:
        value = lookup(key)
        # Here another type counts as absent; no other reader of strings does this.
        parts.append(
            bulk(value)
            if type(value) is bytes
            else value.bulk()
            if type(value) is LongString
            else nil
        )
    return b"".join(parts)


def _set_pairs(ctx: Context, argv: list[bytes]) -> None:
    """Set the pairs after the name and log them as one MSET.
    One MSET takes fewer bytes and less work than a SET for each pair in MULTI and EXEC.
    """
    database = ctx.database
    volatile = database.volatile
    for at in range(1, len(argv), 2):
        key = argv[at]
        slot = (crc_hqx(key, 0) & 16383) if BRACE not in key else slot_of(key)
        database.slots[slot][key] = argv[at + 1]
        if volatile and database.expires[slot].pop(key, None) is not None:
            database.volatile -= 1
    index = database.index
    if index != ctx.unit_db:
        ctx.unit.append(effects.select(index))
        ctx.unit_db = index
    ctx.unit.append(effects.encode([b"MSET", *argv[1:]]))
    ctx.changed.extend([(index, key) for key in argv[1::2]] if index else argv[1::2])


@command(
    b"MSET",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys=PAIRS,
    since="1.0.1",
    group="string",
    summary="Sets several keys at once",
    complexity="O(N), N keys",
)
def mset(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) % 2 == 0:
        raise CommandError("ERR wrong number of arguments for 'mset' command")
    _set_pairs(ctx, argv)
    return reply.OK


@command(
    b"MSETNX",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys=PAIRS,
    since="1.0.1",
    group="string",
    summary="Sets several keys if none exists",
    complexity="O(N), N keys",
)
def msetnx(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) % 2 == 0:
        raise CommandError("ERR wrong number of arguments for 'msetnx' command")
    for key in argv[1::2]:
        if ctx.lookup(key) is not None:
            return reply.ZERO
    _set_pairs(ctx, argv)
    return reply.ONE


# ----------------------------------------------------------------- parts of strings


@command(
    b"STRLEN",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.2.0",
    group="string",
    summary="Returns the length of a string",
)
def strlen(ctx: Context, argv: list[bytes]) -> bytes:
    value = ctx.lookup_text(argv[1])
    return reply.ZERO if value is None else reply.integer(len(value))


def _check_length(ctx: Context, length: int) -> None:
    """The limit is this node's own. Every node applies what the primary accepted."""
    if length > ctx.engine.settings.proto_max_bulk_len and ctx.expiry != IGNORE_EXPIRED:
        raise CommandError(_TOO_LONG)


@command(
    b"APPEND",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.0.0",
    group="string",
    summary="Appends to a string, made if it is missing",
)
def append(ctx: Context, argv: list[bytes]) -> bytes:
    _, key, added = argv
    value = ctx.lookup_text(key)
    length = len(added) if value is None else len(value) + len(added)
    if value is None:
        ctx.database.put(key, added)
    else:
        _check_length(ctx, length)
        if type(value) is LongString:
            value.append(added)  # in place
        elif type(value) is bytes:
            ctx.database.put(
                key, value + added if length <= LONG else written(value, len(value), added)
            )
    ctx.effect(b"APPEND", key, added)
    return reply.integer(length)


@command(
    b"SETRANGE",
    arity=4,
    flags=WRITE | DENYOOM,
    keys=FIRST,
    since="2.2.0",
    group="string",
    summary="Overwrites part of a string from an offset on",
    complexity="O(N), N the length of the result",
)
def setrange(ctx: Context, argv: list[bytes]) -> bytes:
    _, key, offset_arg, piece = argv
    offset = integer(offset_arg)
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    value = ctx.lookup_text(key)
    if not piece:
        return reply.integer(0 if value is None else len(value))
    end = offset + len(piece)
    _check_length(ctx, end)
    length = end if value is None else max(end, len(value))
    if type(value) is LongString:
        value.write(offset, piece)  # in place
    else:
        old = value if type(value) is bytes else b""
        if length > LONG:
            ctx.database.put(key, written(old, offset, piece))
        else:
            ctx.database.put(
                key,
                b"".join(
                    (
                        old[:offset],
                        bytes(max(0, offset - len(old))),
                        piece,
                        old[min(end, len(old)) :],
                    )
                ),
            )
    ctx.effect(b"SETRANGE", key, offset_arg, piece)
    return reply.integer(length)


def _getrange(ctx: Context, argv: list[bytes]) -> bytes:
    start, end = integer(argv[2]), integer(argv[3])
    value = ctx.lookup_text(argv[1])
    if not value or (start < 0 and end < 0 and start > end):
        return reply.EMPTY_BULK
    length = len(value)
    start = max(0, start + length) if start < 0 else start
    end = max(0, end + length) if end < 0 else end
    if isinstance(value, LongString):
        return bulk(value.part(start, end + 1))
    return bulk(value[start : end + 1]) if start <= end and start < length else reply.EMPTY_BULK


@command(
    b"GETRANGE",
    arity=4,
    flags=READONLY,
    keys=FIRST,
    since="2.4.0",
    group="string",
    summary="Returns part of a string",
    complexity="O(N), N the length returned",
)
def getrange(ctx: Context, argv: list[bytes]) -> bytes:
    return _getrange(ctx, argv)


@command(
    b"SUBSTR",
    arity=4,
    flags=READONLY,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Returns part of a string (GETRANGE's old name)",
    complexity="O(N), N the length returned",
)
def substr(ctx: Context, argv: list[bytes]) -> bytes:
    return _getrange(ctx, argv)
