"""Following the log: committed entries become memory.

Decides: which entries are applied together, and what a LEADERSHIP entry cuts off. A run of
continued entries is applied when its last entry is there, never half a unit. A reader stops at an
entry that it cannot read, and where its memory differs from the primary's (DIGEST).
Must not know: sockets, roles, where entries come from, how a difference is handled (`roles`).

Invariants: ``followed`` is the id of the newest entry taken. Positions are dense from 1, and each
entry's previous chain equals the chain before it. An unfinished run is in ``_run`` and not in
memory. No acknowledged write depends on it (a unit is acknowledged at its run's end), so
``followed`` may count as applied. Once ``stuck`` has a reason, no further entry is taken. The
follower skips only an unknown kind that says that a reader may ignore it (`MAY_IGNORE`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from memstore.engine.engine import ApplyError
from memstore.engine.state_digest import Slice
from memstore.replication.control_entries import (
    DIGEST_FORM,
    AnnounceError,
    Handover,
    Leadership,
    decode_digest,
    decode_handover,
    decode_leadership,
)
from txlog.entry import (
    DATA,
    DIGEST,
    FORMAT,
    FORMAT_VERSION,
    GENESIS_CHAIN,
    HANDOVER,
    LEADERSHIP,
    NO_ENTRY,
    Entry,
    EntryId,
    may_ignore,
)

RATE_WINDOW_US: Final = 1_000_000
# bytes of payload whose application takes about as long as comparing a digest
DIGEST_WEIGHT: Final = 64 * 1024


class Memory(Protocol):
    """The engine as the follower sees it: what effects are applied to."""

    def apply(self, payload: bytes, wall_ms: int, position: int) -> int: ...

    def digest(self, piece: Slice) -> bytes: ...


@dataclass(frozen=True)
class Difference:
    """At this position the memory here differs from what the primary's digest says."""

    position: int
    author: bytes  # incarnation of that primary; empty: unknown
    theirs: bytes
    mine: bytes


