"""The one clock of leases and time-outs.

Decides: which clock (L5): CLOCK_BOOTTIME, which goes on while a machine is suspended. Each call
reads it again; an event loop's cached reading is never used.
Must not know: its callers. The machines do not import it: they get ``now_us``.
Invariant: readings never go back.
"""

from __future__ import annotations

import time

# Only Linux has CLOCK_BOOTTIME. The nearest clock elsewhere stops while the machine sleeps, as its
# documentation says.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_clock_gettime_ns = time.clock_gettime_ns


def now_us() -> int:
    """Microseconds since boot."""
    return _clock_gettime_ns(_CLOCK) // 1000


def timer_s(us: int) -> float:
    """``us`` from now for an event loop's ``call_later``: whole milliseconds, rounded up.

    uvloop's timers are not finer. A time that is rounded down fires early, finds nothing due, and
    sets a timer of length 0. So the loop spins until the time has come.
    """
    return max(0, -(-us // 1000)) / 1000


def wall_ms() -> int:
    """Milliseconds since 1970, for people and for entries' ``wall_ms``; never for leases."""
    return time.time_ns() // 1_000_000
