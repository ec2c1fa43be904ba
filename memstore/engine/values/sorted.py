"""Sorted sets: members with scores, in the order of (score, member).

Decides: how one is stored (packed up to 128 short members, else a table and a rank index), what
OBJECT ENCODING reports.
Must not know: keys, commands, settings, replies.

Every range of any kind is a range of ranks: `below` and `before` find its ends, `part` and
`remove_part` use it. ``skiplist`` is what OBJECT ENCODING reports. The commands set it from the
configured limits and never clear it. The storage form has limits of its own.

Invariants: the table and the rank index hold the same pairs; both hold the same bytes object for a
member; a score is never NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isnan, nan
from struct import pack as pack_doubles
from struct import unpack as unpack_doubles
from typing import ClassVar, Final

from memstore.engine.values import packed_zset
from memstore.engine.values.codec import DumpError, DumpReader, dump_strings
from memstore.engine.values.incremental_dict import IncrementalDict
from memstore.engine.values.packed import pack
from memstore.engine.values.rank_index import RankIndex

_SCORE: Final = (0.5).__sizeof__()
_STEP: Final = 64


class Large:
    """A sorted set of many members."""

    __slots__ = ("rank_index", "table")

    def __init__(self, table: IncrementalDict, rank_index: RankIndex) -> None:
        self.table = table
        self.rank_index = rank_index

    @classmethod
    def of(cls, scores: list[float], members: list[bytes]) -> Large:
        table = IncrementalDict()
        for member, score in zip(members, scores, strict=True):
            table.put(member, score)
        return cls(table, RankIndex(scores, members))

    def copy(self) -> Large:
        return Large(self.table.copy(), self.rank_index.copy())


class SortedSet:
    __slots__ = ("body", "count", "skiplist")

    type_name: ClassVar[bytes] = b"zset"
    code: ClassVar[int] = 6

    def __init__(self) -> None:
        self.body: bytes | Large = b""
        self.count = 0
        self.skiplist = False

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:  # compiled code uses only this
        return len(self) > 0

    @classmethod
    def of(cls, members: list[bytes], scores: list[float], skiplist: bool) -> SortedSet:
        """Return a sorted set of members that are in order already. It owns the lists."""
        made = cls()
        count = made.count = len(members)
        made.skiplist = skiplist
        if count > packed_zset.MOST or (count and max(map(len, members)) > packed_zset.LONGEST):
            made.body = Large.of(scores, members)
        else:
            made.body = packed_zset.pack(members, scores)
        return made

    def copy(self) -> SortedSet:
        other = SortedSet()
        body = self.body
        other.body = body if isinstance(body, bytes) else body.copy()
        other.count, other.skiplist = self.count, self.skiplist
        return other

    # ----------------------------------------------------------------- one member

    def score(self, member: bytes) -> float | None:
        body = self.body
        if type(body) is bytes:
            at = packed_zset.find(body, self.count, member)
            return packed_zset.score_at(body, at) if at >= 0 else None
        assert type(body) is Large
        found: float | None = body.table.get(member)
        return found

    def put(self, member: bytes, score: float) -> float | None:
        """Add a member or change its score. Return the old score; None: the member is new."""
        body = self.body
        if type(body) is bytes:
            count = self.count
            at = packed_zset.find(body, count, member)
            if at >= 0:
                old = packed_zset.score_at(body, at)
                if old != score:
                    self.body = packed_zset.move(body, count, at, score, member)
                return old
            if count < packed_zset.MOST and len(member) <= packed_zset.LONGEST:
                self.body = packed_zset.insert(body, count, score, member)
                self.count = count + 1
                return None
            if not count:
                self.body, self.count = Large.of([score], [member]), 1
                return None
            self.body = body = Large.of(
                list(packed_zset.scores(body, count)), packed_zset.members(body, count, 0, count)
            )
        assert type(body) is Large
        table, rank_index = body.table, body.rank_index
        before: float | None = table.get(member)
        if before is None:
            table.put(member, score)
            rank_index.add(score, member)
            self.count += 1
        elif before != score:
            table.put(member, score)
            if rank_index.count == 1:
                body.rank_index = RankIndex([score], rank_index.part(0, 1)[0])
            else:
                rank_index.add(score, rank_index.remove(before, member))
        return before

    def remove(self, member: bytes) -> bool:
        """Remove a member; return True if it was there."""
        body, count = self.body, self.count
        if type(body) is bytes:
            at = packed_zset.find(body, count, member)
            if at < 0:
                return False
            self.body = packed_zset.delete(body, count, at, at + 1)
        else:
            assert type(body) is Large
            score = body.table.pop(member)
            if score is None:
                return False
            if count > 1:
                body.rank_index.remove(score, member)
            else:
                self.body = b""
        self.count = count - 1
        return True

    # ----------------------------------------------------------------- ranks

    def rank(self, member: bytes) -> int | None:
        body = self.body
        if type(body) is bytes:
            at = packed_zset.find(body, self.count, member)
            return at if at >= 0 else None
        assert type(body) is Large
        score = body.table.get(member)
        return None if score is None else body.rank_index.rank(score, member)

    def below(self, score: float, inclusive: bool) -> int:
        """Return how many members have a score below this one, or up to it."""
        body = self.body
        if type(body) is bytes:
            return packed_zset.below(body, self.count, score, inclusive)
        assert type(body) is Large
        return body.rank_index.below(score, inclusive)

    def before(self, member: bytes, inclusive: bool) -> int:
        """Return how many members are before this one, or up to it, if all scores are equal.
        If scores differ, the result is not specified, as in Redis.
        """
        body = self.body
        if type(body) is bytes:
            return packed_zset.before(body, self.count, member, inclusive)
        assert type(body) is Large
        return body.rank_index.before(member, inclusive)

    def part(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """Return members and scores of the ranks from ``start`` to before ``stop``.
        The ranks must be within the set.
        """
        if start >= stop:
            return [], []
        body = self.body
        if type(body) is bytes:
            return packed_zset.members(body, self.count, start, stop), list(
                packed_zset.scores(body, self.count)[start:stop]
            )
        assert type(body) is Large
        return body.rank_index.part(start, stop)

    def remove_part(self, start: int, stop: int) -> None:
        """Remove the ranks from ``start`` to before ``stop``, which must be within the set."""
        body = self.body
        if start >= stop:
            return
        if stop - start == self.count:
            self.body = b""
        elif type(body) is bytes:
            self.body = packed_zset.delete(body, self.count, start, stop)
        else:
            assert type(body) is Large
            pop = body.table.pop
            for member in body.rank_index.remove_part(start, stop):
                pop(member)
        self.count -= stop - start

    # ----------------------------------------------------------------- all of it

    def items(self) -> Iterator[tuple[bytes, float]]:
        """In order."""
        step = 1024
        for at in range(0, self.count, step):
            yield from zip(*self.part(at, min(at + step, self.count)), strict=True)

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, float]]]:
        """Has the guarantee of SCAN; a packed set is returned whole."""
        body = self.body
        if type(body) is bytes:
            return 0, list(self.items())
        assert type(body) is Large
        return body.table.scan(cursor, count)

    def size(self) -> int:
        body, total = self.body, self.__sizeof__()
        if type(body) is bytes:
            return total + body.__sizeof__()
        assert type(body) is Large
        # the table counts the members
        return total + body.table.size() + body.rank_index.size() + self.count * _SCORE

    def encoding(self) -> bytes:
        return b"skiplist" if self.skiplist else b"listpack"

    def dump(self) -> bytes:
        members, scores = self.part(0, self.count)
        packed = pack_doubles(f"<{len(scores)}d", *scores)
        return bytes((self.skiplist,)) + dump_strings(members) + packed

    @classmethod
    def load(cls, reader: DumpReader) -> SortedSet:
        skiplist = reader.take(1)
        members = reader.members()
        count = len(members)
        scores = list(unpack_doubles(f"<{count}d", reader.take(8 * count)))
        if skiplist not in (b"\x00", b"\x01"):
            raise DumpError("a sorted set with an encoding that is not known")
        pairs = list(zip(scores, members, strict=True))
        if any(map(isnan, scores)) or any(one >= two for one, two in pairwise(pairs)):
            raise DumpError("a sorted set that is not in order")
        if len(set(members)) != count:
            raise DumpError("a sorted set with the same member twice")
        return cls.of(members, scores, skiplist == b"\x01")

    # ----------------------------------------------------------------- for digests

    def weigh(self) -> int:
        body = self.body
        if type(body) is bytes:
            return len(body)
        assert type(body) is Large
        return 8 * self.count + sum(map(len, body.table.keys()))

    def cut(self, start: int, members: int, size: int) -> tuple[int, int, int]:
        """The borders are ranks."""
        at, total, count = start, 0, self.count
        while at < count and at - start < members and total < size:
            for member in self.part(at, min(at + _STEP, count))[0]:
                total += 8 + len(member)
                at += 1
                if total >= size:
                    break
        return (0 if at >= count else at), max(0, at - start), total

    def span(self, start: int, stop: int) -> bytes:
        """Return the pairs of the ranks from ``start`` to before ``stop``, 0: the end.
        Each member has one more number: 0.0 if the table has the same score, nan if it has none,
        else the score of the table.
        """
        members, scores = self.part(start, min(stop or self.count, self.count))
        body = self.body
        if type(body) is not bytes:
            assert type(body) is Large
            scores += [
                nan if (score := body.table.get(member)) is None else 0.0 if score == at else score
                for member, at in zip(members, scores, strict=True)
            ]
        else:
            scores += [0.0] * len(members)
        return pack(members) + pack_doubles(f"<{len(scores)}d", *scores)

    def check(self) -> None:
        """Check the invariants, for tests."""
        body = self.body
        pairs = list(self.items())
        assert len(pairs) == self.count
        if type(body) is bytes:
            assert (
                pairs == sorted(pairs, key=lambda pair: (pair[1], pair[0]))
                and len(dict(pairs)) == self.count
            )
            return
        assert type(body) is Large
        body.rank_index.check()
        assert dict(body.table.items()) == dict(pairs) and len(body.table) == self.count
