"""What can be wrong with a log's disk, and what it means for the process.

Decides: which errors there are.
Must not know: files. This is a module of its own because exceptions derived from OSError cannot be
compiled, and `files` is compiled.
"""

from __future__ import annotations

import errno
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT)  # errors of a disk that has no room left


class StorageError(Exception):
    """The log's folder cannot be used; the text is one line for the operator."""


class StorageInUse(StorageError):
    """Another process holds the folder."""


class StorageLost(StorageError):
    """What this node had promised or acknowledged is gone.
    It must not take part as if it still knew that (S7).
    """


class StorageFatal(OSError):
    """The disk failed under a running log.
    It is never retried: the process ends with this reason (A5), which is ``strerror``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EIO, reason)

    def __str__(self) -> str:
        return str(self.strerror)
