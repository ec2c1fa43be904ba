"""A process without the secret listens at the address of a log node.
Or it passes its connections on to another node.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.txlog.service.harness import Group, Reader, committed, eventually, win
from txlog import tool_connection
from txlog.cli import app
from txlog.client import LogAddress, LogClient, LogRefused
from txlog.config import LogServerConfig
from txlog.messages import Challenge, Reject
from txlog.server import node as node_module
from txlog.server.identity import DataFolder
from txlog.server.logs import open_store
from txlog.server.node import LogNode
from txlog.tool_connection import AdminError, ToolConnection
from txlog.tools.admin import ask_status, init_group
from txlog.tools.replace import replace_node
from txlog.wire import encode

HOST = "127.0.0.1"
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

    async def _far(
        self, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader | None, asyncio.StreamWriter | None]:
        """Wait for the other node, so that this path to it is the first one."""
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
    """The place of a node in a client's list, which is sorted."""
    return sorted(group.ports).index(group.ports[index])


def error_at(client: LogClient, group: Group, index: int) -> str:
    return client.node_states()[at(group, index)].error


async def test_a_relay_at_one_address_does_not_keep_a_client_from_starting(
    secret_group: Group,
) -> None:
    """Node a is down; its address leads to b. The group has a majority, and the client uses it."""
    group = secret_group
    await group.down(0)
    relay = await Relay(group.ports[0], group.ports[1]).start()
    client = await group.client()
    await eventually(lambda: sum(connected(client)) == 2)
    await eventually(
        lambda: "is the address of log node a and leads to log node b" in error_at(client, group, 0)
    )
    assert client.node_states()[at(group, 0)].node == "", (
        "nothing is kept of the node that answered there"
    )
    await committed(await win(client), [b"x"])
    relay.stop()
    await group.up(0)
    await eventually(lambda: all(connected(client)))


async def test_a_relay_that_is_first_does_not_take_a_node_s_place(secret_group: Group) -> None:
    """Nodes a and b are down; a's address leads to b as soon as b is there.
    The client uses both when both are there themselves.
    """
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
    """The reader is at node a; then a goes down and its address leads to b.
    The reader moves to another node's own address.
    """
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


async def test_one_impostor_does_not_end_a_client_that_starts_before_the_nodes(
    secret_group: Group,
) -> None:
    """At a cold start there is no majority yet, and one address answers without the secret.
    The client waits for the others.
    """
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
    client = LogClient(
        secret_group.address(), "a", random.Random(1), b"another secret of some length", create=True
    )
    with pytest.raises(LogRefused, match="secret"):
        await client.start()


# ------------------------------------------------------------------ the operator's tools


async def fresh_node(folder: Path, az: str = "d", max_connections: int = 64) -> LogNode:
    node = LogNode(
        LogServerConfig(
            az, folder, 0, secret=SECRET, segment_bytes=256 << 10, max_connections=max_connections
        ),
        DataFolder.open(folder),
    )
    await node.start()
    return node


NOT_A_NODE = {
    "a challenge without a secret": encode(Challenge(b"")),
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a refusal": encode(Challenge(b"n" * 60)) + encode(Reject("group: go away")),
}


@pytest.mark.parametrize("greeting", NOT_A_NODE.values(), ids=NOT_A_NODE)
@pytest.mark.parametrize("lost", [0, 1])
async def test_an_impostor_at_a_lost_address_does_not_stop_its_replacement(
    secret_group: Group, tmp_path: Path, greeting: bytes, lost: int
) -> None:
    """A process that does not prove that it is a log node counts as a node that does not answer.
    The operator is told so.
    """
    group = secret_group
    await committed(await win(await group.client()), [b"x"])
    await group.down(lost)
    server = await impostor(group.ports[lost], greeting)
    new = await fresh_node(tmp_path / "new")
    told: list[str] = []
    line = await replace_node(
        (HOST, group.ports[lost]),
        (HOST, new.port),
        [(HOST, group.ports[index]) for index in range(3) if index != lost],
        SECRET,
        20,
        told.append,
    )
    assert "is a member in full: membership version 2" in line
    assert any(
        f"log node {'abc'[lost]} at {HOST}:{group.ports[lost]} does not answer (not as a log node: "
        in text
        for text in told
    )
    server.close()
    await new.close()


async def test_an_impostor_at_a_member_s_address_is_a_member_that_does_not_answer(
    secret_group: Group, tmp_path: Path
) -> None:
    """Nothing changes while too few members prove themselves, whatever process answers instead."""
    group = secret_group
    await group.down(0)
    await group.down(1)
    server = await impostor(group.ports[1], encode(Challenge(b"")))
    new = await fresh_node(tmp_path / "new")
    told: list[str] = []
    with pytest.raises(
        AdminError, match=r"1 of the 2 log nodes that stay can be reached .*nothing was changed"
    ):
        await replace_node(
            (HOST, group.ports[0]),
            (HOST, new.port),
            [(HOST, group.ports[2])],
            SECRET,
            20,
            told.append,
        )
    assert any(
        text.startswith(f"{HOST}:{group.ports[1]} does not answer (not as a log node: ")
        for text in told
    )
    assert group.running[2].identity.membership == 1
    server.close()
    await new.close()


