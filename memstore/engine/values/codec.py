"""The bytes of a dumped value: what the value classes' `dump` writes with and `load` reads with.

Decides: how numbers and lists of strings stand in a dump, and that nothing is read beyond its end.
Must not know: types, keys. Numbers are little-endian; a list of strings is its count, all lengths,
then all bytes.
Invariant: damaged bytes raise `DumpError`; a length is compared with what is left before anything
is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack_from
from typing import Final

_NUMBER: Final = 4  # bytes of a count or a length


class DumpError(ValueError):
    """The bytes are no dumped value of this version."""


def dump_strings(items: Sequence[bytes]) -> bytes:
    return pack(f"<{1 + len(items)}I", len(items), *map(len, items)) + b"".join(items)


class DumpReader:
    """Takes a dump apart from ``at`` on."""

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
        """As `strings`, of a collection: a key never holds an empty one."""
        items = self.strings()
        if not items:
            raise DumpError("a collection without members")
        return items
