"""Sorted sets by ranges: of ranks, of scores, of members.

Decides: how the ends of ranges are read, what each command answers, removes, stores and logs.
Must not know: how a sorted set is kept, the log, roles, clocks.

Every range becomes a range of ranks before anything changes. So an offset takes no time, and a
removal is logged as the removed ranks. The ranks mean the same members on every node that has
applied the same earlier effects.
"""

from __future__ import annotations

from typing import Any, Final

from memstore.commands.parse import integer, syntax_error
from memstore.commands.zsets import drop_if_empty, lookup_zset, pairs_reply, store
from memstore.engine import reply
from memstore.engine.command import DENYOOM, FAST, FIRST, FIRST_TWO, READONLY, WRITE, command
from memstore.engine.context import Context
from memstore.engine.reply import CommandError
from memstore.engine.values.double import parse_bound
from memstore.engine.values.sorted import SortedSet

_BY_RANK: Final = 0
_BY_SCORE: Final = 1
_BY_LEX: Final = 2
_NOT_FLOAT: Final = "ERR min or max is not a float"
_NOT_LEX: Final = "ERR min or max not valid string range item"
_GROUP: Final = "sorted-set"
_COST: Final = "O(log N + M), M members returned"

# One end of a range: a rank; a score and whether it is excluded; a member and whether it is
# excluded, None for the end of all members.
_Score = tuple[float, bool]
_Lex = tuple[bytes | None, bool]
_End = int | _Score | _Lex


# ----------------------------------------------------------------- the ends


def _score_end(text: bytes) -> _Score:
    excluded = text[:1] == b"("
    score = parse_bound(text[1:] if excluded else text)
    if score is None:
        raise CommandError(_NOT_FLOAT)
    return score, excluded


def _lex_end(text: bytes) -> _Lex:
    """Return an end. ``-`` is (None, False), before all; ``+`` is (None, True), after all."""
    kind = text[:1]
    if kind == b"(" or kind == b"[":
        return text[1:], kind == b"("
    if (kind == b"-" or kind == b"+") and text[1:2] in (b"", b"\x00"):
        return None, kind == b"+"
    raise CommandError(_NOT_LEX)


def _ends(kind: int, low: bytes, high: bytes) -> tuple[_End, _End]:
    if kind == _BY_RANK:
        return integer(low), integer(high)
    if kind == _BY_SCORE:
        return _score_end(low), _score_end(high)
    return _lex_end(low), _lex_end(high)


def _place_lex(value: SortedSet, end: _Lex, is_low: bool) -> int:
    member, flag = end
    if member is None:
        return value.count if flag else 0
    return value.before(member, flag is is_low)


def _ranks(
    value: SortedSet, kind: int, low: Any, high: Any, reverse: bool = False
) -> tuple[int, int]:
    """Return the range as ranks from ``start`` to before ``stop``; start >= stop: it is empty.
    ``reverse`` matters only for ranks: they then count from the other end.
    """
    size = value.count
    if kind == _BY_RANK:
        start, stop = (
            max(low + size if low < 0 else low, 0),
            min((high + size if high < 0 else high) + 1, size),
        )
        return (size - stop, size - start) if reverse and start < stop else (start, stop)
    if kind == _BY_SCORE:
        return value.below(low[0], low[1]), value.below(high[0], not high[1])
    return _place_lex(value, low, True), _place_lex(value, high, False)


# ----------------------------------------------------------------- ZRANGE and its older forms


def _range(
    ctx: Context,
    argv: list[bytes],
    key_at: int,
    kind: int | None,
    reverse: bool | None,
    store_at: bytes | None = None,
) -> bytes:
    """Answer or store a range.
    ``kind`` and ``reverse`` None: the options give them. ``store_at``: the key for the result.
    """
    with_scores = False
    offset, limit = 0, -1
    at = key_at + 3
    kind_given, reverse_given = kind is not None, reverse is not None
    while at < len(argv):
        option = argv[at].upper()
        if option == b"WITHSCORES" and store_at is None:
            with_scores = True
        elif option == b"LIMIT" and at + 2 < len(argv):
            offset, limit = integer(argv[at + 1]), integer(argv[at + 2])
            at += 2
        elif option == b"REV" and not reverse_given:
            reverse, reverse_given = True, True
        elif option in (b"BYLEX", b"BYSCORE") and not kind_given:
            kind, kind_given = _BY_LEX if option == b"BYLEX" else _BY_SCORE, True
        else:
            raise syntax_error()
        at += 1
    kind = kind or _BY_RANK
    if limit != -1 and kind == _BY_RANK:
        raise CommandError(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        )
    if with_scores and kind == _BY_LEX:
        raise CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
    low, high = argv[key_at + 1], argv[key_at + 2]
    if reverse and kind != _BY_RANK:
        low, high = high, low
    first, last = _ends(kind, low, high)
    value = lookup_zset(ctx, argv[key_at])
    members: list[bytes] = []
    scores: list[float] = []
    if value is not None:
        start, stop = _ranks(value, kind, first, last, bool(reverse))
        if kind != _BY_RANK:
            start, stop = _limited(start, stop, offset, limit, bool(reverse))
        members, scores = value.part(start, stop)
    if store_at is not None:
        return store(ctx, store_at, members, scores)
    if reverse:
        members.reverse()
        scores.reverse()
    return pairs_reply(ctx, members, scores) if with_scores else reply.bulk_array(members)


def _limited(start: int, stop: int, offset: int, limit: int, reverse: bool) -> tuple[int, int]:
    """Apply LIMIT: a negative offset leaves nothing, a negative count takes all."""
    if offset < 0 or stop - start <= offset:
        return 0, 0
    if reverse:
        stop -= offset
        return (start if limit < 0 else max(start, stop - limit)), stop
    start += offset
    return start, (stop if limit < 0 else min(stop, start + limit))


