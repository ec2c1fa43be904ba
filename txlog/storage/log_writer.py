"""The writing side of a log on disk.
It takes entries, meta, cuts and put-backs, and makes the sync that carries them out.

Decides: where each entry goes, the order of the disk work, how much room is certain (A5).
Must not know: terms, leases, quorums, which node may put back what.

A request of the driver (`write_entries`, `truncate`, `write_meta`, `put_back`, `write_evidence`)
takes effect in memory at once and is queued. `begin_sync` returns a function that carries out the
queue, in order, and ends with everything on disk. That function runs in one thread at a time. It
does all writing of a running log, except for the next segment's zeros.

Invariants: the queue is carried out in the order of the requests; nothing goes into a segment
before everything before it is on disk and `meta` names the segment; a frame says `synced` only of
what a sync has covered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from txlog.consensus.log import Scan
from txlog.consensus.outputs import Promise, Suspicion
from txlog.entry import CHAIN_BYTES, Entry
from txlog.storage import jobs
from txlog.storage.errors import StorageFatal
from txlog.storage.files import Files
from txlog.storage.log_reader import LogReader
from txlog.storage.opening import Opened
from txlog.storage.recovery import DamagedRange
from txlog.storage.segment import (
    BLOCK_BYTES,
    FLAG_PUT_BACK,
    encode_frame,
    frame_bytes,
    segment_name,
)
from txlog.storage.segments import SegmentFile
from txlog.storage.spare import Spare

# room in the newest segment: with more than this, the disk does not yet count as full
_MARGIN_BYTES: Final = 16 << 20


class LogWriter(LogReader):
    def __init__(
        self, files: Files, path: Path, opened: Opened, spare: Spare, cache_bytes: int
    ) -> None:
        LogReader.__init__(self, files, path, opened, cache_bytes)
        # put-backs whose place depends on the size of the entry next to them
        self._staged: dict[int, Entry] = {}
        self._queue: list[jobs.Job] = []
        self._mends_asked = 0
        self._mends_done = 0
        self._rolls_asked = 0
        self._rolls_done = 0
        self._spare = spare

    # ------------------------------------------------------------------------- writing, in the loop

    def write_entries(self, entries: list[Entry], committed: int) -> None:
        """Write these directly after the last position that has a place."""
        self._harvest()
        synced = self._flushed
        with self._lock:
            for entry in entries:
                assert entry.position == self._written + 1, "a hole in what is to be written"
                size = frame_bytes(len(entry.encoded))
                segment = self._segments[-1]
                if size > segment.room:
                    segment = self._roll(size)
                offset = segment.add(entry.position, size)
                self._positions.add(entry.term, offset, entry.chain)
                self._written = entry.position
                self._queue.append(
                    jobs.Write(
                        segment, offset, encode_frame(entry, synced, committed, segment.seed)
                    )
                )
                self._remember(entry.position, entry.encoded)
        self._synced_evidence = max(self._synced_evidence, synced)
        self._committed = max(self._committed, committed)
        if self._cache_size > self._cache_bytes:
            self._shrink_cache()

    def _roll(self, size: int) -> SegmentFile:
        """Plan the next segment, from the next position on.
        Its file is made when the queue is carried out.
        """
        old = self._segments[-1]
        if size > self._spare.size - BLOCK_BYTES:  # the acceptor knows `largest_entry`
            raise ValueError(
                f"an entry of {size} bytes does not fit into a segment of {self._spare.size}"
            )
        (term, _), chain = self._end_at(self._written)
        path = self._folder / segment_name(self._written + 1)
        fresh = SegmentFile(
            self._files, path, self._log, self._written + 1, self._spare.size, term, chain
        )
        whole = not any(located.segment is old for located in self._gaps)
        self._queue.append(
            jobs.Roll(
                old,
                fresh,
                self._written,
                term,
                chain,
                self._flushed,
                self._committed,
                whole,
                old.used,
            )
        )
        self._rolls_asked += 1
        self._segments.append(fresh)
        self._firsts.append(fresh.first)
        return fresh

    def write_meta(self, promise: Promise, suspicion: Suspicion | None) -> None:
        self._queue.append(
            jobs.Meta(replace(promise), replace(suspicion) if suspicion is not None else None)
        )

    def truncate(self, position: int) -> None:
        """Remove everything from ``position`` on, and all other bytes after the entry before it."""
        self._harvest()
        self._generation += 1
        with self._lock:
            index = max(0, bisect_right(self._firsts, position) - 1)
            segment = self._segments[index]
            offset, keep = self._cut_place(segment, position)
            removed = self._segments[index + 1 :]
            del self._segments[index + 1 :], self._firsts[index + 1 :]
            self._gaps = [located for located in self._gaps if located.gap.first < keep]
            stop = max(segment.dirty, segment.used)
            segment.forget_from(keep, offset)
            segment.dirty = segment.used
            self._positions.cut(keep)
            self._written = keep - 1
            self._flushed = min(self._flushed, self._written)
            self._synced_evidence = min(self._synced_evidence, position - 1)
            self._committed = min(self._committed, position - 1)
            self._tail_known = None
        with self._files_lock:
            if segment in self._old_open:  # from now on the sync thread writes to it
                self._old_open.remove(segment)
        for waiting in (self._staged, self._placed):
            for gone in [at for at in waiting if at >= keep]:
                waiting.pop(gone, None)
        self._forget(keep)
        self._queue.append(
            jobs.Cut(segment, removed, keep, offset, stop, self._synced_evidence, self._committed)
        )

    def _cut_place(self, segment: SegmentFile, position: int) -> tuple[int, int]:
        """(offset, first position cut).
        Lost positions directly before ``position`` in one gap have no place of their own and are
        cut with it.
        """
        for located in self._gaps:
            if located.gap.first <= position <= located.gap.last:
                return located.gap.offset, located.gap.first
        if position > self._written:
            return segment.used, position
        if position in self._positions:
            return self._positions.offset(position), position
        place = self._walk(position)
        if place is None:
            raise StorageFatal(
                f"{self.where(position)}: position {position} cannot be found to cut there"
            )
        return place[1], position

    def put_back(self, entry: Entry) -> Scan:
        """S2: write the entry over the damage at its position.
        Returns what is damaged then. An entry that does not fit there changes nothing.
        """
        with self._lock:
            if entry.position == self._written + 1:
                self._put_back_tail(entry)
            else:
                self._put_back_gap(entry)
        return self._scan_now()

    def _put_back_tail(self, entry: Entry) -> None:
        segment, size = self._segments[-1], frame_bytes(len(entry.encoded))
        chain = self._end_at(self._written)[1]
        if chain != entry.previous_chain or size > max(
            segment.room, self._spare.size - BLOCK_BYTES
        ):
            return
        if size > segment.room and not self._may_roll:
            return
        if size > segment.room:  # then the bytes that fail a check here are not this entry
            self._mend(jobs.Clear(segment, segment.used, segment.dirty))
            segment.dirty = segment.used
            segment = self._roll(size)
        self._tail_known = None
        offset = segment.used
        dirty = segment.dirty
        segment.add(entry.position, size)
        segment.dirty = max(dirty, segment.used)
        self._positions.add(entry.term, offset, entry.chain)
        self._written = entry.position
        self._place(segment, offset, entry)

    def _put_back_gap(self, entry: Entry) -> None:
        found = next(
            (
                located
                for located in self._gaps
                if located.gap.first <= entry.position <= located.gap.last
            ),
            None,
        )
        if found is None:
            return
        self._staged[entry.position] = entry
        gap, segment = found.gap, found.segment
        while (ready := self._staged.pop(gap.first, None)) is not None:
            size = frame_bytes(len(ready.encoded))
            end = gap.offset + size
            exact = end == gap.end if gap.first == gap.last else end < gap.end
            if (gap.end and not exact) or end > segment.size or not self._continues(ready, gap):
                return
            self._positions.put(gap.first, ready.term, gap.offset, ready.chain)
            self._place(segment, gap.offset, ready)
            gap.offset = end
            gap.first += 1
            gap.known = None
            if gap.first > gap.last:
                self._gaps.remove(found)
                if not gap.end:
                    segment.used = end
                    self._mend(jobs.Clear(segment, end, segment.dirty))
                    segment.dirty = end
                return

    def _continues(self, entry: Entry, gap: DamagedRange) -> bool:
        before = (
            self._positions.chain(entry.position - 1)
            if entry.position - 1 in self._positions
            else None
        )
        if before is not None and before != bytes(CHAIN_BYTES) and before != entry.previous_chain:
            return False
        return gap.next_chain is None or entry.position != gap.last or gap.next_chain == entry.chain

    def _place(self, segment: SegmentFile, offset: int, entry: Entry) -> None:
        self._generation += 1
        synced = min(self._synced_evidence, entry.position - 1)
        self._placed[entry.position] = entry.encoded
        frame = encode_frame(
            entry, synced, min(self._committed, entry.position), segment.seed, FLAG_PUT_BACK
        )
        self._mend(jobs.PutBack(segment, offset, frame))

    def _mend(self, job: jobs.PutBack | jobs.Clear | jobs.Tidy | jobs.MetaAgain) -> None:
        self._queue.append(job)
        self._mends_asked += 1

    @property
    def queued(self) -> bool:
        """Was something requested of the disk that no begun sync carries out?"""
        return bool(self._queue)

    @property
    def repairs_done(self) -> bool:
        """No repair is on its way to disk: a failed check of a read now means new damage."""
        return self._mends_done == self._mends_asked

    @property
    def evidence_due(self) -> bool:
        """Something was synced and no frame or slot on disk says so.
        If no append follows within 100 ms, call `write_evidence`, and sync.
        """
        self._harvest()
        return self._flushed > self._synced_evidence

    def write_evidence(self, committed: int) -> None:
        self._harvest()
        self._synced_evidence = self._flushed
        self._committed = max(self._committed, min(committed, self._written))
        self._queue.append(jobs.Claim(self._segments[-1], self._flushed, self._committed))

    @property
    def has_room(self) -> bool:
        """A5: False while the disk is full and the newest segment nears its end.
        What may be taken is `room_bytes`.
        """
        self._spare.check()
        self._spare.retry()
        newest = self._segments[-1]
        return not self._spare.full or newest.room > min(_MARGIN_BYTES, newest.size * 3 // 4)

    @property
    def room_bytes(self) -> int:
        """A5: the size of the entries whose blocks are certain, however they fall into segments.
        Each entry counts with `entry_overhead`.
        """
        room = self._segments[-1].room
        return max(room, self._spare.size - BLOCK_BYTES) if self._may_roll else room

    @property
    def _may_roll(self) -> bool:
        """One more segment's blocks are reserved, and no queued or running `Roll` takes them."""
        return self._spare.has_segment and self._rolls_done == self._rolls_asked

    def begin_sync(self) -> Callable[[], None]:
        """The function that carries out everything requested so far; it raises `StorageFatal`.
        The next one may begin when it has returned.
        """
        queue, self._queue = self._queue, []
        generation, written = self._generation, self._written
        placed, mends, rolls = list(self._placed), self._mends_asked, self._rolls_asked

        def sync() -> None:
            jobs.carry_out(
                queue, self._meta, self._files, self._spare, self._folder, self._files_lock
            )
            for position in placed:
                self._placed.pop(position, None)
            self._mends_done, self._rolls_done = mends, rolls
            self._finished = (generation, written)

        return sync

    def sync(self) -> None:
        """Carry out everything here and now."""
        self.begin_sync()()
        self._harvest()
