"""A segment file's bytes: header block, evidence, seal, frames.

Decides: the binary form of everything in a segment.
Must not know: files, what a scan concludes from bad bytes (`recovery`).

A segment is a header block of 8 KiB, then frames without holes, then zeros. The block holds three
things, each in sectors of its own:
- The header says to which log and segment the file belongs, and what comes before it.
- Two evidence slots are written when a log falls quiet. So `synced` is on disk although no later
  frame carries it.
- The seal is written once, when the next segment has taken over. It has a checksum over all frames,
  so that an old segment is checked at the speed of memory. It also has the offset of every n-th
  frame, so that no reader walks the segment from its start.

A frame is a header (magic, entry length, position, term, kind, flags, `synced`, `committed`, crc),
the entry's canonical bytes, the entry's crc32c. Every checksum except the entry's own starts from a
seed of the log's id and the segment's first position. So bytes of another log or segment, or bytes
that a client stored as a value, never pass for a frame. Zeros never pass any check.
"""

from __future__ import annotations

import re
import struct
from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from crc32c import crc32c

from txlog.entry import HEADER_BYTES as ENTRY_HEADER_BYTES
from txlog.entry import Entry

FORMAT: Final = 1
BLOCK_BYTES: Final = 8192  # the header block; the first frame starts here
EVIDENCE_AT: Final = (512, 1024)
SEAL_AT: Final = 2048
POINT_STRIDE: Final = 64  # positions between two points of an open segment's sparse index
MAX_POINTS: Final = 1024  # in a seal

_U32: Final = struct.Struct(">I")
_HEADER: Final = struct.Struct(">8sI16sQQ16s")
_MAGIC: Final = b"txlogseg"
_EVIDENCE: Final = struct.Struct(">4sQQQ")
_EVIDENCE_MAGIC: Final = b"Evid"
EVIDENCE_BYTES: Final = _EVIDENCE.size + 4
_SEAL: Final = struct.Struct(">4sQQQ16sQQIII")
_SEAL_MAGIC: Final = b"Seal"
SEAL_BYTES: Final = BLOCK_BYTES - SEAL_AT

# magic, entry length, position, term, kind, flags, unused, synced, committed; then its crc32c
FRAME: Final = struct.Struct(">4sIQQBBHQQ")
FRAME_MAGIC: Final = b"\xf7Tx\x01"
FRAME_HEADER_BYTES: Final = FRAME.size + 4
FRAME_OVERHEAD: Final = FRAME_HEADER_BYTES + 4
MIN_FRAME_BYTES: Final = FRAME_OVERHEAD + ENTRY_HEADER_BYTES
FLAG_PUT_BACK: Final = 1  # the frame was damaged and fetched from another node

_NAME: Final = re.compile(r"(\d{20})\.seg")


def segment_name(first: int) -> str:
    return f"{first:020d}.seg"


def parse_segment_name(name: str) -> int | None:
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def log_id(group: bytes, log: str) -> bytes:
    """16 bytes that distinguish this log of this group from every other log."""
    return blake2b(log.encode(), key=group, digest_size=16).digest()


def segment_seed(log: bytes, first: int) -> int:
    return crc32c(log + first.to_bytes(8, "big"))


# --------------------------------------------------------------------------- header


@dataclass(slots=True)
class SegmentHeader:
    log: bytes
    first: int
    previous_term: int  # of the entry before ``first``
    previous_chain: bytes


def encode_header(header: SegmentHeader) -> bytes:
    head = _HEADER.pack(
        _MAGIC, FORMAT, header.log, header.first, header.previous_term, header.previous_chain
    )
    return head + _U32.pack(crc32c(head))


def decode_header(block: bytes) -> SegmentHeader | None:
    """None: these bytes are not a header of this format."""
    if (
        len(block) < _HEADER.size + 4
        or crc32c(block[: _HEADER.size]) != _U32.unpack_from(block, _HEADER.size)[0]
    ):
        return None
    magic, format, log, first, term, chain = _HEADER.unpack_from(block)
    return SegmentHeader(log, first, term, chain) if magic == _MAGIC and format == FORMAT else None


# --------------------------------------------------------------------------- evidence


@dataclass(slots=True)
class Evidence:
    """``synced``: everything up to it was fsync'd here; ``committed``: known committed at that
    time.
    """

    counter: int = 0
    synced: int = 0
    committed: int = 0


def encode_evidence(evidence: Evidence, seed: int) -> bytes:
    head = _EVIDENCE.pack(_EVIDENCE_MAGIC, evidence.counter, evidence.synced, evidence.committed)
    return head + _U32.pack(crc32c(head, seed))


def _good_evidence(raw: bytes, seed: int) -> bool:
    return (
        len(raw) == EVIDENCE_BYTES
        and raw[:4] == _EVIDENCE_MAGIC
        and crc32c(raw[:-4], seed) == _U32.unpack_from(raw, _EVIDENCE.size)[0]
    )


