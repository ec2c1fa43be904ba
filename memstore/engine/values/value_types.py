"""The types a key can hold, and what commands for every type need from a value.

Decides: which classes exist, and the frame of a dumped value: format, type, content, checksum.
Must not know: keys, databases, commands.

A string is plain ``bytes``, which `ShortString` wraps, or a `LongString`. Every other type is a
class that implements `Value` itself. A new type is a file with its class, and a line in `TYPES`.

Invariant: `Value.span` returns the same bytes for equal values on every node, whatever order they
were built in; a code of a type or a format never gets another meaning.
"""

from __future__ import annotations

from binascii import crc32
from struct import pack, unpack_from
from sys import getsizeof
from typing import Any, ClassVar, Final, Protocol

from memstore.engine.values import parse_integer
from memstore.engine.values.codec import DumpError, DumpReader
from memstore.engine.values.hash import Hash
from memstore.engine.values.longstring import LongString
from memstore.engine.values.quicklist import List
from memstore.engine.values.set import Set
from memstore.engine.values.sorted import SortedSet

_EMBEDDED_LIMIT: Final = 44  # longest string Redis keeps inside its object header
FORMAT: Final = 1
_FRAME: Final = 6  # bytes: format, type, and the checksum at the end


class Value(Protocol):
    type_name: ClassVar[bytes]  # the reply of TYPE
    code: ClassVar[int]  # of the type, in a dump

    def encoding(self) -> bytes:
        """Return the reply of OBJECT ENCODING."""
        ...

    def copy(self) -> Any:
        """Return a value that shares nothing changeable with this one."""
        ...

    def size(self) -> int:
        """Return the bytes of memory, about."""
        ...

    # A large value is digested in pieces. Their borders mean the same on every node, whatever form
    # the node keeps the value in: bytes of a string, indexes of a list, ranks of a sorted set, CRCs
    # of members for other types.

    def weigh(self) -> int:
        """Return the bytes that `span` of the whole would return, about; O(members) at most."""
        ...

    def cut(self, start: int, members: int, size: int) -> tuple[int, int, int]:
        """Return where a piece that starts at a border ends, its number of members, and its bytes.
        The piece has about this many members and bytes; the end is 0 at the value's end. No
        members: the value is too large for any digest. The time is proportional to the piece.
        """
        ...

    def span(self, start: int, stop: int) -> bytes:
        """Return a piece's content, in an order that every node shares; (0, 0): all of it."""
        ...

    def dump(self) -> bytes:
        """Return the content and the encoding, for `load`."""
        ...

    @classmethod
    def load(cls, reader: DumpReader) -> Any:
        """Return the value that `dump` wrote. Raises `DumpError`."""
        ...


class ShortString:
    """Implements `Value` for plain ``bytes``."""

    __slots__ = ("data",)

    type_name: ClassVar[bytes] = b"string"
    code: ClassVar[int] = 1

    def __init__(self, data: bytes) -> None:
        self.data = data

    def encoding(self) -> bytes:
        if parse_integer(self.data) is not None:
            return b"int"
        return b"embstr" if len(self.data) <= _EMBEDDED_LIMIT else b"raw"

    def copy(self) -> bytes:
        return self.data

    def size(self) -> int:
        return getsizeof(self.data)

    def weigh(self) -> int:
        return len(self.data)

    def cut(self, start: int, members: int, size: int) -> tuple[int, int, int]:
        stop, length = start + max(1, size), len(self.data)
        return (0, 1, max(0, length - start)) if stop >= length else (stop, 1, stop - start)

    def span(self, start: int, stop: int) -> bytes:
        return self.data[start : stop or None]

    def dump(self) -> bytes:
        return self.data

    @classmethod
    def load(cls, reader: DumpReader) -> bytes:
        return reader.rest()


TYPES: Final = (ShortString, LongString, List, Set, Hash, SortedSet)
_BY_CODE: Final = {cls.code: cls for cls in TYPES}
assert len(_BY_CODE) == len(TYPES), "two types share a code"


def typed(value: Any) -> Value:
    """Return the object that implements `Value` for a value of the keyspace."""
    return ShortString(value) if type(value) is bytes else value


def dump(value: Any) -> bytes:
    answering = typed(value)
    body = bytes((FORMAT, answering.code)) + answering.dump()
    return body + pack("<I", crc32(body))


def load(data: bytes) -> Any:
    """Return the value that `dump` wrote. Raises `DumpError`."""
    if len(data) < _FRAME:
        raise DumpError(f"a dumped value has at least {_FRAME} bytes, not {len(data)}")
    if data[0] != FORMAT:
        raise DumpError(f"a dumped value of format {data[0]}, this version reads {FORMAT}")
    body = data[: len(data) - 4]
    if crc32(body) != unpack_from("<I", data, len(body))[0]:
        raise DumpError("the checksum of a dumped value is wrong")
    cls = _BY_CODE.get(body[1])
    if cls is None:
        raise DumpError(f"a dumped value of type {body[1]}, which this version does not know")
    reader = DumpReader(body, 2)
    value = cls.load(reader)
    if reader.at != len(body):
        raise DumpError(f"{len(body) - reader.at} bytes follow a dumped value")
    return value
