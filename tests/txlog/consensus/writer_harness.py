"""The writer's machine and hand-made answers of log nodes, for several test files."""

from __future__ import annotations

from random import Random
from typing import TypeVar

from txlog.consensus.limits import Limits
from txlog.consensus.outputs import (
    ProposerOutput,
    Send,
)
from txlog.consensus.proposer import Proposer
from txlog.consensus.sender import OPEN, OPENING
from txlog.entry import (
    DATA,
    GENESIS_CHAIN,
    NO_ENTRY,
    Entry,
    EntryId,
    decode_entry,
)
from txlog.messages import (
    Append,
    Appended,
    Fetch,
    Fetched,
    Message,
    Promised,
    Refused,
    Seal,
)

LEASE = 800
M = TypeVar("M")


class Bench:
    """A writer with three connected log nodes."""

    def __init__(self, limits: Limits | None = None, nodes: int = 3) -> None:
        self.now = 5_000_000
        self.nodes = nodes
        self.machine = Proposer(nodes, b"i" * 16, Random(1), limits)
        for node in range(nodes):
            self.machine.on_connected(node, self.now)
        self.sent: list[list[Message]] = [[] for _ in range(nodes)]
        self.said: list[ProposerOutput] = []

    def take(self) -> None:
        for output in self.machine.take_outputs():
            if isinstance(output, Send):
                self.sent[output.to].append(output.message)
            else:
                self.said.append(output)

    def tell(self, node: int, message: Message) -> None:
        self.machine.on_message(node, message, self.now)
        self.take()

    def newest(self, node: int, kind: type[M]) -> M:
        return [message for message in self.sent[node] if isinstance(message, kind)][-1]

    def heard(self, kind: type[M]) -> list[M]:
        return [output for output in self.said if isinstance(output, kind)]

    def tick(self, ms: int) -> None:
        self.now += ms * 1000
        due = self.machine.deadline()
        if due and due <= self.now:
            self.machine.on_deadline(self.now)
        self.take()

    def clear(self) -> None:
        self.said.clear()
        for messages in self.sent:
            messages.clear()

    # ------------------------------------------------------------------ the usual answers

    def campaign(self, applied: EntryId = NO_ENTRY, chain: bytes = GENESIS_CHAIN) -> None:
        self.machine.start_campaign(applied, chain, LEASE, b"me", 1, self.now)
        self.take()

    def fetched(
        self,
        node: int,
        entries: list[Entry] | None = None,
        promised: int = 0,
        committed: int = 0,
        suspect: bool = False,
    ) -> None:
        fetch = self.newest(node, Fetch)
        log = entries or []
        last = log[-1].id if log else NO_ENTRY
        encoded = [entry.encoded for entry in log if entry.position >= fetch.start]
        self.tell(
            node,
            Fetched(
                fetch.token, fetch.start, promised, last, committed, NO_ENTRY, suspect, encoded
            ),
        )

    def promise(self, node: int, last: EntryId = NO_ENTRY, committed: int = 0) -> None:
        seal = self.newest(node, Seal)
        self.tell(node, Promised(seal.term, seal.ballot_id, seal.term, seal.probe, last, committed))

    def appended(self, node: int, position: int | None = None) -> None:
        message = self.newest(node, Append)
        self.tell(
            node,
            Appended(
                message.term,
                message.ballot_id,
                message.number,
                message.previous[1] + len(message.entries) if position is None else position,
            ),
        )

    def open(self, log: list[Entry] | None = None) -> None:
        """Win by the answers of nodes 0 and 1; all three get LEADERSHIP, 0 and 1 acknowledge it."""
        self.campaign()
        last = log[-1].id if log else NO_ENTRY
        for _ in range(3):  # read, probe, seal
            for node in (0, 1):
                if self.machine.state == "fetching":
                    self.fetched(node, log)
                else:
                    self.promise(node, last)
            if self.machine.state == OPENING:
                break
        for node in range(self.nodes):
            self.appended(node)
        assert self.machine.state == OPEN
        self.clear()

    def append(self, text: bytes = b"x") -> Entry:
        entry = self.machine.append(DATA, text, 1, False, self.now)
        self.take()
        return entry


def entries_of(message: Append) -> list[Entry]:
    return [decode_entry(encoded) for encoded in message.entries]


# --------------------------------------------------------------------------- W1


def reseal(bench: Bench, promised: int = 5) -> Seal:
    sent = bench.newest(2, Append)
    bench.tell(2, Refused(sent.term, sent.ballot_id, promised))
    return bench.newest(0, Seal)
