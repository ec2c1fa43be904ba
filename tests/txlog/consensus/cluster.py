"""Real machines on in-memory disks, for the tests of this folder and the golden scripts.

They do the work of a driver, without time or sockets. A `Disk` keeps written and synced data apart,
so that a crash can remove any suffix of the unsynced writes. A `LogNode` applies outputs in the
order that `txlog.consensus.outputs` requires. Messages leave through ``post(source, target,
message)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from txlog.consensus.acceptor import Acceptor
from txlog.consensus.limits import Limits
from txlog.consensus.log import Damage, Recovered, Scan
from txlog.consensus.outputs import (
    Expel,
    Halt,
    Output,
    PeerFetch,
    Promise,
    PutBack,
    Send,
    SendAfterPersist,
    Serve,
    Suspicion,
    Trace,
    Truncate,
    WriteEntries,
    WriteMeta,
)
from txlog.consensus.proposer import Proposer
from txlog.entry import GENESIS_CHAIN, NO_ENTRY, Entry, EntryId
from txlog.messages import Fetched, Message

Post = Callable[[str, str, Message], None]


class Violation(Exception):
    """An invariant of the log does not hold."""


class Rot:
    """A frame whose checksum is wrong."""

    def __init__(self, entry: Entry, header: bool) -> None:
        self.known = entry.id if header else None


class Frame:
    def __init__(self, entry: Entry, committed: int, synced: int) -> None:
        self.entry: Entry | Rot = entry
        self.committed = committed
        self.synced = synced


class State:
    """The bytes of one disk, as a list of frames."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.promise = Promise()
        self.suspicion: Suspicion | None = None

    def apply(self, output: Output, synced: int) -> None:
        if isinstance(output, WriteEntries):
            for entry in output.entries:
                assert entry.position == len(self.frames) + 1, "a hole on disk"
                self.frames.append(Frame(entry, output.committed, synced))
        elif isinstance(output, Truncate):
            del self.frames[output.position - 1 :]
        elif isinstance(output, WriteMeta):
            self.promise, self.suspicion = replace(output.promise), output.suspicion
        elif isinstance(output, PutBack):
            self.frames[output.entry.position - 1].entry = output.entry

    def copy(self) -> State:
        other = State()
        frames = [Frame(f.entry, f.committed, f.synced) for f in self.frames]
        other.frames = frames  # type: ignore[assignment]
        other.promise, other.suspicion = self.promise, self.suspicion
        return other


class Disk:
    """``synced`` is what a power loss certainly leaves; ``now`` is what a reader sees.
    ``pending`` holds the writes between the two.
    """

    def __init__(self) -> None:
        self.synced = State()
        self.now = State()
        self.pending: list[tuple[int, Output]] = []
        self.synced_position = 0

    def apply(self, output: Output) -> None:
        self.now.apply(output, self.synced_position)
        self.pending.append((output.sequence, output))  # type: ignore[union-attr]

    def sync(self, sequence: int) -> None:
        while self.pending and self.pending[0][0] <= sequence:
            self.synced.apply(self.pending.pop(0)[1], self.synced_position)
        self.synced_position = len(self.synced.frames)

    def crash(self, keep: int) -> None:
        """Power loss: of the unsynced writes only the first ``keep`` reached the disk."""
        for _, output in self.pending[:keep]:
            self.synced.apply(output, self.synced_position)
        self.pending = []
        self.now = self.synced.copy()
        self.synced_position = 0

    def rot(self, position: int, header: bool) -> None:
        for state in (self.synced, self.now):
            frame = state.frames[position - 1]
            if isinstance(frame.entry, Entry):
                frame.entry = Rot(frame.entry, header)

    # --------------------------------------------------------- what the acceptor may read (History)

    def entry_at(self, position: int) -> Entry | None:
        found = (
            self.now.frames[position - 1].entry if 0 < position <= len(self.now.frames) else None
        )
        return found if isinstance(found, Entry) else None

    def id_at(self, position: int) -> EntryId | None:
        found = self.entry_at(position)
        return found.id if found else None

    def chain_at(self, position: int) -> bytes | None:
        found = self.entry_at(position)
        return found.chain if found else None

    # ------------------------------------------------------------------ S1

    def recover(self) -> Recovered:
        frames = self.now.frames
        committed = max([f.committed for f in frames if isinstance(f.entry, Entry)], default=0)
        proven = max([f.synced for f in frames if isinstance(f.entry, Entry)], default=0)
        scan = self.scan(committed)
        return Recovered(
            promise=self.now.promise, last=scan.last, last_chain=scan.last_chain,
            committed=committed, proven=max(committed, proven), suspicion=self.now.suspicion,
            damage=scan.damage,
        )  # fmt: skip

    def scan(self, committed: int) -> Scan:
        frames = self.now.frames
        last, chain, damage, ended = NO_ENTRY, GENESIS_CHAIN, [], False
        good_behind = [
            any(isinstance(f.entry, Entry) for f in frames[index + 1 :])
            for index in range(len(frames))
        ]
        for index, frame in enumerate(frames):
            if isinstance(frame.entry, Entry):
                if not ended:
                    last, chain = frame.entry.id, frame.entry.chain
                continue
            follower = frames[index + 1].entry if index + 1 < len(frames) else None
            damage.append(
                Damage(
                    index + 1,
                    frame.entry.known,
                    follower.previous_chain if isinstance(follower, Entry) else None,
                    f"frame {index + 1}",
                )
            )
            if index + 1 > committed or not good_behind[index]:
                ended = True
        return Scan(last, chain, damage)


