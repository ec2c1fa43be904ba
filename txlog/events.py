"""The form of a log node's own messages: lines for people on a terminal, JSON for machines.

Decides: the form.
Must not know: the messages.
"""

from __future__ import annotations

import sys

import structlog


def configure(form: str) -> None:
    """``form``: "auto" (lines on a terminal, else JSON), "console" or "json".
    Everything goes to stderr.
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(
                fmt="iso" if not console else "%H:%M:%S.%f", utc=not console
            ),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
