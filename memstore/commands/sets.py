"""Set commands.

Decides: what each command reads, changes, answers and logs.
Must not know: the log, roles, clocks, how a set is stored (values.set).

The log has the result of a random choice: SPOP is logged as SREM of the drawn members, or as DEL if
all are removed. A STORE is logged as DEL of the old value and SADD of the result, so a replay does
not read the source sets. Long lists of members are logged in pieces.

Invariant: no key holds an empty set.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import Final

from memstore.commands.parse import INT64_MAX, counted_keys, integer, syntax_error
from memstore.commands.walk import cursor_of, walk
from memstore.engine import effects, reply
from memstore.engine.command import (
    ALL,
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
from memstore.engine.limits import check_effects
from memstore.engine.reply import HEADS, CommandError, bulk
from memstore.engine.values.set import Set, among, build, not_among, ordered_integers

_MANY: Final = len(HEADS)
_SADD_HEAD: Final = b"*3\r\n$4\r\nSADD\r\n"
_SREM_HEAD: Final = b"*3\r\n$4\r\nSREM\r\n"
_CRLF: Final = b"\r\n"
_PIECE: Final = 1024  # members of an effect
# If SPOP leaves less than one in this many of the removed members, it rebuilds the rest. As in
# Redis, the rest may become integers again.
_FEW_LEFT: Final = 5
# members, SRANDMEMBER with repeats: Redis has no limit and would fill its memory
_MOST_DRAWN: Final = 1 << 24


# ----------------------------------------------------------------- what the handlers share


def lookup_set(ctx: Context, key: bytes) -> Set | None:
    """As `Context.lookup`; raises WRONGTYPE for another type."""
    value = ctx.lookup(key)
    if value is not None and type(value) is not Set:
        raise CommandError(reply.WRONGTYPE)
    return value


def _limit(ctx: Context) -> int:
    limit: int = ctx.engine.settings.set_max_intset_entries
    return limit


def _note(ctx: Context, head: bytes, key: bytes, member: bytes) -> None:
    """Note the effect of one member, on the hot path; other code uses `Context.effect`."""
    index = ctx.database.index
    if index != ctx.unit_db:
        ctx.unit.append(effects.select(index))
        ctx.unit_db = index
    key_length, member_length = len(key), len(member)
    if key_length < _MANY and member_length < _MANY:
        ctx.unit.append(
            b"".join((head, HEADS[key_length], key, _CRLF, HEADS[member_length], member, _CRLF))
        )
    else:
        ctx.unit.append(head + bulk(key) + bulk(member))
    ctx.changed.append((index, key) if index else key)


def _note_many(ctx: Context, name: bytes, key: bytes, members: list[bytes]) -> None:
    for at in range(0, len(members), _PIECE):
        ctx.effect(name, key, *members[at : at + _PIECE])


def _reply(ctx: Context, members: list[bytes]) -> bytes:
    """Return a set in RESP3, an array in RESP2."""
    return b"%b%d\r\n%b" % (b"~" if ctx.resp3 else b"*", len(members), reply.bulks(members))


def _in_order(members: Iterable[bytes], limit: int) -> list[bytes]:
    """Return the members; integers that a set would keep in order come in order."""
    members = list(members)
    numbers = ordered_integers(members, limit)
    return members if numbers is None else list(map(b"%d".__mod__, numbers))


# ----------------------------------------------------------------- members


@command(
    b"SADD",
    arity=-3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="set",
    summary="Adds members to a set, made if it is missing",
    complexity="O(N), N members",
)
def sadd(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    value = ctx.lookup(key)
    if value is None:
        value = Set()
        ctx.database.put(key, value)
    elif type(value) is not Set:
        raise CommandError(reply.WRONGTYPE)
    limit = ctx.engine.settings.set_max_intset_entries
    if len(argv) == 3:
        if value.add(argv[2], limit):
            _note(ctx, _SADD_HEAD, key, argv[2])
            return reply.ONE
        return reply.ZERO
    added = value.add_many(argv[2:], limit)
    _note_many(ctx, b"SADD", key, added)
    return reply.integer(len(added))


@command(
    b"SREM",
    arity=-3,
    flags=WRITE | FAST,
    keys=FIRST,
    since="1.0.0",
    group="set",
    summary="Takes members out of a set",
    complexity="O(N), N members",
)
def srem(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    value = lookup_set(ctx, key)
    if value is None:
        return reply.ZERO
    if len(argv) == 3:
        if not value.remove(argv[2]):
            return reply.ZERO
        _note(ctx, _SREM_HEAD, key, argv[2])
        removed = 1
    else:
        gone = [member for member in argv[2:] if value.remove(member)]
        _note_many(ctx, b"SREM", key, gone)
        removed = len(gone)
    if not len(value):
        ctx.database.remove(key)
    return reply.integer(removed)


@command(
    b"SISMEMBER",
    arity=3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="1.0.0",
    group="set",
    summary="Tells whether a set has a member",
)
def sismember(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_set(ctx, argv[1])
    return reply.ONE if value is not None and argv[2] in value else reply.ZERO


@command(
    b"SMISMEMBER",
    arity=-3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="6.2.0",
    group="set",
    summary="Tells of several members whether a set has them",
    complexity="O(N), N members",
)
def smismember(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_set(ctx, argv[1])
    members = argv[2:]
    if value is None:
        return reply.array([reply.ZERO] * len(members))
    return reply.array([reply.ONE if there else reply.ZERO for there in value.which(members)])


@command(
    b"SCARD",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="1.0.0",
    group="set",
    summary="Counts a set's members",
)
def scard(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_set(ctx, argv[1])
    return reply.ZERO if value is None else reply.integer(len(value))


@command(
    b"SMEMBERS",
    arity=2,
    flags=READONLY,
    keys=FIRST,
    since="1.0.0",
    group="set",
    summary="Lists a set's members",
    complexity="O(N), N members",
)
def smembers(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_set(ctx, argv[1])
    return _reply(ctx, [] if value is None else list(value))


@command(
    b"SMOVE",
    arity=4,
    flags=WRITE | FAST,
    keys=FIRST_TWO,
    since="1.0.0",
    group="set",
    summary="Moves a member from one set to another",
)
def smove(ctx: Context, argv: list[bytes]) -> bytes:
    _, source_key, key, member = argv
    found, target = ctx.lookup(source_key), ctx.lookup(key)
    if found is None:
        return reply.ZERO  # whatever type the other key holds
    if type(found) is not Set or (target is not None and type(target) is not Set):
        raise CommandError(reply.WRONGTYPE)
    if found is target:
        return reply.ONE if member in found else reply.ZERO
    if not found.remove(member):
        return reply.ZERO
    if not len(found):
        ctx.database.remove(source_key)
    if target is None:
        target = Set()
        ctx.database.put(key, target)
    ctx.effect(b"SMOVE", source_key, key, member)
    if target.add(member, _limit(ctx)):
        ctx.touch(key)
    return reply.ONE


@command(
    b"SSCAN",
    arity=-3,
    flags=READONLY,
    keys=FIRST,
    since="2.8.0",
    group="set",
    summary="Walks a set, some members a call",
    complexity="O(1) a call, O(N) a walk",
)
def sscan(ctx: Context, argv: list[bytes]) -> bytes:
    cursor = cursor_of(argv)
    return walk(
        lookup_set(ctx, argv[1]), cursor, argv, lambda member: member, lambda members: members
    )


# ----------------------------------------------------------------- random members


@command(
    b"SPOP",
    arity=-2,
    flags=WRITE | FAST,
    keys=FIRST,
    since="1.0.0",
    group="set",
    summary="Takes members out of a set by chance",
    complexity="O(1) without a count, else O(N), N members taken",
)
def spop(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) > 2:
        return _pop_many(ctx, argv)
    key = argv[1]
    value = lookup_set(ctx, key)
    if value is None:
        return ctx.nil
    member = value.random(ctx.rng)
    value.remove(member)
    if not len(value):
        ctx.database.remove(key)
    _note(ctx, _SREM_HEAD, key, member)
    return bulk(member)


def _pop_many(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) > 3:
        raise syntax_error()
    key = argv[1]
    count = integer(argv[2], "ERR value is out of range, must be positive")
    if count < 0:
        raise CommandError("ERR value is out of range, must be positive")
    value = lookup_set(ctx, key)
    if value is None or not count:
        return _reply(ctx, [])
    left = len(value) - count
    if left <= 0:
        ctx.database.remove(key)
        ctx.effect(b"DEL", key)
        return _reply(ctx, _in_order(value, _limit(ctx)))
    if left * _FEW_LEFT > count:
        taken = value.sample(ctx.rng, count)
        check_effects(ctx, taken)
        for member in taken:
            value.remove(member)
    else:
        kept = build(value.sample(ctx.rng, left), _limit(ctx))
        taken = not_among(list(value), kept)
        check_effects(ctx, taken)
        ctx.database.put(key, kept)
    _note_many(ctx, b"SREM", key, taken)
    return _reply(ctx, taken)


@command(
    b"SRANDMEMBER",
    arity=-2,
    flags=READONLY,
    keys=FIRST,
    since="1.0.0",
    group="set",
    summary="Returns members of a set by chance",
    complexity="O(1) without a count, else O(N), N members returned",
)
def srandmember(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) > 3:
        raise syntax_error()
    count = None
    if len(argv) == 3:
        count = integer(argv[2])
        if count < -_MOST_DRAWN:
            lowest = -INT64_MAX if count < -INT64_MAX else -_MOST_DRAWN
            raise CommandError(
                f"ERR value is out of range, value must between {lowest} and {INT64_MAX}"
            )
    value = lookup_set(ctx, argv[1])
    if count is None:
        return ctx.nil if value is None else bulk(value.random(ctx.rng))
    if value is None or not count:
        return reply.EMPTY_ARRAY
    if count >= len(value):
        return reply.bulk_array(list(value))
    if count > 0:
        return reply.bulk_array(value.sample(ctx.rng, count))
    return reply.bulk_array(_draw(ctx, value, -count))


def _draw(ctx: Context, value: Set, count: int) -> list[bytes]:
    """Return ``count`` random members, with repeats."""
    if count >= len(value):
        return ctx.rng.choices(list(value), k=count)
    return [value.random(ctx.rng) for _ in range(count)]


# ----------------------------------------------------------------- algebra


def _intersection(sets: list[Set | None]) -> list[bytes]:
    """Return the members of the smallest set that are in all sets, in its order."""
    some = [value for value in sets if value is not None]
    if len(some) < len(sets):
        return []
    smallest, *others = sorted(some, key=len)
    members = list(smallest)
    for other in others:
        if members and other is not smallest:
            members = among(members, other)
    return members


def _union(sets: list[Set | None]) -> list[bytes]:
    some = [value for value in sets if value is not None]
    return list(some[0]) if len(some) == 1 else list(dict.fromkeys(chain.from_iterable(some)))


def _difference(sets: list[Set | None]) -> tuple[list[bytes], bool]:
    """Return the members, and whether others' members were removed from the first set to find them.
    This way is less work if the other sets are small.
    """
    first, others = sets[0], [value for value in sets[1:] if value is not None]
    if first is None or any(value is first for value in others):
        return [], False
    by_asking = len(first) * (len(others) + 1) // 2 <= len(first) + sum(map(len, others))
    if by_asking:
        members = list(first)
        for other in sorted(others, key=len, reverse=True):
            members = not_among(members, other)
        return members, False
    left = dict.fromkeys(first)
    for member in chain.from_iterable(others):
        left.pop(member, None)
    return list(left), True


def _lookup_all(ctx: Context, keys: list[bytes]) -> list[Set | None]:
    """Return each key's set, once for a key that is named several times.
    A repeated key changes no union and no intersection.
    """
    return [lookup_set(ctx, key) for key in dict.fromkeys(keys)]


def _lookup_first_and_others(ctx: Context, keys: list[bytes]) -> list[Set | None]:
    """Return the first key's set, and the others; the first key counts again if it is repeated."""
    return [lookup_set(ctx, keys[0]), *_lookup_all(ctx, keys[1:])]


