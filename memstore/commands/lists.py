"""List commands. Blocking commands belong beside them and will call `pop_some` and `move`.

Decides: what each command reads, changes, answers and logs.
Must not know: how a list is kept (values.quicklist), the log, roles, clocks.

LPUSH, RPUSH, LPOP and RPOP of one element are on the hot path: they find the slot themselves and
build effects from prepared heads.

Invariants: a list in the keyspace has elements. The effect of a pop is a pop, of a move the move: a
replay finds the same elements at the same ends.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

from memstore.commands.parse import INT64_MIN, counted_keys, integer, syntax_error
from memstore.engine import effects, reply
from memstore.engine.command import (
    DENYOOM,
    FAST,
    FIRST,
    FIRST_TWO,
    MOVABLEKEYS,
    READONLY,
    WRITE,
    command,
)
from memstore.engine.context import Context
from memstore.engine.keyspace import slot_of
from memstore.engine.reply import HEADS, CommandError, bulk, bulk_array
from memstore.engine.values import parse_integer
from memstore.engine.values.quicklist import List

_CRLF: Final = b"\r\n"
_MANY: Final = len(HEADS)
_LPUSH_HEAD: Final = b"*3\r\n$5\r\nLPUSH\r\n"
_RPUSH_HEAD: Final = b"*3\r\n$5\r\nRPUSH\r\n"
_LPOP_HEAD: Final = b"*2\r\n$4\r\nLPOP\r\n"
_RPOP_HEAD: Final = b"*2\r\n$4\r\nRPOP\r\n"
# the usual arguments of LRANGE and LINDEX
_INDEXES: Final = {b"%d" % n: n for n in range(-1024, 1025)}
_NEGATIVE: Final = "ERR value is out of range, must be positive"
_RANK_ZERO: Final = (
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
    "negative to start from the end of the list"
)


def lookup_list(ctx: Context, key: bytes) -> List | None:
    value = ctx.lookup(key)
    if value is not None and type(value) is not List:
        raise CommandError(reply.WRONGTYPE)
    return value


def _index(arg: bytes) -> int:
    number = _INDEXES.get(arg)
    return integer(arg) if number is None else number


def _counted(arg: bytes, least: int, message: str) -> int:
    """Return a number of at least ``least``; every error has the text ``message``."""
    number = parse_integer(arg)
    if number is None or number < least:
        raise CommandError(message)
    return number


def _is_left(arg: bytes) -> bool:
    side = arg.upper()
    if side not in (b"LEFT", b"RIGHT"):
        raise syntax_error()
    return side == b"LEFT"


def _bounds(value: List, start: int, end: int) -> tuple[int, int]:
    """Return what an inclusive range with negative indexes covers: the first index, and the end.
    The end is after the last index. The two are equal if the range is empty.
    """
    length = len(value)
    start = max(start + length, 0) if start < 0 else min(start, length)
    end = end + length if end < 0 else min(end, length - 1)
    return start, max(end + 1, start)


# ----------------------------------------------------------------- both ends


def _push(ctx: Context, argv: list[bytes], left: bool, only_existing: bool) -> bytes:
    key = argv[1]
    database = ctx.database
    slot = (crc_hqx(key, 0) & 16383) if b"{" not in key else slot_of(key)
    value = database.slots[slot].get(key)
    if database.volatile and key in database.expires[slot]:
        value = ctx.lookup(key)
    if type(value) is not List:
        if value is not None:
            raise CommandError(reply.WRONGTYPE)
        if only_existing:
            return reply.ZERO
        value = database.slots[slot][key] = List()
    index = database.index
    if index != ctx.unit_db:
        ctx.unit.append(effects.select(index))
        ctx.unit_db = index
    if len(argv) == 3 and len(key) < _MANY and len(argv[2]) < _MANY:
        item = argv[2]
        length = value.push_left(item) if left else value.push_right(item)
        ctx.unit.append(
            b"".join(
                (
                    _LPUSH_HEAD if left else _RPUSH_HEAD,
                    HEADS[len(key)],
                    key,
                    _CRLF,
                    HEADS[len(item)],
                    item,
                    _CRLF,
                )
            )
        )
    else:
        length = value.push(argv[2:], left)
        ctx.unit.append(effects.encode([b"LPUSH" if left else b"RPUSH", *argv[1:]]))
    ctx.changed.append((index, key) if index else key)
    return b":%d\r\n" % length


@command(
    b"LPUSH",
    arity=-3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Puts elements before a list's first one",
)
def lpush(ctx: Context, argv: list[bytes]) -> bytes:
    return _push(ctx, argv, True, False)


@command(
    b"RPUSH",
    arity=-3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Puts elements behind a list's last one",
)
def rpush(ctx: Context, argv: list[bytes]) -> bytes:
    return _push(ctx, argv, False, False)


@command(
    b"LPUSHX",
    arity=-3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.2.0",
    group="list",
    summary="LPUSH to a list that exists",
)
def lpushx(ctx: Context, argv: list[bytes]) -> bytes:
    return _push(ctx, argv, True, True)


@command(
    b"RPUSHX",
    arity=-3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.2.0",
    group="list",
    summary="RPUSH to a list that exists",
)
def rpushx(ctx: Context, argv: list[bytes]) -> bytes:
    return _push(ctx, argv, False, True)


def pop_one(ctx: Context, key: bytes, value: List, left: bool) -> bytes:
    """Remove one element from the list at ``key`` and log it."""
    item = value.pop_left() if left else value.pop_right()
    database = ctx.database
    if not value:
        database.remove(key)
    index = database.index
    if index != ctx.unit_db:
        ctx.unit.append(effects.select(index))
        ctx.unit_db = index
    ctx.unit.append(b"".join((_LPOP_HEAD if left else _RPOP_HEAD, bulk(key))))
    ctx.changed.append((index, key) if index else key)
    return item


def pop_some(ctx: Context, key: bytes, value: List, left: bool, count: int) -> list[bytes]:
    """Remove up to ``count`` (at least one) elements from the list at ``key`` and log it."""
    items = value.pop(count, left)
    if not value:
        ctx.database.remove(key)
    ctx.effect(b"LPOP" if left else b"RPOP", key, b"%d" % len(items))
    return items


def _pop(ctx: Context, argv: list[bytes], left: bool) -> bytes:
    key = argv[1]
    if len(argv) == 2:
        value = ctx.lookup(key)
        if type(value) is List:
            return bulk(pop_one(ctx, key, value, left))
        if value is None:
            return ctx.nil
        raise CommandError(reply.WRONGTYPE)
    if len(argv) > 3:
        raise CommandError(
            f"ERR wrong number of arguments for '{'lpop' if left else 'rpop'}' command"
        )
    count = _counted(argv[2], 0, _NEGATIVE)
    found = lookup_list(ctx, key)
    if found is None:
        return ctx.nil_array()
    return bulk_array(pop_some(ctx, key, found, left, count)) if count else reply.EMPTY_ARRAY


@command(
    b"LPOP",
    arity=-2,
    flags=WRITE | FAST,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Takes a list's first elements",
    complexity="O(N), N elements taken",
)
def lpop(ctx: Context, argv: list[bytes]) -> bytes:
    return _pop(ctx, argv, True)


@command(
    b"RPOP",
    arity=-2,
    flags=WRITE | FAST,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Takes a list's last elements",
    complexity="O(N), N elements taken",
)
def rpop(ctx: Context, argv: list[bytes]) -> bytes:
    return _pop(ctx, argv, False)


# ----------------------------------------------------------------- from list to list


def move(
    ctx: Context, source: bytes, destination: bytes, from_left: bool, to_left: bool
) -> bytes | None:
    """Move an element from one list's end to another's (or the same one's) and log it.
    Both types are checked first. None: there is no source.
    """
    value = lookup_list(ctx, source)
    if value is None:
        return None
    target = lookup_list(ctx, destination)
    item = value.pop_left() if from_left else value.pop_right()
    if target is None:
        target = List()
        ctx.database.put(destination, target)
    if to_left:
        target.push_left(item)
    else:
        target.push_right(item)
    if not value:
        ctx.database.remove(source)
    ctx.effect(
        b"LMOVE",
        source,
        destination,
        b"LEFT" if from_left else b"RIGHT",
        b"LEFT" if to_left else b"RIGHT",
    )
    ctx.touch(destination)
    return item


@command(
    b"LMOVE",
    arity=5,
    flags=WRITE | DENYOOM,
    keys=FIRST_TWO,
    since="6.2.0",
    group="list",
    summary="Moves an element from one list's end to another's",
)
def lmove(ctx: Context, argv: list[bytes]) -> bytes:
    from_left, to_left = _is_left(argv[3]), _is_left(argv[4])
    item = move(ctx, argv[1], argv[2], from_left, to_left)
    return ctx.nil if item is None else bulk(item)


@command(
    b"RPOPLPUSH",
    arity=3,
    flags=WRITE | DENYOOM,
    keys=FIRST_TWO,
    since="1.2.0",
    group="list",
    summary="Moves one list's last element before another's first",
)
def rpoplpush(ctx: Context, argv: list[bytes]) -> bytes:
    item = move(ctx, argv[1], argv[2], False, True)
    return ctx.nil if item is None else bulk(item)


def _lmpop_keys(argv: list[bytes]) -> list[bytes]:
    return counted_keys(argv, 1)


@command(
    b"LMPOP",
    arity=-4,
    flags=WRITE | MOVABLEKEYS,
    find_keys=_lmpop_keys,
    since="7.0.0",
    group="list",
    summary="Takes elements from the first of several lists that has any",
    complexity="O(N+M), N keys, M elements taken",
)
def lmpop(ctx: Context, argv: list[bytes]) -> bytes:
    keys, left, count = lmpop_arguments(argv, 1)
    for key in keys:
        value = lookup_list(ctx, key)
        if value is not None:
            items = pop_some(ctx, key, value, left, count)
            return reply.array([bulk(key), bulk_array(items)])
    return ctx.nil_array()


def lmpop_arguments(argv: list[bytes], at: int) -> tuple[list[bytes], bool, int]:
    """Return keys, side and count, where ``argv[at]`` is the number of keys."""
    number = _counted(argv[at], 1, "ERR numkeys should be greater than 0")
    side = at + 1 + number
    if side >= len(argv):
        raise syntax_error()
    left = _is_left(argv[side])
    options = argv[side + 1 :]
    if not options:
        return argv[at + 1 : side], left, 1
    if len(options) < 2 or options[0].upper() != b"COUNT":
        raise syntax_error()
    count = _counted(options[1], 1, "ERR count should be greater than 0")
    if len(options) > 2:
        raise syntax_error()
    return argv[at + 1 : side], left, count


# ----------------------------------------------------------------- reading


@command(
    b"LLEN",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Returns the number of a list's elements",
)
def llen(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_list(ctx, argv[1])
    return reply.ZERO if value is None else reply.integer(len(value))


@command(
    b"LINDEX",
    arity=3,
    flags=READONLY,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Returns the element at an index",
    complexity="O(log N), N elements",
)
def lindex(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_list(ctx, argv[1])
    if value is None:
        return ctx.nil
    item = value.get(_index(argv[2]))
    return ctx.nil if item is None else bulk(item)


@command(
    b"LRANGE",
    arity=4,
    flags=READONLY,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Returns the elements between two indexes",
    complexity="O(log N + M), N elements, M returned",
)
def lrange(ctx: Context, argv: list[bytes]) -> bytes:
    start, end = _index(argv[2]), _index(argv[3])
    value = lookup_list(ctx, argv[1])
    if value is None:
        return reply.EMPTY_ARRAY
    start, stop = _bounds(value, start, end)
    if start >= stop:
        return reply.EMPTY_ARRAY
    return b"*%d\r\n%b" % (stop - start, value.encoded(start, stop))


@command(
    b"LPOS",
    arity=-3,
    flags=READONLY,
    keys=FIRST,
    since="6.0.6",
    group="list",
    summary="Returns where an element is in a list",
    complexity="O(N), N elements looked at",
)
def lpos(ctx: Context, argv: list[bytes]) -> bytes:
    rank, count, within = 1, -1, 0
    for at in range(3, len(argv), 2):
        option = argv[at].upper()
        if at + 1 == len(argv):
            raise syntax_error()
        if option == b"RANK":
            rank = integer(argv[at + 1])
            if rank == 0:
                raise CommandError(_RANK_ZERO)
        elif option == b"COUNT":
            count = _counted(argv[at + 1], 0, "ERR COUNT can't be negative")
        elif option == b"MAXLEN":
            within = _counted(argv[at + 1], 0, "ERR MAXLEN can't be negative")
        else:
            raise syntax_error()
    value = lookup_list(ctx, argv[1])
    if value is None:
        return ctx.nil if count < 0 else reply.EMPTY_ARRAY
    # its negation overflows in Redis, which then accepts any match
    skip = abs(rank) - 1 if rank != INT64_MIN else 0
    found = value.positions(argv[2], skip, 1 if count < 0 else count, within, rank < 0)
    if count >= 0:
        return reply.array([reply.integer(at) for at in found])
    return reply.integer(found[0]) if found else ctx.nil


# ----------------------------------------------------------------- inside


@command(
    b"LSET",
    arity=4,
    flags=WRITE | DENYOOM,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Exchanges the element at an index",
    complexity="O(log N), N elements",
)
def lset(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    value = lookup_list(ctx, key)
    if value is None:
        raise CommandError(reply.NO_SUCH_KEY)
    if not value.set(_index(argv[2]), argv[3]):
        raise CommandError(reply.OUT_OF_RANGE)
    ctx.effect(b"LSET", key, argv[2], argv[3])
    return reply.OK


@command(
    b"LINSERT",
    arity=5,
    flags=WRITE | DENYOOM,
    keys=FIRST,
    since="2.2.0",
    group="list",
    summary="Puts an element before or after another one",
    complexity="O(N), N elements before the other one",
)
def linsert(ctx: Context, argv: list[bytes]) -> bytes:
    _, key, where, pivot, item = argv
    where = where.upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise syntax_error()
    value = lookup_list(ctx, key)
    if value is None:
        return reply.ZERO
    if not value.insert(pivot, item, where == b"AFTER"):
        return reply.MINUS_ONE
    ctx.effect(b"LINSERT", key, where, pivot, item)
    return reply.integer(len(value))


@command(
    b"LREM",
    arity=4,
    flags=WRITE,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Takes out elements that equal a value",
    complexity="O(N), N elements",
)
def lrem(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    count = integer(argv[2])
    value = lookup_list(ctx, key)
    if value is None:
        return reply.ZERO
    removed = value.remove(argv[3], count)
    if removed:
        if not value:
            ctx.database.remove(key)
        ctx.effect(b"LREM", key, argv[2], argv[3])
    return reply.integer(removed)


@command(
    b"LTRIM",
    arity=4,
    flags=WRITE,
    keys=FIRST,
    since="1.0.0",
    group="list",
    summary="Keeps the elements between two indexes",
    complexity="O(N), N elements taken out",
)
def ltrim(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    start, end = _index(argv[2]), _index(argv[3])
    value = lookup_list(ctx, key)
    if value is None:
        return reply.OK
    start, stop = _bounds(value, start, end)
    length = len(value)
    if start >= stop:
        ctx.database.remove(key)
    elif stop - start < length:
        value.trim(start, length - stop)
    else:
        return reply.OK
    ctx.effect(b"LTRIM", key, argv[2], argv[3])
    return reply.OK
