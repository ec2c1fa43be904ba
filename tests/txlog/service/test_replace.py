"""A lost log node is replaced while the log is written (S8), with log nodes in this process.

The writer stays the writer, no acknowledged entry is lost, and a lost node that comes back is
refused.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.txlog.service.harness import Group, Reader, committed, eventually, win
from txlog.client import LogAddress, LogClient, Writer
from txlog.clock import wall_ms
from txlog.config import LogServerConfig
from txlog.entry import DATA
from txlog.handshake import MEMBERSHIP
from txlog.messages import Membership
from txlog.server.identity import DataFolder, read_identity
from txlog.server.node import LogNode
from txlog.tool_connection import AdminError, ToolConnection
from txlog.tools.admin import ask_status, init_group
from txlog.tools.replace import replace_node

HOST = "127.0.0.1"


class Load:
    """Appends one numbered entry after the other as long as it lives."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.acknowledged: dict[int, bytes] = {}
        self._appended: dict[int, bytes] = {}
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        number = 0
        while not self.writer.lost:
            payload = b"%06d" % number + b"x" * 200
            number += 1
            if self.writer.in_flight < 64 and self.writer._proposer.state == "open":
                self._appended[self.writer.append(DATA, payload, wall_ms())] = payload
            await asyncio.sleep(0.001)
            self.acknowledged.update(
                (position, payload)
                for position, payload in self._appended.items()
                if position <= self.writer.committed
            )

    async def more(self, count: int = 20) -> None:
        goal = len(self.acknowledged) + count
        await eventually(lambda: len(self.acknowledged) >= goal, 20)

    async def stop(self) -> None:
        await eventually(lambda: not self.writer.in_flight, 20)
        self._task.cancel()


class Shop(Group):
    """A group whose nodes may be lost."""

    def lose(self, index: int) -> Path:
        path = self.folder / f"node{index}"
        shutil.rmtree(path)
        return path

    async def up_elsewhere(self, name: str, az: str) -> tuple[LogNode, int]:
        port = free_port()
        config = LogServerConfig(
            az, self.folder / name, port, segment_bytes=256 << 10, cache_bytes=64 << 10
        )
        node = LogNode(config, DataFolder.open(config.data))
        await node.start()
        self.running[10 + len(self.running)] = node
        return node, port

    async def replace(
        self,
        lost: int,
        new: int,
        *nodes: int,
        wait_s: float = 20,
        tell: Callable[[str], None] = lambda text: None,
    ) -> str:
        named = [(HOST, port) for port in nodes or self.ports]
        return await replace_node((HOST, lost), (HOST, new), named, None, wait_s, tell)

    async def check_log(self, load: Load, client: LogClient) -> None:
        reader = Reader().read(client)
        entries = {
            entry.position: entry for entry in await reader.until(max(load.acknowledged), 20)
        }
        assert not reader.error
        assert {
            position: entries[position].payload for position in load.acknowledged
        } == load.acknowledged


@pytest.fixture
# an async generator, which pytest's types do not know
async def shop(tmp_path: Path):  # type: ignore[no-untyped-def]
    shop = Shop(tmp_path)
    await shop.start()
    yield shop
    await shop.stop()


async def test_at_the_same_address_under_load_the_writer_stays(shop: Shop) -> None:
    client = await shop.client()
    writer = await win(client)
    load = Load(writer)
    await load.more()
    await shop.down(2)
    shop.lose(2)
    await load.more()
    await shop.up(2)
    said: list[str] = []
    line = await shop.replace(shop.ports[2], shop.ports[2], shop.ports[0], tell=said.append)
    assert "member in full: membership version 2" in line
    assert any("has its place" in text for text in said)
    assert client.writer is writer and not writer.lost and client.membership == 2
    await load.more()
    await shop.down(0)  # a majority now needs the learner
    await load.more()
    await load.stop()
    assert client.writer is writer and not writer.lost
    await shop.check_log(load, await shop.client("c"))


