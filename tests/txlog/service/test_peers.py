"""Questions between log nodes: one at a time for each topic, and the newest waits.
A connection on which nothing arrives is replaced.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

import pytest

from txlog.link import SocketLink, _Connection
from txlog.messages import Fetch, Fetched, Hello, Message, Welcome
from txlog.server import peers
from txlog.server.peers import PeerLinks
from txlog.wire import Decoder, encode


class Link:
    """Replaces a `SocketLink`."""

    def __init__(self, index: int, host: str, port: int, owner: PeerLinks, *_: Any) -> None:
        self.index, self.owner = index, owner
        self.up = self.closed = False
        self.unfinished_bytes = 0
        self.sent: list[Message] = []
        self.drops: list[str] = []

    def start(self) -> None: ...

    def close(self) -> None:
        self.closed = True
        if self.up:
            self.lose()

    def send(self, message: Message) -> None:
        assert self.up
        self.sent.append(message)

    def drop(self, reason: str) -> None:
        self.drops.append(reason)
        self.lose()

    def connect(self) -> None:
        self.up, self.sent = True, []
        assert (
            self.owner.on_up(self.index, Welcome("n1", "b", b"g" * 16, 1, ["n0", "n1"], b"i" * 16))
            is None
        )

    def lose(self) -> None:
        self.up = False
        self.owner.on_down(self.index, "gone")

    def answer(self, token: int) -> None:
        self.owner.on_messages(self.index, [Fetched(token, 1, 1, (1, 1), 1, (0, 0), False, [])])


class Desk:
    def __init__(self) -> None:
        self.heard: list[int] = []
        hello = Hello(1, "log", b"i" * 16, "peer", 1, b"g" * 16)
        self.peers = PeerLinks(
            {"n1": "127.0.0.1:1"},
            lambda: hello,
            None,
            random.Random(1),
            lambda node, fetched: self.heard.append(fetched.token),
            lambda version: None,
            ["n0", "n1"],
        )

    @property
    def link(self) -> Any:
        return self.peers._peers[0].link

    def ask(self, token: int, topic: str = "repair") -> None:
        self.peers.fetch("", Fetch(token, 1, 0, True), topic)

    @property
    def sent(self) -> list[int]:
        return [message.token for message in self.link.sent]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(peers, "SocketLink", Link)
    return Desk()


async def until(ready: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not ready():
            await asyncio.sleep(0.005)


async def test_while_an_answer_is_under_way_only_the_newest_question_of_the_topic_waits(
    desk: Desk,
) -> None:
    desk.ask(1)
    desk.ask(2)
    desk.link.connect()
    assert desk.sent == [2]
    desk.ask(3)
    desk.ask(4)
    desk.ask(5, "learner")
    assert desk.sent == [2, 5], "another topic is not held up"
    desk.link.answer(2)
    assert desk.heard == [2] and desk.sent == [2, 5, 4]
    desk.link.answer(4)
    desk.ask(6)
    assert desk.sent == [2, 5, 4, 6]
    desk.peers.close()


async def test_what_was_under_way_on_a_lost_connection_is_asked_again(desk: Desk) -> None:
    desk.ask(1)
    desk.ask(2, "learner")
    link = desk.link
    link.connect()
    desk.ask(3)
    link.lose()
    link.connect()
    assert sorted(desk.sent) == [2, 3], "the newest of each"
    desk.peers.close()


async def test_a_connection_on_which_nothing_comes_is_made_anew(desk: Desk) -> None:
    desk.ask(1)
    link = desk.link
    link.connect()
    for count in range(1, 6):  # a large answer, slowly
        link.unfinished_bytes = count
        desk.peers._check(0)
    assert not link.drops
    desk.peers._check(0)
    assert link.drops and not link.up
    desk.peers._check(0)
    link.connect()
    assert desk.sent == [1] and len(link.drops) == 1
    link.answer(1)
    desk.ask(2)
    desk.peers._check(0)
    link.answer(2)
    desk.ask(3)
    desk.peers._check(0)
    assert len(link.drops) == 1, "something has come since the last look"
    desk.peers.close()


async def test_without_a_question_it_is_closed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_CHECK_S", 0.02)
    desk.ask(1)
    link = desk.link
    link.connect()
    link.answer(1)
    await until(lambda: link.closed)
    assert not desk.peers._peers and not link.drops
    desk.ask(2)
    assert desk.link is not link
    desk.peers.close()


async def test_a_question_that_nobody_asks_any_more_is_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_CHECK_S", 0.02)
    monkeypatch.setattr(peers, "_FORGET_S", 0.1)
    desk.ask(1)
    link = desk.link  # never up
    await until(lambda: link.closed)
    assert not desk.peers._peers


async def test_a_link_tells_how_much_of_a_message_has_come() -> None:
    link = SocketLink(
        0,
        "127.0.0.1",
        1,
        cast(Any, None),
        lambda: Hello(1, "log", b"i" * 16, "peer"),
        None,
        random.Random(1),
    )
    assert link.unfinished_bytes == 0
    link.connection = connection = _Connection(link)
    connection.greeted, connection.decoder = True, Decoder()
    frame = encode(Fetched(1, 1, 1, (1, 1), 1, (0, 0), False, [b"x" * 1000]))
    connection.data_received(frame[:300])
    assert link.unfinished_bytes == 300
    connection.data_received(frame[300:500])
    assert link.unfinished_bytes == 500
