"""How much a primary may have appended and not yet committed.

Decides: the limit of bytes in flight, from the commits that were measured and from the lease.
Must not know: entries, the log, sockets.

A writer whose oldest append finds no majority within the commit time-out stops renewing its lease.
What is in flight must therefore commit well before that: within an eighth of a lease, beside the
time that even a small entry takes. What exceeds the limit waits at the primary, where it costs
memory and no role. A renewal waits behind the same bytes, so the limit bounds its delay too.

The time of a commit has two parts. ``base_us`` is what a small entry takes: a round trip and a
sync. The rest grows with the bytes that were in flight in front of the entry and in it. A limit
that proves too large falls at once to what was measured; one that was used and proves too small is
doubled.

Under a load of large entries alone ``base_us`` is not known, or is of a time when the disks were
quicker. A slow sync then looks like a slow transfer, and the limit falls. So a limit that is used
and may not be doubled is raised by half for a trial, and once or twice more where entries are too
large to use that. If more bytes then commit in a second, the bytes were not what took the time: the
raised limit is kept (``floor``), and the next trial begins. If not, the limit falls back, and the
next trial is some seconds away. No trial begins, and no floor stays, where commits take longer than
half a lease.

Invariants: ``LEAST_BYTES <= limit <= most`` (or ``limit == most`` where ``most`` is smaller);
``in_flight`` is what was appended and not yet committed; ``floor <= most``.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LEAST_BYTES: Final = 128 * 1024  # in flight, however slow the disks are
FIRST_BYTES: Final = 512 * 1024  # before anything was measured
SMALL_BYTES: Final = 32 * 1024  # up to here a commit tells what a small entry takes
SHARE: Final = 8  # the part of a lease in which what is in flight should commit
PIECE_LEAST_BYTES: Final = 64 * 1024  # of a unit that is written as several entries
FALL_SHIFT: Final = 3  # an estimate moves by an eighth of the difference
TRIAL_COMMITS: Final = 8  # so many commits are compared with as many before
AGAIN_US: Final = 10_000_000  # between a trial that failed and the next


class CommitRate:
    __slots__ = (
        "_again_us", "_appended", "_before", "_bytes", "_commits", "_half_us", "_least", "_most",
        "_since_us", "_slowest_us", "_target_us", "_trial", "_us", "base_us", "bytes_per_s",
        "floor", "in_flight", "limit",
    )  # fmt: skip

    def __init__(self, lease_ms: int, most: int) -> None:
        """``most``: bytes, above which the limit never rises."""
        self._most = most
        self._least = min(LEAST_BYTES, most)
        self._target_us = lease_ms * 1000 // SHARE
        self._half_us = lease_ms * 500
        # (position, its bytes, in flight with it, when)
        self._appended: deque[tuple[int, int, int, int]] = deque()
        self.in_flight = 0
        self.limit = min(FIRST_BYTES, most)
        self.floor = self._least  # the limit does not fall below by a transfer that seems slow
        self.base_us = 0  # 0: not measured yet
        self.bytes_per_s = 0  # of commits that were large enough to tell; 0: not measured yet
        self._trial = 0  # the limit that is tried; 0: there is no trial
        # before the trial: the limit, the sum of what was in flight, bytes a second
        self._before = (0, 0, 0)
        self._again_us = 0  # no trial before then
        self._since_us = 0  # entries appended from then on are compared
        self._commits = self._bytes = self._us = self._slowest_us = 0  # of those that are compared

    @property
    def room(self) -> int:
        """Bytes that may be appended now. Below zero while a limit that has fallen is exceeded."""
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
        """Everything up to here is committed. Whether something was measured that counts."""
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
            # half of what it could bring is enough
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
