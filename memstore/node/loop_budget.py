"""The budget of one turn of the loop for clients: a limited number of commands, time and bytes. At
the end of the turn all replies are written.

Decides: how many commands a turn runs, which clients go on in the next turn, when replies go to
their sockets.
Must not know: what commands and replies say.

Everything else waits for a turn: the log's answers, the lease, a client with one small question.
All that fifty deep pipelines send at once would be a long turn. On a machine that is slow just then
it would be very long. So when enough has run, by count or by the clock, later clients have their
turn after the loop has polled. Clients whose parked commands may be tried again are in the same
queue.

Replies: a client that waits on many sockets wakes at the first reply and sleeps again after it.
Written one after the other, a turn's replies wake it once. That is worth more than the number of
writes saved. Clients whose last reply was large, and new clients, wait in a queue of their own. The
two queues take turns in coming first, and the other one takes up at least one client: a small
question does not wait for sixty replies of 20 MB.
Invariants: replies for one connection are written in the order of `write`, and no bytes overtake
them (`flush` first); each of the two queues keeps the order of arrival.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

# ordinary commands of this number take 0.5 to 2 ms; a batch that cannot be divided may exceed it
COMMANDS: Final = 256
# of large replies in one turn: they take time to make, and their client may not read them
REPLY_BYTES: Final = 1024 * 1024
# after this time the rest waits, whether we worked or the machine ran something else
MAX_TURN_US: Final = 5_000


class Loop(Protocol):
    def call_soon(self, callback: Callable[[], object], /) -> object: ...


class Client(Protocol):
    transport: asyncio.Transport | None
    heavy: bool  # its last reply was large, or it has had no reply yet

    def resume(self) -> None:
        """Take up deferred work; defer it again if ``LoopBudget.left`` is not enough."""

    def check_output(self, now_us: int) -> None:
        """Its unread output is large: close it if that exceeds the limit of its class."""

    def close(self) -> None: ...

    def abort(self) -> None: ...


class UnreadOutput:
    """The unread output of the clients that do not read fast enough. If the sum exceeds a bound,
    the client with the most is closed.
    """

    __slots__ = ("_of", "total")

    def __init__(self) -> None:
        self.total = 0  # bytes
        self._of: dict[Client, int] = {}

    def note(self, client: Client, size: int) -> None:
        self.total += size - self._of.get(client, 0)
        self._of[client] = size

    def forget(self, client: Client) -> None:
        """The client has read enough, or is gone."""
        self.total -= self._of.pop(client, 0)

    def add(self, client: Client, size: int) -> None:
        if client in self._of:
            self.note(client, self._of[client] + size)

    def clients(self) -> list[Client]:
        """The clients that do not read fast enough."""
        return list(self._of)

    def excess(self, limit: int) -> Client | None:
        """The client to close because the sum exceeds ``limit``. The caller then calls `forget`."""
        if self.total <= limit:
            return None
        return max(self._of, key=lambda client: self._of[client])


class LoopBudget:
    """The budget of one loop, renewed each turn. ``left``: how many commands may run before clients
    are deferred; negative after a batch that could not be divided.
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
        """``clock``: microseconds. ``failed`` gets what a client's commands raised; it must not
        raise itself.
        """
        self.left = COMMANDS
        self.unread = UnreadOutput()
        self._room = REPLY_BYTES
        self._loop = loop
        self._clock = clock
        self._failed = failed
        self._output: list[tuple[Client, bytes]] = []
        self._deferred: deque[Client] = deque()
        self._deferred_heavy: deque[Client] = deque()  # deferred too, and ``heavy``
        self._heavy_first = False
        self._scheduled = False  # `_start_turn` is scheduled: something has happened in this turn
        self._until_us = 0

    def write(self, client: Client, data: bytes) -> None:
        """Write these bytes at the end of the turn."""
        if not self._scheduled:
            self._begin()
        self._output.append((client, data))

    def charge(self, commands: int, now_us: int) -> None:
        """Subtract commands that have run."""
        if not self._scheduled:
            self._begin()
        self.left -= commands
        if now_us > self._until_us and self.left > 0:
            self.left = 0

    def write_large(self, client: Client, data: bytes) -> None:
        """As `write`, for large replies: a turn makes only so many bytes of them."""
        self.write(client, data)
        self._room -= len(data)
        if self._room <= 0 and self.left > 0:
            self.left = 0

    def exhausted(self, now_us: int) -> bool:
        """Whether the rest of a batch must wait for the next turn."""
        if not self._scheduled:
            self._begin()
        return now_us > self._until_us or self.left <= 0

    def abort(self, client: Client) -> None:
        """Abort soon, not now: this may be called from inside a write to its socket."""
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
                    # closed, but the connection does not know yet: no client reads this
                    client.transport = None

    def _begin(self) -> None:
        self._scheduled = True
        self._until_us = self._clock() + MAX_TURN_US
        self._loop.call_soon(self._start_turn)

    def _start_turn(self) -> None:
        """The loop has polled. Write the replies; then the deferred clients go on, in order, each
        once.
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
        """Resume each client once, until the turn is over, but at least ``least`` of them."""
        for count in range(len(waiting)):
            if self.left <= 0 and count >= least:
                break
            client = waiting.popleft()
            try:
                client.resume()
            except Exception as error:  # as in a socket's callback: the others go on
                self._failed(client, error)
