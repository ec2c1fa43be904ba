"""A second check of a whole segment of a running log, after a read met bytes that failed a check.

Decides: which positions of the synced part are lost, and what is known about them.
Must not know: where the doubt came from, what is done about the loss. `Look.run` reads and scans in
any thread. It works one piece at a time and on a file descriptor of its own, so that nothing waits
for it. The rest runs in the loop.

What memory still knows about a recent entry (place, id, chain) is more reliable than its damaged
frame. Such a position is a gap of its own, `exact`.
Invariant: only bytes that a sync had covered when the check began are judged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from txlog.storage import jobs
from txlog.storage.files import Files
from txlog.storage.positions import Positions
from txlog.storage.recovery import DamagedRange, SegmentScan, scan_segment
from txlog.storage.segments import SegmentFile

_CHUNK: Final = 256 << 10


@dataclass(slots=True)
class Look:
    files: Files
    segment: SegmentFile
    position: int  # the doubt
    last: int  # the last position of the segment that is on disk, and where its frame ends
    stop: int
    next_chain: bytes | None  # of ``last``, if another segment follows
    # of the store: a truncation or put-back in the meantime makes this result useless
    generation: int
    scan: SegmentScan | None = None

    def run(self) -> None:
        pieces: list[bytes] = []
        path = str(self.segment.path)
        for at in range(0, self.stop, _CHUNK):
            piece = jobs.read_disk(self.files, path, at, min(_CHUNK, self.stop - at))
            if piece is None:
                return
            pieces.append(piece)
        segment = self.segment
        self.scan = scan_segment(
            b"".join(pieces), segment.first, segment.previous_chain, segment.seed
        )

    def gaps(self, positions: Positions) -> list[DamagedRange]:
        scan = self.scan
        assert scan is not None
        found = [gap for gap in scan.gaps if gap.first <= self.last]
        if scan.last < self.last:
            found.append(
                DamagedRange(
                    scan.last + 1, self.last, scan.end, self.stop, scan.tail_known, self.next_chain
                )
            )
        return [exact for gap in found for exact in self._exact(gap, positions)]

    def _exact(self, gap: DamagedRange, positions: Positions) -> list[DamagedRange]:
        run = range(gap.first, gap.last + 1)
        if not all(position in positions and positions.offset(position) for position in run):
            return [gap]
        ends = [positions.offset(position) for position in run[1:]] + [gap.end]
        return [
            DamagedRange(
                position,
                position,
                positions.offset(position),
                end,
                (positions.term(position), position),
                positions.chain(position),
                True,
            )
            for position, end in zip(run, ends, strict=True)
        ]


@dataclass(slots=True)
class Met:
    """What a check has found.
    It holds the positions whose entries are lost on disk, those of them that memory still had, and
    the number of frame headers made again.
    """

    lost: list[int] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    headers: int = 0
