"""A logger for warnings that any caller can cause at any rate: it writes a few and counts the rest.

Decides: how many lines of one text are written.
Must not know: what the texts say.
Invariant: the next line that is written has the number of omitted lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

LINES: Final = 10  # of one text
PERIOD_S: Final = 10.0


def _loop_s() -> float:
    return asyncio.get_running_loop().time()


class ThrottledLog:
    """Replaces a structlog logger. ``clock`` gives seconds."""

    def __init__(self, log: Any, clock: Callable[[], float] = _loop_s) -> None:
        self._log = log
        self._clock = clock
        # by text: when its period began, and how often the text came in it
        self._periods: dict[str, tuple[float, int]] = {}

    def warning(self, text: str, **facts: Any) -> None:
        """``text`` is one of a few fixed texts of the program; ``facts`` has what varies."""
        now = self._clock()
        began, said = self._periods.get(text, (now, 0))
        if not began <= now < began + PERIOD_S:
            if said > LINES:
                facts["left_out"] = said - LINES  # lines of this text since the last one
            began, said = now, 0
        self._periods[text] = (began, said + 1)
        if said < LINES:
            self._log.warning(text, **facts)
