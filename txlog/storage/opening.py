"""From a log's folder to its content: the start-up part of the store.

Decides: the order in which a folder is made, checked, repaired; when it is a lost disk (S7).
Must not know: promises, what is done about damage.

Every start checks every segment completely. A sealed one takes one checksum, at the speed of
reading. Any other is checked frame by frame: the newest, one that was put back into, one whose seal
does not agree.

Repairs made here need no other node:
- the other slot of meta;
- a segment's header block: its neighbour and its frames say what belongs there;
- a frame header whose entry proves itself.
A truncation that was in progress is finished first.

Invariants: nothing that may have been acknowledged is removed, except what a truncation on record
removes; the same folder opened twice gives the same report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crc32c import crc32c

from txlog.entry import CHAIN_BYTES, GENESIS_CHAIN
from txlog.storage.errors import StorageError, StorageInUse, StorageLost
from txlog.storage.files import META_NAME, Files, MetaFile
from txlog.storage.meta import LogMeta
from txlog.storage.positions import Positions
from txlog.storage.recovery import DamagedRange, SegmentScan, scan_segment
from txlog.storage.segment import (
    BLOCK_BYTES,
    FRAME_HEADER_BYTES,
    SegmentHeader,
    clean_block,
    decode_header,
    decode_seal,
    log_id,
    newest_evidence,
    parse_segment_name,
    segment_name,
)
from txlog.storage.segments import SegmentFile
from txlog.storage.spare import NEXT_NAME, NEXT_NEW_NAME, make_zeroed

LOCK_NAME: Final = "lock"
SEGMENTS_NAME: Final = "segments"
MAKING_NAME: Final = "making"  # its presence means that this log is being made
MAX_NAME_BYTES: Final = 64

Progress = Callable[[int, int], None]  # bytes checked, bytes to check


def check_log_name(name: str) -> None:
    """Raises `StorageError` unless ``name`` may be a log's name, and so a folder's name.
    Allowed are letters, digits, dot, dash, underscore.
    """
    allowed = all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    if not name or len(name) > MAX_NAME_BYTES or not allowed or name.startswith("."):
        raise StorageError(
            f"{name!r} cannot be the name of a log: at most {MAX_NAME_BYTES} letters, digits, "
            "'.', '-', '_', not beginning with '.'"
        )


@dataclass(slots=True)
class Located:
    """A gap and its segment."""

    segment: SegmentFile
    gap: DamagedRange


@dataclass(slots=True)
class Opened:
    meta: MetaFile
    segments: list[SegmentFile]
    positions: Positions
    lock: int
    gaps: list[Located] = field(default_factory=list)
    tail_known: tuple[int, int] | None = None
    synced: int = 0
    committed: int = 0
    spare_complete: bool = False


def lock_folder(files: Files, folder: Path) -> int:
    try:
        files.make_folder(folder / SEGMENTS_NAME)
        return files.lock(folder / LOCK_NAME)
    except BlockingIOError as error:
        raise StorageInUse(f"{folder}: in use by another process") from error
    except OSError as error:
        raise StorageError(f"{folder}: cannot be used: {error.strerror}") from error


def open_folder(
    files: Files, folder: Path, fresh: LogMeta, segment_bytes: int, progress: Progress
) -> Opened:
    """``fresh``: the log that it must be, and what a new one begins with.
    Raises `StorageError`, and its `StorageInUse` and `StorageLost`.
    """
    check_log_name(fresh.log)
    lock = lock_folder(files, folder)
    try:
        return _Opener(files, folder, lock, progress).open(fresh, segment_bytes)
    except OSError as error:
        files.close(lock)
        raise StorageError(f"{error.filename or folder}: {error.strerror or error}") from error
    except StorageError:
        files.close(lock)
        raise


class _Opener:
    def __init__(self, files: Files, folder: Path, lock: int, progress: Progress) -> None:
        self.files = files
        self.folder = folder
        self.lock = lock
        self.progress = progress
        self.done = 0
        self.total = 0

    def open(self, fresh: LogMeta, segment_bytes: int) -> Opened:
        files, folder = self.files, self.folder
        firsts = self._firsts()
        if not files.exists(folder / META_NAME):
            if firsts and not files.exists(folder / MAKING_NAME):
                raise StorageLost(
                    f"{folder}: there are segments and no {META_NAME}: a lost disk; replace this "
                    "node"
                )
            self._create(fresh, segment_bytes)
            firsts = self._firsts()
        meta = MetaFile.open(files, folder)
        have = meta.meta
        if (have.log, have.group, have.node) != (fresh.log, fresh.group, fresh.node):
            raise StorageError(
                f"{folder}: belongs to log '{have.log}' of node {have.node or '-'} in group "
                f"{have.group.hex() or '-'}, not to this one"
            )
        if NEXT_NEW_NAME in files.names(folder):
            files.unlink(folder / NEXT_NEW_NAME)
        if MAKING_NAME in files.names(folder):
            files.unlink(folder / MAKING_NAME)
        if have.newest not in firsts:
            raise StorageLost(
                f"{folder / SEGMENTS_NAME / segment_name(have.newest)}: the newest segment is "
                "missing: a lost disk; replace this node"
            )
        if have.cut:
            firsts = self._finish_cut(meta, firsts)
        opened = self._load(meta, firsts)
        opened.spare_complete = self._usable_spare(segment_bytes)
        return opened

    # ----------------------------------------------------------------------- a new log

    def _firsts(self) -> list[int]:
        found = [parse_segment_name(name) for name in self.files.names(self.folder / SEGMENTS_NAME)]
        return sorted(first for first in found if first is not None)

    def _create(self, fresh: LogMeta, segment_bytes: int) -> None:
        """Make a new log.
        Between the creation and the removal of `making` nothing can have been promised. So a log
        that was interrupted here is made again.
        """
        self.files.close(self.files.open(self.folder / MAKING_NAME, create=True))
        self.files.sync_folder(self.folder)
        path = self.folder / SEGMENTS_NAME / segment_name(1)
        make_zeroed(self.files, self.folder / NEXT_NEW_NAME, segment_bytes)
        segment = SegmentFile(
            self.files, path, log_id(fresh.group, fresh.log), 1, segment_bytes, 0, GENESIS_CHAIN
        )
        self.files.rename(self.folder / NEXT_NEW_NAME, path)
        segment.fd = self.files.open(path)
        segment.write_header()
        self.files.sync(segment.fd)
        segment.close()
        self.files.sync_folder(self.folder / SEGMENTS_NAME)
        self.files.sync_folder(self.folder)
        MetaFile.create(self.files, self.folder, fresh).close()
        self.files.unlink(self.folder / MAKING_NAME)
        self.files.sync_folder(self.folder)

    def _usable_spare(self, segment_bytes: int) -> bool:
        path = self.folder / NEXT_NAME
        if not self.files.exists(path):
            return False
        fd = self.files.open(path)
        try:
            return self.files.size(fd) == segment_bytes
        finally:
            self.files.close(fd)

    # ----------------------------------------------------------------------- a truncation cut short

    def _finish_cut(self, meta: MetaFile, firsts: list[int]) -> list[int]:
        position = meta.meta.cut
        for first in reversed([first for first in firsts if first > meta.meta.newest]):
            self.files.unlink(self.folder / SEGMENTS_NAME / segment_name(first))
        self.files.sync_folder(self.folder / SEGMENTS_NAME)
        segment, scan, _ = self._scan(meta.meta, meta.meta.newest, None)
        synced, committed = min(scan.synced, position - 1), min(scan.committed, position - 1)
        cut_segment(segment, cut_offset(scan, position), segment.dirty, synced, committed)
        segment.close()
        done = meta.meta
        done.cut = 0
        meta.write(done)
        return [first for first in firsts if first <= done.newest]

    # ----------------------------------------------------------------------- what is there

    def _load(self, meta: MetaFile, firsts: list[int]) -> Opened:
        opened = Opened(meta, [], Positions(1), self.lock)
        self.total = sum(self._size(first) for first in firsts)
        term, chain = meta.meta.trim[0], meta.meta.trim_chain
        position = meta.meta.trim[1] + 1
        # chain of the entry before, as far as the bytes read so far show it
        known: bytes | None = chain
        # a segment is made only after everything before it is on disk
        opened.synced = firsts[-1] - 1
        for index, first in enumerate(firsts):
            if first < position or (index == 0 and first != position):
                raise StorageLost(
                    f"{self._path(first)}: positions {position} to {first - 1} are in no segment"
                )
            following = firsts[index + 1] if index + 1 < len(firsts) else None
            previous = (term, known) if first == position else None
            segment, scan, sealed = self._scan(
                meta.meta, first, previous, may_trust_seal=following is not None
            )
            if first > position:
                self._open_end(
                    opened, opened.segments[-1], position, first - 1, segment.previous_chain
                )
            elif known is not None and known != segment.previous_chain:
                raise StorageLost(f"{segment.path}: does not continue the entries before it")
            opened.segments.append(segment)
            position, term, known = self._take(opened, segment, scan, sealed, following)
            if following is not None:
                segment.close()
            self.done += segment.size
            self.progress(self.done, self.total)
        # After a kill, writes may exist only in the page cache. What is reported here will be
        # acknowledged, so it must be on disk.
        opened.segments[-1].open()
        self._write_again(opened)
        for segment in opened.segments[-2:]:
            segment.open()
            self.files.sync(segment.fd)
        if len(firsts) > 1:
            opened.segments[-2].close()
        self.files.sync_folder(self.folder / SEGMENTS_NAME)
        # made, but meta does not name it yet: nothing was acknowledged from it
        if meta.meta.newest != firsts[-1]:
            meta.meta.newest = firsts[-1]
            meta.write(meta.meta)
        return opened

    def _write_again(self, opened: Opened) -> None:
        """Write again what no sync of an earlier life is known to have covered.
        If that life ended in a failed sync, the kernel may call its pages clean though the disk
        lacks them. Another sync would then do nothing; another write makes the pages dirty.
        """
        segment, positions, first = opened.segments[-1], opened.positions, opened.synced + 1
        start = positions.offset(first) if first in positions else 0
        if first > positions.last:
            start = segment.used
        for at, stop in ((0, BLOCK_BYTES), (start or BLOCK_BYTES, segment.used)):
            if at < stop:
                self.files.write(segment.fd, at, self.files.read(segment.fd, at, stop - at))

    def _path(self, first: int) -> Path:
        return self.folder / SEGMENTS_NAME / segment_name(first)

    def _size(self, first: int) -> int:
        fd = self.files.open(self._path(first))
        try:
            return self.files.size(fd)
        finally:
            self.files.close(fd)

    def _open_end(
        self, opened: Opened, segment: SegmentFile, first: int, last: int, next_chain: bytes
    ) -> None:
        """A segment's last frames are lost: the next segment begins later than this one ends."""
        opened.gaps.append(
            Located(
                segment, DamagedRange(first, last, segment.used, 0, opened.tail_known, next_chain)
            )
        )
        for position in range(max(first, opened.positions.last + 1), last + 1):
            opened.positions.add(0, 0, next_chain if position == last else bytes(CHAIN_BYTES))

    def _take(
        self,
        opened: Opened,
        segment: SegmentFile,
        scan: SegmentScan,
        sealed: tuple[int, int, bytes] | None,
        following: int | None,
    ) -> tuple[int, int, bytes | None]:
        """Add what one segment holds: (next position, term and chain of the one before it)."""
        opened.synced = max(opened.synced, scan.synced)
        opened.committed = max(opened.committed, scan.committed)
        opened.tail_known = scan.tail_known
        opened.gaps += [Located(segment, gap) for gap in scan.gaps]
        if sealed is not None:
            last, term, chain = sealed
            opened.positions = Positions(last + 1)
            return last + 1, term, chain
        positions = opened.positions
        if positions.last != scan.first - 1:
            positions = opened.positions = Positions(scan.first)
        positions.terms += scan.terms
        positions.offsets += scan.offsets
        positions.chains += scan.chains
        positions.drop_oldest(2 * positions.kept)
        if not scan.terms:
            return scan.first, segment.previous_term, segment.previous_chain
        last, term, chain = scan.last, scan.terms[-1], bytes(scan.chains[-CHAIN_BYTES:])
        if following == last + 1 and not scan.gaps and segment.checksum is not None:
            self._clear_slack(segment, segment.used)
            segment.dirty = segment.used
            segment.write_seal(segment.used, last, term, chain, scan.synced, scan.committed)
            self.files.sync(segment.fd)
        return last + 1, term, chain

    def _scan(
        self,
        meta: LogMeta,
        first: int,
        previous: tuple[int, bytes | None] | None,
        may_trust_seal: bool = False,
    ) -> tuple[SegmentFile, SegmentScan, tuple[int, int, bytes] | None]:
        """Scan one segment and repair its header block.
        With a seal that agrees: (last position, term, chain) instead of a full scan.
        """
        files, path = self.files, self._path(first)
        log = log_id(meta.group, meta.log)
        fd = files.open(path)
        size = files.size(fd)
        block = files.read(fd, 0, BLOCK_BYTES)
        header = decode_header(block)
        good = header is not None and header.log == log and header.first == first
        segment = SegmentFile(files, path, log, first, size, 0, GENESIS_CHAIN)
        segment.fd = fd
        if (clean := clean_block(block, segment.seed)) != block and size >= BLOCK_BYTES:
            files.write(fd, 0, clean)
            files.sync(fd)
        evidence = newest_evidence(block, segment.seed)
        segment.evidence_counter = evidence.counter
        seal = decode_seal(block, segment.seed)
        segment.sealed = seal is not None
        if good and header is not None:
            segment.previous_term, segment.previous_chain = (
                header.previous_term,
                header.previous_chain,
            )
            if (
                may_trust_seal
                and seal is not None
                and segment.read_checksum(seal.used) == seal.checksum
            ):
                self._clear_slack(segment, seal.used)
                segment.used = segment.dirty = seal.used
                segment.checksum = seal.checksum
                segment.stride, segment.points = seal.stride, seal.points
                scan = SegmentScan(
                    first,
                    synced=max(seal.synced, evidence.synced),
                    committed=max(seal.committed, evidence.committed),
                )
                return segment, scan, (seal.last_position, seal.last_term, seal.last_chain)
        elif header is not None:
            raise StorageError(f"{path}: belongs to another log, or was renamed")
        scan = self._scan_frames(segment, header, previous)
        scan.synced, scan.committed = (
            max(scan.synced, evidence.synced),
            max(scan.committed, evidence.committed),
        )
        return segment, scan, None

    def _clear_slack(self, segment: SegmentFile, used: int) -> None:
        """Clear the bytes after the last frame of a segment that is known complete.
        They should be zeros; damage there affects no entry.
        """
        if self.files.read(segment.fd, used, segment.size).strip(b"\0"):
            segment.clear(used, segment.size)
            self.files.sync(segment.fd)

    def _scan_frames(
        self,
        segment: SegmentFile,
        header: SegmentHeader | None,
        previous: tuple[int, bytes | None] | None,
    ) -> SegmentScan:
        files = self.files
        data = files.read(segment.fd, 0, segment.size)
        before = header.previous_chain if header is not None else None
        if before is None and previous is not None:
            before = previous[1]
        scan = scan_segment(data, segment.first, before, segment.seed)
        segment.adopt(scan)
        segment.checksum = crc32c(memoryview(data)[BLOCK_BYTES : scan.end])
        if header is None:
            if before is None and scan.offsets and scan.offsets[0]:
                start = scan.offsets[0] + FRAME_HEADER_BYTES
                before = data[start : start + CHAIN_BYTES]
            if before is None:
                raise StorageLost(
                    f"{segment.path}: its header and what stands before it are both unreadable"
                )
            segment.previous_chain = before
            segment.previous_term = previous[0] if previous is not None else 0
            segment.write_header()
            files.sync(segment.fd)
        if scan.repairs:
            segment.break_seal()
            for offset, repair in scan.repairs:
                files.write(segment.fd, offset, repair)
            files.sync(segment.fd)
        return scan


def cut_offset(scan: SegmentScan, position: int) -> int:
    """Where everything from ``position`` on begins."""
    for gap in scan.gaps:
        if gap.first <= position <= gap.last:
            return gap.offset
    index = position - scan.first
    return scan.offsets[index] if index < len(scan.offsets) else scan.end


def cut_segment(segment: SegmentFile, offset: int, stop: int, synced: int, committed: int) -> None:
    """Write zeros from ``offset`` to ``stop``, after resetting the claims about it. Synced."""
    segment.break_seal()
    segment.reset_evidence(synced, committed)
    segment.clear(offset, stop)
    segment.files.sync(segment.fd)
