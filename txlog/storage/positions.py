"""Where the newest entries are: term, offset and chain by position, in compact arrays.

Decides: how many positions are kept (the newest 64 Ki at least, at most twice that).
Must not know: files, what is in an entry.
Invariant: positions ``base`` .. ``last`` are all there; 32 bytes each.
"""

from __future__ import annotations

from array import array
from typing import Final

from txlog.entry import CHAIN_BYTES

KEPT: Final = 1 << 16


class Positions:
    __slots__ = ("base", "chains", "kept", "offsets", "terms")

    def __init__(self, base: int, kept: int = KEPT) -> None:
        self.base = base
        self.kept = kept
        self.terms = array("Q")
        self.offsets = array("Q")
        self.chains = bytearray()

    @property
    def last(self) -> int:
        return self.base - 1 + len(self.terms)

    def add(self, term: int, offset: int, chain: bytes) -> None:
        self.terms.append(term)
        self.offsets.append(offset)
        self.chains += chain
        if len(self.terms) > 2 * self.kept:
            self.drop_oldest(self.kept)

    def drop_oldest(self, keep: int) -> None:
        drop = len(self.terms) - keep
        if drop > 0:
            del self.terms[:drop], self.offsets[:drop], self.chains[: drop * CHAIN_BYTES]
            self.base += drop

    def cut(self, position: int) -> None:
        """Forget ``position`` and everything after it."""
        keep = max(0, position - self.base)
        del self.terms[keep:], self.offsets[keep:], self.chains[keep * CHAIN_BYTES :]
        self.base = min(self.base, position)

    def put(self, position: int, term: int, offset: int, chain: bytes) -> None:
        """Replace what is known about a position that is kept."""
        index = position - self.base
        if 0 <= index < len(self.terms):
            self.terms[index] = term
            self.offsets[index] = offset
            self.chains[index * CHAIN_BYTES : (index + 1) * CHAIN_BYTES] = chain

    def __contains__(self, position: int) -> bool:
        return 0 <= position - self.base < len(self.terms)

    def term(self, position: int) -> int:
        return self.terms[position - self.base]

    def offset(self, position: int) -> int:
        return self.offsets[position - self.base]

    def chain(self, position: int) -> bytes:
        index = (position - self.base) * CHAIN_BYTES
        return bytes(self.chains[index : index + CHAIN_BYTES])
