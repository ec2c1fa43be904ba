"""A log node's machine with a disk in memory, for several test files."""

from __future__ import annotations

from random import Random

from tests.txlog.consensus.cluster import LogNode
from txlog.entry import DATA, GENESIS_CHAIN, NO_ENTRY, Entry, EntryId, make_entry
from txlog.messages import (
    Append,
    Message,
    Renew,
    Seal,
    Unsealed,
)

A, B = b"writer-a".ljust(16), b"writer-b".ljust(16)
LEASE = 160  # its window: 170 ms
WINDOW_US = 170_000


class Bench:
    """One node, and the messages that it sent."""

    def __init__(self, peers: int = 2) -> None:
        self.said: list[tuple[str, Message]] = []
        self.now = 1_000_000
        self.node = LogNode(
            "n0",
            [f"n{i}" for i in range(peers + 1)],
            Random(1),
            lambda source, target, message: self.said.append((target, message)),
        )
        self.node.start(self.now)

    @property
    def machine(self):  # type: ignore[no-untyped-def]
        return self.node.acceptor

    def ask(
        self, message: Message, sync: bool = True, source: str = "w", seal: bool = True
    ) -> list[Message]:
        """Send a message and give the answers.
        ``seal``: if the writer's Seal has not reached this node, the writer seals here first.
        """
        self.said.clear()
        self.node.deliver(source, message, self.now)
        if (
            seal
            and isinstance(message, Append)
            and any(isinstance(answer, Unsealed) for _, answer in self.said)
        ):
            self.node.deliver(
                source,
                Seal(
                    message.term,
                    message.incarnation,
                    message.ballot_id,
                    (message.term, 1 << 40),
                    message.lease_ms,
                    False,
                ),
                self.now,
            )
            self.node.sync(self.now)
            self.said.clear()
            self.node.deliver(source, message, self.now)
        if sync and self.node.dirty:
            self.node.sync(self.now)
        return [found for _, found in self.said]

    def one(self, message: Message, sync: bool = True, seal: bool = True) -> Message:
        answers = self.ask(message, sync, seal=seal)
        assert len(answers) == 1, answers
        return answers[0]

    def restart(self, keep: int = 0) -> None:
        self.node.crash(keep)
        self.said.clear()
        self.node.start(self.now)


def log_of(*terms: int, text: bytes = b"x", behind: list[Entry] | None = None) -> list[Entry]:
    entries = list(behind or [])
    for term in terms:
        entries.append(
            make_entry(
                len(entries) + 1,
                term,
                DATA,
                0,
                entries[-1].chain if entries else GENESIS_CHAIN,
                text,
            )
        )
    return entries


def append(
    term: int,
    log: list[Entry],
    start: int = 1,
    upto: int | None = None,
    ballot_id: bytes = b"",
    who: bytes = A,
    committed: int = 0,
    **more: object,
) -> Append:
    before = log[start - 2] if start > 1 else None
    entries = [entry.encoded for entry in log[start - 1 : upto]]
    previous: EntryId = before.id if before else NO_ENTRY
    return Append(
        term,
        who,
        ballot_id or b"round%d" % term,
        LEASE,
        7,
        previous,
        before.chain if before else GENESIS_CHAIN,
        committed,
        entries,
        **more,  # type: ignore[arg-type]
    )


def seal(
    term: int,
    who: bytes = A,
    expected: EntryId = (99, 99),
    ballot_id: bytes = b"",
    probe: bool = False,
) -> Seal:
    return Seal(term, who, ballot_id or b"round%d" % term, expected, LEASE, probe)


def renew(term: int, ballot_id: bytes = b"") -> Renew:
    return Renew(term, A, ballot_id or b"round%d" % term, LEASE, 9)


# --------------------------------------------------------------------------- A1


def suspect_bench() -> tuple[Bench, list[Entry]]:
    bench = Bench()
    log = log_of(1, 1, 1, 1)
    bench.ask(append(1, log))
    bench.node.disk.rot(3, False)
    bench.restart()
    bench.now += WINDOW_US
    return bench, log
