"""Micro-benchmarks of single machines, in one process and without sockets or disks: where a
command's microseconds go.

`python -m bench micro [--seconds S] [--only NAME]`.
Decides: what one operation is.
Must not know: real I/O. Each figure is the best of five rounds (what the machine can do when
nothing disturbs it), in nanoseconds an operation; nothing is asserted.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable

from memstore.commands import build_table
from memstore.engine import resp
from memstore.engine.engine import Engine
from memstore.engine.session import Session
from memstore.engine.settings import Settings
from memstore.replication.shard import FixedLease, Shard
from tests.system.client import pack
from txlog import wire
from txlog.consensus.acceptor import Acceptor
from txlog.consensus.log import Recovered
from txlog.consensus.outputs import Opened, Send, SendAfterPersist, Serve, WriteEntries, WriteMeta
from txlog.consensus.proposer import Proposer
from txlog.entry import DATA, GENESIS_CHAIN, NO_ENTRY, Entry, EntryId, make_entry
from txlog.messages import Append, Message

ROUNDS = 5
KEYS = 10_000
VALUE = b"x" * 100
FAR_US = 1 << 60
Operation = Callable[[int], object]  # runs that many operations


def _key(number: int) -> bytes:
    return b"key:%012d" % number


def parse(pipeline: int) -> Operation:
    """Bytes of `pipeline` GETs to argument lists; one operation is one command."""
    data = b"".join(pack(b"GET", _key(n)) for n in range(pipeline))

    def work(count: int) -> None:
        feed = resp.CommandReader().feed
        for _ in range(count // pipeline):
            feed(data)

    return work


def _shard() -> tuple[Shard, Session]:
    shard = Shard(Engine(Settings(), random.Random(1), build_table()))
    shard.become_primary(1, 0)
    shard.lease = FixedLease(FAR_US)
    session = Session(1)
    _commit(shard, session, [[b"SET", _key(n), VALUE] for n in range(KEYS)])
    return shard, session


def _commit(shard: Shard, session: Session, batch: list[list[bytes]]) -> None:
    """One turn of the loop that writes, and its commit."""
    at = 0
    while at < len(batch):
        at = shard.run(session, batch, at, 1, 1)
    shard.take_entries()
    shard.on_committed(shard.next_position - 1)
    shard.take_reply(session, 1)


def get(pipeline: int, dirty: bool = False) -> Operation:
    """GETs through the shard to the bytes of their replies; with `dirty`, a write of another key is
    in flight.
    """
    shard, session = _shard()
    rng = random.Random(2)
    batches = [[[b"GET", _key(rng.randrange(KEYS))] for _ in range(pipeline)] for _ in range(200)]
    if dirty:
        shard.run(Session(2), [[b"SET", b"another", VALUE]], 0, 1, 1)
        shard.take_entries()

    def work(count: int) -> None:
        run, take = shard.run, shard.take_reply
        for n in range(count // pipeline):
            run(session, batches[n % 200], 0, 1, 1)
            take(session, 1)

    return work


def write(pipeline: int, command: bytes = b"SET") -> Operation:
    """Writes through the shard: executed, effects gathered into one entry a batch,
    held, committed, released.
    """
    shard, session = _shard()
    rng = random.Random(2)
    if command == b"SET":
        batches = [
            [[b"SET", _key(rng.randrange(KEYS)), VALUE] for _ in range(pipeline)]
            for _ in range(200)
        ]
    else:
        batches = [
            [[command, b"counter:%d" % rng.randrange(1000)] for _ in range(pipeline)]
            for _ in range(200)
        ]

    def work(count: int) -> None:
        for n in range(count // pipeline):
            _commit(shard, session, batches[n % 200])

    return work


def apply(effects: int) -> Operation:
    """A replica applies entries of that many SETs; one operation is one SET."""
    engine = Engine(Settings(), random.Random(1), build_table())
    payload = b"".join(pack(b"SET", _key(n), VALUE) for n in range(effects))

    def work(count: int) -> None:
        for _ in range(count // effects):
            engine.apply(payload, 1)

    return work


def entry(size: int) -> Operation:
    """Make an entry: header, bytes, chain."""
    payload = b"p" * size

    def work(count: int) -> None:
        chain = GENESIS_CHAIN
        for position in range(1, count + 1):
            chain = make_entry(position, 1, DATA, 1, chain, payload).chain

    return work


def frames(size: int) -> Operation:
    """An Append of one entry to bytes and back, as it crosses the wire."""
    made = make_entry(1, 1, DATA, 1, GENESIS_CHAIN, b"p" * size)
    message = Append(1, b"i" * 16, b"r" * 16, 1000, 1, NO_ENTRY, GENESIS_CHAIN, 0, [made.encoded])

    def work(count: int) -> None:
        decoder = wire.Decoder()
        for _ in range(count):
            decoder.feed(wire.encode(message))

    return work


class Memory:
    """A log in memory that an acceptor reads: what is written is durable at once."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def entry_at(self, position: int) -> Entry | None:
        return self.entries[position - 1] if 0 < position <= len(self.entries) else None

    def id_at(self, position: int) -> EntryId | None:
        found = self.entry_at(position)
        return found.id if found else None

    def chain_at(self, position: int) -> bytes | None:
        found = self.entry_at(position)
        return found.chain if found else None


