"""A log node's data folder: its owner, its group and node id, and the logs it holds.

Decides: when a folder may be used, and how the node's identity is kept (S7).
Must not know: what is inside a log's folder. It does blocking file work, at the start, at `init`,
and when a log is made.

The folder: ``node.json`` (identity, with a checksum), ``lock`` (flock), ``logs/<name>/``.
Invariants: an identity is replaced by rename and is never half written. A log's name is in it only
after its folder exists. So a listed log without a folder means a lost disk, not a new log. The
group never changes once it is set. A log that is being deleted leaves the list before its folder is
removed. Its name stays taken until the deletion ends (`server.deletion`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from crc32c import crc32c

from txlog.storage.errors import FULL

_FILE: Final = "node.json"
_LOCK: Final = "lock"
_LOGS: Final = "logs"
_MAGIC: Final = "txlog-node"
_FORMAT: Final = 3
_FORMATS: Final = (2, 3)  # 2 has no deletions

# How far the deletion of a log is on this node.
NONE: Final = "none"  # there is no such log here
KEPT: Final = "kept"  # the log is here, no deletion has begun
MARKED: Final = "marked"  # it is not served any more; its folder may still exist
GONE: Final = "gone"  # its folder is removed; the name cannot be used yet


class FolderError(Exception):
    """The data folder cannot be used; the text is one line for the operator."""


class DiskFull(OSError):
    """The disk has no room for it, and nothing was changed. The process need not end (A5)."""


@dataclass(slots=True)
class Identity:
    """``group`` is empty until `txlog init`. ``members`` are "node-id=host:port", sorted."""

    group: str = ""
    node: str = ""
    membership: int = 0
    members: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    # random id of the folder itself: a place in a membership belongs to one disk only (S8)
    folder: str = ""
    # The membership version with which this node joined. If it is above 1, its logs begin as
    # learners.
    joined: int = 1
    # logs under deletion: MARKED or GONE, by name; none of them is in ``logs``
    deleting: dict[str, str] = field(default_factory=dict)

    @property
    def others(self) -> dict[str, str]:
        """Addresses of the other members, by node id."""
        members = dict(member.split("=", 1) for member in self.members)
        members.pop(self.node, None)
        return members

    @property
    def replaced(self) -> bool:
        """Whether another node has this node's place."""
        return bool(self.group) and all(
            member.partition("=")[0] != self.node for member in self.members
        )

    @property
    def group_id(self) -> bytes:
        return bytes.fromhex(self.group)


