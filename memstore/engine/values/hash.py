"""Hashes: fields with values, packed into one bytes object while they are few and small, then a table.

Decides: how a hash is kept, and what OBJECT ENCODING says of it, which are two things: the one follows what was measured here, the other the
limits a client can set. Must not know: keys, commands, settings (the limits come as arguments).
Packed, a pair costs its bytes and some ten more, and a look-up reads them through; in a table a pair costs about 130 bytes beside its own. Of
64 pairs a look-up takes a microsecond more than in a table, so that is where a hash changes over; it never changes back, and neither does its encoding.
Invariants: ``listpack`` once false stays so; a packed hash holds no element with ``mark`` in it (`packed.find`), and never a field twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random
from sys import getsizeof
from typing import Final

from memstore.engine.reply import HEADS, bulk
from memstore.engine.values import Kind, register
from memstore.engine.values.packed import CRLF, NEWLINE, end_of, find, pack, unpack
from memstore.engine.values.table import Table

PACKED_PAIRS: Final = 64
PACKED_BYTES: Final = 4096  # of the whole packed form
_LONGEST: Final = len(HEADS) - 1  # an element longer than this is never packed
_SAMPLES: Final = 64  # pairs of a large hash that stand for all when it is measured


class Hash:
    __slots__ = ("_packed_pairs", "data", "listpack", "mark")

    def __init__(self) -> None:
        self.data: bytes | Table = b""
        self._packed_pairs = 0
        self.listpack = True  # what OBJECT ENCODING says; else hashtable
        self.mark = NEWLINE

    def __len__(self) -> int:
        data = self.data
        return self._packed_pairs if isinstance(data, bytes) else len(data)

    def get(self, field: bytes) -> bytes | None:
        data = self.data
        if not isinstance(data, bytes):
            value: bytes | None = data.get(field)
            return value
        encoded = self._find(field)
        return None if encoded is None else encoded[encoded.index(b"\n") + 1 : -2]

    def encoded(self, field: bytes) -> bytes | None:
        """The field's value as a bulk string."""
        data = self.data
        if not isinstance(data, bytes):
            value: bytes | None = data.get(field)
            return None if value is None else bulk(value)
        return self._find(field)

    def _find(self, field: bytes) -> bytes | None:
        data = self.data
        assert isinstance(data, bytes)
        length = len(field)
        if length > _LONGEST:
            return None
        head = HEADS[length]
        at = find(data, head + field + CRLF, 2, self.mark)
        if at < 0:
            return None
        at += len(head) + length + 2
        return data[at : end_of(data, at, self.mark)]

    def __contains__(self, field: bytes) -> bool:
        data = self.data
        return self._find(field) is not None if isinstance(data, bytes) else field in data

    def put(self, field: bytes, value: bytes, most_pairs: int, longest: int) -> bool:
        """Set a field; True: it is new. Beyond ``most_pairs`` pairs, or with anything longer than ``longest``, the encoding is hashtable from now on."""
        length, value_length = len(field), len(value)
        if self.listpack and (length > longest or value_length > longest):
            self.listpack = False
        data = self.data
        if (
            not isinstance(data, bytes)
            or length > _LONGEST
            or value_length > _LONGEST
            or ((b"\n" in field or b"\n" in value) and not self._spared(field, value))
        ):
            table = self._spread() if isinstance(data, bytes) else data
            new: bool = table.put(field, value)
            if self.listpack and len(table) > most_pairs:
                self.listpack = False
            return new
        mark = self.mark
        head = HEADS[length] + field + b"\r\n"
        at = data.find(head)
        if at > 0 and data.count(mark, 0, at) % 4:
            at = find(data, head, 2, mark)
        pairs = self._packed_pairs
        if at < 0:
            self.data = data = b"".join((data, head, HEADS[value_length], value, b"\r\n"))
            self._packed_pairs = pairs = pairs + 1
        else:
            start = at + len(head)
            self.data = data = b"".join((data[:start], HEADS[value_length], value, b"\r\n", data[end_of(data, start, mark) :]))
        if pairs > PACKED_PAIRS or len(data) > PACKED_BYTES:
            self._spread()
        if pairs > most_pairs:
            self.listpack = False
        return at < 0

    def _spared(self, field: bytes, value: bytes) -> bool:
        """Whether a pair with a newline in it can be packed: counting longer marks from now on."""
        if CRLF in field or CRLF in value:
            return False
        self.mark = CRLF
        return True

    def _spread(self) -> Table:
        """From packed to a table."""
        table = Table()
        for field, value in self.items():
            table.put(field, value)
        self.data = table
        self._packed_pairs = 0
        return table

    def remove(self, field: bytes) -> bool:
        """Whether the field was there."""
        data = self.data
        if not isinstance(data, bytes):
            return data.pop(field) is not None
        length = len(field)
        if length > _LONGEST:
            return False
        head = HEADS[length] + field + b"\r\n"
        at = find(data, head, 2, self.mark)
        if at < 0:
            return False
        self.data = data[:at] + data[end_of(data, at + len(head), self.mark) :]
        self._packed_pairs -= 1
        return True

    # ----------------------------------------------------------------- all pairs, and some

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        data = self.data
        if not isinstance(data, bytes):
            return data.items()
        flat = unpack(data, 2 * self._packed_pairs)
        return zip(flat[::2], flat[1::2], strict=True)

    def fields(self) -> list[bytes]:
        data = self.data
        return unpack(data, 2 * self._packed_pairs)[::2] if isinstance(data, bytes) else list(data.keys())

    def values(self) -> list[bytes]:
        data = self.data
        return unpack(data, 2 * self._packed_pairs)[1::2] if isinstance(data, bytes) else list(data.values())

    def encoded_pairs(self) -> bytes:
        """All fields and values as bulk strings, alternating."""
        data = self.data
        if isinstance(data, bytes):
            return data
        return b"".join([b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(field), field, len(value), value) for field, value in data.items()])

    def random(self, rng: Random) -> bytes:
        """A field by chance, each as likely as any other. There must be one."""
        data = self.data
        if not isinstance(data, bytes):
            return data.random(rng)
        return unpack(data, 2 * self._packed_pairs)[2 * int(rng.random() * self._packed_pairs)]

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Some ``count`` pairs and the cursor to go on from, 0 at the end. What Redis would keep as a listpack is returned whole, as it does it."""
        data = self.data
        if isinstance(data, bytes) or self.listpack:
            return 0, list(self.items())
        return data.scan(cursor, count)

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
        sampled: list[int] = [value.__sizeof__() for value in islice(data.values(), _SAMPLES)]
        return getsizeof(self) + data.size() + sum(sampled) * len(data) // max(1, len(sampled))

    def canonical(self) -> bytes:
        flat: list[bytes] = []
        for pair in sorted(self.items()):
            flat += pair
        return pack(flat)


register(Hash, Kind(b"hash", lambda value: b"listpack" if value.listpack else b"hashtable", Hash.copy, Hash.size, Hash.canonical))
