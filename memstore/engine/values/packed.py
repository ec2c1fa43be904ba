"""Small collections as one bytes object: the elements one behind the other in RESP bulk form.

Decides: how packed elements look, how they are taken apart again and how one is found among them.
Must not know: what the elements mean, when a collection is small. An element costs its bytes and
five to eight more, where a bytes object of its own costs 33 and a pointer; hiredis takes a blob
apart in C, and a reply that holds all elements is the blob behind a head.
Invariants: ``unpack(pack(items), len(items)) == items``; every search is right for any item
whatsoever in a blob whose elements are free of its mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import hiredis

from memstore.engine.reply import HEADS

# What `find` counts to know where an element begins: elements of the blob must not contain it.
NEWLINE: Final = b"\n"  # counted twice as fast
CRLF: Final = b"\r\n"

_MANY: Final = len(HEADS)
# bytes; a longer blob gets a parser of its own, whose buffer goes away with it
_KEPT: Final = 16 * 1024
_PARSER: Final = [hiredis.Reader()]  # between two calls it holds nothing


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
    """The elements of ``blob``, of which there must be ``count``."""
    parser = _PARSER[0] if len(blob) <= _KEPT else hiredis.Reader()
    parser.feed(b"*%d\r\n%b" % (count, blob))
    items: Any = parser.gets()
    if type(items) is not list or parser.has_data():
        _PARSER[0] = hiredis.Reader()
        raise AssertionError("a packed collection does not hold what its count says")
    return items


def mark_for(items: Sequence[bytes]) -> bytes | None:
    """The mark that is in none of ``items``; None: both are, so that `find` cannot serve a blob
    that holds these.
    """
    mark = NEWLINE
    for item in items:
        if NEWLINE in item:
            if CRLF in item:
                return None
            mark = CRLF
    return mark


def find(blob: bytes, packed: bytes, step: int, mark: bytes) -> int:
    """Where in ``blob`` the element stands whose packed form is ``packed``, looked for at each
    ``step``-th place; -1: nowhere.

    A head's dollar sign is the only one with an even number of marks before it that starts a head:
    elsewhere the bytes are some element's own.
    """
    at = blob.find(packed)
    step *= 2
    while at > 0 and blob.count(mark, 0, at) % step:
        at = blob.find(packed, at + 1)
    return at


def end_of(blob: bytes, at: int, mark: bytes) -> int:
    """Where the element that begins at ``at`` ends, its last line break included: after the second
    mark from there on.
    """
    return blob.index(mark, blob.index(mark, at) + 2) + len(mark)
