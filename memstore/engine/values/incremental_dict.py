"""The hash table of big hashes, sets and sorted sets: member to value, in many small dicts.

Each dict holds a few hundred members; the dicts are in the order of the members' CRC-32.

Decides: in which dict a member lives, when a dict is split or two are merged, what a scan cursor
means.
Must not know: what values are, keys, replies.

Up to `_ALONE` members it is one dict. A larger table uses linear hashing over the CRC's leading
bits. ``_buckets`` holds the dicts in the order of their CRC ranges. Growth splits one of them and
shrinking merges two, so there is no long pause in a table of any size. With ``_parted`` = 2s, each
of the first 2s dicts holds one value of the ``level + 1`` leading bits. Each of the others holds
one value of the ``level`` leading bits. A pass is over when all dicts of a level are split. A place
takes about 40 bytes in addition to the member.

A cursor is the CRC from which to continue. So it means the same on every node and for every size of
the table. A scan returns every member that exists from its beginning to its end.

A random member is drawn by rejection: a random dict, then a random place in it, and again if the
place is empty. ``_most`` is no less than the length of any dict. An attacker can make members with
equal CRCs, which makes one dict long. Then `random`, a step of `scan` and the splits of this dict,
one in each pass, are O(length).

The order of iteration is the node's own: nothing logged or digested may depend on it.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from random import Random
from sys import getsizeof
from typing import Any, Final

from memstore.engine.values.deferred_free import LARGE, DeferredFree

# members of a dict on average: such dicts are well filled just before a split and just after it
_LOAD: Final = 160
_ALONE: Final = 2 * _LOAD
_CRC_BITS: Final = 32
_FEWEST: Final = 10  # members of the smallest dict worth rebuilding
_TRIES: Final = 64  # about one in three succeeds, unless an attacker chose equal CRCs
_WHOLE: Final = 32  # a dict of up to this many is scanned at once
_SHARE: Final = 64  # each call takes at least one part in this many of a long dict
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
        self._alone: dict[bytes, Any] | None = {}  # all members, while the table is one dict
        self._buckets: list[dict[bytes, Any]] = _NO_BUCKETS
        self._count = 0
        self._ceiling = _FEWEST  # more members: `_grow`
        self._floor = 0  # fewer members: `_shrink`
        self._level_size = 1  # dicts at the start of this pass, a power of two
        self._parted = 0  # how many of the first dicts came from splits of this pass
        self._shift = _CRC_BITS - 1  # leaves level + 1 bits of a CRC
        self._most = 0
        self._deferred_free: DeferredFree | None = None

    @classmethod
    def filled(cls, members: Sequence[bytes], value: Any) -> IncrementalDict:
        """Return a table of these members, each with this value.
        The members usually differ. It takes a quarter of the time of as many `put`.
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

    def __bool__(self) -> bool:  # compiled code uses only this
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
        """Return for each of many members whether it is here."""
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
        """Remove the member; return its value, or ``default`` if it is not there."""
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
        """Return a separate table with the same values in it."""
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
        """Return the bytes taken, about, with members and without values.
        The members count as long as those of one dict are on average.
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
        """Return a random member, all equally likely. There must be one."""
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
        """Return about ``count`` members from ``cursor`` on, and the next cursor.
        The cursor is 0 at the beginning and at the end. Members of one CRC come together.
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
        """Return where a piece of a scan ends, how many members it has, and their weight.
        The piece starts at the CRC ``start`` and has about this many members, or this much weight
        by ``weigh``. The end is 0 at the end of the table.

        At most one member, and those of its CRC, exceed that weight.
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
        """Return the members whose CRC is at least ``start`` and less than ``stop``, in no order.
        ``stop`` 0: no limit.
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
        """Return the first CRC of a dict, and the first one after its last."""
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
        """Merge two dicts, or rebuild the one dict of a small table: a dict never frees unused
        places.
        """
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
                self._deferred_free.pieces = []  # its content is still in use
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
        """Add a guard from `LARGE` dicts on; it stays until the table is one dict again."""
        if self._deferred_free is None and len(self._buckets) >= LARGE:
            self._deferred_free = DeferredFree(self._buckets)


_NO_BUCKETS: Final[list[dict[bytes, Any]]] = []  # shared and never written


def _cut_by_weight(
    crcs: list[int], weights: list[int], end: int, count: int, total: int, size: int
) -> tuple[int, int, int]:
    """As `IncrementalDict.cut` where members are too heavy together. ``end``: the cursor after
    them.
    """
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
    """Return what `IncrementalDict.between` would return if these members were in a table."""
    if not start and not stop:
        return pairs
    if start >> _CRC_BITS:
        return []
    return [pair for pair in pairs if start <= crc32(pair[0]) < (stop or 1 << _CRC_BITS)]


def _part(home: dict[bytes, Any], start: int, count: int) -> tuple[list[tuple[bytes, Any]], int]:
    """Return the first ``count`` members of a dict from the CRC ``start`` on, and the next CRC.
    All members that share the last one's CRC are included. The next CRC is 0 if there is none.
    """
    ordered = sorted([(at, member) for member in home if (at := crc32(member)) >= start])
    end = count
    while 0 < end < len(ordered) and ordered[end][0] == ordered[end - 1][0]:
        end += 1
    rest = ordered[end][0] if end < len(ordered) else 0
    return [(member, home[member]) for _, member in ordered[:end]], rest
