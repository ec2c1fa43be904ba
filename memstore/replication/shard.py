"""The shard: what a change of role, a commit or an applied entry does to commands and replies.

Decides: what each client gets at a demotion, when memory is a committed state (``clean``), what
a commit or an applied entry releases.
Must not know: sockets, clocks, how a position becomes committed, who becomes primary (`roles`).

`dispatch` runs the commands and `units` makes entries of their effects; both are base classes of
the shard. Once a turn the driver takes entries for the log (`take_entries`); `on_committed`
releases what waited. `shift_positions` is for the one case in which another entry takes the next
position.
Invariant: ``clean`` means that memory is exactly the committed state up to ``applied``.
"""

from __future__ import annotations

from collections.abc import Callable

from memstore.engine.context import DELETE_EXPIRED, HIDE_EXPIRED, Context
from memstore.engine.session import Session
from memstore.replication import refusals
from memstore.replication.dispatch import Dispatcher
from memstore.replication.lease import NO_LEASE as NO_LEASE
from memstore.replication.lease import FixedLease as FixedLease
from memstore.replication.role import PRIMARY as PRIMARY
from memstore.replication.role import REPLICA as REPLICA
from memstore.replication.role import RESTORING as RESTORING
from memstore.replication.role import Role
from memstore.replication.tracker import FAR
from memstore.replication.units import PendingEntry
from txlog.entry import NO_ENTRY, EntryId


class Shard(Dispatcher):
    __slots__ = ()

    # ----------------------------------------------------------------- effects to the log

    def take_entries(self, room: int = FAR) -> list[PendingEntry]:
        """The entries to append now (`EntryBuilder`)."""
        entries = self._take_entries(room)
        self._update_congestion()
        return entries

    def run_internal(self, work: Callable[[Context], object], wall_ms: int) -> None:
        """Run a primary's own work (active expiry) as its own unit, which no client waits for."""
        assert self.role is PRIMARY and not self.context.unit
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
        what gathers moves up, and so does what waits for it.
        """
        assert position == self.next_position, "only the next position can be taken"
        for _ in range(self._shift_entries()):
            self.tracker.shift_positions(position)
            self.waiting.shift_positions(position)
            for session in self.engine.sessions.values():
                session.seen += position <= session.seen < FAR

    def on_committed(self, position: int) -> list[tuple[Session, bytes]]:
        """Everything up to ``position`` is committed. What may be written, one piece a session."""
        self._count_committed(position)
        released = self.tracker.commit(position)
        if self.congested:
            self._update_congestion()
        return released

    # ----------------------------------------------------------------- roles

    @property
    def clean(self) -> bool:
        """Memory is exactly a committed state: nothing is uncommitted, and nothing executed still
        waits to be appended.
        """
        return not self.tracker.busy and not self.has_entries and not self.failed

    @property
    def drained(self) -> bool:
        """Hand-over: everything executed is committed and its replies are released."""
        return not self.tracker.busy and not self.has_entries and not self._in_flight

    def become_primary(self, next_position: int, committed: int) -> None:
        """Everything up to ``committed`` is applied. The next entry of this writer gets
        ``next_position``.
        """
        assert committed == next_position - 1 and self.clean
        self.tracker.reset(committed)
        self.role = PRIMARY
        self.next_position = next_position
        for session in self.engine.sessions.values():
            # a WAITFOR at a replica may have named a position that does not exist
            session.seen = min(session.seen, committed)
            # as a replica, this node may have hidden a watched key
            if session.watched:
                session.watch_failed = True
        self.context.expiry = DELETE_EXPIRED
        self.lease_expired = self.handover_pause = False
        self.update_fast_path()
        self.runnable += self.reads.restart()
        self.resume()

    def become_replica(self) -> None:
        """Memory is the committed state up to ``applied``: serve reads."""
        self._leave_primary(REPLICA)

    def on_rebuild(self) -> None:
        """Memory is discarded, to be built again from the log's first entry."""
        self.failed = False
        self.applied, self.applied_wall_ms = NO_ENTRY, 0
        self.become_restoring()

    def become_restoring(self) -> None:
        """No memory may be shown until the log has been followed to its end."""
        self._leave_primary(RESTORING)

    def _leave_primary(self, role: Role) -> None:
        self.role = role
        self.lease = NO_LEASE
        self.handover_pause = self.lease_expired = False
        self.context.expiry = HIDE_EXPIRED
        self.update_fast_path()
        self.runnable += self.reads.restart()
        for session in self.engine.sessions.values():
            # commands that an earlier answer covers and that did not run yet ask again: memory may
            # be another one, and older than that answer
            session.reads_covered = 0
        self.resume()

    def begin_handover_pause(self) -> None:
        """Hand-over: commands that arrive from now on wait."""
        self.handover_pause = True
        self.update_fast_path()

    def end_handover_pause(self) -> None:
        self.handover_pause = False
        self.update_fast_path()
        self.resume()

    def demote(self, committed: int) -> list[tuple[Session, bytes, bool]]:
        """This node is no longer the primary. Returns what each client gets for its commands whose
        outcome or answer cannot be confirmed; True: close the connection after it.

        Afterwards nothing is held and nothing gathers. Unless `clean` was true before, memory must
        be discarded.
        """
        told: list[tuple[Session, bytes, bool]] = []
        for session in self.engine.sessions.values():
            if session.held or session.out:
                told.append(refusals.fail_pending_replies(session, self._last_position()))
            # positions that it has seen above this one may never exist
            session.seen = committed
            session.reads_covered = 0  # granted when this node was a replica earlier
            if session.multi is not None:
                session.multi_failed = True
            if session.watched:
                session.watch_failed = True
            if session.is_blocked:
                session.is_blocked = False
                session.update_fast_path()
                told.append((session, refusals.UNBLOCKED, False))
                self.runnable.append(session)
        self._drop_entries()
        self.tracker.reset(committed)
        self.waiting.clear()
        self._update_congestion()
        return told

    def forget(self, session: Session) -> None:
        """The client is gone."""
        self.tracker.drop(session)
        if self.congested:
            self._update_congestion()  # its held replies may have caused the congestion
        self.engine.forget(session)
        self.update_fast_path()  # it may have been the last session in MONITOR
        session.parked.clear()
        self._stopped.pop(session, None)
        self.reads.forget(session)
        self.waiting.forget(session)
        session.closing = True
        session.update_fast_path()

    # ----------------------------------------------------------------- a replica follows the log

    def on_applied(self, applied: EntryId, wall_ms: int) -> None:
        """A committed entry was applied to memory. ``wall_ms``: the greatest time of all entries up
        to it.
        """
        self.applied = applied
        self.applied_wall_ms = wall_ms
        if self.role is not PRIMARY:
            self.tracker.committed = self.tracker.latest = applied[1]
            self.runnable += self.reads.on_applied(applied)

    def on_tail(self, query: int, bound: EntryId | None, now_us: int) -> None:
        """The answer to query ``query`` of ``reads.on_asked``; None: no majority answered."""
        timeout_ms = self.engine.settings.strong_read_timeout_ms
        self.runnable += self.reads.on_tail(
            query, bound, self.applied, now_us + timeout_ms * 1000, refusals.no_majority(timeout_ms)
        )

    def deadline(self) -> int:
        return self.reads.deadline()

    def on_deadline(self, now_us: int) -> None:
        self.runnable += self.reads.on_deadline(now_us, refusals.NOT_APPLIED)
