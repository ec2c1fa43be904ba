"""Letting go of large values piece by piece: freeing a million members at once would stop the loop
for a tenth of a second.

Decides: in how small steps pieces are freed.
Must not know: keys, commands, which classes hand their pieces over. A large value goes away by DEL,
UNLINK, expiry, SET over it, RENAME, FLUSHALL or a STORE, on a primary or a replica. What goes last
is the reference to it, so the hook is there. A container that has grown large keeps a
`DeferredFree` beside its list of pieces; when that object dies, it hands the list over.
``Keyspace.free_some``, called by the node's housekeeping, empties what was handed over. Containers
that are not large have none and pay nothing.
Invariant: when a `DeferredFree` dies, only it and its dying container refer to the pieces. They are
emptied in place.
"""

from __future__ import annotations

from typing import Any, Final

# pieces (of some hundred things each) from which on a container should have a guard: below, it is
# gone within a millisecond
LARGE: Final = 16
_STEP: Final = 2048  # elements of one piece dropped at once

# For the process, not for a keyspace:
# whose value it was is not known where the last reference goes.
_waiting: list[list[Any]] = []


class DeferredFree:
    """Stands beside a large container's list of pieces: dicts or lists of things, or single
    objects. Set ``pieces`` again when the list is exchanged.
    """

    __slots__ = ("pieces",)

    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = pieces

    def __del__(self) -> None:
        hand_over(self.pieces)


def hand_over(pieces: list[Any]) -> None:
    """Free the elements of ``pieces`` later."""
    if pieces:
        _waiting.append(pieces)


def waiting() -> bool:
    """Whether anything is left to be freed."""
    return bool(_waiting)


def free_some(units: int) -> int:
    """Let go of about ``units`` things; how many of them are left over. An element of a dict or
    list counts as one, a piece itself too.
    """
    while _waiting and units > 0:
        pieces = _waiting.pop()  # freeing may hand over more
        while pieces and units > 0:
            piece = pieces[-1]
            kind = type(piece)
            if kind is dict and len(piece) > _STEP:
                units -= _STEP
                for _ in range(_STEP):
                    piece.popitem()
            elif kind is list and len(piece) > _STEP:
                units -= _STEP
                del piece[-_STEP:]
            else:
                units -= 1 + (len(piece) if kind is dict or kind is list else 0)
                del piece, pieces[-1]
        if pieces:
            _waiting.append(pieces)
    return units