def _store(ctx: Context, key: bytes, value: Set | None) -> bytes:
    """Store ``value``; None or empty leaves no key."""
    database = ctx.database
    members = list(value) if value else []
    check_effects(ctx, members)
    if ctx.lookup(key) is not None:
        database.remove(key)
        ctx.effect(b"DEL", key)
    if not value:
        return reply.ZERO
    database.put(key, value)
    _note_many(ctx, b"SADD", key, members)
    return reply.integer(len(members))


_ALGEBRA: Final = "O(N), N members in all sets"
_CROSSING: Final = "O(N*M), N members of the smallest set, M sets"


@command(
    b"SINTER",
    arity=-2,
    flags=READONLY,
    keys=ALL,
    since="1.0.0",
    group="set",
    summary="Lists the members that all sets have",
    complexity=_CROSSING,
)
def sinter(ctx: Context, argv: list[bytes]) -> bytes:
    return _reply(ctx, _intersection(_lookup_all(ctx, argv[1:])))


@command(
    b"SUNION",
    arity=-2,
    flags=READONLY,
    keys=ALL,
    since="1.0.0",
    group="set",
    summary="Lists the members that any set has",
    complexity=_ALGEBRA,
)
def sunion(ctx: Context, argv: list[bytes]) -> bytes:
    return _reply(ctx, _in_order(_union(_lookup_all(ctx, argv[1:])), _limit(ctx)))


