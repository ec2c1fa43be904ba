"""How much a primary may have appended and not yet committed.

Decides: the limit of bytes in flight, from the commits that were measured and from the lease. Must not know: entries, the log, sockets.

A writer whose oldest append finds no majority within the commit time-out stops renewing its lease. What is in flight must
therefore commit well before that: within an eighth of a lease, beside the time that even a small entry takes. What exceeds the
limit waits at the primary, where it costs memory and no role. A renewal waits behind the same bytes, so the limit bounds its
delay too.

The time of a commit has two parts. ``base_us`` is what a small entry takes: a round trip and a sync. The rest grows with the
bytes that were in flight in front of the entry and in it. A limit that proves too large falls at once to what was measured; one
that was used and proves too small is doubled.

Invariants: ``LEAST_BYTES <= limit <= most`` (or ``limit == most`` where ``most`` is smaller); ``in_flight`` is what was appended
and not yet committed.
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


class CommitRate:
    __slots__ = ("_appended", "_most", "_target_us", "base_us", "bytes_per_s", "in_flight", "limit")

    def __init__(self, lease_ms: int, most: int) -> None:
        """``most``: bytes, above which the limit never rises."""
        self._most = most
        self._target_us = lease_ms * 1000 // SHARE
        self._appended: deque[tuple[int, int, int, int]] = deque()  # (position, its bytes, in flight with it, when)
        self.in_flight = 0
        self.limit = min(FIRST_BYTES, most)
        self.base_us = 0  # 0: not measured yet
        self.bytes_per_s = 0  # of commits that were large enough to tell; 0: not measured yet

    @property
    def room(self) -> int:
        """Bytes that may be appended now. Below zero while a limit that has fallen is exceeded."""
        return self.limit - self.in_flight

    @property
    def piece(self) -> int:
        """How large one entry should be, so that two of them are in flight."""
        return max(self.limit // 2, PIECE_LEAST_BYTES)

    def on_appended(self, position: int, size: int, now_us: int) -> None:
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
        self._measure(ahead, took_us)
        return True

    def _measure(self, ahead: int, took_us: int) -> None:
        self.base_us = min(self.base_us, took_us)
        rate = ahead * 1_000_000 // took_us
        self.bytes_per_s += ((rate - self.bytes_per_s) >> FALL_SHIFT) if self.bytes_per_s else rate
        transfer_us = max(took_us - self.base_us, 1)
        if transfer_us > self._target_us:
            fits = ahead * self._target_us // transfer_us
            self.limit = max(min(self.limit, fits), min(LEAST_BYTES, self._most))
        elif transfer_us * 2 <= self._target_us and ahead * 2 >= self.limit:
            self.limit = min(self.limit * 2, self._most)
