"""Strings of more than 64 KiB that APPEND or SETRANGE has changed: bytes that are changed in place.

Decides: how such a string is kept.
Must not know: keys, commands. A short string is plain ``bytes``, and so is a long one that was set
as a whole: it costs no more than its bytes. The first APPEND or SETRANGE whose result is longer
than `LONG` copies it once; those that follow cost what they write. A bytearray grows by an eighth
at most beyond its content, so the room it does not use is bounded.
Invariant: no reference to ``data`` or a view of it leaves a method: who reads gets a copy of what
it asked for.
"""

from __future__ import annotations

from sys import getsizeof
from typing import ClassVar, Final

from memstore.engine.values.codec import DumpError, DumpReader

LONG: Final = 64 * 1024  # bytes; to copy so many takes some microseconds
_ZEROS: Final = 1024 * 1024  # bytes added at once where a write begins beyond the end


class LongString:
    __slots__ = ("data",)

    type_name: ClassVar[bytes] = b"string"
    code: ClassVar[int] = 2

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        return True  # it is longer than LONG

    def whole(self) -> bytes:
        return bytes(self.data)

    def part(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to ``stop``, as far as there are such."""
        size = len(self.data)
        stop = min(stop, size)
        if start >= stop:
            return b""
        with memoryview(self.data) as view:
            return bytes(view[start : max(start, stop)])

    def bulk(self) -> bytes:
        """As a RESP bulk string, copied once."""
        return b"".join((b"$%d\r\n" % len(self.data), self.data, b"\r\n"))

    def append(self, piece: bytes) -> None:
        self.data += piece

    def write(self, offset: int, piece: bytes) -> None:
        """Put ``piece`` at ``offset``; zeros fill what lies between the end and it."""
        data = self.data
        while len(data) < offset:
            data += bytes(min(offset - len(data), _ZEROS))
        data[offset : offset + len(piece)] = piece

    # ----------------------------------------------------------------- as a kind of value

    def encoding(self) -> bytes:
        return b"raw"

    def copy(self) -> LongString:
        return LongString(bytearray(self.data))

    def size(self) -> int:
        return getsizeof(self) + getsizeof(self.data)

    def weigh(self) -> int:
        return len(self.data)

    def cut(self, start: int, members: int, size: int) -> tuple[int, int, int]:
        stop, length = start + max(1, size), len(self.data)
        return (0, 1, max(0, length - start)) if stop >= length else (stop, 1, stop - start)

    def span(self, start: int, stop: int) -> bytes:
        return self.part(start, stop or len(self.data))

    def dump(self) -> bytes:
        return self.whole()

    @classmethod
    def load(cls, reader: DumpReader) -> LongString:
        data = bytearray(reader.rest())
        if len(data) <= LONG:
            raise DumpError(f"a long string of {len(data)} bytes")
        return cls(data)


def written(old: bytes, offset: int, piece: bytes) -> LongString:
    """``old`` with ``piece`` at ``offset``, as a long string."""
    new = LongString(bytearray(old))
    new.write(offset, piece)
    return new