@command(
    b"SDIFF",
    arity=-2,
    flags=READONLY,
    keys=ALL,
    since="1.0.0",
    group="set",
    summary="Lists the first set's members no other has",
    complexity=_ALGEBRA,
)
def sdiff(ctx: Context, argv: list[bytes]) -> bytes:
    return _reply(
        ctx, _in_order(_difference(_lookup_first_and_others(ctx, argv[1:]))[0], _limit(ctx))
    )


@command(
    b"SINTERSTORE",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys=ALL,
    since="1.0.0",
    group="set",
    summary="Makes a set of the members that all sets have",
    complexity=_CROSSING,
)
def sinterstore(ctx: Context, argv: list[bytes]) -> bytes:
    return _store(ctx, argv[1], build(_intersection(_lookup_all(ctx, argv[2:])), _limit(ctx)))


@command(
    b"SUNIONSTORE",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys=ALL,
    since="1.0.0",
    group="set",
    summary="Makes a set of the members that any set has",
    complexity=_ALGEBRA,
)
def sunionstore(ctx: Context, argv: list[bytes]) -> bytes:
    return _store(ctx, argv[1], build(_union(_lookup_all(ctx, argv[2:])), _limit(ctx)))


@command(
    b"SDIFFSTORE",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys=ALL,
    since="1.0.0",
    group="set",
    summary="Makes a set of the first set's members no other has",
    complexity=_ALGEBRA,
)
def sdiffstore(ctx: Context, argv: list[bytes]) -> bytes:
    sets, limit = _lookup_first_and_others(ctx, argv[2:]), _limit(ctx)
    members, by_removal = _difference(sets)
    value = build(members, limit)
    if by_removal and sets[0] is not None and not sets[0].all_integers(limit):
        # in Redis the result held all of the first set once, and a table never becomes integers
        # again
        value.become_table()
    return _store(ctx, argv[1], value)


