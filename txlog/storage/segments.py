"""One segment's file while its log is open.

Decides: the order in which a segment is made, is sealed, loses its tail.
Must not know: which entries, promises, other segments. One thread at a time calls the methods that
write: the opener's thread, then the log's sync thread. Positions and offsets here are the logical
ones: an append reserves its place in the loop before the sync thread writes it.
"""

from __future__ import annotations

from array import array
from pathlib import Path

from crc32c import crc32c

from txlog.storage.files import Files
from txlog.storage.recovery import SegmentScan
from txlog.storage.segment import (
    BLOCK_BYTES,
    EVIDENCE_AT,
    POINT_STRIDE,
    SEAL_AT,
    SEAL_BYTES,
    Evidence,
    Seal,
    SegmentHeader,
    clean_block,
    encode_evidence,
    encode_header,
    encode_seal,
    segment_seed,
    thin_points,
)

_CHUNK = 1 << 20


class SegmentFile:
    __slots__ = (
        "checksum", "dirty", "evidence_counter", "fd", "files", "first", "log", "path", "points",
        "previous_chain", "previous_term", "sealed", "seed", "size", "stride", "used",
    )  # fmt: skip

    def __init__(
        self,
        files: Files,
        path: Path,
        log: bytes,
        first: int,
        size: int,
        previous_term: int,
        previous_chain: bytes,
    ) -> None:
        self.files = files
        self.path = path
        self.fd = -1
        self.log = log
        self.first = first
        self.size = size
        self.seed = segment_seed(log, first)
        self.previous_term = previous_term  # of the entry before `first`, and its chain
        self.previous_chain = previous_chain
        self.used = BLOCK_BYTES  # where the next frame goes
        self.dirty = BLOCK_BYTES  # after the last byte that may not be zero
        # crc32c of the frames so far, None: some of them changed since they were checked
        self.checksum: int | None = 0
        self.sealed = False
        self.evidence_counter = 0
        self.stride = POINT_STRIDE  # points[i] is the offset of position first + i * stride
        self.points: array[int] = array("I")

    @property
    def room(self) -> int:
        return self.size - self.used

    def add(self, position: int, size: int) -> int:
        """Reserve the place of the next frame; returns its offset."""
        offset = self.used
        index = position - self.first
        if index == len(self.points) * self.stride:
            self.points.append(offset)
        self.used = offset + size
        if self.used > self.dirty:
            self.dirty = self.used
        return offset

    def nearest(self, position: int) -> tuple[int, int]:
        """(position, offset) of a frame at or below ``position`` from which to walk."""
        index = min((position - self.first) // self.stride, len(self.points) - 1)
        return (
            (self.first, BLOCK_BYTES)
            if index <= 0
            else (self.first + index * self.stride, self.points[index])
        )

    def adopt(self, scan: SegmentScan) -> None:
        self.used = scan.end
        self.dirty = scan.dirty
        self.stride, self.points = POINT_STRIDE, scan.points()

    def forget_from(self, position: int, offset: int) -> None:
        """The logical side of a cut: the next frame is ``position`` at ``offset``."""
        keep = -(-(position - self.first) // self.stride)
        del self.points[keep:]
        self.used = offset

    # ----------------------------------------------------------------------- on disk

    def write_header(self) -> None:
        self.files.write(
            self.fd,
            0,
            encode_header(
                SegmentHeader(self.log, self.first, self.previous_term, self.previous_chain)
            ),
        )

    def write_evidence(self, synced: int, committed: int) -> None:
        """Write into both slots, so that one may rot.
        Each has a sector of its own, so that one torn write leaves the other intact.
        """
        self._write_slot(synced, committed)
        self._write_slot(synced, committed)

    def reset_evidence(self, synced: int, committed: int) -> None:
        """Rewrite both slots, one after the other on disk.
        Nothing above ``synced`` may be claimed any more.
        """
        for _ in EVIDENCE_AT:
            self._write_slot(synced, committed)
            self.files.sync(self.fd)

    def _write_slot(self, synced: int, committed: int) -> None:
        self.evidence_counter += 1
        raw = encode_evidence(Evidence(self.evidence_counter, synced, committed), self.seed)
        self.files.write(self.fd, EVIDENCE_AT[self.evidence_counter % 2], raw)

    def write_seal(
        self,
        used: int,
        last_position: int,
        last_term: int,
        last_chain: bytes,
        synced: int,
        committed: int,
    ) -> None:
        """Write the seal; it is synced together with the frames.
        A seal over frames that did not reach the disk fails its check. The checksum must come from
        bytes as they were written or checked. A checksum of what the disk returns now would confirm
        whatever has rotted since.
        """
        assert self.checksum is not None, "a seal over bytes that nobody has checked"
        stride, points = thin_points(self.points, self.stride)
        seal = Seal(
            used,
            last_position,
            last_term,
            last_chain,
            synced,
            committed,
            self.checksum,
            stride,
            points,
        )
        self.files.write(self.fd, SEAL_AT, encode_seal(seal, self.seed))
        self.sealed = True

    def tidy_block(self) -> None:
        """Clean the header block, as a start does.
        Evidence that passes its check stays. A seal goes, even a good one, because it may be what
        disagrees with the frames. Synced.
        """
        if self.sealed:
            self.break_seal()
        block = clean_block(self.files.read(self.fd, 0, BLOCK_BYTES), self.seed)
        header = encode_header(
            SegmentHeader(self.log, self.first, self.previous_term, self.previous_chain)
        )
        self.files.write(self.fd, 0, header + block[len(header) : SEAL_AT] + bytes(SEAL_BYTES))
        self.files.sync(self.fd)

    def break_seal(self) -> None:
        """Invalidate the seal before anything it covers is changed."""
        if self.sealed:
            self.files.write(self.fd, SEAL_AT, bytes(SEAL_BYTES))
            self.files.sync(self.fd)
            self.sealed = False
        self.checksum = None

    def read_checksum(self, used: int) -> int:
        checksum = 0
        for at in range(BLOCK_BYTES, used, _CHUNK):
            checksum = crc32c(self.files.read(self.fd, at, min(_CHUNK, used - at)), checksum)
        return checksum

    def clear(self, start: int, stop: int) -> None:
        """Write zeros; not synced."""
        zeros = bytes(min(_CHUNK, max(0, stop - start)))
        for at in range(start, stop, _CHUNK):
            self.files.write(self.fd, at, zeros[: min(_CHUNK, stop - at)])

    def open(self) -> None:
        if self.fd < 0:
            self.fd = self.files.open(self.path)

    def close(self) -> None:
        if self.fd >= 0:
            self.files.close(self.fd)
            self.fd = -1
