"""The memory that one caller can make a log node hold has a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.txlog.service.harness import Group, committed, eventually, win
from tests.txlog.service.test_doors import Raw, caller, hello
from txlog.client import LogClient
from txlog.messages import (
    Challenge,
    Fetch,
    Fetched,
    Message,
    Reject,
    Status,
    StatusQuery,
    Subscribe,
    Tail,
    TailQuery,
    Welcome,
)
from txlog.server import driver, node
from txlog.server.connection import CallerConnection
from txlog.storage.store import LogStore
from txlog.wire import encode

LIMIT = 256 << 10


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The largest number of bytes in a connection's queue when something was added to it."""
    most = [0]
    send = CallerConnection.send

    def watched(self: CallerConnection, message: Message) -> None:
        send(self, message)
        most[0] = max(most[0], sum(map(len, self._out)))

    monkeypatch.setattr(CallerConnection, "send", watched)
    yield most


async def filled(group: Group) -> LogClient:
    client = await group.client()
    await committed(await win(client), [b"x" * 10_000] * 5)
    return client


@pytest.mark.parametrize(
    "message", [Subscribe(1), Fetch(1, 1, (1 << 64) - 1, True)], ids=["subscribe", "fetch"]
)
async def test_many_questions_in_one_packet(
    tmp_path: Path, held: list[int], message: Message
) -> None:
    """Earlier, each question was answered from memory before a byte left.
    So a packet of small messages made gigabytes. Now the next question waits until the caller has
    read the answers, and the node reads nothing more from a caller that does not read.
    """
    group = Group(tmp_path, max_output_bytes=LIMIT)
    await group.start()
    await filled(group)
    raw = await caller(group)
    raw.writer.write(encode(message) * 1000)
    node = group.running[0]
    await asyncio.sleep(0.3)
    assert max(connection.unread for connection in node._connections()) < 2 * LIMIT + 200_000
    assert 0 < held[0] < 2 * LIMIT + 200_000
    again = await caller(group)
    again.send(TailQuery(1))
    while not isinstance(await again.next(), Tail):
        pass
    if isinstance(message, Fetch):
        for _ in range(1000):
            while not isinstance(await raw.next(), Fetched):
                pass
    await group.stop()


async def test_many_questions_of_a_tool_in_one_packet(tmp_path: Path) -> None:
    group = Group(tmp_path, max_output_bytes=LIMIT)
    await group.start()
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello("", "tool"))
    assert isinstance(await raw.next(), Welcome)
    raw.writer.write(encode(StatusQuery(1)) * 20_000)
    await asyncio.sleep(0.3)
    assert (
        max(connection.unread for connection in group.running[0]._connections())
        < 2 * LIMIT + 100_000
    )
    for _ in range(2000):
        assert isinstance(await raw.next(), Status)
    await group.stop()


async def test_old_entries_are_read_for_one_question_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entries come from disk, in threads.
    Earlier, each question took its answer's memory before the first byte left.
    """
    group = Group(tmp_path, max_output_bytes=LIMIT)
    await group.start()
    client = await group.client()
    await committed(await win(client), [b"x" * 10_000] * 40)  # more than the memory keeps
    under_way, most = [0], [0]
    real = LogStore.read

    def read(self: LogStore, start: int, upto: int, max_bytes: int) -> list[bytes]:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.01)
        under_way[0] -= 1
        return real(self, start, upto, max_bytes)

    monkeypatch.setattr(LogStore, "read", read)
    raw = await caller(group)
    raw.writer.write(encode(Fetch(1, 1, 20_000, False)) * 50)
    for _ in range(50):
        while not isinstance(await raw.next(), Fetched):
            pass
    assert most[0] == 1
    await group.stop()


async def test_all_callers_together_hold_no_more_than_the_node_gives(tmp_path: Path) -> None:
    """Each caller stays below its own limit, and reads nothing."""
    group = Group(tmp_path, max_output_bytes=LIMIT, max_total_output_bytes=4 * LIMIT)
    await group.start()
    await filled(group)
    raws = []
    for _ in range(12):
        raw = await caller(group)
        raw.writer.write(encode(Fetch(1, 1, 1 << 30, True)) * 5000)
        raws.append(raw)
    node = group.running[0]
    await asyncio.sleep(0.3)
    assert sum(connection.unread for connection in node._connections()) <= 4 * LIMIT + 200_000
    assert isinstance((await status_of(group)), Status), "and others are served"
    await group.stop()


async def test_messages_that_come_in_part_have_a_bound_together(tmp_path: Path) -> None:
    group = Group(tmp_path, max_total_input_bytes=6 << 20)
    await group.start()
    raws = [await caller(group) for _ in range(8)]
    for raw in raws:
        raw.writer.write((31 << 20).to_bytes(4, "big") + bytes(4) + bytes(2 << 20))
    node = group.running[0]
    await asyncio.sleep(0.5)
    assert sum(connection._decoder.waiting for connection in node._connections()) <= 6 << 20
    assert len(node._connections()) >= 2
    await group.stop()


async def test_a_length_of_four_gib_is_refused_at_once(group: Group) -> None:
    raw = await caller(group)
    raw.writer.write(b"\xff" * 8)
    with pytest.raises((ConnectionError, AssertionError)):
        while True:
            assert await raw.next() is not None


async def test_who_says_nothing_gives_way(tmp_path: Path) -> None:
    """Earlier, idle connections kept a node's writer out."""
    group = Group(tmp_path, max_connections=12, max_callers_per_address=8)
    await group.start()
    idle = [await Raw().open(group.ports[0]) for _ in range(40)]
    node = group.running[0]
    await eventually(lambda: len(node._callers) <= 8)
    client = await group.client()
    await committed(await win(client), [b"x"])
    assert all(state.connected for state in client.node_states())
    mine = len(node._callers)
    talkers = [await caller(group) for _ in range(12 - mine)]
    last = await Raw().open(group.ports[0])
    told = await last.next()
    assert isinstance(told, Reject | Challenge)
    for raw in [*idle, *talkers]:
        raw.writer.close()
    await group.stop()


async def test_an_answer_is_no_larger_than_a_node_gives(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "MAX_SERVED_BYTES", 25_000)
    await filled(group)
    raw = await caller(group)
    raw.send(Fetch(1, 1, (1 << 64) - 1, True))
    answer = await raw.next()
    assert isinstance(answer, Fetched)
    assert 0 < sum(map(len, answer.entries)) <= 25_000


async def test_what_comes_while_a_log_is_opened_waits_outside(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, it was collected without a bound while the log was checked."""
    opened, go = asyncio.Event(), asyncio.Event()
    real = node.LogNode._open
    most = [0]

    async def slowly(self: node.LogNode, name: str) -> driver.LogDriver:
        opened.set()
        await go.wait()
        return await real(self, name)

    def watched(self: CallerConnection, data: bytes) -> None:
        receive(self, data)
        most[0] = max(most[0], self._decoder.waiting)

    receive = CallerConnection.data_received
    monkeypatch.setattr(CallerConnection, "data_received", watched)
    monkeypatch.setattr(node.LogNode, "_open", slowly)
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello())
    await opened.wait()
    for token in range(1000):
        raw.send(TailQuery(token))
        await raw.writer.drain()
        await asyncio.sleep(0)
    assert most[0] == 0
    go.set()
    assert isinstance(await raw.next(), Welcome)
    assert [getattr(await raw.next(), "token", None) for _ in range(1000)] == list(range(1000))


async def status_of(group: Group) -> Message | None:
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello("", "tool"))
    await raw.next()
    raw.send(StatusQuery(1))
    return await raw.next()