@command(
    b"SINTERCARD",
    arity=-3,
    flags=READONLY | MOVABLEKEYS,
    find_keys=lambda argv: counted_keys(argv, 1),
    since="7.0.0",
    group="set",
    summary="Counts the members that all sets have",
    complexity=_CROSSING,
)
def sintercard(ctx: Context, argv: list[bytes]) -> bytes:
    count = integer(argv[1], "ERR numkeys should be greater than 0")
    if count <= 0:
        raise CommandError("ERR numkeys should be greater than 0")
    if count > len(argv) - 2:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    limit = 0
    for at in range(2 + count, len(argv), 2):
        if argv[at].upper() != b"LIMIT" or at + 1 == len(argv):
            raise syntax_error()
        limit = integer(argv[at + 1], "ERR LIMIT can't be negative")
        if limit < 0:
            raise CommandError("ERR LIMIT can't be negative")
    sets = _lookup_all(ctx, argv[2 : 2 + count])
    return reply.integer(_count_common(sets, limit) if limit else len(_intersection(sets)))


def _count_common(sets: list[Set | None], limit: int) -> int:
    """Return how many members are common, at most ``limit``.
    It reads the smallest set's members piece by piece until the limit is reached.
    """
    some = [value for value in sets if value is not None]
    if len(some) < len(sets):
        return 0
    smallest, *others = sorted(some, key=len)
    waiting, found = iter(smallest), 0
    while found < limit and (members := list(islice(waiting, _PIECE))):
        for other in others:
            if members:
                members = among(members, other)
        found += len(members)
    return min(found, limit)
