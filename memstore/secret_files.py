"""Files that hold one secret each: the one shared with the log nodes, and the clients' password.

Decides: how such a file is made (random, never overwritten, readable by its owner only) and read.
Must not know: what a secret is for.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from txlog.secret_file import SecretFileError, read_log_secret, read_private

__all__ = ["SecretFileError", "make", "read", "read_log_secret"]

RANDOM_BYTES: Final = 32


def make(path: Path) -> bool:
    """A file with a fresh secret; False if there is one already. Raises `SecretFileError`."""
    try:
        # Written whole under another name first: a reader never sees half a secret, and of two
        # makers the first wins.
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
            file.write(secrets.token_hex(RANDOM_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(fresh)
    except OSError as error:
        raise SecretFileError(f"secret file {path} cannot be made: {error.strerror}") from None
    return True


def read(path: Path) -> str:
    """A secret that is text: the clients' password. Raises `SecretFileError`."""
    try:
        return read_private(path).decode()
    except UnicodeDecodeError:
        raise SecretFileError(f"secret file {path} does not hold text") from None
