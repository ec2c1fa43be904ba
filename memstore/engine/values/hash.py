"""Hashes: fields with values, in one of three forms that depend on their number and size.

Few small pairs are packed into one bytes object, some hundreds into sixteen; more are in a table.

Decides: how a hash is kept, and what OBJECT ENCODING reports. The first follows measurements of
this code, the second the limits that a client can set.
Must not know: keys, commands, settings (the limits come as arguments).

A packed pair takes its bytes and about ten more. In a table a pair takes about 110 bytes in
addition to its own. That is close to Redis' table, and five times as much as Redis' listpack. The
times of a lookup are similar: one to two microseconds packed, half a microsecond in a table. A hash
never changes back to an earlier form, and neither does its encoding.

Invariants: ``listpack`` once false stays false; ``mark`` is in no element of a hash packed into one
bytes object (`packed.find`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random
from sys import getsizeof
from typing import Any, ClassVar, Final

from memstore.engine.reply import bulk
from memstore.engine.values.codec import DumpError, DumpReader, dump_strings
from memstore.engine.values.incremental_dict import IncrementalDict, within
from memstore.engine.values.packed import NEWLINE, pack, unpack
from memstore.engine.values.packed_pairs import (
    PackedPairs,
    packable,
    pairs_of,
    value_of,
    with_pair,
    without_pair,
)

PACKED_PAIRS: Final = 64  # in one bytes object
PACKED_BYTES: Final = 4096  # of one bytes object
SPLIT_PAIRS: Final = 512
_NO_LIMIT: Final = 1 << 60
_SAMPLES: Final = 64  # pairs of a large hash that represent all pairs when it is measured


class Hash:
    __slots__ = ("_packed_pairs", "data", "listpack", "mark")

    type_name: ClassVar[bytes] = b"hash"
    code: ClassVar[int] = 5

    def __init__(self) -> None:
        self.data: bytes | PackedPairs | IncrementalDict = b""
        self._packed_pairs = 0
        self.listpack = True  # OBJECT ENCODING reports this; else hashtable
        self.mark = NEWLINE

    def __len__(self) -> int:
        data = self.data
        return self._packed_pairs if isinstance(data, bytes) else len(data)

    def __bool__(self) -> bool:  # compiled code uses only this
        return len(self) > 0

    def get(self, field: bytes) -> bytes | None:
        data = self.data
        if not isinstance(data, bytes):
            value: bytes | None = data.get(field)
            return value
        encoded = value_of(data, field, self.mark)
        return None if encoded is None else encoded[encoded.index(b"\n") + 1 : -2]

    def encoded(self, field: bytes) -> bytes | None:
        """Return the field's value as a bulk string."""
        data = self.data
        if isinstance(data, bytes):
            return value_of(data, field, self.mark)
        value: bytes | None = data.get(field)
        return None if value is None else bulk(value)

    def __contains__(self, field: bytes) -> bool:
        data = self.data
        return (
            value_of(data, field, self.mark) is not None
            if isinstance(data, bytes)
            else field in data
        )

    def put(self, field: bytes, value: bytes, most_pairs: int, longest: int) -> bool:
        """Set a field; return True if it is new.
        After more than ``most_pairs`` pairs, or anything longer than ``longest``, the encoding
        stays hashtable.
        """
        if self.listpack and (len(field) > longest or len(value) > longest):
            self.listpack = False
        data = self.data
        if isinstance(data, bytes):
            mark = packable(field, value, self.mark)
            if mark is None:
                new = self._spread(data).put(field, value)
            else:
                self.mark = mark
                self.data, new = with_pair(data, field, value, mark)
                pairs = self._packed_pairs = self._packed_pairs + new
                if pairs > PACKED_PAIRS or len(self.data) > PACKED_BYTES:
                    self._part()
        elif isinstance(data, PackedPairs):
            new = self._put_pairs(data, field, value)
        else:
            new = data.put(field, value)
        if self.listpack and len(self) > most_pairs:
            self.listpack = False
        return new

    def _put_pairs(self, data: PackedPairs, field: bytes, value: bytes) -> bool:
        mark = packable(field, value, data.mark)
        if mark is None:
            return self._spread(data).put(field, value)
        data.mark = mark
        length = data.put(field, value)
        if len(data) > SPLIT_PAIRS or abs(length) > PACKED_BYTES:
            self._spread(data)
        return length < 0

    def _part(self) -> None:
        """Turn one bytes object into sixteen, or into a table if the sixteen would be too long."""
        longest = 0
        pairs = PackedPairs(self.mark)
        for field, value in self.items():
            longest = max(longest, abs(pairs.put(field, value)))
        self.data = pairs
        if longest > PACKED_BYTES:
            self._spread(pairs)

    def _spread(self, data: bytes | PackedPairs) -> IncrementalDict:
        """Turn a packed hash into a table."""
        table = IncrementalDict()
        for field, value in (
            data.items() if isinstance(data, PackedPairs) else pairs_of(data, self.mark)
        ):
            table.put(field, value)
        self.data = table
        return table

    def remove(self, field: bytes) -> bool:
        """Remove a field; return True if it was there."""
        data = self.data
        if isinstance(data, bytes):
            left = without_pair(data, field, self.mark)
            if left is None:
                return False
            self.data = left
            self._packed_pairs -= 1
            return True
        return data.remove(field) if isinstance(data, PackedPairs) else data.pop(field) is not None

    # ----------------------------------------------------------------- all pairs, and some

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        data = self.data
        return pairs_of(data, self.mark) if isinstance(data, bytes) else data.items()

    def fields(self) -> list[bytes]:
        data = self.data
        return (
            list(data.keys())
            if isinstance(data, IncrementalDict)
            else [field for field, _ in self.items()]
        )

    def values(self) -> list[bytes]:
        data = self.data
        return (
            list(data.values())
            if isinstance(data, IncrementalDict)
            else [value for _, value in self.items()]
        )

    def encoded_pairs(self) -> bytes:
        """Return all fields and values as bulk strings, alternating."""
        data = self.data
        if isinstance(data, bytes):
            return data
        if isinstance(data, PackedPairs):
            return b"".join(data.parts)
        return b"".join(
            [
                b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(field), field, len(value), value)
                for field, value in data.items()
            ]
        )

    def random(self, rng: Random) -> bytes:
        """Return a random field, all equally likely. There must be one."""
        data = self.data
        if isinstance(data, bytes):
            return unpack(data, 2 * self._packed_pairs)[2 * int(rng.random() * self._packed_pairs)]
        return data.random(rng)

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return about ``count`` pairs and the next cursor, 0 at the end.
        As in Redis, a hash that Redis would keep as a listpack is returned whole.
        """
        data = self.data
        return (
            data.scan(cursor, count)
            if isinstance(data, IncrementalDict) and not self.listpack
            else (0, list(self.items()))
        )

    # ----------------------------------------------------------------- as a kind of value

    def copy(self) -> Hash:
        new = Hash()
        data = self.data
        new.data = data if isinstance(data, bytes) else data.copy()
        new._packed_pairs, new.listpack, new.mark = self._packed_pairs, self.listpack, self.mark
        return new

    def size(self) -> int:
        data = self.data
        if isinstance(data, bytes):
            return getsizeof(self) + getsizeof(data)
        total = getsizeof(self) + data.size()
        if isinstance(data, IncrementalDict):
            sampled: list[int] = [value.__sizeof__() for value in islice(data.values(), _SAMPLES)]
            total += sum(sampled) * len(data) // max(1, len(sampled))
        return total

    def encoding(self) -> bytes:
        return b"listpack" if self.listpack else b"hashtable"

    def dump(self) -> bytes:
        flat: list[bytes] = []
        for pair in self.items():
            flat += pair
        return bytes((self.listpack,)) + dump_strings(flat)

    @classmethod
    def load(cls, reader: DumpReader) -> Hash:
        """Load a hash; it is stored as a new hash of these pairs would be."""
        new = cls()
        listpack = reader.take(1)
        flat = reader.members()
        if len(flat) % 2 or listpack not in (b"\x00", b"\x01"):
            raise DumpError("a hash with half a pair, or with an encoding that is not known")
        for at in range(0, len(flat), 2):
            if not new.put(flat[at], flat[at + 1], _NO_LIMIT, _NO_LIMIT):
                raise DumpError("a hash with the same field twice")
        new.listpack = listpack == b"\x01"
        return new

    # ----------------------------------------------------------------- for digests

    def weigh(self) -> int:
        data = self.data
        if isinstance(data, IncrementalDict):
            return sum(map(len, data)) + sum(map(len, data.values()))
        return len(data) if isinstance(data, bytes) else sum(map(len, data.parts))

    def cut(self, start: int, members: int, size: int) -> tuple[int, int, int]:
        """Return a packed hash as one piece: it is small."""
        return (
            self.data.cut(start, members, size, _pair_bytes)
            if isinstance(self.data, IncrementalDict)
            else (0, len(self), self.weigh())
        )

    def span(self, start: int, stop: int) -> bytes:
        """Return the pairs whose fields' CRC is at least ``start`` and less than ``stop``, 0: no
        limit.
        """
        data = self.data
        pairs = (
            data.between(start, stop)
            if isinstance(data, IncrementalDict)
            else within(self.items(), start, stop)
        )
        flat: list[bytes] = []
        for pair in sorted(pairs):
            flat += pair
        return pack(flat)


def _pair_bytes(field: bytes, value: Any) -> int:
    return len(field) + len(value)
