"""Frees large values piece by piece.

To free a million members at once would stop the loop for a tenth of a second.

Decides: how large the steps are.
Must not know: keys, commands, which classes hand their pieces over.

DEL, UNLINK, expiry, SET over a value, RENAME, FLUSHALL or a STORE removes a large value, on a
primary or a replica. In each case the last reference to the value disappears, so this module acts
at that moment. A container that has grown large keeps a `DeferredFree` beside its list of pieces.
When that object dies, it hands the list over. ``Keyspace.free_some``, called by the node's
housekeeping, empties the lists. Small containers have no such object and no extra cost.

Invariant: when a `DeferredFree` dies, only it and its dying container refer to the pieces. They are
emptied in place.
"""

from __future__ import annotations

from typing import Any, Final

# Pieces (of some hundred elements each) from which on a container should have a guard. Python frees
# a smaller container within a millisecond.
LARGE: Final = 16
_STEP: Final = 2048  # elements of one piece freed at once

# One list for the process, not one for each keyspace: the place of the last reference does not show
# whose value it was.
_waiting: list[list[Any]] = []


class DeferredFree:
    """A guard beside a large container's list of pieces: dicts, lists, or single objects.
    Set ``pieces`` again when the container replaces the list.
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
    """Return True if anything is left to free."""
    return bool(_waiting)


def free_some(units: int) -> int:
    """Free about ``units`` elements; return how many units are left over.
    An element of a dict or list counts as one unit, and so does a piece itself.
    """
    while _waiting and units > 0:
        pieces = _waiting.pop()  # to free something may hand over more
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
