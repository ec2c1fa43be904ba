"""L7: the lease while the event loop stands still."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.node.long_commands import join, sort
from tests.ports import free_port
from tests.system.cluster import process_state
from tests.txlog.service.harness import LEASE_MS, Embedded, Service, committed, eventually, win
from tests.txlog.service.test_process import Servers, txlog
from txlog.client import LogAddress, LogClient
from txlog.clock import now_us
from txlog.config import read_secret
from txlog.consensus.outputs import Reopened
from txlog.entry import DATA

LONG_LEASE_MS = 2 * LEASE_MS


class Processes(Service):
    """Log nodes must be processes here: otherwise their loop would stand still too."""

    servers: Servers

    def address(self) -> LogAddress:
        return LogAddress.parse(f"txlog://{','.join(self.servers.addresses())}/shard-0")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("nodes"))
    servers.ports = [free_port() for _ in range(3)]
    for index in range(3):
        servers.start(index)
    assert txlog("init", *servers.addresses()).returncode == 0
    yield servers
    servers.stop()


@pytest.fixture
async def group(running: Servers, tmp_path: Path) -> AsyncIterator[Processes]:
    group = Processes(tmp_path)
    group.servers = running
    yield group
    await group.stop()


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Embedded]:
    alone = Embedded(tmp_path)
    await alone.start()
    yield alone
    await alone.stop()


@pytest.fixture(params=["group", "alone"])
def service(request: pytest.FixtureRequest) -> Service:
    service: Service = request.getfixturevalue(request.param)
    return service


def sleep(ms: int) -> None:
    time.sleep(ms / 1000)


async def ready(client: LogClient) -> None:
    """The lease keeper is there and has its connections."""
    keeper = client.keeper
    assert keeper is not None
    if not client.embedded:
        await eventually(lambda: keeper.lines == client.nodes)


@pytest.mark.parametrize("command", [sleep, sort, join])
async def test_a_loop_that_stands_still_keeps_its_lease(
    service: Service, command: Callable[[int], None]
) -> None:
    """A thread could not do this: `sorted` and `bytes.join` keep the interpreter's lock."""
    client = await service.client()
    client.start_lease_keeper()
    writer = await win(client, lease_ms=LONG_LEASE_MS)
    lost: list[str] = []
    writer.on_lost = lost.append
    await committed(writer, [b"before"])
    await ready(client)
    begun_us = now_us()
    command(3 * LONG_LEASE_MS)
    ended_us = now_us()
    assert ended_us - begun_us > 1.2 * LONG_LEASE_MS * 1000, (
        "the command was not long enough to prove anything"
    )
    assert writer.renewed_until(ended_us) > ended_us
    await asyncio.sleep(0.3)
    assert lost == []
    await committed(writer, [b"after"])


async def test_a_term_is_kept_from_its_first_moment_on(group: Processes) -> None:
    """The connections are there before the term, and the order comes with the lease's end."""
    client = await group.client()
    client.start_lease_keeper()
    await ready(client)
    writer = await win(client, lease_ms=LONG_LEASE_MS)
    begun_us = now_us()
    sleep(3 * LONG_LEASE_MS)
    assert now_us() - begun_us > 1.2 * LONG_LEASE_MS * 1000
    assert writer.renewed_until(now_us()) > now_us()


async def test_a_term_sealed_again_during_a_hand_over_may_not_be_renewed_beside_the_loop(
    alone: Embedded,
) -> None:
    client = await alone.client()
    client.start_lease_keeper()
    writer = await win(client)
    assert writer.renewable is not None
    writer.start_handover()
    writer._event(Reopened(writer.term))
    assert writer.renewable is None
    writer.abort_handover()
    assert writer.renewable is not None


async def test_a_loop_that_is_really_stuck_loses_its_lease(group: Processes) -> None:
    client = await group.client()
    client.start_lease_keeper(busy_limit_ms=3 * LEASE_MS)
    writer = await win(client, lease_ms=LEASE_MS)
    await committed(writer, [b"before"])
    await ready(client)
    begun_us = now_us()
    sleep(6 * LEASE_MS)
    until_us = writer.renewed_until(now_us())
    assert begun_us + 2 * LEASE_MS * 1000 < until_us, "it was renewed"
    assert until_us < begun_us + (3 + 1) * LEASE_MS * 1000 + 100_000, (
        "up to the limit, and a lease runs on from there"
    )
    assert until_us < now_us()


