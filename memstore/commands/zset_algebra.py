"""Unions, intersections and differences of sorted sets and sets.

A member of a set has the score 1.

Decides: how options are read, how scores are weighted and combined, in what order. As in Redis the
smallest input comes first, since sums of doubles depend on the order.
Must not know: how sets are kept, the log, roles, clocks. A product or sum that is not a number
counts as zero, as in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from memstore.commands.parse import counted_keys, integer, syntax_error
from memstore.commands.zsets import pairs_reply, store
from memstore.engine import reply
from memstore.engine.command import DENYOOM, FIRST, MOVABLEKEYS, READONLY, WRITE, command
from memstore.engine.context import Context
from memstore.engine.reply import CommandError
from memstore.engine.values.double import parse_double
from memstore.engine.values.set import Set
from memstore.engine.values.sorted import SortedSet

_UNION: Final = 0
_INTER: Final = 1
_DIFF: Final = 2
_GROUP: Final = "sorted-set"
_SUM_COST: Final = "O(N) + O(M log M), N members in all, M in the result"
_INTER_COST: Final = "O(N K) + O(M log M), N members of the smallest of K inputs, M in the result"
_DIFF_COST: Final = "O(N) + O(M log M), N members in all, M in the result"

_Source = SortedSet | Set | None
_Aggregate = Callable[[float, float], float]


def _sum(one: float, two: float) -> float:
    total = one + two
    return total if total == total else 0.0


def _min(one: float, two: float) -> float:
    return two if two < one else one


def _max(one: float, two: float) -> float:
    return two if two > one else one


_AGGREGATES: Final[dict[bytes, _Aggregate]] = {b"SUM": _sum, b"MIN": _min, b"MAX": _max}


class _Request:
    """The request of a command line."""

    __slots__ = ("aggregate", "limit", "sources", "weights", "with_scores")

    def __init__(self, sources: list[_Source]) -> None:
        self.sources = sources
        self.weights = [1.0] * len(sources)
        self.aggregate: _Aggregate = _sum
        self.with_scores = False
        self.limit = 0


def _lookup(ctx: Context, key: bytes) -> _Source:
    value = ctx.lookup(key)
    if value is None or type(value) is SortedSet or type(value) is Set:
        return value
    raise CommandError(reply.WRONGTYPE)


def _parse(
    ctx: Context, argv: list[bytes], first: int, kind: int, counting: bool = False
) -> _Request:
    """Read the arguments from ``numkeys`` at ``first`` on.
    As in Redis, the keys are checked before the options.
    """
    number = integer(argv[first])
    if number < 1:
        raise CommandError(
            f"ERR at least 1 input key is needed for '{reply.text(argv[0].lower())}' command"
        )
    at = first + 1 + number
    if at > len(argv):
        raise syntax_error()
    found = _Request([_lookup(ctx, key) for key in argv[first + 1 : at]])
    weighing = kind != _DIFF and not counting
    while at < len(argv):
        option, left = argv[at].upper(), len(argv) - at
        if weighing and left > number and option == b"WEIGHTS":
            for place in range(number):
                weight = parse_double(argv[at + 1 + place])
                if weight is None:
                    raise CommandError("ERR weight value is not a float")
                found.weights[place] = weight
            at += 1 + number
        elif weighing and left >= 2 and option == b"AGGREGATE":
            aggregate = _AGGREGATES.get(argv[at + 1].upper())
            if aggregate is None:
                raise syntax_error()
            found.aggregate = aggregate
            at += 2
        elif first == 1 and not counting and option == b"WITHSCORES":
            found.with_scores = True
            at += 1
        elif counting and left >= 2 and option == b"LIMIT":
            found.limit = integer(argv[at + 1], "ERR LIMIT can't be negative")
            if found.limit < 0:
                raise CommandError("ERR LIMIT can't be negative")
            at += 2
        else:
            raise syntax_error()
    return found


def _pairs(source: SortedSet | Set) -> Iterable[tuple[bytes, float]]:
    return source.items() if isinstance(source, SortedSet) else [(member, 1.0) for member in source]


def _finder(source: SortedSet | Set) -> Callable[[bytes], float | None]:
    """Return a function from a member to its score."""
    if isinstance(source, SortedSet):
        return dict(source.items()).get if type(source.body) is bytes else source.score
    return lambda member: 1.0 if member in source else None


def _union(request: _Request) -> dict[bytes, float]:
    found: dict[bytes, float] = {}
    aggregate = request.aggregate
    for source, weight in _by_size(request):
        for member, score in _pairs(source) if source is not None else ():
            score *= weight
            if score != score:
                score = 0.0
            old = found.get(member)
            found[member] = score if old is None else aggregate(old, score)
    return found


def _by_size(request: _Request) -> list[tuple[_Source, float]]:
    return sorted(
        zip(request.sources, request.weights, strict=True),
        key=lambda pair: 0 if pair[0] is None else len(pair[0]),
    )


def _inter(request: _Request) -> dict[bytes, float]:
    """Return at most as many members as the limit allows."""
    (smallest, first_weight), *rest = _by_size(request)
    found: dict[bytes, float] = {}
    if smallest is None:
        return found
    others = [(_finder(source), weight) for source, weight in rest if source is not None]
    aggregate = request.aggregate
    for member, value in _pairs(smallest):
        score = value * first_weight
        if score != score:
            score = 0.0
        for find, weight in others:
            other = find(member)
            if other is None:
                break
            score = aggregate(score, other * weight)
        else:
            found[member] = score
            if len(found) == request.limit:
                break
    return found


def _diff(request: _Request) -> dict[bytes, float]:
    first, *others = request.sources
    if first is None:
        return {}
    finders = [_finder(source) for source in others if source is not None]
    return {
        member: score
        for member, score in _pairs(first)
        if all(find(member) is None for find in finders)
    }


_WORK: Final = (_union, _inter, _diff)


def _command(ctx: Context, argv: list[bytes], kind: int, first: int) -> bytes:
    """``first``: where ``numkeys`` is; 2: the result is stored at argv[1]."""
    request = _parse(ctx, argv, first, kind)
    found = _WORK[kind](request)
    ordered = sorted(zip(found.values(), found, strict=True))
    members, scores = [member for _, member in ordered], [score for score, _ in ordered]
    if first == 2:
        return store(ctx, argv[1], members, scores)
    return pairs_reply(ctx, members, scores) if request.with_scores else reply.bulk_array(members)


def _keys(argv: list[bytes]) -> list[bytes]:
    return counted_keys(argv, 1)


def _keys_and_target(argv: list[bytes]) -> list[bytes]:
    keys = counted_keys(argv, 2)
    return [argv[1], *keys] if keys else []


_READ: Final = READONLY | MOVABLEKEYS
_STORE: Final = WRITE | DENYOOM | MOVABLEKEYS


@command(
    b"ZUNION",
    arity=-3,
    flags=_READ,
    find_keys=_keys,
    since="6.2.0",
    group=_GROUP,
    summary="Returns the union of sorted sets",
    complexity=_SUM_COST,
)
def zunion(ctx: Context, argv: list[bytes]) -> bytes:
    return _command(ctx, argv, _UNION, 1)


@command(
    b"ZINTER",
    arity=-3,
    flags=_READ,
    find_keys=_keys,
    since="6.2.0",
    group=_GROUP,
    summary="Returns the intersection of sorted sets",
    complexity=_INTER_COST,
)
def zinter(ctx: Context, argv: list[bytes]) -> bytes:
    return _command(ctx, argv, _INTER, 1)


@command(
    b"ZDIFF",
    arity=-3,
    flags=_READ,
    find_keys=_keys,
    since="6.2.0",
    group=_GROUP,
    summary="Returns the first sorted set less others",
    complexity=_DIFF_COST,
)
def zdiff(ctx: Context, argv: list[bytes]) -> bytes:
    return _command(ctx, argv, _DIFF, 1)


@command(
    b"ZINTERCARD",
    arity=-3,
    flags=_READ,
    find_keys=_keys,
    since="7.0.0",
    group=_GROUP,
    summary="Counts the members of an intersection, up to a limit",
    complexity="O(N K), N members of the smallest of K inputs",
)
def zintercard(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.integer(len(_inter(_parse(ctx, argv, 1, _INTER, counting=True))))


@command(
    b"ZUNIONSTORE",
    arity=-4,
    flags=_STORE,
    keys=FIRST,
    find_keys=_keys_and_target,
    since="2.0.0",
    group=_GROUP,
    summary="Stores the union of sorted sets",
    complexity=_SUM_COST,
)
def zunionstore(ctx: Context, argv: list[bytes]) -> bytes:
    return _command(ctx, argv, _UNION, 2)


@command(
    b"ZINTERSTORE",
    arity=-4,
    flags=_STORE,
    keys=FIRST,
    find_keys=_keys_and_target,
    since="2.0.0",
    group=_GROUP,
    summary="Stores the intersection of sorted sets",
    complexity=_INTER_COST,
)
def zinterstore(ctx: Context, argv: list[bytes]) -> bytes:
    return _command(ctx, argv, _INTER, 2)


@command(
    b"ZDIFFSTORE",
    arity=-4,
    flags=_STORE,
    keys=FIRST,
    find_keys=_keys_and_target,
    since="6.2.0",
    group=_GROUP,
    summary="Stores the first sorted set less others",
    complexity=_DIFF_COST,
)
def zdiffstore(ctx: Context, argv: list[bytes]) -> bytes:
    return _command(ctx, argv, _DIFF, 2)
