"""`python -m tests.compiled_tree DIR`: the tests and what they need, copied into the compiled tree.
Pytest runs there and imports everything from there.

Decides: what belongs to the copy.
Must not know: what the tests do, how modules are compiled. Only what changed is copied; what is
gone goes from the copy.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# compiled files, files made by tools, or data
ELSEWHERE = frozenset(("memstore", "txlog", "build", "dist", ".git", ".venv", ".memstore"))


def belongs(path: Path) -> bool:
    top = path.relative_to(ROOT).parts[0]
    return (
        top not in ELSEWHERE
        and "cache" not in top
        and not top.endswith(".egg-info")
        and "__pycache__" not in path.parts
    )


def copy_tests(tree: Path) -> None:
    tops = [top for top in ROOT.iterdir() if belongs(top)]
    files = {
        path.relative_to(ROOT)
        for top in tops
        for path in ([top] if top.is_file() else top.rglob("*"))
        if path.is_file() and belongs(path)
    }
    for file in files:
        source, target = ROOT / file, tree / file
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    for top in tops:
        for path in list((tree / top.name).rglob("*.*")):
            if path.suffix in (".py", ".md") and path.relative_to(tree) not in files:
                path.unlink()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    copy_tests(Path(sys.argv[1]).resolve())
