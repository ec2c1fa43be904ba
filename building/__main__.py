"""`python -m building [--install] DIR`: a copy of both packages in DIR, with the hot modules
compiled. What is done already is kept.

Decides: what the copy holds, when it is up to date (DIR/.done is as old as the sources it was made
of), and the line that says why it cannot be made.
Must not know: how modules are compiled. With --install what compiles is installed first where it is
missing.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from building.choice import no_compiler, no_mypyc
from building.modules import hot_modules

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("memstore", "txlog")
IMPOSSIBLE = 3  # exit code without a compiler; the Makefile knows it


def copy_sources(tree: Path) -> None:
    """Copy only the files that changed.

    A file that no longer exists is deleted from the copy. So is the binary of a module that is no
    longer compiled.
    """
    files = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so")
    }
    for file in files:
        source, target = ROOT / file, tree / file
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    hot = {Path(module).with_suffix("") for module in hot_modules()}
    for package in PACKAGES:
        for path in (tree / package).rglob("*"):
            file = path.relative_to(tree)
            stale = (
                file.with_name(file.name.partition(".")[0]) not in hot
                if path.suffix == ".so"
                else file not in files
            )
            if path.is_file() and path.suffix != ".pyc" and stale:
                path.unlink()


def install() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["compile"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted],
        check=True,
    )
    importlib.invalidate_caches()


def build(tree: Path) -> None:
    from setuptools import setup

    from building.compiling import Compile, extensions

    began = time.time()
    copy_sources(tree)
    os.chdir(tree)
    setup(
        name="memstore",
        packages=[],
        ext_modules=extensions(hot_modules()),
        cmdclass={"build_ext": Compile},
        script_args=["-q", "build_ext", "--inplace"],
    )
    done = tree / ".done"
    done.touch()
    os.utime(done, (began, began))  # files edited meanwhile are newer


def main(words: list[str]) -> int:
    installs = "--install" in words
    folders = [word for word in words if word != "--install"]
    if len(folders) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    reason = no_compiler()
    if not reason and installs and (no_mypyc() or importlib.util.find_spec("setuptools") is None):
        install()
    reason = reason or no_mypyc()
    if reason:
        print(f"the hot modules cannot be compiled: {reason}", file=sys.stderr)
        return IMPOSSIBLE
    tree = Path(folders[0]).resolve()
    tree.mkdir(parents=True, exist_ok=True)
    with open(tree / ".lock", "w") as lock:
        # another build may run in the background of `make run`
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(tree)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
