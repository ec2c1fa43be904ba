"""`memstore local` moves its nodes to the compiled build while clients write.

It moves them in order, one at a time, and no acknowledged write is lost.

Decides: what replaces the compiler. The stub copies both packages and keeps one hot module only as
bytecode, which INFO takes for a compiled one.
Must not know: how modules are really compiled; tests/ops/test_building.py tests that.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import redis

from tests.ops.running import ROOT, Local, alive, wait_until
from tests.ports import free_ports

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        any((ROOT / "memstore").rglob("*.so")),
        reason="needs the interpreted build: it moves from that one to the other",
    ),
]

STUB = """
import py_compile, shutil, sys, time
root, tree, broken = sys.argv[1:]
for package in ("memstore", "txlog"):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(f"{root}/{package}", f"{tree}/{package}", ignore=ignore)
shard = f"{tree}/memstore/replication/shard.py"
py_compile.compile(shard, f"{shard}c", doraise=True)
import os
os.unlink(shard)
if broken:
    with open(f"{tree}/{broken}", "w") as file:
        file.write("raise SystemExit('a binary that does not start')")
print("3 of 3 objects compiled")
"""


def start(tmp_path: Path, command: list[str], *args: str) -> Local:
    options = [
        "--compiled-tree",
        str(tmp_path / "tree"),
        "--compile-command",
        shlex.join(command),
        *args,
    ]
    return Local(tmp_path / "data", *options, port=free_ports(3), log_port=free_ports(3))


def stub(tmp_path: Path, broken: str = "") -> list[str]:
    return [sys.executable, "-c", STUB, str(ROOT), str(tmp_path / "tree"), broken]


class Writer(threading.Thread):
    """One client that writes numbered keys to the leader, and records the acknowledged ones."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__()
        self.ports = ports
        self.acknowledged: list[int] = []
        self.ended = threading.Event()

    def run(self) -> None:
        clients = [redis.Redis(port=port, socket_timeout=2, retry=None) for port in self.ports]
        number = 0
        while not self.ended.is_set():
            for client in clients:
                number += 1
                try:
                    client.set(f"key:{number}", number)
                    self.acknowledged.append(number)
                except redis.RedisError:
                    continue  # a replica, or a node that is being restarted: try the next node
            time.sleep(0.002)


def test_every_node_moves_and_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    with start(tmp_path, stub(tmp_path)) as local:
        local.wait_up()
        before = {name: row["pid"] for name, row in local.topology().items()}
        writer = Writer([local.port, local.port + 1, local.port + 2])
        writer.start()
        try:
            wait_until(
                lambda: local._living() and "every node runs compiled now" in local.said(),
                local.said,
                120,
            )
            more = len(writer.acknowledged) + 20
            wait_until(
                lambda: len(writer.acknowledged) > more, "writes are acknowledged after the move"
            )
        finally:
            writer.ended.set()
            writer.join()
        said = local.said()
        assert "(interpreted)" in said
        moved = said.partition("compiled after")[2]
        leading = re.findall(r"(\S+) is the primary now", moved)
        assert len(leading) == 2, (
            "one hand-over and the one back: no log node ended before the primary had its lease "
            "from the others again"
        )
        assert leading[1] == "engine-a"
        order = re.findall(r"(\S+) runs compiled$", said, re.MULTILINE)
        assert order == ["log-a", "log-b", "log-c", "engine-b", "engine-c", "engine-a"]
        rows = local.topology()
        assert all(row["cwd"] == str(tmp_path / "tree") for row in rows.values())
        assert all(row["pid"] not in (None, before[name]) for name, row in rows.items())
        assert "killed" not in said, "every process ended in order"
        for name in ("engine-a", "engine-b", "engine-c"):
            assert local.client(name).info("server")["memstore_compiled"] == 1
        leader = local.client("engine-a")
        assert leader.info("replication")["memstore_role"] == "primary", (
            "clients find it where it was"
        )
        found = leader.mget([f"key:{number}" for number in writer.acknowledged])
        lost = [
            number
            for number, value in zip(writer.acknowledged, found, strict=True)
            if value != str(number).encode()
        ]
        assert not lost
        assert local.stop() == 0


def test_a_compiler_that_fails_is_one_line_and_the_cluster_goes_on(tmp_path: Path) -> None:
    with start(
        tmp_path,
        [sys.executable, "-c", "print('much'); raise SystemExit('there is no C compiler')"],
        "--replicas",
        "0",
    ) as local:
        local.wait_up()
        local.wait_said(
            "the hot modules are not compiled: there is no C compiler; the nodes stay interpreted"
        )
        assert f"(log: {tmp_path / 'data' / 'logs' / 'compile.log'})" in local.said()
        assert "much" not in local.said()
        assert local.client("engine-a").set("name", "value")
        assert local.client("engine-a").info("server")["memstore_compiled"] == 0
        assert local.stop() == 0


def test_a_compiler_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    with start(tmp_path, ["/nowhere/compiler"], "--replicas", "0") as local:
        local.wait_up()
        local.wait_said("the hot modules are not compiled:")
        assert local.stop() == 0


def test_ctrl_c_ends_the_compiler_and_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    with start(tmp_path, ["sh", "-c", script], "--replicas", "0") as local:
        local.wait_up()
        wait_until(pids.exists, local.said)
        compiler = [int(pid) for pid in pids.read_text().split()]
        assert all(alive(pid) for pid in compiler)
        assert os.getpriority(os.PRIO_PROCESS, compiler[0]) == 19
        assert local.stop(signal.SIGINT) == 0
        assert not any(alive(pid) for pid in compiler)
        assert local.said().endswith("stopped\n")


@pytest.mark.parametrize("broken", ["txlog/__main__.py", "memstore/__main__.py"])
def test_a_process_that_does_not_start_compiled_goes_back(tmp_path: Path, broken: str) -> None:
    name = "log-a" if broken.startswith("txlog") else "engine-b"
    with start(tmp_path, stub(tmp_path, broken), "--replicas", "1") as local:
        local.wait_up()
        local.wait_said(f"the move to the compiled build ends here: {name} does not run compiled")
        assert "a binary that does not start" in local.said()
        row = local.topology()[name]
        assert row["cwd"] == str(ROOT)
        assert alive(row["pid"])
        assert local.client("engine-a").set("name", "value")
        wait_until(
            lambda: local.client("engine-b").info("replication")["memstore_role"] == "replica",
            local.said,
        )
        assert local.client("engine-b").get("name") == b"value"
        assert local.stop() == 0


def test_an_only_engine_node_stays_interpreted(tmp_path: Path) -> None:
    with start(tmp_path, stub(tmp_path), "--replicas", "0") as local:
        local.wait_up()
        local.wait_said(
            "engine-a is the only engine node, so it stays interpreted until the next start"
        )
        assert local.said().count("runs compiled\n") == 3
        assert local.client("engine-a").set("name", "value")
        assert local.stop() == 0
