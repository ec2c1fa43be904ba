"""`memstore local start NAME` and `memstore local stop [NAME]`: requests of another terminal to the
running `memstore local`.

Decides: how a request gets there (a file in the cluster's folder), when it is done, the output.
Must not know: how processes are started and stopped.
Invariants: a request is written as a whole and taken once. Only the process that holds the folder's
lock takes requests.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from memstore.ops.processes import PROC, alive, command_of
from memstore.ops.topology import LOCK, TOPOLOGY, LocalError

FOLDER: Final = "requests"
VERBS: Final = ("start", "stop")
DONE_S: Final = 30.0  # `memstore local` must carry out a request within this time
POLL_S: Final = 0.05

Say = Callable[[str], None]


def take_requests(folder: Path) -> list[tuple[str, str]]:
    """The requests since the last call: verb and name of a process."""
    found = []
    try:
        names = sorted(os.listdir(folder / FOLDER))
    except FileNotFoundError:
        return []  # no request was ever made
    for name in names:
        verb, dot, process = name.partition(".")
        (folder / FOLDER / name).unlink(missing_ok=True)
        if dot and verb in VERBS:
            found.append((verb, process))
    return found


def local_pid(folder: Path) -> int | None:
    """The pid of the `memstore local` that runs in ``folder``."""
    try:
        pid = int((folder / LOCK).read_text())
    except (OSError, ValueError):
        return None  # no cluster ran here
    return pid if alive(pid) and (not PROC.is_dir() or b"local" in command_of(pid)) else None


def running_pid(folder: Path) -> int:
    """The pid of the running `memstore local`. Raises `LocalError` if there is none."""
    pid = local_pid(folder)
    if pid is None:
        raise LocalError(
            f"no cluster runs in {folder}: start one with 'make run' or 'memstore local'"
        )
    return pid


def find_row(folder: Path, name: str) -> dict[str, Any]:
    """The row of the process ``name`` in topology.json. Raises `LocalError`."""
    try:
        rows = json.loads((folder / TOPOLOGY).read_text())["processes"]
    except (OSError, ValueError, KeyError) as error:
        raise LocalError(f"{folder / TOPOLOGY} cannot be read: {error}") from None
    by_name: dict[str, dict[str, Any]] = {row["name"]: row for row in rows}
    if name not in by_name:
        raise LocalError(f"there is no {name}: choose one of {', '.join(by_name)}", 2)
    return by_name[name]


def ask(folder: Path, verb: str, name: str) -> None:
    (folder / FOLDER).mkdir(exist_ok=True)
    (folder / FOLDER / f"{verb}.{name}").touch()


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Wait until ``done()``. Raises `LocalError` when it takes too long."""
    end = time.monotonic() + DONE_S
    while not done():
        if time.monotonic() > end:
            raise LocalError(f"{what} within {DONE_S:.0f} s; see the terminal of 'memstore local'")
        time.sleep(POLL_S)


def start_node(folder: Path, name: str, say: Say) -> None:
    """Ask for the start of ``name`` and wait for it. Raises `LocalError`."""
    running_pid(folder)
    pid = find_row(folder, name)["pid"]
    if pid is not None and alive(pid):
        say(f"{name} runs already (pid {pid})")
        return
    ask(folder, "start", name)
    wait_until(lambda: find_row(folder, name)["pid"] not in (None, pid), f"{name} did not start")
    say(f"{name} started (pid {find_row(folder, name)['pid']})")


def stop_node(folder: Path, name: str, say: Say) -> None:
    """Ask for the stop of ``name`` and wait for it. Raises `LocalError`."""
    running_pid(folder)
    if find_row(folder, name)["pid"] is None:
        say(f"{name} does not run")
        return
    ask(folder, "stop", name)
    wait_until(lambda: find_row(folder, name)["pid"] is None, f"{name} did not stop")
    say(f"{name} stopped")


def stop_cluster(folder: Path, say: Say) -> None:
    """Ask for the stop of the cluster and wait for it. Raises `LocalError`."""
    pid = running_pid(folder)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid), "the cluster did not stop")
    say("stopped")