class DataFolder:
    """The opened, locked data folder of this process."""

    def __init__(self, path: Path, identity: Identity, lock: int) -> None:
        self.path = path
        self.identity = identity
        self._lock = lock
        # Several threads may make logs at the same time, while the loop takes a membership.
        self._changing = threading.Lock()

    @staticmethod
    def open(path: Path) -> DataFolder:
        """Make the folder if there is none, lock it, read the identity. Raises `FolderError`."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            names = set(os.listdir(path))
        except OSError as error:
            raise FolderError(f"data folder {path} cannot be used: {error.strerror}") from error
        if _FILE not in names and names - {_LOCK, "lost+found"}:
            raise FolderError(
                f"data folder {path} is not ours: it holds files and no {_FILE}; give an empty "
                "folder"
            )
        lock = _lock(path)
        folder = DataFolder(path, Identity(), lock)
        try:
            if _FILE in names:
                folder.identity = read_identity(path)
                if not folder.identity.group and not folder.identity.folder:
                    folder.write(Identity(folder=secrets.token_hex(8)))
            else:
                folder.write(Identity(folder=secrets.token_hex(8)))
        except (OSError, FolderError) as error:
            os.close(lock)
            if isinstance(error, FolderError):
                raise
            raise FolderError(f"data folder {path} is not writable: {error.strerror}") from error
        return folder

    def log_folder(self, name: str) -> Path:
        return self.path / _LOGS / name

    def write(self, identity: Identity) -> None:
        """Replace the identity durably. Raises `DiskFull`, any other OSError."""
        body = json.dumps({"magic": _MAGIC, "format": _FORMAT, **asdict(identity)}, sort_keys=True)
        text = json.dumps({"crc32c": crc32c(body.encode()), "identity": body}) + "\n"
        fresh = self.path / (_FILE + ".new")
        with _room_or_nothing(), open(fresh, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path / _FILE)
        _sync_folder(self.path)
        self.identity = identity

    def make_log_folder(self, name: str) -> Path:
        """Make the log's folder durably. When its store exists in it, `add_log` adds the log to the
        list.
        """
        folder = self.log_folder(name)
        with _room_or_nothing():
            folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(self.path)
        _sync_folder(self.path / _LOGS)
        return folder

    def add_log(self, name: str) -> None:
        with self._changing:
            old = self.identity
            if name not in old.logs:
                self.write(replace(old, logs=sorted([*old.logs, name])))

    def deletion_of(self, name: str) -> str:
        """NONE, KEPT, MARKED or GONE."""
        return self.identity.deleting.get(name) or (KEPT if name in self.identity.logs else NONE)

    def mark_log(self, name: str) -> None:
        """Take the log off this node's list, durably. Raises `DiskFull`, any other OSError."""
        with self._changing:
            old = self.identity
            self.write(
                replace(
                    old,
                    logs=[log for log in old.logs if log != name],
                    deleting={**old.deleting, name: MARKED},
                )
            )

    def remove_log(self, name: str) -> None:
        """Remove the folder of a marked log durably, then write it to the identity. Raises
        `DiskFull`, any other OSError.
        """
        assert self.identity.deleting.get(name) == MARKED, "a log's folder goes only after its mark"
        folder = self.log_folder(name)
        if folder.exists():
            shutil.rmtree(folder)
            _sync_folder(folder.parent)
        with self._changing:
            old = self.identity
            self.write(replace(old, deleting={**old.deleting, name: GONE}))

    def clear_log(self, name: str) -> None:
        """Free the name for a new log. Raises `DiskFull`, any other OSError."""
        with self._changing:
            old = self.identity
            assert old.deleting.get(name) == GONE, "a name is free only after its folder is gone"
            self.write(
                replace(
                    old, deleting={log: state for log, state in old.deleting.items() if log != name}
                )
            )

    def take_membership(self, version: int, members: list[str]) -> None:
        """S8: take the membership, durably. Raises `DiskFull`, any other OSError."""
        with self._changing:
            assert version > self.identity.membership, "a membership version went down"
            self.write(replace(self.identity, membership=version, members=list(members)))

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def read_identity(path: Path) -> Identity:
    """Read the identity in a data folder without a lock. Raises `FolderError`."""
    try:
        outer = json.loads((path / _FILE).read_text())
        body = outer["identity"]
        if crc32c(body.encode()) != outer["crc32c"]:
            raise FolderError(
                f"data folder {path}: {_FILE} has a wrong checksum: a lost disk; replace this node"
            )
        inner = json.loads(body)
        if inner.pop("magic") != _MAGIC:
            raise FolderError(f"data folder {path} is not ours: {_FILE} belongs to something else")
        if (version := inner.pop("format")) not in _FORMATS:
            raise FolderError(
                f"data folder {path}: {_FILE} has format {version}, this program reads {_FORMAT}"
            )
        return Identity(**inner)
    except OSError as error:
        raise FolderError(
            f"data folder {path}: {_FILE} cannot be read: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FolderError(
            f"data folder {path}: {_FILE} is unreadable: a lost disk; replace this node"
        ) from error


def _lock(path: Path) -> int:
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FolderError(f"data folder {path} is not writable: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise FolderError(f"data folder {path} is in use by another process") from error
    return lock


@contextlib.contextmanager
def _room_or_nothing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(error.errno, error.strerror, error.filename) from error
        raise


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
