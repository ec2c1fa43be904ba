"""The bytes of a dumped value: the tools that `dump` and `load` of the value classes use.

Decides: how numbers and lists of strings look in a dump, and that no read goes beyond its end.
Must not know: types, keys.

Numbers are little-endian. A list of strings is its count, then all lengths, then all bytes.

Invariant: damaged bytes raise `DumpError`. Each length is compared with the bytes that are left
before memory is allocated for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack_from
from typing import Final

_NUMBER: Final = 4  # bytes of a count or a length


class DumpError(ValueError):
    """The bytes are not a dumped value of this version."""


def dump_strings(items: Sequence[bytes]) -> bytes:
    return pack(f"<{1 + len(items)}I", len(items), *map(len, items)) + b"".join(items)


class DumpReader:
    """Reads a dump from ``at`` on."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        left = len(self.data) - self.at
        if size > left:
            raise DumpError(f"{size} bytes should follow byte {self.at}, {left} do")
        start = self.at
        self.at += size
        return self.data[start : start + size]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def number(self) -> int:
        number: int = unpack_from("<I", self.take(_NUMBER))[0]
        return number

    def strings(self) -> list[bytes]:
        count = self.number()
        lengths: tuple[int, ...] = unpack_from(f"<{count}I", self.take(count * _NUMBER))
        blob = self.take(sum(lengths))
        items: list[bytes] = []
        at = 0
        for length in lengths:
            items.append(blob[at : at + length])
            at += length
        return items

    def members(self) -> list[bytes]:
        """As `strings`, for a collection: a key never holds an empty one."""
        items = self.strings()
        if not items:
            raise DumpError("a collection without members")
        return items
