"""The hash table under big hashes, sets and sorted sets: member to value, in dicts of a few
hundred, in the order of the members' CRC-32.

Decides: in which dict a member lives, when a dict is split or two are merged, what a scan cursor
means.
Must not know: what values are, keys, replies. Up to `_ALONE` members it is one dict. Beyond, linear
hashing over the CRC's leading bits: ``_buckets`` holds the dicts in the order of the CRCs they
stand for, and growing splits one of them, shrinking merges two: no pause however large the table.
With ``_parted`` = 2s, the first 2s dicts each stand for one value of the ``level + 1`` leading
bits, the others for one value of the ``level`` leading bits; a pass is over when all of a level are
split. About 40 bytes a place, beside the member itself. A cursor is the CRC from which to go on, so
it means the same on every node and whatever the table's size has become, and a member that is there
from the beginning of a scan to its end is returned. A random member is drawn by rejection: a dict
by chance, a place in it by chance, and again if there is nobody; ``_most`` is no less than any
dict's length. Members whose CRCs were made to be alike make one dict long, which costs what a long
dict costs: `random`, a step of `scan` and its splits, one a pass, are O(length) then. The order of
iteration is the node's own: nothing logged or digested may depend on it.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from random import Random
from sys import getsizeof
from typing import Any, Final

from memstore.engine.values.deferred_free import LARGE, DeferredFree

# members a dict on average: such dicts are well filled just before they are split and just after
_LOAD: Final = 160
_ALONE: Final = 2 * _LOAD
_CRC_BITS: Final = 32
_FEWEST: Final = 10  # what the smallest dict worth rebuilding holds
_TRIES: Final = 64  # of which one in three or so succeeds, unless the CRCs were made to be alike
_WHOLE: Final = 32  # a dict of up to so many is scanned at once
_SHARE: Final = 64  # of a long dict at least one part in so many a call
_MISSING: Final = object()


class IncrementalDict:
    __slots__ = (
        "_alone",
        "_buckets",
        "_ceiling",
        "_count",
        "_deferred_free",
        "_floor",
        "_level_size",
        "_most",
        "_parted",
        "_shift",
    )

    def __init__(self) -> None:
        self._alone: dict[bytes, Any] | None = {}  # all members, while it is one dict
        self._buckets: list[dict[bytes, Any]] = _NO_BUCKETS
        self._count = 0
        self._ceiling = _FEWEST  # more members: `_grow`
        self._floor = 0  # fewer members: `_shrink`
        self._level_size = 1  # dicts at the beginning of this pass, a power of two
        self._parted = 0  # how many of the first dicts came from splits of this pass
        self._shift = _CRC_BITS - 1  # leaves level + 1 bits of a CRC
        self._most = 0
        self._deferred_free: DeferredFree | None = None

    @classmethod
    def filled(cls, members: Sequence[bytes], value: Any) -> IncrementalDict:
        """A table of these members, which as a rule differ, each with this value: at a quarter of
        the cost of so many `put`.
        """
        table = cls()
        places = len(members) // _LOAD
        if len(members) <= _ALONE:
            table._alone = dict.fromkeys(members, value)
            table._count = table._most = len(table._alone)
            table._ceiling = min(_ALONE, max(_FEWEST, 2 * table._count))
            return table
        bits = places.bit_length() - 1
        table._alone = None
        table._level_size = 1 << bits
        table._parted = parted = 2 * (places - table._level_size)
        table._shift = shift = _CRC_BITS - 1 - bits
        buckets: list[dict[bytes, Any]] = [{} for _ in range(places)]
        table._buckets = buckets
        for member in members:
            buckets[at if (at := crc32(member) >> shift) < parted else (at + parted) >> 1][
                member
            ] = value
        table._count = sum(map(len, buckets))
        table._most = max(map(len, buckets))
        table._settle()
        table._watch()
        return table

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:  # compiled code asks for nothing else
        return len(self) > 0

    def get(self, member: bytes, default: Any = None) -> Any:
        home = self._alone
        if home is None:
            at = crc32(member) >> self._shift
            home = self._buckets[at if at < self._parted else (at + self._parted) >> 1]
        return home.get(member, default)

    def __contains__(self, member: bytes) -> bool:
        home = self._alone
        if home is None:
            at = crc32(member) >> self._shift
            home = self._buckets[at if at < self._parted else (at + self._parted) >> 1]
        return member in home

    def which(self, members: Iterable[bytes]) -> list[bool]:
        """Of each of many members, whether it is here."""
        if self._alone is not None:
            return list(map(self._alone.__contains__, members))
        buckets, parted, shift = self._buckets, self._parted, self._shift
        return [
            member in buckets[at if (at := crc32(member) >> shift) < parted else (at + parted) >> 1]
            for member in members
        ]

    def put(self, member: bytes, value: Any) -> bool:
        """Set the member's value. True: the member is new."""
        home = self._alone
        if home is None:
            at = crc32(member) >> self._shift
            home = self._buckets[at if at < self._parted else (at + self._parted) >> 1]
        before = len(home)
        home[member] = value
        after = len(home)
        if after == before:
            return False
        self._count += 1
        if after > self._most:
            self._most = after
        if self._count > self._ceiling:
            self._grow()
        return True

    def pop(self, member: bytes, default: Any = None) -> Any:
        """Take the member out; its value, or ``default`` if it is not there."""
        home = self._alone
        if home is None:
            at = crc32(member) >> self._shift
            home = self._buckets[at if at < self._parted else (at + self._parted) >> 1]
        value = home.pop(member, _MISSING)
        if value is _MISSING:
            return default
        self._count -= 1
        if self._count < self._floor:
            self._shrink()
        return value

    # ----------------------------------------------------------------- all members

    def items(self) -> Iterator[tuple[bytes, Any]]:
        if self._alone is not None:
            return iter(self._alone.items())
        return chain.from_iterable(map(dict.items, self._buckets))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._alone) if self._alone is not None else chain.from_iterable(self._buckets)

    def keys(self) -> Iterator[bytes]:
        return iter(self)

    def values(self) -> Iterator[Any]:
        if self._alone is not None:
            return iter(self._alone.values())
        return chain.from_iterable(map(dict.values, self._buckets))

    def copy(self) -> IncrementalDict:
        """A table of its own with the same values in it."""
        new = IncrementalDict()
        for name in ("_count", "_ceiling", "_floor", "_level_size", "_parted", "_shift", "_most"):
            setattr(new, name, getattr(self, name))
        if self._alone is not None:
            new._alone = self._alone.copy()
        else:
            new._alone = None
            new._buckets = [bucket.copy() for bucket in self._buckets]
            new._watch()
        return new

    def size(self) -> int:
        """Bytes taken, about, members included (as long as those of one dict
        are on average), values not.
        """
        homes = self._buckets if self._alone is None else [self._alone]
        total = (
            sum(map(dict.__sizeof__, homes))
            + 16 * len(homes)
            + getsizeof(self._buckets)
            + getsizeof(self)
        )
        sample = max(homes, key=len) if len(homes) <= LARGE else max(homes[:LARGE], key=len)
        if sample:
            total += sum(map(bytes.__sizeof__, sample)) * self._count // len(sample)
        return total

    # ----------------------------------------------------------------- some members

    def random(self, rng: Random) -> bytes:
        """A member by chance, each as likely as any other. There must be one."""
        home = self._alone
        chance = rng.random
        if home is not None:
            return next(islice(home, int(chance() * self._count), None))
        buckets = self._buckets
        size, most = len(buckets), self._most
        for _ in range(_TRIES):
            home = buckets[int(chance() * size)]
            at = int(chance() * most)
            if at < len(home):
                return next(islice(home, at, None))
        self._most = max(map(len, buckets))
        at = int(chance() * self._count)
        for home in buckets:
            if at < len(home):
                return next(islice(home, at, None))
            at -= len(home)
        raise AssertionError("fewer members than counted")

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, Any]]]:
        """Some ``count`` members from ``cursor`` on, 0 at the beginning, and the cursor to go on
        from, 0 at the end. Members of one CRC come together.
        """
        found: list[tuple[bytes, Any]] = []
        if not 0 <= cursor < 1 << _CRC_BITS:
            return 0, found
        homes = self._buckets if self._alone is None else [self._alone]
        at = cursor >> self._shift
        place = (
            0 if self._alone is not None else at if at < self._parted else (at + self._parted) >> 1
        )
        while place < len(homes):
            left = count - len(found)
            if left <= 0:
                return cursor, found
            home = homes[place]
            start, end = self._bounds(place)
            if cursor == start and len(home) <= max(left, _WHOLE):
                found += home.items()
            else:
                items, rest = _part(home, cursor, max(left, len(home) // _SHARE))
                found += items
                if rest:
                    return rest, found
            cursor, place = end, place + 1
        return 0, found

    def cut(
        self, start: int, members: int, size: int, weigh: Callable[[bytes, Any], int]
    ) -> tuple[int, int, int]:
        """Where a scan from the CRC ``start`` is after about so many members, or so much by
        ``weigh``, 0: at the end; how many they are, and their weight.

        No more than one member, and those of its CRC, go beyond that weight.
        """
        cursor, count, total = start, 0, 0
        while True:
            cursor, items = self.scan(cursor, _WHOLE)
            weights = [weigh(member, value) for member, value in items]
            if total + sum(weights) > size:
                return _cut_by_weight(
                    [crc32(member) for member, _ in items], weights, cursor, count, total, size
                )
            count += len(items)
            total += sum(weights)
            if not cursor or count >= members:
                return cursor, count, total

    def between(self, start: int, stop: int) -> list[tuple[bytes, Any]]:
        """The members whose CRC is ``start`` or more and less than ``stop`` (0:
        no limit), in no order.
        """
        if not start and not stop:
            return list(self.items())
        cursor, found = start, []
        while True:
            cursor, items = self.scan(cursor, _LOAD)
            found += items
            if not cursor or 0 < stop <= cursor:
                return [item for item in found if crc32(item[0]) < stop] if stop else found

    def _bounds(self, place: int) -> tuple[int, int]:
        """The first CRC that a dict stands for, and the one behind its last."""
        if self._alone is not None:
            return 0, 1 << _CRC_BITS
        parted, shift = self._parted, self._shift
        if place < parted:
            return place << shift, place + 1 << shift
        return 2 * place - parted << shift, 2 * place - parted + 2 << shift

    # ------------------------------------------------------ growing and shrinking, a step at a time

    def _grow(self) -> None:
        if self._alone is not None:
            if self._count <= _ALONE:
                self._ceiling, self._floor = min(4 * self._ceiling, _ALONE), self._ceiling // 2
                return
            self._buckets, self._alone = [self._alone], None
        at = self._parted
        low: dict[bytes, Any] = {}
        high: dict[bytes, Any] = {}
        bit = 1 << self._shift
        for member, value in self._buckets[at].items():
            if crc32(member) & bit:
                high[member] = value
            else:
                low[member] = value
        self._buckets[at : at + 1] = (low, high)
        self._parted = at + 2
        if self._parted == 2 * self._level_size:
            self._level_size *= 2
            self._parted = 0
            self._shift -= 1
            self._most = max(map(len, self._buckets))
        self._settle()

    def _shrink(self) -> None:
        """A dict keeps the room it once needed, so a small table's is built anew."""
        if self._alone is not None:
            self._alone = dict(self._alone)
            self._ceiling = max(_FEWEST, 2 * self._count)
            self._floor = self._count // 4 if self._count > _FEWEST else 0
            self._most = self._count
            return
        if self._parted == 0:
            self._level_size //= 2
            self._parted = 2 * self._level_size
            self._shift += 1
        at = self._parted - 2
        merged = {**self._buckets[at], **self._buckets[at + 1]}
        self._buckets[at : at + 2] = (merged,)
        self._parted = at
        if at == 0:
            self._most = max(map(len, self._buckets))
        elif len(merged) > self._most:
            self._most = len(merged)
        if len(self._buckets) == 1:
            if self._deferred_free is not None:
                self._deferred_free.pieces = []  # what it has is in use still
                self._deferred_free = None
            self._alone, self._buckets = merged, _NO_BUCKETS
            self._ceiling, self._floor = _ALONE, self._count // 4
        else:
            self._settle()

    def _settle(self) -> None:
        size = len(self._buckets)
        self._ceiling = (size + 1) * _LOAD
        self._floor = (size - 1) * _LOAD // 2
        if size == LARGE:
            self._watch()

    def _watch(self) -> None:
        """A guard from `LARGE` dicts on, and below that until the table is one dict again."""
        if self._deferred_free is None and len(self._buckets) >= LARGE:
            self._deferred_free = DeferredFree(self._buckets)


_NO_BUCKETS: Final[list[dict[bytes, Any]]] = []  # shared and never written


def _cut_by_weight(
    crcs: list[int], weights: list[int], end: int, count: int, total: int, size: int
) -> tuple[int, int, int]:
    """`IncrementalDict.cut` among members too heavy together. ``end``: the cursor behind them."""
    before = -1
    for crc, weight in sorted(zip(crcs, weights, strict=True)):
        if total >= size and crc != before:
            return crc, count, total
        before = crc
        count += 1
        total += weight
    return end, count, total


def within(
    pairs: Iterable[tuple[bytes, Any]], start: int, stop: int
) -> Iterable[tuple[bytes, Any]]:
    """Those that `IncrementalDict.between` would give if they were in a table."""
    if not start and not stop:
        return pairs
    if start >> _CRC_BITS:
        return []
    return [pair for pair in pairs if start <= crc32(pair[0]) < (stop or 1 << _CRC_BITS)]


def _part(home: dict[bytes, Any], start: int, count: int) -> tuple[list[tuple[bytes, Any]], int]:
    """The first ``count`` of a dict from the CRC ``start`` on, with all that share the last one's
    CRC, and the next CRC, 0: there is none.
    """
    ordered = sorted([(at, member) for member in home if (at := crc32(member)) >= start])
    end = count
    while 0 < end < len(ordered) and ordered[end][0] == ordered[end - 1][0]:
        end += 1
    rest = ordered[end][0] if end < len(ordered) else 0
    return [(member, home[member]) for _, member in ordered[:end]], rest