async def test_a_relay_at_a_lost_address_does_not_stop_its_replacement(
    secret_group: Group, tmp_path: Path
) -> None:
    """The address of a leads to b: a does not answer."""
    group = secret_group
    await committed(await win(await group.client()), [b"x"])
    await group.down(0)
    relay = await Relay(group.ports[0], group.ports[1]).start()
    new = await fresh_node(tmp_path / "new")
    told: list[str] = []
    await replace_node(
        (HOST, group.ports[0]), (HOST, new.port), [(HOST, group.ports[1])], SECRET, 20, told.append
    )
    assert any(
        "log node a does not answer" in text and "leads to log node b" in text for text in told
    )
    relay.stop()
    await new.close()


async def test_init_waits_for_a_busy_node(tmp_path: Path) -> None:
    """The node has the largest permitted number of proven callers."""
    node = await fresh_node(tmp_path, max_connections=2)
    others = [ToolConnection((HOST, node.port), SECRET) for _ in range(2)]
    for other in others:
        await other.open()
    told: list[str] = []
    task = asyncio.create_task(init_group([(HOST, node.port)], SECRET, 20, told.append))
    await eventually(lambda: bool(told) or task.done())
    assert told == [f"waiting for log node {HOST}:{node.port}"]
    others[0].close()
    assert "made of 1 log nodes" in await task
    others[1].close()
    await node.close()


async def test_an_answer_that_trickles_has_a_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay can pass the answer on one byte at a time.
    Each byte comes in time, but the whole answer does not.
    """
    monkeypatch.setattr(tool_connection, "_ASK_TIMEOUT_S", 0.5)
    node = await fresh_node(tmp_path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, node.port)
        for _ in range(2):  # Challenge and Hello, Welcome and the question
            writer.write(await far_reader.read(1 << 16))
            far_writer.write(await reader.read(1 << 16))
        with contextlib.suppress(OSError):
            while data := await far_reader.read(1):
                writer.write(data)
                await asyncio.sleep(0.02)

    server = await asyncio.start_server(serve, HOST, 0)
    (answer,) = await asyncio.wait_for(
        ask_status([(HOST, server.sockets[0].getsockname()[1])], SECRET), 5
    )
    assert (answer.status, answer.error) == (None, "no answer")
    server.close()
    await node.close()


async def test_status_counts_a_node_once(secret_group: Group, tmp_path: Path) -> None:
    """One node of three is up, and two addresses lead to it."""
    group = secret_group
    await group.down(0)
    await group.down(1)
    relay = await Relay(group.ports[0], group.ports[2]).start()
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    words = ["status", *(f"{HOST}:{port}" for port in group.ports), "--secret-file", str(secret)]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert result.exit_code == 1
    assert "no majority: 1 of 3 log nodes are there" in result.output
    relay.stop()


# ------------------------------------------------------------------ a node that makes a caller wait


async def test_a_challenge_and_then_silence_does_not_hold_a_place(secret_group: Group) -> None:
    """The connection to the impostor outlives its listener.
    The client still uses the real node within a few seconds.
    """
    group = secret_group
    await group.down(0)
    held: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        writer.write(encode(Challenge(b"n" * 60)))

    server = await asyncio.start_server(serve, HOST, group.ports[0])
    client = await group.client()
    assert sum(connected(client)) == 2 and held
    server.close()
    await group.up(0)
    await eventually(lambda: all(connected(client)), 10)
    for writer in held:
        writer.close()


async def test_a_node_proves_itself_while_it_opens_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the caller is told so, and it is admitted when the log is open."""
    monkeypatch.setattr(node_module, "_OPENING_PATIENCE_S", 0.2)
    opening = threading.Event()

    def slow(*words: Any) -> Any:
        opening.wait(20)
        return open_store(*words)

    monkeypatch.setattr(node_module, "open_store", slow)
    node = await fresh_node(tmp_path)
    await init_group([(HOST, node.port)], SECRET)
    client = LogClient(
        LogAddress.parse(f"txlog://{HOST}:{node.port}/shard-0"),
        "a",
        random.Random(1),
        SECRET,
        create=True,
    )
    await client.start()
    await eventually(lambda: client.node_states()[0].error == "busy: the log is being opened")
    opening.set()
    await eventually(lambda: client.node_states()[0].connected)
    await client.close()
    await node.close()
