"""Log services for tests, and helpers around a client.
A service has three log nodes in this process on free ports, or an embedded log.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

from tests.ports import free_port
from txlog.client import (
    CampaignLost,
    Heartbeat,
    LogAddress,
    LogClient,
    Subscription,
    Writer,
)
from txlog.clock import wall_ms
from txlog.config import LogServerConfig
from txlog.embedded import local_log, make_client
from txlog.entry import DATA, GENESIS_CHAIN, NO_ENTRY, Entry, EntryId
from txlog.messages import Message
from txlog.server.identity import DataFolder
from txlog.server.node import LogNode
from txlog.tools.admin import init_group

LEASE_MS = 400
SEGMENT_BYTES = 256 << 10


class Service:
    """The functions of a log service that a conformance test needs."""

    nodes = 1

    def __init__(self, folder: Path, secret: bytes | None = None) -> None:
        self.folder = folder
        self.secret = secret
        self.clients: list[LogClient] = []
        self._seed = 0

    async def start(self) -> None: ...
    async def stop(self) -> None:
        for client in list(self.clients):
            await self.close(client)

    def address(self) -> LogAddress:
        raise NotImplementedError

    async def client(self, az: str = "a", address: LogAddress | None = None) -> LogClient:
        self._seed += 1
        client = make_client(
            address or self.address(), az, random.Random(self._seed), self.secret, create=True
        )
        await client.start()
        self.clients.append(client)
        return client

    async def close(self, client: LogClient) -> None:
        self.clients.remove(client)
        await client.close()

    async def restart(self) -> None:
        """Stop everything and start it again; the test has closed its clients before."""


class Proxy:
    """A proxy between a client and one log node: it can cut connections and refuse new ones."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.cut_off = False

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut_off:
            writer.close()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        self._writers.discard(writer)
        writer.close()

    def cut(self) -> None:
        self.cut_off = True
        for writer in list(self._writers):
            writer.close()

    def heal(self) -> None:
        self.cut_off = False

    def stop(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()


class Group(Service):
    nodes = 3

    def __init__(self, folder: Path, secret: bytes | None = None, **settings: Any) -> None:
        """``settings`` are those of the log nodes."""
        super().__init__(folder, secret)
        self.settings: dict[str, Any] = {
            "segment_bytes": SEGMENT_BYTES,
            "cache_bytes": 64 << 10,
            "secret": secret,
            **settings,
        }
        self.ports = [free_port() for _ in range(3)]
        self.running: dict[int, LogNode] = {}

    async def start(self) -> None:
        for index in range(3):
            await self.up(index)
        await init_group([("127.0.0.1", port) for port in self.ports], self.secret)

    async def stop(self) -> None:
        await super().stop()
        for index in list(self.running):
            await self.down(index)

    def address(self) -> LogAddress:
        return LogAddress.parse(
            "txlog://" + ",".join(f"127.0.0.1:{port}" for port in self.ports) + "/shard-0"
        )

    async def proxies(self) -> tuple[list[Proxy], LogAddress]:
        """One proxy for each node, and the address that leads through them."""
        proxies = [await Proxy(port).start() for port in self.ports]
        return proxies, LogAddress.parse(
            "txlog://" + ",".join(f"127.0.0.1:{proxy.port}" for proxy in proxies) + "/shard-0"
        )

    async def up(self, index: int) -> None:
        config = LogServerConfig(
            "abc"[index], self.folder / f"node{index}", self.ports[index], **self.settings
        )
        node = LogNode(config, DataFolder.open(config.data))
        await node.start()
        self.running[index] = node

    async def down(self, index: int) -> None:
        await self.running.pop(index).close()

    async def restart(self) -> None:
        for index in range(3):
            await self.down(index)
        for index in range(3):
            await self.up(index)


class Embedded(Service):
    async def start(self) -> None:
        local_log.SEGMENT_BYTES, local_log.CACHE_BYTES = SEGMENT_BYTES, 64 << 10

    def address(self) -> LogAddress:
        return LogAddress.parse(f"embedded:{self.folder / 'log'}")


class Reader:
    """Collects the entries of a subscription."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.committed = 0
        self.heartbeats: list[Heartbeat] = []
        self.error = ""
        self.subscription: Subscription | None = None

    def on_records(self, entries: list[Entry], committed: int) -> None:
        self.entries += entries
        assert committed >= self.committed, "committed went down"
        self.committed = committed

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        self.heartbeats.append(heartbeat)

    def on_error(self, reason: str) -> None:
        self.error = reason

    def read(self, log: Any, start: int = 1, chain: bytes = GENESIS_CHAIN) -> Reader:
        """``log``: a client, or whatever else gives subscriptions."""
        self.subscription = log.subscribe(
            start, chain, self.on_records, self.on_heartbeat, self.on_error
        )
        return self

    async def until(self, position: int, timeout_s: float = 10) -> list[Entry]:
        await eventually(
            lambda: bool(self.entries) and self.entries[-1].position >= position, timeout_s
        )
        return self.entries


async def eventually(condition: object, timeout_s: float = 10) -> None:
    """Wait until ``condition()`` holds; the bound only ends a test that has failed."""
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


async def win(
    client: LogClient,
    applied: EntryId = NO_ENTRY,
    chain: bytes = GENESIS_CHAIN,
    lease_ms: int = LEASE_MS,
    timeout_s: float = 10,
) -> Writer:
    """Campaign until the campaign is won."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await client.campaign(applied, chain, lease_ms, b'{"node":"test"}', wall_ms)
            except CampaignLost as lost:
                await asyncio.sleep(max(lost.retry_ms, 10) / 1000)


async def committed(writer: Writer, payloads: list[bytes], timeout_s: float = 10) -> list[int]:
    """Append all, and wait until the last is committed."""
    positions = [writer.append(DATA, payload, wall_ms()) for payload in payloads]
    await eventually(lambda: writer.committed >= positions[-1], timeout_s)
    return positions


class Ears:
    """A `session.AnswerSink` that keeps the answers for a caller."""

    blocked = False
    peer_name = "ears"

    def __init__(self) -> None:
        self.heard: list[Message] = []

    def send(self, message: Message) -> None:
        self.heard.append(message)

    def on_served(self) -> None:
        """Do nothing: the caller is this process."""

    def end(self, reason: str) -> None: ...
