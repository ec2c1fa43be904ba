"""A file that holds one secret, read safely.

Decides: which file is refused or causes a warning (as ssh does for a private key), how the bytes
become the secret.
Must not know: what a secret is for. White space around the secret, such as a newline at the end, is
not a part of it.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

MIN_SECRET_BYTES: Final = 16  # of the secret that log nodes and their clients share
MAX_BYTES: Final = 4096
# if others on this machine may read or change it, the file is refused
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP
_MOUNTED: Final = (
    "in a container: mode: 0400 of a Docker secret, defaultMode: 0400 of a Kubernetes secret"
)
_GROUP: Final = stat.S_IRGRP  # container platforms give a mounted secret to a group: a warning only


class SecretFileError(Exception):
    """One line for the operator."""


def read_private(path: Path) -> bytes:
    """Read the file. Warns on stderr if its group may read it. Raises `SecretFileError`."""
    try:
        # Without O_NONBLOCK a pipe without a writer would block the start.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MAX_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise SecretFileError(f"secret file {path} cannot be read: {error.strerror}") from None
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileError(f"secret file {path} is not a regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise SecretFileError(
            f"secret file {path} belongs to user {status.st_uid}, who can change it; run 'chown "
            f"{os.geteuid()} {path}'"
        )
    if mode & _OTHERS:
        raise SecretFileError(
            f"secret file {path} has mode {mode:04o}: other users can read or change it; run "
            f"'chmod 600 {path}' ({_MOUNTED})"
        )
    if mode & _GROUP:
        sys.stderr.write(
            f"warning: secret file {path} has mode {mode:04o}: its group can read it; 'chmod 600 "
            f"{path}' is safer\n"
        )
    if len(content) > MAX_BYTES:
        raise SecretFileError(
            f"secret file {path} holds more than {MAX_BYTES} bytes: it is not a secret"
        )
    secret = content.strip()
    if not secret:
        raise SecretFileError(f"secret file {path} is empty")
    return secret


def read_log_secret(path: Path) -> bytes:
    """Read the secret that log nodes and their clients share. Raises `SecretFileError`."""
    secret = read_private(path)
    if len(secret) < MIN_SECRET_BYTES:
        raise SecretFileError(
            f"secret file {path} holds {len(secret)} bytes; a secret has at least "
            f"{MIN_SECRET_BYTES}"
        )
    return secret
