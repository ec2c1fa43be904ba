"""The scrubber (S6): which piece of the log to read next, when, and whether the bytes are good.

Decides: the pace of a pass (a piece, then a wait that keeps the rate); the order (segments from the
oldest on, each from its header block to its end); what `txlog verify` would say of a segment:
header block, checksums, chain, order, nothing after the last frame, the seal.
Must not know: files, threads, which node has a good copy. A doubt is not a result: the store checks
the whole segment again before it does anything.

Invariants: one piece at a time; only bytes that a sync has covered are read; at most one frame and
one piece are kept in memory; a segment with known damage is skipped, because it was checked
completely when the damage was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from crc32c import crc32c

from txlog.storage.recovery import SegmentScan, good_run
from txlog.storage.segment import (
    BLOCK_BYTES,
    FRAME_HEADER_BYTES,
    FRAME_OVERHEAD,
    Seal,
    SegmentHeader,
    clean_block,
    decode_header,
    decode_seal,
    read_frame_header,
)

RETRY_US: Final = 1_000_000
PIECE_BYTES: Final = 64 << 10  # read at once; an append's sync may have to wait for this much


@dataclass(slots=True)
class Span:
    """The part of a segment that is certainly on disk, and what it must contain."""

    first: int
    where: str
    seed: int
    header: SegmentHeader
    end: int  # after the last synced frame
    last: int  # its position and chain
    last_chain: bytes
    size: int  # zeros from ``end`` up to here; equal to ``end`` while the segment is written to
    generation: int  # of the store, when this was true

    @property
    def closed(self) -> bool:
        return self.size > self.end


class Segments(Protocol):
    """What a scrubber may ask of the store, synchronous."""

    # the next segment that begins after ``first`` and is not known damaged
    def span_after(self, first: int) -> Span | None: ...
    def synced_bytes(self) -> int: ...  # how much a whole pass would read now


class SegmentCheck:
    """The check of one segment, which gets its bytes from the first one on.
    ``position`` is the first that is not yet known good.
    """

    __slots__ = (
        "_chain",
        "_checksum",
        "_have",
        "_need",
        "_rest",
        "_seal",
        "block_bad",
        "entries",
        "frames_bad",
        "offset",
        "position",
        "slack_bad",
        "span",
    )

    def __init__(self, span: Span) -> None:
        self.span = span
        self.offset = 0  # everything before it has been checked
        self.position = span.first
        self.entries = 0
        self.block_bad = False  # the header block: it can be written again from memory
        # bytes after the last frame that are not zero: this damages no entry
        self.slack_bad = False
        self.frames_bad = False
        self._chain = span.header.previous_chain
        self._checksum = 0
        self._seal: Seal | None = None
        self._rest: list[bytes] = []  # the first part of a frame that is not complete yet
        self._have = 0
        self._need = FRAME_HEADER_BYTES

    @property
    def done(self) -> bool:
        return self.frames_bad or self.offset >= self.span.size

    def wanted(self, limit: int) -> int:
        """How many bytes from ``offset`` on to read next."""
        span, at = self.span, self.offset
        if at < BLOCK_BYTES:
            return BLOCK_BYTES - at
        return min(limit, (span.end if at < span.end else span.size) - at)

    def feed(self, data: bytes) -> None:
        """Check the bytes at ``offset``: as many as were `wanted`; fewer mean that the file is too
        short.
        """
        if self.offset == 0:
            self._block(data)
        elif self.offset < self.span.end:
            self._frames(data)
        elif data.strip(b"\0"):
            self.slack_bad = True
        self.offset += len(data)
        if self.offset == self.span.end:
            self._ends()

    def too_short(self) -> None:
        self.frames_bad = True

    def _block(self, block: bytes) -> None:
        self.block_bad = (
            decode_header(block) != self.span.header or clean_block(block, self.span.seed) != block
        )
        self._seal = decode_seal(block, self.span.seed) if self.span.closed else None

    def _frames(self, data: bytes) -> None:
        span = self.span
        self._checksum = crc32c(data, self._checksum)
        self._rest.append(data)
        self._have += len(data)
        if self._have < self._need:
            return
        joined = b"".join(self._rest)
        at, position, self._chain = good_run(
            SegmentScan(self.position), joined, 0, self.position, self._chain, span.seed
        )
        self.entries += position - self.position
        self.position = position
        rest = joined[at:]
        self._rest, self._have, self._need = [rest], len(rest), FRAME_HEADER_BYTES
        if self._have >= FRAME_HEADER_BYTES:
            header = read_frame_header(rest, 0, span.seed)
            # bytes of the segment's frames that are not read yet
            left = span.end - self.offset - len(data)
            self._need = (
                FRAME_OVERHEAD + header[0] if header is not None and header[1] == position else 0
            )
            if self._need <= self._have or self._need > self._have + left:
                self.frames_bad = True

    def _ends(self) -> None:
        span, seal = self.span, self._seal
        if self._have or self.position != span.last + 1 or self._chain != span.last_chain:
            self.frames_bad = True
        elif seal is not None and (seal.used != span.end or seal.checksum != self._checksum):
            self.block_bad = True


@dataclass(slots=True)
class Pass:
    """One pass through the log, complete or in progress."""

    began_us: int
    ended_us: int = 0
    total: int = 0  # bytes it was expected to read when it began
    bytes: int = 0
    entries: int = 0
    findings: int = 0


@dataclass(slots=True)
class Piece:
    """To be read, and then given to ``check.feed``."""

    check: SegmentCheck
    offset: int
    length: int


class Scrubber:
    """One per log. ``bytes_per_s`` 0: it never has anything to do.
    ``pause_us``: from the end of a pass, or from the start (which also reads everything), to the
    next.
    """

    def __init__(self, bytes_per_s: int, pause_us: int, now_us: int) -> None:
        self.passes = 0  # how many have ended
        self.findings = 0  # in all passes
        self.last: Pass | None = None  # the newest that has ended
        self.present: Pass | None = None
        self._rate = bytes_per_s
        self._pause_us = pause_us
        self._due_us = now_us + pause_us
        self._cursor = 0  # first position of the segment that was begun last
        self._check: SegmentCheck | None = None
        self._reading = False

    def deadline(self) -> int:
        """When `next` has something to do; 0: never, or not before `on_read`."""
        return self._due_us if self._rate and not self._reading else 0

    def next(self, segments: Segments, now_us: int) -> Piece | None:
        """The next piece to read; None: a pass has ended, and its result is in ``last``."""
        assert self._rate and not self._reading, "one piece at a time"
        if self.present is None:
            self.present = Pass(now_us, total=segments.synced_bytes())
            self._cursor = 0
        while self._check is None or self._check.done:
            span = segments.span_after(self._cursor)
            if span is None:
                self._end(now_us)
                return None
            self._cursor = span.first
            self._check = SegmentCheck(span)
        piece = Piece(self._check, self._check.offset, self._check.wanted(PIECE_BYTES))
        self._due_us = now_us + piece.length * 1_000_000 // self._rate
        self._reading = True
        return piece

    def on_read(self, piece: Piece) -> None:
        """The piece has been read and checked."""
        self._reading = False
        if self.present is not None:
            self.present.bytes += piece.length
            if piece.check.done:
                self.present.entries += piece.check.entries

    def on_failed(self, now_us: int) -> None:
        """The piece could not be read now, for a reason unrelated to the disk."""
        self._reading = False
        self._due_us = now_us + RETRY_US
        self.again()

    def on_finding(self) -> None:
        self.findings += 1
        if self.present is not None:
            self.present.findings += 1

    def again(self) -> None:
        """The segment has changed during the read, so a failed check may mean nothing.
        Check it again from its start.
        """
        self._check = None
        self._cursor -= 1

    def _end(self, now_us: int) -> None:
        assert self.present is not None
        self.present.ended_us = now_us
        self.last, self.present, self._check = self.present, None, None
        self.passes += 1
        self._due_us = now_us + self._pause_us

    def status(self, now_us: int) -> dict[str, object]:
        present, last = self.present, self.last
        return {
            "on": self._rate > 0,
            "passes": self.passes,
            "findings": self.findings,
            "position": self._cursor if present is not None else 0,
            "done_percent": min(100, present.bytes * 100 // max(1, present.total))
            if present is not None
            else None,
            "last": None
            if last is None
            else {
                "bytes": last.bytes,
                "entries": last.entries,
                "findings": last.findings,
                "seconds": (last.ended_us - last.began_us) // 1_000_000,
                "ago_s": (now_us - last.ended_us) // 1_000_000,
            },
        }
