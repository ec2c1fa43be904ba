"""The types a key can hold, one registration a class: what TYPE calls it, how it is encoded,
copied, measured and digested.

Decides: the answers that differ from type to type for commands that serve every type (TYPE, OBJECT,
COPY, MEMORY, SCAN's TYPE, digests).
Must not know: keys, databases, commands. A string is plain ``bytes``, or a `LongString`
(longstring.py); every other type is a class that registers itself when its module is imported.
Invariant: `canonical` gives the same bytes for equal values on every node, whatever order they were
built in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sys import getsizeof
from typing import Any, Final

_EMBEDDED_LIMIT: Final = 44  # longest string Redis keeps inside its object header
# integers below this are one shared object in Redis, with the greatest reference count
SHARED_INTEGERS: Final = 10_000
_LONGEST_INTEGER: Final = 20
_MIN: Final = -(1 << 63)
_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Kind:
    name: bytes  # as TYPE answers
    encoding: Callable[[Any], bytes]  # as OBJECT ENCODING answers
    copy: Callable[[Any], Any]  # a value that shares nothing changeable with this one
    size: Callable[[Any], int]  # bytes of memory, about
    canonical: Callable[[Any], bytes]  # for digests
    # bytes that `span` of the whole would give, about; O(members) at most
    weigh: Callable[[Any], int]
    # A large value is digested in pieces, whose borders mean the same on every node however each
    # keeps the value: bytes of a string, indexes of a list, ranks of a sorted set, CRCs of members
    # elsewhere. `cut`: where a piece that begins at a border ends, for about so many members and
    # bytes (0: the value's end), and how many they are; no members: it is too large to be digested
    # at all. `span`: the piece's content. Both cost what is in the piece.
    cut: Callable[[Any, int, int, int], tuple[int, int, int]]
    span: Callable[[Any, int, int], bytes]


_KINDS: Final[dict[type, Kind]] = {}


def register(cls: type, kind: Kind) -> None:
    assert cls not in _KINDS, f"{cls.__name__} registered twice"
    _KINDS[cls] = kind


def kind_of(value: object) -> Kind:
    return _KINDS[type(value)]


def parse_integer(text: bytes) -> int | None:
    """The 64-bit signed integer that ``text`` is the one canonical spelling of, else None: no
    blanks, no plus, no leading zero, no ``-0``.
    """
    if len(text) > _LONGEST_INTEGER:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text and _MIN <= number <= _MAX else None


def string_encoding(value: bytes) -> bytes:
    if parse_integer(value) is not None:
        return b"int"
    return b"embstr" if len(value) <= _EMBEDDED_LIMIT else b"raw"


def _cut_string(value: bytes, start: int, members: int, size: int) -> tuple[int, int, int]:
    stop = start + max(1, size)
    return (0, 1, max(0, len(value) - start)) if stop >= len(value) else (stop, 1, stop - start)


def _span_string(value: bytes, start: int, stop: int) -> bytes:
    return value[start : stop or None]


register(
    bytes,
    Kind(
        b"string",
        string_encoding,
        lambda value: value,
        getsizeof,
        lambda value: value,
        len,
        _cut_string,
        _span_string,
    ),
)
