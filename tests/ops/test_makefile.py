"""The Makefile in a folder whose name has spaces, and with an environment that no longer works.
A stub replaces Python and records its arguments.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.running import ROOT

pytest.importorskip("building", reason="the compiled tree has no Makefile of its own")

from building.environment import is_usable

STUB = """#!{python}
import json, os, shutil, sys
words = sys.argv[1:]
with open({calls!r}, "a") as file:
    file.write(json.dumps([os.getcwd(), *words]) + "\\n")
if words[:2] == ["-m", "venv"]:
    os.makedirs(words[-1] + "/bin", exist_ok=True)
    shutil.copy(__file__, words[-1] + "/bin/python")
sys.exit(words[:1] == ["building/environment.py"] and os.path.exists({broken!r}))
"""
PROBES = ("-c", "--version", "building/environment.py")


class Checkout:
    """A folder with the Makefile, and an environment that is a stub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("Makefile", "pyproject.toml", "hot_modules.txt"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("memstore", "txlog", "build/compiled"):
            (folder / name).mkdir(parents=True)
        self.calls, self.broken = folder / "calls", folder / "broken"
        stub = STUB.format(python=sys.executable, calls=str(self.calls), broken=str(self.broken))
        self.python = folder.parent / "python-stub"
        self.python.write_text(stub)
        self.python.chmod(0o755)

    def make(self, *words: str) -> list[list[str]]:
        """The calls of Python: the folder, then the arguments."""
        self.calls.write_text("")
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        result = subprocess.run(
            ["make", f"PYTHONS={self.python}", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        calls = [json.loads(line) for line in self.calls.read_text().splitlines()]
        return [call for call in calls if call[1] not in PROBES]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a folder with spaces")


def test_make_run_in_a_path_with_spaces(checkout: Checkout) -> None:
    folder = str(checkout.folder)
    local = ["-m", "memstore", "local", "--dir", f"{folder}/.memstore"]
    calls = checkout.make("run", "COMPILED=0", "ARGS=--port 7000")
    assert calls[0][1:] == ["-m", "venv", "--clear", ".venv"]
    assert calls[-1] == [folder, *local, "--port", "7000"]
    again = checkout.make("run")
    assert again == [
        [
            *(folder, *local, "--compiled-tree", "build/compiled", "--compile-command"),
            ".venv/bin/python -m building --install build/compiled",
        ]
    ]
    (checkout.folder / "build" / "compiled" / ".done").touch()
    assert checkout.make("run") == [[f"{folder}/build/compiled", *local]]


def test_an_environment_that_is_broken_is_made_again(checkout: Checkout) -> None:
    """Earlier, it ended with exit code 127 each time."""
    checkout.make("run", "COMPILED=0")
    assert len(checkout.make("run", "COMPILED=0")) == 1, "a good one is left alone"
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(checkout.folder / "removed-python")
    for break_it in (lambda: None, checkout.broken.touch):
        break_it()
        calls = [call[1:3] for call in checkout.make("run", "COMPILED=0")]
        assert calls == [["-m", "venv"], ["-m", "pip"], ["-m", "memstore"]]
    checkout.broken.unlink()
    assert len(checkout.make("run", "COMPILED=0")) == 1


def test_which_environment_can_be_used(tmp_path: Path) -> None:
    home = tmp_path / "new" / ".venv"
    packages = home / "lib" / "python3.11" / "site-packages" / "pip"
    packages.mkdir(parents=True)
    assert is_usable(home, (3, 11)), "one that another tool made says nothing of its folder"
    assert not is_usable(home, (3, 12)), "its packages are another version's"
    (home / "pyvenv.cfg").write_text(f"command = /usr/bin/python3 -m venv --clear {home}\n")
    assert is_usable(home, (3, 11))
    moved = home.parent.rename(tmp_path / "moved") / ".venv"
    assert not is_usable(moved, (3, 11))
