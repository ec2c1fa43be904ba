"""From one log node to the other nodes of its group, for one log: questions about entries (PeerFetch), answers back.

Decides: when a connection is made (with the first question; it stays up as long as questions come). Must not know: what the entries are for.
Invariant: a question that meets no connection waits for it, and only the newest one a node: the acceptor asks again by its own deadline.
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

_IDLE_S: Final = 10.0


class PeerLinks:
    """Implements `driver.Peers` and `link.LinkOwner`."""

    def __init__(
        self, others: dict[str, str], make_hello: Callable[[], Hello], secret: bytes | None, rng: random.Random, on_fetched: Callable[[str, Fetched], None],
        on_news: Callable[[int], None], members: list[str],
    ) -> None:  # fmt: skip
        self._others = sorted(others.items())  # (node id, host:port)
        self._make_hello = make_hello
        self._secret = secret
        self._rng = rng
        self._on_fetched = on_fetched
        self._members = members
        self._on_news = on_news  # somebody has that membership version
        self._version = make_hello().membership  # answers count under this one only; another version gets another `PeerLinks`
        self._links: dict[int, SocketLink] = {}
        self._asked: dict[int, Fetch] = {}
        self._idle: dict[int, asyncio.TimerHandle] = {}
        self._closed = False

    def fetch(self, node: str, fetch: Fetch) -> None:
        for index, (name, _) in enumerate(self._others):
            if not node or node == name:
                self._ask(index, fetch)

    def _ask(self, index: int, fetch: Fetch) -> None:
        if self._closed:
            return
        address = self._others[index][1]
        link = self._links.get(index)
        if link is None:
            host, port = parse_host_port(address)
            link = SocketLink(index, host, port, self, self._make_hello, self._secret, self._rng)
            self._links[index] = link
            link.start()
        if link.up:
            link.send(fetch)
        else:
            self._asked[index] = fetch
        if index in self._idle:
            self._idle.pop(index).cancel()
        self._idle[index] = asyncio.get_running_loop().call_later(_IDLE_S, self._drop, index)

    def _drop(self, index: int) -> None:
        self._idle.pop(index, None)
        self._asked.pop(index, None)
        link = self._links.pop(index, None)
        if link is not None:
            link.close()

    def close(self) -> None:
        self._closed = True
        for timer in self._idle.values():
            timer.cancel()
        for link in self._links.values():
            link.close()

    # ------------------------------------------------------------------ LinkOwner

    def on_up(self, index: int, welcome: Welcome) -> str | None:
        if welcome.node != self._others[index][0]:
            return f"group: {self._others[index][1]} is log node {welcome.node}, not {self._others[index][0]}"
        if welcome.membership != self._version or welcome.members != self._members:
            self._on_news(welcome.membership)
            return f"{handshake.MEMBERSHIP}: log node {welcome.node} has version {welcome.membership} ({', '.join(welcome.members)}), we have {self._version}"
        asked = self._asked.pop(index, None)
        if asked is not None:
            self._links[index].send(asked)
        return None

    def on_messages(self, index: int, messages: list[Message]) -> None:
        for message in messages:
            if isinstance(message, Fetched) and not self._closed:
                self._on_fetched(self._others[index][0], message)
            elif isinstance(message, Reject):
                if message.version:
                    self._on_news(message.version)
                self._links[index].drop(message.reason)
                return

    def on_down(self, index: int, reason: str) -> None:
        """The link tries again by itself; what had been asked is lost."""

    def on_membership(self, index: int, reject: Reject) -> None:
        self._on_news(reject.version)

    def on_refused(self, index: int, reason: str) -> None:
        """Seen by people in the other node's own words; here it is a node that does not answer."""
