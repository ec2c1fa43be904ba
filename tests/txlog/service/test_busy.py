"""L7: the lease while the event loop stands still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.txlog.service.cluster import LEASE_MS, Embedded, Service, committed, eventually, win
from tests.txlog.service.test_process import Servers, free_port, txlog
from txlog.client import LogAddress
from txlog.clock import now_us


class Processes(Service):
    """Log nodes must be processes here: the loop that stands still would be theirs too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.servers = Servers(folder)

    async def start(self) -> None:
        self.servers.ports = [free_port() for _ in range(3)]
        for index in range(3):
            self.servers.start(index)
        assert txlog("init", *self.servers.addresses()).returncode == 0

    async def stop(self) -> None:
        await super().stop()
        self.servers.stop()

    def address(self) -> LogAddress:
        return LogAddress.parse(f"txlog://{','.join(self.servers.addresses())}/shard-0")


@pytest.fixture(params=[Processes, Embedded], ids=["group", "embedded"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    service: Service = request.param(tmp_path)
    await service.start()
    yield service
    await service.stop()


async def test_a_loop_that_stands_still_keeps_its_lease_up_to_the_limit(service: Service) -> None:
    client = await service.client()
    client.start_busy_helper(busy_limit_ms=4 * LEASE_MS)
    writer = await win(client, lease_ms=2 * LEASE_MS)
    lost: list[str] = []
    writer.on_lost = lost.append
    await committed(writer, [b"before"])
    assert client.busy is not None
    busy = client.busy
    await eventually(lambda: all(line.socket is not None for line in busy._lines))
    assert busy.renewals == 0, "while the loop turns, the helper sends nothing"
    time.sleep(3 * LEASE_MS / 1000)  # a command; longer than the lease
    assert writer.lease_until_us > now_us()
    await asyncio.sleep(0.3)
    assert lost == []
    await committed(writer, [b"after"])
    sleeping_us = now_us()
    time.sleep(7 * LEASE_MS / 1000)  # really stuck: past the limit and a lease
    assert writer.lease_until_us < now_us()
    assert writer.lease_until_us < sleeping_us + (4 + 2) * LEASE_MS * 1000 + 100_000


async def test_a_lease_that_is_over_is_not_brought_back(service: Service) -> None:
    client = await service.client()
    client.start_busy_helper()
    writer = await win(client)
    wanted = writer.renewable()
    assert wanted is not None
    assert writer.credit(wanted, now_us() + 10_000_000)
    assert not writer.credit((wanted[0], bytes(16)), now_us() + 20_000_000), "another round"
    assert writer.lease_until_us < now_us() + 11_000_000
    await writer.release(client.incarnation)
    assert writer.renewable() is None
    assert not writer.credit(wanted, now_us() + 10_000_000)
    assert writer.lease_until_us == 0
