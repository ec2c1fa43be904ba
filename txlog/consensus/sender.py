"""The writer within one term: sending, commit, lease.
It decides what each log node gets (W4, W7), what is committed (W3), and until when the lease runs
(L2, L8).

Decides: what goes into the next message to a node and when; what a majority holds.
Must not know: how a term is won, sealed again or lost (`proposer`), connections, what entries mean.

Invariants, asserted: committed never goes down; only an entry of the current term is committed by
count (W3); acks and lease answers of one term are never counted in another.
"""

from __future__ import annotations

from random import Random
from typing import Final

from txlog.consensus.campaign import Ballot, Reading
from txlog.consensus.lease import WriterLease
from txlog.consensus.limits import CATCH_UP_LOOK_US, MAX_STALL_US, Limits
from txlog.consensus.outputs import (
    LeaseUntil,
    Opened,
    ProposerOutput,
    Send,
    Trace,
)
from txlog.consensus.pace import Pace
from txlog.consensus.progress import Ages, NodeProgress, Recent
from txlog.consensus.quorum import held_by_majority, majority
from txlog.entry import GENESIS_CHAIN, NO_ENTRY, Entry, EntryId, make_entry
from txlog.messages import (
    Append,
    CatchUp,
    Renew,
)

IDLE: Final = "idle"
FETCHING: Final = "fetching"
PROBING: Final = "probing"
SEALING: Final = "sealing"
OPENING: Final = "opening"
OPEN: Final = "open"
RELEASED: Final = "released"


