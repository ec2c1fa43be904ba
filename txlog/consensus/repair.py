"""What a log node gets from the other nodes.
It gets entries that rotted (S2) and committed entries that it missed (A4, W4). If so many nodes are
suspect that no majority is left, it gets the good prefix on which they agree (S4). If no node has a
proven entry, S5 applies.

Decides: which nodes to ask, for what, and when again; which answer may be put back; when a
suspicion ends without a writer; when the log is broken.
Must not know: how entries are taken (`acceptor`), bytes on disk, connections.

A node never drops an entry because other nodes answer that they lack it ("lacks" is not stable).
The exchange of S4 is the only exception and needs an answer of *every* node.

Invariants: an entry is put back only if one of these proves it:
- its id is the one in the damaged frame's good header;
- its chain is the next good frame's previous chain;
- the answering node knows that position committed;
- an entry after it in the same answer is proven in one of these ways and chains to it.
A put-back ends a suspicion only while nothing after it was cut.
"""

from __future__ import annotations

from typing import Final

from txlog.consensus.adaptive_timeout import PIECE, AdaptiveTimeout
from txlog.consensus.log import Damage, Scan
from txlog.consensus.log_state import LogState
from txlog.consensus.outputs import PeerFetch, PutBack
from txlog.entry import Entry, EntryError, EntryId, decode_entry
from txlog.messages import Fetch, Fetched

ASK_AGAIN_US: Final = 500_000  # after answers that did not help
FENCE_AGAIN_US: Final = 50_000  # a promise is on its way to disk
# A writer that is alive gets this time to heal (S3) before all nodes turn it away (S4). With the
# default lease a restarted node's window is longer.
WRITER_REPAIRS_US: Final = 1_000_000
TOPIC: Final = "repair"
CHUNK_BYTES: Final = 4 << 20


