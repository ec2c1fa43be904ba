"""Runs commands: which commands may run here and now, and what their replies wait for.

Decides: whether a command runs, waits or is refused (role, lease, pauses, limits, freshness of
reads), and which position its reply waits for.
Must not know: sockets, clocks, how a position becomes committed, why the role changes (`shard`).

The driver calls, for a batch of commands that a client sent:

    at = 0
    while at < len(batch):
        # as many plain commands as there are, or one that is not plain
        at = shard.run(session, batch, at, wall_ms, now_us)
    # the clock is read after the execution: a read is good under a lease that is valid then
    write(shard.take_reply(session, clock()))

A command that may not run yet is parked in its session with all commands after it, in order.
`take_runnable` returns the sessions that may go on (``session.sink.run_parked()``).
Invariants: a reply that saw or made an uncommitted change never leaves before its commit; replies
of one session leave in order.

This is a base class of the shard, so a command costs one call and no further look-up.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NoReturn

from memstore.engine import access, reply
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
from memstore.engine.context import HIDE_EXPIRED
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
from memstore.replication.lease import NO_LEASE, Lease
from memstore.replication.looked_keys import keys_of, keys_of_exec
from memstore.replication.reads import StrongReads
from memstore.replication.role import PRIMARY, RESTORING, Role
from memstore.replication.tracker import Key
from memstore.replication.units import EntryBuilder
from memstore.replication.waiting import Waiting
from txlog.entry import NO_ENTRY, EntryId

_NOT_RUN: Final = (reply.NIL3, reply.NIL_ARRAY2)  # EXEC's answer when a watched key has changed


class Dispatcher(EntryBuilder):
    __slots__ = (
        "_monitors", "_plain", "_slow", "_stopped", "applied", "applied_wall_ms", "congested",
        "drain_scheduled", "failed", "fast_path_open", "handover_pause", "last_row", "lease",
        "lease_expired", "reads", "role", "runnable", "waiting",
    )  # fmt: skip

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.reads = StrongReads()
        self.waiting = Waiting()  # blocked sessions that wait for progress; the driver answers them
        self.role: Role = RESTORING
        self.lease: Lease = NO_LEASE  # says until when reads may be served
        # a reply was ready only after the lease had ended: the role machine must step down
        self.lease_expired = False
        self.congested = False  # too many bytes wait for commits: commands wait
        self.handover_pause = False  # hand-over: commands wait
        self.failed = False  # memory may hold more than the log does (`fail`): the node must end
        self.fast_path_open = False  # plain commands may run: a primary, and nothing stops them
        self.applied: EntryId = NO_ENTRY  # the newest committed entry in memory
        # the log's time: a replica judges by it whether a key is expired. A primary's own time
        # enters it through an entry
        self.applied_wall_ms = 0
        self.runnable: list[Session] = []
        # the row of the newest plain command: the driver credits the batch's time to it
        self.last_row: Row | None = None
        # the driver drains at the end of this turn; only the driver writes this
        self.drain_scheduled = False
        self._monitors = 0  # sessions in MONITOR when ``fast_path_open`` was computed
        self._stopped: dict[Session, None] = {}  # parked until `resume`, in order
        cluster = engine.settings.cluster_enabled
        self.context.expiry = HIDE_EXPIRED
        self._plain = {name: row for name, row in engine.table.items() if is_plain(row, cluster)}
        self._slow = frozenset(name for name, row in self._plain.items() if not is_quick(row))

    # ----------------------------------------------------------------- commands

    def run(
        self, session: Session, batch: list[list[bytes]], at: int, wall_ms: int, now_us: int
    ) -> int:
        """Run commands of ``batch`` from ``at``; return the index of the first that was not
        consumed. A command that may not run yet is parked, which consumes it.

        Stops after a large reply, and after a command that may have taken long, so that the driver
        can read the clock.
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
        first_write = -1  # index in ``parts`` of the first write's reply
        row, arity, long = NO_ROW, 0, False
        handler: Handler = no_handler
        first = begun = at  # begun: where the present run of commands of one row began
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
        if bug is not None:  # the commands before it already have their replies
            self._raise(row, bug)
        return at

    def _raise(self, row: Row, bug: Exception) -> NoReturn:
        """A command of ``row`` ended in an error of the program. Nothing of its unit reaches the
        log. If memory may hold part of the unit, no command runs here any more; what gathered
        before is still appended.
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
        """Memory may hold what the log does not. Drop the current unit, and let no command begin
        until memory is built again from the log.
        """
        self._drop_unit()
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
        """The reply bytes that may be written now. ``now_us``: read after the commands ran. Without
        a valid lease nothing leaves; a demotion answers these commands.
        """
        out = session.out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        if (
            now_us >= self.lease.lease_until_us
            and self.role is PRIMARY
            and now_us >= self.lease.renewed_until(now_us)
        ):
            self._hold_expired_reply(session, data, len(out))
            data = b""
        session.out = []
        return data

    def _hold_expired_reply(self, session: Session, data: bytes, reads: int) -> None:
        """The lease ended before this reply could leave. Hold the reply in its order; only a
        demotion answers it.
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
        if self.role is not PRIMARY:
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
        if self.role is not PRIMARY and refusals.needs_freshness(session, row):
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
        if context.unit:  # a read that finds expired keys has a unit too, and stays a read
            wrote = bool(row.flags & WRITE) or (row.name == b"EXEC" and answer not in _NOT_RUN)
            position = self._close_unit()
        else:
            position = self._position_seen(row, argv, looked) if self.tracker.busy else 0
        context.looked.clear()
        context.looked_everywhere = False
        if self.role is not PRIMARY:
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
        """Lines for a session in MONITOR come after the replies that it waits for. The driver
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
        """A web page made a browser speak to this port. As in Redis, nothing after such a line
        runs, and no waiting reply is sent.
        """
        self.tracker.drop(session)
        session.out = []
        session.closing = True
        session.update_fast_path()
        self.engine.requests.append(CloseSession(session, after_replies=False, hostile=True))
        return end

    def emit_error(self, session: Session, text: str) -> None:
        """Send an error that answers no command (a broken protocol), after all waiting replies."""
        answer = reply.error(text)
        self.engine.count_error(answer)
        self._emit(session, answer, 0, False)

    # ----------------------------------------------------------------- gates

    def _gate(self, session: Session, row: Row, argv: list[bytes], now_us: int) -> bytes | None:
        """The error that refuses the command here; None: it may run."""
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
            refusal = refusals.cluster(facts, session, row, argv, self.role is PRIMARY)
            if refusal is not None:
                return refusal
        if self.role is PRIMARY:
            if now_us >= self.lease.lease_until_us and now_us >= self.lease.renewed_until(now_us):
                self.lease_expired = True
                return refusals.CLUSTERDOWN if settings.cluster_enabled else refusals.MASTERDOWN
            return refusals.too_large(session, row, argv, settings.max_uncommitted_bytes)
        if self.role is RESTORING and (
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
        """Park the rest of the batch until `resume`, after the commands parked already."""
        if not session.parked and not session.is_blocked:
            self._stopped[session] = None
        session.parked.extend(batch[at:])
        session.fast_path_ok = False
        return len(batch)

    def _park_read(self, session: Session, batch: list[list[bytes]], at: int, now_us: int) -> int:
        """Park the rest of the batch until this node is as fresh as the session asks."""
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
        """Decide whether too many bytes wait for commits. If so, no new command begins. One turn of
        the loop bounds what already runs.
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
        """The reason that stopped commands may be over (a pause, a hand-over, too much in flight):
        the stopped sessions try again.
        """
        stopped, self._stopped = self._stopped, {}
        self.runnable += stopped

    def take_runnable(self) -> list[Session]:
        """Sessions whose parked commands may be tried again now."""
        runnable, self.runnable = self.runnable, []
        return runnable

    def take_parked(
        self, session: Session, most: int
    ) -> tuple[list[list[bytes]], deque[list[bytes]]]:
        """Returns a session's first parked commands, to run, and the rest, to give back
        (`requeue`). A command that must wait again is parked again, in order.
        """
        rest = session.parked
        batch = [rest.popleft() for _ in range(min(most, len(rest)))]
        session.parked = deque()
        session.tail_query = 0
        session.update_fast_path()
        return batch, rest

    def requeue(self, session: Session, rest: deque[list[bytes]]) -> bool:
        """Put back the parked commands that did not run, after those that must wait again. Returns
        whether the session may go on: no command had to wait again.
        """
        may = not session.parked and not session.is_blocked and not session.closing
        if not session.closing:
            session.parked += rest
        session.update_fast_path()
        return may

    def finish(self, session: Session, answer: bytes) -> None:
        """Send the late reply of a command whose handler returned None. Commands that the client
        sent after it may run.
        """
        session.is_blocked = False
        session.update_fast_path()
        self._emit(session, answer, 0, False)
        self.runnable.append(session)

    # ----------------------------------------------------------------- roles

    def update_fast_path(self) -> None:
        """Recompute whether plain commands may run; call when a pause or monitor begins or ends."""
        engine = self.engine
        self._monitors = len(engine.monitors)
        held = self.handover_pause or self.congested or self.failed
        self.fast_path_open = (
            self.role is PRIMARY
            and not held
            and engine.pause_mode == PAUSE_NONE
            and not engine.monitors
        )
