"""`memstore local` from the user's view: start, events, topology.json, and its end.
The end is Ctrl-C or a harder way.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from memstore.ops.topology import Folder, Plan
from tests.ops.running import ROOT, Local, alive, memstore, wait_until
from tests.ports import free_ports

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with Local(
        tmp_path_factory.mktemp("local") / "data",
        "--restart",
        "--lease-ms",
        "500",
        log_port=free_ports(3),
    ) as local:
        yield local.wait_up()


def is_replica(client: redis.Redis) -> bool:
    role: str = client.info("replication")["memstore_role"]
    return role == "replica"


def test_the_node_on_the_port_leads_and_serves(cluster: Local) -> None:
    assert "engine-a is the primary now" in cluster.said()
    assert f"redis-cli -p {cluster.port}" in cluster.said()
    client = cluster.client("engine-a")
    assert client.set("name", "value")
    assert client.get("name") == b"value"
    for name in ("engine-b", "engine-c"):
        cluster.wait_said(f"{name}: ")
        client = cluster.client(name)
        wait_until(partial(is_replica, client), name)
        assert client.get("name") == b"value"


def test_topology_is_true(cluster: Local) -> None:
    rows = cluster.topology()
    assert [*rows] == ["log-a", "log-b", "log-c", "engine-a", "engine-b", "engine-c"]
    for name, row in rows.items():
        assert row["kind"] == name.split("-")[0]
        assert row["az"] == name.split("-")[1]
        line = Path(f"/proc/{row['pid']}/cmdline").read_bytes().split(b"\0")[:-1]
        assert line == [os.fsencode(word) for word in row["command"]]
        assert os.readlink(f"/proc/{row['pid']}/cwd") == row["cwd"]
        assert str(row["port"]) in row["command"]
        assert (row["data"] is None) == (row["kind"] == "engine")
        assert Path(row["trace"]).exists()
    assert cluster.client("engine-b").info("server")["process_id"] == rows["engine-b"]["pid"]


def test_a_second_one_in_the_folder_is_refused(cluster: Local) -> None:
    result = memstore("local", "--dir", str(cluster.folder))
    assert result.returncode == 1
    assert (
        result.stderr
        == f"memstore: folder {cluster.folder} is in use by another 'memstore local'\n"
    )


def test_a_taken_port_is_told_before_anything_starts(cluster: Local, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    result = memstore(
        "local", "--dir", str(folder), "--port", str(cluster.port), "--log-port", str(free_ports(3))
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"memstore: port {cluster.port} for engine-a is taken")
    assert result.stderr.count("\n") == 1
    assert [*(folder / "data").iterdir()] == []


def test_status_shows_everyone(cluster: Local) -> None:
    by_folder = memstore("status", "--dir", str(cluster.folder))
    assert by_folder.returncode == 0, by_folder.stderr
    screen = by_folder.stdout
    assert len(screen.splitlines()) < 25
    assert "primary engine-a" in screen
    for row in cluster.topology().values():
        assert f"{row['name']} 127.0.0.1:{row['port']}" in screen
    assert screen.count("good") == 3

    by_address = memstore("status", f"127.0.0.1:{cluster.port + 1}", cwd=cluster.folder)
    assert by_address.returncode == 0
    for row in cluster.topology().values():
        assert f"127.0.0.1:{row['port']}" in by_address.stdout, "found from one replica alone"


def test_health(cluster: Local) -> None:
    assert memstore("health", f"127.0.0.1:{cluster.port}").returncode == 0
    nothing = memstore("health", f"127.0.0.1:{free_ports(1)}")
    assert nothing.returncode == 1
    assert "cannot be reached" in nothing.stderr


def test_a_killed_replica_is_told_and_started_again(cluster: Local) -> None:
    before = cluster.topology()["engine-c"]["pid"]
    os.kill(before, signal.SIGKILL)
    cluster.wait_said("engine-c was killed by SIGKILL (it was replica)")
    cluster.wait_said("engine-c started again")
    after = cluster.topology()["engine-c"]["pid"]
    assert after not in (before, None)
    assert alive(after)
    cluster.wait_said_in_order("engine-c started again", "engine-c: ", "replica")


def test_a_killed_log_node_is_told_and_started_again(cluster: Local) -> None:
    os.kill(cluster.topology()["log-b"]["pid"], signal.SIGKILL)
    cluster.wait_said("log-b was killed by SIGKILL")
    assert cluster.client("engine-a").set("meanwhile", "1")
    cluster.wait_said("log-b started again")


def test_a_killed_primary_has_a_successor(cluster: Local) -> None:
    os.kill(cluster.topology()["engine-a"]["pid"], signal.SIGKILL)
    cluster.wait_said("engine-a was killed by SIGKILL (it was primary)")
    cluster.wait_said("is the primary now", times=2)
    cluster.wait_said("engine-a started again")
    cluster.wait_said_in_order("engine-a started again", "engine-a: ", "replica")
    assert cluster.client("engine-a").get("name") == b"value"


def test_a_silent_node_is_told(cluster: Local) -> None:
    pid = cluster.topology()["engine-a"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    cluster.wait_said("engine-a does not answer")
    os.kill(pid, signal.SIGCONT)
    cluster.wait_said("engine-a answers again")


def test_ctrl_c_stops_everything(cluster: Local) -> None:
    """The last test of the module: the cluster is gone after it.
    Engine nodes end first, while their log nodes still listen.
    """
    pids = {name: row["pid"] for name, row in cluster.topology().items()}
    assert cluster.stop() == 0
    assert not any(alive(pid) for pid in pids.values())
    assert all(row["pid"] is None for row in cluster.topology().values())
    assert cluster.said().endswith("stopped\n")
    assert "killed: it did not stop" not in cluster.said()
    ended = {name: os.stat(row["trace"]).st_mtime_ns for name, row in cluster.topology().items()}
    assert max(ended["engine-b"], ended["engine-c"], ended["engine-a"]) < min(
        ended["log-a"], ended["log-b"], ended["log-c"]
    )


def test_data_stays_tools_may_restart_and_nothing_outlives_the_parent(tmp_path: Path) -> None:
    folder, log_port = tmp_path / "data", free_ports(3)
    with Local(folder, "--replicas", "0", port=free_ports(1), log_port=log_port) as local:
        local.wait_up()
        local.client("engine-a").set("kept", "yes")
        # A tool kills a process and starts its command again, as topology.json allows.
        row = local.topology()["log-c"]
        os.kill(row["pid"], signal.SIGKILL)
        wait_until(lambda: local.topology()["log-c"]["pid"] is None, local.said)
        tool = subprocess.Popen(
            row["command"], cwd=row["cwd"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        local.wait_said(f"log-c runs again (pid {tool.pid}, started by another program)")
        assert local.topology()["log-c"]["pid"] == tool.pid
        # kill -9 of the parent: its children end with it, the tool's own process stays.
        pids = [row["pid"] for name, row in local.topology().items() if name != "log-c"]
        local.process.kill()
        local.process.wait()
        wait_until(
            lambda: not any(alive(pid) for pid in pids), "children of a killed parent are gone"
        )
        assert alive(tool.pid)
        tool.terminate()
        tool.wait(10)

    wrong = memstore(
        "local", "--dir", str(folder), "--log-port", str(log_port + 1), "--port", str(local.port)
    )
    assert wrong.returncode == 2
    assert f"belong to ports from {log_port} on" in wrong.stderr

    with Local(folder, "--replicas", "0", port=local.port) as again:
        again.wait_said("is the primary now", times=2)
        assert again.client("engine-a").get("kept") == b"yes"
        again.wait_said("Ctrl-C stops everything", times=2)
        assert again.stop(signal.SIGTERM) == 0


def test_reset_removes_what_is_ours_only(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "data", log_port=7501)
    folder = Folder.open(plan)
    folder.group_made()
    (folder.path / "data" / "log-a").mkdir()
    (folder.path / "notes.txt").write_text("mine")
    folder.close()
    kept = Folder.open(Plan(plan.folder))
    assert (kept.fresh, kept.log_port) == (False, 7501)
    kept.close()
    again = Folder.open(Plan(plan.folder, log_port=7601, reset=True))
    assert (again.fresh, again.log_port) == (True, 7601)
    assert not (again.path / "data" / "log-a").exists()
    assert (again.path / "notes.txt").read_text() == "mine"
    again.close()


def test_a_child_that_does_not_start_says_why(tmp_path: Path) -> None:
    """A log node's folder belongs to another node.
    The node's message reaches the terminal, and no process keeps running.
    """
    folder = tmp_path / "data"
    (folder / "data" / "log-b").mkdir(parents=True)
    (folder / "data" / "log-b" / "other.txt").write_text("else")
    log_port = free_ports(3)
    (folder / "memstore-local.json").write_text(
        json.dumps({"format": 1, "log_port": log_port, "group_made": False})
    )
    with Local(folder, "--replicas", "0", log_port=log_port) as local:
        assert local.process.wait(30) == 1
        assert re.search(
            r"log-b ended with exit code \d+ at start: txlog: data folder .* is not ours",
            local.said(),
        )
        assert all(row["pid"] is None for row in local.topology().values())


def test_the_parent_may_be_the_terminal(tmp_path: Path) -> None:
    """SIGHUP, which a closed terminal sends, also stops the processes in order."""
    with Local(tmp_path / "data", "--replicas", "0", log_port=free_ports(3)) as local:
        wait_until(
            lambda: (local.folder / "topology.json").exists() and local.topology()["log-a"]["pid"],
            local.said,
        )
        time.sleep(0.2)
        assert local.stop(signal.SIGHUP) == 0
        assert all(row["pid"] is None for row in local.topology().values())


def test_started_from_elsewhere(tmp_path: Path) -> None:
    """An installed memstore works in any folder; the data folder is the current one by default."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.path.insert(0, sys.argv.pop(1)); from memstore.cli import main; "
            "main()",
            str(ROOT),
            "status",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode in (0, 1)  # there may be a node on 6379
    assert "Traceback" not in result.stderr
