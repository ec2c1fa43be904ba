"""`python building/environment.py`, run by an environment's own interpreter: exit code 0 if the
environment can be used, 1 if it has to be made again.

Decides: whether the environment can be used. It cannot after its interpreter was replaced by
another minor version, because that has none of its packages. It cannot after its folder was moved
either, because its programs name the old folder.
Must not know: how an environment is made.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def made_at(prefix: Path) -> str:
    """The folder that `python -m venv` got; "" where the environment does not record it."""
    try:
        lines = (prefix / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        if line.startswith("command = "):
            words = line.partition(" -m venv ")[2]
            return words[words.find("/") :] if "/" in words else ""
    return ""


def is_usable(prefix: Path, version: tuple[int, int]) -> bool:
    packages = prefix / "lib" / f"python{version[0]}.{version[1]}" / "site-packages" / "pip"
    old = made_at(prefix)
    return packages.exists() and (not old or os.path.realpath(old) == os.path.realpath(prefix))


if __name__ == "__main__":
    sys.exit(not is_usable(Path(sys.prefix), sys.version_info[:2]))
