"""Strings of more than 64 KiB that APPEND or SETRANGE has changed: bytes that change in place.

Decides: how such a string is kept.
Must not know: keys, commands.

A short string is plain ``bytes``. A long string that was set as a whole is plain ``bytes`` too and
takes no more memory than its bytes. The first APPEND or SETRANGE whose result is longer than `LONG`
copies the string once. Each later one takes time only for the bytes it writes. A bytearray grows at
most an eighth beyond its content, so its unused memory is bounded.

Invariant: no reference to ``data`` or a view of it leaves a method: a reader gets a copy of the
part it needs.
"""

from __future__ import annotations

from sys import getsizeof
from typing import ClassVar, Final

from memstore.engine.values.codec import DumpError, DumpReader

LONG: Final = 64 * 1024  # bytes; to copy this many takes some microseconds
_ZEROS: Final = 1024 * 1024  # bytes added at once where a write starts after the end


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
        """Return the bytes from ``start`` up to ``stop``, as far as they exist."""
        size = len(self.data)
        stop = min(stop, size)
        if start >= stop:
            return b""
        with memoryview(self.data) as view:
            return bytes(view[start : max(start, stop)])

    def bulk(self) -> bytes:
        """Return the string as a RESP bulk string, copied once."""
        return b"".join((b"$%d\r\n" % len(self.data), self.data, b"\r\n"))

    def append(self, piece: bytes) -> None:
        self.data += piece

    def write(self, offset: int, piece: bytes) -> None:
        """Put ``piece`` at ``offset``; zeros fill the gap between the end and it."""
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
    """Return ``old`` with ``piece`` at ``offset``, as a long string."""
    new = LongString(bytearray(old))
    new.write(offset, piece)
    return new
