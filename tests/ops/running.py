"""`memstore local` and other commands as real processes, for the tests of this folder.

Decides: how a test starts a command, waits for its output, and leaves nothing running.
Must not know: which output is right.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 30.0


def wait_until(
    what: Callable[[], Any], about: str | Callable[[], str], bound_s: float = BOUND_S
) -> Any:
    end = time.monotonic() + bound_s
    while not (answer := what()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {bound_s} s: {about() if callable(about) else about}")
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def memstore(
    *args: str, cwd: Path = ROOT, bound_s: float = BOUND_S
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memstore", *args]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=bound_s,
        check=False,
    )


class Local:
    """A running `memstore local`.
    `ended` takes everything down, also the children of a killed parent.
    """

    def __init__(self, folder: Path, *args: str, port: int = 0, log_port: int = 0) -> None:
        self.folder = folder
        self.port = port or free_ports(3)
        self.output = folder.parent / f"{folder.name}.out"
        command = [
            sys.executable,
            "-m",
            "memstore",
            "local",
            "--dir",
            str(folder),
            "--port",
            str(self.port),
            *args,
        ]
        if log_port:
            command += ["--log-port", str(log_port)]
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text()

    def wait_said(self, text: str, times: int = 1) -> None:
        wait_until(
            lambda: self._living() and self.said().count(text) >= times,
            lambda: f"{text!r} said {times} times in:\n{self.said()}",
        )

    def wait_said_in_order(self, *texts: str) -> None:
        pattern = re.compile(".*?".join(re.escape(text) for text in texts), re.DOTALL)
        wait_until(
            lambda: self._living() and pattern.search(self.said()),
            lambda: f"{' ... '.join(texts)} in:\n{self.said()}",
        )

    def _living(self) -> bool:
        assert self.process.poll() is None, (
            f"memstore local ended with {self.process.returncode}:\n{self.said()}"
        )
        return True

    def wait_up(self) -> Local:
        self.wait_said("Ctrl-C stops everything")
        return self

    def topology(self) -> dict[str, dict[str, Any]]:
        return {
            row["name"]: row
            for row in json.loads((self.folder / "topology.json").read_text())["processes"]
        }

    def client(self, name: str) -> redis.Redis:
        return redis.Redis(port=self.topology()[name]["port"], socket_timeout=5)

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(BOUND_S)

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *error: object) -> None:
        pids = (
            [row["pid"] for row in self.topology().values() if row["pid"]]
            if (self.folder / "topology.json").exists()
            else []
        )
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(BOUND_S)
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
