"""Messages as bytes, and bytes as messages.

Decides: the binary form of every message and what counts as hostile.
Must not know: sockets, which process sends what to which.

A frame is u32 length of the body, u32 crc32c of the body, then the body: u8 message type and the
fields in the order the message declares them. Integers are u64, flags u8, bytes and text a u32
length and the bytes, ids two u64, lists a u32 count and the items; all big-endian. Where a shared
secret is set, a tag follows each frame after the handshake (`FrameKey`).

`Challenge`, `Hello` and `Reject` keep their form in all versions, so that two versions can refuse
each other with a readable reason. The codec finds fields from the messages' own annotations, once,
at import. Code below packs by hand the messages that are sent for every write.

Invariants: ``Decoder.feed(encode(m)) == [m]`` for every message; for any bytes, a decoder gives
messages, waits, or raises `WireError`, and nothing else; a length is checked before memory is
allocated for it; after an error a decoder gives nothing more; a decoder with a key gives no message
whose tag is not right.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final, get_args, get_origin, get_type_hints

from blake3 import blake3
from crc32c import crc32c

from txlog import messages as m
from txlog.messages import Message

# `Hello.protocol`: a new number for every incompatible change of this file or of the messages
PROTOCOL: Final = 5

DEFAULT_MAX_FRAME_BYTES: Final = 32 << 20
FRAME_HEADER_BYTES: Final = 8
TAG_BYTES: Final = 16
KEY_BYTES: Final = 32
_HELD_MAX_BYTES: Final = 1 << 20  # limit for bytes that come before the decoder may read them

_FRAME: Final = struct.Struct(">II")
_U8: Final = struct.Struct(">B")
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_ID: Final = struct.Struct(">QQ")

# A message number is never used again for another message.
_TYPES: Final[dict[int, type[Message]]] = {
    1: m.Hello,
    2: m.Challenge,
    3: m.Welcome,
    4: m.Reject,
    5: m.Membership,
    6: m.ProvenReject,
    10: m.Seal,
    11: m.Append,
    12: m.Renew,
    13: m.Release,
    14: m.CatchUp,
    20: m.Promised,
    21: m.Refused,
    22: m.LeaseHeld,
    23: m.Behind,
    24: m.Appended,
    25: m.Renewed,
    26: m.MissingEntries,
    27: m.Conflict,
    28: m.Suspected,
    29: m.Unavailable,
    30: m.Unsealed,
    40: m.Fetch,
    41: m.Fetched,
    42: m.TailQuery,
    43: m.Tail,
    44: m.Subscribe,
    45: m.Records,
    46: m.Heartbeat,
    60: m.InitGroup,
    61: m.InitDone,
    62: m.StatusQuery,
    63: m.Status,
    64: m.JoinGroup,
    65: m.DeleteLog,
    66: m.LogDeletion,
}


class WireError(ValueError):
    """These bytes are not of our protocol; the text says why.
    The connection from which they came must be closed.
    """


# --------------------------------------------------------------------------- one field

_Writer = Callable[[Any], bytes]
# (body, offset, end) -> (value, offset after it)
_Reader = Callable[[bytes, int, int], tuple[Any, int]]


def _read_int(body: bytes, at: int, end: int) -> tuple[int, int]:
    if end - at < 8:
        raise WireError("number cut short")
    return _U64.unpack_from(body, at)[0], at + 8


def _read_bool(body: bytes, at: int, end: int) -> tuple[bool, int]:
    if at >= end:
        raise WireError("flag cut short")
    if body[at] > 1:
        raise WireError(f"flag of value {body[at]}")
    return body[at] == 1, at + 1


def _read_bytes(body: bytes, at: int, end: int) -> tuple[bytes, int]:
    if end - at < 4:
        raise WireError("length cut short")
    stop = at + 4 + _U32.unpack_from(body, at)[0]
    if stop > end:
        raise WireError(f"length reaches {stop - end} bytes past the end of its message")
    return body[at + 4 : stop], stop


def _read_text(body: bytes, at: int, end: int) -> tuple[str, int]:
    raw, at = _read_bytes(body, at, end)
    try:
        return raw.decode(), at
    except UnicodeDecodeError as error:
        raise WireError("text that is not UTF-8") from error


def _read_id(body: bytes, at: int, end: int) -> tuple[tuple[int, int], int]:
    if end - at < 16:
        raise WireError("id cut short")
    term, position = _ID.unpack_from(body, at)
    return (term, position), at + 16


def _write_bytes(value: bytes) -> bytes:
    return _U32.pack(len(value)) + value


def _write_text(value: str) -> bytes:
    return _write_bytes(value.encode())


# writer, reader, least bytes on the wire
_KINDS: Final[dict[object, tuple[_Writer, _Reader, int]]] = {
    int: (_U64.pack, _read_int, 8),
    bool: (_U8.pack, _read_bool, 1),
    bytes: (_write_bytes, _read_bytes, 4),
    str: (_write_text, _read_text, 4),
    tuple[int, int]: (lambda value: _ID.pack(*value), _read_id, 16),
}


def _list_of(kind: object) -> tuple[_Writer, _Reader]:
    write_item, read_item, least = _KINDS[kind]

    def write(values: list[Any]) -> bytes:
        return _U32.pack(len(values)) + b"".join([write_item(value) for value in values])

    def read(body: bytes, at: int, end: int) -> tuple[list[Any], int]:
        if end - at < 4:
            raise WireError("count cut short")
        count = _U32.unpack_from(body, at)[0]
        at += 4
        if count * least > end - at:
            raise WireError(f"count of {count} in a message with {end - at} bytes left")
        values = []
        for _ in range(count):
            value, at = read_item(body, at, end)
            values.append(value)
        return values, at

    return write, read


def _codec(kind: object) -> tuple[_Writer, _Reader]:
    if get_origin(kind) is list:
        return _list_of(get_args(kind)[0])
    return _KINDS[kind][:2]


# -------------------------------------------------------------------- messages by their annotations


def _generic(
    number: int, cls: type[Message]
) -> tuple[Callable[[Any], bytes], Callable[[bytes, int, int], Message]]:
    hints = get_type_hints(cls)
    writers = [(field.name, _codec(hints[field.name])[0]) for field in fields(cls)]
    readers = [_codec(hints[field.name])[1] for field in fields(cls)]
    head = _U8.pack(number)

    def write(message: Any) -> bytes:
        return head + b"".join(
            [write_field(getattr(message, name)) for name, write_field in writers]
        )

    def read(body: bytes, at: int, end: int) -> Message:
        values = []
        for read_field in readers:
            value, at = read_field(body, at, end)
            values.append(value)
        if at != end:
            raise WireError(f"{end - at} bytes too many in a {cls.__name__}")
        return cls(*values)

    return write, read


# ---------------------------------------------------------------- messages of the hot path, by hand

# term, incarnation's length, incarnation, ballot id's length, ballot id, lease_ms, number,
# previous, previous chain's length, previous chain, committed, count. Only messages with ids of 16
# bytes use these. Any other length takes the general path, which gives the same bytes.
_APPEND: Final = struct.Struct(">BQI16sI16sQQQQI16sQI")
_RENEW: Final = struct.Struct(">BQI16sI16sQQ")
_APPENDED: Final = struct.Struct(">BQI16sQQ")
_RECORDS: Final = struct.Struct(">BQI")


def _write_entries(head: bytes, entries: list[bytes], foot: bytes) -> bytes:
    if len(entries) == 1:
        return b"".join((head, _U32.pack(len(entries[0])), entries[0], foot))
    parts = [head]
    for entry in entries:
        parts.append(_U32.pack(len(entry)))
        parts.append(entry)
    parts.append(foot)
    return b"".join(parts)


def _read_entries(count: int, body: bytes, at: int, end: int) -> tuple[list[bytes], int]:
    if count * 4 > end - at:
        raise WireError(f"count of {count} in a message with {end - at} bytes left")
    entries = []
    unpack = _U32.unpack_from
    for _ in range(count):
        if end - at < 4:
            raise WireError("length cut short")
        stop = at + 4 + unpack(body, at)[0]
        if stop > end:
            raise WireError(f"length reaches {stop - end} bytes past the end of its message")
        entries.append(body[at + 4 : stop])
        at = stop
    return entries, at


def _write_append(a: m.Append) -> bytes:
    if len(a.incarnation) != 16 or len(a.ballot_id) != 16 or len(a.previous_chain) != 16:
        return _write_append_slow(a)
    term, position = a.previous
    head = _APPEND.pack(
        11, a.term, 16, a.incarnation, 16, a.ballot_id, a.lease_ms, a.number, term, position, 16,
        a.previous_chain, a.committed, len(a.entries)
    )  # fmt: skip
    return _write_entries(
        head, a.entries, _U32.pack(len(a.repair_epoch)) + a.repair_epoch + _U64.pack(a.repair_upto)
    )


def _read_append(body: bytes, at: int, end: int) -> Message:
    if end - at < _APPEND.size - 1:
        return _read_append_slow(body, at, end)
    (
        _,
        term,
        n1,
        incarnation,
        n2,
        ballot_id,
        lease_ms,
        number,
        prev_term,
        prev_position,
        n3,
        chain,
        committed,
        count,
    ) = _APPEND.unpack_from(body, at - 1)
    if n1 != 16 or n2 != 16 or n3 != 16:
        return _read_append_slow(body, at, end)
    entries, at = _read_entries(count, body, at - 1 + _APPEND.size, end)
    epoch, at = _read_bytes(body, at, end)
    repair_upto, at = _read_int(body, at, end)
    if at != end:
        raise WireError(f"{end - at} bytes too many in an Append")
    return m.Append(
        term,
        incarnation,
        ballot_id,
        lease_ms,
        number,
        (prev_term, prev_position),
        chain,
        committed,
        entries,
        epoch,
        repair_upto,
    )


def _write_renew(r: m.Renew) -> bytes:
    if len(r.incarnation) != 16 or len(r.ballot_id) != 16:
        return _write_renew_slow(r)
    return _RENEW.pack(12, r.term, 16, r.incarnation, 16, r.ballot_id, r.lease_ms, r.number)


def _write_appended(a: m.Appended) -> bytes:
    if len(a.ballot_id) != 16:
        return _write_appended_slow(a)
    return _APPENDED.pack(24, a.term, 16, a.ballot_id, a.number, a.position)


def _read_appended(body: bytes, at: int, end: int) -> Message:
    if end - at != _APPENDED.size - 1:
        return _read_appended_slow(body, at, end)
    _, term, length, ballot_id, number, position = _APPENDED.unpack_from(body, at - 1)
    if length != 16:
        return _read_appended_slow(body, at, end)
    return m.Appended(term, ballot_id, number, position)


def _write_records(r: m.Records) -> bytes:
    return _write_entries(_RECORDS.pack(45, r.committed, len(r.entries)), r.entries, b"")


def _read_records(body: bytes, at: int, end: int) -> Message:
    if end - at < _RECORDS.size - 1:
        raise WireError("Records cut short")
    _, committed, count = _RECORDS.unpack_from(body, at - 1)
    entries, at = _read_entries(count, body, at - 1 + _RECORDS.size, end)
    if at != end:
        raise WireError(f"{end - at} bytes too many in Records")
    return m.Records(committed, entries)


_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {}
_READERS: Final[dict[int, Callable[[bytes, int, int], Message]]] = {}
for _number, _cls in _TYPES.items():
    _WRITERS[_cls], _READERS[_number] = _generic(_number, _cls)
_write_append_slow, _read_append_slow = _WRITERS[m.Append], _READERS[11]
_write_renew_slow = _WRITERS[m.Renew]
_write_appended_slow, _read_appended_slow = _WRITERS[m.Appended], _READERS[24]
_WRITERS.update(
    {
        m.Append: _write_append,
        m.Renew: _write_renew,
        m.Appended: _write_appended,
        m.Records: _write_records,
    }
)
_READERS.update({11: _read_append, 24: _read_appended, 45: _read_records})


# --------------------------------------------------------------------------- the two ends


def encode(message: Message) -> bytes:
    """The whole frame of a message."""
    body = _WRITERS[type(message)](message)
    return _FRAME.pack(len(body), crc32c(body)) + body


class FrameKey:
    """The tags of one direction of one session.
    A tag is a keyed BLAKE3 hash over the number of the frame and all its bytes. A frame that is
    altered, left out, repeated or moved has a wrong tag.
    """

    __slots__ = ("_count", "_empty")

    def __init__(self, key: bytes) -> None:
        self._empty: Any = blake3(key=key)
        self._count = 0

    def tag(self, frame: bytes) -> bytes:
        """The tag of the next frame."""
        hasher = self._empty.copy()
        hasher.update(_U64.pack(self._count))
        hasher.update(frame)
        self._count += 1
        digest: bytes = hasher.digest(length=TAG_BYTES)
        return digest


class Decoder:
    """Bytes of one connection in, messages out.
    The owner may raise ``max_frame_bytes`` once it knows the other side.
    """

    __slots__ = ("_error", "_key", "_need", "_rest", "held", "max_frame_bytes", "single")

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        # give one message at a time, since the bytes after it may have another form; `feed(b"")`
        # gives the next
        self.single = False
        self.held = False  # give nothing: what the peer sends now has to wait
        self._key: FrameKey | None = None
        self._rest = bytearray()
        # no frame ends before this many bytes are here, so that a large frame is not checked for
        # every piece
        self._need = 0
        self._error = ""

    @property
    def waiting(self) -> int:
        """How many bytes of an incomplete frame are held."""
        return len(self._rest)

    def open(self, max_frame_bytes: int, key: FrameKey | None) -> None:
        """The handshake is over. From now on each frame has its tag, if there is a key."""
        self.max_frame_bytes = max_frame_bytes
        self.single = self.held = False
        self._key = key
        self._need = 0  # it was computed for a frame without a tag

    def feed(self, data: bytes) -> list[Message]:
        """Every message that is complete now, in order.
        Raises `WireError`; the messages before the bad bytes are then lost with them.
        """
        if self._error:
            raise WireError(self._error)
        if self._rest or self.held:
            self._rest += data
            if self.held or len(self._rest) < self._need:
                if self.held and len(self._rest) > _HELD_MAX_BYTES:
                    raise WireError(f"{len(self._rest)} bytes before the handshake is over")
                return []
            data = bytes(self._rest)
            self._rest = bytearray()
        try:
            return self._frames(data)
        except WireError as error:
            self._error = str(error)
            self._rest = bytearray()
            raise

    def _frames(self, data: bytes) -> list[Message]:
        found: list[Message] = []
        at, end = 0, len(data)
        key = self._key
        foot = TAG_BYTES if key is not None else 0
        while end - at >= FRAME_HEADER_BYTES:
            length, crc = _FRAME.unpack_from(data, at)
            if length > self.max_frame_bytes:
                raise WireError(f"frame of {length} bytes, the limit is {self.max_frame_bytes}")
            if length == 0:
                raise WireError("frame without a message")
            behind = at + FRAME_HEADER_BYTES + length
            if behind + foot > end:
                self._rest += memoryview(data)[at:]
                self._need = behind + foot - at
                return found
            body = data[at + FRAME_HEADER_BYTES : behind]
            if key is not None and not hmac.compare_digest(
                key.tag(data[at:behind]), data[behind : behind + TAG_BYTES]
            ):
                raise WireError(
                    f"frame of {length} bytes with a wrong tag: it was not sent by who proved the "
                    "shared secret, or was altered on the way"
                )
            if crc32c(body) != crc:
                raise WireError(f"frame of {length} bytes with a wrong checksum")
            read = _READERS.get(body[0])
            if read is None:
                raise WireError(f"message type {body[0]} is unknown")
            found.append(read(body, 1, length))
            at = behind + foot
            if self.single:
                break
        if at < end:
            self._rest += memoryview(data)[at:]
            self._need = FRAME_HEADER_BYTES
        return found
