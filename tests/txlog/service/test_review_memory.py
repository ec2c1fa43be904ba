"""What one caller can make a log node hold in memory has a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.txlog.service.cluster import Group, committed, win
from tests.txlog.service.test_doors import Raw, caller, hello
from txlog.client import LogClient
from txlog.messages import Fetch, Fetched, Message, Records, Subscribe, TailQuery, Welcome
from txlog.server import connection, driver, node
from txlog.server.connection import Connection
from txlog.wire import encode


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The most bytes that stood in a connection's queue when something was added to it."""
    most = [0]
    send = Connection.send

    def watched(self: Connection, message: Message) -> None:
        send(self, message)
        most[0] = max(most[0], sum(map(len, self._out)))

    monkeypatch.setattr(Connection, "send", watched)
    yield most


async def filled(group: Group) -> LogClient:
    client = await group.client()
    await committed(await win(client), [b"x" * 10_000] * 5)
    return client


@pytest.mark.parametrize("message", [Subscribe(1), Fetch(1, 1, (1 << 64) - 1, True)], ids=["subscribe", "fetch"])
async def test_many_questions_in_one_packet(group: Group, held: list[int], monkeypatch: pytest.MonkeyPatch, message: Message) -> None:
    """Each was answered with all that is in memory before a byte left: a packet of small messages made gigabytes."""
    limit = 1 << 20
    monkeypatch.setattr(connection, "_STUCK_BUFFER_BYTES", limit)
    await filled(group)
    raw = await caller(group)
    raw.writer.write(encode(message) * 1000)
    with pytest.raises((ConnectionError, AssertionError)):
        while True:
            assert await raw.next() is not None
    assert limit < held[0] < limit + 200_000
    again = await caller(group)
    again.send(Subscribe(1))
    while not isinstance(await again.next(), Records):
        pass


async def test_an_answer_is_no_larger_than_a_node_gives(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MAX_SERVED_BYTES", 25_000)
    await filled(group)
    raw = await caller(group)
    raw.send(Fetch(1, 1, (1 << 64) - 1, True))
    answer = await raw.next()
    assert isinstance(answer, Fetched)
    assert 0 < sum(map(len, answer.entries)) <= 25_000


async def test_what_comes_while_a_log_is_opened_waits_outside(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was collected without a bound for as long as the check of the log took."""
    opened, go = asyncio.Event(), asyncio.Event()
    real = node.LogNode._open
    most = [0]

    async def slowly(self: node.LogNode, name: str) -> driver.LogDriver:
        opened.set()
        await go.wait()
        return await real(self, name)

    def watched(self: Connection, data: bytes) -> None:
        receive(self, data)
        most[0] = max(most[0], self._decoder.waiting)

    receive = Connection.data_received
    monkeypatch.setattr(Connection, "data_received", watched)
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
