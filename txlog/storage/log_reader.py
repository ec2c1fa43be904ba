"""Reads of a log on disk: the newest entries from memory, the rest from segments.
It also knows where each entry is and what is lost (S1).

Decides: what is kept in memory, where a position is, where the log ends.
Must not know: what is written and when (`log_writer`), terms, leases, quorums.

Memory: the newest entries' bytes (``cache_bytes``; never less than what is not written yet), 32
bytes for each of the newest 64 Ki entries, 4 bytes for every 64th entry of the rest.

Invariant: reads check the entry's crc and never return bytes that fail the check.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from pathlib import Path
from typing import Final

from txlog.consensus.log import Damage, Scan
from txlog.entry import CHAIN_BYTES, NO_ENTRY, Entry, EntryId, decode_entry
from txlog.storage.errors import StorageFatal
from txlog.storage.files import Files
from txlog.storage.opening import SEGMENTS_NAME, Located, Opened
from txlog.storage.recovery import DamagedRange
from txlog.storage.segment import (
    FRAME_HEADER_BYTES,
    FRAME_OVERHEAD,
    log_id,
    read_frame_entry,
    read_frame_header,
)
from txlog.storage.segments import SegmentFile

_OBJECT_BYTES: Final = 150  # memory that a cached entry takes besides its bytes
_READ_AHEAD: Final = 64 << 10
_OLD_OPEN: Final = 8


class LogReader:
    def __init__(self, files: Files, path: Path, opened: Opened, cache_bytes: int) -> None:
        self.path = path
        self._folder = path / SEGMENTS_NAME
        self._files = files
        self._lock_fd = opened.lock
        self._meta = opened.meta
        self._segments = opened.segments
        self._firsts = [segment.first for segment in opened.segments]
        self._positions = opened.positions
        self._gaps = opened.gaps
        self._tail_known = opened.tail_known
        self._log = log_id(opened.meta.meta.group, opened.meta.meta.log)
        # greatest `synced` that a frame or slot on disk claims
        self._synced_evidence = opened.synced
        self._committed = opened.committed  # greatest `committed` on disk
        # the last position that has a place, a good entry or not
        self._written = self._positions.last
        self._flushed = self._written  # the last position that a sync has covered
        # counts truncations: a sync begun before one says nothing about later content
        self._generation = 0
        self._finished = (0, self._written)  # (generation, position) of the newest sync that ended
        self._cache: dict[int, bytes] = {}
        self._cache_low = self._written + 1
        self._cache_size = 0
        self._cache_bytes = cache_bytes
        # guards places and gaps, between the loop and reading threads
        self._lock = threading.RLock()
        # guards open files, between reading threads and the removal of a segment
        self._files_lock = threading.RLock()
        self._placed: dict[int, bytes] = {}  # put back, and not on disk yet
        # old segments that readers have opened, the least recently used first
        self._old_open: list[SegmentFile] = []
        self._found: list[int] = []  # where reads have met bytes that fail a check
        self._floor = 0  # the committed position when such damage was last judged

    # -------------------------------------------------------------------- the state of the log (S1)

    def scan(self) -> Scan:
        """The state of the log with the damage known so far."""
        return self._scan_now()

    def _scan_now(self) -> Scan:
        """Where the log ends: before the first damage above the known committed position.
        Damage at or below that position is a hole if something good follows.
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

    def where(self, position: int) -> str:
        """File of a position, for people."""
        return str(self._segments[max(0, bisect_right(self._firsts, position) - 1)].path)

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
        """Encoded entries from ``start`` up to ``upto``, as long as they are in memory.
        At least one if the first is in memory, else within ``max_bytes``.
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

    # -------------------------------------------------------------------------------------- reading

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
        """Encoded entries from ``start`` on, from memory or disk, in any thread.
        At least one if the first is there, else within ``max_bytes``. Empty: a hole, past the end,
        or bytes that fail a check (then `found_damage` knows more).
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
        """Where a position is on disk: (segment, offset, last position readable without a hole)."""
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
        """(segment, a position at or below, its offset, last position readable without a hole).
        The last one is readable from ``position`` on.
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
        """Read from a segment; old segments are opened for it, a few at a time.
        A long log has more of them than a process may have open files.
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
        if generation == self._generation:  # otherwise it was cut or put back in the meantime
            self._found.append(position)


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
