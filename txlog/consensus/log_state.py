"""What a log node knows of its log, in memory.
This is the promise, the suspicion, the ends of the log, and what is on its way to disk. Acceptor,
repair and learner share it, and each sees nothing else of the others.

Decides: how a change of this state becomes outputs to the disk, in which order.
Must not know: which message or answer causes a change (`acceptor`, `repair`, `learner`), files,
sockets, clocks.

State that is on disk is changed in memory first and written by outputs in the same order. An answer
that depends on it leaves as `SendAfterPersist` (A6). ``last`` counts what is accepted, ``durable``
what is on disk. This object keeps what is not yet durable, so it asks the store only about
positions that the store certainly has.

Invariants, asserted: the promise never goes down and is never below the term of an entry held;
committed never goes down and never passes ``last``; nothing at or below committed is truncated.
"""

from __future__ import annotations

from collections import deque
from random import Random

from txlog.consensus.log import Damage, History, Recovered, Scan, first_loss
from txlog.consensus.outputs import (
    Expel,
    Halt,
    Output,
    Peer,
    Promise,
    Send,
    SendAfterPersist,
    Suspicion,
    Trace,
    Truncate,
    WriteEntries,
    WriteMeta,
)
from txlog.consensus.quorum import majority
from txlog.entry import Entry, EntryId
from txlog.messages import Message


