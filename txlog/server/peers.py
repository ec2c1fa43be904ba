"""One log's links from a node to the other nodes of its group: questions about entries (PeerFetch)
and the answers.

Decides: when a connection is made (at the first question), when it ends, and which question is
sent.
Must not know: what the entries are for.
Invariant: for each topic, a node has at most one open question. While an answer is under way, or no
connection is up, only the newest question waits. The acceptor repeats a question by its own
deadline; over a slow link, answers of several MiB would otherwise queue up.
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

# At each check, a connection without a question is closed. A connection is replaced if an answer is
# due and nothing has come since the last check.
_CHECK_S: Final = 10.0
_FORGET_S: Final = 60.0  # longer than the acceptor waits for any answer: it does not ask again


class _PeerLink:
    """The way to one other node."""

    __slots__ = ("asked_s", "in_flight", "link", "look", "messages", "queued", "seen")

    def __init__(self, link: SocketLink, look: asyncio.TimerHandle) -> None:
        self.link = link
        self.look = look
        self.asked_s = 0.0
        self.messages = 0  # received
        # what had come at the last check, if a question was open then
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
        """The connection is lost: the next one repeats the open questions, unless a newer question
        waits.
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
        self._on_version = on_news  # gets the membership version that another node shows
        # Only answers under this version count. Another version gets another `PeerLinks`.
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
        """Check from time to time whether the connection is still of use."""
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
        """Nothing to do: the link tries again by itself."""
        if index in self._peers:
            self._peers[index].on_lost()

    def on_membership(self, index: int, reject: Reject) -> None:
        self._on_version(reject.version)

    def on_refused(self, index: int, reason: str) -> None:
        """People read the reason at the other node. Here, that node just does not answer."""
