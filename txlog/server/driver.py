"""The driver of one log on one node: acceptor, store, sync thread, readers.

Decides: when the disk is synced: at once when something waits, one sync at a time; all that arrives
meanwhile goes with the next sync. It also decides what runs in a thread: reads of old entries, and
the syncs of a slow disk.
Must not know: terms, leases, quorums. The acceptor says what to do; the driver does it in that
order.
Invariants (A6): a SendAfterPersist leaves only after ``on_persisted`` of its sequence. The store
gets disk outputs in the acceptor's order. Any error of the disk ends the process (A5). Any other
error in this module also ends it, because a part of the outputs would be lost, possibly a promise.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, Final, ParamSpec, Protocol

import structlog

from txlog.clock import timer_s
from txlog.consensus.acceptor import Acceptor
from txlog.consensus.outputs import (
    Expel,
    Halt,
    Peer,
    PeerFetch,
    PutBack,
    Send,
    SendAfterPersist,
    Serve,
    Trace,
    Truncate,
    WriteEntries,
    WriteMeta,
)
from txlog.messages import MAX_LEASE_MS, Fetch, Fetched, Heartbeat, Message, TailQuery
from txlog.server.scrubbing import DEFAULTS, Scrubbing, ScrubLimits
from txlog.server.session import CallerSession, SubscriberStream
from txlog.server.worker import Worker
from txlog.storage.errors import StorageFatal
from txlog.storage.rescan import Look
from txlog.storage.store import LogStore

log = structlog.get_logger("txlog.log")

# of entries in one answer, whatever the request says; one larger entry is still sent
MAX_SERVED_BYTES: Final = 8 << 20
SLOW_SYNC_US: Final = 10_000  # a disk that usually takes longer is synced in a thread
# Entries that follow within this time reach a reader together, unless it asked for the tail.
STREAM_BATCH_US: Final = 10_000

HaltProcess = Callable[[str], None]


class Peers(Protocol):
    """The way to the other log nodes of the group, for one log."""

    # answers come to `LogDriver.on_peer_fetched`
    def fetch(self, node: str, fetch: Fetch, topic: str) -> None: ...
    def close(self) -> None: ...


_P = ParamSpec("_P")


def _fatal_on_error(
    entrance: Callable[Concatenate[LogDriver, _P], None],
) -> Callable[Concatenate[LogDriver, _P], None]:
    """Guard every entry point of the driver: an unexpected error ends the process. Otherwise a log
    would stay half alive.
    """

    def guarded(self: LogDriver, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            entrance(self, *args, **kwargs)
        except Exception as error:
            self.unexpected(error)

    return guarded


class LogDriver:
    """See the module. Implements `session.LogSource`."""

    def __init__(
        self,
        name: str,
        store: LogStore,
        peer_ids: list[str],
        rng: random.Random,
        clock: Callable[[], int],
        halt: HaltProcess,
        readers: ThreadPoolExecutor,
        scrub: ScrubLimits = DEFAULTS,
        max_lease_ms: int = MAX_LEASE_MS,
    ) -> None:
        self.name = name
        self.store = store
        self.peers: Peers | None = None
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._halt = halt
        self._readers = readers
        self._acceptor = Acceptor(store.recovered, store, peer_ids, rng, clock(), max_lease_ms)
        self._worker = Worker(self._loop, f"sync {name}")
        self._sessions: dict[Peer, CallerSession] = {}
        self._next_peer = 1
        self._streams: list[SubscriberStream] = []
        self._pushed = 0  # committed at the last push to the streams
        self._pushed_us = 0
        self._urgent = 0  # readers get entries up to here at once: a caller waits for them
        self._push_later = False
        self._waiting: deque[SendAfterPersist] = deque()
        self._put_backs: list[int] = []  # their sequences, not on disk yet
        self._scrubbing = Scrubbing(name, store, self, scrub, clock, readers)
        self._rescanning = False
        self._written = 0  # sequence of the newest disk output given to the store
        self._persisted = 0
        self._syncing = False
        self._sync_us = 0  # running mean of the time of a sync
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0
        self._has_room = True

    @_fatal_on_error
    def start(self) -> None:
        """Call it after ``peers`` is set."""
        self._pump()
        self._scrubbing.start()

    async def close(self) -> None:
        """Take no more messages, finish the sync in flight, close the store."""
        if self._closed:
            return
        self._closed = True
        self._scrubbing.close()
        if self._timer is not None:
            self._timer.cancel()
        if self.peers is not None:
            self.peers.close()
        await self._loop.run_in_executor(None, self._worker.stop)
        await self._loop.run_in_executor(None, self.store.close)

    @_fatal_on_error
    def on_membership(self, peer_ids: list[str], peers: Peers) -> None:
        """S8: from now on these are the other nodes of the group."""
        if self._closed:
            peers.close()
            return
        if self.peers is not None:
            self.peers.close()
        self.peers = peers
        self._acceptor.on_membership(peer_ids, self._clock())
        self._pump()

    # ------------------------------------------------------------------ sessions

    def attach(self, session: CallerSession) -> Peer:
        peer = self._next_peer
        self._next_peer += 1
        self._sessions[peer] = session
        return peer

    @_fatal_on_error
    def detach(self, peer: Peer) -> None:
        self._sessions.pop(peer, None)
        if not self._closed:
            self._acceptor.on_disconnected(peer)
            self._pump()

    @_fatal_on_error
    def handle(self, peer: Peer, messages: list[Message]) -> None:
        if self._closed:
            return
        self._update_room()
        now = self._clock()  # read the clock after the messages (L5)
        on_message = self._acceptor.on_message
        for message in messages:
            on_message(peer, message, now)
            if type(message) is TailQuery:
                self._urgent = self._acceptor.last[1]
        self._pump()

    @_fatal_on_error
    def on_peer_fetched(self, node: str, fetched: Fetched) -> None:
        if not self._closed:
            self._update_room()
            self._acceptor.on_peer_fetched(node, fetched, self._clock())
            self._pump()

    # ------------------------------------------------------------------ the machine's outputs

    def _pump(self) -> None:
        for output in self._acceptor.take_outputs():
            kind = type(output)
            if kind is Send:
                # mypy does not narrow by identity.
                self._send(output.to, output.message)  # type: ignore[union-attr]  # see above
            elif kind is SendAfterPersist:
                if output.sequence <= self._persisted:  # type: ignore[union-attr]  # as above
                    self._send(output.to, output.message)  # type: ignore[union-attr]  # as above
                else:
                    self._waiting.append(output)  # type: ignore[arg-type]  # as above
            else:
                self._execute(output)
                if self._closed:
                    return
        if self._written > self._persisted and not self._syncing:
            self._sync()
        if self._streams and self._acceptor.committed > self._pushed:
            self._push_streams()
        self._arm()

    def _push_streams(self) -> None:
        """Send committed entries to the readers, several at once while the log is busy.

        Each wake-up costs both processes more than one more entry in it. Two kinds of entries go at
        once: the first after a pause, and those for which a reader that asked for the tail waits
        (R2).
        """
        now = self._clock()
        wait_us = self._pushed_us + STREAM_BATCH_US - now
        if wait_us <= 0 or self._pushed < self._urgent:
            self._pushed, self._pushed_us = self._acceptor.committed, now
            for stream in self._streams:
                stream.push()
        elif not self._push_later:
            self._push_later = True
            self._loop.call_later(timer_s(wait_us), self._push_streams_now)

    @_fatal_on_error
    def _push_streams_now(self) -> None:
        self._push_later = False
        if not self._closed and self._streams and self._acceptor.committed > self._pushed:
            self._push_streams()

    def _execute(self, output: object) -> None:
        try:
            if isinstance(output, WriteEntries):
                self._written = output.sequence
                self.store.write_entries(output.entries, output.committed)
            elif isinstance(output, WriteMeta):
                self._written = output.sequence
                self.store.write_meta(output.promise, output.suspicion)
            elif isinstance(output, Truncate):
                self._written = output.sequence
                self.store.truncate(output.position)
            elif isinstance(output, PutBack):
                self._written = output.sequence
                self._put_backs.append(output.sequence)
                self.store.put_back(output.entry)
                log.warning(
                    "entry put back from another log node",
                    log=self.name,
                    position=output.entry.position,
                )
            elif isinstance(output, Serve):
                self._serve(output)
            elif isinstance(output, PeerFetch):
                if self.peers is not None:
                    self.peers.fetch(output.node, output.fetch, output.topic)
            elif isinstance(output, Trace):
                log.info(output.text, log=self.name)
            elif isinstance(output, Expel):
                self._expel(output)
            elif isinstance(output, Halt):
                self._fatal(output.reason)
        except OSError as error:
            self._fatal(f"{error.filename or self.store.path}: {error.strerror or error}")

    def _expel(self, expel: Expel) -> None:
        session = self._sessions.get(expel.to)
        if session is not None:
            log.error(
                "a caller says what cannot be, its session ends",
                log=self.name,
                peer=session.sink.peer_name,
                reason=expel.reason,
            )
            session.sink.end(f"log: {expel.reason}")

    def _fatal(self, reason: str) -> None:
        self._closed = True
        self._halt(f"log '{self.name}': {reason}")

    def unexpected(self, error: Exception) -> None:
        if not self._closed:
            log.error("a log ends on an error that was not expected", log=self.name, exc_info=error)
            self._fatal(str(error) if isinstance(error, StorageFatal) else repr(error))

    def _send(self, peer: Peer, message: Message) -> None:
        session = self._sessions.get(peer)
        if session is not None:
            session.sink.send(message)

    # ------------------------------------------------------------------ the disk

    def _sync(self) -> None:
        """Sync in the loop, after all that this turn brings; a slow disk is synced in a thread.

        For a quick disk, two changes of thread cost more than the sync.
        """
        self._syncing = True
        if self._sync_us < SLOW_SYNC_US:
            self._loop.call_soon(self._sync_here)
            return
        covered, began_us = self._written, self._clock()

        def done(_: None, error: BaseException | None) -> None:
            self._record_sync_time(self._clock() - began_us)
            self._synced(covered, error)

        self._worker.submit(self.store.begin_sync(), done)

    @_fatal_on_error
    def _sync_here(self) -> None:
        if self._closed:
            return
        covered, began_us = self._written, self._clock()
        error: BaseException | None = None
        try:
            self.store.begin_sync()()
        except (OSError, StorageFatal) as caught:
            error = caught
        self._record_sync_time(self._clock() - began_us)
        self._synced(covered, error)

    def _record_sync_time(self, us: int) -> None:
        """Update the running mean with the time of one sync."""
        self._sync_us = (self._sync_us * 7 + us) // 8

    @_fatal_on_error
    def _synced(self, covered: int, error: BaseException | None) -> None:
        self._syncing = False
        if self._closed:
            return
        if error is not None:
            self._fatal(
                str(error) if isinstance(error, StorageFatal) else f"{self.store.path}: {error!r}"
            )
            return
        self._persisted = covered
        now = self._clock()
        self._acceptor.on_persisted(covered, now)
        waiting = self._waiting
        while waiting and waiting[0].sequence <= covered:
            output = waiting.popleft()
            self._send(output.to, output.message)
        mended = False
        while self._put_backs and self._put_backs[0] <= covered:
            mended = True
            # with the damage that was found meanwhile
            self._acceptor.on_put_back(self._put_backs.pop(0), self.store.scan(), now)
        self._pump()
        if mended:
            # some streams may wait before the hole, and perhaps no further commit wakes them
            for stream in self._streams:
                stream.push()

    def _update_room(self) -> None:
        """Update the room before new entries come (A5). By then the store has counted all earlier
        ones.
        """
        if self._has_room and not self.store.has_room:
            self._check_room()
        self._acceptor.room_bytes = self.store.room_bytes

    def _check_room(self) -> None:
        """The disk is full when the next segment cannot be made (A5), until it can be made."""
        has_room = self.store.has_room
        if has_room != self._has_room:
            self._has_room = has_room
            log.warning(
                "the disk has room again" if has_room else "the disk is full: appends are refused",
                log=self.name,
            )
            self._acceptor.on_room(has_room)
            self._pump()

    # ------------------------------------------------------------------ reading

    def committed(self) -> int:
        return self._acceptor.committed

    def readable(self, start: int) -> int:
        return self._acceptor.readable_upto(start)

    def add_stream(self, stream: SubscriberStream) -> None:
        self._streams.append(stream)

    def remove_stream(self, stream: SubscriberStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)

    def recent(self, start: int, upto: int, max_bytes: int) -> list[bytes]:
        return self.store.recent(start, upto, max_bytes)

    def read_behind(self, stream: SubscriberStream, start: int, upto: int, max_bytes: int) -> None:
        """Read committed entries in a thread. They are never truncated, so the loop changes none of
        them.
        """
        future = self._loop.run_in_executor(self._readers, self.store.read, start, upto, max_bytes)
        future.add_done_callback(lambda done: self._read_done(done, stream.on_read))

    @_fatal_on_error
    def _read_done(self, done: asyncio.Future[Any], then: Callable[[Any], None]) -> None:
        if self._closed or done.cancelled():
            return
        error = done.exception()
        if isinstance(error, OSError | StorageFatal):
            self._fatal(f"{self.store.path}: read failed: {error}")
        elif error is not None:
            raise error
        else:
            then(done.result())

    def _serve(self, serve: Serve) -> None:
        answer, max_bytes = serve.answer, min(serve.max_bytes, MAX_SERVED_BYTES)
        assert isinstance(answer, Fetched)

        def send(entries: list[bytes]) -> None:
            answer.entries = entries
            self._send(serve.to, answer)

        def sent(entries: list[bytes]) -> None:
            send(entries)
            session = self._sessions.get(serve.to)
            if session is not None:
                session.served()

        if not max_bytes or answer.start > serve.upto:
            send([])
        elif entries := self.store.recent(answer.start, serve.upto, max_bytes):
            send(entries)
        elif answer.start <= (committed := self._acceptor.committed):
            future = self._loop.run_in_executor(
                self._readers, self.store.read, answer.start, min(serve.upto, committed), max_bytes
            )
            session = self._sessions.get(serve.to)
            if session is not None:
                session.reads_under_way += 1
            future.add_done_callback(lambda done: self._read_done(done, sent))
        else:
            # rare: an uncommitted suffix longer than what is kept in memory
            send(self.store.read(answer.start, serve.upto, max_bytes))

    def heartbeat(self) -> Heartbeat:
        acceptor, now = self._acceptor, self._clock()
        return Heartbeat(
            acceptor.committed, acceptor.last, acceptor.promise.term, acceptor.window_left_ms(now),
            acceptor.window_holder(now), acceptor.successor(now), acceptor.suspicion is not None,
        )  # fmt: skip

    @_fatal_on_error
    def beat(self) -> None:
        """At every heartbeat: report the log's position to readers, and record the synced position
        when the log is quiet.
        """
        if self._closed:
            return
        try:
            self._check_room()
            if not self._rescanning and (look := self.store.begin_look()) is not None:
                self._rescanning = True
                future = self._loop.run_in_executor(self._readers, look.run)
                future.add_done_callback(
                    lambda done: self._read_done(done, lambda _: self._on_rescanned(look))
                )
            if not self._syncing and self.store.evidence_due:
                self.store.write_evidence(self._acceptor.committed)
            self.sync_queued()
        except StorageFatal as error:
            self._fatal(str(error))
            return
        broken = self._acceptor.broken
        for stream in list(self._streams) if broken else ():
            if stream.next >= broken:
                stream.sink.end(
                    f"log: no log node has a good copy of position {broken}: "
                    f"{self._acceptor.broken_reason}"
                )
        if self._streams and not self._closed:
            heartbeat = self.heartbeat()
            for stream in self._streams:
                if not stream.sink.blocked:
                    stream.sink.send(heartbeat)

    def _on_rescanned(self, look: Look) -> None:
        """S6: a read found bytes that did not check, and the whole segment was checked again."""
        self._rescanning = False
        met = self.store.end_look(look, self._acceptor.committed)
        if met.lost or met.headers:
            log.error(
                "damage met while reading",
                log=self.name,
                positions=met.lost[:20],
                from_memory=met.restored[:20],
                headers=met.headers,
            )
        if met.lost:
            self._acceptor.on_damage(self.store.scan(), self._clock())
            self._pump()
        self.sync_queued()

    def disk_busy(self) -> bool:
        return self._syncing or self._written > self._persisted

    def sync_queued(self) -> None:
        """Carry out what others than the acceptor asked of the store. If a sync is in flight, the
        next heartbeat does it.
        """
        if not (self._syncing or self._closed) and self.store.queued:
            self._sync()

    def status(self) -> dict[str, Any]:
        acceptor = self._acceptor.status(self._clock())
        return {
            "log": self.name,
            **acceptor,
            "room": self._has_room,
            "readers": len(self._streams),
            "scrub": self._scrubbing.status(),
        }

    # ------------------------------------------------------------------ time

    def _arm(self) -> None:
        deadline = self._acceptor.deadline()
        if not deadline or self._closed or (self._timer is not None and self._timer_us <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_us = deadline
        self._timer = self._loop.call_later(timer_s(deadline - self._clock()), self._on_timer)

    @_fatal_on_error
    def _on_timer(self) -> None:
        self._timer = None
        if self._closed:
            return
        now = self._clock()
        deadline = self._acceptor.deadline()
        if deadline and now >= deadline:
            self._acceptor.on_deadline(now)
        self._pump()
