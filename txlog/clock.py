"""The one clock of leases and time-outs.

Decides: which clock (L5): CLOCK_BOOTTIME, which goes on in a suspended machine; read afresh each
time, never an event loop's cached reading.
Must not know: who asks. The machines do not import this: they are given ``now_us``.
Invariant: readings never go back.
"""

from __future__ import annotations

import time

# Elsewhere than on Linux there is none; the nearest relative then stops while the machine sleeps,
# as its documentation says.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_clock_gettime_ns = time.clock_gettime_ns


def now_us() -> int:
    """Microseconds since boot."""
    return _clock_gettime_ns(_CLOCK) // 1000


def timer_s(us: int) -> float:
    """``us`` from now for an event loop's ``call_later``: whole milliseconds, rounded up.

    uvloop knows nothing finer. Rounded down, a timer fires early, finds nothing due and is set anew
    for no time at all: the loop spins until its time has come.
    """
    return max(0, -(-us // 1000)) / 1000


def wall_ms() -> int:
    """Milliseconds since 1970, for people and for entries' ``wall_ms``; never for leases."""
    return time.time_ns() // 1_000_000