async def test_at_another_address_nobody_restarts_and_old_address_lists_do(shop: Shop) -> None:
    client = await shop.client()
    client.start_lease_keeper()
    keeper = client.keeper
    assert keeper is not None
    reader = Reader().read(client)
    writer = await win(client)
    await eventually(lambda: keeper.lines == 3)
    load = Load(writer)
    await load.more()
    await shop.down(2)
    _, port = await shop.up_elsewhere("fresh", "c")
    await shop.replace(shop.ports[2], port)
    await load.more()
    await eventually(lambda: all(state.connected for state in client.node_states()))
    assert sorted(state.address for state in client.node_states()) == sorted(
        f"{HOST}:{p}" for p in (*shop.ports[:2], port)
    )
    await eventually(lambda: keeper.lines == 3, 20)  # the lease keeper has followed
    assert [place and place[2] for place in keeper._addresses] == [
        link.address and int(link.address.rpartition(":")[2]) for link in client.links
    ]
    await shop.down(1)
    await load.more()
    assert client.writer is writer and not writer.lost
    await load.stop()
    late = await shop.client("b")  # its list names the lost node, and the one that is down
    await late.tail(5000)
    await shop.check_log(load, late)
    await reader.until(max(load.acknowledged))


async def test_the_replaced_node_comes_back_and_is_told_so(shop: Shop) -> None:
    client = await shop.client()
    load = Load(await win(client))
    await load.more()
    await shop.down(2)
    _, port = await shop.up_elsewhere("fresh", "c")
    await shop.replace(shop.ports[2], port)
    await shop.up(2)  # with its old disk
    back = shop.running[2]
    await eventually(lambda: back.identity.replaced)
    (status,) = await ask_status([(HOST, shop.ports[2])])
    assert status.status is not None and status.status["replaced"]
    fresh = LogClient(
        LogAddress.parse(
            f"txlog://{HOST}:{shop.ports[2]},{HOST}:{shop.ports[0]},{HOST}:{shop.ports[1]}/shard-0"
        ),
        "c",
        random.Random(5),
        create=True,
    )
    await fresh.start()
    shop.clients.append(fresh)
    await fresh.tail(5000)
    await load.more()
    await load.stop()
    await shop.down(2)
    await shop.up(2)
    assert shop.running[2].identity.replaced, "it knows it from its disk"
    with pytest.raises(AdminError, match="was replaced; empty its data folder"):
        await shop.replace(shop.ports[0], shop.ports[2])


async def test_a_node_that_missed_it_hears_of_it_from_others(tmp_path: Path) -> None:
    """One node of five was away while the membership changed, and comes back under the old version.
    It takes the new version before the others serve it.
    """
    nodes = []
    ports = [free_port() for _ in range(5)]
    for index, port in enumerate(ports):
        config = LogServerConfig(
            f"az{index}", tmp_path / f"n{index}", port, segment_bytes=256 << 10
        )
        nodes.append(LogNode(config, DataFolder.open(config.data)))
        await nodes[-1].start()
    await init_group([(HOST, port) for port in ports])
    address = LogAddress.parse(
        "txlog://" + ",".join(f"{HOST}:{port}" for port in ports) + "/shard-0"
    )
    client = LogClient(address, "az0", random.Random(1), create=True)
    await client.start()
    try:
        writer = await win(client)
        await committed(writer, [b"one"])
        for index in (3, 4):
            await nodes[index].close()
        shutil.rmtree(tmp_path / "n4")
        nodes[4] = LogNode(nodes[4].config, DataFolder.open(tmp_path / "n4"))
        await nodes[4].start()
        await replace_node((HOST, ports[4]), (HOST, ports[4]), [(HOST, ports[0])], None, 20, print)
        nodes[3] = LogNode(nodes[3].config, DataFolder.open(tmp_path / "n3"))
        assert nodes[3].identity.membership == 1
        await nodes[3].start()
        await eventually(lambda: nodes[3].identity.membership == 2)
        await eventually(lambda: all(state.connected for state in client.node_states()))
        await committed(writer, [b"two"])
        assert not writer.lost
    finally:
        await client.close()
        for node in nodes:
            await node.close()


async def test_a_command_cut_short_anywhere_is_finished_by_the_next(shop: Shop) -> None:
    client = await shop.client()
    load = Load(await win(client))
    await load.more()
    await shop.down(2)
    shop.lose(2)
    await shop.up(2)
    address = shop.ports[2]
    tools = [ToolConnection((HOST, port), None) for port in shop.ports]
    welcomes = [await tool.open() for tool in tools]
    members = sorted([*welcomes[0].members[:2], f"c-{welcomes[2].folder[:8]}={HOST}:{address}"])
    # the first step of the command, which died there
    answer = await tools[0].ask(Membership(welcomes[0].group, 2, members))
    assert isinstance(answer, Membership) and answer.version == 2
    # the other learned of it from clients or peers
    await eventually(lambda: shop.running[1].identity.membership == 2)
    assert shop.running[2].identity.group == ""
    await load.more()
    assert "membership version 2" in await shop.replace(address, address)
    assert "membership version 2" in await shop.replace(address, address), (
        "all is done: it says so again"
    )
    await shop.down(2)
    await shop.up(2)
    await shop.down(1)
    await load.more()
    await load.stop()
    assert not load.writer.lost
    for tool in tools:
        tool.close()


