"""What the log's machines ask their drivers to do.
The order of a list of outputs is the order of their effects.

`SendAfterPersist` expresses "nothing is acknowledged before it is on disk" (A6) as a type. It may
leave only when every disk output before it in the stream of outputs is durable. `Send` may leave at
once. The driver applies disk outputs to its store in order; then one sync covers all of them. The
driver calls ``acceptor.on_persisted(sequence, now_us)`` with the greatest sequence covered. It
sends the SendAfterPersists covered only after that call.
"""

from __future__ import annotations

from dataclasses import dataclass

from txlog.entry import Entry
from txlog.messages import Fetch, Message

# a connection, named by the driver; for a proposer: the index of the log node in its sorted list
Peer = int


@dataclass(slots=True)
class Promise:
    """The durable promise: the node takes no writer of a lower term.
    Of this term it takes only this ballot id. A promise of term 0 is no promise.
    """

    term: int = 0
    incarnation: bytes = b""
    ballot_id: bytes = b""
    lease_ms: int = 0


@dataclass(slots=True)
class Suspicion:
    """S3, durable. ``position``: first position in doubt.
    ``epoch``: random id of this suspicion, so that an Append that ends it names the right one.
    ``cut``: a writer or a pull has overwritten the log after ``position``, so put-backs alone can
    no longer show that nothing is missing.
    """

    position: int
    epoch: bytes
    reason: str
    cut: bool = False
    # S8: no doubt, but a log that has never been part of the group (`learner`)
    learner: bool = False


# Classes made once per entry or more often have a handwritten `__init__`, because the one that
# dataclass makes is not compiled.


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
    """Append these, dense, directly after what the store holds.
    ``committed``: goes into their frame headers as evidence.
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
    """Answer a Fetch.
    The driver fills ``answer.entries`` from the store, from ``answer.start`` up to ``upto`` within
    ``max_bytes``, and sends it.
    """

    to: Peer
    answer: Message
    upto: int
    max_bytes: int


@dataclass(slots=True)
class PutBack:
    """S2: write this entry over the damage at its position.
    Then scan after it, sync, and call ``acceptor.on_put_back(sequence, scan, now_us)``. It is a
    disk output like the others: it keeps its place in the order, and the next sync covers its
    sequence.
    """

    sequence: int
    entry: Entry


@dataclass(slots=True)
class PeerFetch:
    """Ask other log nodes of this group.
    Send ``fetch`` to ``node`` (its id in the membership), or to every other node when ``node`` is
    empty.

    Each answer goes to ``acceptor.on_peer_fetched(node, fetched, now_us)``. A node that cannot be
    reached gives no answer, and an answer may be lost. The acceptor asks again by its own deadline.
    A newer question of the same topic may replace one that is not answered yet. ``max_bytes`` 0
    asks only for the answer's other fields.
    """

    node: str
    fetch: Fetch
    topic: str


@dataclass(slots=True)
class Expel:
    """This caller has sent something impossible.
    Tell it why, end its session, and report it prominently. This node continues: its own state is
    not in doubt.
    """

    to: Peer
    reason: str


@dataclass(slots=True)
class Halt:
    """A programming error, or a disk that broke its promise: stop the process, print the reason."""

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
    """W2 done: LEADERSHIP is committed.
    ``prefix``: everything after the candidate's applied entry up to and including LEADERSHIP. All
    of it is committed now; apply it before serving.
    """

    term: int
    prefix: list[Entry]


@dataclass(slots=True, init=False)
class Committed:
    """Every entry up to ``position`` is committed; the position only rises.
    The newest one of a ``take_outputs`` covers all others.
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
    """W5: a re-seal succeeded; the writer continues in ``term``.
    The owner appends a LEADERSHIP entry through ``append`` as soon as nothing it has executed waits
    for a position. A position once given to a turn must not go to another entry. It appends at the
    latest at the end of the turn.
    """

    term: int


@dataclass(slots=True)
class Fenced:
    """This writer will never learn the fate of its appended entries that are not known committed.
    Emitted once; the machine is idle after it.
    """

    reason: str


@dataclass(slots=True)
class CampaignOver:
    """The campaign failed; try again after ``retry_ms`` at the earliest.
    ``held``: another writer's window is open (LeaseHeld). ``windows``: the writers whose windows
    are open, and for how many ms.
    """

    reason: str
    retry_ms: int
    held: bool
    windows: tuple[tuple[bytes, int], ...] = ()


ProposerOutput = Send | Opened | Committed | LeaseUntil | Reopened | Fenced | CampaignOver | Trace
