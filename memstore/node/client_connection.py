"""One client's socket: bytes to commands, commands to the shard, replies to the socket.

Decides: when to read, when to write, when to close.
Must not know: what a command means, roles, positions. There is one `asyncio.Protocol` for each
client; everything runs in the loop's thread. A batch reads the clock twice. The reading before it
gives the time of its commands and the lease at the start. The reading after it shows whether the
lease was valid for its reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from memstore.engine.engine import PAUSE_NONE
from memstore.engine.latency import BUCKET_OF, QUICK_US
from memstore.engine.resp import CommandReader
from memstore.engine.session import Session
from memstore.node.clocks import WallClock
from memstore.node.keepalive import keep_alive
from memstore.node.loop_budget import LoopBudget
from memstore.replication.fast_path import LARGE_REPLY
from memstore.replication.shard import Shard

MONITOR_CHECK_BYTES = (
    64 * 1024
)  # bytes of MONITOR's lines after which the socket's buffer is checked
MAX_PARKED = 1024  # with more parked commands of one client, its socket is not read

log = structlog.get_logger("memstore.node")


class NodeServices(Protocol):
    """What a connection uses of its node."""

    shard: Shard
    budget: LoopBudget
    clock: Callable[[], int]  # microseconds since boot
    wall: WallClock

    def accept(self, connection: ClientConnection) -> bytes:
        """Register a new client. Returns an error to send before closing, or b""."""

    def on_disconnect(self, connection: ClientConnection) -> None: ...

    def schedule_drain(self) -> None:
        """Effects have gathered: append them at the end of this turn of the loop."""

    def after_batch(self) -> None:
        """Handle requests that commands made to the node, and sessions that may go on."""

    def on_bug(self, error: Exception) -> None:
        """A command ended in an error of the program. The connection closes itself; the node
        decides whether it must end.
        """


class ClientConnection:
    """The driver of a `Session`; ``session.sink`` is this object. It has the methods of an
    `asyncio.Protocol` but does not inherit from it. When compiled, a class without an interpreted
    base class finds its attributes without a look-up.
    """

    def __init__(self, host: NodeServices, session: Session) -> None:
        self.host = host
        self.shard = host.shard
        self.session = session
        session.sink = self
        self.engine = self.shard.engine
        self.facts = self.engine.facts
        self.wall = host.wall
        self.budget = host.budget
        self._write = host.budget.write
        self.reader = CommandReader(self.engine.settings, session.authenticated)
        self.transport: asyncio.Transport | None = None
        self.read_paused = (
            False  # the socket is not read: too much is parked or deferred, or the client is slow
        )
        self.write_paused = False  # the client does not read its replies
        # deferred to another turn of the loop, or until the client reads. One or more of these
        # remain, in this order:
        self.deferred = False
        self.resumable = False  # parked commands that may be tried again
        self.pending_commands: list[list[bytes]] = []  # commands beyond the budget of the turn
        self.pending_bytes = b""  # received after them, or in a turn without budget
        self.heavy = True  # its last reply was large, or it has had no reply yet
        self.queued = False  # the loop budget has it in its queue
        # bytes of MONITOR's lines since the last check of the socket's buffer
        self.monitor_bytes = 0
        self.soft_since_us = 0  # since then its unread output is above the soft limit; 0: it is not
        self.eof = False  # the client sends nothing more
        # deferred or parked work is being taken up: some of it is only in local variables
        self.resuming = False

    # ----------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        # uvloop's transports do not derive from asyncio.Transport.
        self.transport = transport  # type: ignore[assignment]  # uvloop's
        keep_alive(transport, self.engine.settings.tcp_keepalive)
        most = self.engine.settings.client_output_limit
        transport.set_write_buffer_limits(most, most // 4)  # type: ignore[attr-defined]  # as above
        refusal = self.host.accept(self)
        if refusal:
            self.write(refusal)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._drop_pending()
        self.budget.unread.forget(self)
        self.shard.forget(self.session)
        self.host.on_disconnect(self)
        # a batch that ended in an error of the program may not have reached that call
        if self.shard.has_entries:
            self.host.schedule_drain()
        if self.shard.runnable:
            # others may go on: the replies held for this client may have been the congestion
            self.host.after_batch()

    def eof_received(self) -> bool:
        """The client sends nothing more. It is closed once all its commands have run and are
        answered. Returns whether that is later.
        """
        self.eof = True
        later = not self._done()
        if not later:
            self.budget.flush()
        return later

    def data_received(self, data: bytes) -> None:
        self.facts.input_bytes += len(data)
        if self.session.closing:
            return  # nothing after a QUIT is read
        if self.deferred or self.write_paused or self.budget.left <= 0:
            self._defer_bytes(data)
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        reader = self.reader
        batch = reader.feed(data)
        if not reader.fast:
            self._run_slow(batch)
        elif len(batch) > self.budget.left:
            self._run_some(batch)
        elif batch:
            self._run(batch)

    def _run_some(self, batch: list[list[bytes]]) -> None:
        """Run as many commands as this turn of the loop has left."""
        left = max(self.budget.left, 1)
        if len(batch) > left:
            self.pending_commands = batch[left:]
            batch = batch[:left]
            self._defer()
        self._run(batch)

    def _run(self, batch: list[list[bytes]]) -> None:
        """Run the batch; what the turn leaves over goes on in the next turn."""
        at = self.run(batch)
        if at < len(batch) and not self.session.closing:
            self.pending_commands = batch[at:] + self.pending_commands
            if not self.deferred:
                self._defer()

    def _defer_bytes(self, data: bytes) -> None:
        if self.deferred:
            self.pending_bytes += data
            self._pause_reading()
        elif self.reader.authenticated:
            self.pending_bytes = data
            self._defer()
        else:
            self._feed(data)  # nothing is kept for a client that has not authenticated

    def _defer(self) -> None:
        self.deferred = True
        if not (self.queued or self.write_paused):
            self.queued = True
            self.budget.defer(self)

    def resume(self) -> None:
        """Another turn of the loop: take up deferred work."""
        self.queued = False
        gone = self.transport is None or self.transport.is_closing() or self.session.closing
        if self.write_paused and not gone:
            # make no more replies for a client that does not read; `resume_writing` comes later
            return
        self.deferred = False
        self.resuming = True
        if gone:
            # closing without an order of this node: a command of this pipeline failed, and nothing
            # after a gap may run
            self._drop_pending()
        elif self.resumable:
            self.resumable = False
            self._run_parked()
        elif self.pending_commands:
            batch, self.pending_commands = self.pending_commands, []
            self._run_some(batch)
        else:
            data, self.pending_bytes = self.pending_bytes, b""
            self._feed(data)
        self.resuming = False
        self._continue_later()

    def _continue_later(self) -> None:
        """Defer the remaining work to another turn, if there is any."""
        if self.deferred:
            return
        if self.resumable or self.pending_commands or self.pending_bytes:
            self._defer()
        else:
            self._leave_slow_path()
            if self.reader.error:
                self._protocol_error()
            self._update_flow()
            self._close_if_done()

    def _leave_slow_path(self) -> None:
        """When nothing remains of what came with a very large command, commands take the fast path
        again.
        """
        session = self.session
        if session.slow_path and not (session.parked or self.pending_commands):
            session.slow_path = False
            session.update_fast_path()

    def _drop_pending(self) -> None:
        self.pending_bytes, self.pending_commands, self.resumable = b"", [], False

    def _run_slow(self, batch: list[list[bytes]]) -> None:
        """The batch has a large command, or an error follows it, or the client has not
        authenticated.
        """
        reader = self.reader
        unauthenticated = not reader.authenticated
        if batch:
            if reader.large:
                self._run_large(batch)
            elif unauthenticated:
                self._run(batch)
            else:
                self._run_some(batch)
        if unauthenticated:
            self._continue_authentication()
        if reader.error:
            self._protocol_error()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._pause_reading()
        transport, unread = self.transport, self.budget.unread
        if transport is None:
            return
        size = transport.get_write_buffer_size()
        unread.note(self, size)
        self.facts.largest_output_buffer = max(self.facts.largest_output_buffer, size)
        self.check_output(self.host.clock())
        self._close_excess()

    def resume_writing(self) -> None:
        self.write_paused = False
        self.soft_since_us = 0
        self.budget.unread.forget(self)
        if self.deferred:
            self._defer()
        self._update_flow()

    def check_output(self, now_us: int) -> None:
        """Close this client if it exceeds `client-output-buffer-limit`. As in Redis, a client in
        MONITOR belongs to the class normal.
        """
        transport = self.transport
        limit = self.engine.settings.client_output_buffer_limit.normal
        if transport is None or not (limit.hard or limit.soft):
            return
        size = transport.get_write_buffer_size()
        beyond, self.soft_since_us = limit.check(size, self.soft_since_us, now_us)
        if beyond and not self.session.closing:
            self._close_unread("client-output-buffer-limit")
            self.budget.abort(self)

    def _close_unread(self, limit: str) -> None:
        """Discard what the client has not read: it is about to be closed."""
        self.session.closing = True
        self.session.update_fast_path()
        self._drop_pending()
        self.budget.unread.forget(self)
        self.facts.output_limit_closes += 1
        log.warning(
            "client-closed",
            text=f"a client does not read what it is sent: closed at {limit}",
            client=self.session.address,
        )

    def _close_excess(self) -> None:
        unread = self.budget.unread
        while (client := unread.excess(self.engine.settings.total_output_limit)) is not None:
            unread.forget(client)
            self.facts.output_limit_closes += 1
            log.warning(
                "client-closed",
                text="clients do not read their replies: the one with the most unread is closed "
                "at total-output-limit",
            )
            self.budget.abort(client)

    # ----------------------------------------------------------------- commands

    def run(self, batch: list[list[bytes]]) -> int:
        """Run a batch and write what may be written. Returns how many commands were consumed; fewer
        than all if the turn ended first.
        """
        host, shard, session, engine = self.host, self.shard, self.session, self.engine
        now_us = host.clock()
        wall = self.wall
        wall_ms = wall.ms if now_us < wall.until_us else wall.at(now_us)
        size = at = len(batch)
        start = 0
        try:
            if not session.closing:
                at = shard.run(session, batch, 0, wall_ms, now_us)
            if at < size:
                start, at, now_us = self._run_rest(batch, at, wall_ms, now_us)
        except Exception as bug:
            self._on_bug(bug)
            at = size
        if engine.requests:
            host.after_batch()
        after_us = host.clock()
        if session.out:
            data = shard.take_reply(session, after_us)
            if data:
                if len(data) > LARGE_REPLY:
                    self.heavy = True
                    self.budget.write_large(self, data)
                else:
                    self.heavy = False
                    self._write(self, data)
                self.facts.output_bytes += len(data)
        if shard.has_entries and not shard.drain_scheduled:
            host.schedule_drain()
        if not (session.fast_path_ok and self.reader.fast):
            self.reader.authenticated = session.authenticated  # AUTH sets it, RESET clears it
        # parked commands count when they run
        ran = max(at - len(session.parked), 0) if session.parked else at
        self.budget.charge(ran, after_us)
        self.facts.commands_processed += ran
        session.last_ms = wall_ms
        row = shard.last_row
        if row is not None:
            us = after_us - now_us
            histogram = row.histogram
            if histogram and us < QUICK_US and us < engine.settings.slowlog_log_slower_than_us:
                row.usec += us
                count = at - start
                histogram[BUCKET_OF[us // count]] += count
            else:
                engine.note_time(row, session, batch[at - 1], us, at - start)
            shard.last_row = None
        if (
            shard.runnable
            or session.parked
            or engine.monitor_lines
            or session.closing
            or self.read_paused
        ):
            host.after_batch()
            self._update_flow()
        return at

    def _on_bug(self, bug: Exception) -> None:
        """A command ended in an error of the program. The commands before it are answered, nothing
        after it runs, and then the client is closed.
        """
        self.shard.last_row = None
        self.session.closing = True
        self.session.update_fast_path()
        self._drop_pending()
        self.host.on_bug(bug)

    def _run_large(self, batch: list[list[bytes]]) -> None:
        """The batch has a very large command: none takes the fast path, which ignores sizes."""
        session = self.session
        self.reader.end_large()
        session.slow_path = True
        session.update_fast_path()
        self._run_some(batch)
        if session.parked or self.pending_commands:
            self._pause_reading()  # keep no more than a few such commands of one client
        self._leave_slow_path()

    def _run_rest(
        self, batch: list[list[bytes]], at: int, wall_ms: int, now_us: int
    ) -> tuple[int, int, int]:
        """The batch has a command that is not plain, may take long, or has a large reply. Go on
        piece by piece until the turn is over, and read the clock for each piece. Returns where the
        last piece began, where it ended, and when it began.
        """
        host, shard, session, budget = self.host, self.shard, self.session, self.budget
        engine = shard.engine
        start, size = 0, len(batch)
        while at < size and not session.closing:
            out = session.out
            if out and len(out[-1]) > LARGE_REPLY:
                data = shard.take_reply(session, host.clock())
                if data:
                    self.heavy = True
                    budget.write_large(self, data)
                    self.facts.output_bytes += len(data)
            after_us = host.clock()
            if budget.exhausted(after_us):
                break
            before_us, now_us = now_us, after_us
            if shard.last_row is not None:
                engine.note_time(
                    shard.last_row, session, batch[at - 1], now_us - before_us, at - start
                )
                shard.last_row = None
            if engine.requests:
                host.after_batch()
            start = at
            at = shard.run(session, batch, at, wall_ms, now_us)
        return start, at, now_us

    def run_parked(self) -> None:
        """The shard named this session: try its parked commands again, now or after all deferred
        clients.
        """
        if self.transport is None:
            return
        if self.deferred or self.write_paused or self.budget.left <= 0:
            self.resumable = True
        else:
            self.resuming = True
            self._run_parked()
            self.resuming = False
        self._continue_later()

    def _run_parked(self) -> None:
        """Run as many of the parked commands as this turn has left."""
        shard, session = self.shard, self.session
        batch, rest = shard.take_parked(session, max(self.budget.left, 1))
        if batch:
            at = self.run(batch)
            if at < len(batch):
                rest.extendleft(reversed(batch[at:]))
        else:
            data = shard.take_reply(session, self.host.clock())
            if data:
                self.write(data)
        if rest:
            self.resumable = shard.requeue(session, rest)

    def _continue_authentication(self) -> None:
        """Before authentication, commands are read one at a time, each after the result of the one
        before it.

        What follows a successful AUTH comes as one batch, divided among turns like any other.
        """
        while not self.session.closing and self.transport is not None and not self.deferred:
            batch = self.reader.resume()
            if not batch:
                return
            if self.reader.large:
                self._run_large(batch)
            else:
                self._run_some(batch)

    def _protocol_error(self) -> None:
        """Send the error after all earlier replies."""
        session = self.session
        if session.parked or session.is_blocked or self.deferred:
            return
        if self.reader.error.startswith("Protocol error") and not session.closing:
            self.shard.emit_error(session, f"ERR {self.reader.error}")
            data = self.shard.take_reply(session, self.host.clock())
            if data:
                self.write(data)
        session.closing = True
        self._update_flow()

    # ----------------------------------------------------------------- the socket

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self._write(self, data)
            self.facts.output_bytes += len(data)

    def show(self, line: bytes) -> None:
        """Send a line to a client in MONITOR. A client that does not read is closed: its lines
        never wait for it.
        """
        self.write(line)
        if self.write_paused:
            self.budget.unread.add(self, len(line))
        self.monitor_bytes += len(line)
        if self.monitor_bytes > MONITOR_CHECK_BYTES:
            self.monitor_bytes = 0
            self._check_monitor()

    def _check_monitor(self) -> None:
        self.budget.flush()
        transport = self.transport
        if transport is None:
            return
        if transport.get_write_buffer_size() > self.engine.settings.monitor_output_limit:
            self._close_unread("monitor-output-limit")
            self.abort()
        elif self.write_paused:
            self.check_output(self.host.clock())
            self._close_excess()

    def released(self, data: bytes) -> None:
        """Write replies that waited for a commit, or for its failure."""
        self.write(data)
        if self.write_paused:
            self.budget.unread.add(self, len(data))
            self.check_output(self.host.clock())
            self._close_excess()
        if self.session.closing:
            self._update_flow()
        elif self.eof:
            self._close_if_done()

    def close(self) -> None:
        """Write what was passed to `write`, then close."""
        self.session.closing = True
        transport = self.transport
        if transport is not None:
            self.budget.flush()
            transport.close()

    def abort(self) -> None:
        """Close at once; unwritten data is discarded."""
        self.session.closing = True
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()

    def _update_flow(self) -> None:
        session = self.session
        if session.closing and not session.held and not session.out:
            self.close()
        elif len(session.parked) > MAX_PARKED:
            self._pause_reading()
        elif self.read_paused and not (
            self.resuming
            or session.closing
            or session.parked
            or self.deferred
            or self.pending_bytes
            or self.write_paused
        ):
            self._resume_reading()

    def _close_if_done(self) -> None:
        """Close a client that sends nothing more, once all its commands are answered."""
        if self.eof and self._done():
            self.close()

    def _done(self) -> bool:
        session = self.session
        if self.resuming or self.deferred or self.pending_bytes or session.held or session.out:
            return False
        # A blocked session, or one stopped by CLIENT PAUSE, could wait without limit, and the end
        # of its client would stay unnoticed. So it is closed, as in Redis.
        return not session.parked or session.is_blocked or self.engine.pause_mode != PAUSE_NONE

    def _pause_reading(self) -> None:
        if not self.read_paused and self.transport is not None:
            self.read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self.read_paused and self.transport is not None and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()
