"""Group commit: when the gathered units become the next log entry.

Decides: whether a turn of the loop appends, or waits for more units.
Must not know: the log's writer, timers, sockets.

There is at most one append a turn. While an entry is in flight, units gather for the next one. An
entry costs each process of the shard the same with one unit or a hundred, and each log node one
fsync. The clients that a commit answers come back over several turns. While some of them are still
away and each turn brings more, the next entry waits. When a turn brings none, the entry waits for a
short timer, as long as such waits have been useful.
The measured rate of commits and the lease limit what may be in flight (`commit_rate`).
Invariant: a step appends only when there is an entry, and only what the rate has room for.
"""

from __future__ import annotations

from typing import Final

from memstore.replication.commit_rate import CommitRate
from memstore.replication.shard import Shard

# Only an entry large enough to be worth its own transfer leaves while others are in flight.
LARGE_BYTES: Final = 64 * 1024
IN_FLIGHT_LARGE: Final = 4
# After failed waits in a row, at most this many entries do not wait.
MAX_SKIPPED_WAITS: Final = 255

# What the driver does at the end of a turn:
NOTHING: Final = 0  # a commit, another unit or the timer calls again
APPEND: Final = 1
NEXT_TURN: Final = 2  # ask again at the end of the next turn
START_WAIT: Final = 3  # start the timer that reports to `on_wait_expired`


class GroupCommit:
    """Group commit for one term of a primary."""

    __slots__ = (
        "_expected",
        "_failed_waits",
        "_gathered",
        "_in_entry",
        "_rate",
        "_shard",
        "_skipped_waits",
        "waiting",
    )

    def __init__(self, shard: Shard, rate: CommitRate) -> None:
        self._shard = shard
        self._rate = rate
        self.waiting = False  # the timer runs: an entry waits longer than the turn
        self._in_entry = 0  # units in the newest entry
        self._expected = 0  # units that may arrive within a few turns
        self._gathered = 0  # units that had gathered one turn ago
        self._failed_waits = 0  # doubled by each failed wait in a row
        self._skipped_waits = 0  # number of entries that will not wait

    def on_turn(self, in_flight: int) -> int:
        """The end of a turn; ``in_flight``: entries that the writer has sent and not committed."""
        shard = self._shard
        if in_flight and (
            shard.waiting_bytes < LARGE_BYTES
            or in_flight >= IN_FLIGHT_LARGE
            or self._rate.room < self.next_size()
        ):
            return NOTHING
        units = len(shard.gathered)
        if units < self._expected and not in_flight and shard.waiting_bytes == shard.gathered_bytes:
            step = self._wait_for_more(units)
            if step != APPEND:
                return step
        if not shard.has_entries:
            return NOTHING
        if self.waiting:
            self._failed_waits = 0  # all came
        return APPEND

    def _wait_for_more(self, units: int) -> int:
        """Some clients that were just answered are not back yet. Decide whether the entry waits."""
        if self._gathered < units:
            self._gathered = units
            return NEXT_TURN
        if not units:
            return APPEND
        if not self.waiting:
            if self._skipped_waits:
                self._skipped_waits -= 1
                return APPEND
            self.waiting = True
            return START_WAIT
        return NOTHING

    def on_wait_expired(self) -> None:
        """A wait for clients that think before they come back is lost time. (A wait for a client
        process that the machine has suspended is not.)
        """
        self.waiting = False
        self._failed_waits = min(2 * self._failed_waits + 1, MAX_SKIPPED_WAITS)
        self._skipped_waits = self._failed_waits
        self._expected = 0

    def on_append(self, units: int) -> None:
        """The gathered units are appended; the driver stops the timer."""
        self.waiting = False
        self._expected = self._in_entry = units
        self._gathered = 0

    def on_committed(self) -> bool:
        """Returns whether an entry may follow at the end of this turn. The clients that were just
        answered are about to come back.
        """
        shard = self._shard
        if not shard.has_entries:
            return False
        self._expected = self._in_entry + len(shard.gathered)
        self._gathered = 0
        return True

    def next_size(self) -> int:
        """Bytes of the smallest possible append: one piece, if a run of entries waits."""
        shard = self._shard
        return min(shard.waiting_bytes, self._rate.piece, shard.engine.settings.max_entry_bytes)
