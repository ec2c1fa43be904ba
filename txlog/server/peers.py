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
from txlog.address import parse_host_port
from txlog.link import SocketLink
from txlog.messages import Fetch, Fetched, Hello, Message, Reject, Welcome

# a connection without a question is closed then, one on which nothing comes although something is
# asked made anew
_CHECK_S: Final = 10.0
_FORGET_S: Final = 60.0  # longer than the acceptor waits for any answer: it asks no more


class _PeerLink:
    """The way to one other node."""

    __slots__ = ("asked_s", "in_flight", "link", "look", "messages", "queued", "seen")

    def __init__(self, link: SocketLink, look: asyncio.TimerHandle) -> None:
        self.link = link
        self.look = look
        self.asked_s = 0.0
        self.messages = 0  # heard
        # what had come by the last look, if something was under way then
        self.seen: tuple[int, int] | None = None
        self.in_flight: dict[str, Fetch] = {}  # by topic: sent, not answered
        self.queued: dict[str, Fetch] = {}  # by topic: the newest that could not be sent yet

    def send(self) -> None:
        for topic in (
            [topic for topic in self.queued if topic not in self.in_flight] if self.link.up else ()
        ):
            fetch = self.in_flight[topic] = self.queued.pop(topic)
            self.link.send(fetch)

    def on_answer(self, token: int) -> None:
        for topic in [topic for topic, fetch in self.in_flight.items() if fetch.token == token]:
            del self.in_flight[topic]

    def on_lost(self) -> None:
        """The connection: what was under way is asked again on the next one,
        unless there is a newer question.
        """
        self.queued = self.in_flight | self.queued
        self.in_flight = {}


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
        self._on_version = on_news  # somebody has that membership version
        # answers count under this one only; another version gets another `PeerLinks`
        self._version = make_hello().membership
        self._peers: dict[int, _PeerLink] = {}
        self._closed = False

    def fetch(self, node: str, fetch: Fetch, topic: str) -> None:
        for index, (name, _) in enumerate(self._others):
            if not node or node == name:
                self._ask(index, fetch, topic)

    def _ask(self, index: int, fetch: Fetch, topic: str) -> None:
        if self._closed:
            return
        peer = self._peers.get(index) or self._open(index)
        peer.asked_s = asyncio.get_running_loop().time()
        peer.queued[topic] = fetch
        peer.send()

    def _open(self, index: int) -> _PeerLink:
        host, port = parse_host_port(self._others[index][1])
        link = SocketLink(index, host, port, self, self._make_hello, self._secret, self._rng)
        peer = self._peers[index] = _PeerLink(
            link, asyncio.get_running_loop().call_later(_CHECK_S, self._check, index)
        )
        link.start()
        return peer

    def _check(self, index: int) -> None:
        """Every now and then: is the connection still of use?"""
        peer, loop = self._peers[index], asyncio.get_running_loop()
        silent_s = loop.time() - peer.asked_s
        if silent_s >= _FORGET_S or (
            silent_s >= _CHECK_S and not peer.in_flight and not peer.queued
        ):
            del self._peers[index]
            peer.link.close()
            return
        peer.look = loop.call_later(_CHECK_S, self._check, index)
        seen = (peer.messages, peer.link.unfinished_bytes) if peer.in_flight else None
        if seen is not None and seen == peer.seen:
            peer.seen = None
            peer.link.drop(f"nothing has come for {_CHECK_S:g} s, and an answer is due")
        else:
            peer.seen = seen

    def close(self) -> None:
        self._closed = True
        for peer in self._peers.values():
            peer.look.cancel()
            peer.link.close()

    # ------------------------------------------------------------------ LinkOwner

    def on_up(self, index: int, welcome: Welcome) -> str | None:
        if welcome.node != self._others[index][0]:
            return (
                f"group: {self._others[index][1]} is log node {welcome.node}, not "
                f"{self._others[index][0]}"
            )
        if welcome.membership != self._version or welcome.members != self._members:
            self._on_version(welcome.membership)
            return (
                f"{handshake.MEMBERSHIP}: log node {welcome.node} has version "
                f"{welcome.membership} ({', '.join(welcome.members)}), we have {self._version}"
            )
        if index in self._peers:
            self._peers[index].send()
        return None

    def on_messages(self, index: int, messages: list[Message]) -> None:
        for message in messages:
            peer = self._peers.get(index)
            if peer is None or self._closed:
                return
            peer.messages += 1
            if isinstance(message, Fetched):
                peer.on_answer(message.token)
                self._on_fetched(self._others[index][0], message)
                peer.send()
            elif isinstance(message, Reject):
                if message.version:
                    self._on_version(message.version)
                peer.link.drop(message.reason)
                return

    def on_down(self, index: int, reason: str) -> None:
        """The link tries again by itself."""
        if index in self._peers:
            self._peers[index].on_lost()

    def on_membership(self, index: int, reject: Reject) -> None:
        self._on_version(reject.version)

    def on_refused(self, index: int, reason: str) -> None:
        """Seen by people in the other node's own words; here it is a node that does not answer."""
