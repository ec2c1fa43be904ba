"""A log node's machine is gone and the resolver reports it slowly.
Writes continue, no process ends, and each process can still end at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.processes import WAIT_S, Processes, until

SLOW_S = 4
HERE = Path(__file__).parent


class Named(Processes):
    """Processes that know the log nodes by names."""

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(
            filter(None, (str(HERE / "slow_names"), os.environ.get("PYTHONPATH")))
        )
        return {**os.environ, "PYTHONPATH": path, "SLOW_NAMES": str(self.folder / "slow")}

    def start(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.txt", "ab") as trace:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=trace, stderr=trace, env=self.environment()
            )

    def nodes(self) -> list[str]:
        return [f"log-{az}:{port}" for az, port in zip("abc", self.log_ports, strict=True)]

    def start_named(self) -> None:
        (self.folder / "slow").mkdir()
        self.start_log_servers()
        subprocess.run(
            [sys.executable, "-m", "txlog", "init", "--without-secret", *self.nodes()],
            check=True,
            capture_output=True,
            timeout=WAIT_S,
            env=self.environment(),
        )
        for place in range(len(self.ports)):
            self.start_named_engine(place)
        until("a primary", self.primary)

    def start_named_engine(self, place: int) -> None:
        log = f"txlog://{','.join(self.nodes())}/shard-0"
        self.start(
            f"engine-{place}",
            "memstore",
            "server",
            "--az",
            "abc"[place],
            "--port",
            str(self.ports[place]),
            "--log",
            log,
            "--create",
            "--set",
            "enable-debug-command=yes",
            "--set",
            "log-without-secret=yes",
        )

    def away(self, az: str) -> None:
        """Take away the log node's machine and its name."""
        (self.folder / "slow" / f"log-{az}").write_text(str(SLOW_S))
        self.signal(f"log-{az}", signal.SIGKILL)


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[Named]:
    processes = Named(tmp_path, 3, 2)
    try:
        processes.start_named()
        yield processes
    finally:
        processes.stop()


def test_a_stopped_log_node_interrupts_nothing(shard: Named) -> None:
    leader = shard.leader()
    client = shard.client(leader)
    term = client.info()["log_term"]
    client.set("before", 1)
    shard.away("a")
    longest = 0.0
    end = time.monotonic() + 2 * SLOW_S
    while time.monotonic() < end:
        begun = time.monotonic()
        assert client.set("k", 1)
        longest = max(longest, time.monotonic() - begun)
        time.sleep(0.1)
    assert longest < SLOW_S / 2
    # longer than the lease; the lease is renewed at the same time without a look-up
    client.execute_command("DEBUG", "SLEEP", "1.5")
    assert client.set("k", 2)
    assert client.info()["log_term"] == term
    assert {name for name, process in shard.running.items() if process.poll() is not None} == set()
    assert not any("never retrieved" in shard.trace(name) for name in shard.running)
    # A node that starts now, and the takeover after the primary's death, work without that machine
    # too.
    shard.signal(f"engine-{leader}", signal.SIGKILL)
    begun = time.monotonic()
    until("another primary", lambda: shard.client(1 - leader).role()[0] == "master")
    shard.start_named_engine(leader)
    until(
        "it follows", lambda: shard.client(leader).info("replication")["memstore_role"] == "replica"
    )
    assert time.monotonic() - begun < 20
    # Each of them ends at once, although a look-up is under way.
    time.sleep(1)
    for name in (f"engine-{leader}", f"engine-{1 - leader}", "log-b"):
        begun = time.monotonic()
        process = shard.running[name]
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
        assert time.monotonic() - begun < SLOW_S, name
