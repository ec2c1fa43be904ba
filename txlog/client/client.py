"""The log as its users see it: connect, read, ask for the tail, campaign.

Decides: the connections, which message goes to which part, what a user learns.
Must not know: terms, leases, quorums beyond what the machines say. There is one event loop;
callbacks are plain calls in its context.
Invariants: the given addresses are exactly the group's nodes, each once. Otherwise the client
refuses to work with them, because a majority of fewer nodes is no majority of the group. There is
at most one campaign or writer at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from txlog import handshake
from txlog.address import LogAddress
from txlog.client.lease_keeper import LeaseKeeper
from txlog.client.members import Members
from txlog.client.quorum_queries import (
    PROBE_EXPECTED,
    PROBE_TERM,
    ProbeQuorum,
    ProbeResult,
    TailQuorum,
    majority_of,
)
from txlog.client.subscription import (
    OnError,
    OnHeartbeat,
    OnRecords,
    Subscription,
    SubscriptionHost,
)
from txlog.client.writer import CampaignLost, Writer
from txlog.clock import now_us
from txlog.consensus.pace import Pace, token_key
from txlog.entry import EntryId
from txlog.link import Link, LinkOwner, SocketLink
from txlog.messages import (
    Behind,
    Fetched,
    Hello,
    LeaseHeld,
    Message,
    Promised,
    Refused,
    Reject,
    Seal,
    Tail,
    TailQuery,
    Unavailable,
    Welcome,
)
from txlog.wire import PROTOCOL

_PROBE_TIMEOUT_S: Final = 0.5
_START_PATIENCE_S: Final = 10.0
_START_STRAGGLERS_S: Final = 0.3  # for the other nodes after a majority has answered
_BUSY_LIMIT_MS: Final = 15_000
_UNLIMITED_MS: Final = 1 << 40
_WRITER: Final = "writer"
_CREATOR: Final = "creator"
_ASK_COMMITTED_TOKEN: Final = 0  # in tail questions that only ask for committed positions


log = structlog.get_logger("txlog.client")


class LogRefused(Exception):
    """A log node refused the client, or the addresses are not those of one group."""


class NoMajority(Exception):
    """No majority of log nodes answered in time."""


@dataclass(slots=True)
class NodeState:
    """For status. ``last`` and ``committed`` are the last values received, or None and 0."""

    address: str
    node: str
    az: str
    connected: bool
    error: str
    last: EntryId | None
    committed: int


class LocalLog(Protocol):
    """A log in this process, reached without a socket. `txlog.embedded` implements it."""

    # raises `LogRefused`
    async def open(self, rng: random.Random, clock: Callable[[], int]) -> None: ...
    async def close(self) -> None: ...
    def make_link(self, index: int, owner: LinkOwner) -> Link: ...


class LogClient(SubscriptionHost):
    """See the module. ``clock`` gives microseconds of the leases' clock. Only tests replace it."""

    def __init__(
        self,
        address: LogAddress,
        az: str,
        rng: random.Random,
        secret: bytes | None = None,
        clock: Callable[[], int] = now_us,
        create: bool = False,
        local: LocalLog | None = None,
    ) -> None:
        """``create``: make the log if the group has none of that name. ``local``: the log, when it
        is in this process.
        """
        self.address = address
        self.az = az
        self.clock = clock
        self.rng = rng
        self.secret = secret
        self.incarnation = rng.randbytes(handshake.INCARNATION_BYTES)
        # L8, for all later writers. 0: the lease, or longer if measured commits took longer.
        self.commit_timeout_ms = 0
        self.busy_limit_ms = _BUSY_LIMIT_MS  # L7 and L8, for all later writers
        self.limits: dict[str, int] = {}  # of every writer, instead of the defaults (`Limits`)
        self.pace = Pace()
        self.links: list[Link] = []
        self.writer: Writer | None = None  # the one that campaigns or writes
        self.keeper: LeaseKeeper | None = None
        self._local = local
        self.members = Members(address.nodes)
        self._last: dict[int, EntryId] = {}
        self._committed: list[int] = []
        self._refused: dict[int, str] = {}
        self._subscriptions: list[Subscription] = []
        self._tails: dict[int, tuple[TailQuorum, asyncio.Future[EntryId]]] = {}
        self._probes: dict[bytes, tuple[ProbeQuorum, asyncio.Future[ProbeResult]]] = {}
        self._token = _ASK_COMMITTED_TOKEN
        self._create = create  # until the client has met the log
        self._closed = False

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect to every node, and keep the connections up.

        Returns when each node has answered or failed once, soon after a majority has answered, or
        when the time limit is over: see `node_states`. Raises `LogRefused`.
        """
        if self._local is not None:
            await self._local.open(self.rng, self.clock)
        for index in range(len(self.address.nodes) or 1):
            self.links.append(self._make_link(index, self, _WRITER))
            self._committed.append(0)
        for link in self.links:
            link.start()
        await self._first_attempts()
        if reason := self._final_reason():
            await self.close()
            raise LogRefused(reason)

    def _final_reason(self) -> str:
        """The reason why more attempts are useless, "" when one may succeed.

        Before it proves the secret, an impostor can send the same words as a node. So an unproven
        reason counts only if a majority of the places give it.
        """
        unknown = [
            reason for reason in self._refused.values() if reason.startswith(handshake.NO_LOG)
        ]
        if len(unknown) >= majority_of(len(self.links)) and not any(link.up for link in self.links):
            return unknown[0]  # what the other nodes have was never committed
        final = [reason for reason in self._refused.values() if handshake.is_final(reason)]
        proven = [reason for reason in final if not handshake.is_early(reason)]
        if proven:
            return proven[0]
        return final[0] if len(final) >= majority_of(len(self.links)) else ""

    async def _first_attempts(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _START_PATIENCE_S
        links = [link for link in self.links if isinstance(link, SocketLink)]
        while loop.time() < until and not all(link.tried.is_set() for link in links):
            if sum(link.up for link in links) >= majority_of(len(links)):
                until = min(until, loop.time() + _START_STRAGGLERS_S)
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        self._closed = True
        if self.writer is not None:
            self.writer.stop()
        if self.keeper is not None:
            self.keeper.stop()
            self.keeper = None
        for subscription in list(self._subscriptions):
            subscription.close()
        for link in self.links:
            link.close()
        if self._local is not None:
            await self._local.close()

    def start_lease_keeper(self, busy_limit_ms: int = _BUSY_LIMIT_MS) -> None:
        """L7, for all later writers: start the lease keeper.

        While the loop stands still inside one command, the keeper renews the lease, for at most
        ``busy_limit_ms``.
        """
        self.busy_limit_ms = _UNLIMITED_MS if self.embedded else busy_limit_ms
        if self.keeper is None:
            self.keeper = LeaseKeeper(self, busy_limit_ms)
            self.keeper.start()
            for index, link in enumerate(self.links):
                if isinstance(link, SocketLink) and link.up and link.welcome is not None:
                    self.keeper.on_node_met(index, link.welcome.node, link.peer)

    def _make_link(self, index: int, owner: LinkOwner, purpose: str) -> Link:
        if self._local is not None:
            return self._local.make_link(index, owner)
        host, port = self.address.nodes[index]

        def hello() -> Hello:
            return self.make_hello(self._writer(index) if purpose == _WRITER else purpose)

        return SocketLink(
            index,
            host,
            port,
            owner,
            hello,
            self.secret,
            self.rng,
            where=lambda: self.members.where(index),
        )

    def _writer(self, index: int) -> str:
        """The purpose in the Hello to this node: it says whether the node may make the log.

        It may while another node has the log: then this node was down when the log was made. It
        never voted in the log: a node that lost a log refuses it (S7), and a deletion marks all
        nodes before any node forgets the log.
        If no other node has it, the node may make the log only if ``create`` was given, and only
        until the client met the log. So a log that is deleted later does not come back because this
        client still runs.
        """
        others = any(link.up for link in self.links if link.index != index)
        return _CREATOR if others or self._create else _WRITER

    def make_hello(self, purpose: str) -> Hello:
        return Hello(
            PROTOCOL,
            self.address.log,
            self.incarnation,
            purpose,
            self.members.version,
            self.members.group,
        )

    @property
    def membership(self) -> int:
        """The version of the membership."""
        return self.members.version

    @property
    def nodes(self) -> int:
        return len(self.links)

    @property
    def embedded(self) -> bool:
        return self._local is not None

    def node_states(self) -> list[NodeState]:
        states = []
        for index, link in enumerate(self.links):
            welcome = link.welcome
            states.append(
                NodeState(
                    link.address,
                    welcome.node if welcome else "",
                    welcome.az if welcome else "",
                    link.up,
                    link.error,
                    self._last.get(index),
                    self._committed[index],
                )
            )
        return states

    # ------------------------------------------------------------------ links

    def on_up(self, index: int, welcome: Welcome) -> str | None:
        link = self.links[index]
        if refusal := self.refusal(index, welcome, link):
            return refusal
        if isinstance(link, SocketLink):
            self.members.set_node(index, welcome.node, (link.host, link.port))
            if self.keeper is not None:
                self.keeper.on_node_met(index, welcome.node, link.peer)
        self._refused.pop(index, None)
        self._create = False
        for question, future in self._tails.values():
            if not future.done():
                self.links[index].send(TailQuery(question.token))
        if self.writer is not None:
            self.writer.on_connected(index)
        return None

    def refusal(self, index: int, welcome: Welcome, link: Link) -> str:
        """The reason why the node on ``link`` does not count for this place, "" when it does.

        The client takes the membership that the node reports.
        """
        members = self.members
        if not isinstance(link, SocketLink):
            return ""
        if welcome.group == (members.group or welcome.group) and len(welcome.members) == len(
            self.links
        ):
            members.group = welcome.group
            self.on_membership_version(welcome.membership, welcome.members)
        return members.refusal(
            index, welcome, link.address, [other.address for other in self.links]
        )

    def on_membership(self, index: int, reject: Reject) -> None:
        self.on_membership_version(reject.version, reject.members)

    def on_membership_version(self, version: int, members: list[str]) -> None:
        """S8: a log node uses this membership. If its version is higher than ours, all earlier
        answers are void: the client asks again over new connections.
        """
        first = self.members.version == 0
        if not self.members.on_version(version, members) or first:
            return
        log.info("the log's group has another membership", version=version, members=members)
        for question, _ in self._tails.values():
            question.reset()
        for probe, _ in self._probes.values():
            probe.reset()
        for index, link in enumerate(self.links):
            if not (link.up and link.welcome is not None and link.welcome.membership == version):
                link.drop("the group has another membership")
            if index not in self.members.node_of:
                self._committed[index] = 0
                self._last.pop(index, None)
        for subscription in list(self._subscriptions):
            subscription.on_membership_change()
        if self.writer is not None:
            self.writer.on_membership()
        if self.keeper is not None:
            self.keeper.on_membership()

    def on_down(self, index: int, reason: str) -> None:
        if self.writer is not None:
            self.writer.on_disconnected(index)

    def on_refused(self, index: int, reason: str) -> None:
        self._refused[index] = reason

    def on_messages(self, index: int, messages: list[Message]) -> None:
        mine: list[Message] = []
        writer, probes = self.writer, self._probes
        for message in messages:
            kind = type(message)
            if (
                writer is None
                or kind is Tail
                or kind is Reject
                or (probes and getattr(message, "ballot_id", b"") in probes)
            ):
                self._on_query_reply(index, message)
            else:
                mine.append(message)
        if mine and writer is not None:
            writer.on_messages(index, mine)

    def _on_query_reply(self, index: int, message: Message) -> None:
        if isinstance(message, Tail):
            self._committed[index] = message.committed
            self._last[index] = message.durable
            waiting = self._tails.get(message.token)
            if (
                waiting is not None
                and (bound := waiting[0].on_tail(index, message)) is not None
                and not waiting[1].done()
            ):
                waiting[1].set_result(bound)
        elif isinstance(message, Promised | LeaseHeld | Refused | Behind | Unavailable):
            probe = self._probes.get(message.ballot_id)
            if probe is None:
                self.pace.late(message.ballot_id, self.clock())
            elif probe[0].on_answer(index, message) and not probe[1].done():
                probe[1].set_result(probe[0].result())
        elif isinstance(message, Fetched):
            self.pace.late(token_key(message.token), self.clock())
        elif isinstance(message, Reject):
            if message.version:
                self.on_membership_version(message.version, message.members)
            self.links[index].drop(message.reason)

    def broadcast(self, message: Message) -> None:
        for link in self.links:
            link.send(message)

    # ------------------------------------------------------------------ reading

    def subscribe(
        self,
        start: int,
        chain: bytes,
        on_records: OnRecords,
        on_heartbeat: OnHeartbeat,
        on_error: OnError,
    ) -> Subscription:
        """R1: deliver every committed entry from ``start`` on. ``chain`` is that of the entry
        before. After ``on_error`` the subscription is over.
        """
        subscription = Subscription(self, start, chain, on_records, on_heartbeat, on_error)
        self._subscriptions.append(subscription)
        subscription.start()
        return subscription

    def reader_link(self, index: int, subscription: Subscription) -> Link:
        return self._make_link(index, subscription, "reader")

    def preference(self) -> list[int]:
        def rank(index: int) -> tuple[bool, bool, int]:
            link = self.links[index]
            return (not link.up, link.welcome is None or link.welcome.az != self.az, index)

        return sorted(range(len(self.links)), key=rank)

    def known_committed(self) -> list[int]:
        if not self.embedded:
            self.broadcast(TailQuery(_ASK_COMMITTED_TOKEN))
        return self._committed

    def forget(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    async def tail(self, timeout_ms: int) -> EntryId:
        """R2: get an id. Every entry that was acknowledged before this call is at or below it.
        Raises `NoMajority`.
        """
        self._token += 1
        question = TailQuorum(self._token, len(self.links))
        future: asyncio.Future[EntryId] = asyncio.get_running_loop().create_future()
        self._tails[question.token] = (question, future)
        self.broadcast(TailQuery(question.token))
        try:
            return await asyncio.wait_for(future, timeout_ms / 1000)
        except TimeoutError:
            raise NoMajority(
                f"{question.answered} of {len(self.links)} log nodes answered within {timeout_ms} "
                f"ms, {majority_of(len(self.links))} are needed"
            ) from None
        finally:
            del self._tails[question.token]

    # ------------------------------------------------------------------ writing

    async def probe(self) -> ProbeResult:
        """Ask whether a majority would promise now. It changes nothing on the nodes."""
        question = ProbeQuorum(self.rng.randbytes(16), len(self.links))
        future: asyncio.Future[ProbeResult] = asyncio.get_running_loop().create_future()
        self._probes[question.ballot_id] = (question, future)
        self.broadcast(
            Seal(PROBE_TERM, self.incarnation, question.ballot_id, PROBE_EXPECTED, 0, True)
        )
        try:
            return await asyncio.wait_for(future, _PROBE_TIMEOUT_S)
        except TimeoutError:
            return question.result()
        finally:
            del self._probes[question.ballot_id]

    async def campaign(
        self,
        applied: EntryId,
        applied_chain: bytes,
        lease_ms: int,
        leadership_payload: bytes,
        wall_ms: Callable[[], int],
    ) -> Writer:
        """W1 and W2: return a writer whose LEADERSHIP entry is committed. Raises `CampaignLost`."""
        if self._closed:
            raise CampaignLost("the client is closed", 0, False)
        if self.writer is not None:
            raise CampaignLost("a writer or campaign of this client is still open", 0, False)
        writer = Writer(self, lease_ms)
        self.writer = writer
        try:
            await writer.campaign(applied, applied_chain, leadership_payload, wall_ms)
        except BaseException:
            writer.stop()
            raise
        return writer

    def on_writer_over(self, writer: Writer) -> None:
        if self.writer is writer:
            self.writer = None
