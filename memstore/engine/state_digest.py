"""Digests of slices of the state, which DIGEST entries carry.

The primary and every node that follows the log compare them.

Decides: how the state is cut into slices, each small enough for one short turn of the loop, and
what the digest of a slice is.
Must not know: the log, roles, clocks.

A full digest of millions of keys would stop the loop for seconds. A digest that is kept up to date
would cost time at every write. So each entry names one slice, and after enough entries all of the
state is covered. A node that follows the log takes the digest of the same slice at the same
position.

There are two forms of a slice:

- Whole slots, from one place to another: all keys in them, with values and expiries. A place is a
  database's number times the number of slots, plus the slot.
- Parts of a slot that is too large for one slice (a hash tag used for everything, a large value):
  some keys by name, and how many keys the slot has. Each named key is there with all of its value
  or a piece of it.

Named keys do not depend on the order in which a node keeps keys. Two nodes have the same keys if
both have equally many, and the second node has each key that the first one names. The digest covers
nothing that a node may keep in its own way: order, encodings, access times. A key whose time has
passed counts until an effect deletes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import compress, islice
from struct import pack
from typing import Final

from memstore.engine.keyspace import SLOTS, Database, Keyspace, Value
from memstore.engine.values.longstring import LongString
from memstore.engine.values.value_types import typed

SUM_BYTES: Final = 16
SMALL: Final = 512  # members; a slot with a larger value is digested in parts
NAMES_BYTES: Final = 4096  # of keys named in one slice: they go into the log
# bytes; in a slot that is digested in parts, longer keys are counted but not read
NAME_LONGEST: Final = 1024
# Keys of one slot that are collected to be named: some milliseconds. In a slot with more keys,
# these are compared and the others are counted.
NAMED_MOST: Final = 500_000
DATABASES_MOST: Final = 4  # read in one slice, even if they are empty
GONE_MOST: Final = 20_000  # names skipped in one slice: a millisecond or two
_PLAIN: Final = {bytes}
_STRINGS: Final = {b"string"}
# made once: a new number for each slot and check would cost more than the check
_PLACES: Final = list(range(SLOTS))
_NOTHING: Final = 1 << 32  # the start of a piece after the end of every value

_Fold = Callable[[bytes], object]
# a key and the piece of its value, from one border to before another; (0, 0): all of it
Part = tuple[bytes, int, int]


@dataclass(slots=True)
class Slice:
    """Whole slots from ``start`` to before ``stop``, or ``parts`` of the slot at ``start``.
    ``keys``: how many keys these slots have.
    """

    start: int
    stop: int
    keys: int
    parts: list[Part] = field(default_factory=list)


def slice_digest(keyspace: Keyspace, piece: Slice) -> bytes:
    """Return the same bytes on two nodes if they hold the same in this slice.
    If they do not, the bytes differ (but for one chance in 2**128). The time is proportional to the
    size of the slice.
    """
    total = blake2b(digest_size=SUM_BYTES)
    if piece.parts:
        _fold_parts(total.update, keyspace, piece)
    else:
        _fold_slots(total.update, keyspace, piece)
    return total.digest()


def _database(keyspace: Keyspace, index: int) -> Database | None:
    """Return None if it was never used here, or if this node's settings do not allow it: then it is
    empty.
    """
    return keyspace.databases[index] if index < len(keyspace.databases) else None


def _taken(database: Database, first: int, last: int) -> Iterator[int]:
    """The slots that have keys; each other slot takes 10 ns."""
    if first == 0 and last == SLOTS:
        return compress(_PLACES, database.slots)
    return compress(_PLACES[first:last], database.slots[first:last])


def _fold_slots(fold: _Fold, keyspace: Keyspace, piece: Slice) -> None:
    count = 0
    for index in range(piece.start // SLOTS, -(-piece.stop // SLOTS)):
        database = _database(keyspace, index)
        if database is None:
            continue
        base = index * SLOTS
        first, last = max(piece.start - base, 0), min(piece.stop - base, SLOTS)
        for slot in _taken(database, first, last):
            items = database.slots[slot]
            count += len(items)
            if count > piece.keys:
                fold(b"more keys than there should be")  # stop here: the digests differ
                return
            _fold_slot(fold, base + slot, items, database.expires[slot])
    fold(b"%d" % count)


def _fold_slot(
    fold: _Fold, place: int, items: dict[bytes, Value], expires: dict[bytes, int]
) -> None:
    keys = sorted(items)
    values = [items[key] for key in keys]
    kinds = b""
    if set(map(type, values)) != _PLAIN:
        found = [typed(value) for value in values]
        names = [it.type_name for it in found]
        # the digest does not depend on how a string is kept
        kinds = b",".join(names) if set(names) != _STRINGS else b""
        values = [
            value if type(value) is bytes else it.span(0, 0)
            for it, value in zip(found, values, strict=True)
        ]
    times = [expires.get(key, -1) for key in keys] if expires else []
    count = len(keys)
    fold(
        pack(
            f"<QII{2 * count}Q{len(times)}q",
            place,
            count,
            len(kinds),
            *map(len, keys),
            *map(len, values),
            *times,
        )
    )
    fold(kinds)
    fold(b"".join(keys))
    fold(b"".join(values))


def _fold_parts(fold: _Fold, keyspace: Keyspace, piece: Slice) -> None:
    index, slot = divmod(piece.start, SLOTS)
    database = _database(keyspace, index)
    items: dict[bytes, Value] = database.slots[slot] if database is not None else {}
    fold(b"%d %d" % (piece.start, len(items)))
    for key, start, stop in piece.parts:
        value = items.get(key)
        if value is None or database is None:
            fold(b" none")
            continue
        it = typed(value)
        text = it.span(start, stop)
        fold(
            b" %b %d %d %d %d:"
            % (it.type_name, len(value), database.expires[slot].get(key, -1), len(text), len(key))
        )
        fold(key)
        fold(text)


class Walk:
    """The primary's walk through all of the state, slice by slice. At the end it starts again."""

    __slots__ = ("_at", "_names", "place", "rounds")

    def __init__(self, place: int = 0) -> None:
        self.place = place  # where the next slice begins
        self.rounds = 0  # how often the walk reached the end
        # keys of the slot at ``place`` that are still to be named, the next one last
        self._names: list[bytes] = []
        self._at = 0  # the place inside the value of the next key

    def take(self, keyspace: Keyspace, most_keys: int, most_bytes: int) -> Slice:
        """Return the next slice: at most about this many keys and members, and about this many
        bytes.
        A single member may be larger.
        """
        if self.place >= len(keyspace.databases) * SLOTS:
            self.place = 0
        piece = (
            self._take_parts(keyspace, most_keys, most_bytes)
            if self._names
            else self._take_slots(keyspace, most_keys, most_bytes)
        )
        if self.place >= len(keyspace.databases) * SLOTS:
            self.place = 0
            self.rounds += 1
        return piece

    def _take_slots(self, keyspace: Keyspace, most_keys: int, most_bytes: int) -> Slice:
        start = self.place
        end = len(keyspace.databases) * SLOTS
        keys = units = size = passed = 0
        for index in range(start // SLOTS, len(keyspace.databases)):
            database = keyspace.databases[index]
            if database is None:
                continue
            if passed == DATABASES_MOST:
                end = index * SLOTS
                break
            passed += 1
            for slot in _taken(database, max(0, start - index * SLOTS), SLOTS):
                at = index * SLOTS + slot
                items = database.slots[slot]
                weight = _weigh(items, most_keys, most_bytes)
                if weight is None and at == start:
                    self._names, self._at = list(islice(items, NAMED_MOST)), 0
                    return self._take_parts(keyspace, most_keys, most_bytes)
                if weight is None or units + weight[0] > most_keys or size + weight[1] > most_bytes:
                    self.place = at
                    return Slice(start, at, keys)
                units += weight[0]
                size += weight[1]
                keys += len(items)
        self.place = end
        return Slice(start, end, keys)

    def _take_parts(self, keyspace: Keyspace, most_keys: int, most_bytes: int) -> Slice:
        start = self.place
        index, slot = divmod(start, SLOTS)
        database = keyspace.databases[index]
        items: dict[bytes, Value] = database.slots[slot] if database is not None else {}
        parts: list[Part] = []
        names, passed, named = self._names, 0, 0
        while (
            names
            and items
            and most_keys > 0
            and most_bytes > 0
            and named < NAMES_BYTES
            and passed < GONE_MOST
        ):
            key = names[-1]
            value = items.get(key)
            passed += 1
            if value is None or len(key) > NAME_LONGEST:
                stop = 0
            else:
                stop, members, size = typed(value).cut(self._at, most_keys, most_bytes)
                parts.append((key, self._at if members or not len(value) else _NOTHING, stop))
                named += len(key)
                most_keys -= members + 1
                most_bytes -= size + len(key)
            self._at = stop
            if not stop:
                names.pop()
        if not names or not items:
            self._names, self._at = [], 0
            self.place += 1
        return Slice(start, self.place, len(items), parts) if parts else Slice(start, start, 0)


def _weigh(items: dict[bytes, Value], most_keys: int, most_bytes: int) -> tuple[int, int] | None:
    """Return how many keys and members a slot holds, and how many bytes.
    None: the slot is too large for one slice, or one of its values is.
    """
    units = len(items)
    if units > most_keys:
        return None
    values = items.values()
    size = sum(map(len, items))
    if set(map(type, values)) == _PLAIN:
        size += sum(map(len, values))
    else:
        for value in values:
            if type(value) is bytes or type(value) is LongString:
                size += len(value)
                continue
            units += len(value)
            if len(value) > SMALL or units > most_keys:
                return None
            size += typed(value).weigh()
    return (units, size) if size <= most_bytes else None
