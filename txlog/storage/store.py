"""A log on disk: opening it, and the reaction to damage that a read or the scrubber meets.

Decides: what the report at a start says, which segment is checked again, what follows from that
check (S1, S2, S6).
Must not know: terms, leases, quorums, which node may put back what. Reads are in `log_reader`,
writing is in `log_writer`.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Final

from txlog.consensus.log import Recovered, Scan
from txlog.consensus.outputs import Suspicion
from txlog.entry import CHAIN_BYTES, decode_entry
from txlog.storage import jobs
from txlog.storage.errors import StorageFatal
from txlog.storage.files import META_NAME, Files
from txlog.storage.log_writer import LogWriter
from txlog.storage.meta import META_BYTES, LogMeta, choose
from txlog.storage.opening import Located, Opened, Progress, open_folder
from txlog.storage.rescan import Look, Met
from txlog.storage.scrub import Piece, SegmentCheck, Span
from txlog.storage.segment import (
    BLOCK_BYTES,
    FRAME_OVERHEAD,
    SegmentHeader,
)
from txlog.storage.spare import Spare

DEFAULT_SEGMENT_BYTES: Final = 64 << 20
DEFAULT_CACHE_BYTES: Final = 32 << 20
_LEARNER_EPOCH: Final = b"newcomer"  # as it is stored


class LogStore(LogWriter):
    def __init__(
        self, files: Files, path: Path, opened: Opened, spare: Spare, cache_bytes: int
    ) -> None:
        LogWriter.__init__(self, files, path, opened, spare, cache_bytes)
        self.recovered = self._report()

    @staticmethod
    def open(
        path: Path,
        log: str,
        group: bytes,
        node: str,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        files: Files | None = None,
        progress: Progress = lambda done, total: None,
        threaded: bool = True,
        learner: bool = False,
    ) -> LogStore:
        """Open the log in folder ``path``; make it if it is not there.
        ``learner``: make it as one that does not count yet (S8). ``recovered`` reports what is in
        it. Blocking: reads every segment. Raises `StorageError`.
        """
        files = files or Files()
        suspicion = (
            Suspicion(1, _LEARNER_EPOCH, "a learner that has not copied the log yet", learner=True)
            if learner
            else None
        )
        opened = open_folder(
            files, path, LogMeta(log, group, node, suspicion=suspicion), segment_bytes, progress
        )
        spare = Spare(files, path, segment_bytes, threaded=threaded)
        spare.start(opened.spare_complete)
        return LogStore(files, path, opened, spare, cache_bytes)

    def close(self) -> None:
        """Close without writing what is queued: nothing queued has been acknowledged."""
        self._spare.close()
        for segment in self._segments:
            segment.close()
        self._meta.close()
        self._files.close(self._lock_fd)

    # -------------------------------------------------------------------- the state of the log (S1)

    def _report(self) -> Recovered:
        meta = self._meta.meta
        scan = self._scan_now()
        return Recovered(
            promise=meta.promise,
            trim=meta.trim,
            trim_chain=meta.trim_chain,
            last=scan.last,
            last_chain=scan.last_chain,
            committed=max(self._committed, meta.trim[1]),
            proven=max(self._synced_evidence, self._committed, meta.trim[1]),
            suspicion=meta.suspicion,
            damage=scan.damage,
            largest_entry=self._spare.size - BLOCK_BYTES - FRAME_OVERHEAD,
            entry_overhead=FRAME_OVERHEAD,
        )

    # --------------------------------------------------------------------- damage met while running

    def found_damage(self, committed: int = 0) -> Scan | None:
        """Check here and now the damage that reads have met since the last call.
        None: no damage, else the state of the log with it.
        """
        fresh = False
        while (look := self.begin_look()) is not None:
            look.run()
            fresh = bool(self.end_look(look, committed).lost) or fresh
        return self._scan_now() if fresh else None

    def begin_look(self) -> Look | None:
        """A check of a segment in which a read has met bytes that failed a check.
        Run it, in any thread, then call `end_look`. None: there is no doubt now.
        """
        if not self.repairs_done:
            return None
        self._harvest()
        found, self._found = self._found, []
        while found:
            position = found.pop(0)
            index = bisect_right(self._firsts, position) - 1
            if index >= 0 and position <= self._flushed and self._gap_at(position) is None:
                last, stop = self._synced_end(index)
                self._found += [
                    other for other in found if not self._firsts[index] <= other <= last
                ]
                return Look(
                    self._files,
                    self._segments[index],
                    position,
                    last,
                    stop,
                    self._next_chain(index, last),
                    self._generation,
                )
        return None

    def _synced_end(self, index: int) -> tuple[int, int]:
        """(last position of the segment that is on disk, the end of its frame)."""
        segment = self._segments[index]
        end = self._firsts[index + 1] - 1 if index + 1 < len(self._firsts) else self._written
        last = min(end, self._flushed)
        return (
            last,
            segment.used
            if last == end or last + 1 not in self._positions
            else self._positions.offset(last + 1),
        )

    def _next_chain(self, index: int, last: int) -> bytes | None:
        following = self._segments[index + 1] if index + 1 < len(self._segments) else None
        return (
            following.previous_chain
            if following is not None and following.first == last + 1
            else None
        )

    def end_look(self, look: Look, committed: int) -> Met:
        """``committed``: known now; damage above it ends the log.
        Entries still in memory are put back from there; the remaining damage is in `scan`.
        """
        met = Met()
        if look.generation != self._generation:
            self._found.append(look.position)
            return met
        if look.scan is None:
            raise StorageFatal(f"{look.segment.path}: the file is gone")
        self._floor = max(self._floor, committed)
        for offset, header in look.scan.repairs:
            self._mend(jobs.PutBack(look.segment, offset, (header, b"", b"")))
            met.headers += 1
        fresh = [gap for gap in look.gaps(self._positions) if self._gap_at(gap.first) is None]
        with self._lock:
            self._gaps = sorted(
                [*self._gaps, *(Located(look.segment, gap) for gap in fresh)],
                key=lambda located: located.gap.first,
            )
            for gap in fresh:
                run = range(gap.first, gap.last + 1)
                met.lost += run
                for position in () if gap.exact else run:
                    self._positions.put(position, 0, 0, bytes(CHAIN_BYTES))
            for position in met.lost:
                self._restore(position, met)
        return met

    def _restore(self, position: int, met: Met) -> None:
        """Restore the entry from memory, if the same entry is still there by its chain."""
        encoded = self._cache.get(position)
        if encoded is not None and position in self._positions:
            entry = decode_entry(encoded)
            if entry.position == position and entry.chain == self._positions.chain(position):
                self._put_back_gap(entry)
                met.restored.append(position)

    # ----------------------------------------------------------------------- the scrubber (S6)

    def span_after(self, first: int) -> Span | None:
        """The next segment that begins after ``first`` and can be checked.
        It holds something that is on disk, and is not known damaged.
        """
        self._harvest()
        hurt = {located.segment.first for located in self._gaps}
        for index in range(bisect_right(self._firsts, first), len(self._segments)):
            segment = self._segments[index]
            if segment.first > self._flushed:
                break
            if segment.first in hurt:
                continue
            last, end = self._synced_end(index)
            chain = self._next_chain(index, last)
            size = segment.size if chain is not None else end
            header = SegmentHeader(
                segment.log, segment.first, segment.previous_term, segment.previous_chain
            )
            if chain is None:
                chain = self._end_at(last)[1]
            return Span(
                segment.first,
                str(segment.path),
                segment.seed,
                header,
                end,
                last,
                chain,
                size,
                self._generation,
            )
        return None

    def synced_bytes(self) -> int:
        """How much a pass of the scrubber has to read."""
        return sum(segment.size for segment in self._segments[:-1]) + self._segments[-1].used

    def read_piece(self, piece: Piece) -> None:
        """In any thread: read from the disk, and check."""
        data = jobs.read_disk(self._files, piece.check.span.where, piece.offset, piece.length)
        if data is None or len(data) < piece.length:
            piece.check.too_short()
        else:
            piece.check.feed(data)

    def still_so(self, check: SegmentCheck) -> bool:
        """Is the scrubber's knowledge of this segment still true?
        If so, a failed check there deserves a second check.
        """
        return check.span.generation == self._generation

    def on_scrubbed(self, check: SegmentCheck) -> None:
        """Something in this segment failed a check."""
        index = bisect_right(self._firsts, check.span.first) - 1
        segment = self._segments[index]
        if check.frames_bad:
            self._found.append(min(check.position, check.span.last))
        if check.block_bad:
            self._mend(jobs.Tidy(segment))
        if check.slack_bad:
            self._mend(jobs.Clear(segment, check.span.end, check.span.size))

    def meta_rots(self) -> bool:
        """In any thread: does one slot of meta differ from the other?
        It may also be in change at this moment: to write it once more does no harm.
        """
        data = jobs.read_disk(self._files, str(self.path / META_NAME), 0, META_BYTES)
        found = choose(data) if data is not None else None
        return found is None or bool(found[2])

    def write_meta_again(self) -> None:
        self._mend(jobs.MetaAgain())

    def segments_sealed(self) -> int:
        """How many old segments the next start checks with one checksum each."""
        return sum(segment.sealed for segment in self._segments)
