"""Small collections as one bytes object: consecutive elements in RESP bulk form.

Decides: how packed elements look, how they are unpacked and how one of them is found.
Must not know: what the elements mean, when a collection is small.

An element takes its bytes and five to eight more. A bytes object of its own would take 33 and a
pointer more. hiredis unpacks a blob in C, and a reply with all elements is a head followed by the
blob.

Invariants: ``unpack(pack(items), len(items)) == items``; every search is correct for any item, if
no element of the blob contains its mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import hiredis

from memstore.engine.reply import HEADS

# `find` counts this to know where an element starts: elements of the blob must not contain it.
NEWLINE: Final = b"\n"  # counting it takes half the time
CRLF: Final = b"\r\n"

_MANY: Final = len(HEADS)
# bytes; a longer blob gets a parser of its own, whose buffer is freed with it
_KEPT: Final = 16 * 1024
_PARSER: Final = [hiredis.Reader()]  # it is empty between two calls


def pack(items: Sequence[bytes]) -> bytes:
    if len(items) == 1:
        item = items[0]
        return b"$%d\r\n%b\r\n" % (len(item), item)
    return b"".join(
        [
            HEADS[n] + item + b"\r\n" if (n := len(item)) < _MANY else b"$%d\r\n%b\r\n" % (n, item)
            for item in items
        ]
    )


def unpack(blob: bytes, count: int) -> list[bytes]:
    """Return the elements of ``blob``, which must have ``count`` of them."""
    parser = _PARSER[0] if len(blob) <= _KEPT else hiredis.Reader()
    parser.feed(b"*%d\r\n%b" % (count, blob))
    items: Any = parser.gets()
    if type(items) is not list or parser.has_data():
        _PARSER[0] = hiredis.Reader()
        raise AssertionError("a packed collection does not hold what its count says")
    return items


def mark_for(items: Sequence[bytes]) -> bytes | None:
    """Return the mark that none of ``items`` contains.
    None: they contain both marks, so `find` cannot search a blob that holds them.
    """
    mark = NEWLINE
    for item in items:
        if NEWLINE in item:
            if CRLF in item:
                return None
            mark = CRLF
    return mark


def find(blob: bytes, packed: bytes, step: int, mark: bytes) -> int:
    """Return where ``blob`` has the element with the packed form ``packed``; -1: nowhere.
    It checks each ``step``-th place.

    A dollar sign starts a head only if the number of marks before it is even. Otherwise the bytes
    belong to an element.
    """
    at = blob.find(packed)
    step *= 2
    while at > 0 and blob.count(mark, 0, at) % step:
        at = blob.find(packed, at + 1)
    return at


def end_of(blob: bytes, at: int, mark: bytes) -> int:
    """Return the end of the element that starts at ``at``, its last line break included.
    The end is after the second mark from there on.
    """
    return blob.index(mark, blob.index(mark, at) + 2) + len(mark)
