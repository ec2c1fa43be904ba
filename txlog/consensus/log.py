"""What an acceptor learns about its own disk at start, and what it may ask of it later.

Decides: the form of the start-up report (`Recovered`), of damage (S1) and of the result of a
put-back (`Scan`), and the questions a machine may put to its store (`History`).
Must not know: segments, frames, files.

How the store reports damage. A scan walks the log from the first kept position. It reports bytes
that fail a check as one `Damage` per lost position. The number of lost positions is known if a
good entry follows; otherwise it is exactly one, the torn tail.

The log *continues* over damage at or below ``committed`` that has a good entry after it. Those
positions are holes, to be put back while the node works.
The log *ends* before the first other damage. ``last`` is the entry before it. The bytes after it
stay on disk, unchanged, until they are put back (S2), overwritten by a writer, or cut by the
exchange (S4).

Invariants: ``damage`` is in ascending order; nothing at or below ``last.position`` is lost except
the holes listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from txlog.consensus.outputs import Promise, Suspicion
from txlog.entry import GENESIS_CHAIN, NO_ENTRY, Entry, EntryId


@dataclass(slots=True)
class Damage:
    """One lost position. What is known about it decides which copy may be put back (S2)."""

    position: int
    known: EntryId | None = None  # the id in the frame's header, if that header passes its check
    # the previous chain in the next frame if that frame is good: the chain of this entry
    next_chain: bytes | None = None
    where: str = ""  # file and offset, for people


@dataclass(slots=True)
class Recovered:
    """The store's report at start."""

    # term 0: this node has never promised (then L3 does not wait)
    promise: Promise = field(default_factory=Promise)
    trim: EntryId = NO_ENTRY  # the last entry removed, NO_ENTRY: none
    trim_chain: bytes = GENESIS_CHAIN
    last: EntryId = NO_ENTRY  # the end of the log as above; the trim id when it is empty
    last_chain: bytes = GENESIS_CHAIN
    # greatest `committed` evidence in good frame headers, at least the trim position
    committed: int = 0
    proven: int = 0  # greatest `synced` evidence (S1), at least `committed`
    suspicion: Suspicion | None = None  # as found in meta
    damage: list[Damage] = field(default_factory=list)
    largest_entry: int = 1 << 32  # encoded bytes that the disk's layout can hold in one piece
    entry_overhead: int = 0  # bytes that an entry takes on disk besides its own


@dataclass(slots=True)
class Scan:
    """After a `PutBack`: where the log ends now by the rules above, and the damage left."""

    last: EntryId
    last_chain: bytes
    damage: list[Damage]


class History(Protocol):
    """Reads of the entries at or below ``durable``; synchronous.
    None: the entry is not there (trimmed, a hole, past the end).

    The acceptor keeps what is not yet durable itself, so the store may lag the outputs.
    """

    def entry_at(self, position: int) -> Entry | None: ...

    def id_at(self, position: int) -> EntryId | None: ...

    def chain_at(self, position: int) -> bytes | None: ...


def first_loss(scan: Scan) -> str:
    """File and offset of the first damage after the log's end, for people."""
    return next((damage.where for damage in scan.damage if damage.position > scan.last[1]), "")
