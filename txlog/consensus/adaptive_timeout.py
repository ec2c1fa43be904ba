"""How long a node waits for another node's answer.
No fixed time fits. Some MiB over a slow link take longer than any time that suits a node that is
down. An answer that always comes too late would never be used.

Decides: that time, from the answers alone. TCP finds its time-out in the same way (RFC 6298), but
this time only rises, and only by proof: an answer to a question that was given up. A silent node
never makes the wait longer.
Must not know: what is asked. One object serves one piece of work; the next one starts with a new
object. The limit is `LONGEST_US` times `PIECE`: 4 MiB in half a minute, about 1 Mbit/s. A slower
link between log nodes is not supported.
"""

from __future__ import annotations

from collections import deque
from typing import Final

FIRST_US: Final = 500_000
LONGEST_US: Final = 8_000_000
PIECE: Final = 4


class AdaptiveTimeout:
    """``us``: the time for a small answer.
    A caller that asks for entries waits `PIECE` times as long.
    """

    __slots__ = ("_given_up", "us")

    def __init__(self) -> None:
        self.us = FIRST_US
        # tokens of the questions asked within the longest time
        self._given_up: deque[int] = deque(maxlen=PIECE * LONGEST_US // FIRST_US)

    def give_up(self, token: int) -> None:
        """The time is over; the next question has another token."""
        self._given_up.append(token)

    def late(self, token: int) -> None:
        """A late answer came: its question was given up, or another question has replaced it."""
        if token in self._given_up:
            self._given_up.clear()  # one round of questions proves it only once
            self.us = min(2 * self.us, LONGEST_US)
