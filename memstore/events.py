"""The event log: one line an event on standard error, as text for people or as JSON for tools.

Decides: how an event looks. Text has the local time as `memstore local` prints it, JSON has UTC in
ISO 8601. While no majority of log nodes can be reached, campaigns have no lines: one line says why
they fail.
Must not know: what happens. ``event`` is a stable name, ``text`` is for people.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog

# One or two of each a second come from each node during an outage of the log.
CAMPAIGNS: Final = frozenset(("candidate", "campaign-lost"))


class OutageFilter:
    """Leaves campaigns out between `no-quorum` and `quorum`, and says how many were."""

    def __init__(self) -> None:
        self._outage = False
        self._left_out = 0

    def __call__(
        self, _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        name = event.get("event")
        if name == "no-quorum":
            self._outage = True
        elif name == "quorum" and self._outage:
            self._outage = False
            if self._left_out:
                event["left_out"] = self._left_out
            self._left_out = 0
        elif self._outage and name in CAMPAIGNS:
            self._left_out += 1
            raise structlog.DropEvent
        return event


def configure(level: str, form: str) -> None:
    """``form``: auto, text or json; auto is text on a terminal."""
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        OutageFilter(),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_text else "iso", utc=not as_text),
    ]
    shared += (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if as_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
