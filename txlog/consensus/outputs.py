"""What the log's machines ask of the world. The order of a list of outputs is the order of their effects.

`SendAfterPersist` is how "nothing is acknowledged before it is on disk" (A6) is written in the types: it may leave only
when every disk output before it in the stream of outputs is durable. `Send` may leave at once.
Disk outputs are applied by the driver to its store in order; then one sync covers all of them, and the driver calls
``acceptor.on_persisted(sequence, now_us)`` with the greatest sequence covered *before* it sends the SendAfterPersists it covers.
"""

from __future__ import annotations

from dataclasses import dataclass

from txlog.entry import Entry
from txlog.messages import Message

Peer = int  # a connection, named by the driver; for a proposer: the index of the log node in its sorted list


@dataclass(slots=True)
class Promise:
    """The durable promise: no writer of a lower term, and of this term only this round, is taken. A promise of term 0 is none."""

    term: int = 0
    incarnation: bytes = b""
    round: bytes = b""
    lease_ms: int = 0


@dataclass(slots=True)
class Suspicion:
    """S3, durable. ``position``: first position in doubt. ``epoch``: random id of this suspicion, so that healing answers the right one."""

    position: int
    epoch: bytes
    reason: str


@dataclass(slots=True)
class Send:
    to: Peer
    message: Message


@dataclass(slots=True)
class SendAfterPersist:
    sequence: int  # the sequence of the newest disk output it depends on
    to: Peer
    message: Message


@dataclass(slots=True)
class WriteEntries:
    """Append these, dense, right behind what the store holds. ``committed``: goes into their frame headers as evidence."""

    sequence: int
    entries: list[Entry]
    committed: int


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
    """Answer a Fetch: the driver fills ``answer.entries`` from the store, from ``answer.start`` up to ``upto`` within ``max_bytes``, and sends it."""

    to: Peer
    answer: Message
    upto: int
    max_bytes: int


@dataclass(slots=True)
class Pull:
    """Fetch committed entries from ``start`` up to ``upto`` from the other nodes of the group and hand them to ``on_pulled``."""

    start: int
    upto: int


@dataclass(slots=True)
class Halt:
    """A programmer's error or a broken promise of the disk: stop the process, print the reason."""

    reason: str


@dataclass(slots=True)
class Trace:
    """For the log of events and the simulator's digest; never for decisions."""

    text: str


Output = Send | SendAfterPersist | WriteEntries | Truncate | WriteMeta | Serve | Pull | Halt | Trace
