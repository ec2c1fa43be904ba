"""A reader who types what a page shows, block by block, into three terminals.

Decides: which terminal a command belongs to (`make run` has the first one, the shell the second,
Python the third), how default ports become free ones, and when an output is as the page shows it.
Must not know: what the page is about.

The reader works in a copy of the tree. Its `.venv` leads to the environment of the tests, and
counts as installed, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tests.ops.running import ROOT, wait_until
from tests.ports import free_ports

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LEFT_OUT = (".git", ".venv", ".memstore", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
READY = "Ctrl-C stops everything"
COMMAND_S = 60.0
REFUSED = re.compile(
    r"^(ERR|READONLY|MOVED|MASTERDOWN|CLUSTERDOWN|LOADING|TRYAGAIN|Error|Could not)"
)
END = "-- end of the command"


@dataclass
class Block:
    """One fenced block of a page."""

    language: str
    text: str

    def commands(self) -> list[str]:
        """The shell's lines; a line that ends in a backslash goes on in the next one."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in joined.splitlines() if line.strip()]


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text())]


class Ports:
    """Free ports in the place of the defaults that the pages name."""

    def __init__(self) -> None:
        engine, log = free_ports(3), free_ports(3)
        self.given = {6379 + n: engine + n for n in range(3)} | {
            7401 + n: log + n for n in range(3)
        }

    def put_into(self, text: str) -> str:
        for default, free in self.given.items():
            text = re.sub(rf"\b{default}\b", str(free), text)
        return re.sub(r"^make run\b(?:\s+ARGS=('[^']*'|\S+))?", self._make_run, text)

    def _make_run(self, found: re.Match[str]) -> str:
        args = (found[1] or "").strip("'")
        ports = f"--port {self.given[6379]} --log-port {self.given[7401]}"
        return f"make run ARGS='{ports} {args}'"


def shown(expected: str, output: str) -> bool:
    """Whether each expected line is in the output, in this order. Numbers, the letters of nodes,
    and what stands for `...` may differ."""
    at = 0
    for line in expected.splitlines():
        pattern = re.escape(line.strip())
        pattern = pattern.replace(re.escape("..."), ".*")
        pattern = re.sub(r"\d[\d.,:]*", r"[\\d.,:]+", pattern)
        pattern = re.sub(r"(engine|log)(\\?-)[a-z]\b", r"\1\2[a-z]", pattern)
        pattern = re.sub(r"(\\ )+", r"\\s+", pattern)
        found = re.compile(pattern).search(output, at)
        if found is None:
            return False
        at = found.end()
    return True


class Terminal:
    """A program that reads commands from a pipe; after each one it says that it is done."""

    def __init__(self, command: list[str], folder: Path, trace: Path, end: str) -> None:
        self._end = end
        self._trace = trace
        environment = {**os.environ, "COMPILED": "0", "PYTHONUNBUFFERED": "1", "COLUMNS": "80"}
        environment.pop("PYTHONPATH", None)
        with open(trace, "wb") as out:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def said(self) -> str:
        return self._trace.read_text()

    def type(self, text: str) -> str:
        """What the program says until it is done."""
        before = len(self.said())
        count = self.said().count(END)
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n{self._end}\n".encode())
        self.process.stdin.flush()
        wait_until(
            lambda: self.said().count(END) > count,
            lambda: f"{text!r} holds the terminal up, or ends it:\n{self.said()[before:]}",
            COMMAND_S,
        )
        return self.said()[before:]

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def copy_of_the_tree(folder: Path) -> Path:
    """A fresh checkout with an installed environment."""
    tree = folder / "memstore"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    venv = tree / ".venv"
    venv.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith("."):
            (venv / entry.name).symlink_to(entry)
    command = "cksum < pyproject.toml | tr -d ' '"
    stamp = subprocess.run(
        command, shell=True, cwd=tree, capture_output=True, text=True, check=True
    )
    (venv / f".run-{stamp.stdout.strip()}").touch()
    return tree


def matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


