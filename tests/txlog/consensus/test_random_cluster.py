"""Three log nodes and three possible writers on a bad network, in some hundred short random lives.

Each life has its own seed. Checked at every step: one writer per term, committed entries never
change, promises never go down, leases do not overlap in true time. Checked at the end, after the
faults: some writer writes again, no acknowledged entry is missing, all nodes hold the same log.
"""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import count
from random import Random
from typing import Any

import pytest

from tests.txlog.consensus.cluster import LogNode, Violation, new_writer
from txlog.consensus.limits import Limits
from txlog.consensus.outputs import (
    CampaignOver,
    Committed,
    Fenced,
    LeaseUntil,
    Opened,
    Reopened,
    Send,
)
from txlog.consensus.sender import IDLE, OPEN, RELEASED
from txlog.entry import DATA, GENESIS_CHAIN, HANDOVER, LEADERSHIP, NO_ENTRY, Entry
from txlog.messages import LeaseHeld, Message, Promised

NODES = ["n0", "n1", "n2"]
LEASE_MS = 100


class Writer:
    """The work of an engine node around its proposer.
    It campaigns, appends, follows the log, and gives up when its lease is over.
    """

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.lives = 0
        self.rate = world.rng.choice([16 / 17, 1.0, world.rng.uniform(16 / 17, 1)])
        self.fresh()

    def fresh(self) -> None:
        """Start a new process."""
        self.lives += 1
        rng = Random(self.world.rng.getrandbits(64))
        limits = Limits(
            window_entries=8, message_bytes=400, keep_bytes=self.world.keep_bytes, fetch_bytes=500
        )
        self.machine = new_writer(f"{self.name}.{self.lives}", len(NODES), rng, limits)
        self.log: list[Entry] = []  # what it has applied
        self.appended: dict[int, Entry] = {}  # not known to be committed
        self.retry_at = 0
        self.paused_until = 0
        self.lease_until = 0
        self.served = False
        self.handover = 0
        for index, node in enumerate(self.world.nodes):
            if node.up:
                self.machine.on_connected(index, self.clock())

    @property
    def address(self) -> str:
        return f"{self.name}.{self.lives}"

    def clock(self) -> int:
        return int(self.rate * self.world.now) + 1

    def follow(self) -> None:
        """R1 in short: read the entries that some node knows committed."""
        node = self.world.rng.choice(self.world.nodes)
        if node.up and self.machine.state == IDLE:
            for position in range(
                len(self.log) + 1, node.acceptor.readable_upto(len(self.log) + 1) + 1
            ):
                entry = node.disk.entry_at(position)
                if entry is None:
                    return
                if entry.previous_chain != (self.log[-1].chain if self.log else GENESIS_CHAIN):
                    raise Violation(f"{self.name} reads another history at {position}")
                self.log.append(entry)

    def act(self) -> None:
        world, machine, rng = self.world, self.machine, self.world.rng
        if self.paused_until > world.now:
            return
        if machine.state == IDLE:
            self.follow()
            if world.now >= self.retry_at:
                last = self.log[-1] if self.log else None
                machine.start_campaign(
                    last.id if last else NO_ENTRY,
                    last.chain if last else GENESIS_CHAIN,
                    LEASE_MS,
                    b"lead " + self.address.encode(),
                    1,
                    self.clock(),
                )
        elif machine.state == OPEN:
            if self.served and self.lease_until <= self.clock() and not self.handover:
                world.seen["lease over"] += 1
                self.idle(20)
            elif self.handover:
                if machine.committed >= self.handover:
                    successor = rng.choice(
                        [writer for writer in world.writers if writer is not self]
                    )
                    machine.release(successor.machine.incarnation, self.clock())
                    world.seen["released"] += 1
                    successor.retry_at = 0
            elif machine.in_flight < 30:
                if not world.calm and rng.random() < 0.02:
                    self.handover = self.append(HANDOVER, b"")
                for _ in range(rng.randint(1, 3)):
                    if not self.handover:
                        self.append(DATA, rng.randbytes(rng.randint(0, 200)))
        elif machine.state == RELEASED:
            self.idle(150)
        self.run()

    def append(self, kind: int, payload: bytes) -> int:
        entry = self.machine.append(kind, payload, 1, False, self.clock())
        self.appended[entry.position] = entry
        return entry.position

    def idle(self, wait_ms: int) -> None:
        self.machine.stop()
        self.lease_until, self.served, self.handover = 0, False, 0
        self.appended.clear()
        self.retry_at = self.world.now + wait_ms * 1000

    def deliver(self, source: str, message: Message) -> None:
        if isinstance(message, LeaseHeld):
            self.world.seen["held"] += 1
        self.machine.on_message(NODES.index(source), message, self.clock())
        self.run()

    def tick(self) -> None:
        due = self.machine.deadline()
        if due and self.clock() >= due:
            self.machine.on_deadline(self.clock())
        self.run()

    def run(self) -> None:
        for output in self.machine.take_outputs():
            if isinstance(output, Send):
                self.world.post(self.address, NODES[output.to], output.message)
            elif isinstance(output, Opened):
                self.world.seen["opened"] += 1
                self.world.on_opened(self, output)
                self.log += output.prefix
                self.served = True
                self.world.on_committed(self, len(self.log))
            elif isinstance(output, Committed):
                self.world.on_committed(self, output.position)
            elif isinstance(output, LeaseUntil):
                self.lease_until = output.us
                self.world.check_leases(self)
            elif isinstance(output, Reopened):
                self.world.seen["reopened"] += 1
                self.world.claim_term(output.term, self)
                if not self.handover:
                    self.append(LEADERSHIP, b"again")
            elif isinstance(output, Fenced | CampaignOver):
                self.world.seen["fenced" if isinstance(output, Fenced) else "campaign over"] += 1
                self.idle(output.retry_ms if isinstance(output, CampaignOver) else 10)