class Follower:
    __slots__ = (
        "_backlog", "_rate_from", "_run", "_run_term", "_started_us", "broke", "chain",
        "difference", "digest_place", "digests", "distrusted", "effects", "followed", "handover",
        "leadership", "leadership_term", "memory", "pending_bytes", "rate", "stuck", "wall_ms",
    )  # fmt: skip

    def __init__(self, memory: Memory, now_us: int) -> None:
        self.memory = memory
        self.followed: EntryId = NO_ENTRY
        self.chain = GENESIS_CHAIN
        self.wall_ms = 0  # the greatest in the entries taken
        self.effects = 0
        self.stuck = ""  # why no further entry can be applied; empty: all is well
        self.broke = False  # an error of the program stopped it, not the content of the log
        self.leadership: Leadership | None = None  # the newest
        self.leadership_term = 0
        self.handover: Handover | None = None  # after the newest LEADERSHIP, if any
        self.digests = 0  # digests compared and found equal
        self.digest_place = 0  # end of the newest digest's slice
        self.difference: Difference | None = None  # set when a difference is why it is stuck
        # incarnations whose digests contradict the log: their digests stop no follower
        self.distrusted: set[bytes] = set()
        self.pending_bytes = 0  # fed and not yet applied
        self.rate = 0  # entries a second, over the last second or so
        self._backlog: deque[Entry] = deque()
        self._run: list[bytes] = []  # payloads of an unfinished run
        self._run_term = 0
        self._started_us = now_us
        self._rate_from = (now_us, 0)

    # ----------------------------------------------------------------- entries in

    def feed(self, entries: list[Entry]) -> None:
        """Take committed entries in order; skip those already taken."""
        expected = self._backlog[-1].position if self._backlog else self.followed[1]
        for entry in entries:
            if entry.position <= expected:
                continue
            self._backlog.append(entry)
            self.pending_bytes += entry.payload_bytes
            expected = entry.position

    @property
    def pending(self) -> int:
        return len(self._backlog)

    @property
    def position(self) -> int:
        """The newest position taken; the next subscription starts one above."""
        return self.followed[1]

    @property
    def received(self) -> int:
        """The newest position fed, applied or not."""
        return self._backlog[-1].position if self._backlog else self.followed[1]

    def step(self, max_bytes: int) -> list[Entry]:
        """Apply at least one entry, and as many as take about as long as ``max_bytes`` of payload.
        Returns the control entries among them. Stops for good at an entry that it cannot read.
        """
        control: list[Entry] = []
        done = 0
        while self._backlog and not self.stuck and done < max_bytes:
            entry = self._backlog[0]
            self.stuck = self._take(entry)
            if self.stuck:
                break
            self._backlog.popleft()
            self.pending_bytes -= entry.payload_bytes
            done += entry.payload_bytes + (DIGEST_WEIGHT if entry.kind == DIGEST else 64)
            if entry.kind != DATA:
                control.append(entry)
        return control

    def adopt(self, followed: EntryId, chain: bytes, wall_ms: int) -> None:
        """Memory already holds everything up to here: this node wrote it as primary, and all of it
        is committed.

        ``wall_ms``: the greatest time in its entries. This node's clock may be ahead of that and of
        its successor's clock: judging keys by it would hide keys that no entry says are gone.
        """
        self.followed, self.chain, self.wall_ms = followed, chain, max(self.wall_ms, wall_ms)
        self._backlog.clear()
        self._run.clear()
        self.pending_bytes = 0

    # ----------------------------------------------------------------- one entry

    def _take(self, entry: Entry) -> str:
        """Apply the entry. Returns "", or why it cannot be applied."""
        if entry.position != self.followed[1] + 1:
            return f"the log has a hole: position {entry.position} follows {self.followed[1]}"
        if entry.previous_chain != self.chain:
            return f"position {entry.position} does not follow what was applied: another history"
        if entry.format != FORMAT_VERSION:
            return (
                f"position {entry.position} has format {entry.format}, this version reads "
                f"{FORMAT_VERSION}"
            )
        problem = self._take_data(entry) if entry.kind == DATA else self._take_control(entry)
        if not problem:
            self.followed, self.chain = entry.id, entry.chain
            self.wall_ms = max(self.wall_ms, entry.wall_ms)
        return problem

    def _take_data(self, entry: Entry) -> str:
        if self._run and entry.term != self._run_term:
            return f"position {entry.position} goes on with a unit of another term"
        if entry.continued:
            self._run.append(entry.payload)
            self._run_term = entry.term
            return ""
        payload = entry.payload
        if self._run:
            payload = b"".join([*self._run, payload])
            self._run.clear()
        if payload:
            try:
                wall_ms = max(self.wall_ms, entry.wall_ms)
                self.effects += self.memory.apply(payload, wall_ms, entry.position)
            except Exception as error:
                # any failure of a command on replay means that this state is not the primary's:
                # stop here, never skip
                self.broke = not isinstance(error, ApplyError)
                return (
                    f"position {entry.position} cannot be applied: {type(error).__name__}: {error}"
                )
        return ""

    def _take_control(self, entry: Entry) -> str:
        if self._run and entry.kind != LEADERSHIP:
            return f"position {entry.position} interrupts a unit"
        try:
            if entry.kind == LEADERSHIP:
                # its writer is gone and the rest never came: the unit did not happen
                self._run.clear()
                self.leadership, self.leadership_term, self.handover = (
                    decode_leadership(entry.payload),
                    entry.term,
                    None,
                )
            elif entry.kind == HANDOVER:
                self.handover = decode_handover(entry.payload)
            elif entry.kind == DIGEST:
                return self._compare(entry)
            elif entry.kind != FORMAT and not may_ignore(entry.kind):
                return (
                    f"position {entry.position} is of kind {entry.kind}, which this version "
                    "cannot read"
                )
        except AnnounceError as error:
            return f"position {entry.position} cannot be read: {error}"
        return ""

    # ----------------------------------------------------------------- digests

    def _compare(self, entry: Entry) -> str:
        digest = decode_digest(entry.payload)
        if digest.form != DIGEST_FORM:
            return ""  # another version: a digest describes the state and is no part of it
        self.digest_place = (
            digest.slice.stop if digest.slice.stop > digest.slice.start else digest.slice.start + 1
        )
        author = b"" if self.leadership is None else self.leadership.incarnation
        if author in self.distrusted:
            return ""
        mine = self.memory.digest(digest.slice)
        if mine == digest.sum:
            self.digests += 1
            return ""
        self.difference = Difference(entry.position, author, digest.sum, mine)
        return f"position {entry.position}: memory is not what the primary's was"

    def ignore_digests(self) -> None:
        """The log contradicts the digest that stopped this follower. Go on with the log, and ignore
        all other digests of that author.
        """
        assert self.difference is not None
        self.distrusted.add(self.difference.author)
        self.difference, self.stuck = None, ""

    # ----------------------------------------------------------------- progress

    def measure(self, now_us: int) -> int:
        """Update ``rate``; call it from time to time."""
        since, from_position = self._rate_from
        elapsed = now_us - since
        if elapsed >= RATE_WINDOW_US:
            self.rate = (self.followed[1] - from_position) * 1_000_000 // elapsed
            self._rate_from = (now_us, self.followed[1])
        return self.rate

    def progress(self, target: int, now_us: int) -> str:
        """For people: how far the restore is."""
        rate = self.measure(now_us)
        left = max(0, target - self.followed[1])
        eta = f", about {left // rate} s left" if rate and left else ""
        return f"{self.followed[1]} of {target} entries, {rate} entries/s{eta}"
