"""`client-output-buffer-limit`: how much each class of clients may leave unread, as in Redis.

Decides: what the setting's text means, and when a client exceeds the limit of its class.
Must not know: sockets. The code that measures the unread bytes also closes the client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

CLASSES: Final = ("normal", "slave", "pubsub")  # Redis prints its own word for a replica
_ALIASES: Final = {"replica": "slave"}
_MAX_DIGITS: Final = 18  # of the seconds


class OutputLimit(NamedTuple):
    """The limit of one class. 0: no such limit."""

    hard: int  # bytes
    soft: int  # bytes
    soft_seconds: int

    def check(self, size: int, since_us: int, now_us: int) -> tuple[bool, int]:
        """Return whether the client must be closed, and the new ``since_us``.
        ``size`` bytes are unread. The client is above the soft limit since ``since_us``; 0: it is
        not.
        """
        if not self.soft or size < self.soft:
            since_us = 0
        elif not since_us:
            since_us = now_us
        too_long = since_us != 0 and now_us - since_us > self.soft_seconds * 1_000_000
        return (self.hard != 0 and size >= self.hard) or too_long, since_us


class OutputLimits(NamedTuple):
    """The limits of all classes, in the order in which CONFIG GET prints them."""

    normal: OutputLimit
    replica: OutputLimit
    pubsub: OutputLimit

    def __str__(self) -> str:
        return " ".join(
            f"{name} {limit.hard} {limit.soft} {limit.soft_seconds}"
            for name, limit in zip(CLASSES, self, strict=True)
        )


DEFAULT: Final = OutputLimits(
    OutputLimit(0, 0, 0),
    OutputLimit(256 * 1024 * 1024, 64 * 1024 * 1024, 60),
    OutputLimit(32 * 1024 * 1024, 8 * 1024 * 1024, 60),
)


def parse_limits(
    text: str, present: OutputLimits, memory: Callable[[str], int | None]
) -> tuple[OutputLimits, str]:
    """Return the limits that ``text`` sets, and its error in Redis' words (empty: none).
    A class that the text does not name keeps its present limit. ``memory`` returns the bytes that a
    word means, or None if it means none.
    """
    words = text.split()
    if len(words) % 4:
        return present, "Wrong number of arguments in buffer limit configuration."
    limits = list(present)
    for at in range(0, len(words), 4):
        name = words[at].lower()
        name = _ALIASES.get(name, name)
        if name not in CLASSES:
            return present, "Invalid client class specified in buffer limit configuration."
        hard, soft, seconds = memory(words[at + 1]), memory(words[at + 2]), words[at + 3]
        counts = seconds.isascii() and seconds.isdigit() and len(seconds) <= _MAX_DIGITS
        if hard is None or soft is None or not counts:
            return (
                present,
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            )
        limits[CLASSES.index(name)] = OutputLimit(hard, soft, int(seconds))
    return OutputLimits(*limits), ""
