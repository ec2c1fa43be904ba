"""What one turn of the loop does for clients: so many commands and no more, and at its end all that was said is written.

Decides: how many commands a turn runs, who goes on in the next one, when replies go to their sockets. Must not know: what commands and replies say.

A turn is what everything else waits for: the log's answers, the lease, a client with one small question. All that fifty deep pipelines send in one go would
be a long turn, and a very long one on a machine that is slow just then; so when enough has run, be it by count or by the clock, who comes later has its
turn after the loop has looked around. Whose parked commands may be tried again stands in the same queue. Replies: a client that waits on many sockets is woken
by the first and sleeps again behind it; written one behind the other, a turn's replies wake it once. That is worth more than the same number of writes saved.
Invariants: what was put for one connection is written in that order, and nothing past it (`flush` first); nobody is passed over who was put off earlier.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

COMMANDS: Final = 256  # of ordinary commands half a millisecond to two; a single batch that cannot be divided may be more
MOST_US: Final = 5_000  # after so long the rest waits, be it our work or the machine that was elsewhere


class Loop(Protocol):
    def call_soon(self, callback: Callable[[], object], /) -> object: ...


class Client(Protocol):
    transport: asyncio.Transport | None

    def go_on(self) -> None:
        """Take up what was put off; to be put off again if ``Turn.left`` is not enough."""

    def close(self) -> None: ...


class Turn:
    """Of one loop, again and again. ``left``: how many commands may run before somebody is put off; below zero after a batch that could not be divided."""

    __slots__ = ("_clock", "_due", "_failed", "_loop", "_put_off", "_said", "_until_us", "left")

    def __init__(self, loop: Loop, clock: Callable[[], int], failed: Callable[[Client, Exception], None]) -> None:
        """``clock``: microseconds. ``failed``: what a client's commands raised; it must not raise itself."""
        self.left = COMMANDS
        self._loop = loop
        self._clock = clock
        self._failed = failed
        self._said: list[tuple[Client, bytes]] = []
        self._put_off: deque[Client] = deque()
        self._due = False  # `_next` has been scheduled: something has happened in this turn
        self._until_us = 0

    def put(self, client: Client, data: bytes) -> None:
        """Say this at the end of the turn."""
        if not self._due:
            self._begin()
        self._said.append((client, data))

    def spend(self, commands: int, now_us: int) -> None:
        """So many have run."""
        if not self._due:
            self._begin()
        self.left -= commands
        if now_us > self._until_us and self.left > 0:
            self.left = 0

    def put_off(self, client: Client) -> None:
        if not self._due:
            self._begin()
        self._put_off.append(client)

    def flush(self) -> None:
        said, self._said = self._said, []
        for client, data in said:
            transport = client.transport
            if transport is not None:
                try:
                    transport.write(data)
                except RuntimeError:
                    client.transport = None  # closed, and not yet told so: nobody is there to read it

    def _begin(self) -> None:
        self._due = True
        self._until_us = self._clock() + MOST_US
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        """The loop has looked around: what was said is written; then those who were put off go on, in order, each once."""
        self._due = False
        self.left = COMMANDS
        self.flush()
        waiting = self._put_off
        if not waiting:
            return
        self._begin()
        for _ in range(len(waiting)):
            if self.left <= 0:
                break
            client = waiting.popleft()
            try:
                client.go_on()
            except Exception as error:  # as in a socket's callback, and the others go on
                self._failed(client, error)
