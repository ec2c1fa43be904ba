"""A small sorted set as one bytes object.

It holds the scores as doubles, then one byte for each member's length, then the members, all in the
set's order.

Decides: the layout, and how a member is found, inserted and removed without unpacking the rest.
Must not know: when a set is small, keys, replies.

A member takes its bytes and nine more. The functions take the body and the number of members, and
return a new body: a body is never changed. Doubles have this machine's byte order: bodies never
leave the process.

Invariants: members ascend by (score, member); no member is longer than `LONGEST`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from struct import Struct
from typing import Final

# Members. An operation on this many takes some microseconds, as long as the command around it.
MOST: Final = 128
LONGEST: Final = 64  # bytes of a member: to pack longer ones saves little and slows copies

_DOUBLE: Final = Struct("d")
_DOUBLES: Final = [Struct(f"{count}d") for count in range(MOST + 1)]
_read_score = _DOUBLE.unpack_from
_pack_score = _DOUBLE.pack


def pack(members: Sequence[bytes], scores: Sequence[float]) -> bytes:
    count = len(members)
    return b"".join((_DOUBLES[count].pack(*scores), bytes(map(len, members)), *members))


def scores(body: bytes, count: int) -> tuple[float, ...]:
    return _DOUBLES[count].unpack_from(body)


def score_at(body: bytes, at: int) -> float:
    score: float = _read_score(body, at * 8)[0]
    return score


def _starts(body: bytes, count: int) -> list[int]:
    """Return where each member starts in ``body``, and where the last one ends."""
    return list(accumulate(body[8 * count : 9 * count], initial=9 * count))


def members(body: bytes, count: int, start: int, stop: int) -> list[bytes]:
    first = 9 * count + sum(body[8 * count : 8 * count + start])
    ends = list(accumulate(body[8 * count + start : 8 * count + stop], initial=first))
    return [body[a:b] for a, b in pairwise(ends)]


def find(body: bytes, count: int, member: bytes) -> int:
    """Return the member's rank; -1: it is not there."""
    if not member:
        return max(body.find(0, 8 * count, 9 * count) - 8 * count, -1)
    at = body.find(member, 9 * count)
    if at < 0:
        return -1
    starts = _starts(body, count)
    while at >= 0:
        # The last member that starts here or before. An empty member starts where the next one does
        # and comes before it.
        rank = bisect_right(starts, at, 0, count) - 1
        if starts[rank] == at and starts[rank + 1] - at == len(member):
            return rank
        at = body.find(member, starts[rank + 1])
    return -1


def place(body: bytes, count: int, score: float, member: bytes) -> int:
    """Return the rank this pair would get."""
    row = _DOUBLES[count].unpack_from(body)
    low = bisect_left(row, score)
    if low == count or row[low] != score:
        return low
    high = bisect_right(row, score, low)
    return low + bisect_left(members(body, count, low, high), member)


def insert(body: bytes, count: int, score: float, member: bytes) -> bytes:
    """The member must not be there."""
    return _insert_at(body, count, place(body, count, score, member), score, member)


def _insert_at(body: bytes, count: int, at: int, score: float, member: bytes) -> bytes:
    lengths = 8 * count + at
    here = 9 * count + sum(body[8 * count : lengths])
    return b"".join(
        (
            body[: 8 * at],
            _pack_score(score),
            body[8 * at : lengths],
            bytes((len(member),)),
            body[lengths:here],
            member,
            body[here:],
        )
    )


def move(body: bytes, count: int, at: int, score: float, member: bytes) -> bytes:
    """Change the score of the member that has the rank ``at``."""
    to = place(body, count, score, member)
    if to == at or to == at + 1:  # directly before or after itself: it keeps its place
        return b"".join((body[: 8 * at], _pack_score(score), body[8 * at + 8 :]))
    return _insert_at(
        delete(body, count, at, at + 1), count - 1, to if to < at else to - 1, score, member
    )


def delete(body: bytes, count: int, start: int, stop: int) -> bytes:
    """Return the body without the members of these ranks."""
    lengths = 8 * count
    here = 9 * count + sum(body[lengths : lengths + start])
    there = here + sum(body[lengths + start : lengths + stop])
    return b"".join(
        (
            body[: 8 * start],
            body[8 * stop : lengths + start],
            body[lengths + stop : here],
            body[there:],
        )
    )


def below(body: bytes, count: int, score: float, inclusive: bool) -> int:
    """Return how many members have a score below this one, or up to it."""
    row = _DOUBLES[count].unpack_from(body)
    return bisect_right(row, score) if inclusive else bisect_left(row, score)


def before(body: bytes, count: int, member: bytes, inclusive: bool) -> int:
    """Return how many members are before this one, or up to it, if all scores are equal.
    If scores differ, the number has no meaning.
    """
    row = members(body, count, 0, count)
    return bisect_right(row, member) if inclusive else bisect_left(row, member)
