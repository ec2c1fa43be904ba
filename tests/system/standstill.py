"""The times at which the machine itself stood still.

A hypervisor may stop a guest for tens of milliseconds. That is not an error of the product, but it
looks like a long turn of the loop.

Decides: what counts as a standstill.
Must not know: which process is measured. One watcher on each processor runs before every ordinary
process (SCHED_FIFO) and sleeps two milliseconds again and again. When it wakes much later, nothing
ran there meanwhile. Only time that all watchers missed together counts: if one processor alone
stood still, the other could have done the work. Without the right to that priority nothing is seen.
Runs as a program too: `python -m tests.system.standstill` prints the standstills of the machine
until it is stopped.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

PERIOD_S = 0.002
LATE_MS = 2.0  # beyond the period; smaller delays are normal for the kernel
Span = tuple[float, float]  # from, to, in milliseconds of unix time


class Standstill:
    """The standstills of the machine. ``least_ms``: `summary` leaves out shorter ones."""

    def __init__(self, least_ms: float) -> None:
        self.least_ms = least_ms
        self.spans: list[Span] = []
        self._watchers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Standstill:
        for cpu in sorted(os.sched_getaffinity(0)):
            self._watchers.append(
                subprocess.Popen(
                    [sys.executable, __file__, str(cpu)], stdout=subprocess.PIPE, text=True
                )
            )
        return self

    def __exit__(self, *exc: object) -> None:
        seen: list[list[Span]] = []
        for watcher in self._watchers:
            watcher.terminate()
            text, _ = watcher.communicate(timeout=10)
            pairs = [line.split() for line in text.splitlines()]
            seen.append([(float(a), float(b)) for a, b in pairs])
        self.spans = in_all(seen)

    def within(self, start_ms: float, end_ms: float) -> float:
        """Milliseconds of standstill in this time span."""
        return sum(max(0.0, min(b, end_ms) - max(a, start_ms)) for a, b in self.spans)

    def summary(self) -> str:
        lengths = [b - a for a, b in self.spans if b - a >= self.least_ms]
        longest = max(lengths, default=0.0)
        return (
            f"the machine stood still {len(lengths)} times for {self.least_ms:g} ms or more: "
            f"{sum(lengths):.0f} ms in all, {longest:.1f} ms at most"
        )


def in_all(seen: list[list[Span]]) -> list[Span]:
    """The times that lie in a span of every list; the lists are in order."""
    common = seen[0] if seen else []
    for spans in seen[1:]:
        both: list[Span] = []
        i = k = 0
        while i < len(common) and k < len(spans):
            a, b = max(common[i][0], spans[k][0]), min(common[i][1], spans[k][1])
            if a < b:
                both.append((a, b))
            if common[i][1] < spans[k][1]:
                i += 1
            else:
                k += 1
        common = both
    return common


def watch(cpu: int) -> None:
    """Print the spans in which nothing ran on this processor, until the process is ended."""
    os.sched_setaffinity(0, {cpu})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    except PermissionError:
        time.sleep(1e9)  # nothing can be measured
    before = time.time()
    while True:
        time.sleep(PERIOD_S)
        now = time.time()
        if (now - before - PERIOD_S) * 1000 > LATE_MS:
            print(f"{(before + PERIOD_S) * 1000:.3f} {now * 1000:.3f}", flush=True)
        before = now


def main() -> None:
    if len(sys.argv) > 1:
        watch(int(sys.argv[1]))
    with Standstill(LATE_MS) as standstill, contextlib.suppress(KeyboardInterrupt):
        time.sleep(1e9)
    for start, end in standstill.spans:
        print(f"{start:.1f} {end - start:.1f} ms")
    print(standstill.summary())


if __name__ == "__main__":
    main()
