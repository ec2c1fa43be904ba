"""The file system as the store sees it.
It has few calls, so that a test can replace it and fail or stop at any of them.

Decides: how meta gets to disk.
Must not know: segments, entries, what an error of the disk means (`errors`). Every method of
`Files` that changes something is one step; a crash can come before or after it. All raise OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from txlog.storage.errors import StorageLost
from txlog.storage.meta import META_BYTES, SLOT_BYTES, LogMeta, choose, encode_slot

_BLOCK: Final = 4096  # how many bytes count as lost around bytes that the disk cannot read


class Files:
    """The real file system."""

    def make_folder(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def names(self, path: Path) -> list[str]:
        return sorted(os.listdir(path)) if path.is_dir() else []

    def exists(self, path: Path) -> bool:
        return path.exists()

    def lock(self, path: Path) -> int:
        """Raises BlockingIOError when another process holds it."""
        fd = _open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd

    def open(self, path: Path, create: bool = False) -> int:
        return _open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if create else 0))

    def close(self, fd: int) -> None:
        os.close(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def read(self, fd: int, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes; fewer only at the end of the file.
        A block that the disk cannot read comes as zeros. It is damage like any other: checksums
        find it, and a put-back writes it again.
        """
        try:
            return self._read(fd, offset, length)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        pieces = []
        for at in range(offset, min(offset + length, self.size(fd)), _BLOCK):
            size = min(_BLOCK, offset + length - at)
            try:
                pieces.append(self._read(fd, at, size))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                pieces.append(bytes(min(size, self.size(fd) - at)))
        return b"".join(pieces)

    def _read(self, fd: int, offset: int, length: int) -> bytes:
        data = os.pread(fd, length, offset)
        if len(data) in (0, length):
            return data
        pieces = [data]
        have = len(data)
        while have < length and (data := os.pread(fd, length - have, offset + have)):
            pieces.append(data)
            have += len(data)
        return b"".join(pieces)

    def forget(self, fd: int, offset: int, length: int) -> None:
        """Drop these synced bytes from the page cache, so that the next read asks the disk.
        Drops whole pages only, and only where the platform can.
        """
        if hasattr(os, "posix_fadvise"):
            start = offset - offset % _BLOCK
            os.posix_fadvise(
                fd, start, -(-(offset + length) // _BLOCK) * _BLOCK - start, os.POSIX_FADV_DONTNEED
            )

    def write(self, fd: int, offset: int, data: bytes) -> None:
        done = os.pwrite(fd, data, offset)
        while done < len(data):
            done += os.pwrite(fd, memoryview(data)[done:], offset + done)

    def reserve(self, fd: int, length: int) -> None:
        """Reserve the blocks on the disk now. Raises OSError (ENOSPC) here and not later."""
        os.posix_fallocate(fd, 0, length)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_folder(self, path: Path) -> None:
        fd = _open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)


KEPT_DESCRIPTORS: Final = 4
_kept: list[int] = []


def keep_descriptors() -> None:
    """Keep descriptors for the log's own files, for when the process has no other left.
    Connections may have taken all others. Call it from time to time, since a file may have used
    one.
    """
    try:
        while len(_kept) < KEPT_DESCRIPTORS:
            _kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise  # the kept descriptors are for this shortage; the next call refills them


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE) or not _kept:
            raise
    os.close(_kept.pop())
    return os.open(path, flags, 0o644)


META_NAME: Final = "meta"


class MetaFile:
    """`meta` on disk.
    A write is one slot, fsync, the other slot, fsync; it returns when both hold it (V2).
    """

    def __init__(self, files: Files, fd: int, meta: LogMeta, counter: int) -> None:
        self._files = files
        self._fd = fd
        self.meta = meta
        self._counter = counter

    @staticmethod
    def create(files: Files, folder: Path, meta: LogMeta) -> MetaFile:
        """It is first made under another name, so a meta that exists is complete."""
        fresh = folder / (META_NAME + ".new")
        fd = files.open(fresh, create=True)
        slot = encode_slot(meta, 1)
        files.write(fd, 0, slot + slot)
        files.sync(fd)
        files.rename(fresh, folder / META_NAME)
        files.sync_folder(folder)
        return MetaFile(files, fd, meta, 1)

    @staticmethod
    def open(files: Files, folder: Path) -> MetaFile:
        """Raises `StorageLost` when neither slot is good.
        It rewrites a slot that does not hold the newest meta.
        """
        fd = files.open(folder / META_NAME)
        found = choose(files.read(fd, 0, META_BYTES))
        if found is None:
            files.close(fd)
            raise StorageLost(
                f"{folder / META_NAME}: neither slot is readable: a lost disk; replace this node"
            )
        meta, counter, stale = found
        for slot in stale:
            files.write(fd, slot * SLOT_BYTES, encode_slot(meta, counter))
        # always: after a kill, slots may exist only in the page cache
        files.sync(fd)
        return MetaFile(files, fd, meta, counter)

    def write(self, meta: LogMeta) -> None:
        self._counter += 1
        slot = encode_slot(meta, self._counter)
        for index in (0, 1):
            self._files.write(self._fd, index * SLOT_BYTES, slot)
            self._files.sync(self._fd)
        self.meta = meta

    def close(self) -> None:
        self._files.close(self._fd)