class LogState:
    def __init__(
        self, recovered: Recovered, history: History, peers: list[str], rng: Random
    ) -> None:
        self.promise = recovered.promise
        self.trim = recovered.trim
        self.trim_chain = recovered.trim_chain
        self.last: EntryId = recovered.last
        self.last_chain = recovered.last_chain
        self.durable = recovered.last[1]
        self.committed = min(recovered.committed, recovered.last[1])
        # greatest position that this node knows it had synced in an earlier life, or committed
        self.proven = max(recovered.proven, self.committed)
        self.suspicion = recovered.suspicion
        # S5: first position of which no node has a good copy, 0: none. The node serves and takes
        # nothing from there on.
        self.broken = 0
        self.broken_reason = ""
        self.has_room = True
        # size of the entries it may take until the driver checks again (A5): their blocks are
        # reserved
        self.room_bytes = 1 << 62
        self.largest_entry = recovered.largest_entry
        self._entry_overhead = recovered.entry_overhead
        self.peers = sorted(peers)
        self.majority = majority(len(peers) + 1)
        self.holes: list[Damage] = [
            damage for damage in recovered.damage if damage.position <= recovered.last[1]
        ]
        self.tail_damage: list[Damage] = [
            damage for damage in recovered.damage if damage.position > recovered.last[1]
        ]
        self.rng = rng
        self._history = history
        self._outputs: list[Output] = []
        self._sequence = 0  # sequence of the newest disk output
        self._persisted = 0
        self._cut_sequence = 0  # sequence of the newest Truncate
        self._unsynced: deque[Entry] = deque()  # entries above `durable`, in order
        # (sequence, last position it wrote), not yet durable
        self._writes: deque[tuple[int, int]] = deque()
        self._metas: deque[tuple[int, Promise]] = deque()
        self._durable_promise = self.promise
        self._suspicion_end = 0  # after this sequence the end of the suspicion is on disk, 0: none
        self._confirmed_term = 0  # A3: the greatest position confirmed here, and in which term
        self._confirmed = 0

    # ---------------------------------------------------------------------- what others may look at

    @property
    def suspicion_ending(self) -> bool:
        """The end of the suspicion is on its way to disk."""
        return self._suspicion_end != 0

    @property
    def is_learner(self) -> bool:
        """S8: this node has not joined its group yet."""
        return self.suspicion is not None and self.suspicion.learner

    @property
    def counts(self) -> bool:
        """May this node's answers count in a majority (S3, S5)?"""
        return self.suspicion is None and not self.broken

    def _end_before(self, scan: Scan) -> None:
        """The log now ends earlier.
        What is on its way to disk after the damage stays there, and returns when the damage is put
        back.
        """
        self.proven = max(self.proven, self.durable)  # it was acknowledged
        self.last, self.last_chain = scan.last, scan.last_chain
        last = scan.last[1]
        while self._unsynced and self._unsynced[-1].position > last:
            self._unsynced.pop()
        self._writes = deque((sequence, min(upto, last)) for sequence, upto in self._writes)
        self.durable = min(self.durable, last)
        self._confirmed = min(self._confirmed, last)
        if self.peers:
            self.become_suspect(
                last + 1, f"damage at position {last + 1} {first_loss(scan)}".rstrip()
            )

    # ---------------------------------------------------------------------------- the log in memory

    def chain_at(self, position: int) -> bytes | None:
        """None: not held, or not readable now."""
        if position == self.last[1]:
            return self.last_chain
        if position == self.trim[1]:
            return self.trim_chain
        if self._unsynced and position >= self._unsynced[0].position:
            index = position - self._unsynced[0].position
            return self._unsynced[index].chain if index < len(self._unsynced) else None
        return self._history.chain_at(position) if self.trim[1] < position < self.last[1] else None

    def id_at(self, position: int) -> EntryId | None:
        if position == self.last[1]:
            return self.last
        if position == self.trim[1]:
            return self.trim
        if self._unsynced and position >= self._unsynced[0].position:
            index = position - self._unsynced[0].position
            return self._unsynced[index].id if index < len(self._unsynced) else None
        return self._history.id_at(position) if self.trim[1] < position < self.last[1] else None

    def _first_of_term(self, position: int) -> int:
        """The first position above committed whose entry has the term of that at ``position``."""
        here = self.id_at(position)
        low, high = self.committed + 1, position
        while here is not None and low < high:
            middle = (low + high) // 2
            found = self.id_at(middle)
            if found is not None and found[0] >= here[0]:
                high = middle
            else:
                low = middle + 1
        return high

    def _matches(self, position: int, chain: bytes) -> bool:
        """Is the writer's entry at ``position`` the one held here?
        Every elected writer's log contains what is committed here (invariant 3). So a committed
        position that cannot be checked (a hole, trimmed) matches.
        """
        have = self.chain_at(position)
        return have == chain or (have is None and position <= self.committed)

    def _run_end(self, start: int, limit: int) -> int:
        if start <= self.trim[1]:
            return start - 1
        for hole in self.holes:
            if hole.position >= start:
                return min(limit, hole.position - 1)
        return limit

    def _take(self, entries: list[Entry]) -> None:
        """Write these directly after ``last``."""
        # the disk content after `last` is overwritten: only the writer knows what belongs there
        if self.tail_damage:
            self.cut_tail()
        newest = entries[-1]
        assert (
            entries[0].position == self.last[1] + 1 and entries[0].previous_chain == self.last_chain
        ), "entries do not follow the log"
        assert newest.term <= self.promise.term, "entry above the promise"
        self._sequence += 1
        self._outputs.append(
            WriteEntries(self._sequence, entries, min(self.committed, entries[0].position - 1))
        )
        self._writes.append((self._sequence, newest.position))
        self._unsynced.extend(entries)
        self.last = (newest.term, newest.position)
        self.last_chain = newest.chain

    def _disk_bytes(self, entries: list[Entry]) -> int:
        return sum([len(entry.encoded) for entry in entries]) + len(entries) * self._entry_overhead

    def fitting(self, entries: list[Entry]) -> list[Entry]:
        """The longest prefix of the entries for which there is room now (A5)."""
        left = self.room_bytes if self.has_room else 0
        for index, entry in enumerate(entries):
            left -= len(entry.encoded) + self._entry_overhead
            if left < 0:
                return entries[:index]
        return entries

    def take_fitting(self, entries: list[Entry]) -> None:
        """Take what `fitting` returned.
        A4: if the entries come from another node, the promise may be lower than their terms. That
        must never be, so a higher promise goes to disk first.
        """
        if entries[-1].term > self.promise.term:
            self.raise_promise(entries[-1].term)
        self._take(entries)
        self.room_bytes -= self._disk_bytes(entries)

    def _too_large(self, entries: list[bytes]) -> str:
        largest = max(map(len, entries), default=0)
        return (
            f"an entry of {largest} bytes, a segment here holds {self.largest_entry}: raise "
            "segment-bytes"
            if largest > self.largest_entry
            else ""
        )

    def truncate(self, position: int, last: EntryId, last_chain: bytes) -> None:
        """Remove everything from ``position`` on, damage after the log's end included.
        Lowers ``durable`` at once. The caller gives ``last``, the entry before ``position``,
        because that may be a hole, which only other nodes can read.
        """
        assert position > self.committed, "truncation of committed entries"
        assert position > self.trim[1] and position == last[1] + 1, (
            "truncation of trimmed entries, or somewhere else"
        )
        self.trace(f"truncate from {position}, last was {self.last[1]}")
        if self.suspicion is not None and not self.suspicion.cut and self.tail_damage:
            suspicion = self.suspicion
            self._set_suspicion(
                Suspicion(
                    suspicion.position, suspicion.epoch, suspicion.reason, True, suspicion.learner
                )
            )
        self._sequence += 1
        self._cut_sequence = self._sequence
        self._outputs.append(Truncate(self._sequence, position))
        self.tail_damage = []
        while self._unsynced and self._unsynced[-1].position >= position:
            self._unsynced.pop()
        self._writes = deque((sequence, min(upto, position - 1)) for sequence, upto in self._writes)
        self.durable = min(self.durable, position - 1)
        self.proven = min(self.proven, position - 1)
        self.last, self.last_chain = last, last_chain
        if self._confirmed >= position:
            self._confirmed = position - 1

    def cut_tail(self) -> None:
        self.truncate(self.last[1] + 1, self.last, self.last_chain)

    def _commit(self, position: int) -> None:
        assert self.committed < position <= self.last[1], "committed goes up, within the log"
        self.committed = position
        if position > self.proven:
            self.proven = position

    def commit_pulled(self, position: int) -> None:
        """Another node knows ``position`` committed, and the entries held here up to it match by
        chain.
        """
        if position > self.committed:
            self._commit(position)

    def extend_by_scan(self, last: EntryId, last_chain: bytes) -> None:
        """A put-back has made good entries part of the log that were on disk after the damage."""
        assert last >= self.last and not self._unsynced, "a scan found less than was there"
        if last[0] > self.promise.term:
            self.raise_promise(last[0])
        self.last, self.last_chain = last, last_chain
        self.durable = last[1]

    # ------------------------------------------------------------------------ promise and suspicion

    def raise_promise(self, term: int, lease_ms: int = 0) -> None:
        """Promise a term whose writer and ballot id are not known here.
        No writer can use it, so the node takes no Append or Renew in it.
        """
        self._set_promise(Promise(term, b"", b"", lease_ms or self.promise.lease_ms))

    def _set_promise(self, promise: Promise) -> None:
        assert promise.term >= self.promise.term, "a promise went down"
        self.promise = promise
        self._write_meta()

    def _set_suspicion(self, suspicion: Suspicion | None) -> None:
        """In memory at once; only for a change that makes the node more careful."""
        self.suspicion = suspicion
        self._suspicion_end = 0
        self._write_meta()

    def become_suspect(self, position: int, reason: str) -> None:
        """Become suspect (S3).
        A learner stays a learner, because S3's ways out do not apply to it (S8). A learner whose
        last step is on its way to disk is already a member.
        """
        already = self.suspicion
        cut, learner = (
            already is not None and already.cut,
            self.is_learner and not self.suspicion_ending,
        )
        self._set_suspicion(Suspicion(position, self.rng.randbytes(16), reason, cut, learner))
        self.trace(f"suspect from position {position}: {reason}")

    def end_suspicion(self, why: str) -> None:
        """End the suspicion: on disk first, then in memory (S3)."""
        self.trace(why)
        self._sequence += 1
        self._suspicion_end = self._sequence
        self._outputs.append(WriteMeta(self._sequence, self.promise, None))
        self._metas.append((self._sequence, self.promise))

    def _write_meta(self) -> None:
        self._sequence += 1
        self._outputs.append(
            WriteMeta(self._sequence, self.promise, None if self._suspicion_end else self.suspicion)
        )
        self._metas.append((self._sequence, self.promise))

    def next_disk_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    # -------------------------------------------------------------------------------------- outputs

    def emit(self, output: Output) -> None:
        self._outputs.append(output)

    def _send(self, peer: Peer, message: Message) -> None:
        self._outputs.append(Send(peer, message))

    def _send_persisted(self, peer: Peer, message: Message) -> None:
        """A6: send after all disk work asked for so far."""
        if self._sequence <= self._persisted:
            self._outputs.append(Send(peer, message))
        else:
            self._outputs.append(SendAfterPersist(self._sequence, peer, message))

    def trace(self, text: str) -> None:
        self._outputs.append(Trace(text))

    def expel(self, peer: Peer, reason: str) -> None:
        self._outputs.append(Expel(peer, reason))

    def halt(self, reason: str) -> None:
        self._outputs.append(Halt(reason))
