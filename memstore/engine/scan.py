"""Walking a database's keys: SCAN's cursors, RANDOMKEY's choice.

Decides: the order of keys and what a cursor means.
Must not know: replies, sessions, how values look.

A cursor is (slot, place in the slot). Keys of a slot are ordered by their CRC-32. This order is the
same on every node and does not change while other keys come and go. So a scan returns every key
that exists from its beginning to its end, whatever node each call goes to, and usually once. Small
slots are returned whole. In a large slot (a hash tag used for everything) each call orders the
remaining keys and takes at least a share of them. So even there a whole scan makes a bounded number
of passes."""

from __future__ import annotations

import re
from binascii import crc32
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import Final

from memstore.engine import expiry
from memstore.engine.context import Context
from memstore.engine.keyspace import SLOTS, Database

_PLACE_BITS: Final = 32
_PLACES: Final = 1 << _PLACE_BITS
_WHOLE: Final = 32  # a slot of up to this many keys is returned whole
_SHARE: Final = 64  # each call takes at least one part in this many of a large slot
_CURSOR: Final = re.compile(rb"([+-]?)0*([0-9]{1,20})")
_CURSORS: Final = 1 << 64


def parse_cursor(text: bytes) -> int | None:
    """Return the cursor as Redis reads it with strtoul.
    A sign is accepted, a zero byte ends the number, the empty text is 0. None: no number, or one of
    more than 64 bits.
    """
    text = text.partition(b"\x00")[0]
    if not text:
        return 0
    found = _CURSOR.fullmatch(text)
    if found is None:
        return None
    cursor = int(found[2])
    if cursor >= _CURSORS:
        return None
    return _CURSORS - cursor if cursor and found[1] == b"-" else cursor


def scan(ctx: Context, database: Database, cursor: int, count: int) -> tuple[int, list[bytes]]:
    """Return about ``count`` keys from ``cursor`` on, and the next cursor, 0 at the end.
    A cursor beyond all keys returns none.
    """
    slot, place = cursor >> _PLACE_BITS, cursor & (_PLACES - 1)
    found: list[bytes] = []
    passed = 0
    while slot < SLOTS:
        items = database.slots[slot]
        if items:
            if passed >= count:
                return slot << _PLACE_BITS | place, found
            left = count - passed
            if not place and len(items) <= max(left, _WHOLE):
                keys = list(items)
            else:
                keys, place = _part(list(items), place, max(left, len(items) // _SHARE))
            passed += len(keys)
            found += expiry.live(ctx, database, slot, keys)
            if place:
                continue
        slot, place = slot + 1, 0
    return 0, found


def _part(keys: list[bytes], place: int, count: int) -> tuple[list[bytes], int]:
    """Return the first ``count`` keys from ``place`` on, and where the rest begins, 0: no rest.
    All keys that share the last key's place are included.
    """
    ordered = sorted([(at, key) for key in keys if (at := crc32(key)) >= place])
    if len(ordered) <= count:
        return [key for _, key in ordered], 0
    last = ordered[count - 1][0]
    end = bisect_right(ordered, last, key=lambda item: item[0])
    rest = ordered[end][0] if end < len(ordered) else 0
    return [key for _, key in ordered[:end]], rest


def keys_by_slot(ctx: Context, database: Database) -> Iterator[list[bytes]]:
    """Yield every key that may be shown, one slot at a time.
    No call takes so long that the thread that renews the lease cannot run.
    """
    gone = expiry.hidden(ctx, database)
    for slot, items in enumerate(database.slots):
        if items:
            yield expiry.live(ctx, database, slot, list(items)) if gone else list(items)


def random_key(ctx: Context, database: Database) -> bytes | None:
    """Return a random key that may be shown, all equally likely. O(slots), not O(keys)."""
    gone = expiry.hidden(ctx, database)
    ends = list(accumulate(map(len, database.slots)))
    total = ends[-1]
    if gone == total:
        return None
    while True:
        at = ctx.rng.randrange(total)
        slot = bisect_right(ends, at)
        items = database.slots[slot]
        key = next(islice(items, at - (ends[slot] - len(items)), None))
        if not gone or expiry.live(ctx, database, slot, [key]):
            return key
