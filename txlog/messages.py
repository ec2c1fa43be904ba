"""What a writer, a reader and a log node send to one another about one log.

Decides: the messages and their fields.
Must not know: bytes on the wire (`wire`), which process answers what (`consensus`). A connection
serves one log, named in `Hello`. Times in messages are durations in milliseconds, never clock
readings. Every answer to a writer echoes the term and ballot id (and number) it answers. So an old
answer can never count for a new question.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from txlog.entry import EntryId

# What a node takes from a writer. A message beyond these limits would block the log for years, or
# would not fit into what the node keeps of it.
MAX_ID_BYTES: Final = 16  # of an incarnation or a ballot id
MAX_LEASE_MS: Final = 60_000  # unless the log node's `max-lease-ms` says less
# above the term promised: no group campaigns so often, and a term has 64 bits
MAX_TERM_STEP: Final = 1 << 32

# --------------------------------------------------------------------------- connection


@dataclass(slots=True)
class Hello:
    """First message of a connection.
    ``incarnation`` is the random id (16 bytes) of this process life, ``purpose`` is for people.
    """

    protocol: int
    log: str
    incarnation: bytes
    # "writer", "creator" (a writer for which the node may make the log), "reader", "peer", "tool",
    # "busy"
    purpose: str
    membership: int = 0  # the membership version the sender knows, 0: none yet
    group: bytes = b""  # the group id the sender knows, empty: none yet
    proof: bytes = b""  # the caller's nonce and proof, where a shared secret is set (`handshake`)


@dataclass(slots=True)
class Challenge:
    """The node's first message.
    Empty where no shared secret is set, else a nonce and the node's identity (`handshake`).
    """

    nonce: bytes


@dataclass(slots=True)
class Welcome:
    node: str  # this node's id in its group, "" when it belongs to none
    az: str
    group: bytes
    membership: int
    members: list[str]  # "node-id=host:port", sorted
    incarnation: bytes  # of the node's own process life
    folder: str = ""  # random id of the node's data folder
    proof: bytes = b""  # the node's, where a shared secret is set


@dataclass(slots=True)
class Membership:
    """S8: a tool sends it to a node, which takes it if it follows from its own membership.
    The node answers with the membership that it has then.
    """

    group: bytes
    version: int
    members: list[str]  # "node-id=host:port", sorted


@dataclass(slots=True)
class Reject:
    """The node does not serve the connection and closes it after this message.
    With a ``version``: because the group now has that membership (S8), and the caller connected
    under a lower one.
    """

    reason: str
    version: int = 0
    members: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ProvenReject:
    """A `Reject` in place of a Welcome, with the node's proof.
    Sent only to a caller that has proven the shared secret.
    """

    reason: str
    version: int
    members: list[str]
    proof: bytes = b""


# --------------------------------------------------------------------------- writer -> node


@dataclass(slots=True)
class Seal:
    """A1. With ``probe`` nothing is promised."""

    term: int
    incarnation: bytes
    ballot_id: bytes
    expected: EntryId
    lease_ms: int
    probe: bool


@dataclass(slots=True)
class Append:
    """A2. ``entries`` are canonical encodings (`entry.Entry.encoded`); may be empty.
    They follow ``previous`` without a hole.
    """

    term: int
    incarnation: bytes
    ballot_id: bytes
    lease_ms: int
    number: int
    previous: EntryId
    previous_chain: bytes
    committed: int
    entries: list[bytes]
    repair_epoch: bytes = b""  # S3: the node's suspicion that this answers, empty: none
    # S3: the writer's last assigned position when the node reported that suspicion
    repair_upto: int = 0


@dataclass(slots=True)
class Renew:
    """L1. Touches no disk."""

    term: int
    incarnation: bytes
    ballot_id: bytes
    lease_ms: int
    number: int


@dataclass(slots=True)
class Release:
    """L4. ``successor`` is an incarnation."""

    term: int
    ballot_id: bytes
    successor: bytes


@dataclass(slots=True)
class CatchUp:
    """W4: the writer no longer holds what this node lacks.
    Pull committed entries from the other nodes up to ``committed``.
    """

    term: int
    ballot_id: bytes
    committed: int


def beyond_limits(message: Seal | Append | Renew, promised: int, max_lease_ms: int) -> str:
    """Why a node that has promised that term refuses this message; "" when it takes it."""
    if len(message.incarnation) > MAX_ID_BYTES or not 0 < len(message.ballot_id) <= MAX_ID_BYTES:
        return f"an incarnation of more than {MAX_ID_BYTES} bytes, or a ballot id of none or more"
    if message.lease_ms > max_lease_ms:
        return (
            f"a lease of {message.lease_ms} ms, the limit here is {max_lease_ms}: raise "
            "max-lease-ms of the log nodes"
        )
    if message.term - promised > MAX_TERM_STEP and not (type(message) is Seal and message.probe):
        return f"term {message.term} is too far above the term promised, {promised}"
    return ""


# --------------------------------------------------------------------------- node -> writer


@dataclass(slots=True)
class Promised:
    """Answer to Seal (durable) or, with ``probe``, "I would"."""

    term: int
    ballot_id: bytes
    promised: int
    probe: bool
    last: EntryId
    committed: int


@dataclass(slots=True)
class Refused:
    """``promised`` is above ``term`` (or equal with another ballot id)."""

    term: int
    ballot_id: bytes
    promised: int


@dataclass(slots=True)
class LeaseHeld:
    """``writer``: whose window is open here; empty: another reason delays the candidate."""

    term: int
    ballot_id: bytes
    promised: int
    left_ms: int
    writer: bytes = b""


@dataclass(slots=True)
class Behind:
    term: int
    ballot_id: bytes
    promised: int
    last: EntryId
    committed: int


@dataclass(slots=True)
class Appended:
    """``position``: durable here, and the log up to there matches the writer's (A2)."""

    term: int
    ballot_id: bytes
    number: int
    position: int


