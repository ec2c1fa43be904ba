"""A command that runs for longer than the lease, in real processes.
The role stays for `busy-limit-ms`, and ends at once when the process ends.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.node.processes import Processes, until

LEASE_MS = 1000
LIMIT_MS = 8000
LONG_LIMIT_S = 15


class Busy(Processes):
    """Processes whose engines have the commands of `long_commands`."""

    def start(self, name: str, *command: str) -> None:
        program = "tests.node.long_commands" if command[0] == "memstore" else command[0]
        with open(self.folder / f"{name}.txt", "ab") as trace:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", program, *command[1:]], stdout=trace, stderr=trace
            )

    def ask(self, place: int, *argument: Any, timeout: float = 60) -> Any:
        with redis.Redis(
            port=self.ports[place], socket_timeout=timeout, decode_responses=True
        ) as client:
            return client.execute_command(*argument)

    def term(self, place: int) -> str:
        return str(self.client(place).info()["log_term"])

    def keepers(self, place: int) -> list[int]:
        """The lease keepers of an engine."""
        pid = self.running[f"engine-{place}"].pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [
            int(child)
            for child in children
            if b"txlog.lease_keeper" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def revive(self) -> None:
        """Start the engines that are down, and wait until all engines have a role."""
        for place in range(len(self.ports)):
            if f"engine-{place}" not in self.running:
                self.start_engine(place)
        until(
            "a primary and its replicas",
            lambda: self.primary() and all(self.role(place) for place in range(len(self.ports))),
        )
        time.sleep(1)  # the lease keeper connects

    def role(self, place: int) -> str:
        role = str(self.client(place).info("replication")["memstore_role"])
        return role if role in ("primary", "replica") else ""


def made(folder: Path, log_nodes: int, engines: int, lease_ms: int, limit_ms: int) -> Busy:
    return Busy(
        folder,
        log_nodes,
        engines,
        f"lease-ms={lease_ms}",
        f"busy-limit-ms={limit_ms}",
        "enable-debug-command=yes",
    )


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    processes = made(tmp_path_factory.mktemp("busy"), 3, 2, LEASE_MS, LIMIT_MS)
    try:
        processes.start_all()
        yield processes
    finally:
        processes.stop()


def keeps(shard: Busy, *command: Any) -> float:
    """The command is answered, and role and term are unchanged; the time it took."""
    shard.revive()
    leader = shard.leader()
    term = shard.term(leader)
    begun = time.monotonic()
    answer = shard.ask(leader, *command)
    took = time.monotonic() - begun
    assert not isinstance(answer, Exception)
    assert shard.ask(leader, "SET", "after", "x") is True
    time.sleep(2 * LEASE_MS / 1000)
    assert shard.leader() == leader and shard.term(leader) == term
    assert "step-down" not in shard.trace(f"engine-{leader}")
    return took


@pytest.mark.parametrize("command", ["TEST.SORT", "TEST.JOIN"])
def test_one_long_call_does_not_cost_the_role(shard: Busy, command: str) -> None:
    assert keeps(shard, command, 2 * LEASE_MS) > 1.2 * LEASE_MS / 1000


def test_a_long_command_does_not_cost_the_role(shard: Busy) -> None:
    """On compiled modules the command keeps the interpreter's lock all the time."""
    shard.ask(shard.leader(), "SADD", "s", *(f"m{number}" for number in range(1000)))
    keeps(shard, "SUNION", *["s"] * 20_000)


def test_a_node_asleep_keeps_its_role(shard: Busy) -> None:
    keeps(shard, "DEBUG", "SLEEP", "1.6")


def test_the_embedded_log_keeps_its_role_through_any_stand_still(tmp_path: Path) -> None:
    single = made(tmp_path, 0, 1, 200, 0)
    try:
        single.start_all()
        keeps(single, "DEBUG", "SLEEP", "2")
        keeps(single, "TEST.SORT", 2000)
        with socket.create_connection(("127.0.0.1", single.ports[0])) as client:
            client.sendall(b"SET before 1\r\nDEBUG SLEEP 1\r\nSET q 1\r\nGET q\r\n")
            heard = b""
            client.settimeout(30)
            while heard.count(b"\r\n") < 5:
                heard += client.recv(1000)
        assert heard == b"+OK\r\n" * 3 + b"$1\r\n1\r\n"
        single.signal("engine-0", signal.SIGSTOP)
        time.sleep(1)
        single.signal("engine-0", signal.SIGCONT)
        assert single.ask(0, "GET", "q") == "1"
        assert "step-down" not in single.trace("engine-0")
    finally:
        single.stop()