def newest_evidence(block: bytes, seed: int) -> Evidence:
    """Of the two slots, the good one with the higher counter; zeros if neither is good."""
    best = Evidence()
    for at in EVIDENCE_AT:
        raw = block[at : at + EVIDENCE_BYTES]
        if _good_evidence(raw, seed):
            _, counter, synced, committed = _EVIDENCE.unpack_from(raw)
            if counter > best.counter:
                best = Evidence(counter, synced, committed)
    return best


# --------------------------------------------------------------------------- seal


@dataclass(slots=True)
class Seal:
    used: int  # end of the last frame
    last_position: int
    last_term: int
    last_chain: bytes
    synced: int  # greatest evidence in the segment
    committed: int
    checksum: int  # crc32c of the bytes from the first frame to ``used``
    stride: int  # points[i] is the offset of the frame of first + i * stride
    points: array[int] = field(default_factory=lambda: array("I"))


def encode_seal(seal: Seal, seed: int) -> bytes:
    head = _SEAL.pack(
        _SEAL_MAGIC, seal.used, seal.last_position, seal.last_term, seal.last_chain, seal.synced,
        seal.committed, seal.checksum, seal.stride, len(seal.points)
    )  # fmt: skip
    body = head + struct.pack(f">{len(seal.points)}I", *seal.points)
    return body + _U32.pack(crc32c(body, seed))


def decode_seal(block: bytes, seed: int) -> Seal | None:
    raw = block[SEAL_AT:BLOCK_BYTES]
    if len(raw) < SEAL_BYTES:
        return None
    magic, used, position, term, chain, synced, committed, checksum, stride, count = (
        _SEAL.unpack_from(raw)
    )
    end = _SEAL.size + 4 * count
    if (
        magic != _SEAL_MAGIC
        or count > MAX_POINTS
        or stride == 0
        or crc32c(raw[:end], seed) != _U32.unpack_from(raw, end)[0]
    ):
        return None
    return Seal(
        used,
        position,
        term,
        chain,
        synced,
        committed,
        checksum,
        stride,
        array("I", struct.unpack_from(f">{count}I", raw, _SEAL.size)),
    )


def thin_points(points: array[int], stride: int) -> tuple[int, array[int]]:
    """The points that fit into a seal, and their stride."""
    step = max(1, -(-len(points) // MAX_POINTS))
    return stride * step, points[::step]


def clean_block(block: bytes, seed: int) -> bytes:
    """The header block with only its good parts.
    Evidence and seal stay if they are good; everything else becomes zeros. The header stays
    unchanged.
    """
    clean = bytearray(BLOCK_BYTES)
    clean[: _HEADER.size + 4] = block[: _HEADER.size + 4]
    for at in EVIDENCE_AT:
        raw = block[at : at + EVIDENCE_BYTES]
        if _good_evidence(raw, seed):
            clean[at : at + EVIDENCE_BYTES] = raw
    seal = decode_seal(block, seed)
    if seal is not None:
        raw = encode_seal(seal, seed)
        clean[SEAL_AT : SEAL_AT + len(raw)] = raw
    return bytes(clean)


# --------------------------------------------------------------------------- frames


def frame_bytes(entry_bytes: int) -> int:
    """The bytes that an entry of this size takes in a segment."""
    return FRAME_OVERHEAD + entry_bytes


def encode_frame(
    entry: Entry, synced: int, committed: int, seed: int, flags: int = 0
) -> tuple[bytes, bytes, bytes]:
    """Header, entry, checksum: pieces to be written one after the other."""
    encoded = entry.encoded
    head = FRAME.pack(
        FRAME_MAGIC,
        len(encoded),
        entry.position,
        entry.term,
        entry.kind,
        flags,
        0,
        synced,
        committed,
    )
    return head + _U32.pack(crc32c(head, seed)), encoded, _U32.pack(crc32c(encoded))


# entry length, position, term, kind, flags, synced, committed
FrameHeader = tuple[int, int, int, int, int, int, int]


def read_frame_header(data: bytes, at: int, seed: int) -> FrameHeader | None:
    """The frame header at ``at`` if it passes its check. Then its length is what was written."""
    end = at + FRAME.size
    if (
        end + 4 > len(data)
        or data[at : at + 4] != FRAME_MAGIC
        or crc32c(data[at:end], seed) != _U32.unpack_from(data, end)[0]
    ):
        return None
    _, length, position, term, kind, flags, _, synced, committed = FRAME.unpack_from(data, at)
    return length, position, term, kind, flags, synced, committed


def read_frame_entry(data: bytes, at: int, length: int) -> bytes | None:
    """The entry's bytes of the frame at ``at`` if they are there and their checksum agrees."""
    start = at + FRAME_HEADER_BYTES
    stop = start + length
    if length < ENTRY_HEADER_BYTES or stop + 4 > len(data):
        return None
    encoded = data[start:stop]
    return encoded if crc32c(encoded) == _U32.unpack_from(data, stop)[0] else None
