"""How long an answer of another node is waited for. No fixed time fits: some MiB over a thin link
take longer than any that suits a node that is down, and an answer that comes too late every time
would never be used.

Decides: that from the answers alone, as TCP finds its time-out (RFC 6298), but only upwards and
only by proof: an answer to a question that was given up. A node that is silent makes nobody wait
longer.
Must not know: what is asked. Lasts for one piece of work; the next one starts with a new one. The
end is at `LONGEST_US` times `PIECE`: 4 MiB in half a minute, about 1 Mbit/s; a thinner link between
log nodes is none.
"""

from __future__ import annotations

from collections import deque
from typing import Final

FIRST_US: Final = 500_000
LONGEST_US: Final = 8_000_000
PIECE: Final = 4


class AdaptiveTimeout:
    """``us``: for a small answer. One with entries is given `PIECE` times as much by those
    who ask for such.
    """

    __slots__ = ("_given_up", "us")

    def __init__(self) -> None:
        self.us = FIRST_US
        # tokens of questions: of the longest time
        self._given_up: deque[int] = deque(maxlen=PIECE * LONGEST_US // FIRST_US)

    def give_up(self, token: int) -> None:
        """The time is over: the next question has another token."""
        self._given_up.append(token)

    def late(self, token: int) -> None:
        """An answer came that nobody waits for any more: to a question that was given up, or to one
        that another took the place of for another reason.
        """
        if token in self._given_up:
            self._given_up.clear()  # one round of questions proves it once
            self.us = min(2 * self.us, LONGEST_US)
