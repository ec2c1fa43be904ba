"""A machine's disk in memory, as the log's store sees it (`txlog.storage.files.Files`).

Decides: what remains after a power loss, and what a fault does to a call (slow, full, an error,
flipped bits). Synced bytes remain. Other bytes are there, gone or torn by sectors. A folder's
changes remain in order up to some point.
Must not know: the meaning of the bytes. A process that is killed loses nothing that it had written:
the page cache belongs to the machine.

Invariant: bytes that `sync` covered are never lost, except by flipped bits.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.sim.world import ProcessEnded, World
from txlog.storage.files import Files

SECTOR = 512


class Inode:
    """A file's bytes: as the machine sees them, and as they are on the platter."""

    __slots__ = ("data", "durable", "pending")

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.durable = bytearray(data)
        self.pending: list[tuple[int, bytes]] = []  # written since the last sync


class Disk(Files):
    def __init__(self, world: World, host: str) -> None:
        self.world = world
        self.host = host
        self.rng = world.rng(f"disk {host}")
        self.sync_us = 150
        self.bytes_per_s = 0  # write speed; 0: no limit
        self._unsynced = 0  # bytes written since the last sync
        self.slow_us = 0  # additional time of a sync, while the disk is slow
        self.clean = False  # bytes that were not synced are lost whole, never torn
        self.full = False
        self.fail_syncs = 0  # number of the next syncs that end in an error
        self.fail_reads = 0
        # After this number of steps the power fails: in the middle of the store's work.
        self.crash_in = 0
        self.crash_in_segment = False  # only steps on segments count
        self.on_crash: Callable[[], None] | None = None
        # a fault that may end the process: a run does not count such an end as a bug
        self.hurt = ""
        self.syncs = 0
        self._tree: dict[Path, Inode] = {}
        self._durable_tree: dict[Path, Inode] = {}
        # changes of folders that no sync covers yet
        self._journal: list[tuple[Path, Inode | None]] = []
        self._fds: dict[int, tuple[Path, Inode]] = {}
        self._next_fd = 100

    # ----------------------------------------------------------------- Files

    def make_folder(self, path: Path) -> None:
        """Folders are only names here."""

    def names(self, path: Path) -> list[str]:
        return sorted(at.name for at in self._tree if at.parent == path)

    def exists(self, path: Path) -> bool:
        return path in self._tree

    def lock(self, path: Path) -> int:
        return self._open(path, Inode())

    def _open(self, path: Path, inode: Inode) -> int:
        self._next_fd += 1
        self._fds[self._next_fd] = (path, inode)
        return self._next_fd

    def _step(self, path: Path) -> None:
        """Called before each change; the power may fail here."""
        if self.crash_in and (path.suffix == ".seg" or not self.crash_in_segment):
            self.crash_in -= 1
            if not self.crash_in and self.on_crash is not None:
                self.world.faults["power lost inside a write"] += 1
                self.on_crash()
                raise ProcessEnded("power lost")

    def open(self, path: Path, create: bool = False) -> int:
        if create:
            self._step(path)
            self._set(path, Inode())
        if path not in self._tree:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return self._open(path, self._tree[path])

    def _set(self, path: Path, inode: Inode | None) -> None:
        if inode is None:
            del self._tree[path]
        else:
            self._tree[path] = inode
        self._journal.append((path, inode))

    def close(self, fd: int) -> None:
        del self._fds[fd]

    def size(self, fd: int) -> int:
        return len(self._fds[fd][1].data)

    def _read(self, fd: int, offset: int, length: int) -> bytes:
        if self.fail_reads:
            self.fail_reads -= 1
            self.hurt = "read error"
            self.world.faults["read error"] += 1
            raise OSError(errno.EIO, "Input/output error", str(self._fds[fd][0]))
        return bytes(self._fds[fd][1].data[offset : offset + length])

    def write(self, fd: int, offset: int, data: bytes) -> None:
        self._step(self._fds[fd][0])
        inode = self._fds[fd][1]
        inode.data[offset : offset + len(data)] = data
        inode.pending.append((offset, bytes(data)))
        self._unsynced += len(data)
        self.world.fold(data)

    def forget(self, fd: int, offset: int, length: int) -> None:
        """Do nothing: there is no cache that could hide the disk."""

    def reserve(self, fd: int, length: int) -> None:
        if self.full:
            self.world.faults["no space left"] += 1
            raise OSError(errno.ENOSPC, "No space left on device", str(self._fds[fd][0]))
        self.write(fd, 0, bytes(length))

    def sync(self, fd: int) -> None:
        self._step(self._fds[fd][0])
        self.syncs += 1
        took = self.sync_us
        if self.bytes_per_s:
            took += self._unsynced * 1_000_000 // self.bytes_per_s
        self._unsynced = 0
        if self.slow_us:
            took += int(self.slow_us * (0.5 + self.rng.random()))
            self.world.faults["slow sync"] += 1
        self.world.pass_time(took)
        path, inode = self._fds[fd]
        if self.fail_syncs:
            self.fail_syncs -= 1
            self.hurt = "sync error"
            self.world.faults["sync error"] += 1
            # The kernel may mark the pages clean although only some are on the platter. A later
            # sync would then report success.
            self._keep_some(inode)
            inode.pending.clear()
            raise OSError(errno.EIO, "Input/output error", str(path))
        for offset, data in inode.pending:
            _put(inode.durable, offset, data)
        inode.pending.clear()

    def sync_folder(self, path: Path) -> None:
        self.world.pass_time(self.sync_us)
        for at, inode in self._journal:
            if at.parent == path:
                _change(self._durable_tree, at, inode)
        self._journal = [(at, inode) for at, inode in self._journal if at.parent != path]

    def rename(self, old: Path, new: Path) -> None:
        self._step(new)
        inode = self._tree.pop(old)
        self._tree[new] = inode
        self._journal += [(old, None), (new, inode)]

    def unlink(self, path: Path) -> None:
        self._step(path)
        self._set(path, None)

    # ----------------------------------------------------------------- faults

    def process_died(self) -> None:
        self._fds.clear()

    def lose_power(self) -> None:
        """Lose power: bytes that were not synced remain, remain in part, or are gone."""
        self._fds.clear()
        tree = dict(self._durable_tree)
        for path, inode in self._journal[: self.rng.randint(0, len(self._journal))]:
            _change(tree, path, inode)
        for inode in tree.values():
            if inode.pending:
                self.world.faults["unsynced bytes at a power loss"] += 1
                self._keep_some(inode)
            inode.data = bytearray(inode.durable)
            inode.pending = []
        self._tree, self._durable_tree, self._journal = tree, dict(tree), []

    def _keep_some(self, inode: Inode) -> None:
        if self.clean:
            return
        for offset, data in inode.pending:
            fate = self.rng.random()
            if fate < 0.2:
                continue
            if fate < 0.4:
                _put(inode.durable, offset, data)
                continue
            self.world.faults["torn write"] += 1
            for at in range(offset - offset % SECTOR, offset + len(data), SECTOR):
                start, stop = max(at, offset), min(at + SECTOR, offset + len(data))
                if self.rng.random() < 0.5:
                    _put(inode.durable, start, data[start - offset : stop - offset])

    def flip_bit(self, rng: Random) -> str:
        """Flip one bit in a used byte of a file of the log; "" when there is no such byte.
        The bit stays flipped until it is overwritten.
        """
        files = [
            (path, inode)
            for path, inode in sorted(self._tree.items())
            if path.suffix == ".seg" or path.name == "meta"
        ]
        places = [(path, inode, at) for path, inode in files for at in _used(inode.data)]
        if not places:
            return ""
        path, inode, block = rng.choice(places)
        at = block + rng.randrange(min(SECTOR, len(inode.data) - block))
        return self._flip(path, inode, at, rng)

    def flip_bit_at_the_end(self, rng: Random) -> str:
        """Flip one bit of the newest bytes of the log."""
        segments = [
            (path, inode) for path, inode in sorted(self._tree.items()) if path.suffix == ".seg"
        ]
        if not segments or not (end := _end(segments[-1][1].data)):
            return ""
        path, inode = segments[-1]
        return self._flip(path, inode, max(0, end - 1 - rng.randrange(200)), rng)

    def _flip(self, path: Path, inode: Inode, at: int, rng: Random) -> str:
        bit = 1 << rng.randrange(8)
        for copy in (inode.data, inode.durable):
            if at < len(copy):
                copy[at] ^= bit
        return f"{path.name} at {at}"


def _end(data: bytearray) -> int:
    return len(data.rstrip(b"\0"))


def _used(data: bytearray) -> list[int]:
    """The sectors that contain data."""
    zeros = bytes(SECTOR)
    return [
        at
        for at in range(0, len(data), SECTOR)
        if data[at : at + SECTOR] != zeros[: len(data) - at]
    ]


def _put(data: bytearray, offset: int, written: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written


def _change(tree: dict[Path, Inode], path: Path, inode: Inode | None) -> None:
    if inode is None:
        tree.pop(path, None)
    else:
        tree[path] = inode
