"""How a learner joins the group (S8): the log node that replaces a lost node, for one log.

Decides: when a learner counts.
Must not know: how the membership was made (`server.membership`), how entries are taken
(`acceptor`), connections.

A learner has a suspicion (S3) of its own kind, on disk from the moment its log is made. It does not
promise, acknowledge, renew or answer `tail()`, and no Append heals it. It takes these steps:

1. It asks all other nodes. It counts whole nodes only, and each node answers only under the present
   membership version. The answers of a majority contain everything that a majority of the old group
   ever acknowledged or promised.
2. It takes entries until its own last id is no lower than the greatest in the answers. They come
   from the writer or from the node with that id.
3. It promises a term as high as the highest in the answers.
4. It waits one full window, because a node may have granted a lease before it took the version.
   Then the learner counts.

Only the suspicion is on disk; the rest is in memory, so a restart begins again.

Invariants: the end of the suspicion comes after entries and promise on disk; answers of two surveys
or two memberships are never counted together.
"""

from __future__ import annotations

from typing import Any, Final

from txlog.consensus.adaptive_timeout import PIECE, AdaptiveTimeout
from txlog.consensus.lease import window_us
from txlog.consensus.log_state import LogState
from txlog.consensus.outputs import PeerFetch
from txlog.consensus.repair import ASK_AGAIN_US, Repair, chunk_bytes
from txlog.entry import NO_ENTRY, Entry, EntryId
from txlog.messages import MAX_LEASE_MS, Fetch, Fetched

TOPIC: Final = "learner"
IDLE: Final = "idle"
ASKING: Final = "asking"
COPYING: Final = "copying"
WAITING: Final = "waiting"


class Learner:
    """One per log. ``deadline`` 0: nothing to do."""

    def __init__(self, log: LogState, repair: Repair) -> None:
        self.deadline = 0
        self.state = IDLE
        self._log = log
        self._repair = repair
        self._token = 0
        self._timeout = AdaptiveTimeout()
        self._answers: dict[str, Fetched] = {}
        self._goal: EntryId = NO_ENTRY  # the greatest id that a majority reported
        self._floor = 0  # the greatest promise that they reported
        self._lease_ms = 0  # the longest lease they may have granted
        self._source = ""

    def start(self, now_us: int) -> None:
        """Begin the survey, also after a change of membership: no earlier answer counts."""
        self.deadline = 0
        self.state = IDLE
        self._timeout = AdaptiveTimeout()
        if self._log.is_learner and not self._log.suspicion_ending:
            self._ask(now_us)

    def describe(self) -> dict[str, Any] | None:
        if self.state == IDLE:
            return None
        return {"state": self.state, "answers": len(self._answers), "goal": list(self._goal)}

    # ----------------------------------------------------------------------- asking

    def _ask(self, now_us: int) -> None:
        self.state = ASKING
        self._answers = {}
        self._token = self._log.rng.getrandbits(62)
        self.deadline = now_us + self._timeout.us
        self._log.emit(PeerFetch("", Fetch(self._token, self._log.committed + 1, 0, True), TOPIC))

    def on_peer_fetched(self, node: str, fetched: Fetched, now_us: int) -> None:
        if self.state == IDLE or node not in self._log.peers:
            return
        if fetched.token != self._token:
            self._timeout.late(fetched.token)
            return
        if self.state == ASKING:
            self._count(node, fetched, now_us)
        elif self.state == COPYING and node == self._source:
            self._on_chunk(fetched, now_us)

    def _count(self, node: str, fetched: Fetched, now_us: int) -> None:
        if fetched.suspect or fetched.learner:
            return  # it counts in no majority (S3)
        self._answers[node] = fetched
        if len(self._answers) < self._log.majority:
            return
        answers = self._answers
        self._source = max(sorted(answers), key=lambda name: answers[name].last)
        self._goal = answers[self._source].last
        self._floor = max(answer.promised for answer in answers.values())
        self._lease_ms = min(max(answer.lease_ms for answer in answers.values()), MAX_LEASE_MS)
        self.state = COPYING
        if not self.look(now_us):
            self._pull(now_us)

    # ----------------------------------------------------------------------- copying

    def _pull(self, now_us: int, start: int = 0) -> None:
        """Ask for entries from ``start`` on; 0: from the first position not committed here."""
        self._token = self._log.rng.getrandbits(62)
        self.deadline = now_us + self._timeout.us * PIECE
        fetch = Fetch(
            self._token,
            start or self._log.committed + 1,
            chunk_bytes(self._log.largest_entry),
            True,
        )
        self._log.emit(PeerFetch(self._source, fetch, TOPIC))

    def _on_chunk(self, fetched: Fetched, now_us: int) -> None:
        """Take the entries. For those it cannot take, the learner soon asks again, with fresh
        answers.
        """
        if self.look(now_us):
            return
        log = self._log
        entries = [
            entry
            for entry in self._repair.decode(fetched, fetched.start)
            if entry.position <= self._goal[1]
        ]
        held = (
            self._repair.adopt(entries)
            if entries and self._joins_on(entries[0]) and log.has_room
            else 0
        )
        if not held:
            self.deadline = now_us + ASK_AGAIN_US
            return
        log.commit_pulled(min(fetched.committed, held))
        if self.look(now_us):
            return
        if held == entries[-1].position < self._goal[1]:
            # not from the committed position: perhaps no writer exists that commits the rest
            self._pull(now_us, held + 1)
        else:
            self.deadline = now_us + ASK_AGAIN_US

    def _joins_on(self, first: Entry) -> bool:
        """Do these entries follow ours? A writer may have truncated what was copied before."""
        log, before = self._log, first.position - 1
        return before <= log.committed or (
            before <= log.last[1] and log.chain_at(before) == first.previous_chain
        )

    def look(self, now_us: int) -> bool:
        """Check after new entries from any source whether everything is here.
        True: nothing more is to be copied.
        """
        if self.state == COPYING and self._complete():
            log = self._log
            if self._floor > log.promise.term:
                log.raise_promise(self._floor, self._lease_ms)
            self.state = WAITING
            self.deadline = now_us + window_us(self._lease_ms)
            log.trace(
                f"learner: holds all up to {self._goal[1]}@{self._goal[0]}, promise "
                f"{log.promise.term}, waits for {window_us(self._lease_ms) // 1000} ms"
            )
        return self.state != COPYING

    def _complete(self) -> bool:
        """An id no lower means that no acknowledged entry is missing, as for a candidate's log."""
        log = self._log
        return log.last >= self._goal and not log.holes and not log.tail_damage

    # ----------------------------------------------------------------------- time

    def on_deadline(self, now_us: int) -> None:
        if not self.deadline or now_us < self.deadline:
            return
        self.deadline = 0
        if self.state == WAITING and self._complete() and not self._log.broken:
            self.state = IDLE
            self._log.end_suspicion("learner: it counts from now on")
        elif self.state != IDLE:
            self._timeout.give_up(self._token)
            self._ask(now_us)