class LogNode:
    """One log node: disk, machine, and the driver between them."""

    def __init__(self, name: str, group: list[str], rng: Random, post: Post) -> None:
        self.name = name
        self.peers = [other for other in group if other != name]
        self.rng = rng
        self.post = post
        self.disk = Disk()
        self.up = False
        self.waiting: list[SendAfterPersist] = []
        self.applied = 0  # newest disk output applied
        # names of the processes that send to it; a peer number is an index
        self.sources: list[str] = []
        self.traces: list[str] = []
        self.on_send: Callable[[LogNode, Message], None] = lambda node, message: None
        self.acceptor: Acceptor

    def start(self, now: int) -> None:
        self.up = True
        self.waiting, self.applied = [], 0
        self.acceptor = Acceptor(
            self.disk.recover(), self.disk, self.peers, Random(self.rng.getrandbits(64)), now
        )
        self.run(now)

    def crash(self, keep: int) -> None:
        self.up = False
        self.disk.crash(keep)

    def deliver(self, source: str, message: Message, now: int) -> None:
        if isinstance(message, Fetched):
            self.acceptor.on_peer_fetched(source, message, now)
        else:
            if source not in self.sources:
                self.sources.append(source)
            self.acceptor.on_message(self.sources.index(source), message, now)
        self.run(now)

    def sync(self, now: int, upto: int | None = None) -> None:
        """One fdatasync returns; it covers the outputs that were applied when it began."""
        covered = self.applied if upto is None else upto
        self.disk.sync(covered)
        self.acceptor.on_persisted(covered, now)
        ready = [output for output in self.waiting if output.sequence <= covered]
        self.waiting = [output for output in self.waiting if output.sequence > covered]
        self.run(now)
        for output in ready:
            self.send(output.to, output.message)

    def tick(self, now: int) -> None:
        due = self.acceptor.deadline()
        if due and now >= due:
            self.acceptor.on_deadline(now)
            self.run(now)

    @property
    def dirty(self) -> bool:
        return bool(self.disk.pending)

    def send(self, to: int, message: Message) -> None:
        self.on_send(self, message)
        self.post(self.name, self.sources[to], message)

    def run(self, now: int) -> None:
        put_backs: list[PutBack] = []
        for output in self.acceptor.take_outputs():
            if isinstance(output, Send):
                self.send(output.to, output.message)
            elif isinstance(output, SendAfterPersist):
                self.waiting.append(output)
            elif isinstance(output, WriteEntries | Truncate | WriteMeta | PutBack):
                self.disk.apply(output)
                self.applied = output.sequence
                if isinstance(output, PutBack):
                    put_backs.append(output)
            elif isinstance(output, Serve):
                self.serve(output)
            elif isinstance(output, PeerFetch):
                for peer in [output.node] if output.node else self.peers:
                    self.post(self.name, peer, output.fetch)
            elif isinstance(output, Expel):
                raise Violation(f"{self.name} expels a writer: {output.reason}")
            elif isinstance(output, Halt):
                raise Violation(f"{self.name} halts: {output.reason}")
            elif isinstance(output, Trace):
                self.traces.append(output.text)
        for put_back in put_backs:
            self.sync(now)
            self.acceptor.on_put_back(
                put_back.sequence, self.disk.scan(self.acceptor.committed), now
            )
        if put_backs:
            self.run(now)

    def serve(self, output: Serve) -> None:
        answer, size = output.answer, 0
        assert isinstance(answer, Fetched)
        for position in range(answer.start, output.upto + 1):
            entry = self.disk.entry_at(position)
            if entry is None or size >= output.max_bytes:
                break
            answer.entries.append(entry.encoded)
            size += len(entry.encoded)
        self.send(output.to, answer)


def new_writer(name: str, nodes: int, rng: Random, limits: Limits | None = None) -> Proposer:
    return Proposer(nodes, name.encode().ljust(16, b"."), rng, limits)
