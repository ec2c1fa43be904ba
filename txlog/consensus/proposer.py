"""The writer of one log (W1-W7, L2, L4, L8).
It campaigns, begins and ends terms, and takes the answers of log nodes. `sender` has what it does
within a term.

Decides: terms and ballots, when this writer is over.
Must not know: connections, what entries mean, what the primary does with its role.

States: idle -> fetching -> probing -> sealing -> opening (LEADERSHIP sent, not committed) -> open
-> released or idle. A re-seal (W5) runs beside opening or open. `_reseal` holds its ballot. During
it the writer sends nothing in the old term, but answers to that term still count.

Invariant: after `Fenced`, `CampaignOver` or `stop` the machine gives no more outputs.
"""

from __future__ import annotations

from txlog.consensus.campaign import Ballot, Reading
from txlog.consensus.lease import WriterLease
from txlog.consensus.limits import MAX_READINGS, RETRY_US
from txlog.consensus.outputs import (
    CampaignOver,
    Committed,
    Fenced,
    ProposerOutput,
    Reopened,
    Send,
)
from txlog.consensus.pace import SEAL_LONGEST_US, token_key
from txlog.consensus.progress import NodeProgress, Recent
from txlog.consensus.sender import FETCHING, IDLE, OPEN, OPENING, PROBING, RELEASED, SEALING, Sender
from txlog.entry import HANDOVER, LEADERSHIP, Entry, EntryId
from txlog.messages import (
    Append,
    Appended,
    Conflict,
    Fetch,
    Fetched,
    LeaseHeld,
    Message,
    MissingEntries,
    Promised,
    Refused,
    Release,
    Renewed,
    Seal,
    Suspected,
    Unavailable,
    Unsealed,
)


