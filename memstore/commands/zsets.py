"""Sorted sets: commands for single members and for the ends. See also zset_ranges and zset_algebra.

Decides: what each command reads, changes, answers and logs.
Must not know: how a sorted set is kept (engine.values.sorted), the log, roles, clocks.

Changed scores are logged as the ZADD of the resulting scores, removed members as ZREM, a large pop
as the range of ranks it removed. ZADD of one pair is on the hot path: it finds the slot itself. The
effect that empties a sorted set also deletes its key, here and in a replay. Redis' listpacks do not
keep the sign of a zero. So a command changes the score before it is stored and logged; a replay
does not change it again.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

from memstore.commands.parse import INT64_MAX, counted_keys, integer, syntax_error
from memstore.commands.walk import cursor_of, walk
from memstore.engine import effects, reply
from memstore.engine.command import DENYOOM, FAST, FIRST, MOVABLEKEYS, READONLY, WRITE, command
from memstore.engine.context import IGNORE_EXPIRED, Context
from memstore.engine.keyspace import slot_of
from memstore.engine.limits import check_effects
from memstore.engine.reply import HEADS, CommandError, bulk
from memstore.engine.values.double import parse_double, show_double, show_packed
from memstore.engine.values.sorted import SortedSet

_CRLF: Final = b"\r\n"
_ZADD_HEAD: Final = b"*4\r\n$4\r\nZADD\r\n"
_MANY: Final = len(HEADS)
_OPTIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"))
_LONGEST_SCORE: Final = 24  # a score's text of up to this length is logged unchanged
_NAN: Final = "ERR resulting score is not a number (NaN)"
_OUT_OF_RANGE: Final = "ERR value is out of range"
_INT64_RANGE: Final = f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}"
# members with repetition in one answer; Redis accepts any number, until memory ends
_MOST_REPEATED: Final = 1 << 24
_CHUNK: Final = 512  # pairs in one effect
_FEW_POPPED: Final = 64  # up to this many members are logged by name
_FEW_BYTES: Final = 4096  # of these members together: beyond, ranks take fewer bytes
_SCORE_BYTES: Final = 40  # a score and what RESP puts around it in the log


def lookup_zset(ctx: Context, key: bytes) -> SortedSet | None:
    """The live sorted set at ``key``, or None; raises WRONGTYPE for another type."""
    value = ctx.lookup(key)
    if value is None or type(value) is SortedSet:
        return value
    raise CommandError(reply.WRONGTYPE)


def pairs_reply(ctx: Context, members: list[bytes], scores: list[float]) -> bytes:
    """Return members with scores: one flat array in RESP2, an array of pairs in RESP3."""
    if ctx.resp3:
        return nested_pairs(ctx, members, scores)
    parts = [b"*%d\r\n" % (2 * len(members))]
    for member, score in zip(members, scores, strict=True):
        text = b"%.17g" % score
        parts.append(b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(member), member, len(text), text))
    return b"".join(parts)


def nested_pairs(ctx: Context, members: list[bytes], scores: list[float]) -> bytes:
    parts = [
        b"*2\r\n%b%b" % (bulk(member), ctx.double(b"%.17g" % score))
        for member, score in zip(members, scores, strict=True)
    ]
    return reply.array(parts)


def drop_if_empty(ctx: Context, key: bytes, value: SortedSet) -> None:
    if not value.count:
        ctx.database.remove(key)


# ----------------------------------------------------------------- adding


def _put(ctx: Context, value: SortedSet, member: bytes, score: float, new: bool) -> float:
    """Store a member's score; return the stored score.
    The configured limits decide what OBJECT ENCODING reports.
    """
    if not value.skiplist:
        if new:
            settings = ctx.engine.settings
            if (
                value.count >= settings.zset_max_listpack_entries
                or len(member) > settings.zset_max_listpack_value
            ):
                value.skiplist = True
        if not score and not value.skiplist and ctx.expiry != IGNORE_EXPIRED:
            score = 0.0
    value.put(member, score)
    return score


@command(
    b"ZADD",
    arity=-4,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.2.0",
    group="sorted-set",
    summary="Adds members with scores, or changes their scores",
    complexity="O(log N) a member",
)
def zadd(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) != 4:
        return _add(ctx, argv)
    _, key, text, member = argv
    score = parse_double(text)
    if score is None:
        raise syntax_error() if text.upper() in _OPTIONS else CommandError(reply.NOT_A_FLOAT)
    database = ctx.database
    slot = (crc_hqx(key, 0) & 16383) if b"{" not in key else slot_of(key)
    value = database.slots[slot].get(key)
    if database.volatile and key in database.expires[slot]:
        value = ctx.lookup(key)
    if type(value) is not SortedSet:
        if value is not None:
            raise CommandError(reply.WRONGTYPE)
        value = database.slots[slot][key] = SortedSet()
    if score:
        old = value.put(member, score)
        if old == score:
            return b":0\r\n"
        if old is None and not value.skiplist:
            settings = ctx.engine.settings
            value.skiplist = (
                value.count > settings.zset_max_listpack_entries
                or len(member) > settings.zset_max_listpack_value
            )
        if len(text) > _LONGEST_SCORE:
            text = show_double(score)
    else:
        old = value.score(member)
        if old == score:
            return b":0\r\n"
        text = show_double(_put(ctx, value, member, score, old is None))
    index = database.index
    if index != ctx.unit_db:
        ctx.unit.append(effects.select(index))
        ctx.unit_db = index
    key_length, length = len(key), len(member)
    if key_length < _MANY and length < _MANY:
        ctx.unit.append(
            b"".join(
                (
                    _ZADD_HEAD,
                    HEADS[key_length],
                    key,
                    _CRLF,
                    HEADS[len(text)],
                    text,
                    _CRLF,
                    HEADS[length],
                    member,
                    _CRLF,
                )
            )
        )
    else:
        ctx.unit.append(b"%b%b%b%b" % (_ZADD_HEAD, bulk(key), bulk(text), bulk(member)))
    ctx.changed.append((index, key) if index else key)
    return b":1\r\n" if old is None else b":0\r\n"


@command(
    b"ZINCRBY",
    arity=4,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.2.0",
    group="sorted-set",
    summary="Adds to a member's score",
    complexity="O(log N)",
)
def zincrby(ctx: Context, argv: list[bytes]) -> bytes:
    _, key, text, member = argv
    score = parse_double(text)
    if score is None:
        raise syntax_error() if text.upper() in _OPTIONS else CommandError(reply.NOT_A_FLOAT)
    value = lookup_zset(ctx, key)
    old = None if value is None else value.score(member)
    if old is not None:
        score += old
        if score != score:
            raise CommandError(_NAN)
    if old is None or score != old:
        if value is None:
            value = SortedSet()
            ctx.database.put(key, value)
        ctx.effect(b"ZADD", key, show_double(_put(ctx, value, member, score, old is None)), member)
    return ctx.double(show_double(score))


def _options(argv: list[bytes]) -> tuple[list[bytes], int]:
    """Return ZADD's options, checked against each other, and where the pairs start."""
    options: list[bytes] = []
    at = 2
    while at < len(argv) and (option := argv[at].upper()) in _OPTIONS:
        options.append(option)
        at += 1
    pairs, odd = divmod(len(argv) - at, 2)
    if odd or not pairs:
        raise syntax_error()
    nx, gt, lt = b"NX" in options, b"GT" in options, b"LT" in options
    if nx and b"XX" in options:
        raise CommandError("ERR XX and NX options at the same time are not compatible")
    if (gt and nx) or (lt and nx) or (gt and lt):
        raise CommandError("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in options and pairs > 1:
        raise CommandError("ERR INCR option supports a single increment-element pair")
    return options, at


def _add(ctx: Context, argv: list[bytes]) -> bytes:
    """ZADD with all its options, for any number of pairs."""
    options, first = _options(argv)
    scores = []
    for at in range(first, len(argv), 2):
        score = parse_double(argv[at])
        if score is None:
            raise CommandError(reply.NOT_A_FLOAT)
        scores.append(score)
    key = argv[1]
    value = lookup_zset(ctx, key)
    nx, xx, gt, lt, incr = [option in options for option in (b"NX", b"XX", b"GT", b"LT", b"INCR")]
    made = value is None
    if value is None:
        value = SortedSet()  # stored in the keyspace when it has a member
    changes: list[bytes] = []
    added, answer = 0, None
    for score, member in zip(scores, argv[first + 1 :: 2], strict=True):
        old = value.score(member)
        if xx if old is None else nx:
            continue
        if old is not None:
            if incr:
                score += old
                if score != score:
                    raise CommandError(_NAN)
            if (lt and score >= old) or (gt and score <= old):
                continue
        answer = score
        if old is None or score != old:
            stored = _put(ctx, value, member, score, old is None)
            changes += (show_double(stored), member)
            added += old is None
    if made and value.count:
        ctx.database.put(key, value)
    _log_pairs(ctx, key, changes)
    if incr:
        return ctx.nil if answer is None else ctx.double(show_double(answer))
    return reply.integer(len(changes) // 2 if b"CH" in options else added)


def _log_pairs(ctx: Context, key: bytes, pairs: list[bytes]) -> None:
    """``pairs``: scores and members, alternating."""
    for at in range(0, len(pairs), 2 * _CHUNK):
        ctx.effect(b"ZADD", key, *pairs[at : at + 2 * _CHUNK])


def store(ctx: Context, key: bytes, members: list[bytes], scores: list[float]) -> bytes:
    """Replace the value of ``key`` with a sorted set, given in order, and answer its size.
    An empty set leaves no key.
    """
    check_effects(ctx, members, _SCORE_BYTES)
    if ctx.lookup(key) is not None:
        ctx.database.remove(key)
        ctx.effect(b"DEL", key)
    if members:
        settings = ctx.engine.settings
        skiplist = (
            len(members) > settings.zset_max_listpack_entries
            or max(map(len, members)) > settings.zset_max_listpack_value
        )
        if not skiplist:
            scores = [score or 0.0 for score in scores]
        pairs = [
            part
            for score, member in zip(scores, members, strict=True)
            for part in (show_double(score), member)
        ]
        ctx.database.put(key, SortedSet.of(members, scores, skiplist))
        _log_pairs(ctx, key, pairs)
        return reply.integer(len(pairs) // 2)
    return reply.ZERO


# ----------------------------------------------------------------- removing


@command(
    b"ZREM",
    arity=-3,
    flags=WRITE | FAST,
    keys=FIRST,
    since="1.2.0",
    group="sorted-set",
    summary="Removes members",
    complexity="O(log N) a member",
)
def zrem(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    value = lookup_zset(ctx, key)
    if value is None:
        return reply.ZERO
    removed = [member for member in argv[2:] if value.remove(member)]
    if removed:
        drop_if_empty(ctx, key, value)
        ctx.effect(b"ZREM", key, *removed)
    return reply.integer(len(removed))


def pop(
    ctx: Context, key: bytes, value: SortedSet, count: int, highest: bool
) -> tuple[list[bytes], list[float]]:
    """Remove and return ``count`` members (at least one), or all if there are fewer.
    They come from the lower or the higher end, the end first. The blocking commands use it too.
    """
    size = value.count
    count = min(count, size)
    start, stop = (size - count, size) if highest else (0, count)
    members, scores = value.part(start, stop)
    value.remove_part(start, stop)
    if count == size:
        ctx.database.remove(key)
    if count <= _FEW_POPPED and sum(map(len, members)) <= _FEW_BYTES:
        ctx.effect(b"ZREM", key, *members)
    else:
        ctx.effect(b"ZREMRANGEBYRANK", key, b"%d" % start, b"%d" % (stop - 1))
    if highest:
        members.reverse()
        scores.reverse()
    return members, scores


def _pop_command(ctx: Context, argv: list[bytes], highest: bool) -> bytes:
    counted = len(argv) == 3
    if len(argv) > 3:
        raise syntax_error()
    count = integer(argv[2], "ERR value is out of range, must be positive") if counted else 1
    if count < 0:
        raise CommandError("ERR value is out of range, must be positive")
    key = argv[1]
    value = lookup_zset(ctx, key)
    if value is None or not count:
        return reply.EMPTY_ARRAY
    members, scores = pop(ctx, key, value, count, highest)
    if counted:
        return pairs_reply(ctx, members, scores)
    return b"*2\r\n" + bulk(members[0]) + ctx.double(b"%.17g" % scores[0])


@command(
    b"ZPOPMIN",
    arity=-2,
    flags=WRITE | FAST,
    keys=FIRST,
    since="5.0.0",
    group="sorted-set",
    summary="Takes the members with the lowest scores",
    complexity="O(log N) a member",
)
def zpopmin(ctx: Context, argv: list[bytes]) -> bytes:
    return _pop_command(ctx, argv, False)


@command(
    b"ZPOPMAX",
    arity=-2,
    flags=WRITE | FAST,
    keys=FIRST,
    since="5.0.0",
    group="sorted-set",
    summary="Takes the members with the highest scores",
    complexity="O(log N) a member",
)
def zpopmax(ctx: Context, argv: list[bytes]) -> bytes:
    return _pop_command(ctx, argv, True)


def parse_mpop(argv: list[bytes], first: int) -> tuple[list[bytes], bool, int]:
    """Read ``numkeys key ... MIN|MAX [COUNT n]`` from ``first`` on.
    Returns the keys, whether the highest are wanted, and how many. BZMPOP uses it too.
    """
    number = integer(argv[first], "ERR numkeys should be greater than 0")
    if number < 1:
        raise CommandError("ERR numkeys should be greater than 0")
    at = first + 1 + number
    if at >= len(argv) or argv[at].upper() not in (b"MIN", b"MAX"):
        raise syntax_error()
    rest, count = argv[at + 1 :], 1
    if rest:
        if len(rest) < 2 or rest[0].upper() != b"COUNT":
            raise syntax_error()
        count = integer(rest[1], "ERR count should be greater than 0")
        if count < 1:
            raise CommandError("ERR count should be greater than 0")
        if len(rest) > 2:
            raise syntax_error()
    return argv[first + 1 : at], argv[at].upper() == b"MAX", count


def pop_first(ctx: Context, keys: list[bytes], count: int, highest: bool) -> bytes | None:
    """Return ZMPOP's answer from the first key that holds something; None: none does.
    BZMPOP uses it too.
    """
    for key in keys:
        value = lookup_zset(ctx, key)
        if value is not None:
            members, scores = pop(ctx, key, value, count, highest)
            return b"*2\r\n" + bulk(key) + nested_pairs(ctx, members, scores)
    return None


@command(
    b"ZMPOP",
    arity=-4,
    flags=WRITE | MOVABLEKEYS,
    find_keys=lambda argv: counted_keys(argv, 1),
    since="7.0.0",
    group="sorted-set",
    summary="Takes members from an end of the first sorted set that is there",
    complexity="O(K) + O(M log N), K keys, M members taken",
)
def zmpop(ctx: Context, argv: list[bytes]) -> bytes:
    keys, highest, count = parse_mpop(argv, 1)
    answer = pop_first(ctx, keys, count, highest)
    return ctx.nil_array() if answer is None else answer


# ----------------------------------------------------------------- reading


@command(
    b"ZCARD",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="1.2.0",
    group="sorted-set",
    summary="Counts the members",
)
def zcard(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_zset(ctx, argv[1])
    return reply.ZERO if value is None else reply.integer(value.count)


@command(
    b"ZSCORE",
    arity=3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="1.2.0",
    group="sorted-set",
    summary="Returns a member's score",
)
def zscore(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_zset(ctx, argv[1])
    score = None if value is None else value.score(argv[2])
    return ctx.nil if score is None else ctx.double(b"%.17g" % score)


@command(
    b"ZMSCORE",
    arity=-3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="6.2.0",
    group="sorted-set",
    summary="Returns members' scores",
    complexity="O(N), N members",
)
def zmscore(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_zset(ctx, argv[1])
    if value is None:
        return reply.array([ctx.nil] * (len(argv) - 2))
    scores = [value.score(member) for member in argv[2:]]
    return reply.array(
        [ctx.nil if score is None else ctx.double(b"%.17g" % score) for score in scores]
    )


def _rank(ctx: Context, argv: list[bytes], reverse: bool) -> bytes:
    value = lookup_zset(ctx, argv[1])
    rank = None if value is None else value.rank(argv[2])
    if value is None or rank is None:
        return ctx.nil
    return reply.integer(value.count - 1 - rank if reverse else rank)


@command(
    b"ZRANK",
    arity=3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.0.0",
    group="sorted-set",
    summary="Returns a member's place, counted from the lowest score",
    complexity="O(log N)",
)
def zrank(ctx: Context, argv: list[bytes]) -> bytes:
    return _rank(ctx, argv, False)


@command(
    b"ZREVRANK",
    arity=3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.0.0",
    group="sorted-set",
    summary="Returns a member's place, counted from the highest score",
    complexity="O(log N)",
)
def zrevrank(ctx: Context, argv: list[bytes]) -> bytes:
    return _rank(ctx, argv, True)


@command(
    b"ZRANDMEMBER",
    arity=-2,
    flags=READONLY,
    keys=FIRST,
    since="6.2.0",
    group="sorted-set",
    summary="Returns members by chance",
    complexity="O(N log N), N members returned",
)
def zrandmember(ctx: Context, argv: list[bytes]) -> bytes:
    count, with_scores = 0, len(argv) == 4
    if len(argv) > 2:
        count = integer(argv[2])
        if count < -INT64_MAX:
            raise CommandError(_INT64_RANGE)
        if len(argv) > 4 or (with_scores and argv[3].upper() != b"WITHSCORES"):
            raise syntax_error()
        if with_scores and abs(count) > INT64_MAX // 2:
            raise CommandError(_OUT_OF_RANGE)
    value = lookup_zset(ctx, argv[1])
    if value is None:
        return ctx.nil if len(argv) == 2 else reply.EMPTY_ARRAY
    size, rng = value.count, ctx.rng
    if len(argv) == 2:
        at = rng.randrange(size)
        return bulk(value.part(at, at + 1)[0][0])
    if count < 0:
        if -count > _MOST_REPEATED:
            raise CommandError(_OUT_OF_RANGE)
        ranks = [rng.randrange(size) for _ in range(-count)]
    else:
        ranks = rng.sample(range(size), count) if count < size else list(range(size))
    members, scores = _at_ranks(value, ranks)
    return pairs_reply(ctx, members, scores) if with_scores else reply.bulk_array(members)


def _at_ranks(value: SortedSet, ranks: list[int]) -> tuple[list[bytes], list[float]]:
    if len(ranks) * 8 > value.count:  # to take all is faster than to look up this many
        every, their = value.part(0, value.count)
        return [every[rank] for rank in ranks], [their[rank] for rank in ranks]
    found = [value.part(rank, rank + 1) for rank in ranks]
    return [members[0] for members, _ in found], [scores[0] for _, scores in found]


@command(
    b"ZSCAN",
    arity=-3,
    flags=READONLY,
    keys=FIRST,
    since="2.8.0",
    group="sorted-set",
    summary="Walks a sorted set, some pairs a call",
    complexity="O(1) a call, O(N) a walk",
)
def zscan(ctx: Context, argv: list[bytes]) -> bytes:
    cursor = cursor_of(argv)
    value = lookup_zset(ctx, argv[1])
    show = show_double if value is not None and value.skiplist else show_packed
    return walk(
        value,
        cursor,
        argv,
        lambda pair: pair[0],
        lambda pairs: [part for member, score in pairs for part in (member, show(score))],
    )
