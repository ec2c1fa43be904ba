"""Somebody without the secret listens at the address of a log node, or passes its connections on to another one."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.txlog.service.cluster import Group, Reader, committed, eventually, win
from txlog.client import LogClient, LogRefused
from txlog.messages import Challenge
from txlog.wire import encode

SECRET = b"a secret of some length"


class Relay:
    """Listens at one node's port and passes each connection on to another node."""

    def __init__(self, port: int, to: int) -> None:
        self._port = port
        self._to = to
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> Relay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._far(writer)
        if far_reader is not None and far_writer is not None:
            self._writers += [writer, far_writer]
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _far(self, writer: asyncio.StreamWriter) -> tuple[asyncio.StreamReader | None, asyncio.StreamWriter | None]:
        """Waits for the other node, so that this way to it is the first one."""
        for _ in range(500):
            try:
                return await asyncio.open_connection("127.0.0.1", self._to)
            except OSError:
                await asyncio.sleep(0.002)
        writer.close()
        return None, None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()


@pytest.fixture
async def secret_group(tmp_path: Path) -> AsyncIterator[Group]:
    group = Group(tmp_path, SECRET)
    await group.start()
    yield group
    await group.stop()


def connected(client: LogClient) -> list[bool]:
    return [state.connected for state in client.node_states()]


def at(group: Group, index: int) -> int:
    """Where a node stands in a client's list, which is sorted."""
    return sorted(group.ports).index(group.ports[index])


def error_at(client: LogClient, group: Group, index: int) -> str:
    return client.node_states()[at(group, index)].error


async def test_a_relay_at_one_address_does_not_keep_a_client_from_starting(secret_group: Group) -> None:
    """Node a is down; its address leads to b. The group has a majority, and the client uses it."""
    group = secret_group
    await group.down(0)
    relay = await Relay(group.ports[0], group.ports[1]).start()
    client = await group.client()
    await eventually(lambda: sum(connected(client)) == 2)
    await eventually(lambda: "is the address of log node a and leads to log node b" in error_at(client, group, 0))
    assert client.node_states()[at(group, 0)].node == "", "nothing is kept of the node that answered there"
    await committed(await win(client), [b"x"])
    relay.stop()
    await group.up(0)
    await eventually(lambda: all(connected(client)))


async def test_a_relay_that_is_first_does_not_take_a_node_s_place(secret_group: Group) -> None:
    """Nodes a and b are down; a's address leads to b as soon as it is there. Both are used when both are there themselves."""
    group = secret_group
    await group.down(0)
    await group.down(1)
    relay = await Relay(group.ports[0], group.ports[1]).start()
    client = await group.client()
    await group.up(1)
    await eventually(lambda: connected(client)[at(group, 1)])
    await eventually(lambda: "leads to log node b" in error_at(client, group, 0))
    relay.stop()
    await group.up(0)
    await eventually(lambda: all(connected(client)))
    assert [client.node_states()[at(group, index)].node for index in range(3)] == ["a", "b", "c"]


async def test_a_reader_goes_by_the_member_list_too(secret_group: Group) -> None:
    """The reader is at node a; then a goes down and its address leads to b. The reader moves to another node's own address."""
    group = secret_group
    client = await group.client(az="a")
    await eventually(lambda: all(connected(client)))
    writer = await win(client)
    reader = Reader().read(client)
    subscription = reader.subscription
    assert subscription is not None
    await reader.until((await committed(writer, [b"x"]))[0])
    assert subscription.node == at(group, 0)
    await group.down(0)
    relay = await Relay(group.ports[0], group.ports[1]).start()
    await eventually(lambda: subscription.node != at(group, 0), 5)
    await reader.until((await committed(writer, [b"y"]))[0])
    relay.stop()


async def impostor(port: int, greeting: bytes) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read(1 << 16)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port)


async def test_one_impostor_does_not_end_a_client_that_starts_before_the_nodes(secret_group: Group) -> None:
    """At a cold start no majority is there yet, and one address answers without the secret: the client waits for the others."""
    group = secret_group
    for index in range(3):
        await group.down(index)
    server = await impostor(group.ports[0], encode(Challenge(b"")))
    client = await group.client()
    await eventually(lambda: "secret" in error_at(client, group, 0))
    for index in (1, 2):
        await group.up(index)
    await eventually(lambda: sum(connected(client)) == 2)
    server.close()


async def test_a_client_with_another_secret_is_told_by_a_majority(secret_group: Group) -> None:
    await secret_group.down(2)
    client = LogClient(secret_group.address(), "a", random.Random(1), b"another secret of some length")
    with pytest.raises(LogRefused, match="secret"):
        await client.start()