class Reader:
    """Types the blocks of pages in order."""

    def __init__(self, folder: Path, not_typed: dict[str, str]) -> None:
        self.tree = copy_of_the_tree(folder)
        self.ports = Ports()
        self._not_typed = not_typed
        self._folder = folder
        self._first: Terminal | None = None
        self._count = 0
        self._last = ""  # what the newest commands have said
        shell = ["bash", "--noprofile", "--norc"]
        self.shell = Terminal(shell, self.tree, folder / "shell.txt", f'echo "{END} $?"')
        self._python: Terminal | None = None
        self._files = self.files()

    def read(self, page: str) -> None:
        for block in blocks(self.tree / page):
            if block.language == "sh":
                self._type_commands(block)
            elif block.language == "python":
                self._type_python(self.ports.put_into(block.text))
            elif block.language == "text":
                self._expect(block.text)
        assert self.files() == self._files, f"{page} leaves files that git would show"

    def files(self) -> set[str]:
        """What is in the tree, without what git ignores (plain names and patterns of names)."""
        lines = (self.tree / ".gitignore").read_text().splitlines()
        ignored = [line.rstrip("/") for line in lines if line]
        found = set()
        for folder, folders, names in os.walk(self.tree):
            folders[:] = [name for name in folders if not matches(name, ignored)]
            found |= {
                str(Path(folder, name).relative_to(self.tree))
                for name in names
                if not matches(name, ignored)
            }
        return found

    def _expect(self, text: str) -> None:
        """The page shows this as what the commands before it say."""

        def output() -> str:
            return (self._first.said() if self._first is not None else "") + self._last

        wait_until(
            lambda: shown(text, output()),
            lambda: f"expected:\n{text}\nsaid:\n{output()}",
            COMMAND_S,
        )

    # ----------------------------------------------------------------- the shell

    def _type_commands(self, block: Block) -> None:
        self._last = ""
        for line in block.commands():
            command, _, comment = re.sub(r"(?<=\s)#", "\0", line, count=1).partition("\0")
            command = command.strip()
            if command in self._not_typed:
                continue
            typed = self.ports.put_into(command)
            if command.startswith("make run"):
                self._make_run(typed)
                continue
            said = self.shell.type(typed)
            self._last += said
            assert re.search(rf"^{END} 0$", said, re.MULTILINE), f"{command}:\n{said}"
            if comment.strip().startswith("refused: "):
                expected = self.ports.put_into(comment.strip().removeprefix("refused: "))
                assert shown(expected, said), f"{command}: expected {expected!r}:\n{said}"
            else:
                assert not any(map(REFUSED.match, said.splitlines())), f"{command}:\n{said}"

    def _make_run(self, command: str) -> None:
        self.stop_make_run()
        self._count += 1
        trace = self._folder / f"make-run-{self._count}.txt"
        terminal = Terminal(["sh", "-c", command], self.tree, trace, "")
        self._first = terminal
        wait_until(
            lambda: READY in terminal.said() and terminal.process.poll() is None,
            lambda: f"{command} is not ready:\n{terminal.said()}",
            COMMAND_S,
        )

    def stop_make_run(self) -> None:
        """Ctrl-C: the whole foreground gets the signal."""
        if self._first is None:
            return
        os.killpg(self._first.process.pid, signal.SIGINT)
        self._first.process.wait(COMMAND_S)
        assert "stopped" in self._first.said(), self._first.said()
        self._first.close()
        self._first = None

    # ----------------------------------------------------------------- Python

    def _type_python(self, text: str) -> None:
        if self._python is None:
            command = [".venv/bin/python", "-i", "-q", "-u"]
            trace = self._folder / "python.txt"
            self._python = Terminal(command, self.tree, trace, f'print("{END}")')
        self._last = self._python.type(text)
        assert "Traceback" not in self._last and "Error" not in self._last, self._last

    def close(self) -> None:
        for terminal in (self._python, self.shell, self._first):
            if terminal is not None:
                terminal.close()
