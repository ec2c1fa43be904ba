"""The list of the modules that are compiled:
hot_modules.txt, which the Makefile and the tests read too.
"""

from __future__ import annotations

from pathlib import Path

LIST = Path(__file__).resolve().parent.parent / "hot_modules.txt"


def hot_modules(path: Path = LIST) -> list[str]:
    """Paths below the repository, in the list's order."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]
