"""Finding and deleting the keys whose time has passed.

Decides: which keys are due and, on a primary, how many of them one unit deletes.
Must not know: the log, clocks (the time is the context's), when it is called.

``next_due`` and ``floors`` of a database are lower bounds of the next expiry, of the database and
of each slot. They say which slots to visit. A visit of a slot checks all its volatile keys and
makes its floor exact again. The active cycle visits a large slot (one hash tag for everything) less
often, in proportion to its size. So the work stays a small share of the time.

Invariant: a primary deletes a due key, with its DEL in the unit, before it shows the key's absence.
A replica hides the key and keeps it.
"""

from __future__ import annotations

from typing import Final

from memstore.engine.context import DELETE_EXPIRED, IGNORE_EXPIRED, Context
from memstore.engine.keyspace import NEVER, Database
from memstore.engine.values.longstring import LongString

UNIT_LIMIT: Final = 500  # keys deleted in one call of the active cycle: some milliseconds
# members of a collection: to free this many takes about as long as to delete a key
_MEMBERS_A_KEY: Final = 32
_LARGE: Final = 4096  # a slot with at least this many volatile keys is visited less often
# of such a slot: a check of one key takes about 50 ns, so this is well below one percent of the
# time
_LOOKS_PER_MS: Final = 50


def due_slots(database: Database, now_ms: int) -> list[int]:
    """Return the slots that may hold due keys. O(1) when nothing is due."""
    if not database.volatile or database.next_due > now_ms:
        return []
    return [slot for slot, at_ms in enumerate(database.floors) if at_ms <= now_ms]


def _due_keys(database: Database, slot: int, now_ms: int) -> list[bytes]:
    return [key for key, at_ms in database.expires[slot].items() if at_ms <= now_ms]


def _delete(ctx: Context, database: Database, keys: list[bytes]) -> None:
    here, ctx.database = ctx.database, database
    for key in keys:
        database.remove(key)
        ctx.effect(b"DEL", key)
    ctx.database = here
    ctx.engine.expired_keys += len(keys)


def _within(database: Database, slot: int, keys: list[bytes], limit: int) -> tuple[int, int]:
    """Return how many of ``keys`` ``limit`` allows to delete, at least one, and the work it takes.
    A collection costs as much as its members, which are freed with it.
    """
    items, work = database.slots[slot], 0
    for count, key in enumerate(keys):
        if work >= limit:
            return count, work
        value = items[key]
        work += (
            1
            if type(value) is bytes or type(value) is LongString
            else 1 + len(value) // _MEMBERS_A_KEY
        )
    return len(keys), work


def _settle_floor(database: Database, slot: int) -> None:
    database.floors[slot] = min(database.expires[slot].values(), default=NEVER)


def hidden(ctx: Context, database: Database) -> int:
    """Make the whole database ready to be shown; return how many keys to hide.
    A primary deletes all due keys. A replica counts the keys that it must not show.
    """
    if ctx.expiry == IGNORE_EXPIRED:
        return 0
    now_ms = ctx.due_ms
    count = 0
    slots = due_slots(database, now_ms)
    for slot in slots:
        keys = _due_keys(database, slot, now_ms)
        if ctx.expiry == DELETE_EXPIRED:
            _delete(ctx, database, keys)
            _settle_floor(database, slot)
        else:
            count += len(keys)
    if slots and ctx.expiry == DELETE_EXPIRED:
        database.next_due = min(database.floors)
    return count


def live(ctx: Context, database: Database, slot: int, keys: list[bytes]) -> list[bytes]:
    """Return those of a slot's ``keys`` that may be shown; a primary deletes the others."""
    now_ms = ctx.due_ms
    if not database.volatile or ctx.expiry == IGNORE_EXPIRED or database.floors[slot] > now_ms:
        return keys
    expires = database.expires[slot]
    due = [key for key in keys if expires.get(key, NEVER) <= now_ms]
    if not due:
        return keys
    shown = [key for key in keys if expires.get(key, NEVER) > now_ms]
    if ctx.expiry == DELETE_EXPIRED:
        _delete(ctx, database, due)
    return shown


class ActiveExpiry:
    """The primary's cycle: `run` is called several times a second, each time as one unit."""

    __slots__ = ("_resting", "_slot")

    def __init__(self) -> None:
        # where the next call continues, so that a call that reached its limit does not starve later
        # slots
        self._slot = 0
        # (database, slot) of large slots -> when they may be visited again
        self._resting: dict[tuple[int, int], int] = {}

    def run(self, ctx: Context, limit: int = UNIT_LIMIT) -> bool:
        """Delete at most about ``limit`` due keys, or fewer where they hold many members.
        Returns True if more due keys may be waiting: then the caller calls again soon.
        """
        assert ctx.expiry == DELETE_EXPIRED, "only a primary decides that a key is gone"
        deleted = 0
        for database in ctx.keyspace.existing():
            slots = due_slots(database, ctx.due_ms)
            if not slots:
                continue
            later = [slot for slot in slots if slot >= self._slot]
            for slot in later + slots[: len(slots) - len(later)]:
                if deleted >= limit:
                    self._slot = slot
                    return True
                deleted += self._visit(ctx, database, slot, limit - deleted)
            database.next_due = min(database.floors)
        self._slot = 0
        return deleted >= limit

    def _visit(self, ctx: Context, database: Database, slot: int, limit: int) -> int:
        size = len(database.expires[slot])
        if size > _LARGE:
            place = (database.index, slot)
            if ctx.due_ms < self._resting.get(place, 0):
                return 0
        keys = _due_keys(database, slot, ctx.due_ms)
        count, work = _within(database, slot, keys, limit)
        _delete(ctx, database, keys[:count])
        if count == len(keys):
            _settle_floor(database, slot)
            if size > _LARGE:
                self._resting = {
                    at: until for at, until in self._resting.items() if until > ctx.due_ms
                }
                self._resting[place] = ctx.due_ms + size // _LOOKS_PER_MS
        return work
