"""The list of the compiled modules, from hot_modules.txt. The Makefile and the tests read it
too.
"""

from __future__ import annotations

from pathlib import Path

LIST = Path(__file__).resolve().parent.parent / "hot_modules.txt"


def hot_modules(path: Path = LIST) -> list[str]:
    """Paths relative to the repository, in the list's order."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]
