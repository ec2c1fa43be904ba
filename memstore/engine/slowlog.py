"""The newest slow commands, for SLOWLOG.

Decides: which parts of a command are kept.
Must not know: how the time was measured.

The memory is bounded: `slowlog-max-len` entries, each with 32 arguments of 128 bytes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from memstore.engine.monitor import redacted
from memstore.engine.session import Session
from memstore.engine.settings import Settings

MAX_ARGUMENTS: Final = 32
MAX_ARGUMENT_BYTES: Final = 128


@dataclass(slots=True)
class SlowEntry:
    id: int
    wall_s: int
    us: int
    argv: list[bytes]
    address: str
    name: bytes


class Slowlog:
    __slots__ = ("entries", "next_id")

    def __init__(self) -> None:
        self.entries: deque[SlowEntry] = deque()  # newest first
        self.next_id = 0

    def note(
        self, argv: list[bytes], us: int, wall_ms: int, session: Session, settings: Settings
    ) -> None:
        """A command took ``us`` microseconds: keep it if that is slow.
        The caller leaves out rows that have the flag SKIP_SLOWLOG.
        """
        if us < settings.slowlog_log_slower_than_us or settings.slowlog_log_slower_than_us < 0:
            return
        self.entries.appendleft(
            SlowEntry(
                self.next_id,
                wall_ms // 1000,
                us,
                _trimmed(redacted(argv)),
                session.address,
                session.name,
            )
        )
        self.next_id += 1
        while len(self.entries) > settings.slowlog_max_len:
            self.entries.pop()

    def clear(self) -> None:
        self.entries.clear()


def _trimmed(argv: list[bytes]) -> list[bytes]:
    kept = argv if len(argv) <= MAX_ARGUMENTS else argv[: MAX_ARGUMENTS - 1]
    shown = [
        arg
        if len(arg) <= MAX_ARGUMENT_BYTES
        else b"%b... (%d more bytes)" % (arg[:MAX_ARGUMENT_BYTES], len(arg) - MAX_ARGUMENT_BYTES)
        for arg in kept
    ]
    if len(argv) > MAX_ARGUMENTS:
        shown.append(b"... (%d more arguments)" % (len(argv) - MAX_ARGUMENTS + 1))
    return shown