class Proposer(Sender):
    # L7: this term and ballot id are the newest requested, and the lease counts (L4)
    def may_renew_beside(self) -> bool:
        return self._reseal is None and not self._lease.over

    # ----------------------------------------------------------------------- the owner's inputs

    def start_campaign(
        self,
        applied_id: EntryId,
        applied_chain: bytes,
        lease_ms: int,
        leadership_payload: bytes,
        wall_ms: int,
        now_us: int,
    ) -> None:
        """W1. ``applied_id``: the last committed entry the candidate has applied.
        ``wall_ms``: at least that entry's.
        """
        assert self.state == IDLE, f"campaign while {self.state}"
        self._now = now_us
        self.lease_ms = lease_ms
        self._applied, self._applied_chain = applied_id, applied_chain
        self._leadership, self._wall_ms = leadership_payload, wall_ms
        self._lease = WriterLease(self._nodes, lease_ms)
        self._lease_emitted = self._readings = 0
        self.pace.age(now_us)
        self._reseal, self._reseal_at, self._notice_at = None, 0, 0
        self._refused.clear()
        self._ages.clear()
        for progress in self._progress:
            progress.repair_epoch, progress.repair_upto = b"", 0
        self._start_reading()

    def append(
        self, kind: int, payload: bytes, wall_ms: int, continued: bool, now_us: int
    ) -> Entry:
        """Assign the next position; `take_outputs` sends the entry. Also during a re-seal."""
        assert self.state == OPEN, f"append while {self.state}"
        self._now = now_us
        if kind == HANDOVER:
            self.start_handover()
        return self._add(kind, payload, wall_ms, continued)

    def start_handover(self) -> None:
        """L4: from this decision on the lease counts as over for reads.
        It is kept alive on the nodes until `release`.
        """
        self._lease.end()

    def abort_handover(self) -> None:
        assert self.state == OPEN, "a released term is over"
        self._lease.over = False

    def release(self, successor: bytes, now_us: int) -> None:
        """L4: everything is committed; the term is over after this output."""
        assert self.state == OPEN and self.committed == self._recent.last[1], (
            "release before everything is committed"
        )
        self._now = now_us
        self._lease.end()
        message = Release(self.term, self.ballot_id, successor)
        for progress in self._progress:
            if progress.connected:
                self._outputs.append(Send(progress.index, message))
        self._reseal, self._reseal_at = None, 0  # promised or not, no term follows this one here
        self.state = RELEASED
        self._trace(f"term {self.term} released")

    def stop(self) -> None:
        """The owner gives up: the writer sends nothing more, and the lease runs out."""
        self._lease.end()
        self._become_idle()

    def on_renewed_elsewhere(
        self, node: int, term: int, ballot_id: bytes, sent_us: int, now_us: int
    ) -> None:
        """L7: the lease keeper sent this node one of our Renews at ``sent_us``.
        The node answered it with `Renewed` in that term and ballot id.
        """
        self._now = max(self._now, now_us)
        if self.state in (OPENING, OPEN) and term == self.term and ballot_id == self.ballot_id:
            self._credit(node, sent_us)

    def on_stood_still(self, us: int, now_us: int) -> None:
        """L8: the loop itself stood still for ``us`` until now.
        Answers may have come that could not be read. So this time does not count against other
        nodes.
        """
        self._now = max(self._now, now_us)
        self._ages.shift(us, now_us)
        self._woke_us = now_us
        self._stage_started_us = min(self._stage_started_us + us, self._now)
        self.pace.stood_still(us, now_us)
        self._stage_deadline += us if self._stage_deadline else 0

    # ----------------------------------------------------------------------- the driver's inputs

    def on_connected(self, node: int, now_us: int) -> None:
        self._now = now_us
        progress = self._progress[node]
        progress.connected = True
        if self.state == FETCHING and self._reading is not None:
            self._send_fetch(node, self._reading)
        elif self.state in (PROBING, SEALING) and self._ballot is not None:
            self._outputs.append(Send(node, self._ballot.message))
        elif self.state in (OPENING, OPEN):
            if self._reseal is not None:
                self._outputs.append(Send(node, self._reseal.message))
            progress.reconnected(self._number)

    def on_membership(self, now_us: int) -> None:
        """S8: another membership version is known.
        What log nodes said under the old one no longer counts. What is committed and the lease
        already granted stay. An open writer seals again. The driver drops all connections, so no
        answer to an earlier message can come.
        """
        self._now = now_us
        if self.state in (FETCHING, PROBING, SEALING):
            self._start_reading()
        elif self.state in (OPENING, OPEN):
            self._refused.clear()
            self._lease.new_term()
            for progress in self._progress:
                progress.repair_epoch, progress.repair_upto = b"", 0
                progress.new_term(self.next_position)
            self._start_reseal()

    def on_disconnected(self, node: int, now_us: int) -> None:
        self._now = now_us
        progress = self._progress[node]
        progress.connected = False
        progress.clear()

    def on_message(self, node: int, message: Message, now_us: int) -> None:
        self._now = now_us
        if type(message) is Appended:
            self._on_appended(node, message)
        elif isinstance(message, Renewed):
            progress = self._progress[node]
            if self._is_ours(message.term, message.ballot_id):
                self._credit(node, progress.renewed(message.number))
        elif isinstance(message, Fetched):
            self._on_fetched(node, message)
        elif self._ballot is not None and self.state in (PROBING, SEALING):
            if self._ballot.on_message(node, message):
                self._judge_ballot(False)
            else:
                self.pace.late(getattr(message, "ballot_id", b""), now_us)
        elif self._reseal is not None and self._reseal.on_message(node, message):
            self._judge_reseal()
        elif isinstance(
            message, Refused | MissingEntries | Conflict | Suspected | Unavailable
        ) and self._is_ours(message.term, message.ballot_id):
            self._on_reject(node, message)
        elif (
            isinstance(message, Unsealed | Promised | LeaseHeld)
            and self._is_ours(message.term, message.ballot_id)
            and self.state != RELEASED
        ):
            self._on_unsealed(self._progress[node], message)
        else:
            self.pace.late(getattr(message, "ballot_id", b""), now_us)

    def take_outputs(self) -> list[ProposerOutput]:
        if self.state in (OPENING, OPEN) and self._reseal is None:
            self._flush()
        if self.committed > self._committed_emitted and self.state in (OPEN, RELEASED):
            self._committed_emitted = self.committed
            self._outputs.append(Committed(self.committed))
        self._emit_lease()
        outputs = self._outputs
        if outputs:
            self._outputs = []
        return outputs

    # ----------------------------------------------------------------------- W1: campaign

    def _start_reading(self) -> None:
        self._readings += 1
        self._ballot = None
        self._reading = Reading(
            self._nodes, self.pace.next_token(), self._applied, self._applied_chain
        )
        self.state = FETCHING
        self._start_stage(self.pace.answer_timeout_us(self.lease_ms))
        for progress in self._progress:
            if progress.connected:
                self._send_fetch(progress.index, self._reading)

    def _start_stage(self, timeout_us: int) -> None:
        self._stage_started_us, self._stage_deadline = self._now, self._now + timeout_us

    def _send_fetch(self, node: int, reading: Reading) -> None:
        self._outputs.append(
            Send(node, Fetch(reading.token, reading.expected[1] + 1, self.limits.fetch_bytes, True))
        )

    def _on_fetched(self, node: int, message: Fetched) -> None:
        reading = self._reading
        if self.state != FETCHING or reading is None or message.token != reading.token:
            self.pace.late(token_key(message.token), self._now)
            return
        result = reading.on_fetched(node, message)
        self._highest = max(self._highest, reading.highest)
        if result == "more":
            self._start_stage(self.pace.answer_timeout_us(self.lease_ms))
            self._send_fetch(reading.source, reading)
        elif result == "done":
            self.pace.answered(self._now - self._stage_started_us, self._now)
            self._start_ballot(True)
        elif result != "wait":
            self._give_up_campaign(result, False)

    def _start_ballot(self, probe: bool) -> None:
        assert self._reading is not None
        self.state = PROBING if probe else SEALING
        self._ballot = self._new_ballot(self._reading.expected, probe)

    def _new_ballot(self, expected: EntryId, probe: bool) -> Ballot:
        """The term is above all seen and the ballot id is new: no answer to an earlier question
        counts.
        """
        self._start_stage(
            self.pace.answer_timeout_us(self.lease_ms)
            if probe
            else self.pace.seal_timeout_us(self.lease_ms)
        )
        term = self._highest + 1
        if not probe:
            self._highest = term
        message = Seal(
            term, self.incarnation, self._rng.randbytes(16), expected, self.lease_ms, probe
        )
        for progress in self._progress:
            if progress.connected:
                self._outputs.append(Send(progress.index, message))
        return Ballot(self._nodes, message)

    def _judge_ballot(self, final: bool) -> None:
        ballot = self._ballot
        assert ballot is not None
        self._highest = max(self._highest, ballot.highest)
        verdict = ballot.verdict(final)
        if verdict == "won":
            if ballot.message.probe:
                self.pace.answered(self._now - self._stage_started_us, self._now)
                self._probed = frozenset(ballot.promised)
                self._start_ballot(False)
            else:
                self.pace.synced(self._now - self._stage_started_us, self._now)
                self._win_campaign(ballot)
        elif final and self._worth_waiting(ballot, self._probed):
            self._stage_deadline = self._now + self.lease_ms * 250
        elif verdict == "held":
            wait = ballot.wait_ms() + self._rng.randint(0, self.lease_ms // 8)
            self._end_campaign(ballot.describe(), wait, True)
        elif verdict == "behind" and self._readings < MAX_READINGS and not final:
            self._start_reading()
        elif verdict != "open":
            self._give_up_campaign(ballot.describe(), False)

    def _worth_waiting(self, ballot: Ballot, alive: frozenset[int]) -> bool:
        """The time of a Seal is over: is it worth more time?
        Nodes in ``alive`` that have not refused this Seal work on it. They would not promise
        another Seal sooner.
        """
        if ballot.message.probe or self._now >= self._stage_started_us + SEAL_LONGEST_US:
            return False
        return ballot.may_be_won(
            {
                progress.index
                for progress in self._progress
                if progress.connected and progress.index in alive
            }
        )

    def _give_up_campaign(self, reason: str, held: bool) -> None:
        sealed = self._ballot is not None and not self._ballot.message.probe
        if self._ballot is not None:
            self.pace.give_up(self._ballot.message.ballot_id, self._stage_started_us, sealed)
        elif self._reading is not None:
            self.pace.give_up(token_key(self._reading.token), self._stage_started_us, False)
        self._end_campaign(reason, self.pace.pause_ms(self.lease_ms, self._rng, sealed), held)

    def _end_campaign(self, reason: str, retry_ms: int, held: bool) -> None:
        windows = tuple(self._ballot.windows.items()) if self._ballot else ()
        self._lease.end()
        self._emit_lease()
        self._become_idle()
        self._outputs.append(CampaignOver(reason, retry_ms, held, windows))

    def _become_idle(self) -> None:
        self.state = IDLE
        self._reading = self._ballot = self._reseal = None
        self._stage_deadline = self._reseal_at = self._notice_at = 0

    # --------------------------------------------------------------------- W2: open, W5: open again

    def _win_campaign(self, ballot: Ballot) -> None:
        reading = self._reading
        assert reading is not None and reading.expected == ballot.message.expected
        self._recent = Recent(self._applied, self._applied_chain)
        for entry in reading.prefix:
            self._recent.add(entry)
        # The prefix holds everything committed (A1), so it holds all that any node knows committed.
        known = max([reading.committed] + [answer.committed for answer in ballot.promised.values()])
        self.committed = max(self._applied[1], min(known, reading.expected[1]))
        self._committed_emitted = self.committed
        if reading.prefix:
            self._wall_ms = max(self._wall_ms, reading.prefix[-1].wall_ms)
        self._reading = self._ballot = None
        self.state = OPENING
        self._start_term(ballot)
        self._append_leadership()

    def _start_term(self, ballot: Ballot) -> None:
        self.term, self.ballot_id = ballot.message.term, ballot.message.ballot_id
        self._stage_deadline = (
            self._now + self.pace.opening_timeout_us(self.lease_ms) if self.state == OPENING else 0
        )
        self._reseal, self._reseal_at = None, 0
        self._refused.clear()
        self._reseal_terms.clear()
        self._lease.new_term()
        self._term_start = self.next_position
        for progress in self._progress:
            progress.new_term(self.next_position)
        expected = ballot.message.expected
        for node, answer in ballot.promised.items():
            progress = self._progress[node]
            progress.next = min(answer.last[1], expected[1]) + 1
            if answer.last == expected:  # the node's log ends exactly where this log continues
                progress.probing = progress.send_probe = False

    def _append_leadership(self) -> None:
        entry = self._add(LEADERSHIP, self._leadership, self._wall_ms, False)
        self._leadership_position = entry.position
        self._trace(f"term {self.term}: LEADERSHIP at {entry.position}")

    def _start_reseal(self) -> None:
        """W5: a minority has promised a candidate that failed. Ask again above that term."""
        self._reseal_at = 0
        if (before := self._reseal) is not None:
            self.pace.give_up(before.message.ballot_id, self._stage_started_us, True)
        self._reseal = self._new_ballot(self._recent.last, False)
        self._reseal_terms.add(self._reseal.message.term)
        self._trace(f"term {self.term}: seal again as {self._reseal.message.term}")

    def _on_reseal_late(self, ballot: Ballot) -> None:
        """Ask again; the owner decides by its lease when to give up.
        Use a higher term only if this one was refused: a higher term overtakes promises in
        progress.
        """
        if ballot.refused:
            self._start_reseal()
            return
        self._stage_deadline = self._now + self.lease_ms * 250
        for progress in self._progress:
            if progress.connected and progress.index in ballot.held:
                self._outputs.append(Send(progress.index, ballot.message))

    def _judge_reseal(self) -> None:
        ballot = self._reseal
        assert ballot is not None
        self._highest = max(self._highest, ballot.highest)
        standing, reason = ballot.standing(self.term)
        if standing == "won":
            self.pace.synced(self._now - self._stage_started_us, self._now)
            self._start_term(ballot)
            self._trace(f"still the writer, now of term {self.term}")
            if self.state == OPENING:
                self._append_leadership()
            else:
                self._outputs.append(Reopened(self.term))
        elif standing == "fenced":
            self._fence(reason)
        elif standing == "refused" and not self._reseal_at:
            # the nodes that refused may promise a higher term; wait, so that two writers do not
            # duel
            self._reseal_at = self._now + max(1000, self.lease_ms * 62)

    def _fence(self, reason: str) -> None:
        self._lease.end()
        self._emit_lease()
        opening = self.state == OPENING
        self._become_idle()
        self._trace(f"term {self.term} is over: {reason}")
        if opening:
            self._outputs.append(
                CampaignOver(reason, self.pace.pause_ms(self.lease_ms, self._rng, True), False)
            )
        else:
            self._outputs.append(Fenced(reason))

    def _on_appended(self, node: int, message: Appended) -> None:
        if (
            message.term != self.term
            or message.ballot_id != self.ballot_id
            or self.state not in (OPEN, OPENING)
        ):
            return
        progress = self._progress[node]
        sent_us = progress.answered(message.number)
        position = message.position
        assert position <= self._recent.last[1], "a node acknowledged more than was ever sent"
        progress.acknowledged(message.number)
        if position > progress.match:
            progress.match = position
            if position >= progress.next:
                progress.next = position + 1
            if self.state == OPENING:
                self._stage_deadline = self._now + self.pace.opening_timeout_us(self.lease_ms)
            self._advance()
        self._credit(node, sent_us)
        if self.state == OPENING:
            self._open_if_leased()
        if progress.commit_sent < self.committed and not self._notice_at:
            self._notice_at = self._now + self._ages.notice_us

    def _on_reject(
        self, node: int, message: Refused | MissingEntries | Conflict | Suspected | Unavailable
    ) -> None:
        progress = self._progress[node]
        if self.state == RELEASED:
            return
        if isinstance(message, Refused):
            self._on_refused(node, message)
            return
        progress.answered(message.number)
        progress.stall_us = 0
        if isinstance(message, Suspected):
            if progress.suspected(message, self._recent.last[1], self._number):
                self._trace(
                    f"log node {progress.index} is suspect: repair up to {progress.repair_upto}"
                )
        elif message.number > progress.rewound:
            if isinstance(message, MissingEntries):
                progress.rewind(min(message.last[1] + 1, self.next_position), self._number)
            elif isinstance(message, Conflict):
                progress.rewind(min(message.back_to + 1, self.next_position), self._number)
            else:
                progress.rewind(
                    progress.match + 1 if progress.match else progress.next, self._number
                )
                progress.blocked_until = self._now + RETRY_US

    def _on_unsealed(
        self, progress: NodeProgress, message: Unsealed | Promised | LeaseHeld
    ) -> None:
        if progress.needs_seal(message, self._number, self._now):
            self._outputs.append(
                Send(
                    progress.index,
                    Seal(
                        self.term,
                        self.incarnation,
                        self.ballot_id,
                        (self.term, self.last[1]),
                        self.lease_ms,
                        False,
                    ),
                )
            )
        self.pace.late(message.ballot_id, self._now)

    def _on_refused(self, node: int, message: Refused) -> None:
        if message.promised == self.term and self._progress[node].sealing and self._reseal is None:
            # it has promised our term to another ballot id: seal again with a higher term
            self._start_reseal()
        if message.promised <= self.term:
            return
        self._highest = max(self._highest, message.promised)
        if message.promised in self._reseal_terms:
            return  # as far as we know, it has promised our own re-seal
        self._refused.add(node)
        if len(self._refused) >= self._majority:
            self._fence(f"a majority has promised term {message.promised}")
        elif self._reseal is None:
            self._start_reseal()

    # ----------------------------------------------------------------------- time

    def deadline(self) -> int:
        times = [self._stage_deadline, self._reseal_at]
        if self.state in (OPENING, OPEN) and self._reseal is None:
            if self._notice_at:
                times.append(self._notice_at)
            beat = self.lease_ms * 333 if not self._commit_stalled() else 0
            for progress in self._progress:
                if progress.connected:
                    times += (progress.blocked_until, progress.catching_up)
                    if progress.outstanding:
                        times.append(
                            max(progress.outstanding[0].sent_us, self._woke_us)
                            + self._stall_us(progress)
                        )
                    if beat and not progress.catching_up:
                        times.append(max(progress.sent_us + beat, progress.blocked_until))
        return min((time for time in times if time), default=0)

    def on_deadline(self, now_us: int) -> None:
        self._now = now_us
        self.pace.age(now_us)
        if self._stage_deadline and now_us >= self._stage_deadline:
            self._on_stage_over()
        if self._reseal_at and now_us >= self._reseal_at:
            self._start_reseal()
        if self.state not in (OPENING, OPEN) or self._reseal is not None:
            return
        ready: dict[int, Append] = {}
        notice = self._notice_at and now_us >= self._notice_at
        if notice:
            self._notice_at = 0
        stuck = self._commit_stalled()
        for progress in self._progress:
            if progress.connected:
                self._on_node_deadline(progress, bool(notice), stuck, ready)

    def _on_stage_over(self) -> None:
        self._stage_deadline = 0
        if self.state == FETCHING:
            count = len(self._reading.answers) if self._reading is not None else 0
            self._give_up_campaign(f"{count} of {self._nodes} log nodes answered", False)
        elif self.state in (PROBING, SEALING):
            self._judge_ballot(True)
        elif self._reseal is not None and (
            self.state == OPEN
            or self._now < self._ages.oldest_us + self.pace.opening_timeout_us(self.lease_ms)
        ):
            self._on_reseal_late(self._reseal)
        elif self.state == OPENING:
            self._fence("LEADERSHIP found no majority in time")
