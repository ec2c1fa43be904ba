"""The data: sixteen databases, each a dict a slot.

Decides: where a key lives.
Must not know: commands, time, who asks. A dict a slot (Valkey's answer) bounds the pause of a
dict's growth, makes SCAN cursors valid on every node, and serves cluster mode. Values tell their
type by class; a string is plain ``bytes`` or, when it is long and has been changed, a `LongString`;
any other has a length. Expiry stands beside, milliseconds since 1970, in a dict a slot that exists
only where something expires.
Invariants: a key in ``expires[s]`` is a key in ``slots[s]``; ``volatile`` counts them; nothing in
slot s expires before ``floors[s]``, and nothing in the database before ``next_due``: what finds due
keys among millions without looking at each (engine.expiry raises both as it passes).
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Any, Final

from memstore.engine.values import deferred_free

SLOTS: Final = 16384
_MASK: Final = SLOTS - 1
# looked for as a number: `b"{" in key` first fails to be one, which takes ten times as long
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
        """Forget everything. Gives the old dicts: letting go of millions of values at once would
        stop the loop (`Keyspace.discard`).
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
        """The value whether or not its time has passed; `Context.lookup` is what commands want."""
        return self.slots[slot_of(key)].get(key)

    def put(self, key: bytes, value: Value) -> None:
        """Set the value; an expiry that is there stays."""
        self.slots[slot_of(key)][key] = value

    def remove(self, key: bytes) -> Value | None:
        """Take the key and its expiry out; the value it had, or None."""
        slot = slot_of(key)
        value = self.slots[slot].pop(key, None)
        if value is not None and self.volatile and self.expires[slot].pop(key, None) is not None:
            self.volatile -= 1
        return value

    def expire_at(self, key: bytes) -> int:
        """When the key expires, ms since 1970; -1: never (or no such key)."""
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
        """Drop the expiry; whether there was one."""
        if self.volatile and self.expires[slot_of(key)].pop(key, None) is not None:
            self.volatile -= 1
            return True
        return False


class Keyspace:
    __slots__ = ("_discarded", "databases")

    def __init__(self, count: int = 16) -> None:
        # slots that nothing refers to any more
        self._discarded: list[list[dict[bytes, Value]]] = []
        self.databases: list[Database | None] = [None] * count
        self.databases[0] = Database(0)

    def database(self, index: int) -> Database:
        """Made on first use. ``index`` must be in range."""
        db = self.databases[index]
        if db is None:
            db = self.databases[index] = Database(index)
        return db

    def existing(self) -> list[Database]:
        return [db for db in self.databases if db is not None]

    def swap(self, a: int, b: int) -> None:
        """Exchange two databases' contents;
        sessions hold Database objects by index and must select again.
        """
        one, two = self.database(a), self.database(b)
        one.slots, two.slots = two.slots, one.slots
        one.expires, two.expires = two.expires, one.expires
        one.volatile, two.volatile = two.volatile, one.volatile
        one.floors, two.floors = two.floors, one.floors
        one.next_due, two.next_due = two.next_due, one.next_due

    def discard(self, slots: list[dict[bytes, Value]]) -> None:
        """Keep what is not wanted any more until `free_some` has let go of it piece by piece."""
        self._discarded.append(slots)

    def discard_all(self, other: Keyspace) -> None:
        """Let go of what another keyspace holds, and of what it has not let go of yet."""
        self._discarded += other._discarded
        for database in other.existing():
            self.discard(database.clear())

    def free_some(self, units: int) -> bool:
        """Let go of about ``units`` keys and members of what was discarded, and of large values
        that went away; whether more is left.
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
    """Empty one dict as far as ``units`` go; what is left of them."""
    units -= 1
    while items and units > 0:
        value = items.popitem()[1]
        # A large value's members are let go of later: it counts as one that is just not large.
        units -= 1 if type(value) is bytes or type(value) is int else min(len(value), _MANY) + 1
    return units
