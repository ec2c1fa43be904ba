"""Sets: sorted packed integers while every member is one and they are few, else a hash table of members.

Decides: how a set is stored, when it becomes a table, how its members are added, taken out, drawn and walked. Must not know: keys, commands, effects,
settings (a limit is an argument). Integers stand in an array of 2, 4 or 8 bytes each, the width of the widest ever in it; a member
is found by bisection. A table is for good: a set does not become integers again, as in Redis.
Invariants: ``table`` is None or ``integers`` is empty; ``integers`` are in order and all different; a member is bytes and nobody's spelling of
an integer is told apart from the integer (only canonical spellings count as integers).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from random import Random
from sys import getsizeof
from typing import Any, Final

from memstore.engine.values import Kind, parse_integer, register
from memstore.engine.values.table import Table

MOST_INTEGERS: Final = 1 << 30  # whatever the setting says
_WIDTHS: Final = ((1 << 15, "h"), (1 << 31, "i"), (1 << 63, "q"))
_DENSE: Final = 3  # one in so many wanted: to list all members costs less than to draw until there are enough
_NO_INTEGERS: Final = array("h")  # shared and never written


class Set:
    __slots__ = ("integers", "table")

    def __init__(self) -> None:
        self.integers: array[int] = array("h")
        self.table: Table | None = None

    def __len__(self) -> int:
        return len(self.integers) if self.table is None else len(self.table)

    def __contains__(self, member: bytes) -> bool:
        if self.table is not None:
            return member in self.table
        number = parse_integer(member)
        if number is None:
            return False
        at = bisect_left(self.integers, number)
        return at < len(self.integers) and self.integers[at] == number

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.table) if self.table is not None else map(b"%d".__mod__, self.integers)

    def add(self, member: bytes, limit: int) -> bool:
        """Whether the member is new. More than ``limit`` integers make it a table."""
        table = self.table
        if table is None:
            number = parse_integer(member)
            if number is not None:
                return self._add_integer(number, limit)
            table = self.become_table()
        return table.put(member, True)

    def _add_integer(self, number: int, limit: int) -> bool:
        integers = self.integers
        at = bisect_left(integers, number)
        if at < len(integers) and integers[at] == number:
            return False
        try:
            integers.insert(at, number)
        except OverflowError:  # once a width: checking each number would cost every one
            self.integers = integers = array(_width(number), integers)
            integers.insert(at, number)
        if len(integers) > min(limit, MOST_INTEGERS):
            self.become_table()
        return True

    def become_table(self) -> Table:
        """Give up the integers for good."""
        table = self.table
        if table is None:
            table = self.table = Table()
            for number in self.integers:
                table.put(b"%d" % number, True)
            self.integers = _NO_INTEGERS
        return table

    def remove(self, member: bytes) -> bool:
        """Whether the member was there."""
        if self.table is not None:
            return self.table.pop(member, False) is True
        number = parse_integer(member)
        if number is None:
            return False
        at = bisect_left(self.integers, number)
        if at == len(self.integers) or self.integers[at] != number:
            return False
        del self.integers[at]
        return True

    def which(self, members: Sequence[bytes]) -> list[bool]:
        """Of each of many members, whether it is in the set."""
        table = self.table
        if table is not None:
            return table.which(members)
        if len(members) * 4 < len(self.integers):
            return [member in self for member in members]
        return list(map(frozenset(self).__contains__, members))

    # ----------------------------------------------------------------- chance and walks

    def random(self, rng: Random) -> bytes:
        """A member by chance, each as likely as any other. There must be one."""
        if self.table is not None:
            return self.table.random(rng)
        return b"%d" % self.integers[int(rng.random() * len(self.integers))]

    def sample(self, rng: Random, count: int) -> list[bytes]:
        """``count`` different members by chance, no more than there are."""
        if count * _DENSE >= len(self):
            return rng.sample(list(self), count)
        found: dict[bytes, None] = {}
        while len(found) < count:
            found[self.random(rng)] = None
        return list(found)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """As `Table.scan`; integers come all at once."""
        if self.table is None:
            return 0, list(self)
        cursor, items = self.table.scan(cursor, count)
        return cursor, [member for member, _ in items]

    # ----------------------------------------------------------------- as a whole

    def all_integers(self, limit: int) -> bool:
        """Whether these members would make a set of integers if they came anew."""
        return self.table is None or ordered_integers(self, limit) is not None

    def copy(self) -> Set:
        new = Set()
        if self.table is not None:
            new.integers = _NO_INTEGERS
            new.table = self.table.copy()
        else:
            new.integers = self.integers[:]
        return new

    def size(self) -> int:
        return getsizeof(self) + getsizeof(self.integers) if self.table is None else getsizeof(self) + self.table.size()


def _width(number: int) -> str:
    return next(code for bound, code in _WIDTHS if -bound <= number < bound)


def ordered_integers(members: Iterable[bytes], limit: int) -> list[int] | None:
    """The members as integers in their order; None if one is none or there are more than ``limit``."""
    found: list[int] = []
    for member in members:
        number = parse_integer(member)
        if number is None or len(found) >= limit:
            return None
        found.append(number)
    found.sort()
    return found


def build(members: Iterable[bytes], limit: int) -> Set:
    """The set of these different members."""
    new = Set()
    waiting = iter(members)
    for member in waiting:
        new.add(member, limit)
        if new.table is not None:
            put = new.table.put
            for rest in waiting:
                put(rest, True)
    return new


def among(members: list[bytes], others: Set) -> list[bytes]:
    """Those that are in ``others``, in their order."""
    return list(compress(members, others.which(members)))


def not_among(members: list[bytes], others: Set) -> list[bytes]:
    return [member for member, there in zip(members, others.which(members), strict=True) if not there]


def _encoding(value: Any) -> bytes:
    return b"intset" if value.table is None else b"hashtable"


def _canonical(value: Any) -> bytes:
    return b"".join([b"%d:%b" % (len(member), member) for member in sorted(value)])


register(Set, Kind(b"set", _encoding, Set.copy, Set.size, _canonical))
