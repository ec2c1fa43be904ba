"""The data: sixteen databases, each with one dict for each slot.

Decides: where a key lives.
Must not know: commands, time, what asks.

A dict for each slot (Valkey's design) bounds the pause when a dict grows, makes SCAN cursors valid
on every node, and serves cluster mode. A value's class gives its type. A string is plain ``bytes``,
or a `LongString` if it is long and has been changed; any other value has a length. Expiries are
kept in separate dicts, in milliseconds since 1970. A slot has such a dict only if something in it
expires.

Invariants: a key in ``expires[s]`` is a key in ``slots[s]``; ``volatile`` counts the keys with an
expiry; nothing in slot s expires before ``floors[s]``; nothing in the database expires before
``next_due``. These two bounds find due keys among millions without a check of each (engine.expiry
raises both as it passes).
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Any, Final

from memstore.engine.values import deferred_free

SLOTS: Final = 16384
_MASK: Final = SLOTS - 1
# searched as a number: `b"{" in key` tries to read it as a number first, which takes ten times as
# long
BRACE: Final = 0x7B
_NO_EXPIRES: Final[dict[bytes, int]] = {}  # shared and never written
NEVER: Final = 1 << 63  # later than any expiry
_NO_FLOORS: Final = [NEVER] * SLOTS  # shared and never written
_MANY: Final = 4096  # members

Value = Any  # bytes, a LongString, or one of the classes in engine.values


def slot_of(key: bytes) -> int:
    """Redis Cluster's slot: CRC16 of the hash tag if there is one, else of the whole key."""
    if BRACE in key:
        start = key.index(b"{") + 1
        end = key.find(b"}", start)
        if end > start:
            return crc_hqx(key[start:end], 0) & _MASK
    return crc_hqx(key, 0) & _MASK


class Database:
    __slots__ = ("expires", "floors", "index", "next_due", "slots", "volatile")

    def __init__(self, index: int) -> None:
        self.index = index
        self.volatile = 0
        self.floors: list[int] = []
        self.next_due = NEVER
        self.slots: list[dict[bytes, Value]] = []
        self.expires: list[dict[bytes, int]] = []
        self.clear()

    def clear(self) -> list[dict[bytes, Value]]:
        """Remove everything and return the old dicts.
        To free millions of values at once would stop the loop (`Keyspace.discard`).
        """
        old = self.slots + [expires for expires in self.expires if expires]
        self.slots = [{} for _ in range(SLOTS)]
        self.expires = [_NO_EXPIRES] * SLOTS
        self.floors = _NO_FLOORS
        self.next_due = NEVER
        self.volatile = 0
        return old

    def __len__(self) -> int:
        return sum(map(len, self.slots))

    def __bool__(self) -> bool:  # compiled code asks for nothing else
        return len(self) > 0

    def get(self, key: bytes) -> Value | None:
        """Return the value even if its time has passed; commands use `Context.lookup`."""
        return self.slots[slot_of(key)].get(key)

    def put(self, key: bytes, value: Value) -> None:
        """Set the value; an existing expiry stays."""
        self.slots[slot_of(key)][key] = value

    def remove(self, key: bytes) -> Value | None:
        """Remove the key and its expiry; return its old value, or None."""
        slot = slot_of(key)
        value = self.slots[slot].pop(key, None)
        if value is not None and self.volatile and self.expires[slot].pop(key, None) is not None:
            self.volatile -= 1
        return value

    def expire_at(self, key: bytes) -> int:
        """Return when the key expires, ms since 1970; -1: never (or no such key)."""
        return self.expires[slot_of(key)].get(key, -1) if self.volatile else -1

    def set_expire(self, key: bytes, at_ms: int) -> None:
        """The key must exist."""
        slot = slot_of(key)
        assert key in self.slots[slot], "expiry for a key that is not there"
        expires = self.expires[slot]
        if expires is _NO_EXPIRES:
            expires = self.expires[slot] = {}
        if key not in expires:
            self.volatile += 1
        expires[key] = at_ms
        if self.floors is _NO_FLOORS:
            self.floors = [NEVER] * SLOTS
        if at_ms < self.floors[slot]:
            self.floors[slot] = at_ms
            if at_ms < self.next_due:
                self.next_due = at_ms

    def persist(self, key: bytes) -> bool:
        """Remove the expiry; return True if there was one."""
        if self.volatile and self.expires[slot_of(key)].pop(key, None) is not None:
            self.volatile -= 1
            return True
        return False


class Keyspace:
    __slots__ = ("_discarded", "databases")

    def __init__(self, count: int = 16) -> None:
        # slots that have no other reference
        self._discarded: list[list[dict[bytes, Value]]] = []
        self.databases: list[Database | None] = [None] * count
        self.databases[0] = Database(0)

    def database(self, index: int) -> Database:
        """Return the database, which is made on first use. ``index`` must be in range."""
        db = self.databases[index]
        if db is None:
            db = self.databases[index] = Database(index)
        return db

    def existing(self) -> list[Database]:
        return [db for db in self.databases if db is not None]

    def swap(self, a: int, b: int) -> None:
        """Exchange the contents of two databases.
        Sessions hold Database objects by index and must select again.
        """
        one, two = self.database(a), self.database(b)
        one.slots, two.slots = two.slots, one.slots
        one.expires, two.expires = two.expires, one.expires
        one.volatile, two.volatile = two.volatile, one.volatile
        one.floors, two.floors = two.floors, one.floors
        one.next_due, two.next_due = two.next_due, one.next_due

    def discard(self, slots: list[dict[bytes, Value]]) -> None:
        """Keep unneeded slots until `free_some` has freed them piece by piece."""
        self._discarded.append(slots)

    def discard_all(self, other: Keyspace) -> None:
        """Discard what another keyspace holds, and what it has not freed yet."""
        self._discarded += other._discarded
        for database in other.existing():
            self.discard(database.clear())

    def free_some(self, units: int) -> bool:
        """Free about ``units`` keys and members of discarded slots, and of large values that went
        away.
        Returns True if more is left.
        """
        units = deferred_free.free_some(units)
        while self._discarded and units > 0:
            slots = self._discarded[-1]
            while slots and units > 0:
                units = _free_items(slots[-1], units)
                if not slots[-1]:
                    slots.pop()
            if not slots:
                self._discarded.pop()
            units = deferred_free.free_some(units)
        return bool(self._discarded) or deferred_free.waiting()


def _free_items(items: dict[bytes, Value], units: int) -> int:
    """Empty one dict as far as ``units`` allow; return how many units are left."""
    units -= 1
    while items and units > 0:
        value = items.popitem()[1]
        # The members of a large value are freed later: until then it counts as `_MANY` members at
        # most.
        units -= 1 if type(value) is bytes or type(value) is int else min(len(value), _MANY) + 1
    return units
