"""What the bytes of one segment hold, whatever happened to them (S1).

Decides: where the good frames are, which positions are lost, where the next frame belongs, and
whether bytes after it are a tail that fails a check.
Must not know: files, other segments, what to do about a loss (the acceptor knows).

A frame is good if it is in order and its header and its entry pass their checks. Its entry must
also continue the chain, as far as that is known. If the header is bad, its length is not believed.
Then the scan searches byte by byte for the next good frame's magic, so that one flipped bit never
hides what follows. An entry with a bad frame header is still good if it passes its own check and
continues position and chain. Its header is made again (``repairs``).

Invariants: nothing good is ever reported lost; nothing is cut here; a gap lists every position
between two good frames.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from typing import Final

from crc32c import crc32c

from txlog.entry import CHAIN_BYTES, EntryError, EntryId, chain_of, decode_entry
from txlog.entry import HEADER_BYTES as ENTRY_HEADER_BYTES
from txlog.storage.segment import (
    BLOCK_BYTES,
    FRAME,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    FRAME_OVERHEAD,
    MIN_FRAME_BYTES,
    POINT_STRIDE,
    FrameHeader,
    encode_frame,
    read_frame_entry,
    read_frame_header,
)

# of an entry: previous chain, position, term, kind, payload length
_ENTRY_HEAD: Final = struct.Struct(">16sQQB3xI")
_U32: Final = struct.Struct(">I")
_NO_CHAIN: Final = bytes(CHAIN_BYTES)


@dataclass(slots=True)
class DamagedRange:
    """Positions ``first``..``last`` are lost; their frames belong at ``offset`` and end at ``end``
    (0: open, nothing good follows in this segment).
    """

    first: int
    last: int
    offset: int
    end: int
    known: EntryId | None = None  # of ``first``, if its frame header passes its check
    next_chain: bytes | None = None  # the chain of ``last``, from the good frame after it
    # one position whose place, id and chain are known from memory: a running log continues over it
    # even at its end
    exact: bool = False


@dataclass(slots=True)
class SegmentScan:
    """Positions count from the segment's first; a lost one has term 0 and offset 0."""

    first: int
    terms: array[int] = field(default_factory=lambda: array("Q"))
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    chains: bytearray = field(default_factory=bytearray)
    gaps: list[DamagedRange] = field(default_factory=list)
    end: int = BLOCK_BYTES  # after the last good frame
    dirty: int = BLOCK_BYTES  # after the last byte that is not zero
    # of the torn frame at ``end``, if its header passes its check
    tail_known: EntryId | None = None
    synced: int = 0  # greatest evidence in good frame headers
    committed: int = 0
    repairs: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def last(self) -> int:
        return self.first - 1 + len(self.terms)

    @property
    def torn(self) -> bool:
        return self.dirty > self.end

    def points(self) -> array[int]:
        """The sparse index of an open segment; it has no point in a gap, which ends it early."""
        found = array("I")
        for offset in self.offsets[::POINT_STRIDE]:
            if offset == 0:
                break
            found.append(offset)
        return found

    def _add(self, term: int, offset: int, chain: bytes) -> None:
        self.terms.append(term)
        self.offsets.append(offset)
        self.chains += chain


def scan_segment(data: bytes, first: int, previous_chain: bytes | None, seed: int) -> SegmentScan:
    """``data``: the whole segment.
    ``previous_chain``: of the entry before ``first``, None if it is not known.
    """
    scan = SegmentScan(first)
    scan.dirty = max(BLOCK_BYTES, len(data.rstrip(b"\0")))
    at, position, chain = BLOCK_BYTES, first, previous_chain
    lost: list[DamagedRange] = []  # since the last good frame
    while at < scan.dirty:
        if chain is not None and not lost:
            at, position, chain = good_run(scan, data, at, position, chain, seed)
            if at >= scan.dirty:
                break
        header = _plausible(data, at, position, seed)
        encoded = read_frame_entry(data, at, header[0]) if header is not None else None
        if header is None and (salvaged := _salvage(data, at, position, chain, seed)) is not None:
            header, encoded, repair = salvaged
            scan.repairs.append((at, repair))
        if header is not None and (encoded is None or not _belongs(encoded, header, chain)):
            end = at + FRAME_OVERHEAD + header[0]
            lost.append(
                DamagedRange(
                    position,
                    position,
                    at,
                    end,
                    known=(header[2], position) if encoded is None else None,
                )
            )
            at, position, chain = end, position + 1, None
            continue
        if header is None or encoded is None:
            found = _next_good(data, at, position, scan.dirty, seed)
            if found is None:
                break
            there, lower = found
            lost.append(DamagedRange(position, lower - 1, at, there))
            at, position, chain = there, lower, None
            continue
        if lost:
            lost[-1].next_chain = encoded[:CHAIN_BYTES]
            _close_ranges(scan, lost)
        chain = chain_of(encoded)
        scan._add(header[2], at, chain)
        scan.synced = max(scan.synced, header[5])
        scan.committed = max(scan.committed, header[6])
        at = scan.end = at + FRAME_OVERHEAD + header[0]
        scan.dirty = max(scan.dirty, at)
        position += 1
    if lost:
        scan.tail_known = lost[0].known
    else:
        torn = _plausible(data, scan.end, position, seed)
        scan.tail_known = (torn[2], position) if torn is not None else None
    return scan


