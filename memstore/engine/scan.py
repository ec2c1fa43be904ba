"""Walking a database's keys: SCAN's cursors, KEYS' patterns, RANDOMKEY's choice.

Decides: the order of keys and what a cursor means. Must not know: replies, sessions, how values look. A cursor is (slot, place in the slot): keys of
a slot come in the order of their CRC-32, which is the same on every node and does not change while other keys come and go. So a key that is there
from the beginning of a scan to its end is returned, whatever node each call goes to, and as a rule once.
Small slots are returned whole. Of a large one (a hash tag used for everything) each call orders what is left of it and takes at least a share, so
that even there a whole scan makes a bounded number of passes.
"""

from __future__ import annotations

import re
from binascii import crc32
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate, islice
from typing import Final

from memstore.engine import expiry
from memstore.engine.context import Context
from memstore.engine.glob import is_literal, matches
from memstore.engine.keyspace import SLOTS, Database

_PLACE_BITS: Final = 32
_PLACES: Final = 1 << _PLACE_BITS
_WHOLE: Final = 32  # a slot of up to so many keys is returned whole
_SHARE: Final = 64  # of a large slot at least one part in so many a call
_CLASS_END: Final = 0x5D
_LONGEST_COMPILED: Final = 1024  # bytes; the time to compile a regular expression grows faster than its length: minutes for some 250 KB
_CURSOR: Final = re.compile(rb"([+-]?)0*([0-9]{1,20})")
_CURSORS: Final = 1 << 64


def parse_cursor(text: bytes) -> int | None:
    """As Redis reads it with strtoul: a sign is taken, a zero byte ends it, the empty text is 0. None: no number, or one of more than 64 bits."""
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
    """The next about ``count`` keys from ``cursor`` on, and the cursor to go on from, 0 at the end. A cursor beyond all keys gives none."""
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
    """The first ``count`` keys from ``place`` on (and all that share the last one's place), and where the rest begins, 0: there is none."""
    ordered = sorted([(at, key) for key in keys if (at := crc32(key)) >= place])
    if len(ordered) <= count:
        return [key for _, key in ordered], 0
    last = ordered[count - 1][0]
    end = bisect_right(ordered, last, key=lambda item: item[0])
    rest = ordered[end][0] if end < len(ordered) else 0
    return [key for _, key in ordered[:end]], rest


def keys_by_slot(ctx: Context, database: Database) -> Iterator[list[bytes]]:
    """Every key that may be shown, a slot's at a time: no call takes so long that the thread which renews the lease could not run beside it."""
    gone = expiry.hidden(ctx, database)
    for slot, items in enumerate(database.slots):
        if items:
            yield expiry.live(ctx, database, slot, list(items)) if gone else list(items)


def random_key(ctx: Context, database: Database) -> bytes | None:
    """Every key that may be shown is as likely as any other. O(slots), not O(keys)."""
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


# ----------------------------------------------------------------- patterns


_NOT_EMPTY: Final = b"(?=.)"  # the empty text matches nothing but the empty pattern and "*", as in Redis


def _anything(_: bytes) -> bool:
    return True


def matcher(pattern: bytes) -> Callable[[bytes], object]:
    """`glob.matches` for many keys: what it returns is true for those that match. Time grows with pattern times key, whatever the pattern."""
    if is_literal(pattern):
        return pattern.__eq__
    if pattern == b"*":
        return _anything
    if len(pattern) > _LONGEST_COMPILED:
        return partial(matches, pattern)
    segments: list[bytes] = [b""]
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            segments.append(b"")
            at += 1
            continue
        if byte == b"[":
            piece, at = _class(pattern, at + 1)
        else:
            if byte == b"\\" and at + 1 < len(pattern):
                at += 1
            piece = b"." if byte == b"?" else re.escape(pattern[at : at + 1])
            at += 1
        segments[-1] += piece
    if len(segments) == 1:
        return re.compile(_NOT_EMPTY + segments[0], re.DOTALL).fullmatch
    # A segment between stars has a fixed length, so its first place is as good as any later one and is never gone back on (the atomic groups).
    middle = b"".join([b"(?>.*?%b)" % segment for segment in segments[1:-1] if segment])
    return re.compile(b"%b%b%b.*%b" % (_NOT_EMPTY, segments[0], middle, segments[-1]), re.DOTALL).fullmatch


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """The regular expression of a class whose opening bracket stands before ``at``, and where it ends. One that is not closed goes to the pattern's end."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < len(pattern) and pattern[at] != _CLASS_END:
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            members.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(pattern[at])
            at += 1
    at = min(at + 1, len(pattern))
    if not members:
        return (b"." if negated else b"(?!)"), at
    return b"[%b%b]" % (b"^" if negated else b"", b"".join([b"\\x%02x" % member for member in sorted(members)])), at
