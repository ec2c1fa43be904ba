"""The node's two clocks.

Decides: what time it is. `WallClock` is for key expiry and display. It never goes back and is never
earlier than the newest entry's time (``floor_ms``). If the machine's clock jumps ahead,
`WallClock` follows slowly, since a jump would expire keys too early. If the machine's clock is set
back, `WallClock` does not follow. It goes on at the rate of the other clock, from its last time or
from the newest entry's time, whichever is later. Only a small difference is corrected, by a slower
rate. Leases have their own clock, the log's (microseconds since boot).
Must not know: what the time is used for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# up to this difference, a machine's clock that is ahead has not jumped
JUMP_MS: Final = 1000
CATCH_UP: Final = 10  # a jump is followed at a tenth of the time that passes
# up to this difference, a time ahead of the machine's clock goes a tenth slower until both agree
BACK_MS: Final = 10_000


def machine_ms() -> int:
    """Milliseconds since 1970 by the machine's clock."""
    return time.time_ns() // 1_000_000


class WallClock:
    __slots__ = (
        "_boot_us",
        "_last_ms",
        "_machine_ms",
        "_offset_ms",
        "_read_us",
        "behind_ms",
        "floor_ms",
        "jumped_ms",
        "ms",
        "until_us",
    )

    def __init__(self, boot_us: Callable[[], int], machine: Callable[[], int] = machine_ms) -> None:
        self._boot_us = boot_us
        self._machine_ms = machine
        self._read_us = boot_us()
        self._offset_ms = machine() - self._read_us // 1000  # followed so far
        self._last_ms = 0
        self.floor_ms = 0  # the newest entry's time; raised by `raise_floor`
        # the last result of `at`, valid for readings of the other clock below ``until_us``: every
        # command uses it
        self.ms = 0
        self.until_us = 0
        # how far the machine's clock is behind this one, if that is more than `BACK_MS`; 0: it is
        # not
        self.behind_ms = 0
        self.jumped_ms = 0  # how far the machine's clock is ahead of this one; 0: in step

    def at(self, now_us: int) -> int:
        """The time at a reading of the other clock, from the latest `read` (several times a
        second). For every command: it reads no clock.
        """
        boot_ms = now_us // 1000
        ms = boot_ms + self._offset_ms
        self.ms = ms = ms if ms > self._last_ms and ms >= self.floor_ms else self._told(ms)
        self.until_us = boot_ms * 1000 + 1000
        return ms

    def raise_floor(self, ms: int) -> None:
        """An entry with that time was applied: no earlier time is returned from now on."""
        if ms > self.floor_ms:
            self.floor_ms = ms
            self.until_us = 0

    def read(self) -> int:
        self.until_us = 0
        now_us = self._boot_us()
        now_ms = now_us // 1000
        # `at` may have returned this time since the last reading
        self._last_ms = max(self._last_ms, now_ms + self._offset_ms)
        # after an entry's time, time goes on too
        self._offset_ms = max(self._offset_ms, self.floor_ms - now_ms)
        offset = self._machine_ms() - now_ms
        ahead = offset - self._offset_ms  # of the machine's clock
        self.behind_ms = -ahead if ahead < -BACK_MS else 0
        if 0 <= ahead <= JUMP_MS and not self.jumped_ms:
            self._offset_ms = offset
        elif not self.behind_ms:
            step = (now_us - self._read_us) // (1000 * CATCH_UP)
            if step == 0:  # too little time has passed to count: let it add up
                return self._told(now_ms + self._offset_ms)
            self._offset_ms = (
                min(offset, self._offset_ms + step)
                if ahead > 0
                else max(offset, self._offset_ms - step)
            )
        self.jumped_ms = max(0, offset - self._offset_ms)
        self._read_us = now_us
        return self._told(now_ms + self._offset_ms)

    def _told(self, ms: int) -> int:
        if ms < self.floor_ms:
            ms = self.floor_ms
        if ms < self._last_ms:
            return self._last_ms
        self._last_ms = ms
        return ms