def chunk_bytes(largest_entry: int) -> int:
    """How many bytes a pulling node asks for at once.
    It is only a part of a segment, so that usually there is room for all of it (A5).
    """
    return min(CHUNK_BYTES, largest_entry // 4)


class Repair:
    """One per log; the acceptor's other half. ``deadline`` 0: nothing to do."""

    def __init__(self, log: LogState) -> None:
        self.deadline = 0
        self._log = log
        self._token = 0
        self._timeout = AdaptiveTimeout()
        self._next = 0  # the position asked for last
        self._answers: dict[str, Fetched] = {}  # by node, of the survey in progress
        self._proven: list[Entry] = []  # good copies for the next damaged positions, in order
        self._put_back_running = False  # a PutBack is in progress
        self._put_position = 0  # the position of the last one
        self._target = 0  # pull committed entries up to here, 0: no pull
        self._source = ""  # the node from which we pull or copy
        self._copy: EntryId | None = None  # S4: the id that the copied prefix ends with
        # S4: (the suspicion for which it is, the term that every node is asked to promise)
        self._fence: tuple[bytes, int] = (b"", 0)
        self._too_few_since = 0  # S4: since when all have answered and too few are whole

    # ----------------------------------------------------------------------- start

    def start(self, now_us: int) -> None:
        log = self._log
        if log.tail_damage and log.is_learner:
            log.cut_tail()  # it has never acknowledged anything
        elif log.tail_damage and log.peers:
            first = log.tail_damage[0]
            log.become_suspect(
                first.position, f"damage at position {first.position} {first.where}".rstrip()
            )
        if not log.peers:
            self._recover_alone()
        elif self._has_work():
            self._query_all(now_us)

    def _recover_alone(self) -> None:
        """A group of one has no other node to ask.
        It cuts a tail that was never proven, as a database on one disk does, and nothing else (S4,
        S5).
        """
        log = self._log
        if log.holes:
            self._mark_broken(log.holes[0])
        elif log.proven > log.last[1]:
            self._mark_broken(log.tail_damage[0] if log.tail_damage else Damage(log.last[1] + 1))
        else:
            if log.tail_damage:
                log.trace(
                    f"TORN TAIL CUT from position {log.last[1] + 1}: never acknowledged "
                    f"{log.tail_damage[0].where}".rstrip()
                )
                log.cut_tail()
            if log.suspicion is not None:
                log.end_suspicion("a group of one ends with what it has")

    # ----------------------------------------------------------------------- inputs

    def catch_up(self, committed: int, now_us: int) -> None:
        """W4: the writer no longer holds what this node lacks; pull it from other nodes."""
        if committed <= self._log.committed or not self._log.peers:
            return
        fresh = self._target == 0
        self._target = max(self._target, committed)
        if fresh and not self._put_back_running:
            self._stop_pulling()
            self._query_all(now_us)

    def on_peer_fetched(self, node: str, fetched: Fetched, now_us: int) -> None:
        if node not in self._log.peers:
            return
        if fetched.token != self._token:
            self._timeout.late(fetched.token)
            # an answer to an older question: its report about the other node may be out of date
            return
        if node == self._source:
            self._on_chunk(fetched, now_us)
            return
        self._answers[node] = fetched
        if self._damaged() and not self._put_back_running:
            self._match_copies(fetched)
        if not self._put_back_running and self._target and fetched.committed > self._log.committed:
            self._pull_from(node, now_us)
        elif len(self._answers) == len(self._log.peers) and not self._put_back_running:
            # no more answers are expected
            self.deadline = min(self.deadline, now_us + ASK_AGAIN_US)
            self._on_all_answered(now_us)

    def on_damage(self, scan: Scan, now_us: int) -> None:
        """Damage was found while running; the acceptor has already reacted.
        A put-back in progress continues: its end brings a scan that includes this damage.
        """
        log = self._log
        log.holes = [damage for damage in scan.damage if damage.position <= log.last[1]]
        log.tail_damage = [damage for damage in scan.damage if damage.position > log.last[1]]
        if not log.peers:
            self._recover_alone()
        elif not self._put_back_running and self._damaged():
            self._proven = []
            self._stop_pulling()
            self._query_all(now_us)

    def on_put_back(self, scan: Scan, now_us: int) -> None:
        log = self._log
        self._put_back_running = False
        log.holes = [damage for damage in scan.damage if damage.position <= log.last[1]]
        if log.tail_damage:
            log.extend_by_scan(scan.last, scan.last_chain)
            log.holes = [damage for damage in scan.damage if damage.position <= scan.last[1]]
            log.tail_damage = [damage for damage in scan.damage if damage.position > scan.last[1]]
            if (
                not log.tail_damage
                and log.suspicion is not None
                and not log.suspicion.cut
                and not log.is_learner
            ):
                log.end_suspicion(f"whole again up to {log.last[1]} after put-backs")
        if not self._damaged():
            log.broken, log.broken_reason = 0, ""
            self._proven = []
        if self._put_next_back() or not self._has_work():
            return
        if (damage := self._damaged()) and damage[0].position == self._put_position:
            # the entry could not be put there, or there was no room (A5): to ask again at once
            # would give the same answer
            self.deadline = now_us + ASK_AGAIN_US
        else:
            self._query_all(now_us)

    def on_membership(self, now_us: int) -> None:
        """The other nodes have changed (S8): ask again."""
        self._timeout = AdaptiveTimeout()
        self._stop_pulling()
        self._answers = {}
        if self._has_work() and not self._put_back_running:
            self._query_all(now_us)

    def on_cut(self) -> None:
        """The log was truncated: what was to be put back after its end no longer matters."""
        self._proven = []
        self._put_back_running = False

    def on_writer(self, now_us: int) -> None:
        """A writer appends to this suspect node.
        Earlier answers say nothing about the log that it writes. (An entry for a hole is proven by
        itself.)
        """
        self._too_few_since = 0
        if self._copy is not None or not (self._target or self._log.holes):
            self._stop_pulling()
            self._answers = {}
            self.deadline = min(self.deadline, now_us + ASK_AGAIN_US)  # 0 stays 0

    def on_deadline(self, now_us: int) -> None:
        if self.deadline and now_us >= self.deadline:
            self.deadline = 0
            if self._put_back_running:
                self.deadline = now_us + ASK_AGAIN_US
            elif self._has_work():
                self._timeout.give_up(self._token)
                self._stop_pulling()
                self._query_all(now_us)
            else:
                self._finish()

    def _finish(self) -> None:
        """All work is done."""
        self.deadline, self._timeout = 0, AdaptiveTimeout()

    def _has_work(self) -> bool:
        if self._target <= self._log.committed:
            self._target = 0  # the writer has sent the rest
        return bool(
            self._damaged()
            or self._target
            or (self._log.suspicion is not None and not self._log.is_learner)
        )

    # ----------------------------------------------------------------------- asking

    def _damaged(self) -> list[Damage]:
        return self._log.holes or self._log.tail_damage

    def _query_all(self, now_us: int) -> None:
        """Ask every node what it has from the first lost position on."""
        damage = self._damaged()
        self._next = damage[0].position if damage else self._log.last[1] + 1
        self._answers = {}
        fetch = Fetch(0, self._next, CHUNK_BYTES if damage else 0, True)
        if self._log.suspicion is not None and self._log.suspicion.epoch == self._fence[0]:
            fetch.fence = self._fence[1]
        self._ask("", fetch, now_us)

    def _ask(self, node: str, fetch: Fetch, now_us: int) -> None:
        self._token = fetch.token = self._log.rng.getrandbits(62)
        self.deadline = now_us + self._timeout.us * (PIECE if fetch.max_bytes else 1)
        self._log.emit(PeerFetch(node, fetch, TOPIC))

    # ----------------------------------------------------------------------- S2: put back

    def _match_copies(self, fetched: Fetched) -> None:
        """Which of these entries are proven to be the lost ones?"""
        log = self._log
        run = self._damaged()
        first = run[0].position
        entries = self.decode(fetched, first)
        if not entries:
            return
        by_position = {damage.position: damage for damage in run}
        good = 0
        for count, entry in enumerate(entries, 1):
            damage = by_position.get(entry.position)
            if damage is None and not log.holes and entry.position > first:
                # after a torn tail's first position the disk cannot tell how many are lost
                damage = Damage(entry.position)
            if damage is None:
                break
            if (
                damage.known == entry.id
                or damage.next_chain == entry.chain
                or fetched.committed >= entry.position
            ):
                good = count
        if good:
            self._proven = entries[:good]
            self._put_next_back()

    def _put_next_back(self) -> bool:
        """If a good copy of the first damaged position is available, write it.
        Its chain connects it to the entry checked before it.
        """
        log = self._log
        damage = self._damaged()
        if self._put_back_running or not damage:
            return False
        while self._proven and self._proven[0].position < damage[0].position:
            self._proven.pop(0)
        if not self._proven or self._proven[0].position != damage[0].position:
            return False
        entry = self._proven.pop(0)
        before = log.chain_at(entry.position - 1)
        if before is not None and before != entry.previous_chain:
            self._proven = []
            return False
        if entry.term > log.promise.term:
            log.raise_promise(entry.term)
        self._put_back_running, self._put_position = True, entry.position
        log.trace(f"put back {entry.position}@{entry.term}")
        log.emit(PutBack(log.next_disk_sequence(), entry))
        return True

    def decode(self, fetched: Fetched, start: int) -> list[Entry]:
        """The answer's entries if they are a run from ``start`` on, else nothing."""
        entries: list[Entry] = []
        try:
            for encoded in fetched.entries:
                entry = decode_entry(encoded)
                if len(encoded) > self._log.largest_entry:
                    raise EntryError(
                        f"entry {entry.position} of {len(encoded)} bytes is larger than a segment "
                        "here: raise segment-bytes"
                    )
                if entry.position != start + len(entries) or (
                    entries and entry.previous_chain != entries[-1].chain
                ):
                    raise EntryError("not a run")
                entries.append(entry)
        except EntryError as error:
            self._log.trace(f"another node's answer dropped: {error}")
            return []
        return entries

    # --------------------------------------------------------------- S4, S5: everybody has answered

    def _on_all_answered(self, now_us: int) -> None:
        log = self._log
        if log.holes:
            if not any(fetched.entries for fetched in self._answers.values()):
                self._mark_broken(log.holes[0])
            return  # entries came and none was proven: a newer answer may prove more
        if log.suspicion is None or log.suspicion_ending or log.is_learner:
            return
        if sum(not fetched.suspect for fetched in self._answers.values()) >= log.majority:
            log.broken, log.broken_reason = 0, ""
            self._too_few_since = 0
            return  # a writer heals this node (S3)
        if any(fetched.learner for fetched in self._answers.values()):
            # the answers do not include what the lost node held, so the greatest id need not have
            # everything (S4, S8)
            return
        best, best_node = log.last, ""
        for node in sorted(self._answers):
            if self._answers[node].last > best:
                best, best_node = self._answers[node].last, node
        proven = max([log.proven] + [fetched.proven for fetched in self._answers.values()])
        if proven > best[1]:
            self._mark_broken(
                Damage(best[1] + 1, None, None, log.tail_damage[0].where if log.tail_damage else "")
            )
            return
        log.broken, log.broken_reason = 0, ""
        if log.suspicion.epoch != self._fence[0]:
            self._too_few_since = self._too_few_since or now_us
            if now_us >= self._too_few_since + WRITER_REPAIRS_US:
                self._raise_fence(log.suspicion.epoch, now_us)
            return
        if min(fetched.promised for fetched in self._answers.values()) < self._fence[1]:
            self.deadline = now_us + FENCE_AGAIN_US
            return
        self._copy = best
        if best_node:
            self._pull_from(best_node, now_us)
        else:
            self._finish_copy()

    def _raise_fence(self, suspicion: bytes, now_us: int) -> None:
        """Let every node promise a higher term before this node cuts anything (S4).
        This node may cut entries that it has acknowledged. A living writer may still count those
        acknowledgements. Another node may acknowledge to that writer after its answer to us;
        together the two would make a majority. So every node, this one too, first promises a term
        above all in which this node can have acknowledged anything. Then every node answers once
        more.
        """
        self._too_few_since = 0
        self._fence = (suspicion, self._log.promise.term + 1)
        self._log.raise_promise(self._fence[1])
        self._query_all(now_us)

    def _mark_broken(self, damage: Damage) -> None:
        log = self._log
        reason = (
            f"damaged: no node has a good copy of entry {damage.position} {damage.where}".rstrip()
        )
        if log.broken_reason != reason:
            log.trace(reason.upper())
        log.broken, log.broken_reason = damage.position, reason

    # ------------------------------------------- pulling committed entries, copying the good prefix

    def _pull_from(self, node: str, now_us: int) -> None:
        self._source = node
        self._next = self._log.committed + 1
        self._ask_for_more(now_us)

    def _ask_for_more(self, now_us: int) -> None:
        self._ask(
            self._source,
            Fetch(0, self._next, chunk_bytes(self._log.largest_entry), self._copy is not None),
            now_us,
        )

    def _stop_pulling(self) -> None:
        """Stop; on the deadline the node looks for another source."""
        self._source, self._copy = "", None
        self._token = 0

    def _on_chunk(self, fetched: Fetched, now_us: int) -> None:
        log = self._log
        copy = self._copy
        self.deadline = now_us + ASK_AGAIN_US
        if copy is not None and fetched.last != copy:
            self._stop_pulling()  # the source has changed its log since it was chosen
            return
        entries = self.decode(fetched, self._next)
        if copy is None:
            entries = [entry for entry in entries if entry.position <= fetched.committed]
        held = self.adopt(entries) if entries and log.has_room else 0
        log.commit_pulled(min(fetched.committed, held))
        if not entries or held < entries[-1].position:
            # the deadline asks again; perhaps there is room for the rest by then (A5)
            self._stop_pulling()
        elif copy is not None and log.last == copy:
            self._copy = copy
            self._finish_copy()
        elif copy is None and log.committed >= self._target:
            self._target = 0
            self._stop_pulling()
            if self._has_work():
                self.deadline = now_us + ASK_AGAIN_US
            else:
                self._finish()
        else:
            self._next = entries[-1].position + 1
            self._ask_for_more(now_us)

    def adopt(self, entries: list[Entry]) -> int:
        """Take a run, as far as there is room; returns the last position then held.
        An entry held with the same chain stays. A different entry is replaced, with everything
        after it, but never at or below committed. 0: the entries do not follow ours.
        """
        log = self._log
        before = log.chain_at(entries[0].position - 1)
        if before is not None and before != entries[0].previous_chain:
            log.trace(f"another node's entry {entries[0].position} does not follow ours")
            return 0
        for index, entry in enumerate(entries):
            position = entry.position
            if position <= log.committed or (
                position <= log.last[1] and log.chain_at(position) == entry.chain
            ):
                continue
            fitting = log.fitting(entries[index:])
            if fitting and position <= log.last[1]:
                last = entries[index - 1].id if index else log.id_at(position - 1)
                if last is None:
                    return 0
                log.truncate(position, last, entry.previous_chain)
            if fitting:
                log.take_fitting(fitting)
            return position - 1 + len(fitting)
        return entries[-1].position

    def _finish_copy(self) -> None:
        """S4's end: this log is the good prefix; cut the rest."""
        log = self._log
        log.trace(
            "TOO FEW NODES WERE WHOLE: all answered, the log ends at "
            f"{log.last[1]}@{log.last[0]}, what was beyond it is cut"
        )
        self._stop_pulling()
        if log.tail_damage:
            log.cut_tail()
        log.end_suspicion("whole again by agreement of all nodes")
