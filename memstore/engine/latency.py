"""Times of events and commands: spikes by event for LATENCY, a histogram for each command.

Decides: what is kept and how it is summed up. LATENCY HISTOGRAM and INFO latencystats show the
histograms.
Must not know: clocks, what measures the time.

The memory is bounded: 160 samples for each event, one sample a second; 64 events; 32 buckets for
each command. Bucket ``i`` counts calls of at most ``2**i`` microseconds that are too long for the
bucket before it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

SAMPLES: Final = 160
EVENTS: Final = 64
BUCKETS: Final = 32
QUICK_US: Final = 1000  # shorter events are not noted
BUCKET_OF: Final = [(us - 1).bit_length() if us > 1 else 0 for us in range(QUICK_US)]


class Event:
    __slots__ = ("max_ms", "samples")

    def __init__(self) -> None:
        self.max_ms = 0  # of all time
        self.samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES)  # (second, ms), oldest first


class Latency:
    __slots__ = ("events", "histograms")

    def __init__(self) -> None:
        self.events: dict[bytes, Event] = {}
        self.histograms: dict[bytes, list[int]] = {}

    def note_event(self, name: bytes, ms: int, wall_ms: int) -> None:
        """An event (``command``, ``fast-command``, ``expire-cycle``, ``fsync``, ...) reached the
        threshold.
        The caller compares it with the threshold.
        """
        event = self.events.get(name)
        if event is None:
            if len(self.events) >= EVENTS:
                return
            event = self.events[name] = Event()
        event.max_ms = max(event.max_ms, ms)
        second = wall_ms // 1000
        if event.samples and event.samples[-1][0] == second:
            event.samples[-1] = (second, max(ms, event.samples[-1][1]))
        else:
            event.samples.append((second, ms))

    def note_call(self, row_name: bytes, us: int, calls: int = 1) -> list[int]:
        """Count ``calls`` calls of a command, each of about ``us`` microseconds; returns its
        histogram.
        """
        histogram = self.histograms.get(row_name)
        if histogram is None:
            histogram = self.histograms[row_name] = [0] * BUCKETS
        histogram[min((us - 1).bit_length() if us > 1 else 0, BUCKETS - 1)] += calls
        return histogram

    def reset_events(self, names: list[bytes]) -> int:
        """Forget these events (none named: all); returns how many there were."""
        gone = [
            name for name in (names or list(self.events)) if self.events.pop(name, None) is not None
        ]
        return len(gone)


def cumulative(histogram: list[int]) -> list[tuple[int, int]]:
    """Return (microseconds, calls of at most that time) for each bucket that is not empty."""
    total, steps = 0, []
    for i, count in enumerate(histogram):
        if count:
            total += count
            steps.append((1 << i, total))
    return steps


def percentile(histogram: list[int], percent: float) -> int:
    """Return the time in microseconds that this share of the calls did not exceed.
    The time is rounded up to a bucket's bound.
    """
    steps = cumulative(histogram)
    wanted = steps[-1][1] * percent / 100
    return next((bound for bound, total in steps if total >= wanted), steps[-1][0])