async def test_a_learner_lost_again_gets_another_place(shop: Shop) -> None:
    client = await shop.client()
    load = Load(await win(client))
    await load.more()
    for version in (2, 3):
        await shop.down(2)
        path = shop.lose(2)
        await shop.up(2)
        await shop.replace(shop.ports[2], shop.ports[2])
        assert read_identity(path).membership == version
        await load.more()
    await shop.down(0)
    await load.more()
    await load.stop()
    assert not load.writer.lost


async def test_all_logs_of_the_node(shop: Shop) -> None:
    """The replacement also covers a log that no client uses meanwhile."""
    base = str(shop.address()).rpartition("/")[0]
    for name in ("one", "two"):
        client = await shop.client(address=LogAddress.parse(f"{base}/{name}"))
        writer = await win(client)
        await committed(writer, [name.encode()])
        writer.stop()
        await shop.close(client)
    await shop.down(2)
    shop.lose(2)
    await shop.up(2)
    await shop.replace(shop.ports[2], shop.ports[2])
    await shop.down(0)
    for name in ("one", "two"):
        client = await shop.client(address=LogAddress.parse(f"{base}/{name}"))
        reader = Reader().read(client)
        bound = await client.tail(5000)
        writer = await win(client)
        # bound early
        await eventually(
            lambda reader=reader, bound=bound: (
                reader.entries and reader.entries[-1].position >= bound[1]
            )
        )  # type: ignore[misc]
        assert name.encode() in [entry.payload for entry in reader.entries]
        await committed(writer, [b"more"])
        await shop.close(client)


async def test_what_is_refused_and_in_which_words(shop: Shop) -> None:
    client = await shop.client()
    await committed(await win(client), [b"x"])
    node, port = await shop.up_elsewhere("fresh", "c")
    with pytest.raises(AdminError, match=r"it is not lost\. Stop it"):
        await shop.replace(shop.ports[2], port)
    with pytest.raises(AdminError, match="not a new one"):
        await shop.replace(shop.ports[2], shop.ports[2])
    with pytest.raises(AdminError, match="is no member of the group"):
        await shop.replace(free_port(), port)
    with pytest.raises(AdminError, match="start it first, with an empty data folder"):
        await shop.replace(shop.ports[2], free_port())
    await shop.down(1)
    await shop.down(2)
    with pytest.raises(AdminError, match="2 are needed; nothing was changed"):
        await shop.replace(shop.ports[2], port)
    assert shop.running[0].identity.membership == 1 and node.identity.group == ""
    await shop.up(1)
    _, other = await shop.up_elsewhere("other", "c")
    await shop.replace(shop.ports[2], port)
    tool = ToolConnection((HOST, shop.ports[0]), None)
    welcome = await tool.open()
    members = sorted([*welcome.members[:2], f"c-other={HOST}:{other}"])
    with pytest.raises(AdminError, match=f"{MEMBERSHIP}: this log node has version 2 already"):
        await tool.ask(Membership(welcome.group, 2, members))
    tool.close()
    with pytest.raises(AdminError, match=r"replaced already"):
        await init_group([(HOST, shop.ports[0]), (HOST, shop.ports[1]), (HOST, other)], None, 1)


async def test_status_tells_of_a_learner(shop: Shop) -> None:
    client = await shop.client()
    await committed(await win(client), [b"x"])
    await shop.down(2)
    shop.lose(2)
    await shop.up(2)
    with pytest.raises(AdminError, match="going on by itself"):
        await shop.replace(shop.ports[2], shop.ports[2], wait_s=0)
    (status,) = await ask_status([(HOST, shop.ports[2])])
    assert status.status is not None and status.status["membership"] == 2
    rows = [row for row in status.status["logs"] if row["newcomer"]]
    assert rows == [] or rows[0]["newcomer"]["state"] in ("asking", "copying", "waiting"), (
        json.dumps(rows)
    )