def other_leads(shard: Busy, before: int) -> float:
    """Wait until another engine leads; the seconds it took."""
    begun = time.monotonic()
    until("another primary", lambda: shard.client(1 - before).role()[0] == "master")
    return time.monotonic() - begun


def test_a_command_beyond_the_limit_costs_the_role_and_its_client_is_told(shard: Busy) -> None:
    shard.revive()
    leader = shard.leader()
    with pytest.raises(redis.RedisError):
        shard.ask(leader, "TEST.JOIN", LIMIT_MS + 3 * LEASE_MS)
    assert "step-down" in shard.trace(f"engine-{leader}")
    assert shard.client(1 - leader).role()[0] == "master"


def busy(shard: Busy) -> tuple[int, socket.socket]:
    """The leader, inside a command during which the lease keeper renews."""
    shard.revive()
    leader = shard.leader()
    client = socket.create_connection(("127.0.0.1", shard.ports[leader]))
    client.sendall(b"TEST.JOIN %d\r\n" % (2 * LIMIT_MS))
    time.sleep(3 * LEASE_MS / 1000)
    assert shard.client(1 - leader).role()[0] == "slave", "it is helped through"
    return leader, client


def test_a_primary_killed_inside_a_long_command_is_replaced_as_any_other(shard: Busy) -> None:
    leader, client = busy(shard)
    (keeper,) = shard.keepers(leader)
    shard.signal(f"engine-{leader}", signal.SIGKILL)
    assert other_leads(shard, leader) < LIMIT_MS / 2000, "far sooner than the limit"
    until(
        "its lease keeper is gone",
        lambda: (
            not Path(f"/proc/{keeper}").exists()
            or b"keeper" not in Path(f"/proc/{keeper}/cmdline").read_bytes()
        ),
    )
    client.close()


def test_a_primary_stopped_inside_a_long_command_is_replaced_as_any_other(shard: Busy) -> None:
    leader, client = busy(shard)
    process = shard.running[f"engine-{leader}"]
    process.send_signal(signal.SIGSTOP)
    try:
        assert other_leads(shard, leader) < LIMIT_MS / 2000, "far sooner than the limit"
        shard.ask(1 - leader, "SET", "by the other", "1")
    finally:
        process.send_signal(signal.SIGCONT)
    client.settimeout(60)
    answer = b""
    with contextlib.suppress(OSError):
        answer = client.recv(1000)
    assert not answer.startswith(b"+OK"), "it no longer leads, so it has nothing to say"
    client.close()
    until("it follows", lambda: shard.client(leader).role()[0] == "slave")


@pytest.mark.long
@pytest.mark.parametrize("seconds", [1.5, 5, 13, 20])
@pytest.mark.parametrize("command", ["TEST.SORT", "TEST.JOIN", "SUNION"])
def test_the_defaults(tmp_path: Path, command: str, seconds: float) -> None:
    """A lease of 1 s, a limit of 15 s.
    Replicas do not campaign meanwhile, and the stand-still does not cost the role afterwards.
    """
    shard = made(tmp_path, 3, 3, 1000, LONG_LIMIT_S * 1000)
    try:
        shard.start_all()
        shard.revive()
        leader = shard.leader()
        argument: list[Any] = [int(seconds * 1000)]
        if command == "SUNION":
            shard.ask(leader, "SADD", "s", *(f"m{number}" for number in range(1000)))
            begun = time.monotonic()
            shard.ask(leader, "SUNION", *["s"] * 5000)
            argument = ["s"] * int(5000 * seconds / (time.monotonic() - begun))
        term, campaigns = (
            shard.term(leader),
            sum(shard.trace(f"engine-{place}").count("campaign") for place in range(3)),
        )
        with socket.create_connection(("127.0.0.1", shard.ports[leader])) as writer:
            writer.sendall(b"SET under way 1\r\n")
            begun = time.monotonic()
            told: Any = None
            try:
                shard.ask(leader, command, *argument)
            except redis.RedisError as error:
                told = error
            took = time.monotonic() - begun
        if LONG_LIMIT_S - 0.5 < took < LONG_LIMIT_S + 1.5:
            pytest.skip(f"{took:.1f} s is too near to the limit to judge by")
        if took > LONG_LIMIT_S:
            assert told is not None, f"{took:.1f} s"
            until("another term", lambda: shard.term(shard.leader()) != term)
            return
        assert told is None, f"{took:.1f} s"
        for _ in range(30):
            assert shard.ask(leader, "SET", "after", "x") is True
            time.sleep(0.1)
        assert shard.leader() == leader and shard.term(leader) == term
        assert campaigns == sum(
            shard.trace(f"engine-{place}").count("campaign") for place in range(3)
        )
    finally:
        shard.stop()
