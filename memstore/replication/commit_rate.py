"""How much a primary may have appended and not yet committed.

Decides: the limit of bytes in flight, from the commits that were measured and from the lease.
Must not know: entries, the log, sockets.

A writer stops renewing its lease when its oldest append finds no majority within the commit
time-out. The bytes in flight must therefore commit well before that: within an eighth of a lease,
not counting the time that even a small entry takes. Bytes above the limit wait at the primary.
There they cost memory, but they do not endanger the role. A renewal waits after the same bytes, so
the limit bounds its delay too.

The time of a commit has two parts. ``base_us`` is what a small entry takes: a round trip and a
sync. The rest grows with the bytes that were in flight, the entry's own included. A limit that
proves too large falls at once to what was measured. A limit that was used and proves too small is
doubled.

Under a load of only large entries ``base_us`` is unknown, or dates from a time when the disks were
faster. A slow sync then looks like a slow transfer, and the limit falls. So a limit that is used
and may not be doubled is raised by half for a trial. If entries are too large to use that, it is
raised once or twice more. If more bytes then commit in a second, the bytes did not take the time:
the raised limit is kept (``floor``), and the next trial begins. If not, the limit falls back, and
the next trial is some seconds away. While commits take longer than half a lease, no trial begins,
and no floor stays.

Invariants: ``LEAST_BYTES <= limit <= most`` (or ``limit == most`` where ``most`` is smaller);
``in_flight`` counts the bytes appended and not yet committed; ``floor <= most``.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LEAST_BYTES: Final = 128 * 1024  # in flight, however slow the disks are
FIRST_BYTES: Final = 512 * 1024  # before anything was measured
SMALL_BYTES: Final = 32 * 1024  # up to this size a commit measures what a small entry takes
SHARE: Final = 8  # bytes in flight should commit within this part of a lease
PIECE_LEAST_BYTES: Final = 64 * 1024  # of a unit that is written as several entries
FALL_SHIFT: Final = 3  # an estimate moves by one eighth of the difference
TRIAL_COMMITS: Final = 8  # a trial compares this many commits with as many before it
AGAIN_US: Final = 10_000_000  # between a trial that failed and the next


class CommitRate:
    __slots__ = (
        "_again_us", "_appended", "_before", "_bytes", "_commits", "_half_us", "_least", "_most",
        "_since_us", "_slowest_us", "_target_us", "_trial", "_us", "base_us", "bytes_per_s",
        "floor", "in_flight", "limit",
    )  # fmt: skip

    def __init__(self, lease_ms: int, most: int) -> None:
        """``most``: upper bound of the limit, in bytes."""
        self._most = most
        self._least = min(LEAST_BYTES, most)
        self._target_us = lease_ms * 1000 // SHARE
        self._half_us = lease_ms * 500
        # (position, bytes of the entry, bytes in flight including it, time in us)
        self._appended: deque[tuple[int, int, int, int]] = deque()
        self.in_flight = 0
        self.limit = min(FIRST_BYTES, most)
        self.floor = self._least  # a transfer that seems slow does not lower the limit below this
        self.base_us = 0  # 0: not measured yet
        self.bytes_per_s = 0  # of commits large enough to measure; 0: not measured yet
        self._trial = 0  # the limit that is tried; 0: no trial runs
        # before the trial: the limit, the sum of bytes in flight, bytes a second
        self._before = (0, 0, 0)
        self._again_us = 0  # no trial starts before this time
        self._since_us = 0  # only entries appended from this time on are compared
        self._commits = self._bytes = self._us = self._slowest_us = 0  # of compared commits

    @property
    def room(self) -> int:
        """Bytes that may be appended now. Negative while more is in flight than a fallen limit."""
        return self.limit - self.in_flight

    @property
    def piece(self) -> int:
        """How large one entry should be, so that two of them are in flight."""
        return max(self.limit // 2, PIECE_LEAST_BYTES)

    def on_appended(self, position: int, size: int, now_us: int) -> None:
        size = max(size, 1)  # an entry without payload is measured too
        self.in_flight += size
        self._appended.append((position, size, self.in_flight, now_us))

    def on_committed(self, position: int, now_us: int) -> bool:
        """Everything up to ``position`` is committed. Whether that changed the measured rate."""
        appended = self._appended
        ahead = took_us = 0
        while appended and appended[0][0] <= position:
            _, size, ahead, since_us = appended.popleft()
            self.in_flight -= size
            took_us = now_us - since_us
        if not ahead or took_us <= 0:
            return False
        if ahead <= SMALL_BYTES:
            self.base_us += ((took_us - self.base_us) >> FALL_SHIFT) if self.base_us else took_us
            return False
        self._measure(ahead, took_us, now_us)
        return True

    def _measure(self, ahead: int, took_us: int, now_us: int) -> None:
        self.base_us = min(self.base_us, took_us)
        rate = ahead * 1_000_000 // took_us
        self.bytes_per_s += ((rate - self.bytes_per_s) >> FALL_SHIFT) if self.bytes_per_s else rate
        transfer_us = max(took_us - self.base_us, 1)
        if took_us > self._half_us and (self._trial or self.floor > self._least):
            self.floor = max(min(ahead * self._half_us // took_us, self.floor), self._least)
            self._count_again(0, now_us)
            self._again_us = now_us + AGAIN_US
        if transfer_us > self._target_us:
            limit = max(
                min(self.limit, ahead * self._target_us // transfer_us), self.floor, self._trial
            )
            if limit < self.limit:
                self.limit = limit
                self._count_again(0, now_us)
        if ahead * 2 < self.limit or now_us - took_us < self._since_us:
            return  # the limit was not used, or was another one when the entry was appended
        if transfer_us * 2 <= self._target_us:
            self.limit = min(self.limit * 2, self._most)
            self._count_again(0, now_us)
        else:
            self._compare(ahead, took_us, now_us)

    def _compare(self, ahead: int, took_us: int, now_us: int) -> None:
        """The limit is used, and may not be doubled."""
        self._commits += 1
        self._bytes += ahead
        self._us += took_us
        self._slowest_us = max(self._slowest_us, took_us)
        if self._commits < TRIAL_COMMITS:
            return
        rate = self._bytes * 1_000_000 // self._us
        if self._trial:
            before, grown = self._before, self._bytes - self._before[1]
            used = grown * 4 >= before[1]
            if not used and self.limit < min(before[0] * 2, self._most):
                self._raise(now_us)  # entries are so large that no more of them fit in
                return
            # half of the possible gain is enough to keep the raised limit
            if not used or 2 * (rate - before[2]) * before[1] < grown * before[2]:
                self.limit = max(before[0], self.floor)
                self._count_again(0, now_us)
                self._again_us = now_us + AGAIN_US
                return
            self.floor = self._trial
        if (
            self._slowest_us <= self._half_us
            and now_us >= self._again_us
            and self.limit < self._most
        ):
            self._before = (self.limit, self._bytes, rate)
            self._raise(now_us)
        else:
            self._count_again(0, now_us)

    def _raise(self, now_us: int) -> None:
        self.limit = min(self.limit * 3 // 2, self._most)
        self._count_again(self.limit, now_us)

    def _count_again(self, trial: int, now_us: int) -> None:
        """``trial``: the limit that is tried from now on; 0: none."""
        self._trial, self._since_us = trial, now_us
        self._commits = self._bytes = self._us = self._slowest_us = 0
