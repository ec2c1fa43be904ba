"""A log on disk: what the driver tells to be written, and what everybody reads.

Decides: where each entry goes, what is kept in memory, what is left of a damaged log (S1, S2).
Must not know: terms, leases, quorums, who may put back what.

What the driver asks (`write_entries`, `truncate`, `write_meta`, `put_back`, `write_evidence`) takes
effect in memory at once and is queued; the function that `begin_sync` returns carries the queue
out, in order, and ends with everything on disk. It runs in one thread at a time and does all
writing of a running log (but for the next segment's zeros). Memory: the newest entries' bytes
(``cache_bytes``; never less than what is not written yet), 32 bytes for each of the newest 64 Ki
entries, 4 bytes for every 64th entry of the rest.

Invariants: the queue is carried out in the order it was asked; nothing goes into a segment before
all before it is on disk and `meta` names the segment; a frame says `synced` only of what a sync has
covered; reads check the entry's crc and never give bytes that do not check.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from txlog.consensus.log import Damage, Recovered, Scan
from txlog.consensus.outputs import Promise, Suspicion
from txlog.entry import CHAIN_BYTES, NO_ENTRY, Entry, EntryId, decode_entry
from txlog.storage import jobs
from txlog.storage.errors import StorageFatal
from txlog.storage.files import META_NAME, Files
from txlog.storage.meta import META_BYTES, LogMeta, choose
from txlog.storage.opening import SEGMENTS_NAME, Located, Opened, Progress, open_folder
from txlog.storage.recovery import DamagedRange
from txlog.storage.rescan import Look, Met
from txlog.storage.scrub import Piece, SegmentCheck, Span
from txlog.storage.segment import (
    BLOCK_BYTES,
    FLAG_PUT_BACK,
    FRAME_HEADER_BYTES,
    FRAME_OVERHEAD,
    SegmentHeader,
    encode_frame,
    frame_bytes,
    log_id,
    read_frame_entry,
    read_frame_header,
    segment_name,
)
from txlog.storage.segments import SegmentFile
from txlog.storage.spare import Spare

DEFAULT_SEGMENT_BYTES: Final = 64 << 20
DEFAULT_CACHE_BYTES: Final = 32 << 20
# of room in the newest segment: with more, nobody need be told that the disk is full
_MARGIN_BYTES: Final = 16 << 20
_OBJECT_BYTES: Final = 150  # of memory for a cached entry besides its bytes
_READ_AHEAD: Final = 64 << 10
_OLD_OPEN: Final = 8
_LEARNER_EPOCH: Final = b"newcomer"  # as it is stored


class LogStore:
    def __init__(
        self, files: Files, path: Path, opened: Opened, spare: Spare, cache_bytes: int
    ) -> None:
        self.path = path
        self._folder = path / SEGMENTS_NAME
        self._files = files
        self._lock_fd = opened.lock
        self._meta = opened.meta
        self._segments = opened.segments
        self._firsts = [segment.first for segment in opened.segments]
        self._positions = opened.positions
        self._gaps = opened.gaps
        self._staged: dict[int, Entry] = {}  # put-backs whose place depends on a neighbour's size
        self._tail_known = opened.tail_known
        self._spare = spare
        self._log = log_id(opened.meta.meta.group, opened.meta.meta.log)
        # greatest `synced` that a frame or slot on disk claims
        self._synced_evidence = opened.synced
        self._committed = opened.committed  # greatest `committed` on disk
        # the last position that has a place, a good entry or not
        self._written = self._positions.last
        self._flushed = self._written  # the last position that a sync has covered
        # of truncations: a sync begun before one says nothing of what came after
        self._generation = 0
        self._finished = (0, self._written)  # (generation, position) of the newest sync that ended
        self._queue: list[jobs.Job] = []
        self._cache: dict[int, bytes] = {}
        self._cache_low = self._written + 1
        self._cache_size = 0
        self._cache_bytes = cache_bytes
        self._lock = threading.RLock()  # places and gaps, between the loop and reading threads
        # open files, between reading threads and the removal of a segment
        self._files_lock = threading.RLock()
        self._placed: dict[int, bytes] = {}  # put back, and not on disk yet
        # old segments that readers have opened, the longest unused first
        self._old_open: list[SegmentFile] = []
        self._found: list[int] = []  # where reads have met bytes that do not check
        self._floor = 0  # known committed when such damage was last judged
        self._mends_asked = 0
        self._mends_done = 0
        self._rolls_asked = 0
        self._rolls_done = 0
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
        """The log in folder ``path``, made if it is not there (``learner``: as one that counts for
        nothing yet, S8); ``recovered`` says what is in it. Blocking: reads every segment. Raises
        `StorageError`.
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
        """What is queued is not written: nobody has been told of it."""
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

    def scan(self) -> Scan:
        """The state of the log with the damage known so far."""
        return self._scan_now()

    def _scan_now(self) -> Scan:
        """Where the log ends: in front of the first damage above what is known committed; damage
        below it is a hole if something good follows.
        """
        last, committed = self._written, max(self._committed, self._floor)
        for located in self._gaps:
            if located.gap.last > committed:
                last = located.gap.first - 1
                break
        for located in reversed(self._gaps):
            if located.gap.last == last and not located.gap.exact:
                last = located.gap.first - 1
        damage = [lost for located in self._gaps for lost in _damage(located)]
        newest = self._segments[-1]
        if (
            newest.dirty > newest.used
            or max(self._synced_evidence, self._committed) > self._written
        ):
            damage.append(
                Damage(self._written + 1, self._tail_known, None, f"{newest.path} at {newest.used}")
            )
        last_id, chain = self._end_at(last)
        return Scan(last_id, chain, damage)

    def _end_at(self, position: int) -> tuple[EntryId, bytes]:
        if position in self._positions:
            return (self._positions.term(position), position), self._positions.chain(position)
        segment = self._segments[bisect_right(self._firsts, position + 1) - 1]
        if position == segment.first - 1:
            return (
                segment.previous_term,
                position,
            ) if position else NO_ENTRY, segment.previous_chain
        entry = self.entry_at(position)
        if entry is None:
            raise StorageFatal(f"{self.where(position)}: position {position} cannot be read")
        return entry.id, entry.chain

    # ----------------------------------------------------------------------- writing, in the loop

    def write_entries(self, entries: list[Entry], committed: int) -> None:
        """Right behind the last position that has a place."""
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
        """The next segment, from the next position on.
        Its file comes to be when the queue is carried out.
        """
        old = self._segments[-1]
        if size > self._spare.size - BLOCK_BYTES:  # the acceptor has been told `largest_entry`
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
        """Everything from ``position`` on, and whatever else is behind the entry before it."""
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
            if segment in self._old_open:  # from now on it is written to
                self._old_open.remove(segment)
        for waiting in (self._staged, self._placed):
            for gone in [at for at in waiting if at >= keep]:
                waiting.pop(gone, None)
        self._forget(keep)
        self._queue.append(
            jobs.Cut(segment, removed, keep, offset, stop, self._synced_evidence, self._committed)
        )

    def _cut_place(self, segment: SegmentFile, position: int) -> tuple[int, int]:
        """(offset, first position cut). Lost positions right in front of ``position`` in one gap
        have no place of their own and go with it.
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
        """S2: over the damage at its position. The answer says what is damaged then; an entry that
        cannot stand there changes nothing.
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
        if size > segment.room:  # then what does not check here is not this entry
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
        """Something was asked of the disk and no sync has begun that carries it out."""
        return bool(self._queue)

    @property
    def repairs_done(self) -> bool:
        """No repair is on its way to disk: what is read there now and does not check is news."""
        return self._mends_done == self._mends_asked

    @property
    def evidence_due(self) -> bool:
        """Something was synced and no frame or slot on disk says so: if no append follows within
        100 ms, `write_evidence`, and sync.
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
        """A5: entries of so many bytes in all, `entry_overhead` for each, have their blocks for
        certain, however they fall into segments.
        """
        room = self._segments[-1].room
        return max(room, self._spare.size - BLOCK_BYTES) if self._may_roll else room

    @property
    def _may_roll(self) -> bool:
        """One more segment's blocks are ours,
        and no `Roll` in the queue or on its way has them already.
        """
        return self._spare.has_segment and self._rolls_done == self._rolls_asked

    def begin_sync(self) -> Callable[[], None]:
        """What carries out everything asked so far; it raises `StorageFatal`. The next one may be
        begun when it has returned.
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
        """All of it, here and now."""
        self.begin_sync()()
        self._harvest()

    def _harvest(self) -> None:
        generation, position = self._finished
        if generation == self._generation and position > self._flushed:
            self._flushed = position

    # ---------------------------------------------------------------- the newest entries, in memory

    def _remember(self, position: int, encoded: bytes) -> None:
        self._cache[position] = encoded
        self._cache_size += len(encoded) + _OBJECT_BYTES

    def _shrink_cache(self) -> None:
        while self._cache_size > self._cache_bytes and self._cache_low <= self._flushed:
            encoded = self._cache.pop(self._cache_low, None)
            if encoded is not None:
                self._cache_size -= len(encoded) + _OBJECT_BYTES
            self._cache_low += 1

    def _forget(self, position: int) -> None:
        for gone in [at for at in self._cache if at >= position]:
            self._cache_size -= len(self._cache.pop(gone)) + _OBJECT_BYTES
        self._cache_low = min(self._cache_low, position)

    def recent(self, start: int, upto: int, max_bytes: int) -> list[bytes]:
        """Encoded entries from ``start`` up to ``upto``, as long as they are in memory: at least
        one if the first is, else within ``max_bytes``.
        """
        found: list[bytes] = []
        get = self._cache.get
        for position in range(start, upto + 1):
            encoded = get(position)
            if encoded is None or (found and len(encoded) > max_bytes):
                break
            found.append(encoded)
            max_bytes -= len(encoded)
        return found

    # ----------------------------------------------------------------------- reading

    def entry_at(self, position: int) -> Entry | None:
        found = self.read(position, position, 1)
        return decode_entry(found[0]) if found else None

    def id_at(self, position: int) -> EntryId | None:
        if position in self._positions:
            term = self._positions.term(position)
            return (term, position) if term else None
        if (gap := self._gap_at(position)) is not None:
            return gap.known if position == gap.first else None
        entry = self.entry_at(position)
        return entry.id if entry is not None else None

    def chain_at(self, position: int) -> bytes | None:
        if position in self._positions:
            chain = self._positions.chain(position)
            return chain if chain != bytes(CHAIN_BYTES) else None
        if (gap := self._gap_at(position)) is not None:
            return gap.next_chain if position == gap.last else None
        entry = self.entry_at(position)
        return entry.chain if entry is not None else None

    def _gap_at(self, position: int) -> DamagedRange | None:
        return next(
            (
                located.gap
                for located in self._gaps
                if located.gap.first <= position <= located.gap.last
            ),
            None,
        )

    def read(self, start: int, upto: int, max_bytes: int) -> list[bytes]:
        """Encoded entries from ``start`` on, from memory or disk, in any thread: at least one if
        the first is there, else within ``max_bytes``. Empty: a hole, past the end, or bytes that do
        not check (then `found_damage` knows more).
        """
        found = self.recent(start, upto, max_bytes)
        if not found and (placed := self._placed.get(start)) is not None:
            return [placed]
        return found or self._read_files(start, upto, max_bytes)

    def _read_files(self, start: int, upto: int, max_bytes: int) -> list[bytes]:
        with self._files_lock:
            generation = self._generation
            place = self._walk(start)
            if place is None:
                return []
            segment, at, limit = place
            found: list[bytes] = []
            data, base, position = b"", at, start
            limit = min(limit, upto)
            while position <= limit:
                header = read_frame_header(data, at - base, segment.seed)
                size = FRAME_OVERHEAD + header[0] if header is not None else FRAME_HEADER_BYTES
                if at - base + size > len(data):
                    if found:
                        break
                    data, base = (
                        self._pread(segment, at, max(size, min(max_bytes + _READ_AHEAD, 4 << 20))),
                        at,
                    )
                    if len(data) < size:
                        break
                    continue
                encoded = (
                    read_frame_entry(data, at - base, header[0])
                    if header is not None and header[1] == position
                    else None
                )
                if encoded is None:
                    self._met_damage(position, generation)
                    break
                if found and len(encoded) > max_bytes:
                    break
                found.append(encoded)
                max_bytes -= len(encoded)
                at += size
                position += 1
            return found

    def _walk(self, position: int) -> tuple[SegmentFile, int, int] | None:
        """(segment, offset, last position readable from there without a hole)
        of a position on disk.
        """
        generation = self._generation
        with self._lock:
            place = self._nearest(position)
        if place is None:
            return None
        segment, at_position, offset, limit = place
        while at_position < position:
            header = read_frame_header(
                self._pread(segment, offset, FRAME_HEADER_BYTES), 0, segment.seed
            )
            if header is None or header[1] != at_position:
                self._met_damage(at_position, generation)
                return None
            offset += FRAME_OVERHEAD + header[0]
            at_position += 1
        return segment, offset, limit

    def _nearest(self, position: int) -> tuple[SegmentFile, int, int, int] | None:
        """(segment, a position at or below, its offset, last position readable from ``position``
        without a hole).
        """
        index = bisect_right(self._firsts, position) - 1
        if index < 0 or not self._meta.meta.trim[1] < position <= self._flushed:
            return None
        segment = self._segments[index]
        limit = min(
            self._firsts[index + 1] - 1 if index + 1 < len(self._firsts) else self._written,
            self._flushed,
        )
        gaps = [located.gap for located in self._gaps if located.segment is segment]
        for gap in gaps:
            if gap.first <= position <= gap.last:
                return None
            if gap.first > position:
                limit = min(limit, gap.first - 1)
        if position in self._positions:
            return segment, position, self._positions.offset(position), limit
        at_position, offset = segment.nearest(position)
        for gap in gaps:
            if at_position <= gap.last < position and gap.end:
                at_position, offset = gap.last + 1, gap.end
        return segment, at_position, offset, limit

    def _pread(self, segment: SegmentFile, offset: int, length: int) -> bytes:
        """Old segments are opened for it, a few at a time: a long log has more of them than a
        process may have files.
        """
        with self._files_lock:
            if segment.fd < 0:
                segment.open()
                self._old_open.append(segment)
                while len(self._old_open) > _OLD_OPEN:
                    oldest = self._old_open.pop(0)
                    if oldest is not self._segments[-1]:
                        oldest.close()
            return self._files.read(segment.fd, offset, length)

    def _met_damage(self, position: int, generation: int) -> None:
        if generation == self._generation:  # else it was cut away or put back meanwhile
            self._found.append(position)

    # --------------------------------------------------------------------- damage met while running

    def found_damage(self, committed: int = 0) -> Scan | None:
        """What reads have met since the last call, looked at here and now: None if nothing, else
        the state of the log with it.
        """
        fresh = False
        while (look := self.begin_look()) is not None:
            look.run()
            fresh = bool(self.end_look(look, committed).lost) or fresh
        return self._scan_now() if fresh else None

    def begin_look(self) -> Look | None:
        """A segment in which a read has met bytes that do not check: run the look, in any thread,
        then `end_look`. None: there is no doubt now.
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
        """Of a segment: (last position of it that is on disk, the end of its frame)."""
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
        """``committed``: known now; damage above it ends the log. What memory still has is put back
        from there, what is left is in `scan`.
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
        """From memory, if the very entry is still there: the chain says so."""
        encoded = self._cache.get(position)
        if encoded is not None and position in self._positions:
            entry = decode_entry(encoded)
            if entry.position == position and entry.chain == self._positions.chain(position):
                self._put_back_gap(entry)
                met.restored.append(position)

    # ----------------------------------------------------------------------- the scrubber (S6)

    def span_after(self, first: int) -> Span | None:
        """The next segment that begins behind ``first``, holds something that is on disk, and is
        not known damaged.
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
        """What a pass of the scrubber has to read."""
        return sum(segment.size for segment in self._segments[:-1]) + self._segments[-1].used

    def read_piece(self, piece: Piece) -> None:
        """In any thread: read from the disk, and check."""
        data = jobs.read_disk(self._files, piece.check.span.where, piece.offset, piece.length)
        if data is None or len(data) < piece.length:
            piece.check.too_short()
        else:
            piece.check.feed(data)

    def still_so(self, check: SegmentCheck) -> bool:
        """What the scrubber was told of this segment has not changed meanwhile: what does not check
        there is worth a look.
        """
        return check.span.generation == self._generation

    def on_scrubbed(self, check: SegmentCheck) -> None:
        """Something in this segment does not check."""
        index = bisect_right(self._firsts, check.span.first) - 1
        segment = self._segments[index]
        if check.frames_bad:
            self._found.append(min(check.position, check.span.last))
        if check.block_bad:
            self._mend(jobs.Tidy(segment))
        if check.slack_bad:
            self._mend(jobs.Clear(segment, check.span.end, check.span.size))

    def meta_rots(self) -> bool:
        """In any thread: a slot of meta does not hold what the other holds. It may also be under
        change just now: writing it once more does no harm.
        """
        data = jobs.read_disk(self._files, str(self.path / META_NAME), 0, META_BYTES)
        found = choose(data) if data is not None else None
        return found is None or bool(found[2])

    def write_meta_again(self) -> None:
        self._mend(jobs.MetaAgain())

    def segments_sealed(self) -> int:
        """How many old segments are checked by one checksum at the next start."""
        return sum(segment.sealed for segment in self._segments)

    def where(self, position: int) -> str:
        """File of a position, for people."""
        return str(self._segments[max(0, bisect_right(self._firsts, position) - 1)].path)


def _damage(located: Located) -> list[Damage]:
    gap = located.gap
    where = f"{located.segment.path} at {gap.offset}"
    return [
        Damage(
            position,
            gap.known if position == gap.first else None,
            gap.next_chain if position == gap.last else None,
            where,
        )
        for position in range(gap.first, gap.last + 1)
    ]
