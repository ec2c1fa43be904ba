"""The loop's side of the lease keeper alone.
The process cannot be started, hangs or does not end; and the options of its connections.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.txlog.service.harness import eventually
from txlog.client import lease_keeper as keeper_module
from txlog.client.lease_keeper import LeaseKeeper
from txlog.clock import now_us
from txlog.consensus.pace import Pace
from txlog.link import SocketLink, _Connection
from txlog.messages import Hello
from txlog.sockets import tune_socket


def make() -> LeaseKeeper:
    """Its client knows no log node and has no writer."""
    client: Any = SimpleNamespace(
        clock=now_us, nodes=3, embedded=False, writer=None, secret=None, membership=1,
        incarnation=bytes(16), pace=Pace(), address=SimpleNamespace(log="log"),
        members=SimpleNamespace(group=bytes(16), node_of={}),
    )  # fmt: skip
    return LeaseKeeper(client, 15_000)


@pytest.fixture
async def keeper() -> AsyncIterator[LeaseKeeper]:
    keeper = make()
    keeper.start()
    yield keeper
    keeper.stop()


def turns(keeper: LeaseKeeper) -> bool:
    return keeper._board is not None and keeper._board.keeper_beat_us > 0


def refuse(*_: Any) -> Any:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_without_a_descriptor_for_the_pipe_the_process_is_started_later(
    keeper: LeaseKeeper,
) -> None:
    """Earlier, the error came out of a timer, and that ended the node."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    await eventually(lambda: turns(keeper))
    first = keeper.process
    assert first is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pipe", refuse)
        os.kill(first.pid, signal.SIGKILL)
        await eventually(lambda: keeper._wait_us >= 800_000)  # each attempt failed
        assert keeper.process is None
    await eventually(lambda: keeper.process is not None and turns(keeper))
    assert errors == []


async def test_without_memory_to_share_there_is_no_keeper_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keeper = make()
    monkeypatch.setattr(keeper_module.mmap, "mmap", refuse)
    keeper.start()
    assert (keeper.process, keeper.lines, keeper._file) == (None, 0, -1)
    keeper.stop()


async def test_a_process_that_hangs_is_killed_and_started_again(keeper: LeaseKeeper) -> None:
    await eventually(lambda: turns(keeper))
    first = keeper.process
    assert first is not None
    os.kill(first.pid, signal.SIGSTOP)
    await eventually(
        lambda: keeper.process is not None and keeper.process is not first and turns(keeper)
    )
    await eventually(lambda: first.returncode == -signal.SIGKILL)


async def test_one_long_stand_still_of_the_loop_is_no_silence_of_the_process(
    keeper: LeaseKeeper,
) -> None:
    await eventually(lambda: turns(keeper))
    first = keeper.process
    time.sleep(1.5 * keeper_module._SILENT_CHECKS * keeper_module._CHECK_US / 1e6)
    await asyncio.sleep(1.5 * keeper_module._CHECK_US / 1e6)
    assert keeper.process is first and first is not None and first.poll() is None


def test_the_loop_does_not_wait_for_the_end_of_a_killed_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stuck:
        """A process inside the kernel: a signal does not end it yet."""

        ended = killed = False

        def kill(self) -> None:
            self.killed = True

        def poll(self) -> int | None:
            return -9 if self.ended else None

        def wait(self, timeout: float | None = None) -> int:
            assert timeout is not None, "without a limit"
            raise subprocess.TimeoutExpired("keeper", timeout)

    async def scene() -> None:
        keeper, stuck = make(), Stuck()
        process: Any = stuck
        keeper.process = process
        keeper._end_process()
        assert stuck.killed and keeper.process is None and keeper._killed == [process]
        stuck.ended = True
        keeper._beat()
        assert keeper._killed == []
        keeper._killed = [process]
        keeper.stop()

    asyncio.run(scene())


def test_a_vanished_peer_of_an_idle_connection_is_noticed() -> None:
    with socket.socket() as sock:
        tune_socket(sock, 1000)
        options = (
            socket.TCP_NODELAY,
            socket.TCP_USER_TIMEOUT,
            socket.TCP_KEEPIDLE,
            socket.TCP_KEEPINTVL,
        )
        values = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert (bool(values[0]), values[1], values[2] <= 10, values[3] <= 10) == (
            True,
            1000,
            True,
            True,
        )
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_each_address_of_a_name_has_a_connection_of_its_own() -> None:
    """Earlier, two attempts shared one object: one's result was taken for the other's."""

    class Transport:
        aborted = False

        def abort(self) -> None:
            self.aborted = True

        def get_extra_info(self, name: str) -> None:
            return None

    owner: Any = None
    link = SocketLink(
        0,
        "name",
        1,
        owner,
        lambda: Hello(1, "log", bytes(16), "writer", 0, bytes(16)),
        None,
        random.Random(1),
    )
    first, second = link._new_connection(), link._new_connection()
    assert (
        isinstance(first, _Connection) and isinstance(second, _Connection) and first is not second
    )
    old, new = Transport(), Transport()
    for connection, transport in ((first, old), (second, new)):
        made: Any = transport
        connection.connection_made(made)
    first.connection_lost(None)
    assert (old.aborted, new.aborted, link.connection is second, link._down.is_set()) == (
        True,
        False,
        True,
        False,
    )
