"""`memstore local start` and `stop` from another terminal, and the line about a dead process."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memstore.ops import local_cluster
from memstore.ops.local_cluster import LocalCluster, start_command
from memstore.ops.node_requests import ask, local_pid, take_requests
from memstore.ops.processes import Child
from memstore.ops.topology import Folder, Plan, plan_processes
from tests.ops.running import ROOT, Local, alive, memstore
from tests.ports import free_ports


def test_a_request_is_taken_once(tmp_path: Path) -> None:
    assert take_requests(tmp_path) == []
    ask(tmp_path, "start", "engine-a")
    ask(tmp_path, "stop", "log-b")
    (tmp_path / "requests" / "nonsense").touch()
    assert take_requests(tmp_path) == [("start", "engine-a"), ("stop", "log-b")]
    assert take_requests(tmp_path) == []


def test_another_program_with_the_same_pid_is_no_cluster(tmp_path: Path) -> None:
    assert local_pid(tmp_path) is None
    (tmp_path / "lock").write_text("")
    assert local_pid(tmp_path) is None
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "lock").write_text(f"{sleeper.pid}\n")
        assert local_pid(tmp_path) is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_line_is_short_beside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a b"
    (home / ".venv" / "bin").mkdir(parents=True)
    (home / ".venv" / "bin" / "memstore").touch()
    monkeypatch.setattr(sys, "executable", str(home / ".venv" / "bin" / "python"))
    assert start_command(home / ".memstore", "log-a") == ".venv/bin/memstore local start log-a"
    line = start_command(home / "other", "log-a")
    assert shlex.split(line)[1:] == ["local", "start", "log-a", "--dir", str(home / "other")]


@pytest.mark.parametrize("words", [("start", "engine-a"), ("stop", "engine-a"), ("stop",)])
def test_no_cluster_runs(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = memstore("local", "--dir", str(tmp_path), *words)
    assert result.returncode == 1
    assert result.stderr.startswith(f"memstore: no cluster runs in {tmp_path}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.system
def test_nodes_are_stopped_and_started_from_another_terminal(tmp_path: Path) -> None:
    with Local(tmp_path / "data", "--lease-ms", "500", log_port=free_ports(3)) as local:
        local.wait_up()
        last = local.said().splitlines()[-1]
        assert last.endswith("Ctrl-C stops everything"), "the banner is the last line of the start"
        disk = sum(
            file.stat().st_blocks * 512 for file in local.folder.rglob("*") if file.is_file()
        )
        assert disk < 110 << 20, "a fresh cluster takes little disk"
        os.kill(local.topology()["engine-a"]["pid"], signal.SIGKILL)
        local.wait_said("engine-a was killed by SIGKILL (it was primary); start it again: ")
        (line,) = re.findall(r"start it again: (.*engine-a.*)", local.said())
        assert shlex.split(line) == shlex.split(start_command(local.folder, "engine-a"))
        started = memstore(*shlex.split(line)[shlex.split(line).index("local") :])
        assert started.returncode == 0, started.stderr
        pid = local.topology()["engine-a"]["pid"]
        assert alive(pid) and started.stdout == f"engine-a started (pid {pid})\n"
        folder = ("--dir", str(local.folder))
        again = memstore("local", "start", "engine-a", *folder)
        assert again.stdout == f"engine-a runs already (pid {pid})\n"
        unknown = memstore("local", *folder, "start", "engine-z")
        assert unknown.returncode == 2
        assert "there is no engine-z: choose one of log-a, log-b" in unknown.stderr

        stopped = memstore("local", "stop", "log-b", *folder)
        assert (stopped.returncode, stopped.stdout) == (0, "log-b stopped\n")
        assert local.topology()["log-b"]["pid"] is None
        assert local.client("engine-b").ping()
        assert memstore("local", "stop", "log-b", *folder).stdout == "log-b does not run\n"
        everything = memstore("local", "stop", *folder)
        assert (everything.returncode, everything.stdout) == (0, "stopped\n")
        assert local.process.wait(10) == 0


@pytest.mark.system
def test_what_is_stopped_by_hand_stays_stopped(tmp_path: Path) -> None:
    with Local(tmp_path / "data", "--restart", "--replicas", "1", log_port=free_ports(3)) as local:
        local.wait_up()
        assert memstore("local", "stop", "engine-b", "--dir", str(local.folder)).returncode == 0
        time.sleep(1.5)  # a dead process is started again after half a second
        assert local.topology()["engine-b"]["pid"] is None
        assert memstore("local", "start", "engine-b", "--dir", str(local.folder)).returncode == 0
        os.kill(local.topology()["engine-b"]["pid"], signal.SIGKILL)
        local.wait_said("engine-b started again")


class Stubborn(Child):
    """A process that ends only at SIGKILL."""

    def __init__(self) -> None:
        super().__init__(1, None)
        self.killed = False

    def ended(self) -> str | None:
        return "was killed by SIGKILL" if self.killed else None

    def signal(self, number: signal.Signals) -> None:
        self.killed = self.killed or number == signal.SIGKILL


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_second_ctrl_c_says_what_it_does(
    tmp_path: Path, signals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, it said "does not stop: killed" about processes that had no time to stop."""
    monkeypatch.setattr(local_cluster, "STOP_MS", 2000 if signals == 2 else 50)
    plan = Plan(tmp_path / "data", log_port=7501, replicas=0)
    folder = Folder.open(plan)
    said: list[str] = []
    cluster = LocalCluster(plan, folder, plan_processes(plan, folder), said.append)
    cluster.engines[0].child = Stubborn()
    for _ in range(signals):
        cluster._on_signal()
    await cluster._stop_all()
    assert said == [
        "stopping: engine nodes, then log nodes; Ctrl-C again kills them",
        "engine-a killed at the second signal"
        if signals == 2
        else "engine-a killed: it did not stop within 0 s",
        "stopped",
    ]
    folder.close()


def test_help_has_words_and_examples() -> None:
    for words in (("-h",), ("local", "-h"), ("local", "start", "-h"), ("status", "--help")):
        result = memstore(*words)
        assert result.returncode == 0, result.stderr
        assert "int range" not in result.stdout and "<=x<=" not in result.stdout
    shown = memstore("local", "-h").stdout.replace("│", " ")
    assert "1 to 65535" in " ".join(shown.split())
    assert "Examples:" in memstore("status", "-h").stdout
    from memstore.version import VERSION

    assert memstore("--version").stdout == f"{VERSION}\n"
    assert str(ROOT) not in memstore("local", "-h").stdout