def good_run(
    scan: SegmentScan, data: bytes, at: int, position: int, chain: bytes, seed: int
) -> tuple[int, int, bytes]:
    """Read good frames from ``at`` on, up to the first doubt.
    Start-up spends its time here, so the code is written out. Returns (offset, position, chain)
    after the last good frame.
    """
    size, add_term, add_offset = len(data), scan.terms.append, scan.offsets.append
    chains, synced, committed = scan.chains, scan.synced, scan.committed
    frame, crc, head = FRAME.unpack_from, _U32.unpack_from, _ENTRY_HEAD.unpack_from
    while at + FRAME_OVERHEAD <= size:
        magic, length, framed, term, kind, _, _, frame_synced, frame_committed = frame(data, at)
        start = at + FRAME_HEADER_BYTES
        stop = start + length
        if (
            magic != FRAME_MAGIC
            or framed != position
            or length < ENTRY_HEADER_BYTES
            or stop + 4 > size
        ):
            break
        if crc32c(data[at : start - 4], seed) != crc(data, start - 4)[0]:
            break
        encoded = data[start:stop]
        if crc32c(encoded) != crc(data, stop)[0] or head(encoded) != (
            chain,
            position,
            term,
            kind,
            length - ENTRY_HEADER_BYTES,
        ):
            break
        chain = chain_of(encoded)
        add_term(term)
        add_offset(at)
        chains += chain
        if frame_synced > synced:
            synced = frame_synced
        if frame_committed > committed:
            committed = frame_committed
        at = stop + 4
        position += 1
    scan.synced, scan.committed = synced, committed
    if at > scan.end:
        scan.end = at
        scan.dirty = max(scan.dirty, at)
    return at, position, chain


def _close_ranges(scan: SegmentScan, lost: list[DamagedRange]) -> None:
    """Something good follows, so these ranges are gaps.
    Neighbours stay separate if a frame's size is known.
    """
    for gap in lost:
        for position in range(gap.first, gap.last + 1):
            known = gap.known[0] if gap.known is not None else 0
            scan._add(
                known,
                0,
                gap.next_chain
                if gap.next_chain is not None and position == gap.last
                else _NO_CHAIN,
            )
        scan.gaps.append(gap)
    lost.clear()


def _plausible(data: bytes, at: int, position: int, seed: int) -> FrameHeader | None:
    """The frame header at ``at`` if it passes its check, is in order, and its frame fits."""
    header = read_frame_header(data, at, seed)
    if header is None or header[1] != position or at + FRAME_OVERHEAD + header[0] > len(data):
        return None
    return header


def _belongs(encoded: bytes, header: FrameHeader, chain: bytes | None) -> bool:
    previous, position, term, kind, length = _ENTRY_HEAD.unpack_from(encoded)
    agrees = (position, term, kind, length) == (
        header[1],
        header[2],
        header[3],
        len(encoded) - ENTRY_HEADER_BYTES,
    )
    return agrees and (chain is None or previous == chain)


def _salvage(
    data: bytes, at: int, position: int, chain: bytes | None, seed: int
) -> tuple[FrameHeader, bytes, bytes] | None:
    """The entry of a frame whose header is bad, if the entry proves itself.
    Its checksum, position and chain must agree.
    """
    start = at + FRAME_HEADER_BYTES
    if chain is None or start + ENTRY_HEADER_BYTES > len(data):
        return None
    length = ENTRY_HEADER_BYTES + _ENTRY_HEAD.unpack_from(data, start)[4]
    encoded = read_frame_entry(data, at, length)
    if encoded is None:
        return None
    try:
        entry = decode_entry(encoded)
    except EntryError:
        return None
    if entry.position != position or entry.previous_chain != chain:
        return None
    # the evidence it carried is lost; other frames carry theirs
    head = encode_frame(entry, 0, 0, seed)[0]
    return (length, position, entry.term, entry.kind, 0, 0, 0), encoded, head


def _next_good(data: bytes, at: int, position: int, stop: int, seed: int) -> tuple[int, int] | None:
    """(offset, position) of the first good frame after ``at`` that can be a later one."""
    there = data.find(FRAME_MAGIC, at + 1, stop)
    while there >= 0:
        header = read_frame_header(data, there, seed)
        if header is not None and 0 < header[1] - position <= (there - at) // MIN_FRAME_BYTES:
            encoded = read_frame_entry(data, there, header[0])
            if encoded is not None and _belongs(encoded, header, None):
                return there, header[1]
        there = data.find(FRAME_MAGIC, there + 1, stop)
    return None
