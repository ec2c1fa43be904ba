"""What one turn of the loop does for clients: so many commands, so long and so many bytes, and no
more; at its end all that was said is written.

Decides: how many commands a turn runs, who goes on in the next one, when replies go to their
sockets.
Must not know: what commands and replies say.

A turn is what everything else waits for: the log's answers, the lease, a client with one small
question. All that fifty deep pipelines send in one go would be a long turn, and a very long one on
a machine that is slow just then; so when enough has run, be it by count or by the clock, who comes
later has its turn after the loop has looked around. Whose parked commands may be tried again stands
in the same queue. Replies: a client that waits on many sockets is woken by the first and sleeps
again behind it; written one behind the other, a turn's replies wake it once. That is worth more
than the same number of writes saved. Clients whose last reply was large, and new ones, wait in a
queue of their own. The two queues come first in turn, and the other one takes up at least one: a
small question does not wait for sixty replies of 20 MB.
Invariants: what was put for one connection is written in that order, and nothing past it (`flush`
first); each of the two queues keeps the order of arrival.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

# of ordinary commands half a millisecond to two; a single batch that cannot be divided may be more
COMMANDS: Final = 256
# of large replies in one turn: they take time to make, and who is to read them may not
REPLY_BYTES: Final = 1024 * 1024
# after so long the rest waits, be it our work or the machine that was elsewhere
MAX_TURN_US: Final = 5_000


class Loop(Protocol):
    def call_soon(self, callback: Callable[[], object], /) -> object: ...


class Client(Protocol):
    transport: asyncio.Transport | None
    heavy: bool  # its last reply was large, or it has had none yet

    def resume(self) -> None:
        """Take up what was put off; to be put off again if ``LoopBudget.left`` is not enough."""

    def check_output(self, now_us: int) -> None:
        """It is behind: close it if it is beyond the limit of its class."""

    def close(self) -> None: ...

    def abort(self) -> None: ...


class UnreadOutput:
    """What clients have not read, of those that are behind: above a bound for all of them together
    the one with the most is closed.
    """

    __slots__ = ("_of", "total")

    def __init__(self) -> None:
        self.total = 0  # bytes
        self._of: dict[Client, int] = {}

    def note(self, client: Client, size: int) -> None:
        self.total += size - self._of.get(client, 0)
        self._of[client] = size

    def forget(self, client: Client) -> None:
        """It has read enough, or is gone."""
        self.total -= self._of.pop(client, 0)

    def add(self, client: Client, size: int) -> None:
        if client in self._of:
            self.note(client, self._of[client] + size)

    def clients(self) -> list[Client]:
        """Those that are behind."""
        return list(self._of)

    def excess(self, limit: int) -> Client | None:
        """Who is to be closed because all together are above ``limit``;
        to be forgotten by the caller.
        """
        if self.total <= limit:
            return None
        return max(self._of, key=lambda client: self._of[client])


class LoopBudget:
    """Of one loop, again and again. ``left``: how many commands may run before somebody is put off;
    below zero after a batch that could not be divided.
    """

    __slots__ = (
        "_clock",
        "_deferred",
        "_deferred_heavy",
        "_failed",
        "_heavy_first",
        "_loop",
        "_output",
        "_room",
        "_scheduled",
        "_until_us",
        "left",
        "unread",
    )

    def __init__(
        self, loop: Loop, clock: Callable[[], int], failed: Callable[[Client, Exception], None]
    ) -> None:
        """``clock``: microseconds. ``failed``: what a client's commands raised;
        it must not raise itself.
        """
        self.left = COMMANDS
        self.unread = UnreadOutput()
        self._room = REPLY_BYTES
        self._loop = loop
        self._clock = clock
        self._failed = failed
        self._output: list[tuple[Client, bytes]] = []
        self._deferred: deque[Client] = deque()
        self._deferred_heavy: deque[Client] = deque()  # put off too, and ``heavy``
        self._heavy_first = False
        self._scheduled = (
            False  # `_start_turn` has been scheduled: something has happened in this turn
        )
        self._until_us = 0

    def write(self, client: Client, data: bytes) -> None:
        """Say this at the end of the turn."""
        if not self._scheduled:
            self._begin()
        self._output.append((client, data))

    def charge(self, commands: int, now_us: int) -> None:
        """So many have run."""
        if not self._scheduled:
            self._begin()
        self.left -= commands
        if now_us > self._until_us and self.left > 0:
            self.left = 0

    def write_large(self, client: Client, data: bytes) -> None:
        """As `write`; a turn makes so many bytes of such replies and no more."""
        self.write(client, data)
        self._room -= len(data)
        if self._room <= 0 and self.left > 0:
            self.left = 0

    def exhausted(self, now_us: int) -> bool:
        """Whether a batch under way has to wait for the next turn."""
        if not self._scheduled:
            self._begin()
        return now_us > self._until_us or self.left <= 0

    def abort(self, client: Client) -> None:
        """Soon: this may be called from inside a write to its socket."""
        self._loop.call_soon(client.abort)

    def defer(self, client: Client) -> None:
        if not self._scheduled:
            self._begin()
        (self._deferred_heavy if client.heavy else self._deferred).append(client)

    def flush(self) -> None:
        output, self._output = self._output, []
        for client, data in output:
            transport = client.transport
            if transport is not None:
                try:
                    transport.write(data)
                except RuntimeError:
                    # closed, and not yet told so: nobody is there to read it
                    client.transport = None

    def _begin(self) -> None:
        self._scheduled = True
        self._until_us = self._clock() + MAX_TURN_US
        self._loop.call_soon(self._start_turn)

    def _start_turn(self) -> None:
        """The loop has looked around: what was said is written; then those who were put off go on,
        in order, each once.
        """
        self._scheduled = False
        self.left = COMMANDS
        self._room = REPLY_BYTES
        self.flush()
        if not (self._deferred or self._deferred_heavy):
            return
        self._begin()
        first, second = (
            (self._deferred_heavy, self._deferred)
            if self._heavy_first
            else (self._deferred, self._deferred_heavy)
        )
        self._heavy_first = not self._heavy_first
        self._resume(first, 0)
        self._resume(second, 1)

    def _resume(self, waiting: deque[Client], least: int) -> None:
        """Each once, until the turn is over; ``least`` of them in any case."""
        for count in range(len(waiting)):
            if self.left <= 0 and count >= least:
                break
            client = waiting.popleft()
            try:
                client.resume()
            except Exception as error:  # as in a socket's callback, and the others go on
                self._failed(client, error)