class World:
    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.now = 1
        self.calm = False
        self.events: list[tuple[int, int, str, Any]] = []
        self.ticket = count()
        self.seen: Counter[str] = Counter()
        self.loss, self.duplicate, self.slow = (
            rng.choice([0, 0.02, 0.1]),
            rng.choice([0, 0.05]),
            rng.choice([300, 2000, 15000]),
        )
        self.keep_bytes = rng.choice([0, 2000, 1 << 20])
        self.rotten = rng.random() < 0.3
        self.cut: set[tuple[str, str]] = set()
        self.committed: dict[int, bytes] = {}
        # and the term whose writer knew it committed
        self.acknowledged: dict[int, tuple[bytes, int]] = {}
        self.terms: dict[int, str] = {}
        self.promised: dict[str, int] = dict.fromkeys(NODES, 0)
        self.nodes = [LogNode(name, NODES, rng, self.post) for name in NODES]
        self.rates = {name: rng.choice([16 / 17, 1.0, rng.uniform(16 / 17, 1)]) for name in NODES}
        for node in self.nodes:
            node.on_send = self.on_node_sends
            node.start(self.node_clock(node))
        self.writers = [Writer(name, self) for name in ("a", "b", "c")]

    def node_clock(self, node: LogNode) -> int:
        return int(self.rates[node.name] * self.now) + 1

    # ------------------------------------------------------------------ checks

    def on_node_sends(self, node: LogNode, message: Message) -> None:
        if isinstance(message, Promised) and not message.probe:
            self.promised[node.name] = max(self.promised[node.name], message.term)

    def claim_term(self, term: int, writer: Writer) -> None:
        if self.terms.setdefault(term, writer.address) != writer.address:
            raise Violation(f"two writers in term {term}")

    def on_opened(self, writer: Writer, opened: Opened) -> None:
        self.claim_term(opened.term, writer)
        log = writer.log + opened.prefix
        for position, (chain, term) in self.acknowledged.items():
            # An overtaken writer may learn late that its LEADERSHIP is committed; only older terms
            # bind it.
            if term < opened.term and (position > len(log) or log[position - 1].chain != chain):
                raise Violation(f"term {opened.term} lacks acknowledged entry {position}")

    def on_committed(self, writer: Writer, position: int) -> None:
        while len(writer.log) < position:
            writer.log.append(writer.appended.pop(len(writer.log) + 1))
        for entry in writer.log[len(self.acknowledged) : position]:
            self.commit(entry.position, entry.chain)
            self.acknowledged[entry.position] = (entry.chain, writer.machine.term)
        self.seen["committed"] = len(self.acknowledged)

    def commit(self, position: int, chain: bytes) -> None:
        if self.committed.setdefault(position, chain) != chain:
            raise Violation(f"two committed entries at {position}")

    def check_leases(self, writer: Writer) -> None:
        live = [w.address for w in self.writers if w.lease_until > w.clock()]
        if len(live) > 1:
            raise Violation(f"leases of {live} overlap")

    def check_node(self, node: LogNode) -> None:
        acceptor = node.acceptor
        if acceptor.promise.term < self.promised[node.name]:
            raise Violation(f"{node.name} forgot a promise")
        if acceptor.committed:
            chain = acceptor.chain_at(acceptor.committed)
            if chain is not None:
                self.commit(acceptor.committed, chain)

    # ------------------------------------------------------------------ the events

    def at(self, delay: int, kind: str, what: Any) -> None:
        heapq.heappush(self.events, (self.now + delay, next(self.ticket), kind, what))

    def post(self, source: str, target: str, message: Message) -> None:
        if not self.calm and self.rng.random() < self.loss:
            return
        for _ in range(2 if not self.calm and self.rng.random() < self.duplicate else 1):
            delay = self.rng.randint(50, 300) if self.calm else self.rng.randint(50, self.slow)
            self.at(delay, "message", (source, target, message))

    def deliver(self, source: str, target: str, message: Message) -> None:
        if (source[:2].rstrip("."), target[:2].rstrip(".")) in self.cut:
            return
        if target in NODES:
            node = self.nodes[NODES.index(target)]
            if node.up:
                # A Fetched goes to a node as the answer of its peer, to a writer as its reading.
                node.deliver(source, message, self.node_clock(node))
                self.after_node(node)
            return
        for writer in self.writers:
            if writer.address == target:
                if writer.paused_until > self.now:
                    self.at(writer.paused_until - self.now, "message", (source, target, message))
                else:
                    writer.deliver(source, message)

    def after_node(self, node: LogNode) -> None:
        self.check_node(node)
        if node.dirty and not getattr(node, "syncing", False):
            node.syncing = True  # type: ignore[attr-defined]
            delay = (
                self.rng.randint(100, 800)
                if self.calm
                else self.rng.choice([200, 1000, self.rng.randint(100, 60_000)])
            )
            self.at(delay, "sync", (node, node.applied, node.acceptor))

    def step(self) -> None:
        self.now, _, kind, what = heapq.heappop(self.events)
        if kind == "message":
            self.deliver(*what)
        elif kind == "sync":
            node, upto, acceptor = what
            if node.up and node.acceptor is acceptor:
                node.syncing = False
                node.sync(self.node_clock(node), upto)
                self.after_node(node)
        elif kind == "beat":
            self.beat()
            self.at(1000, "beat", None)

    def beat(self) -> None:
        for node in self.nodes:
            if node.up:
                node.tick(self.node_clock(node))
                self.after_node(node)
        for writer in self.writers:
            if writer.paused_until <= self.now:
                writer.tick()
                if self.rng.random() < 0.15:
                    writer.act()
        if not self.calm and self.rng.random() < 0.02:
            self.fault()

    def fault(self) -> None:
        rng = self.rng
        node, writer = rng.choice(self.nodes), rng.choice(self.writers)
        kind = rng.randrange(7)
        if kind == 0 and node.up:
            self.crash(node)
        elif kind == 1 and not node.up:
            self.restart(node)
        elif kind == 2:
            pair = (writer.name, node.name)
            self.cut.add(pair if rng.random() < 0.5 else pair[::-1])
        elif kind == 3 and self.cut:
            self.cut.discard(rng.choice(sorted(self.cut)))
        elif kind == 4 and rng.random() < 0.3:
            writer.lease_until = 0
            writer.fresh()
            self.seen["writer died"] += 1
        elif kind == 5:
            writer.paused_until = self.now + rng.randint(0, 3 * LEASE_MS * 1000)
        elif kind == 6 and node.up:
            node.acceptor.on_room(rng.random() < 0.7)

    def crash(self, node: LogNode) -> None:
        node.crash(self.rng.randint(0, len(node.disk.pending)))
        node.syncing = False  # type: ignore[attr-defined]
        self.seen["node died"] += 1
        for writer in self.writers:
            writer.machine.on_disconnected(NODES.index(node.name), writer.clock())

    def restart(self, node: LogNode) -> None:
        # At most one disk is bad at a time: acknowledged entries must survive a minority's loss,
        # not a majority's.
        others = [other for other in self.nodes if other is not node]
        if (
            self.rotten
            and not self.calm
            and all(o.disk.now.suspicion is None and not self.rotten_frames(o) for o in others)
            and node.disk.now.frames
        ):
            node.disk.rot(self.rng.randint(1, len(node.disk.now.frames)), self.rng.random() < 0.5)
            self.seen["rot"] += 1
        node.start(self.node_clock(node))
        self.seen["suspect"] += node.acceptor.suspicion is not None
        self.after_node(node)
        for writer in self.writers:
            writer.machine.on_connected(NODES.index(node.name), writer.clock())

    @staticmethod
    def rotten_frames(node: LogNode) -> bool:
        return any(not isinstance(frame.entry, Entry) for frame in node.disk.now.frames)

    # ------------------------------------------------------------------ one run

    def run(self, ms: int) -> None:
        self.at(0, "beat", None)
        end = self.now + ms * 1000
        while self.now < end:
            self.step()

    def settle(self) -> None:
        """The faults are over: check progress."""
        self.calm, self.cut = True, set()
        for node in self.nodes:
            if not node.up:
                self.restart(node)
            node.acceptor.on_room(True)
        for writer in self.writers:
            writer.paused_until = min(writer.paused_until, self.now)
        before = len(self.acknowledged)
        deadline = self.now + 4_000_000
        while self.now < deadline:
            self.step()
            if len(self.acknowledged) > before + 20 and all(
                node.acceptor.counts
                and not node.acceptor.holes
                and node.acceptor.committed > before
                for node in self.nodes
            ):
                return
        raise Violation(
            f"no progress: {len(self.acknowledged) - before} new, "
            f"{[node.acceptor.status(self.now) for node in self.nodes]}"
        )


def life(seed: int) -> Counter[str]:
    world = World(seed)
    world.run(1200)
    world.settle()
    for node in world.nodes:
        for position in range(1, node.acceptor.committed + 1):
            entry = node.disk.entry_at(position)
            assert entry is not None and world.committed.get(position, entry.chain) == entry.chain
    return world.seen


@pytest.mark.parametrize("block", range(4))
def test_random_lives(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(block * 10, block * 10 + 10):
        try:
            seen += life(seed)
        except (Violation, AssertionError) as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    # Runs without these events prove nothing.
    for word in ("opened", "committed", "node died", "writer died", "held", "lease over"):
        assert seen[word] > 0, f"no run met: {word}"
