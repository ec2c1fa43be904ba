"""How long things took: spikes by event for LATENCY, a histogram a command for LATENCY HISTOGRAM
and INFO latencystats.

Decides: what is kept and how it is summed up.
Must not know: clocks, who measures. Bounded: 160 samples an event, one sample a second; 64 events;
32 buckets a command. Bucket ``i`` counts calls of at most ``2**i`` microseconds that did not fit
the bucket before.
"""

from __future__ import annotations

from collections import deque
from typing import Final

SAMPLES: Final = 160
EVENTS: Final = 64
BUCKETS: Final = 32
QUICK_US: Final = 1000  # below it no event is noted
BUCKET_OF: Final = [(us - 1).bit_length() if us > 1 else 0 for us in range(QUICK_US)]


class Event:
    __slots__ = ("max_ms", "samples")

    def __init__(self) -> None:
        self.max_ms = 0  # ever
        self.samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES)  # (second, ms), oldest first


class Latency:
    __slots__ = ("events", "histograms")

    def __init__(self) -> None:
        self.events: dict[bytes, Event] = {}
        self.histograms: dict[bytes, list[int]] = {}

    def note_event(self, name: bytes, ms: int, wall_ms: int) -> None:
        """An event (``command``, ``fast-command``, ``expire-cycle``, ``fsync``, ...) reached the
        threshold; the caller compares.
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
        """``calls`` calls of a command, each of about ``us`` microseconds.
        Gives the command's histogram.
        """
        histogram = self.histograms.get(row_name)
        if histogram is None:
            histogram = self.histograms[row_name] = [0] * BUCKETS
        histogram[min((us - 1).bit_length() if us > 1 else 0, BUCKETS - 1)] += calls
        return histogram

    def reset_events(self, names: list[bytes]) -> int:
        """Forget these events (none named: all); how many there were."""
        gone = [
            name for name in (names or list(self.events)) if self.events.pop(name, None) is not None
        ]
        return len(gone)


def cumulative(histogram: list[int]) -> list[tuple[int, int]]:
    """(microseconds, calls that took at most so long), for the buckets that hold something."""
    total, steps = 0, []
    for i, count in enumerate(histogram):
        if count:
            total += count
            steps.append((1 << i, total))
    return steps


def percentile(histogram: list[int], percent: float) -> int:
    """Microseconds that this share of the calls did not exceed, rounded up to a bucket's bound."""
    steps = cumulative(histogram)
    wanted = steps[-1][1] * percent / 100
    return next((bound for bound, total in steps if total >= wanted), steps[-1][0])
