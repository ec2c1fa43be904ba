"""The primary's driver: effects to the writer, commits to the replies that wait for them.

Decides: when an idle primary moves its replicas' time on. `replication.group_commit` decides when
the gathered units are appended.
Must not know: terms, leases, what makes a position committed.

Invariant: the shard's ``next_position`` is the writer's. An entry that is not the shard's takes a
position only through `shift_positions`. The times of entries never go back, and no entry has a
later time than a unit after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from memstore.engine.expiry import ActiveExpiry
from memstore.log.interface import Writer
from memstore.node.loop_budget import Client
from memstore.replication.commit_rate import CommitRate
from memstore.replication.digest_schedule import Digests
from memstore.replication.group_commit import (
    APPEND,
    IN_FLIGHT_LARGE,
    NEXT_TURN,
    START_WAIT,
    GroupCommit,
)
from memstore.replication.shard import NO_LEASE, Shard
from txlog.entry import DATA, DIGEST, HANDOVER, LEADERSHIP

# How long an entry waits for clients that were just answered, when a turn has brought none of them.
# If many are away at once, they may be one process that the machine has suspended.
WAIT_S: Final = 0.001
# an idle primary with volatile keys appends this often, so that the time of replicas moves
IDLE_US: Final = 1_000_000


class PrimaryDriver:
    """The driver of one term, from the moment the writer is won until it is given up."""

    def __init__(
        self,
        shard: Shard,
        writer: Writer,
        clock: Callable[[], int],
        wall_ms: Callable[[], int],
        on_progress: Callable[[int], None],
        digests: Digests,
        lease_ms: int = 1000,
        on_client_error: Callable[[Client, Exception], None] | None = None,
    ) -> None:
        self.shard = shard
        self.writer = writer
        self.handover_position = 0  # of the HANDOVER entry, once it is appended
        # the greatest time in the log's entries: no client or replica has seen a later time of this
        # node's own clock
        self.last_entry_ms = shard.applied_wall_ms
        self._clock = clock
        self._wall_ms = wall_ms
        self._on_progress = on_progress  # reports the newest committed position
        # an error of the program while a client got its replies
        self._on_client_error = on_client_error
        # runs while an entry waits longer than the turn
        self._wait_timer: asyncio.TimerHandle | None = None
        self._appended_us = clock()
        self._sampled = 0  # a position whose commit time is measured; 0: none
        self._sampled_us = 0
        self._expiry = ActiveExpiry()
        self._digests = digests
        self._loop = asyncio.get_running_loop()
        self.over = False
        self.rate = CommitRate(lease_ms, shard.engine.settings.max_uncommitted_bytes)
        self.group = GroupCommit(shard, self.rate)
        self._update_rate()
        writer.on_committed = self._on_committed
        writer.on_reopened = self._on_reopened

    # ----------------------------------------------------------------- effects out

    def schedule_drain(self) -> None:
        """At the end of this turn of the loop, append the gathered units."""
        if not self.shard.drain_scheduled:
            self.shard.drain_scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self.shard.drain_scheduled = False
        if self.over:
            return
        step = self.group.on_turn(self.writer.in_flight)
        if step == APPEND:
            self._append_gathered()
        elif step == NEXT_TURN:
            self.schedule_drain()
        elif step == START_WAIT:
            self._wait_timer = self._loop.call_later(WAIT_S, self._on_wait_expired)

    def _on_wait_expired(self) -> None:
        self._wait_timer = None
        self.group.on_wait_expired()
        self._drain()

    def _append_gathered(self) -> None:
        shard, writer = self.shard, self.writer
        if self._wait_timer is not None:
            self._wait_timer.cancel()
            self._wait_timer = None
        self.group.on_append(len(shard.gathered))
        position, size = shard.next_position, 0
        facts = shard.engine.facts
        now_us = self._clock()
        for kind, payload, wall_ms, continued in shard.take_entries(self.rate.room):
            given = writer.append(kind, payload, wall_ms, continued)
            assert given == position, (
                f"the writer gave position {given}, replies wait for {position}"
            )
            self.rate.on_appended(position, len(payload), now_us)
            position += 1
            size += len(payload)
            assert wall_ms >= self.last_entry_ms, (
                "a unit is older than an entry before it: replicas may have hidden what it kept"
            )
            self.last_entry_ms = wall_ms
            facts.entries_appended += 1
        writer.flush()
        facts.bytes_appended += size
        facts.last = position - 1
        self._appended_us = now_us
        if not self._sampled:
            self._sampled, self._sampled_us = position - 1, self._appended_us

    def _on_committed(self, position: int) -> None:
        if self.over:
            return
        shard = self.shard
        shard.engine.facts.committed = position
        if self.rate.on_committed(position, self._clock()):
            self._update_rate()
        for session, data in shard.on_committed(position):
            sink = session.sink
            if sink is not None:
                try:
                    sink.released(data)
                except Exception as error:  # the clients after it still get their replies
                    if self._on_client_error is None:
                        raise
                    self._on_client_error(sink, error)
        if self._sampled and position >= self._sampled:
            facts = shard.engine.facts
            took = self._clock() - self._sampled_us
            facts.commit_us = took if not facts.commit_us else (facts.commit_us * 15 + took) // 16
            self._sampled = 0
        if self.group.on_committed():
            self.schedule_drain()
        self._on_progress(position)

    def _update_rate(self) -> None:
        facts, rate = self.shard.engine.facts, self.rate
        facts.commit_bytes_per_s, facts.in_flight_limit = rate.bytes_per_s, rate.limit
        self.shard.entry_bytes = rate.piece

    # ------------------------------------------------------------- entries that are not the shard's

    def _append_own(self, kind: int, payload: bytes) -> int:
        """What gathers comes after this entry but was executed before now. So this entry must not
        have a later time than those units. Otherwise a replica would hide a key, and a PERSIST that
        ran before the key was due would then bring it back.
        """
        if not self.shard.has_entries:
            self.last_entry_ms = max(self.last_entry_ms, self._wall_ms())
        position = self.writer.append(kind, payload, self.last_entry_ms)
        self.shard.shift_positions(position)
        self._appended_us = self._clock()
        self.rate.on_appended(position, len(payload), self._appended_us)
        return position

    def _on_reopened(self, term: int) -> None:
        """A minority of log nodes had to be sealed again. A new term begins, and what gathers
        belongs to it.
        """
        if not self.over:
            self._append_own(LEADERSHIP, self.writer.leadership)

    def _append_digest(self) -> None:
        """Append the digest after everything executed and before anything else runs. Then memory is
        exactly what the entries up to here say.
        """
        shard, facts = self.shard, self.shard.engine.facts
        if shard.waiting_bytes > max(self.rate.room, 0):
            return  # later: more bytes wait than may be in flight
        if shard.has_entries:
            self._append_gathered()
        assert not shard.has_entries
        self._append_own(
            DIGEST, self._digests.take(shard.engine.keyspace, facts.entries_appended, self._clock())
        )
        self.writer.flush()
        facts.digests += 1

    def append_handover(self, payload: bytes) -> None:
        self.writer.start_handover()
        self.shard.lease = NO_LEASE
        self.handover_position = self._append_own(HANDOVER, payload)
        self.writer.flush()

    # ----------------------------------------------------------------- timers

    def tick(self, volatile: bool) -> None:
        """Several times a second."""
        if self.over or self.shard.handover_pause or self.shard.failed:
            return
        engine = self.shard.engine
        if volatile and engine.active_expire and not self.shard.congested:
            self.shard.run_internal(self._expiry.run, self._wall_ms())
            if self.shard.has_entries:
                self.schedule_drain()
        if (
            volatile
            and not self.shard.has_entries
            and not self.writer.in_flight
            and self._clock() - self._appended_us >= IDLE_US
        ):
            self._append_own(DATA, b"")
            self.writer.flush()
        if (
            self.writer.in_flight < IN_FLIGHT_LARGE
            and not self.shard.congested
            and self._digests.due(engine.facts.entries_appended, self._clock())
        ):
            self._append_digest()

    def end(self) -> None:
        """Ignore this writer from now on; it stops renewing its lease."""
        self.over = True
        if self._wait_timer is not None:
            self._wait_timer.cancel()
        self.writer.on_reopened = None
        self.writer.stop()
