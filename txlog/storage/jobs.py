"""The queue of a log's disk work, and how each piece of it reaches the disk.

Decides: the order of writes and syncs within each piece, so that a crash between any two of them
loses nothing.
Must not know: why the work is requested. It runs in the log's sync thread. Any error of the disk is
`StorageFatal`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from crc32c import crc32c

from txlog.consensus.outputs import Promise, Suspicion
from txlog.storage.errors import StorageFatal
from txlog.storage.files import Files, MetaFile
from txlog.storage.opening import cut_segment
from txlog.storage.segments import SegmentFile
from txlog.storage.spare import Spare


@dataclass(slots=True, init=False)
class Write:
    segment: SegmentFile
    offset: int
    frame: tuple[bytes, bytes, bytes]

    # handwritten, so that it is compiled: one object per entry
    def __init__(
        self, segment: SegmentFile, offset: int, frame: tuple[bytes, bytes, bytes]
    ) -> None:
        self.segment = segment
        self.offset = offset
        self.frame = frame


@dataclass(slots=True)
class Roll:
    old: SegmentFile
    fresh: SegmentFile
    last_position: int  # of the old segment, with its term and chain
    last_term: int
    last_chain: bytes
    synced: int
    committed: int
    whole: bool  # nothing in it is damaged
    used: int


@dataclass(slots=True)
class Meta:
    promise: Promise
    suspicion: Suspicion | None


@dataclass(slots=True)
class Cut:
    segment: SegmentFile
    removed: list[SegmentFile]
    position: int
    offset: int
    stop: int
    synced: int
    committed: int


@dataclass(slots=True)
class PutBack:
    segment: SegmentFile
    offset: int
    frame: tuple[bytes, bytes, bytes]


@dataclass(slots=True)
class Clear:
    segment: SegmentFile
    start: int
    stop: int


@dataclass(slots=True)
class Claim:
    """Evidence that ``synced`` is on disk."""

    segment: SegmentFile
    synced: int
    committed: int


@dataclass(slots=True)
class Tidy:
    """Remove what fails a check in a segment's header block, and rewrite the header from memory.
    The next start makes a new seal.
    """

    segment: SegmentFile


@dataclass(slots=True)
class MetaAgain:
    """A slot of meta has rotted: write it again."""


Job = Write | Roll | Meta | Cut | PutBack | Clear | Claim | Tidy | MetaAgain


def read_disk(files: Files, path: str, offset: int, length: int) -> bytes | None:
    """Read from the disk, not from the page cache.
    It uses a file descriptor of its own, so that nothing waits for it. Fewer bytes at the end of
    the file, None if the file is gone.
    """
    try:
        fd = files.open(Path(path))
    except FileNotFoundError:
        return None
    try:
        files.forget(fd, offset, length)
        return files.read(fd, offset, length)
    finally:
        files.close(fd)


def carry_out(
    queue: list[Job],
    meta: MetaFile,
    files: Files,
    spare: Spare,
    folder: Path,
    files_lock: AbstractContextManager[object],
) -> None:
    try:
        spare.check()
        _Carrier(meta, files, spare, folder, files_lock).run(queue)
    except StorageFatal:
        raise
    except OSError as error:
        raise StorageFatal(
            f"{error.filename or folder.parent}: {error.strerror or error}"
        ) from error


class _Carrier:
    def __init__(
        self,
        meta: MetaFile,
        files: Files,
        spare: Spare,
        folder: Path,
        files_lock: AbstractContextManager[object],
    ) -> None:
        self.meta = meta
        self.files = files
        self.spare = spare
        self.folder = folder
        self.files_lock = files_lock
        self.gathered: list[bytes] = []  # frames that follow one another in one segment
        self.segment: SegmentFile | None = None
        self.offset = 0
        self.unsynced: SegmentFile | None = None

    # Only the newest segment and those being repaired are open here. Readers open and close old
    # ones, under the same lock.

    def run(self, queue: list[Job]) -> None:
        for index, job in enumerate(queue):
            if (
                isinstance(job, Meta)
                and index + 1 < len(queue)
                and isinstance(queue[index + 1], Meta)
            ):
                # the next meta holds a promise at least as high; both are answered after the last
                # sync of this queue
                continue
            if isinstance(job, Write):
                if self.segment is not job.segment:
                    self.write()
                    self.segment, self.offset = job.segment, job.offset
                self.gathered += job.frame
                continue
            self.write()
            if isinstance(job, Claim):
                job.segment.write_evidence(job.synced, job.committed)
                self.unsynced = job.segment
                continue
            if isinstance(job, Roll):
                self.roll(job)
                continue
            self.sync()
            if isinstance(job, Meta):
                self.meta.write(
                    replace(self.meta.meta, promise=job.promise, suspicion=job.suspicion)
                )
            elif isinstance(job, MetaAgain):
                self.meta.write(self.meta.meta)
            elif isinstance(job, Cut):
                self.cut(job)
            else:
                with self.files_lock:
                    self.mend(job)
        self.write()
        self.sync()

    def mend(self, job: PutBack | Clear | Tidy) -> None:
        segment = job.segment
        segment.open()
        if isinstance(job, Tidy):
            segment.tidy_block()
            return
        segment.break_seal()
        if isinstance(job, PutBack):
            self.files.write(segment.fd, job.offset, b"".join(job.frame))
        else:
            segment.clear(job.start, job.stop)
        self.files.sync(segment.fd)

    def write(self) -> None:
        """Write everything gathered, with one system call."""
        segment = self.segment
        if segment is None:
            return
        blob = b"".join(self.gathered)
        self.files.write(segment.fd, self.offset, blob)
        if segment.checksum is not None:
            segment.checksum = crc32c(blob, segment.checksum)
        self.gathered = []
        self.segment = None
        self.unsynced = segment

    def sync(self) -> None:
        if self.unsynced is not None:
            self.files.sync(self.unsynced.fd)
            self.unsynced = None

    def roll(self, job: Roll) -> None:
        """Begin a new segment: seal and sync the old one, then make the new one.
        The new one gets its header and name on disk. Then meta names it. Only then is anything
        written into it.
        """
        job.old.open()
        # without a seal (the segment was cut, or put back into) the next start checks every frame,
        # and seals it
        if job.whole and job.old.checksum is not None:
            job.old.write_seal(
                job.used,
                job.last_position,
                job.last_term,
                job.last_chain,
                job.synced,
                job.committed,
            )
        self.files.sync(job.old.fd)
        self.unsynced = None
        with self.files_lock:
            job.old.close()
        fresh = job.fresh
        self.spare.take(fresh.path)
        fresh.fd = self.files.open(fresh.path)
        fresh.write_header()
        self.files.sync(fresh.fd)
        self.files.sync_folder(self.folder)
        self.files.sync_folder(self.folder.parent)
        self.meta.write(replace(self.meta.meta, newest=fresh.first))

    def cut(self, job: Cut) -> None:
        """Record the cut in meta first.
        If the cut stops half way, the next start finishes it and does not treat it as damage.
        """
        self.meta.write(replace(self.meta.meta, cut=job.position, newest=job.segment.first))
        with self.files_lock:
            for segment in reversed(job.removed):
                segment.close()
                self.files.unlink(segment.path)
            job.segment.open()
        if job.removed:
            self.files.sync_folder(self.folder)
        cut_segment(job.segment, job.offset, job.stop, job.synced, job.committed)
        self.meta.write(replace(self.meta.meta, cut=0))