@command(
    b"ZRANGE",
    arity=-4,
    flags=READONLY,
    keys=FIRST,
    since="1.2.0",
    group=_GROUP,
    summary="Returns the members in a range of ranks, scores or members",
    complexity=_COST,
)
def zrange(ctx: Context, argv: list[bytes]) -> bytes:
    return _range(ctx, argv, 1, None, None)


@command(
    b"ZRANGESTORE",
    arity=-5,
    flags=WRITE | DENYOOM,
    keys=FIRST_TWO,
    since="6.2.0",
    group=_GROUP,
    summary="Stores the members in a range in another key",
    complexity="O(log N + M), M members stored",
)
def zrangestore(ctx: Context, argv: list[bytes]) -> bytes:
    return _range(ctx, argv, 2, None, None, argv[1])


@command(
    b"ZREVRANGE",
    arity=-4,
    flags=READONLY,
    keys=FIRST,
    since="1.2.0",
    group=_GROUP,
    summary="Returns a range of ranks, highest first",
    complexity=_COST,
)
def zrevrange(ctx: Context, argv: list[bytes]) -> bytes:
    return _range(ctx, argv, 1, _BY_RANK, True)


@command(
    b"ZRANGEBYSCORE",
    arity=-4,
    flags=READONLY,
    keys=FIRST,
    since="1.0.5",
    group=_GROUP,
    summary="Returns a range of scores",
    complexity=_COST,
)
def zrangebyscore(ctx: Context, argv: list[bytes]) -> bytes:
    return _range(ctx, argv, 1, _BY_SCORE, False)


@command(
    b"ZREVRANGEBYSCORE",
    arity=-4,
    flags=READONLY,
    keys=FIRST,
    since="2.2.0",
    group=_GROUP,
    summary="Returns a range of scores, highest first",
    complexity=_COST,
)
def zrevrangebyscore(ctx: Context, argv: list[bytes]) -> bytes:
    return _range(ctx, argv, 1, _BY_SCORE, True)


@command(
    b"ZRANGEBYLEX",
    arity=-4,
    flags=READONLY,
    keys=FIRST,
    since="2.8.9",
    group=_GROUP,
    summary="Returns a range of members of one score",
    complexity=_COST,
)
def zrangebylex(ctx: Context, argv: list[bytes]) -> bytes:
    return _range(ctx, argv, 1, _BY_LEX, False)


@command(
    b"ZREVRANGEBYLEX",
    arity=-4,
    flags=READONLY,
    keys=FIRST,
    since="2.8.9",
    group=_GROUP,
    summary="Returns a range of members of one score, highest first",
    complexity=_COST,
)
def zrevrangebylex(ctx: Context, argv: list[bytes]) -> bytes:
    return _range(ctx, argv, 1, _BY_LEX, True)


# ----------------------------------------------------------------- counting


def _count(ctx: Context, argv: list[bytes], kind: int) -> bytes:
    ends = _ends(kind, argv[2], argv[3])
    value = lookup_zset(ctx, argv[1])
    if value is None:
        return reply.ZERO
    start, stop = _ranks(value, kind, *ends)
    return reply.integer(max(stop - start, 0))


@command(
    b"ZCOUNT",
    arity=4,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.0.0",
    group=_GROUP,
    summary="Counts the members in a range of scores",
    complexity="O(log N)",
)
def zcount(ctx: Context, argv: list[bytes]) -> bytes:
    return _count(ctx, argv, _BY_SCORE)


@command(
    b"ZLEXCOUNT",
    arity=4,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.8.9",
    group=_GROUP,
    summary="Counts a range of members of one score",
    complexity="O(log N)",
)
def zlexcount(ctx: Context, argv: list[bytes]) -> bytes:
    return _count(ctx, argv, _BY_LEX)


# ----------------------------------------------------------------- removing


def _remove(ctx: Context, argv: list[bytes], kind: int) -> bytes:
    ends = _ends(kind, argv[2], argv[3])
    key = argv[1]
    value = lookup_zset(ctx, key)
    if value is None:
        return reply.ZERO
    start, stop = _ranks(value, kind, *ends)
    if start >= stop:
        return reply.ZERO
    value.remove_part(start, stop)
    drop_if_empty(ctx, key, value)
    ctx.effect(b"ZREMRANGEBYRANK", key, b"%d" % start, b"%d" % (stop - 1))
    return reply.integer(stop - start)


@command(
    b"ZREMRANGEBYRANK",
    arity=4,
    flags=WRITE,
    keys=FIRST,
    since="2.0.0",
    group=_GROUP,
    summary="Removes a range of ranks",
    complexity="O(log N + M), M members removed",
)
def zremrangebyrank(ctx: Context, argv: list[bytes]) -> bytes:
    return _remove(ctx, argv, _BY_RANK)


@command(
    b"ZREMRANGEBYSCORE",
    arity=4,
    flags=WRITE,
    keys=FIRST,
    since="1.2.0",
    group=_GROUP,
    summary="Removes a range of scores",
    complexity="O(log N + M), M members removed",
)
def zremrangebyscore(ctx: Context, argv: list[bytes]) -> bytes:
    return _remove(ctx, argv, _BY_SCORE)


@command(
    b"ZREMRANGEBYLEX",
    arity=4,
    flags=WRITE,
    keys=FIRST,
    since="2.8.9",
    group=_GROUP,
    summary="Removes a range of members of one score",
    complexity="O(log N + M), M members removed",
)
def zremrangebylex(ctx: Context, argv: list[bytes]) -> bytes:
    return _remove(ctx, argv, _BY_LEX)
