"""Idle connections take no descriptor that a log node needs for its own files."""

from __future__ import annotations

import errno
import os
import random
import resource
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.txlog.service.harness import committed, win
from tests.txlog.service.test_process import Servers, txlog
from txlog.client import LogAddress, LogClient
from txlog.server.callers import Callers
from txlog.storage import files


class Few(Servers):
    """Each log node may open this number of files."""

    descriptors = 0

    def start(self, index: int) -> subprocess.Popen[str]:
        command = self.command(index)
        if self.descriptors:
            command = ["bash", "-c", f'ulimit -n {self.descriptors}; exec "$@"', "bash", *command]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True)
        if index < len(self.processes):
            self.processes[index] = process
        else:
            self.processes.append(process)
        return process


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Few]:
    servers = Few(tmp_path)
    servers.ports = [free_port() for _ in range(3)]
    for index in range(3):
        servers.start(index)
    assert txlog("init", *servers.addresses()).returncode == 0
    yield servers
    servers.stop()


async def test_sixty_idle_connections_and_the_next_segment(servers: Few) -> None:
    """Earlier, none of twenty spare descriptors was left for the next segment.
    The node ended: exit 1, "Too many open files".
    """
    in_use = len(os.listdir(f"/proc/{servers.processes[0].pid}/fd"))
    for process in servers.processes:
        process.terminate()
        process.wait(10)
    servers.descriptors = in_use + 20
    for index in range(3):
        servers.start(index)
    for index in range(3):
        servers.listening(index)
    idle = [
        socket.create_connection(("127.0.0.1", port)) for port in servers.ports for _ in range(60)
    ]
    client = LogClient(
        LogAddress.parse(f"txlog://{','.join(servers.addresses())}/shard-0"),
        "a",
        random.Random(1),
        create=True,
    )
    await client.start()
    writer = await win(client, lease_ms=2000)
    more = [
        socket.create_connection(("127.0.0.1", port)) for port in servers.ports for _ in range(60)
    ]
    for _ in range(12):  # three segments of 8 MiB
        await committed(writer, [os.urandom(2 << 20)], 30)
    assert [process.poll() for process in servers.processes] == [None] * 3
    assert all(state.connected for state in client.node_states())
    await client.close()
    for sock in [*idle, *more]:
        sock.close()


def test_a_file_is_opened_when_connections_have_taken_every_descriptor(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files.keep_descriptors()
    taken: list[int] = []
    # the limit is on the numbers: one that is kept must lie below it, or it is of no use afterwards
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    try:
        with pytest.raises(OSError) as caught:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        assert caught.value.errno == errno.EMFILE
        opened = files.Files().open(tmp_path / "segment", create=True)
        files.Files().sync_folder(tmp_path)
        files.keep_descriptors()  # none is left, and that is not an error
        os.close(opened)
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files.keep_descriptors()
    assert len(files._kept) == files.KEPT_DESCRIPTORS


class Somebody:
    def __init__(self, address: str = "h", unread: int = 0) -> None:
        self.greeted = False
        self.address = address
        self.unread = unread
        self.dropped = ""

    def drop(self, reason: str) -> None:
        self.dropped = reason


def test_the_oldest_silent_caller_gives_way_and_a_served_one_never() -> None:
    callers = Callers(3, 2, 1000, 1000)
    first, second, third = Somebody(), Somebody(), Somebody()
    assert callers.add(first) == callers.add(second) == ""
    assert callers.add(third) == "" and first.dropped and not second.dropped, "two of one address"
    other = Somebody("i")
    assert callers.add(other) == "" and len(callers) == 3
    assert callers.add(Somebody("j")) == "" and second.dropped, "three in all"
    for caller in callers.everyone():
        callers.greeted(caller)
    assert "too many connections: 3, the limit is 3" in callers.add(Somebody("k"))
    callers.remove(other)
    assert callers.add(Somebody("k")) == ""


def test_the_caller_with_the_most_unread_is_closed_after_a_second_look() -> None:
    callers = Callers(9, 9, 1000, 1000)
    one, two = Somebody(unread=10), Somebody(unread=700)
    for caller in (one, two):
        assert callers.add(caller) == ""
    callers.on_output(one, 600)
    callers.on_output(two, 700)
    assert not one.dropped and not two.dropped, "the first has read meanwhile"
    one.unread = 600
    callers.on_output(one, 600)
    assert two.dropped and not one.dropped
    callers.on_output(two, 5000)
    assert not one.dropped, "who is gone holds nothing"
