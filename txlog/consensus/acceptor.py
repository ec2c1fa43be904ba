"""A log node's side of one log: what it promises, accepts, acknowledges and serves.
Rules: A1-A6, L1, L3, L4, R2, and the healing by a writer of S3.

Decides: the answer to every message of a writer or reader, what is written and in which order, when
the node is suspect.
Must not know: files, sockets, clocks. `repair` decides how entries are put back, what is pulled
from other nodes, and the exchange of S4.

`LogState` is the state that they share, and its way to disk.

Invariant, asserted: durable <= last.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from txlog.consensus.learner import Learner
from txlog.consensus.lease import Window, window_us
from txlog.consensus.log import History, Recovered, Scan, first_loss
from txlog.consensus.log_state import LogState
from txlog.consensus.outputs import (
    Output,
    Peer,
    Promise,
    Serve,
)
from txlog.consensus.repair import Repair
from txlog.entry import Entry, EntryError, EntryId, decode_entry
from txlog.messages import (
    MAX_ID_BYTES,
    MAX_LEASE_MS,
    MAX_TERM_STEP,
    Append,
    Appended,
    Behind,
    CatchUp,
    Conflict,
    Fetch,
    Fetched,
    LeaseHeld,
    Message,
    MissingEntries,
    Promised,
    Refused,
    Release,
    Renew,
    Renewed,
    Seal,
    Suspected,
    Tail,
    TailQuery,
    Unavailable,
    Unsealed,
    beyond_limits,
)  # fmt: skip

# a candidate tries again after this time while another's promise is on its way to disk
PROMISE_HOLD_US: Final = 100_000
# the simulator treats it as a bug: no correct writer does it
CONTRADICTION: Final = "a writer contradicts committed"


class Acceptor(LogState):
    def __init__(
        self,
        recovered: Recovered,
        history: History,
        peers: list[str],
        rng: Random,
        now_us: int,
        max_lease_ms: int = MAX_LEASE_MS,
    ) -> None:
        """``peers``: the ids of the other nodes of the group.
        The machine has outputs at once if the disk was damaged.
        """
        LogState.__init__(self, recovered, history, peers, rng)
        self.max_lease_ms = max_lease_ms
        # L3: a node that has never promised does not wait.
        self._window = Window(now_us + window_us(self.promise.lease_ms) if self.promise.term else 0)
        # term and ballot id of the newest Seal while this node is suspect
        self._admitted: tuple[int, bytes] = (0, b"")
        self.repair = Repair(self)
        self.learner = Learner(self, self.repair)
        if self.last[0] > self.promise.term:  # A4; cannot happen unless an old meta came back
            self.raise_promise(self.last[0])
        self.repair.start(now_us)
        self.learner.start(now_us)

    # ----------------------------------------------------------------------- inputs

    def on_message(self, peer: Peer, message: Message, now_us: int) -> None:
        if type(message) is Append:
            self._on_append(peer, message, now_us)
        elif isinstance(message, Renew):
            self._on_renew(peer, message, now_us)
        elif isinstance(message, Seal):
            self._on_seal(peer, message, now_us)
        elif isinstance(message, Fetch):
            self._on_fetch(peer, message)
        elif isinstance(message, TailQuery):
            self._on_tail_query(peer, message)
        elif isinstance(message, Release):
            self._on_release(message, now_us)
        elif isinstance(message, CatchUp):
            self._on_catch_up(peer, message, now_us)
        else:
            self.expel(peer, f"a {type(message).__name__} is nothing that a log node is told")

    def on_persisted(self, sequence: int, now_us: int) -> None:
        """Every disk output up to ``sequence`` is on disk."""
        assert sequence <= self._sequence, "persisted what was never asked"
        self._persisted = max(self._persisted, sequence)
        writes = self._writes
        durable = self.durable
        while writes and writes[0][0] <= sequence:
            durable = max(durable, writes.popleft()[1])
        unsynced = self._unsynced
        while unsynced and unsynced[0].position <= durable:
            unsynced.popleft()
        self.durable = durable
        assert durable <= self.last[1], "durable past the last entry"
        while self._metas and self._metas[0][0] <= sequence:
            self._durable_promise = self._metas.popleft()[1]
        if self._suspicion_end and sequence >= self._suspicion_end:
            self._suspicion_end = 0
            self.suspicion = None
            self.trace("no longer suspect")

    def on_put_back(self, sequence: int, scan: Scan, now_us: int) -> None:
        """The `PutBack` of that sequence is written and scanned.
        If a later Truncate has removed its position, the result does not matter.
        """
        if sequence > self._cut_sequence:
            self.repair.on_put_back(scan, now_us)

    def on_damage(self, scan: Scan, now_us: int) -> None:
        """A read has met bytes that fail a check (S6).
        ``scan`` is the state of the whole log with them. From now on the node acts as if a start
        had found them. Damage at or below committed is a hole. The log ends before any other
        damage, and this node is suspect (S3).
        """
        if scan.last[1] < self.committed:
            self.halt(
                "entries that are known committed are damaged, and what stood there is not "
                f"known: {first_loss(scan)}; the next start asks the other nodes"
            )
            return
        if scan.last[1] < self.last[1]:
            self._end_before(scan)
        self.repair.on_damage(scan, now_us)

    def on_peer_fetched(self, node: str, fetched: Fetched, now_us: int) -> None:
        self.repair.on_peer_fetched(node, fetched, now_us)
        self.learner.on_peer_fetched(node, fetched, now_us)

    def on_membership(self, peers: list[str], now_us: int) -> None:
        """S8: the group has other members from now on, and as many as before.
        Windows and promises stay.
        """
        assert len(peers) == len(self.peers), "a group does not change its size"
        self.peers = sorted(peers)
        self.repair.on_membership(now_us)
        self.learner.start(now_us)

    def on_room(self, has_room: bool) -> None:
        """Whether the next segment exists (A5).
        Without room the node takes no entry; everything else continues.
        """
        if has_room != self.has_room:
            self.trace("room again" if has_room else "disk full")
        self.has_room = has_room

    def on_disconnected(self, peer: Peer) -> None:
        """Nothing to do: windows and promises belong to a writer, not to a connection."""

    def take_outputs(self) -> list[Output]:
        outputs = self._outputs
        if outputs:
            self._outputs = []
        return outputs

    def deadline(self) -> int:
        repair, learner = self.repair.deadline, self.learner.deadline
        return min(repair, learner) if repair and learner else repair or learner

    def on_deadline(self, now_us: int) -> None:
        self.repair.on_deadline(now_us)
        self.learner.on_deadline(now_us)

    # ---------------------------------------------------------------------- what others may look at

    @property
    def window_writer(self) -> bytes:
        return self._window.writer

    def window_holder(self, now_us: int) -> bytes:
        return self._window.living(now_us)

    def window_left_ms(self, now_us: int) -> int:
        return (self._window.left_us(now_us) + 999) // 1000

    def successor(self, now_us: int) -> bytes:
        return self._window.successor(now_us)

    def readable_upto(self, start: int) -> int:
        """The last committed position of the run without holes that begins at ``start``.
        A result below ``start`` means that nothing can be read there now.
        """
        return self._run_end(start, self.committed)

    def status(self, now_us: int) -> dict[str, Any]:
        suspicion = self.suspicion
        return {
            "promised": self.promise.term,
            "promised_to": self.promise.incarnation.hex(),
            "last": list(self.last),
            "durable": self.durable,
            "committed": self.committed,
            "trim": list(self.trim),
            "window_left_ms": self.window_left_ms(now_us),
            "window_writer": self.window_writer.hex(),
            "successor": self.successor(now_us).hex(),
            "suspect": None
            if suspicion is None
            else {"position": suspicion.position, "reason": suspicion.reason},
            "newcomer": self.learner.describe(),
            "holes": [
                {"position": hole.position, "where": hole.where} for hole in self.holes[:100]
            ],
            "broken": {"position": self.broken, "reason": self.broken_reason}
            if self.broken
            else None,
            "disk_full": not self.has_room,
        }

    # ----------------------------------------------------------------------- A1 Seal

    def _on_seal(self, peer: Peer, message: Seal, now_us: int) -> None:
        term, ballot_id, promised = message.term, message.ballot_id, self.promise.term
        if wrong := beyond_limits(message, promised, self.max_lease_ms):
            self._send(peer, Unavailable(term, ballot_id[:MAX_ID_BYTES], 0, wrong))
            return
        if term < promised or (
            term == promised and ballot_id != self.promise.ballot_id and self.suspicion is None
        ):
            self._send(peer, Refused(term, ballot_id, promised))
            return
        if self.broken:
            self._send(peer, Unavailable(term, ballot_id, 0, self.broken_reason))
            return
        if self.suspicion is not None:
            self._admit(peer, message, now_us)
            return
        held = self._window.held_us(message.incarnation, self.promise.incarnation, now_us)
        if not held and self._promises_another(message.incarnation):
            held = PROMISE_HOLD_US
        if held:
            self._send(
                peer,
                LeaseHeld(
                    term, ballot_id, promised, (held + 999) // 1000, self._window.living(now_us)
                ),
            )
            return
        # no promise: a candidate that lags must not fence a healthy writer
        if self.last > message.expected:
            self._send(peer, Behind(term, ballot_id, promised, self.last, self.committed))
            return
        # without room a writer cannot append here, and each attempt would use up a term
        if message.probe and not self.has_room:
            self._send(peer, Unavailable(term, ballot_id, 0, "disk full"))
            return
        if message.probe:
            self._send(peer, Promised(term, ballot_id, promised, True, self.last, self.committed))
            return
        if term > promised:
            self._set_promise(Promise(term, message.incarnation, ballot_id, message.lease_ms))
        self._send_persisted(
            peer, Promised(term, ballot_id, term, False, self.last, self.committed)
        )

    def _promises_another(self, incarnation: bytes) -> bool:
        """Is a promise to another candidate on its way to disk?
        On a slow disk that takes as long as candidates wait between two attempts. If the node took
        their Seals one after the other, each would overtake the one before, and no candidate would
        ever append. A candidate whose promise is on disk may open a window at once.
        """
        promise = self.promise
        return promise.term > self._durable_promise.term and promise.incarnation not in (
            b"",
            incarnation,
        )

    def _admit(self, peer: Peer, message: Seal, now_us: int) -> None:
        """S3: a suspect node promises nothing.
        It accepts the Appends of the writer that sealed here, because they heal it. It answers only
        that it is suspect.
        """
        suspicion = self.suspicion
        assert suspicion is not None, "a whole node promises"
        if (
            not message.probe
            and self.last <= message.expected
            and not self._window.held_us(message.incarnation, self.promise.incarnation, now_us)
        ):
            self._admitted = (message.term, message.ballot_id)
            self._send(peer, Suspected(message.term, message.ballot_id, 0, suspicion.epoch, 0))

    # ----------------------------------------------------------------------- A2 Append

    def _on_append(self, peer: Peer, message: Append, now_us: int) -> None:
        term, ballot_id, number = message.term, message.ballot_id, message.number
        promise = self.promise
        if term < promise.term:
            self._send(peer, Refused(term, ballot_id, promise.term))
            return
        wrong = (
            self.broken_reason
            if self.broken
            else beyond_limits(message, promise.term, self.max_lease_ms)
            or self._too_large(message.entries)
        )
        if wrong:
            self._send(peer, Unavailable(term, ballot_id[:MAX_ID_BYTES], number, wrong))
            return
        sealed = term == promise.term and ballot_id == promise.ballot_id
        if not sealed and (self.suspicion is None or self._admitted != (term, ballot_id)):
            # The node cannot check that a majority elected this writer. So the writer seals here
            # too, and waits for another's window like any candidate.
            self._send(peer, Unsealed(term, ballot_id, number))
            return
        entries = self._decode(peer, message)
        if entries is None:
            return
        if not sealed:
            self._set_promise(Promise(term, message.incarnation, ballot_id, message.lease_ms))
        previous = message.previous[1]
        if previous > self.last[1]:
            self._send(peer, MissingEntries(term, ballot_id, number, self.last, self.committed))
            return
        if message.previous == self.last and message.previous_chain == self.last_chain:
            fresh = entries  # the usual case: they follow the last entry held here
        else:
            behind = self._fresh_behind(peer, message, entries)
            if behind is None:
                return
            fresh = behind
        size = self._disk_bytes(fresh) if fresh else 0
        if size > self.room_bytes or (size and not self.has_room):
            self._take_part(peer, message, self.fitting(fresh), now_us)
            return
        confirmed = previous + len(entries)
        if self.suspicion is not None:
            self.repair.on_writer(now_us)
        if fresh:
            self._take(fresh)
            self.room_bytes -= size
        if self.learner.deadline:
            self.learner.look(now_us)
        if self.suspicion is not None and not self._end_suspicion_by(message, confirmed):
            self._send_persisted(
                peer, Suspected(term, ballot_id, number, self.suspicion.epoch, confirmed)
            )
            return
        self._confirm(term, confirmed, message.committed)
        self._window.open(message.incarnation, term, message.lease_ms, now_us)
        # min(durable, what matched): this answer leaves when all disk work asked for so far is
        # durable, and that is at least `confirmed`.
        self._send_persisted(peer, Appended(term, ballot_id, number, confirmed))

    def _confirm(self, term: int, confirmed: int, committed: int) -> None:
        """A3: take over the writer's committed position, up to where its log is confirmed here."""
        if term != self._confirmed_term:
            self._confirmed_term, self._confirmed = term, confirmed
        elif confirmed > self._confirmed:
            self._confirmed = confirmed
        committed = min(committed, self._confirmed)
        if committed > self.committed:
            self._commit(committed)

    def _fresh_behind(
        self, peer: Peer, message: Append, entries: list[Entry]
    ) -> list[Entry] | None:
        """Of an Append that begins inside the log, the entries not held yet. None: answered."""
        previous = message.previous[1]
        if not self._matches(previous, message.previous_chain):
            self._conflict(peer, message)
            return None
        if self.id_at(previous) not in (None, message.previous):
            self.expel(peer, f"entry {previous} was not written in term {message.previous[0]}")
            return None
        skip = self._skip_held(peer, message, entries)
        return None if skip < 0 else entries[skip:]

    def _take_part(self, peer: Peer, message: Append, fitting: list[Entry], now_us: int) -> None:
        """A5: take the part for which there is room.
        The writer sends the rest when this part is on disk; another segment may be ready then.
        """
        term, ballot_id, number = message.term, message.ballot_id, message.number
        if not fitting:
            self._send(
                peer,
                Unavailable(
                    term,
                    ballot_id,
                    number,
                    "the next segment is not made yet" if self.has_room else "disk full",
                ),
            )
            return
        if self.suspicion is not None:
            self.repair.on_writer(now_us)
        self.take_fitting(fitting)
        if self.learner.deadline:
            self.learner.look(now_us)
        self._send_persisted(
            peer, MissingEntries(term, ballot_id, number, self.last, self.committed)
        )

    def _decode(self, peer: Peer, message: Append) -> list[Entry] | None:
        """The entries, or None if they are not a run that follows ``previous``.
        No correct writer sends such a run, and the wire has its own checksums.
        """
        entries: list[Entry] = []
        chain, position, term = message.previous_chain, message.previous[1], message.previous[0]
        try:
            for encoded in message.entries:
                entry = decode_entry(encoded)
                position += 1
                if (
                    entry.position != position
                    or entry.previous_chain != chain
                    or not term <= entry.term <= message.term
                ):
                    raise EntryError(
                        f"entry {entry.position}@{entry.term} does not follow {position - 1}@{term}"
                    )
                chain, term = entry.chain, entry.term
                entries.append(entry)
        except EntryError as error:
            self.expel(peer, f"unreadable entries in an append of term {message.term}: {error}")
            return None
        return entries

    def _conflict(self, peer: Peer, message: Append) -> None:
        position = message.previous[1]
        if position <= self.committed:
            self.expel(peer, f"{CONTRADICTION} entry {position}")
            return
        # Terms never fall along a log. To go back to the start of this term skips the whole tail of
        # a dead writer in one step.
        back_to = self._first_of_term(position) - 1
        self._send(
            peer,
            Conflict(
                message.term,
                message.ballot_id,
                message.number,
                max(back_to, self.committed),
                self.committed,
            ),
        )

    def _skip_held(self, peer: Peer, message: Append, entries: list[Entry]) -> int:
        """The number of entries that are already held with the same chain.
        If there is room, a different entry is truncated, with everything after it.
        -1: the entries contradict committed ones.
        """
        last = self.last[1]
        for index, entry in enumerate(entries):
            position = entry.position
            if position > last:
                return index
            if self._matches(position, entry.chain):
                continue
            if position <= self.committed:
                self.expel(peer, f"{CONTRADICTION} entry {position}")
                return -1
            if self.has_room:
                before = entries[index - 1] if index else None
                self.truncate(
                    position,
                    before.id if before else message.previous,
                    before.chain if before else message.previous_chain,
                )
            return index
        return len(entries)

    def _end_suspicion_by(self, message: Append, confirmed: int) -> bool:
        """S3: one Append is not enough, because a bad sector may hide several entries.
        True: this node counts as soon as the end of the suspicion is on disk.
        """
        suspicion = self.suspicion
        if self._suspicion_end:
            return True
        if (
            suspicion is None
            or suspicion.learner
            or message.repair_epoch != suspicion.epoch
            or confirmed < message.repair_upto
        ):
            return False
        if self.tail_damage:
            self.cut_tail()
        self.end_suspicion(f"healed by the writer of term {message.term} up to {confirmed}")
        return True

    # ----------------------------------------------------------------------- leases

    def _on_renew(self, peer: Peer, message: Renew, now_us: int) -> None:
        promise = self.promise
        if message.term < promise.term:
            self._send(peer, Refused(message.term, message.ballot_id, promise.term))
            return
        durable = self._durable_promise
        if beyond_limits(message, promise.term, self.max_lease_ms):
            return
        if (
            not self.counts
            or message.term != promise.term
            or message.ballot_id != promise.ballot_id
            or durable.term != promise.term
            or durable.ballot_id != promise.ballot_id
        ):
            return
        if self._window.open(message.incarnation, message.term, message.lease_ms, now_us):
            self._send(peer, Renewed(message.term, message.ballot_id, message.number))

    def _on_release(self, message: Release, now_us: int) -> None:
        if (
            message.ballot_id
            and message.term == self.promise.term
            and message.ballot_id == self.promise.ballot_id
            and len(message.successor) <= MAX_ID_BYTES
        ):
            self._window.release(message.term, message.successor, self.promise.lease_ms, now_us)
            self.trace(f"term {message.term} released to {message.successor.hex()[:8]}")

    # ---------------------------------------------------------------------- reading and catching up

    def _on_fetch(self, peer: Peer, message: Fetch) -> None:
        if self.promise.term < message.fence <= self.promise.term + MAX_TERM_STEP:
            # The holder of the window stays known, so it may seal again at once. Without a ballot
            # id the node takes no Renew.
            self._set_promise(
                Promise(message.fence, self.promise.incarnation, b"", self.promise.lease_ms)
            )
        promised = self._durable_promise.term if message.fence else self.promise.term
        upto = self._run_end(message.start, self.last[1] if message.uncommitted else self.committed)
        answer = Fetched(
            message.token, message.start, promised, self.last, self.committed, self.trim,
            self.suspicion is not None, [], self.proven, self.promise.lease_ms, self.is_learner,
        )  # fmt: skip
        self._outputs.append(Serve(peer, answer, upto, message.max_bytes))

    def _on_tail_query(self, peer: Peer, message: TailQuery) -> None:
        durable = self.id_at(self.durable)
        # None: a hole, and the entries after it are not on disk yet
        if self.counts and durable is not None:
            self._send(peer, Tail(message.token, durable, self.committed))

    def _on_catch_up(self, peer: Peer, message: CatchUp, now_us: int) -> None:
        if message.term < self.promise.term:
            self._send(peer, Refused(message.term, message.ballot_id, self.promise.term))
        elif not message.ballot_id or (
            (message.term, message.ballot_id)
            not in ((self.promise.term, self.promise.ballot_id), self._admitted)
        ):
            self._send(peer, Unsealed(message.term, message.ballot_id[:MAX_ID_BYTES], 0))
        else:
            self.repair.catch_up(message.committed, now_us)

    # ----------------------------------------------------------------------- the log in memory

    def truncate(self, position: int, last: EntryId, last_chain: bytes) -> None:
        LogState.truncate(self, position, last, last_chain)
        self.repair.on_cut()
