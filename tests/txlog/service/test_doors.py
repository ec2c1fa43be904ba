"""Which callers a log node admits, and the words with which it refuses the others."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.txlog.service.harness import Group, Reader, committed, eventually, win
from txlog import handshake
from txlog.client import LogAddress, LogClient, LogRefused
from txlog.config import LogServerConfig
from txlog.handshake import Caller
from txlog.messages import Append, Challenge, Hello, Message, Reject, TailQuery, Welcome
from txlog.server.identity import DataFolder
from txlog.server.node import LogNode, LogNodeStartError
from txlog.tool_connection import AdminError, ToolConnection
from txlog.tools.admin import ask_status, init_group
from txlog.wire import PROTOCOL, TAG_BYTES, Decoder, encode

SECRET = b"a secret of some length"


async def lone_node(folder: Path, secret: bytes | None = None, port: int = 0) -> LogNode:
    node = LogNode(
        LogServerConfig("a", folder, port, secret=secret, segment_bytes=64 << 10),
        DataFolder.open(folder),
    )
    await node.start()
    return node


class Raw:
    """A connection by hand."""

    async def open(self, port: int) -> Raw:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.decoder = Decoder()
        self.messages: list[Message] = []
        return self

    async def next(self) -> Message | None:
        while not self.messages:
            data = await asyncio.wait_for(self.reader.read(65536), 5)
            if not data:
                return None
            self.messages += self.decoder.feed(data)
        return self.messages.pop(0)

    def send(self, message: Message) -> None:
        self.writer.write(encode(message))


def hello(log: str = "shard-0", purpose: str = "creator") -> Hello:
    return Hello(PROTOCOL, log, bytes(16), purpose)


async def caller(group: Group) -> Raw:
    """A connection that the first node has admitted."""
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello())
    while not isinstance(await raw.next(), Welcome):
        pass
    return raw


async def test_bytes_of_another_protocol_close_the_connection(group: Group) -> None:
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 100,
        encode(Hello(PROTOCOL, "x" * 20_000, bytes(16), "")),
    ):
        raw = await Raw().open(group.ports[0])
        assert isinstance(await raw.next(), Challenge)
        raw.writer.write(garbage)
        assert await raw.next() is None


async def test_nothing_is_taken_before_hello(group: Group) -> None:
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(TailQuery(1))
    assert isinstance(await raw.next(), Reject)
    assert await raw.next() is None


@pytest.mark.parametrize("name", ["../evil", "UPPER", "", "a/b", "x" * 65, ".hidden"])
async def test_no_folder_is_made_for_a_name_that_is_not_one(group: Group, name: str) -> None:
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello(name))
    answer = await raw.next()
    assert isinstance(answer, Welcome if name == "" else Reject)
    assert group.running[0].identity.logs == []


async def test_a_tool_makes_no_log(group: Group) -> None:
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello("shard-9", "tool"))
    answer = await raw.next()
    assert isinstance(answer, Reject)
    assert answer.reason.startswith(handshake.NO_LOG)


@pytest.mark.parametrize("purpose", ["writer", "reader", "peer", "tool", "busy", "anything"])
async def test_only_a_creator_makes_a_log(group: Group, purpose: str) -> None:
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello("shard-9", purpose))
    answer = await raw.next()
    assert isinstance(answer, Reject)
    assert answer.reason.startswith(handshake.NO_LOG)
    assert group.running[0].identity.logs == []


async def test_there_are_no_more_logs_than_the_limit(tmp_path: Path) -> None:
    """Earlier, each name took two segments: 2.6 GB in a minute."""
    group = Group(tmp_path, max_logs=2)
    await group.start()
    answers = []
    for number in range(4):
        raw = await Raw().open(group.ports[0])
        await raw.next()
        raw.send(hello(f"shard-{number}"))
        answers.append(await raw.next())
    assert [type(answer) for answer in answers] == [Welcome, Welcome, Reject, Reject]
    assert isinstance(answers[3], Reject) and "max-logs is 2" in answers[3].reason
    assert group.running[0].identity.logs == ["shard-0", "shard-1"]
    assert sorted(path.name for path in (tmp_path / "node0" / "logs").iterdir()) == [
        "shard-0",
        "shard-1",
    ]
    await group.stop()


async def test_a_log_whose_folder_is_gone_keeps_no_other_log_away(tmp_path: Path) -> None:
    """Earlier, it kept the whole node down.
    The log is not made again: its promises are lost.
    """
    group = Group(tmp_path)
    await group.start()
    for name in ("shard-0", "shard-1"):
        raw = await Raw().open(group.ports[0])
        await raw.next()
        raw.send(hello(name))
        assert isinstance(await raw.next(), Welcome)
    await group.down(0)
    shutil.rmtree(tmp_path / "node0" / "logs" / "shard-1")
    await group.up(0)
    for name, kind in (("shard-0", Welcome), ("shard-1", Reject)):
        raw = await Raw().open(group.ports[0])
        await raw.next()
        raw.send(hello(name))
        answer = await raw.next()
        assert isinstance(answer, kind)
    assert isinstance(answer, Reject) and "is gone" in answer.reason
    assert not (tmp_path / "node0" / "logs" / "shard-1").exists()
    assert [*group.running[0].status()["refused"]] == ["shard-1"]
    await group.down(0)
    shutil.rmtree(tmp_path / "node0" / "logs" / "shard-0")
    with pytest.raises(LogNodeStartError, match="is gone"):
        await group.up(0)
    await group.stop()


async def test_another_protocol_version_is_told_so(group: Group) -> None:
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(Hello(PROTOCOL + 1, "shard-0", bytes(16), "writer"))
    answer = await raw.next()
    assert isinstance(answer, Reject)
    assert answer.reason.startswith(handshake.PROTOCOL)


async def test_a_node_without_a_group_serves_no_log(tmp_path: Path) -> None:
    node = await lone_node(tmp_path / "n")
    raw = await Raw().open(node.port)
    await raw.next()
    raw.send(hello())
    answer = await raw.next()
    assert isinstance(answer, Reject)
    assert answer.reason.startswith(handshake.NO_GROUP)
    assert not (tmp_path / "n" / "logs").exists()
    await node.close()


async def test_a_shared_secret_is_asked_for_and_proven(tmp_path: Path) -> None:
    node = await lone_node(tmp_path / "n", SECRET)
    for secret in (None, b"another secret of some length"):
        with pytest.raises(AdminError, match="secret"):
            await init_group([("127.0.0.1", node.port)], secret, wait_s=2)
    await init_group([("127.0.0.1", node.port)], SECRET, wait_s=2)
    address = LogAddress.parse(f"txlog://127.0.0.1:{node.port}/shard-0")
    stranger = LogClient(
        address, "a", random.Random(1), b"another secret of some length", create=True
    )
    with pytest.raises(LogRefused, match="secret"):
        await stranger.start()
    friend = LogClient(address, "a", random.Random(2), SECRET, create=True)
    await friend.start()
    assert friend.node_states()[0].connected
    await friend.close()
    await node.close()


async def test_a_proof_is_good_for_one_connection_only(tmp_path: Path) -> None:
    node = await lone_node(tmp_path / "n", SECRET)
    first = await Raw().open(node.port)
    here = Caller(hello(""), SECRET, bytes(32))
    out = here.feed(await first.reader.read(65536))
    first.writer.write(out)
    while here.welcome is None:
        here.feed(await asyncio.wait_for(first.reader.read(65536), 5))
    second = await Raw().open(node.port)
    await second.next()
    second.writer.write(out)
    assert isinstance(await second.next(), Reject)
    await node.close()


class Impostor:
    """A process that listens and sends its own answers.
    ``script`` gets the caller's bytes and gives the answer.
    """

    async def open(self, greeting: bytes, answer: bytes = b"") -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(greeting)
            self.heard += await reader.read(65536)
            writer.write(answer)
            await reader.read(65536)
            writer.close()

        self.heard = b""
        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        (Challenge(b""), Welcome("a", "a", b"g" * 16, 1, ["a=h:1"], bytes(16))),
        (Challenge(b"n" * 60), Welcome("a", "a", b"g" * 16, 1, ["a=h:1"], bytes(16))),
        (Challenge(b"n" * 60), Reject("membership: x", 9, ["a=evil:1", "b=evil:2", "c=evil:3"])),
        (Challenge(b"n" * 60), Reject("group: you are not one of us")),
    ],
)
async def test_an_impostor_at_one_address_changes_nothing(
    tmp_path: Path, greeting: Message, answer: Message
) -> None:
    """Two honest nodes and one process without the secret.
    The client starts, and follows the honest nodes.
    """
    group = Group(tmp_path, SECRET)
    await group.start()
    impostor = Impostor()
    port = await impostor.open(encode(greeting), encode(answer))
    address = LogAddress.parse(
        f"txlog://127.0.0.1:{group.ports[0]},127.0.0.1:{group.ports[1]},127.0.0.1:{port}/shard-0"
    )
    client = LogClient(address, "a", random.Random(1), SECRET, create=True)
    await client.start()
    assert client.members.version == 1
    states = {state.address: state for state in client.node_states()}
    assert sorted(state.connected for state in states.values()) == [False, True, True]
    assert not states[f"127.0.0.1:{port}"].connected
    await eventually(
        lambda: any(word in states_of(client, port) for word in ("secret", "unproven"))
    )
    await client.close()
    with pytest.raises(AdminError):
        await init_group([("127.0.0.1", port)], SECRET, wait_s=1)
    impostor.server.close()
    await group.stop()


def states_of(client: LogClient, port: int) -> str:
    return next(
        state.error for state in client.node_states() if state.address == f"127.0.0.1:{port}"
    )


async def test_a_group_with_a_secret_serves_a_writer(tmp_path: Path) -> None:
    """All bytes between nodes and clients have a tag.
    A node that fell behind pulls entries from the others.
    """
    group = Group(tmp_path, SECRET)
    await group.start()
    client = await group.client()
    writer = await win(client)
    (position,) = await committed(writer, [b"x" * 5000])
    assert (await client.tail(1000))[1] >= position
    reader = Reader().read(client)
    assert (await reader.until(position))[-1].payload == b"x" * 5000
    await group.close(client)
    assert all(
        answer.status is not None
        for answer in await ask_status([("127.0.0.1", port) for port in group.ports], SECRET)
    )
    await group.stop()


async def test_a_client_must_name_exactly_the_nodes_of_one_group(
    group: Group, tmp_path: Path
) -> None:
    for text in (
        f"txlog://127.0.0.1:{group.ports[0]}/shard-0",
        f"txlog://127.0.0.1:{group.ports[0]},127.0.0.1:{group.ports[1]}/shard-0",
        f"txlog://127.0.0.1:{group.ports[0]},localhost:{group.ports[0]},"
        f"127.0.0.1:{group.ports[1]}/shard-0",
    ):
        client = LogClient(LogAddress.parse(text), "a", random.Random(1), create=True)
        with pytest.raises(LogRefused, match="group"):
            await client.start()
    other = Group(tmp_path / "other")
    await other.start()
    mixed = LogAddress.parse(
        f"txlog://127.0.0.1:{group.ports[0]},127.0.0.1:{group.ports[1]},"
        f"127.0.0.1:{other.ports[0]}/shard-0"
    )
    client = LogClient(mixed, "a", random.Random(1), create=True)
    with pytest.raises(LogRefused, match="group"):
        await client.start()
    await other.stop()


async def test_init_is_done_once_and_says_so(group: Group) -> None:
    addresses = [("127.0.0.1", port) for port in group.ports]
    before = [node.identity for node in group.running.values()]
    assert "nothing to do" in await init_group(addresses)
    assert [node.identity for node in group.running.values()] == before


async def test_init_waits_for_nodes_that_are_not_up_yet(tmp_path: Path) -> None:
    port = free_port()
    told: list[str] = []
    task = asyncio.create_task(init_group([("127.0.0.1", port)], wait_s=20, tell=told.append))
    await eventually(lambda: told)
    node = await lone_node(tmp_path / "n", port=port)
    assert "made of 1 log nodes" in await task
    assert len(told) == 1
    await node.close()


async def test_init_completes_what_was_begun_but_never_readmits_an_empty_disk(
    tmp_path: Path,
) -> None:
    """The disk of a node that had promised and acknowledged is empty.
    It must not come back as a new node.
    """
    group = Group(tmp_path)
    for index in range(3):
        await group.up(index)
    addresses = [("127.0.0.1", port) for port in group.ports]
    await init_group(addresses)
    await group.down(1)
    (tmp_path / "node1").rename(tmp_path / "lost")
    await group.up(1)
    assert "completed: 1" in await init_group(addresses), (
        "no log was there yet: nothing can have been promised"
    )
    client = await group.client()
    await eventually(lambda: all(state.connected for state in client.node_states()))
    await group.close(client)
    await group.down(1)
    (tmp_path / "node1").rename(tmp_path / "lost again")
    await group.up(1)
    with pytest.raises(AdminError, match="lost its disk"):
        await init_group(addresses)
    assert group.running[1].identity.group == ""
    await group.stop()


async def test_init_refuses_nodes_of_different_groups(group: Group, tmp_path: Path) -> None:
    node = await lone_node(tmp_path / "n")
    await init_group([("127.0.0.1", node.port)])
    with pytest.raises(AdminError, match="different groups"):
        await init_group(
            [("127.0.0.1", node.port), ("127.0.0.1", group.ports[0]), ("127.0.0.1", group.ports[1])]
        )
    with pytest.raises(AdminError, match="other addresses"):
        await init_group([("127.0.0.1", group.ports[0])])
    await node.close()


async def test_status_names_the_node_that_does_not_answer(group: Group) -> None:
    await group.down(2)
    answers = await ask_status([("127.0.0.1", port) for port in group.ports])
    assert [answer.status is not None for answer in answers] == [True, True, False]
    assert answers[2].error


async def test_a_log_is_one_log_however_many_name_it_at_once(group: Group) -> None:
    clients = await asyncio.gather(*(group.client() for _ in range(5)))
    await eventually(
        lambda: all(state.connected for client in clients for state in client.node_states())
    )
    assert [node.identity.logs for node in group.running.values()] == [["shard-0"]] * 3


async def test_a_hostile_append_does_not_take_a_node_down(group: Group) -> None:
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello())
    assert isinstance(await raw.next(), Welcome)
    raw.send(Append(1, bytes(16), bytes(16), 1000, 1, (0, 0), bytes(16), 0, [b"not an entry"]))
    raw.send(TailQuery(1))
    await raw.next()
    client = await group.client()
    await eventually(lambda: all(state.connected for state in client.node_states()))


async def test_tags_are_of_the_bytes_that_wait_for_a_caller(tmp_path: Path) -> None:
    """Small answers are half tags: a bound on waiting bytes must count them."""
    node = await lone_node(tmp_path / "n", SECRET)
    tool = ToolConnection(("127.0.0.1", node.port), SECRET)
    await tool.open()
    (connection,) = node._connections()
    before = connection.unread
    connection.send(TailQuery(1))
    assert (
        connection.unread - before
        == sum(map(len, connection._out))
        == len(encode(TailQuery(1))) + TAG_BYTES
    )
    tool.close()
    await node.close()
