"""A log's folder inside a node's data folder: how it is made, opened, and refused.

Decides: that every log of a node that joined later begins as a learner (S8); in which order the
folder, the store and the entry in the node's list are made (`identity` says why).
Must not know: what a store holds. It does blocking file work, in a thread.
"""

from __future__ import annotations

from txlog.server.identity import DataFolder, DiskFull
from txlog.storage.errors import StorageError
from txlog.storage.files import META_NAME
from txlog.storage.store import LogStore


class StoreRefused(Exception):
    """The log cannot be served from this folder; the text is one line for the operator."""


def open_store(folder: DataFolder, name: str, segment_bytes: int, cache_bytes: int) -> LogStore:
    """Open the log ``name`` of this node; make it if it does not exist. Raises `StoreRefused`, and
    OSError when the disk fails.
    """
    identity = folder.identity
    path = folder.log_folder(name)
    if name in identity.deleting:
        raise StoreRefused(f"log '{name}' is being deleted: 'txlog delete-log' finishes it")
    if name in identity.logs and not path.is_dir():
        raise StoreRefused(
            f"{path}: the folder of log '{name}' is gone; what it had promised is lost with it, "
            "so this node cannot vote in it"
        )
    if name in identity.logs and not (path / META_NAME).exists():
        raise StoreRefused(
            f"{path}: the log is known here and its folder holds no {META_NAME}: a lost disk; "
            "replace this node"
        )
    try:
        if name not in identity.logs:
            folder.make_log_folder(name)
        store = LogStore.open(
            path,
            name,
            identity.group_id,
            identity.node,
            segment_bytes=segment_bytes,
            cache_bytes=cache_bytes,
            learner=identity.joined > 1,
        )
    except DiskFull as error:
        raise StoreRefused(f"{path}: {error.strerror}") from error
    except StorageError as error:
        raise StoreRefused(str(error)) from error
    try:
        folder.add_log(name)
    except DiskFull as error:
        # The node promises nothing in this log until the log is on the list. The next caller that
        # asks for the log finds the store.
        store.close()
        raise StoreRefused(f"{path}: {error.strerror}") from error
    return store
