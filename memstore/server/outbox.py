"""What this turn of the loop has to say to clients, written at its end.

Decides: when replies go to their sockets. Must not know: what they say. A client that waits for replies on many sockets is woken by the first and
sleeps again behind it; written one behind the other, a turn's replies wake it once. That is worth more than the same number of writes saved.
Invariant: what was put for one connection is written in that order; nothing is written past it (`flush` first).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Loop(Protocol):
    def call_soon(self, callback: Callable[[], object], /) -> object: ...


class Sink(Protocol):
    transport: asyncio.Transport | None


class Outbox:
    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Sink, bytes]] = []

    def put(self, sink: Sink, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append((sink, data))

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for sink, data in waiting:
            transport = sink.transport
            if transport is not None:
                try:
                    transport.write(data)
                except RuntimeError:
                    sink.transport = None  # closed, and not yet told so: nobody is there to read it
