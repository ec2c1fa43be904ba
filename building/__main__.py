"""`python -m building DIR`: a copy of both packages in DIR, with the hot modules compiled. What is done already is kept."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup

from building.compiling import Compile, extensions
from building.modules import hot_modules

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("memstore", "txlog")


def copy_sources(tree: Path) -> None:
    """Only what changed; what is gone goes from the copy too, and with it the binary of a module that is no longer compiled."""
    files = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix not in (".pyc", ".so")}
    for file in files:
        source, target = ROOT / file, tree / file
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    hot = {Path(module).with_suffix("") for module in hot_modules()}
    for package in PACKAGES:
        for path in (tree / package).rglob("*"):
            file = path.relative_to(tree)
            stale = file.with_name(file.name.partition(".")[0]) not in hot if path.suffix == ".so" else file not in files
            if path.is_file() and path.suffix != ".pyc" and stale:
                path.unlink()


def main(tree: Path) -> None:
    tree.mkdir(parents=True, exist_ok=True)
    copy_sources(tree)
    os.chdir(tree)
    setup(name="memstore", packages=[], ext_modules=extensions(hot_modules()), cmdclass={"build_ext": Compile}, script_args=["-q", "build_ext", "--inplace"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve())
