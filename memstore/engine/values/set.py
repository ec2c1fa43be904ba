"""Sets: a few integers are packed and sorted; any other set is a hash table of members.

Decides: how a set is stored, when it becomes a table, how members are added, removed, drawn and
scanned.
Must not know: keys, commands, effects, settings (a limit is an argument).

Integers are in one bytes object, in order. Each takes 2, 4 or 8 bytes, the width of the widest
integer that was ever in the set. A bisection finds a member. An array would avoid the copy at each
change, usually of some hundred bytes. But it would take 50 bytes more for each set. A table never
becomes integers again, as in Redis.

Invariants: ``width`` is the array code of what ``held`` packs, or empty if ``held`` is a table;
packed integers are in order and all different; only the canonical spelling of an integer counts as
one, so a member and its number are equivalent.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, pairwise
from random import Random
from struct import pack as pack_numbers
from struct import unpack as unpack_numbers
from sys import getsizeof
from typing import Any, ClassVar, Final

from memstore.engine.values import parse_integer
from memstore.engine.values.codec import DumpError, DumpReader, dump_strings
from memstore.engine.values.incremental_dict import IncrementalDict, within
from memstore.engine.values.packed import pack

MOST_INTEGERS: Final = 1 << 30  # the maximum, whatever the setting allows
_WIDTHS: Final = ((1 << 15, "h"), (1 << 31, "i"), (1 << 63, "q"))
_BYTES: Final = {"h": 2, "i": 4, "q": 8}
_TABLE: Final = ""  # the width of a table
_DUMPED_TABLE: Final = b"t"
_LONGEST_INTEGER: Final = 20  # bytes
_MOST_DIGESTED: Final = 8192  # packed integers
# One in this many is wanted: to list all members takes less time than to draw until there are
# enough.
_DENSE: Final = 3


class Set:
    __slots__ = ("held", "width")

    type_name: ClassVar[bytes] = b"set"
    code: ClassVar[int] = 4

    def __init__(self) -> None:
        self.held: bytes | IncrementalDict = b""
        self.width = "h"

    @property
    def is_packed(self) -> bool:
        return self.width != _TABLE

    def __len__(self) -> int:
        held = self.held
        return len(held) // _BYTES[self.width] if isinstance(held, bytes) else len(held)

    def __bool__(self) -> bool:  # compiled code uses only this
        return len(self) > 0

    def _integers(self) -> array[int]:
        """Return the integers of a packed set: a copy."""
        assert isinstance(self.held, bytes)
        return array(self.width, self.held)

    def __contains__(self, member: bytes) -> bool:
        held = self.held
        if not isinstance(held, bytes):
            return member in held
        number = parse_integer(member)
        if number is None:
            return False
        integers = array(self.width, held)
        at = bisect_left(integers, number)
        return at < len(integers) and integers[at] == number

    def __iter__(self) -> Iterator[bytes]:
        return (
            map(b"%d".__mod__, self._integers())
            if isinstance(self.held, bytes)
            else iter(self.held)
        )

    def add(self, member: bytes, limit: int) -> bool:
        """Add a member; return True if it is new. More than ``limit`` integers make the set a
        table.
        """
        held = self.held
        if isinstance(held, bytes):
            number = parse_integer(member)
            if number is not None:
                return self._add_integer(number, limit)
            held = self.become_table()
        return held.put(member, True)

    def _add_integer(self, number: int, limit: int) -> bool:
        integers = self._integers()
        at = bisect_left(integers, number)
        if at < len(integers) and integers[at] == number:
            return False
        try:
            integers.insert(at, number)
        except OverflowError:  # once for each width; a check of each number would take time
            self.width = _width(number)
            integers = array(self.width, integers)
            integers.insert(at, number)
        self.held = integers.tobytes()
        if len(integers) > min(limit, MOST_INTEGERS):
            self.become_table()
        return True

    def add_many(self, members: Sequence[bytes], limit: int) -> list[bytes]:
        """Add members; return those that are new. The integers are packed once, not for each
        member.
        """
        added: list[bytes] = []
        waiting = iter(members)
        if self.is_packed:
            known = set(self._integers())
            limit = min(limit, MOST_INTEGERS)
            for member in waiting:
                number = parse_integer(member)
                if number is None or (number not in known and len(known) >= limit):
                    self._pack(sorted(known))
                    if self.become_table().put(member, True):
                        added.append(member)
                    break
                if number not in known:
                    known.add(number)
                    added.append(member)
            else:
                self._pack(sorted(known))
                return added
        put = self.become_table().put
        added += [member for member in waiting if put(member, True)]
        return added

    def _pack(self, numbers: list[int]) -> None:
        """Store these integers, which are in order and all different."""
        if numbers:
            self.width = max(
                self.width, _width(max(numbers[-1], -1 - numbers[0])), key=_BYTES.__getitem__
            )
        self.held = array(self.width, numbers).tobytes()

    def become_table(self) -> IncrementalDict:
        """Turn the integers into a table, permanently."""
        held = self.held
        if not isinstance(held, bytes):
            return held
        table = IncrementalDict()
        for number in self._integers():
            table.put(b"%d" % number, True)
        self.held, self.width = table, _TABLE
        return table

    def remove(self, member: bytes) -> bool:
        """Remove a member; return True if it was there."""
        held = self.held
        if not isinstance(held, bytes):
            return held.pop(member, False) is True
        number = parse_integer(member)
        if number is None:
            return False
        integers = array(self.width, held)
        at = bisect_left(integers, number)
        if at == len(integers) or integers[at] != number:
            return False
        size = integers.itemsize
        self.held = held[: at * size] + held[at * size + size :]
        return True

    def which(self, members: Sequence[bytes]) -> list[bool]:
        """Return for each of many members whether it is in the set."""
        held = self.held
        if not isinstance(held, bytes):
            return held.which(members)
        if len(members) <= 1:
            return [member in self for member in members]
        return list(map(frozenset(self).__contains__, members))

    # ----------------------------------------------------------------- chance and walks

    def random(self, rng: Random) -> bytes:
        """Return a random member, all equally likely. There must be one."""
        held = self.held
        if not isinstance(held, bytes):
            return held.random(rng)
        integers = array(self.width, held)
        return b"%d" % integers[int(rng.random() * len(integers))]

    def sample(self, rng: Random, count: int) -> list[bytes]:
        """Return ``count`` different random members; the set must have at least this many."""
        if self.is_packed or count * _DENSE >= len(self):
            return rng.sample(list(self), count)
        found: dict[bytes, None] = {}
        while len(found) < count:
            found[self.random(rng)] = None
        return list(found)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """As `IncrementalDict.scan`; integers are returned all at once."""
        held = self.held
        if isinstance(held, bytes):
            return 0, list(self)
        cursor, items = held.scan(cursor, count)
        return cursor, [member for member, _ in items]

    # ----------------------------------------------------------------- as a whole

    def all_integers(self, limit: int) -> bool:
        """Return True if these members would make a set of integers in a new set."""
        return self.is_packed or ordered_integers(self, limit) is not None

    def copy(self) -> Set:
        new = Set()
        held = self.held
        new.held = held if isinstance(held, bytes) else held.copy()
        new.width = self.width
        return new

    def size(self) -> int:
        held = self.held
        return getsizeof(self) + (getsizeof(held) if isinstance(held, bytes) else held.size())

    def encoding(self) -> bytes:
        return b"intset" if self.is_packed else b"hashtable"

    def weigh(self) -> int:
        held = self.held
        return _LONGEST_INTEGER * len(self) if isinstance(held, bytes) else sum(map(len, held))

    def cut(self, start: int, members: int, size: int) -> tuple[int, int, int]:
        """Return packed integers as one piece.
        The piece has no members if a setting allows so many integers that reading them would stop
        the loop.
        """
        held = self.held
        if isinstance(held, bytes):
            return 0, len(self) if len(self) <= _MOST_DIGESTED else 0, 0
        return held.cut(start, members, size, _member_bytes)

    def span(self, start: int, stop: int) -> bytes:
        """Return the members with a CRC from ``start`` to before ``stop``, 0: no limit."""
        held = self.held
        if not isinstance(held, bytes):
            return pack(sorted([member for member, _ in held.between(start, stop)]))
        pairs = within(dict.fromkeys(self, True).items(), start, stop)
        return pack(sorted([member for member, _ in pairs]))

    def dump(self) -> bytes:
        if not self.is_packed:
            return _DUMPED_TABLE + dump_strings(list(self))
        numbers = self._integers()
        count = len(numbers)
        return self.width.encode() + pack_numbers(f"<I{count}{self.width}", count, *numbers)

    @classmethod
    def load(cls, reader: DumpReader) -> Set:
        new, width = cls(), reader.take(1)
        if width == _DUMPED_TABLE:
            members = reader.members()
            table = IncrementalDict.filled(members, True)
            if len(table) != len(members):
                raise DumpError("a set with the same member twice")
            new.held, new.width = table, _TABLE
            return new
        code = width.decode("latin-1")
        if code not in _BYTES:
            raise DumpError("a set with an encoding that is not known")
        count = reader.number()
        numbers = unpack_numbers(f"<{count}{code}", reader.take(count * _BYTES[code]))
        if not count or any(one >= two for one, two in pairwise(numbers)):
            raise DumpError("a set of integers that is empty or not in order")
        new.held, new.width = array(code, numbers).tobytes(), code
        return new


def _width(number: int) -> str:
    return next(code for bound, code in _WIDTHS if -bound <= number < bound)


def ordered_integers(members: Iterable[bytes], limit: int) -> list[int] | None:
    """Return the members as integers in order.
    None: one of them is no integer, or there are more than ``limit``.
    """
    found: list[int] = []
    for member in members:
        number = parse_integer(member)
        if number is None or len(found) >= limit:
            return None
        found.append(number)
    found.sort()
    return found


def build(members: Sequence[bytes], limit: int) -> Set:
    """Return the set of these different members."""
    new = Set()
    numbers = ordered_integers(members, min(limit, MOST_INTEGERS))
    if numbers is None:
        new.held, new.width = IncrementalDict.filled(members, True), _TABLE
    else:
        new._pack(numbers)
    return new


def among(members: list[bytes], others: Set) -> list[bytes]:
    """Return those of ``members`` that are in ``others``, in their order."""
    return list(compress(members, others.which(members)))


def not_among(members: list[bytes], others: Set) -> list[bytes]:
    return [
        member for member, there in zip(members, others.which(members), strict=True) if not there
    ]


def _member_bytes(member: bytes, _: Any) -> int:
    return len(member)