class Sender:
    def __init__(
        self,
        nodes: int,
        incarnation: bytes,
        rng: Random,
        limits: Limits | None = None,
        pace: Pace | None = None,
    ) -> None:
        """``pace``: the client's, with the measurements of earlier campaigns."""
        self.incarnation = incarnation
        self.pace = pace or Pace()
        self.limits = limits or Limits()
        self.state = IDLE
        self.term, self.ballot_id = 0, b""
        self.lease_ms = self.committed = 0
        self._nodes = nodes
        self._majority = majority(nodes)
        self._rng = rng
        self._outputs: list[ProposerOutput] = []
        self._progress = [NodeProgress(index) for index in range(nodes)]
        self._recent = Recent(NO_ENTRY, GENESIS_CHAIN)
        self._lease = WriterLease(nodes, 0)
        self._lease_emitted = 0
        # time of the newest input: the send time of what `take_outputs` sends counts from here,
        # which is early and so safe (L2)
        self._now = 0
        self._number = self._readings = 0
        self._highest = 0  # greatest term seen
        self._stage_deadline = 0  # of fetching, probing, sealing, opening and a re-seal
        self._stage_started_us = 0  # when the question of this stage was asked
        # the log nodes that would promise, as the newest probe says
        self._probed: frozenset[int] = frozenset()
        self._applied: EntryId = NO_ENTRY
        self._applied_chain = GENESIS_CHAIN
        self._leadership, self._wall_ms = b"", 0
        self._reading: Reading | None = None
        self._ballot: Ballot | None = None  # of a campaign
        self._reseal: Ballot | None = None  # W5
        self._reseal_at = 0  # when to seal again, 0: not wanted
        self._refused: set[int] = set()  # nodes that have promised a term above the current one
        self._reseal_terms: set[int] = set()  # the terms of our re-seals in this term
        self._term_start = 0  # position of the first entry of the current term
        self._leadership_position = self._committed_emitted = 0
        self._ages = Ages(self.limits.busy_limit_ms * 1000)
        self._notice_at = 0  # W7
        self._woke_us = 0  # when the loop last continued after it had stood still

    # ---------------------------------------------------------------------- what others may look at

    @property
    def lease_until_us(self) -> int:
        return self._lease.until_us

    def renews(self, now_us: int) -> bool:
        """L8: does this writer ask for more lease now?"""
        self._now = max(self._now, now_us)
        return not self._lease.over and not self._commit_stalled()

    @property
    def next_position(self) -> int:
        return self._recent.last[1] + 1

    @property
    def last(self) -> EntryId:
        return self._recent.last

    @property
    def last_chain(self) -> bytes:
        return self._recent.last_chain

    @property
    def in_flight(self) -> int:
        return self._recent.last[1] - self.committed

    @property
    def in_flight_bytes(self) -> int:
        return self._recent.bytes_after(self.committed)

    # ------------------------------------------------------------------------------ W3, L2: answers

    def _is_ours(self, term: int, ballot_id: bytes) -> bool:
        return (
            term == self.term
            and ballot_id == self.ballot_id
            and self.state in (OPEN, OPENING, RELEASED)
        )

    def _advance(self) -> None:
        reached = held_by_majority([progress.match for progress in self._progress])
        if reached <= self.committed or reached < self._term_start:
            return  # entries of an older term are never committed by count (W3)
        self.committed = reached
        self.pace.synced(self._now - self._ages.committed(reached), self._now)
        if not self._notice_at:
            self._notice_at = self._now + self._ages.notice_us
        if self.state != OPENING:
            self._recent.trim(self.limits.keep_bytes, reached)

    def _open_if_leased(self) -> None:
        """Report `Opened` when LEADERSHIP is committed and the lease runs.
        On disks slower than a lease the answers that brought the commit may be about messages as
        old as that.
        """
        if self.committed < self._leadership_position or self._lease.until_us <= self._now:
            return
        self.state = OPEN
        self._stage_deadline = 0
        self._committed_emitted = self._leadership_position
        prefix = self._recent.slice(self._applied[1] + 1)[
            : self._leadership_position - self._applied[1]
        ]
        self._outputs.append(Opened(self.term, prefix))

    def _credit(self, node: int, sent_us: int) -> None:
        if sent_us:
            self._lease.credit(node, sent_us, self._commit_stalled())

    def _commit_stalled(self) -> bool:
        """L8: the oldest append has waited too long for a majority.
        A writer that opens has no lease to lose, and keeps the windows open meanwhile.
        """
        limit = self.pace.commit_timeout_us(self.limits.commit_timeout_ms, self.lease_ms)
        if self.state == OPENING:
            limit = max(limit, self.pace.opening_timeout_us(self.lease_ms))
        return 0 < self._ages.oldest_us < self._now - limit

    # ---------------------------------------------------------------------------------- W4: sending

    def _add(self, kind: int, payload: bytes, wall_ms: int, continued: bool) -> Entry:
        recent = self._recent
        entry = make_entry(
            recent.last[1] + 1, self.term, kind, wall_ms, recent.last_chain, payload, continued
        )
        recent.add(entry)
        self._ages.appended(entry.position, self._now)
        return entry

    def _flush(self) -> None:
        """Send what each node can take. Nodes at the same position share a message object."""
        ready: dict[int, Append] = {}
        for progress in self._progress:
            if progress.connected and (
                progress.send_probe or progress.next <= self._recent.last[1]
            ):
                self._send_entries(progress, ready)

    def _send_entries(self, progress: NodeProgress, ready: dict[int, Append]) -> None:
        limits, last = self.limits, self._recent.last[1]
        while progress.send_probe or progress.next <= last:
            if (
                (progress.probing and progress.outstanding)
                or progress.blocked_until > self._now
                or progress.catching_up
            ):
                return
            if (
                progress.in_flight >= limits.window_entries
                or progress.in_flight_bytes >= limits.window_bytes
            ):
                return
            if progress.next < self._recent.first:
                self._send_catch_up(progress)
                return
            message = self._append_at(
                progress.next, True, ready if not progress.repair_epoch else {}, progress
            )
            self._send_append(progress, message)

    def _append_at(
        self, start: int, with_entries: bool, ready: dict[int, Append], progress: NodeProgress
    ) -> Append:
        """The Append that continues at ``start``: from ``ready`` if one was made in this turn."""
        key = start if with_entries else -start
        message = ready.get(key)
        if message is None:
            before = self._recent.before(start)
            assert before is not None
            entries = (
                self._recent.take(start, self.limits.message_bytes)
                if with_entries and start <= self._recent.last[1]
                else []
            )
            self._number += 1
            message = ready[key] = Append(
                self.term, self.incarnation, self.ballot_id, self.lease_ms, self._number, before[0],
                before[1], self.committed, entries, progress.repair_epoch, progress.repair_upto
            )  # fmt: skip
        return message

    def _send_append(self, progress: NodeProgress, message: Append) -> None:
        progress.sent(
            message.number,
            self._now,
            message.previous[1] + 1,
            len(message.entries),
            sum(map(len, message.entries)),
        )
        progress.commit_sent = message.committed
        self._outputs.append(Send(progress.index, message))

    def _send_empty(self, progress: NodeProgress, ready: dict[int, Append]) -> None:
        """Send the commit position or a sign of life, directly after what was sent last."""
        if (
            progress.blocked_until > self._now
            or progress.catching_up
            or (progress.probing and progress.outstanding)
            or progress.next < self._recent.first
        ):
            return
        self._send_append(
            progress,
            self._append_at(
                progress.next, False, ready if not progress.repair_epoch else {}, progress
            ),
        )

    def _send_catch_up(self, progress: NodeProgress) -> None:
        """The node lacks entries that the writer no longer holds.
        It must pull committed entries from another node; the writer checks again soon.
        """
        self._outputs.append(
            Send(progress.index, CatchUp(self.term, self.ballot_id, self.committed))
        )
        progress.catching_up = self._now + CATCH_UP_LOOK_US
        progress.next = self.committed + 1
        progress.send_probe = True

    def _emit_lease(self) -> None:
        if self._lease.until_us != self._lease_emitted:
            self._lease_emitted = self._lease.until_us
            self._outputs.append(LeaseUntil(self._lease_emitted))

    def _trace(self, text: str) -> None:
        self._outputs.append(Trace(text))

    # ----------------------------------------------------------------------------------------- time

    def _on_node_deadline(
        self, progress: NodeProgress, notice: bool, stuck: bool, ready: dict[int, Append]
    ) -> None:
        now = self._now
        if progress.blocked_until and now >= progress.blocked_until:
            progress.blocked_until = 0
        if progress.catching_up and now >= progress.catching_up:
            progress.catching_up = 0
        if progress.outstanding and now >= max(
            progress.outstanding[0].sent_us, self._woke_us
        ) + self._stall_us(progress):
            # No answer: a slow disk, or a link that lost the message. Send again from the oldest,
            # in probing mode, and more slowly each time.
            stall = max(min(self._stall_us(progress) * 2, MAX_STALL_US), self._stall_us(progress))
            progress.rewind(progress.outstanding[0].first, self._number)
            progress.stall_us = stall
        if notice and progress.commit_sent < self.committed:
            self._send_empty(progress, ready)
        if not stuck and now >= progress.sent_us + self.lease_ms * 333:
            self._keep_alive(progress, ready)

    def _stall_us(self, progress: NodeProgress) -> int:
        return progress.stall_us or self.pace.stall_us(self.lease_ms)

    def _keep_alive(self, progress: NodeProgress, ready: dict[int, Append]) -> None:
        """L1, L8: Renew where the promise is known durable and the lease valid, else an Append."""
        if progress.acked and (self._lease.until_us > self._now or self._lease.over):
            self._number += 1
            progress.renewing(self._number, self._now)
            self._outputs.append(
                Send(
                    progress.index,
                    Renew(self.term, self.incarnation, self.ballot_id, self.lease_ms, self._number),
                )
            )
        else:
            before = len(self._outputs)
            self._send_empty(progress, ready)
            if len(self._outputs) == before:
                progress.sent_us = self._now  # not now: its own retry is in progress
