"""From one log node to the other nodes of its group, for one log: questions about entries
(PeerFetch), answers back.

Decides: when a connection is made (with the first question), when it ends, and which question goes
out.
Must not know: what the entries are for.
Invariant: of each topic a node is asked one thing at a time. While an answer is under way, or no
connection is up, the newest question waits: the acceptor asks again by its own deadline, and over a
thin link answers of some MiB would pile up behind one another.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from txlog import handshake
from txlog.client.address import parse_host_port
from txlog.client.link import SocketLink
from txlog.messages import Fetch, Fetched, Hello, Message, Reject, Welcome

# a connection without a question is closed then, one on which nothing comes although something is
# asked made anew
_LOOK_S: Final = 10.0
_FORGET_S: Final = 60.0  # longer than the acceptor waits for any answer: it asks no more


class _Line:
    """The way to one other node."""

    __slots__ = ("asked_s", "link", "look", "messages", "seen", "under_way", "waiting")

    def __init__(self, link: SocketLink, look: asyncio.TimerHandle) -> None:
        self.link = link
        self.look = look
        self.asked_s = 0.0
        self.messages = 0  # heard
        # what had come by the last look, if something was under way then
        self.seen: tuple[int, int] | None = None
        self.under_way: dict[str, Fetch] = {}  # by topic: sent, not answered
        self.waiting: dict[str, Fetch] = {}  # by topic: the newest that could not be sent yet

    def send(self) -> None:
        for topic in (
            [topic for topic in self.waiting if topic not in self.under_way] if self.link.up else ()
        ):
            fetch = self.under_way[topic] = self.waiting.pop(topic)
            self.link.send(fetch)

    def answered(self, token: int) -> None:
        for topic in [topic for topic, fetch in self.under_way.items() if fetch.token == token]:
            del self.under_way[topic]

    def lost(self) -> None:
        """The connection: what was under way is asked again on the next one,
        unless there is a newer question.
        """
        self.waiting = self.under_way | self.waiting
        self.under_way = {}


class PeerLinks:
    """Implements `driver.Peers` and `link.LinkOwner`."""

    def __init__(
        self,
        others: dict[str, str],
        make_hello: Callable[[], Hello],
        secret: bytes | None,
        rng: random.Random,
        on_fetched: Callable[[str, Fetched], None],
        on_news: Callable[[int], None],
        members: list[str],
    ) -> None:
        self._others = sorted(others.items())  # (node id, host:port)
        self._make_hello = make_hello
        self._secret = secret
        self._rng = rng
        self._on_fetched = on_fetched
        self._members = members
        self._on_news = on_news  # somebody has that membership version
        # answers count under this one only; another version gets another `PeerLinks`
        self._version = make_hello().membership
        self._lines: dict[int, _Line] = {}
        self._closed = False

    def fetch(self, node: str, fetch: Fetch, topic: str) -> None:
        for index, (name, _) in enumerate(self._others):
            if not node or node == name:
                self._ask(index, fetch, topic)

    def _ask(self, index: int, fetch: Fetch, topic: str) -> None:
        if self._closed:
            return
        line = self._lines.get(index) or self._open(index)
        line.asked_s = asyncio.get_running_loop().time()
        line.waiting[topic] = fetch
        line.send()

    def _open(self, index: int) -> _Line:
        host, port = parse_host_port(self._others[index][1])
        link = SocketLink(index, host, port, self, self._make_hello, self._secret, self._rng)
        line = self._lines[index] = _Line(
            link, asyncio.get_running_loop().call_later(_LOOK_S, self._look, index)
        )
        link.start()
        return line

    def _look(self, index: int) -> None:
        """Every now and then: is the connection still of use?"""
        line, loop = self._lines[index], asyncio.get_running_loop()
        silent_s = loop.time() - line.asked_s
        if silent_s >= _FORGET_S or (
            silent_s >= _LOOK_S and not line.under_way and not line.waiting
        ):
            del self._lines[index]
            line.link.close()
            return
        line.look = loop.call_later(_LOOK_S, self._look, index)
        seen = (line.messages, line.link.unfinished_bytes) if line.under_way else None
        if seen is not None and seen == line.seen:
            line.seen = None
            line.link.drop(f"nothing has come for {_LOOK_S:g} s, and an answer is due")
        else:
            line.seen = seen

    def close(self) -> None:
        self._closed = True
        for line in self._lines.values():
            line.look.cancel()
            line.link.close()

    # ------------------------------------------------------------------ LinkOwner

    def on_up(self, index: int, welcome: Welcome) -> str | None:
        if welcome.node != self._others[index][0]:
            return (
                f"group: {self._others[index][1]} is log node {welcome.node}, not "
                f"{self._others[index][0]}"
            )
        if welcome.membership != self._version or welcome.members != self._members:
            self._on_news(welcome.membership)
            return (
                f"{handshake.MEMBERSHIP}: log node {welcome.node} has version "
                f"{welcome.membership} ({', '.join(welcome.members)}), we have {self._version}"
            )
        if index in self._lines:
            self._lines[index].send()
        return None

    def on_messages(self, index: int, messages: list[Message]) -> None:
        for message in messages:
            line = self._lines.get(index)
            if line is None or self._closed:
                return
            line.messages += 1
            if isinstance(message, Fetched):
                line.answered(message.token)
                self._on_fetched(self._others[index][0], message)
                line.send()
            elif isinstance(message, Reject):
                if message.version:
                    self._on_news(message.version)
                line.link.drop(message.reason)
                return

    def on_down(self, index: int, reason: str) -> None:
        """The link tries again by itself."""
        if index in self._lines:
            self._lines[index].lost()

    def on_membership(self, index: int, reject: Reject) -> None:
        self._on_news(reject.version)

    def on_refused(self, index: int, reason: str) -> None:
        """Seen by people in the other node's own words; here it is a node that does not answer."""
