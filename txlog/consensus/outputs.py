"""What the log's machines ask of the world. The order of a list of outputs is the order of their
effects.

`SendAfterPersist` is how "nothing is acknowledged before it is on disk" (A6) is written in the
types: it may leave only when every disk output before it in the stream of outputs is durable.
`Send` may leave at once. Disk outputs are applied by the driver to its store in order; then one
sync covers all of them, and the driver calls ``acceptor.on_persisted(sequence, now_us)`` with the
greatest sequence covered *before* it sends the SendAfterPersists it covers.
"""

from __future__ import annotations

from dataclasses import dataclass

from txlog.entry import Entry
from txlog.messages import Fetch, Message

# a connection, named by the driver; for a proposer: the index of the log node in its sorted list
Peer = int


@dataclass(slots=True)
class Promise:
    """The durable promise: no writer of a lower term, and of this term only this ballot id, is
    taken. A promise of term 0 is none.
    """

    term: int = 0
    incarnation: bytes = b""
    ballot_id: bytes = b""
    lease_ms: int = 0


@dataclass(slots=True)
class Suspicion:
    """S3, durable. ``position``: first position in doubt. ``epoch``: random id of this suspicion,
    so that an Append that ends it names the right one. ``cut``: a writer or a pull has overwritten
    what was behind ``position``, so put-backs alone can no longer show that nothing is missing.
    """

    position: int
    epoch: bytes
    reason: str
    cut: bool = False
    # S8: not doubt, but a log that has never been part of the group (`learner`)
    learner: bool = False


# What is made once an entry, or more often, has its `__init__` written out: the one that dataclass
# makes is not compiled.


@dataclass(slots=True, init=False)
class Send:
    to: Peer
    message: Message

    def __init__(self, to: Peer, message: Message) -> None:
        self.to = to
        self.message = message


@dataclass(slots=True, init=False)
class SendAfterPersist:
    sequence: int  # the sequence of the newest disk output it depends on
    to: Peer
    message: Message

    def __init__(self, sequence: int, to: Peer, message: Message) -> None:
        self.sequence = sequence
        self.to = to
        self.message = message


@dataclass(slots=True, init=False)
class WriteEntries:
    """Append these, dense, right behind what the store holds. ``committed``: goes into their frame
    headers as evidence.
    """

    sequence: int
    entries: list[Entry]
    committed: int

    def __init__(self, sequence: int, entries: list[Entry], committed: int) -> None:
        self.sequence = sequence
        self.entries = entries
        self.committed = committed


@dataclass(slots=True)
class Truncate:
    """Remove every entry at or above ``position``."""

    sequence: int
    position: int


@dataclass(slots=True)
class WriteMeta:
    """Make promise and suspicion durable in both slots, one after the other (V2)."""

    sequence: int
    promise: Promise
    suspicion: Suspicion | None


@dataclass(slots=True)
class Serve:
    """Answer a Fetch: the driver fills ``answer.entries`` from the store, from ``answer.start`` up
    to ``upto`` within ``max_bytes``, and sends it.
    """

    to: Peer
    answer: Message
    upto: int
    max_bytes: int


@dataclass(slots=True)
class PutBack:
    """S2: write this entry over the damage at its position, scan on behind it, sync, and call
    ``acceptor.on_put_back(sequence, scan, now_us)``. A disk output like the others: it keeps its
    place in the order and its sequence is covered by the next sync.
    """

    sequence: int
    entry: Entry


@dataclass(slots=True)
class PeerFetch:
    """Ask other log nodes of this group: send ``fetch`` to ``node`` (its id in the membership), or
    to every other node when ``node`` is empty.

    Each answer goes to ``acceptor.on_peer_fetched(node, fetched, now_us)``. A node that cannot be
    reached gives no answer, and an answer may be lost: the acceptor asks again by its own deadline,
    and a newer question of the same topic may take the place of one that was not answered yet.
    ``max_bytes`` 0 asks for the answer's other fields only.
    """

    node: str
    fetch: Fetch
    topic: str


@dataclass(slots=True)
class Expel:
    """What this caller says cannot be: tell it why, end its session, and say so loudly. This node
    goes on: its own state is not in doubt.
    """

    to: Peer
    reason: str


@dataclass(slots=True)
class Halt:
    """A programmer's error or a broken promise of the disk: stop the process, print the reason."""

    reason: str


@dataclass(slots=True)
class Trace:
    """For the log of events and the simulator's digest; never for decisions."""

    text: str


Output = (
    Send
    | SendAfterPersist
    | WriteEntries
    | Truncate
    | WriteMeta
    | Serve
    | PutBack
    | PeerFetch
    | Expel
    | Halt
    | Trace
)


# ------------------------------------------------- the proposer's own (it also uses Send and Trace)


@dataclass(slots=True)
class Opened:
    """W2 done: LEADERSHIP is committed. ``prefix``: everything after the candidate's applied entry
    up to and including LEADERSHIP, all committed now: apply it before serving.
    """

    term: int
    prefix: list[Entry]


@dataclass(slots=True, init=False)
class Committed:
    """Every entry up to ``position`` is committed. Only ever rises; the newest of one
    ``take_outputs`` stands for all.
    """

    position: int

    def __init__(self, position: int) -> None:
        self.position = position


@dataclass(slots=True, init=False)
class LeaseUntil:
    """L2: the writer may answer reads from memory while its clock is below ``us``; 0: never."""

    us: int

    def __init__(self, us: int) -> None:
        self.us = us


@dataclass(slots=True)
class Reopened:
    """W5: a re-seal succeeded, the writer goes on in ``term``. The owner appends a LEADERSHIP entry
    through ``append`` as soon as nothing it has executed waits for a position (a position once
    given to a turn must not be taken by another entry), at the latest at the end of the turn.
    """

    term: int


@dataclass(slots=True)
class Fenced:
    """This writer will never again learn the fate of what it appended and does not know committed.
    Said once; the machine is idle after it.
    """

    reason: str


@dataclass(slots=True)
class CampaignOver:
    """The campaign failed; try again after ``retry_ms`` at the earliest. ``held``: another writer's
    window is open (LeaseHeld). ``windows``: of which writers, and for how many ms.
    """

    reason: str
    retry_ms: int
    held: bool
    windows: tuple[tuple[bytes, int], ...] = ()


ProposerOutput = Send | Opened | Committed | LeaseUntil | Reopened | Fenced | CampaignOver | Trace