async def test_the_embedded_logs_lease_outlives_any_stand_still_and_an_append_under_way(
    alone: Embedded,
) -> None:
    """No other process can seal: the folder is locked.
    The time of the stand-still does not count for commit-timeout-ms either.
    """
    client = await alone.client()
    client.start_lease_keeper(busy_limit_ms=0)
    writer = await win(client)
    position = writer.append(DATA, b"under way", 1)
    writer.flush()
    sleep(8 * LEASE_MS)
    assert writer.renewed_until(now_us()) > now_us()
    await eventually(lambda: writer.committed >= position)
    assert writer.lease_until_us > now_us() and not writer.lost


async def test_while_the_loop_turns_nothing_is_renewed_beside_it(group: Processes) -> None:
    client = await group.client()
    client.start_lease_keeper()
    writer = await win(client, lease_ms=2000)
    await ready(client)
    keeper = client.keeper
    assert keeper is not None and keeper._board is not None
    await asyncio.sleep(2.2)
    assert writer.lease_until_us > now_us()
    assert keeper._board.read_answers() is None


@pytest.mark.parametrize("how", ["handover", "release", "stop"])
async def test_a_lease_that_was_given_up_is_not_brought_back(service: Service, how: str) -> None:
    client = await service.client()
    client.start_lease_keeper()
    writer = await win(client)
    await ready(client)
    if how == "handover":
        writer.start_handover()
    elif how == "release":
        await writer.release(client.incarnation)
    else:
        writer.stop()
    sleep(2 * LEASE_MS)
    assert writer.renewable is None
    assert writer.renewed_until(now_us()) == 0
    writer.on_keeper_renewed(0, writer.term, writer._proposer.ballot_id, now_us(), now_us())
    assert writer.renewed_until(now_us()) == 0
    if how != "handover" and not client.embedded:
        other = await service.client()
        assert (await win(other, timeout_s=5)).term > writer.term


async def test_a_lease_keeper_that_dies_is_started_again(group: Processes) -> None:
    client = await group.client()
    client.start_lease_keeper()
    writer = await win(client, lease_ms=LONG_LEASE_MS)
    await ready(client)
    keeper = client.keeper
    assert keeper is not None and keeper.process is not None
    first = keeper.process
    os.kill(first.pid, signal.SIGKILL)
    await eventually(lambda: keeper.process is not None and keeper.process is not first)
    await ready(client)
    sleep(2 * LONG_LEASE_MS)
    assert writer.renewed_until(now_us()) > now_us()


async def test_a_lease_keeper_ignores_what_ends_a_process_group_and_ends_with_its_client(
    group: Processes,
) -> None:
    client = await group.client()
    client.start_lease_keeper()
    keeper = client.keeper
    assert keeper is not None and keeper.process is not None
    process = keeper.process
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        process.send_signal(number)  # at once: it may still be starting
    await win(client)
    await ready(client)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        process.send_signal(number)
    await asyncio.sleep(0.2)
    assert process.poll() is None
    await client.close()
    assert process_state(process.pid) in ("", "Z")


async def test_a_node_at_another_address_is_met_there(group: Processes) -> None:
    """Addresses come from the loop's own connections; the lease keeper looks up no names."""
    client = await group.client(
        address=LogAddress.parse(str(group.address()).replace("127.0.0.1", "localhost"))
    )
    client.start_lease_keeper()
    writer = await win(client, lease_ms=LONG_LEASE_MS)
    await ready(client)
    sleep(2 * LONG_LEASE_MS)
    assert writer.renewed_until(now_us()) > now_us()


class Sharing(Servers):
    """Servers that share a secret with their callers."""

    def command(self, index: int) -> list[str]:
        return [*super().command(index), "--secret-file", str(self.folder / "secret")]


async def test_with_a_shared_secret_too(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef\n")
    secret.chmod(0o600)
    servers = Sharing(tmp_path)
    servers.ports = [free_port() for _ in range(3)]
    group = Processes(tmp_path)
    group.servers = servers
    try:
        for index in range(3):
            servers.start(index)
        assert txlog("init", *servers.addresses(), "--secret-file", secret).returncode == 0
        client = LogClient(group.address(), "a", random.Random(3), read_secret(secret), create=True)
        await client.start()
        client.start_lease_keeper()
        writer = await win(client, lease_ms=LONG_LEASE_MS)
        await ready(client)
        keeper = client.keeper
        assert keeper is not None and keeper.process is not None
        for file in ("cmdline", "environ"):
            assert (
                b"0123456789abcdef" not in Path(f"/proc/{keeper.process.pid}/{file}").read_bytes()
            )
        sleep(3 * LONG_LEASE_MS)
        assert writer.renewed_until(now_us()) > now_us()
        await client.close()
    finally:
        servers.stop()