class Group:
    """A writer and its log nodes, connected without a wire, all with one clock that stands
    still.
    """

    def __init__(self, nodes: int) -> None:
        names = [f"n{index}" for index in range(nodes)]
        self.memories = [Memory() for _ in names]
        self.acceptors = [
            Acceptor(
                Recovered(),
                memory,
                [other for other in names if other != name],
                random.Random(index),
                1,
            )
            for index, (name, memory) in enumerate(zip(names, self.memories, strict=True))
        ]
        self.proposer = Proposer(nodes, b"i" * 16, random.Random(9))
        self.opened = False
        self.now = 1
        for index in range(nodes):
            self.proposer.on_connected(index, self.now)
        self.proposer.start_campaign(NO_ENTRY, GENESIS_CHAIN, 1000, b"leader", 1, self.now)
        for _ in range(100):
            self.settle()
            if self.opened:
                return
            self.now = self.proposer.deadline() or self.now
            self.proposer.on_deadline(self.now)
        raise RuntimeError("the group elected no writer")

    def settle(self) -> None:
        """Deliver messages and syncs until none remains."""
        while outputs := self.proposer.take_outputs():
            for output in outputs:
                if isinstance(output, Opened):
                    self.opened = True
                elif isinstance(output, Send):
                    for answer in self._node(output.to, output.message):
                        self.proposer.on_message(output.to, answer, self.now)

    def _node(self, index: int, message: Message) -> list[Message]:
        acceptor, memory = self.acceptors[index], self.memories[index]
        acceptor.on_message(0, message, self.now)
        answers: list[Message] = []
        sequence = 0
        while outputs := acceptor.take_outputs():
            for output in outputs:
                if isinstance(output, WriteEntries):
                    memory.entries += output.entries
                    sequence = output.sequence
                elif isinstance(output, WriteMeta):
                    sequence = output.sequence
                elif isinstance(output, Serve):  # a Fetch of an empty log: nothing to fill in
                    answers.append(output.answer)
                elif isinstance(output, Send | SendAfterPersist):
                    answers.append(output.message)
            if sequence:
                acceptor.on_persisted(sequence, self.now)
        return answers


def quorum(nodes: int, size: int) -> Operation:
    """Appended, taken by every node, acknowledged, committed:
    the machines' share of a durable write.
    """
    group = Group(nodes)
    payload = b"p" * size

    def work(count: int) -> None:
        for _ in range(count):
            group.proposer.append(DATA, payload, 1, False, group.now)
            group.settle()
        assert group.proposer.in_flight == 0, "appends that are not committed"

    return work


BENCHMARKS: dict[str, Callable[[], Operation]] = {
    "parse: GET, alone": lambda: parse(1),
    "parse: GET, 16 at once": lambda: parse(16),
    "execute: GET, alone": lambda: get(1),
    "execute: GET, 16 at once": lambda: get(16),
    "execute: GET, 16 at once, a write in flight": lambda: get(16, dirty=True),
    "execute and track: SET, alone": lambda: write(1),
    "execute and track: SET, 16 at once": lambda: write(16),
    "execute and track: INCR, 16 at once": lambda: write(16, b"INCR"),
    "apply at a replica: SET, 16 an entry": lambda: apply(16),
    "entry: 150 bytes": lambda: entry(150),
    "entry: 16 KiB": lambda: entry(16 << 10),
    "wire: Append of 150 bytes, there and back": lambda: frames(150),
    "wire: Append of 16 KiB, there and back": lambda: frames(16 << 10),
    "log: append to commit, 150 bytes, one node": lambda: quorum(1, 150),
    "log: append to commit, 150 bytes, three nodes": lambda: quorum(3, 150),
    "log: append to commit, 16 KiB, three nodes": lambda: quorum(3, 16 << 10),
}


def timed(work: Operation, seconds: float) -> float:
    """Nanoseconds an operation: the best of several rounds that take about `seconds` in total."""
    count = 160
    while True:
        begun = time.perf_counter_ns()
        work(count)
        took = time.perf_counter_ns() - begun
        if took > seconds / ROUNDS / 4 * 1e9:
            break
        count *= 4
    count = max(160, int(count * seconds / ROUNDS * 1e9 / took) // 16 * 16)
    best = float("inf")
    for _ in range(ROUNDS):
        gc.collect()
        begun = time.perf_counter_ns()
        work(count)
        best = min(best, (time.perf_counter_ns() - begun) / count)
    return best


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench micro",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of one benchmark, about")
    parser.add_argument("--only", default="", help="those whose name contains this")
    args = parser.parse_args(argv)
    width = max(len(name) for name in BENCHMARKS)
    for name, make in BENCHMARKS.items():
        if args.only in name:
            print(f"{name:<{width}}  {timed(make(), args.seconds):>10.0f} ns", flush=True)
    return 0
