"""Execution units become entries of the log.

Decides: which units share an entry, how a unit larger than an entry is divided, which position each
reply waits for.
Must not know: commands, roles, sessions' replies, when entries are appended.

The effects of one turn gather into one entry. Its position is known before it is appended
(``next_position``), so a reply knows at once what it waits for. `_shift_entries` is for the one
case in which another entry takes that position.
Invariants: entries are taken in order and get dense positions. A unit is never cut, except into a
run of continued entries. ``uncommitted_bytes`` counts each payload from its unit's end to its
commit.

This is a base class of the shard, so that closing a unit is one call without further look-ups.
"""

from __future__ import annotations

from collections import deque

from memstore.engine import effects
from memstore.engine.engine import Engine
from memstore.replication.tracker import FAR, Tracker
from txlog.entry import DATA

PendingEntry = tuple[int, bytes, int, bool]  # kind, payload, wall_ms, continued


class EntryBuilder:
    __slots__ = (
        "_begun", "_entries", "_gathered_db", "_in_flight", "context", "engine", "entry_bytes",
        "gathered", "gathered_bytes", "has_entries", "next_position", "tracker",
        "uncommitted_bytes", "waiting_bytes",
    )  # fmt: skip

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.context = engine.context
        self.tracker = Tracker()
        self.next_position = 1
        self.has_entries = False  # an entry gathers, or is closed and not taken yet
        self.gathered: list[bytes] = []  # units of the entry that gathers
        self.gathered_bytes = 0
        self._gathered_db = 0  # the database in which the gathered effects end
        self._entries: deque[PendingEntry] = deque()  # closed, not yet taken
        # taken entries of a run whose last entry is not taken yet
        self._begun: list[PendingEntry] = []
        # target size of an entry; max-entry-bytes if that is less. Only the driver writes this
        self.entry_bytes = FAR
        self.waiting_bytes = 0  # of payloads not taken yet
        self.uncommitted_bytes = 0  # of payloads gathered or appended, and not yet committed
        # (position, bytes) of entries taken and not yet committed
        self._in_flight: deque[tuple[int, int]] = deque()

    # ----------------------------------------------------------------- units in

    def _close_unit(self) -> int:
        """The current unit joins the entry that gathers. Returns the position to wait for."""
        context = self.context
        unit = context.unit
        payload = unit[0] if len(unit) == 1 else effects.encode_unit(unit)
        limit = min(self.engine.settings.max_entry_bytes, self.entry_bytes)
        if self.gathered and self.gathered_bytes + len(payload) > limit:
            self._close_entry()
        # a new entry begins in database 0, but the unit began in the database of the last one's end
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
        observed = context.changed[:] if self.engine.observers else None
        # the unit is in the log now: whatever happens below, no later unit may hold its effects
        unit.clear()
        context.changed.clear()
        if context.changed_all:
            context.changed_all.clear()
        if observed is not None:
            self.engine.after_unit(observed, position)
        return position

    def _last_position(self) -> int:
        """Position of the entry that gathers; if none gathers, of the last closed entry."""
        return self.next_position + len(self._entries) - (0 if self.gathered else 1)

    def _close_entry(self) -> None:
        self._entries.append((DATA, b"".join(self.gathered), self.context.wall_ms, False))
        self.gathered = []
        self.gathered_bytes = 0

    def _close_run(self, limit: int) -> None:
        """A unit larger than the limit becomes a run of entries. All but the last are marked as
        continued.
        """
        payload = b"".join(self.gathered)
        pieces = [payload[at : at + limit] for at in range(0, len(payload), limit)]
        self._entries += [
            (DATA, piece, self.context.wall_ms, piece is not pieces[-1]) for piece in pieces
        ]
        self.gathered = []
        self.gathered_bytes = 0

    def _drop_unit(self) -> None:
        """Discard the current unit: it does not happen."""
        context = self.context
        context.unit.clear()
        context.changed.clear()
        context.changed_all.clear()
        context.unit_db = self._gathered_db

    # ----------------------------------------------------------------- entries out

    def _take_entries(self, room: int = FAR) -> list[PendingEntry]:
        """The entries to append now, in order; they get positions from ``next_position`` on. There
        is at least one, and more while they fit into ``room`` bytes.
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

    def _shift_entries(self) -> int:
        """Another entry takes ``next_position``. Returns how far the gathered entries move up. An
        incomplete run is cut off there, so they move by more than one: the run is written again.
        """
        again, self._begun = self._begun, []
        self.next_position += 1
        if again:
            self._entries.extendleft(reversed(again))
            size = sum([len(payload) for _, payload, _, _ in again])
            self.waiting_bytes += size
            self.uncommitted_bytes += size
        return 1 + len(again)

    def _count_committed(self, position: int) -> None:
        in_flight = self._in_flight
        while in_flight and in_flight[0][0] <= position:
            self.uncommitted_bytes -= in_flight.popleft()[1]

    def _drop_entries(self) -> None:
        """A demotion: nothing gathers, and no taken entry is waited for."""
        self.gathered, self.gathered_bytes, self._gathered_db = [], 0, 0
        self._entries.clear()
        self._begun.clear()
        self.waiting_bytes = 0
        self.has_entries = False
        self.context.unit_db = 0
        self._in_flight.clear()
        self.uncommitted_bytes = 0
