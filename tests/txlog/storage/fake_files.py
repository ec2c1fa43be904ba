"""A disk in memory that can stop before any step, and lose bytes that were not synced.

Changes of a folder reach the disk with a sync of that folder. Without it they reach the disk in
order or not at all. Data reaches the disk only with a sync of its file.
"""

from __future__ import annotations

import random
from pathlib import Path

from txlog.storage.files import Files

SECTOR = 512


class Crash(BaseException):
    """The process is gone."""


class Node:
    def __init__(self, data: bytes = b"") -> None:
        self.durable = bytearray(data)
        self.data = bytearray(data)
        self.pending: list[tuple[int, bytes]] = []


class FakeFiles(Files):
    def __init__(self, tree: dict[Path, Node] | None = None) -> None:
        self.tree = tree if tree is not None else {}
        self.durable_tree = dict(self.tree)
        self.journal: list[tuple[Path, Node | None]] = []
        self.fds: dict[int, tuple[Path, Node]] = {}
        self.next_fd = 1000
        self.steps = 0
        self.crash_at = -1

    def step(self) -> None:
        if self.steps == self.crash_at:
            raise Crash
        self.steps += 1

    # --------------------------------------------------------------------- the functions of `Files`

    def make_folder(self, path: Path) -> None:
        pass

    def names(self, path: Path) -> list[str]:
        return sorted(at.name for at in self.tree if at.parent == path)

    def exists(self, path: Path) -> bool:
        return path in self.tree

    def lock(self, path: Path) -> int:
        return self._fd(path, Node())

    def _fd(self, path: Path, node: Node) -> int:
        self.next_fd += 1
        self.fds[self.next_fd] = (path, node)
        return self.next_fd

    def open(self, path: Path, create: bool = False) -> int:
        if create:
            self.step()
            self._set(path, Node())
        if path not in self.tree:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return self._fd(path, self.tree[path])

    def _set(self, path: Path, node: Node | None) -> None:
        if node is None:
            del self.tree[path]
        else:
            self.tree[path] = node
        self.journal.append((path, node))

    def close(self, fd: int) -> None:
        del self.fds[fd]

    def size(self, fd: int) -> int:
        return len(self.fds[fd][1].data)

    def read(self, fd: int, offset: int, length: int) -> bytes:
        return bytes(self.fds[fd][1].data[offset : offset + length])

    def forget(self, fd: int, offset: int, length: int) -> None:
        """Do nothing: there is no cache that could hide the disk."""

    def write(self, fd: int, offset: int, data: bytes) -> None:
        self.step()
        node = self.fds[fd][1]
        node.data[offset : offset + len(data)] = data
        node.pending.append((offset, bytes(data)))

    def reserve(self, fd: int, length: int) -> None:
        self.write(fd, 0, bytes(length))

    def sync(self, fd: int) -> None:
        self.step()
        node = self.fds[fd][1]
        node.durable = bytearray(node.data)
        node.pending.clear()

    def sync_folder(self, path: Path) -> None:
        self.step()
        for at, node in self.journal:
            if at.parent == path:
                _apply(self.durable_tree, at, node)
        self.journal = [(at, node) for at, node in self.journal if at.parent != path]

    def rename(self, old: Path, new: Path) -> None:
        self.step()
        node = self.tree.pop(old)
        self._set(new, node)
        self.journal[-1:] = [(old, None), (new, node)]

    def unlink(self, path: Path) -> None:
        self.step()
        self._set(path, None)

    # ----------------------------------------------------------------------- after a crash

    def after_kill(self) -> FakeFiles:
        """The machine continues: bytes that were not synced are still not synced."""
        copies: dict[int, Node] = {}

        def copied(node: Node) -> Node:
            if id(node) not in copies:
                copy = Node()
                copy.durable, copy.data, copy.pending = (
                    bytearray(node.durable),
                    bytearray(node.data),
                    list(node.pending),
                )
                copies[id(node)] = copy
            return copies[id(node)]

        files = FakeFiles({path: copied(node) for path, node in self.tree.items()})
        files.durable_tree = {path: copied(node) for path, node in self.durable_tree.items()}
        files.journal = [
            (path, copied(node) if node is not None else None) for path, node in self.journal
        ]
        return files

    def after_power_loss(self, rng: random.Random) -> FakeFiles:
        tree = dict(self.durable_tree)
        for path, node in self.journal[: rng.randint(0, len(self.journal))]:
            _apply(tree, path, node)
        return FakeFiles({path: Node(_torn(node, rng)) for path, node in tree.items()})


def _apply(tree: dict[Path, Node], path: Path, node: Node | None) -> None:
    if node is None:
        tree.pop(path, None)
    else:
        tree[path] = node


def _torn(node: Node, rng: random.Random) -> bytes:
    data = bytearray(node.durable)
    for offset, written in node.pending:
        fate = rng.choice(["lost", "kept", "torn"])
        if fate == "lost":
            continue
        for at in range(offset - offset % SECTOR, offset + len(written), SECTOR):
            if fate == "kept" or rng.random() < 0.5:
                start, stop = max(at, offset), min(at + SECTOR, offset + len(written))
                if len(data) < stop:
                    data.extend(bytes(stop - len(data)))
                data[start:stop] = written[start - offset : stop - offset]
    return bytes(data)