@dataclass(slots=True)
class Renewed:
    term: int
    ballot_id: bytes
    number: int


@dataclass(slots=True)
class Unsealed:
    """A2: this node has not promised that term and ballot id, and did not take the Append.
    The writer seals here first.
    """

    term: int
    ballot_id: bytes
    number: int


@dataclass(slots=True)
class MissingEntries:
    term: int
    ballot_id: bytes
    number: int
    last: EntryId
    committed: int


@dataclass(slots=True)
class Conflict:
    """Another entry is at ``previous``.
    Try again from ``back_to``, which is never below the node's committed position.
    """

    term: int
    ballot_id: bytes
    number: int
    back_to: int
    committed: int


@dataclass(slots=True)
class Suspected:
    """S3: the node took the entries but counts nowhere until healed.
    ``position``: durable and matching so far.
    """

    term: int
    ballot_id: bytes
    number: int
    epoch: bytes
    position: int


@dataclass(slots=True)
class Unavailable:
    term: int
    ballot_id: bytes
    number: int
    reason: str  # "disk full"


# --------------------------------------------------------------------------- reading


@dataclass(slots=True)
class Fetch:
    """Ask for entries from ``start``.
    With ``uncommitted`` (a candidate) also for the suffix after the committed position. With
    ``fence``, a term, the node promises it first (S4), and ``promised`` in the answer is what it
    has promised on disk.
    """

    token: int
    start: int
    max_bytes: int
    uncommitted: bool
    fence: int = 0


@dataclass(slots=True)
class Fetched:
    token: int
    start: int
    promised: int
    last: EntryId
    committed: int
    trim: EntryId  # id of the last entry removed, NO_ENTRY: none
    suspect: bool
    entries: list[bytes]
    proven: int = 0  # the greatest position this node can prove it had synced or committed (S2-S4)
    lease_ms: int = 0  # of the promise
    learner: bool = False  # S8: this node has not joined its group yet


@dataclass(slots=True)
class TailQuery:
    token: int


@dataclass(slots=True)
class Tail:
    """R2. Not sent by a suspect node."""

    token: int
    durable: EntryId
    committed: int


@dataclass(slots=True)
class Subscribe:
    """R1: committed entries from ``start`` on, then a heartbeat every 100 ms."""

    start: int


@dataclass(slots=True)
class Records:
    committed: int
    entries: list[bytes]


@dataclass(slots=True)
class Heartbeat:
    """``window_left_ms``: of the writer's lease window here, 0: closed.
    ``writer``: its incarnation, empty: none known. ``successor``: the incarnation for which a
    Release reserves the log, else empty.
    """

    committed: int
    last: EntryId
    promised: int
    window_left_ms: int
    writer: bytes
    successor: bytes
    suspect: bool


# --------------------------------------------------------------------------- administration


@dataclass(slots=True)
class InitGroup:
    """S7. Only a node without a group takes it. For the same group it changes nothing."""

    group: bytes
    node: str
    members: list[str]  # "node-id=host:port", sorted


@dataclass(slots=True)
class InitDone:
    group: bytes
    node: str
    fresh: bool


@dataclass(slots=True)
class JoinGroup:
    """S8: to a learner, once a majority of the old group has the version.
    Only an empty node with that folder takes it. It counts in no log before it has copied that log.
    """

    group: bytes
    node: str
    version: int
    members: list[str]
    folder: str
    logs: list[str]  # the existing logs; others are copied when a client asks for them


@dataclass(slots=True)
class DeleteLog:
    """One step of a deletion.
    `server.deletion` defines the steps, and the order in which logs may be deleted.
    """

    group: bytes
    version: int  # of the membership; the node refuses a version other than its own
    log: str
    step: str  # "look", "mark", "remove", "clear"


@dataclass(slots=True)
class LogDeletion:
    """How far the deletion is on this node after the step."""

    log: str
    state: str  # "none", "kept", "marked", "gone"
    last: int  # position of the last entry, 0: none or not known
    in_use: str  # why the log cannot be marked now, empty: it can be


@dataclass(slots=True)
class StatusQuery:
    token: int


@dataclass(slots=True)
class Status:
    """``text`` is JSON, for people and tools; never for decisions."""

    token: int
    text: str


Message = (
    Hello
    | Challenge
    | Welcome
    | Membership
    | Reject
    | ProvenReject
    | Seal
    | Append
    | Renew
    | Release
    | CatchUp
    | Promised
    | Refused
    | LeaseHeld
    | Behind
    | Appended
    | Renewed
    | Unsealed
    | MissingEntries
    | Conflict
    | Suspected
    | Unavailable
    | Fetch
    | Fetched
    | TailQuery
    | Tail
    | Subscribe
    | Records
    | Heartbeat
    | InitGroup
    | InitDone
    | JoinGroup
    | DeleteLog
    | LogDeletion
    | StatusQuery
    | Status
)
