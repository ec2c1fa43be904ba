"""The shard: commands in, replies out, effects to the log, nothing shown before it may be.

Decides: whether a command may run here and now (role, lease, pauses, limits, consistency of reads),
which position its reply waits for, what becomes of everything that waits at a change of role.
Must not know: sockets, clocks, how a position becomes committed, who becomes primary (`roles`).

The driver calls, for a batch of commands that a client sent:

    at = 0
    while at < len(batch):
        at = shard.run(session, batch, at, wall_ms, now_us)     # as many plain commands as there
        are, or one that is not plain
    write(shard.take_reply(session, clock()))                   # the clock is read after the
    execution: a read is good under a lease valid then

and, once a turn, `take_entries` for the log; `on_committed` releases what waited. A command that
may not run yet is parked in its session, in order, with everything behind it; `take_runnable` names
the sessions that may go on (``session.sink.run_parked()``).

Positions: the effects of one turn gather into one entry, whose position is known beforehand
(``next_position``), so a reply knows at once what it waits for. `shift_positions` is for the one
case in which another entry comes between.
Invariants: a reply that saw or made an uncommitted change never leaves before its commit; ``clean``
means that memory is exactly the committed state up to ``applied``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

from memstore.engine import access, effects, reply
from memstore.engine.command import (
    ADMIN,
    EVERYWHERE,
    LOADING,
    LOCAL,
    MAY_REPLICATE,
    READONLY,
    SKIP_MONITOR,
    WRITE,
    Handler,
    Row,
)
from memstore.engine.context import DELETE_EXPIRED, HIDE_EXPIRED, Context
from memstore.engine.engine import PAUSE_NONE, Engine, HalfDone
from memstore.engine.requests import CloseSession
from memstore.engine.session import (
    REPLY_OFF,
    REPLY_ON,
    REPLY_SKIP,
    REPLY_SKIP_NEXT,
    SESSION,
    STRONG,
    Session,
)
from memstore.engine.transaction import IMMEDIATE, looks, queue, refuse, writes
from memstore.replication import refusals
from memstore.replication.fast_path import (
    LARGE_REPLY,
    NO_ROW,
    is_hostile,
    is_plain,
    is_quick,
    no_handler,
)
from memstore.replication.lease import NO_LEASE as NO_LEASE
from memstore.replication.lease import FixedLease as FixedLease
from memstore.replication.lease import Lease
from memstore.replication.looked_keys import keys_of, keys_of_exec
from memstore.replication.reads import StrongReads
from memstore.replication.tracker import FAR, Key, Tracker
from memstore.replication.waiting import Waiting
from txlog.entry import DATA, NO_ENTRY, EntryId

RESTORING: Final = "restoring"
REPLICA: Final = "replica"
CANDIDATE: Final = "candidate"
PRIMARY: Final = "primary"

_NOT_RUN: Final = (reply.NIL3, reply.NIL_ARRAY2)  # EXEC's answer when a watched key has changed

PendingEntry = tuple[int, bytes, int, bool]  # kind, payload, wall_ms, continued


class Shard:
    __slots__ = (
        "_begun", "_entries", "_gathered_db", "_in_flight", "_monitors", "_plain", "_slow",
        "_stopped", "applied", "applied_wall_ms", "congested", "context", "drain_scheduled",
        "engine", "entry_bytes", "failed", "fast_path_open", "gathered", "gathered_bytes",
        "handover_pause", "has_entries", "last_row", "lease", "lease_expired", "next_position",
        "reads", "role", "runnable", "tracker", "uncommitted_bytes", "waiting", "waiting_bytes",
    )  # fmt: skip

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.context = engine.context
        self.tracker = Tracker()
        self.reads = StrongReads()
        self.waiting = Waiting()  # blocked sessions that wait for progress; the driver answers them
        self.role = RESTORING
        self.lease: Lease = NO_LEASE  # who says until when reads may be served
        # a reply was ready after the lease had ended: the role machine must step down
        self.lease_expired = False
        self.congested = False  # too much waits for commits: commands wait
        self.handover_pause = False  # hand-over: commands wait
        self.failed = False  # memory may hold what the log does not (`fail`): the node must end
        self.fast_path_open = False  # plain commands may run: primary, nothing holds them
        self.applied: EntryId = NO_ENTRY  # of the newest committed entry in memory
        # the log's time: what a replica judges keys by. A primary's own time is in it once an entry
        # has told it
        self.applied_wall_ms = 0
        self.next_position = 1
        self.uncommitted_bytes = 0  # of payloads gathered or appended and not yet committed
        self.runnable: list[Session] = []
        # of the newest plain command: the driver credits the batch's time to it
        self.last_row: Row | None = None
        self.has_entries = False  # something gathers or is closed, and was not taken yet
        # the driver will come for it at the end of this turn; the driver's to write
        self.drain_scheduled = False
        self.gathered: list[bytes] = []  # units of the entry that gathers
        self.gathered_bytes = 0
        self._gathered_db = 0  # the database the gathered effects end in
        self._monitors = 0  # sessions in MONITOR when ``fast_path_open`` was computed
        self._entries: deque[PendingEntry] = deque()  # closed, not yet taken
        self._begun: list[PendingEntry] = []  # the entries taken of a run whose last one is not
        # how large an entry should be; max-entry-bytes if that is less. The driver's to write
        self.entry_bytes = FAR
        self.waiting_bytes = 0  # of payloads that were not taken yet
        # (position, bytes) of entries taken and not yet committed
        self._in_flight: deque[tuple[int, int]] = deque()
        self._stopped: dict[Session, None] = {}  # parked until `resume`, in order
        cluster = engine.settings.cluster_enabled
        self.context.expiry = HIDE_EXPIRED
        self._plain = {name: row for name, row in engine.table.items() if is_plain(row, cluster)}
        self._slow = frozenset(name for name, row in self._plain.items() if not is_quick(row))

    # ----------------------------------------------------------------- commands

    def run(
        self, session: Session, batch: list[list[bytes]], at: int, wall_ms: int, now_us: int
    ) -> int:
        """Run commands of ``batch`` from ``at``; the index of the first that was not consumed. What
        may not run yet is parked, which consumes it.

        Ends behind a large reply, and behind a command that may have taken long, so that the driver
        can look at the clock.
        """
        if not (
            self.fast_path_open and session.fast_path_ok and now_us < self.lease.lease_until_us
        ):
            return self._run_one(session, batch, at, wall_ms, now_us)
        context = self.context
        context.bind(session, wall_ms)
        find, slow, tracker, unit = self._plain.get, self._slow, self.tracker, context.unit
        hold_at = session.held[-1][0] if session.held else 0
        parts: list[bytes] = []
        first_write = -1  # where in parts the first write's reply stands
        row, arity, long = NO_ROW, 0, False
        handler: Handler = no_handler
        first = begun = at  # begun: where the present run of one row's commands began
        bug: Exception | None = None
        for argv in batch[at:] if at else batch:
            candidate = find(argv[0])
            if candidate is not row:
                if candidate is None:
                    break
                row.calls += at - begun
                begun = at
                row = candidate
                handler, arity, long = row.handler, row.arity, row.name in slow
            if len(argv) != arity and (arity > 0 or len(argv) < -arity):
                break
            at += 1
            try:
                answer = handler(context, argv)
            except reply.CommandError as error:
                answer = self.engine.failed(row, error)
            except Exception as found:
                bug = found
                break
            if unit:
                position, write = self._close_unit(), row.flags & WRITE
            elif tracker.busy:
                position, write = tracker.position_of_all(keys_of(context, row, argv)), 0
            else:
                parts.append(answer)  # type: ignore[arg-type]  # plain rows answer at once
                if long or len(answer) > LARGE_REPLY:  # type: ignore[arg-type]  # as above
                    break
                continue
            if position > hold_at:
                if parts:
                    self._flush(session, hold_at, parts, first_write)
                    parts, first_write = [], -1
                hold_at = position
            if write and first_write < 0:
                first_write = len(parts)
            parts.append(answer)  # type: ignore[arg-type]  # plain rows answer at once
            if long or len(answer) > LARGE_REPLY:  # type: ignore[arg-type]  # as above
                break
        if at == first:
            return self._run_one(session, batch, at, wall_ms, now_us)
        row.calls += at - begun
        self.last_row = row
        if hold_at:
            self._flush(session, hold_at, parts, first_write)
        elif session.out:
            session.out += parts
        else:
            session.out = parts
        if bug is not None:  # the commands before it have their answers
            self._raise(row, bug)
        return at

    def _raise(self, row: Row, bug: Exception) -> NoReturn:
        """A command of ``row`` ended in an error of the program. Nothing of its unit reaches the
        log; when memory may hold more than that, nothing runs here any more: what gathered before
        is still appended.
        """
        error = self.engine.broken(row, bug)
        context = self.context
        if isinstance(error, HalfDone):
            self.fail()
        context.looked.clear()
        context.looked_everywhere = False
        if error is bug:
            raise bug
        raise error from bug

    def fail(self) -> None:
        """Memory may hold what the log does not: the unit under way is dropped, and no command
        begins until memory is made again from the log.
        """
        context = self.context
        context.unit.clear()
        context.changed.clear()
        context.changed_all.clear()
        context.unit_db = self._gathered_db
        self.failed = True
        self.update_fast_path()

    def _flush(self, session: Session, hold_at: int, parts: list[bytes], first_write: int) -> None:
        if hold_at <= self.tracker.committed:
            session.out += parts
        else:
            reads = len(parts) if first_write < 0 else first_write
            self.engine.facts.held_reads += reads
            self.tracker.hold_reply(
                session,
                (
                    hold_at,
                    parts[0] if len(parts) == 1 else b"".join(parts),
                    reads,
                    first_write >= 0,
                ),
            )
            session.seen = hold_at
            self._update_congestion()

    def take_reply(self, session: Session, now_us: int) -> bytes:
        """What may be written now. ``now_us``: read after the commands ran. Without a valid lease
        nothing leaves: a demotion answers it.
        """
        out = session.out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        if (
            now_us >= self.lease.lease_until_us
            and self.role == PRIMARY
            and now_us >= self.lease.renewed_until(now_us)
        ):
            self._hold_expired_reply(session, data, len(out))
            data = b""
        session.out = []
        return data

    def _hold_expired_reply(self, session: Session, data: bytes, reads: int) -> None:
        """The lease ended before this reply could leave; only a demotion answers it, in its place
        among what is held.
        """
        self.lease_expired = True
        self.tracker.hold_reply_in_front(session, data, reads)

    # ----------------------------------------------------------------- commands that are not plain

    def _run_one(
        self, session: Session, batch: list[list[bytes]], at: int, wall_ms: int, now_us: int
    ) -> int:
        if session.parked or session.is_blocked or self.failed:
            return self._park(session, batch, at)
        argv = batch[at]
        if (
            (self.handover_pause or self.congested)
            and session.authenticated
            and not is_hostile(argv)
        ):
            return self._park(session, batch, at)
        context = self.context
        context.bind(session, wall_ms)
        if self.role != PRIMARY:
            context.due_ms = self.applied_wall_ms
        row = self.engine.find(argv)
        if isinstance(row, bytes):
            return (
                self._turn_away(session, len(batch))
                if is_hostile(argv)
                else self._refuse(session, argv, row, at)
            )
        refusal = self._gate(session, row, argv, now_us)
        if refusal is not None:
            return self._refuse(session, argv, refusal, at, row)
        if session.multi is not None and row.name not in IMMEDIATE:
            self._emit(session, queue(self.engine, session, row, argv), 0, False)
            session.reads_covered = max(0, session.reads_covered - 1)
            return at + 1
        if self.engine.pause_mode != PAUSE_NONE and refusals.is_paused(self.engine, session, row):
            return self._park(session, batch, at)
        if self.role != PRIMARY and refusals.needs_freshness(session, row):
            if session.reads_covered == 0 and not self._fresh(session):
                return self._park_read(session, batch, at, now_us)
            if session.reads_covered and session.read_error:
                return self._refuse(session, argv, session.read_error, at, row)
        self._execute(session, row, argv)
        session.reads_covered = max(0, session.reads_covered - 1)
        return at + 1

    def _execute(self, session: Session, row: Row, argv: list[bytes]) -> None:
        context = self.context
        self.last_row = row
        looked = keys_of_exec(context, session, row) if self.tracker.busy else []
        try:
            answer = self.engine.call(row, argv)
        except Exception as bug:
            self._raise(row, bug)
        wrote = False
        if context.unit:  # of what only reads, keys that had expired: its answer is a read's
            wrote = bool(row.flags & WRITE) or (row.name == b"EXEC" and answer not in _NOT_RUN)
            position = self._close_unit()
        else:
            position = self._position_seen(row, argv, looked) if self.tracker.busy else 0
        context.looked.clear()
        context.looked_everywhere = False
        if self.role != PRIMARY:
            session.seen = max(session.seen, self.applied[1])
        if answer is not None:
            self._emit(session, answer, position, wrote)
        elif session.is_blocked:
            session.update_fast_path()
        engine = self.engine
        if engine.monitors and not row.flags & (SKIP_MONITOR | ADMIN):
            engine.feed_monitors(session, argv)
        if engine.monitor_lines:
            self._show()
        if len(engine.monitors) != self._monitors:
            self.update_fast_path()

    def _show(self) -> None:
        """Lines for a session in MONITOR come behind the replies that it waits for. The driver
        takes what is left in ``monitor_lines``.
        """
        lines, self.engine.monitor_lines = self.engine.monitor_lines, []
        for watcher, line in lines:
            if watcher.held:
                self.tracker.hold_reply(watcher, (watcher.held[-1][0], line, 0, False))
            elif watcher.out:
                watcher.out[-1] += line
            else:
                self.engine.monitor_lines.append((watcher, line))

    def _position_seen(self, row: Row, argv: list[bytes], looked: list[Key]) -> int:
        if row.flags & EVERYWHERE or self.context.looked_everywhere:
            return self.tracker.latest
        if row.flags & LOCAL:
            return 0
        return self.tracker.position_of_all(keys_of(self.context, row, argv) + looked)

    def _emit(self, session: Session, answer: bytes, position: int, wrote: bool) -> None:
        session.seen = max(session.seen, position)
        if session.reply_mode != REPLY_ON:
            if session.reply_mode == REPLY_SKIP_NEXT:
                session.reply_mode = REPLY_SKIP
                return
            if session.reply_mode == REPLY_SKIP:
                session.reply_mode = REPLY_ON
                session.update_fast_path()
                return
            if session.reply_mode == REPLY_OFF:
                return
        hold_at = max(position, session.held[-1][0] if session.held else 0)
        if hold_at <= self.tracker.committed:
            session.out.append(answer)
        else:
            reads = 0 if wrote else 1
            self.engine.facts.held_reads += reads
            self.tracker.hold_reply(session, (hold_at, answer, reads, wrote))
            self._update_congestion()

    def _refuse(
        self, session: Session, argv: list[bytes], error: bytes, at: int, row: Row | None = None
    ) -> int:
        if row is not None:
            row.rejected += 1
        session.reads_covered = max(0, session.reads_covered - 1)
        self.engine.count_error(error)
        self._emit(session, refuse(self.engine, session, argv, error), 0, False)
        return at + 1

    def _turn_away(self, session: Session, end: int) -> int:
        """A web browser was made to speak to this port. As in Redis nothing behind such a line
        runs, and no reply that waits is sent.
        """
        self.tracker.drop(session)
        session.out = []
        session.closing = True
        session.update_fast_path()
        self.engine.requests.append(CloseSession(session, after_replies=False, hostile=True))
        return end

    def emit_error(self, session: Session, text: str) -> None:
        """An error that answers no command (the protocol was broken),
        behind what the session still waits for.
        """
        answer = reply.error(text)
        self.engine.count_error(answer)
        self._emit(session, answer, 0, False)

    # ----------------------------------------------------------------- gates

    def _gate(self, session: Session, row: Row, argv: list[bytes], now_us: int) -> bytes | None:
        """The error a command gets instead of running here; None: it may run."""
        flags, facts, settings = row.flags, self.engine.facts, self.engine.settings
        if session.restricted:
            refusal = access.refusal(session, row, argv)
            if refusal is not None:
                return refusal
        if flags & LOCAL:
            return None
        if session.monitor and flags & (WRITE | READONLY | MAY_REPLICATE):
            return refusals.MONITORING
        if settings.cluster_enabled:
            refusal = refusals.cluster(facts, session, row, argv, self.role == PRIMARY)
            if refusal is not None:
                return refusal
        if self.role == PRIMARY:
            if now_us >= self.lease.lease_until_us and now_us >= self.lease.renewed_until(now_us):
                self.lease_expired = True
                return refusals.CLUSTERDOWN if settings.cluster_enabled else refusals.MASTERDOWN
            return refusals.too_large(session, row, argv, settings.max_uncommitted_bytes)
        if self.role == RESTORING and (
            not flags & LOADING
            or (row.name == b"EXEC" and not session.multi_failed and looks(session))
        ):
            return refusals.loading(facts)
        if flags & WRITE or (row.name == b"EXEC" and not session.multi_failed and writes(session)):
            return refusals.read_only(facts)
        return None

    # ----------------------------------------------------------------- waiting

    def _fresh(self, session: Session) -> bool:
        return session.reads == SESSION and self.applied[1] >= session.seen

    def _park(self, session: Session, batch: list[list[bytes]], at: int) -> int:
        """Keep the rest of the batch until `resume`, or behind what is parked already."""
        if not session.parked and not session.is_blocked:
            self._stopped[session] = None
        session.parked.extend(batch[at:])
        session.fast_path_ok = False
        return len(batch)

    def _park_read(self, session: Session, batch: list[list[bytes]], at: int, now_us: int) -> int:
        """Keep the rest of the batch until this node is as fresh as the session asks."""
        session.parked.extend(batch[at:])
        session.fast_path_ok = False
        if session.reads == STRONG:
            self.reads.want(session)
        else:
            self.reads.want_position(
                session, session.seen, now_us + self.engine.settings.strong_read_timeout_ms * 1000
            )
        return len(batch)

    def _update_congestion(self) -> None:
        """Too much waits for commits: no new command begins (what is under way is bounded by one
        turn of the loop).
        """
        settings = self.engine.settings
        congested = (
            self.uncommitted_bytes >= settings.max_uncommitted_bytes
            or self.tracker.held_bytes >= settings.max_held_bytes
        )
        if congested is not self.congested:
            self.congested = congested
            self.update_fast_path()
            if not congested and not self.handover_pause:
                self.resume()

    def resume(self) -> None:
        """What made commands wait may be over (a pause, a hand-over, too much in flight): those
        sessions try again.
        """
        stopped, self._stopped = self._stopped, {}
        self.runnable += stopped

    def take_runnable(self) -> list[Session]:
        """Sessions whose parked commands may be tried now."""
        runnable, self.runnable = self.runnable, []
        return runnable

    def take_parked(
        self, session: Session, most: int
    ) -> tuple[list[list[bytes]], deque[list[bytes]]]:
        """A session's first parked commands, to be run; and the rest, to be given back
        (`requeue`). What must wait again is parked again, in order.
        """
        rest = session.parked
        batch = [rest.popleft() for _ in range(min(most, len(rest)))]
        session.parked = deque()
        session.tail_query = 0
        session.update_fast_path()
        return batch, rest

    def requeue(self, session: Session, rest: deque[list[bytes]]) -> bool:
        """What was not run of a session's parked commands comes behind what had to wait again. Or
        nothing had: whether it may go on.
        """
        may = not session.parked and not session.is_blocked and not session.closing
        if not session.closing:
            session.parked += rest
        session.update_fast_path()
        return may

    def finish(self, session: Session, answer: bytes) -> None:
        """The late reply of a command whose handler answered None;
        what the client sent behind it may run.
        """
        session.is_blocked = False
        session.update_fast_path()
        self._emit(session, answer, 0, False)
        self.runnable.append(session)

    def forget(self, session: Session) -> None:
        """The client is gone."""
        self.tracker.drop(session)
        if self.congested:
            self._update_congestion()  # what it was owed may have been what was too much
        self.engine.forget(session)
        self.update_fast_path()  # it may have been the last in MONITOR
        session.parked.clear()
        self._stopped.pop(session, None)
        self.reads.forget(session)
        self.waiting.forget(session)
        session.closing = True
        session.update_fast_path()

    # ----------------------------------------------------------------- effects to the log

    def _close_unit(self) -> int:
        """The unit under way joins the entry that gathers; the position its reply waits for."""
        context = self.context
        unit = context.unit
        payload = unit[0] if len(unit) == 1 else effects.encode_unit(unit)
        limit = min(self.engine.settings.max_entry_bytes, self.entry_bytes)
        if self.gathered and self.gathered_bytes + len(payload) > limit:
            self._close_entry()
        # a new entry begins in database 0, the unit was written where the last one ended
        if not self.gathered and self._gathered_db:
            payload = effects.select(self._gathered_db) + payload
        self.has_entries = True
        self.gathered.append(payload)
        self.gathered_bytes += len(payload)
        self._gathered_db = context.unit_db
        self.uncommitted_bytes += len(payload)
        self.waiting_bytes += len(payload)
        if len(payload) > limit:
            self._close_run(limit)
        position = self._last_position()
        self.tracker.mark(context.changed, context.changed_all, position)
        if self.engine.observers:
            self.engine.after_unit(context.changed, position)
        unit.clear()
        context.changed.clear()
        if context.changed_all:
            context.changed_all.clear()
        return position

    def _last_position(self) -> int:
        """Of the entry that gathers, or of the last closed one when nothing gathers."""
        return self.next_position + len(self._entries) - (0 if self.gathered else 1)

    def _close_entry(self) -> None:
        self._entries.append((DATA, b"".join(self.gathered), self.context.wall_ms, False))
        self.gathered = []
        self.gathered_bytes = 0

    def _close_run(self, limit: int) -> None:
        """A unit larger than an entry may be becomes a run of entries,
        all but the last marked as continued.
        """
        payload = b"".join(self.gathered)
        pieces = [payload[at : at + limit] for at in range(0, len(payload), limit)]
        self._entries += [
            (DATA, piece, self.context.wall_ms, piece is not pieces[-1]) for piece in pieces
        ]
        self.gathered = []
        self.gathered_bytes = 0

    def take_entries(self, room: int = FAR) -> list[PendingEntry]:
        """The entries to append now, in order; they get ``next_position`` and the ones behind it.
        At least one, and more while they fit into ``room`` bytes.
        """
        entries: list[PendingEntry] = []
        while self._entries and (not entries or len(self._entries[0][1]) <= room):
            entries.append(self._take_first())
            room -= len(entries[-1][1])
        if self.gathered and not self._entries and (not entries or self.gathered_bytes <= room):
            self._close_entry()
            entries.append(self._take_first())
        self.has_entries = bool(self._entries or self.gathered)
        if not self.has_entries:
            self._gathered_db = self.context.unit_db = 0
        self._update_congestion()
        return entries

    def _take_first(self) -> PendingEntry:
        entry = self._entries.popleft()
        size = len(entry[1])
        self._in_flight.append((self.next_position, size))
        self.waiting_bytes -= size
        self.next_position += 1
        if entry[3]:
            self._begun.append(entry)
        else:
            self._begun.clear()
        return entry

    def run_internal(self, work: Callable[[Context], object], wall_ms: int) -> None:
        """A primary's own work (active expiry) as a unit of its own, which no client waits for."""
        assert self.role == PRIMARY and not self.context.unit
        self.context.bind(self.engine.internal, wall_ms)
        try:
            work(self.context)
        except Exception:
            self.fail()
            raise
        if self.context.unit:
            self._close_unit()

    def shift_positions(self, position: int) -> None:
        """An entry that is not the shard's (LEADERSHIP of a re-sealed term) took ``next_position``:
        what gathers moves up by one.
        """
        assert position == self.next_position, "only the next position can be taken"
        again, self._begun = self._begun, []
        for _ in range(1 + len(again)):
            self.tracker.shift_positions(position)
            self.waiting.shift_positions(position)
            for session in self.engine.sessions.values():
                session.seen += position <= session.seen < FAR
        self.next_position += 1
        if again:  # a run that was not complete is cut off there: all of it is written once more
            self._entries.extendleft(reversed(again))
            size = sum([len(payload) for _, payload, _, _ in again])
            self.waiting_bytes += size
            self.uncommitted_bytes += size

    def on_committed(self, position: int) -> list[tuple[Session, bytes]]:
        """Everything up to ``position`` is committed: what may be written, one piece a session."""
        in_flight = self._in_flight
        while in_flight and in_flight[0][0] <= position:
            self.uncommitted_bytes -= in_flight.popleft()[1]
        released = self.tracker.commit(position)
        if self.congested:
            self._update_congestion()
        return released

    # ----------------------------------------------------------------- roles

    @property
    def clean(self) -> bool:
        """Memory is exactly a committed state:
        nothing uncommitted, nothing executed and not yet appended.
        """
        return not self.tracker.busy and not self.has_entries and not self.failed

    @property
    def drained(self) -> bool:
        """Hand-over: everything executed is committed and its replies are released."""
        return not self.tracker.busy and not self.has_entries and not self._in_flight

    def become_primary(self, next_position: int, committed: int) -> None:
        """Everything up to ``committed`` is applied;
        the next entry of this writer gets ``next_position``.
        """
        assert committed == next_position - 1 and self.clean
        self.tracker.reset(committed)
        self.role = PRIMARY
        self.next_position = next_position
        for session in self.engine.sessions.values():
            # a WAITFOR at a replica may have named a position that does not exist
            session.seen = min(session.seen, committed)
        self.context.expiry = DELETE_EXPIRED
        self.lease_expired = self.handover_pause = False
        self.update_fast_path()
        self.runnable += self.reads.restart()
        self.resume()

    def become_replica(self) -> None:
        """Memory is the committed state up to ``applied``: serve reads."""
        self._leave_primary(REPLICA)

    def on_rebuild(self) -> None:
        """Memory is thrown away, to be made again from the log's first entry."""
        self.failed = False
        self.applied, self.applied_wall_ms = NO_ENTRY, 0
        self.become_restoring()

    def become_restoring(self) -> None:
        """Memory is not to be shown until the log has been followed to its end."""
        self._leave_primary(RESTORING)

    def _leave_primary(self, role: str) -> None:
        self.role = role
        self.lease = NO_LEASE
        self.handover_pause = self.lease_expired = False
        self.context.expiry = HIDE_EXPIRED
        self.update_fast_path()
        self.runnable += self.reads.restart()
        for session in self.engine.sessions.values():
            # what an earlier answer covers and was not run yet asks again: memory may be another's,
            # and behind that answer
            session.reads_covered = 0
        self.resume()

    def update_fast_path(self) -> None:
        """Recompute whether plain commands may run; call when a pause or monitor begins or ends."""
        engine = self.engine
        self._monitors = len(engine.monitors)
        held = self.handover_pause or self.congested or self.failed
        self.fast_path_open = (
            self.role == PRIMARY
            and not held
            and engine.pause_mode == PAUSE_NONE
            and not engine.monitors
        )

    def begin_handover_pause(self) -> None:
        """Hand-over: commands that arrive from now on wait."""
        self.handover_pause = True
        self.update_fast_path()

    def end_handover_pause(self) -> None:
        self.handover_pause = False
        self.update_fast_path()
        self.resume()

    def demote(self, committed: int) -> list[tuple[Session, bytes, bool]]:
        """This node is no longer the primary. What each client is told of its commands whose
        outcome or answer cannot be confirmed; True: close behind it.

        Afterwards nothing is held and nothing gathers; unless `clean` held before, memory must be
        thrown away.
        """
        told: list[tuple[Session, bytes, bool]] = []
        for session in self.engine.sessions.values():
            if session.held or session.out:
                told.append(refusals.fail_pending_replies(session, self._last_position()))
            # what it was shown; a position of this writer beyond may never exist
            session.seen = committed
            session.reads_covered = 0  # of an earlier time as a replica
            if session.multi is not None:
                session.multi_failed = True
            if session.watched:
                session.watch_failed = True
            if session.is_blocked:
                session.is_blocked = False
                session.update_fast_path()
                told.append((session, refusals.UNBLOCKED, False))
                self.runnable.append(session)
        self.gathered, self.gathered_bytes, self._gathered_db = [], 0, 0
        self._entries.clear()
        self._begun.clear()
        self.waiting_bytes = 0
        self.has_entries = False
        self.context.unit_db = 0
        self._in_flight.clear()
        self.uncommitted_bytes = 0
        self.tracker.reset(committed)
        self.waiting.clear()
        self._update_congestion()
        return told

    # ----------------------------------------------------------------- a replica follows the log

    def on_applied(self, applied: EntryId, wall_ms: int) -> None:
        """A committed entry was applied to memory. ``wall_ms``: the greatest of all entries' times
        up to it.
        """
        self.applied = applied
        self.applied_wall_ms = wall_ms
        if self.role != PRIMARY:
            self.tracker.committed = self.tracker.latest = applied[1]
            self.runnable += self.reads.on_applied(applied)

    def on_tail(self, query: int, bound: EntryId | None, now_us: int) -> None:
        """The answer to a question that ``reads.on_asked`` numbered; None: no majority answered."""
        timeout_ms = self.engine.settings.strong_read_timeout_ms
        self.runnable += self.reads.on_tail(
            query, bound, self.applied, now_us + timeout_ms * 1000, refusals.no_majority(timeout_ms)
        )

    def deadline(self) -> int:
        return self.reads.deadline()

    def on_deadline(self, now_us: int) -> None:
        self.runnable += self.reads.on_deadline(now_us, refusals.NOT_APPLIED)
