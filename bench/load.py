"""One load on one server: redis-benchmark's figures and the server's CPU in the same seconds.

Decides: how redis-benchmark is called and read, how long a measurement lasts.
Must not know: which server it is or what is compared. redis-benchmark gives throughput and
latencies. CPU is the user and system time of the given processes, from /proc, for exactly the
interval of the load.
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.prepare import load_arguments, prepare

VALUE_BYTES = 100
KEYS = 100_000
KEYS_A_MSET = 10  # redis-benchmark's own MSET
ATTEMPTS = 3
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cell:
    """One row of the comparison."""

    test: str  # the name for redis-benchmark's -t
    clients: int
    pipeline: int
    where: str = "primary"  # or "replica": strong reads there

    @property
    def label(self) -> str:
        place = " at a replica" if self.where == "replica" else ""
        return (
            f"{self.test.upper()}{place}, {self.clients} "
            f"client{'s' if self.clients > 1 else ''}, pipeline {self.pipeline}"
        )


@dataclass
class Sample:
    """The result of one run of one cell. Latencies in milliseconds, CPU in microseconds a
    command.
    """

    rps: float
    p50: float
    p99: float
    maximum: float
    requests: int
    seconds: float
    cpu_us: float
    cpu_parts: dict[str, float] = field(default_factory=dict)  # by kind of process


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, without its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def benchmark(
    port: int, cell: Cell, requests: int, bound_s: float = 300.0
) -> tuple[dict[str, float], float]:
    """redis-benchmark's line, and the seconds it took, including its start."""
    args = [
        "redis-benchmark",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-c",
        str(cell.clients),
        "-P",
        str(cell.pipeline),
    ]
    args += [
        "-n",
        str(requests),
        "-d",
        str(VALUE_BYTES),
        "-r",
        str(KEYS),
        "--csv",
        "--precision",
        "3",
    ]
    args += load_arguments(cell.test) or ["-t", cell.test]
    for attempt in range(ATTEMPTS):
        begun = time.monotonic()
        done = subprocess.run(args, text=True, capture_output=True, timeout=bound_s, check=False)
        took = time.monotonic() - begun
        # It counts replies after the last request. If its quarter-second timer fires between the
        # last reply and the end, it wrongly reports that its clients were disconnected.
        if (
            done.returncode == 0
            or "All clients disconnected" not in done.stderr + done.stdout
            or attempt == ATTEMPTS - 1
        ):
            break
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(args)} ended with {done.returncode}: {done.stdout[-300:]} "
            f"{done.stderr[-300:]}"
        )
    return parse(done.stdout), took


def parse(text: str) -> dict[str, float]:
    """The one line of figures in redis-benchmark's CSV; anything else (an error reply) raises."""
    start = text.find('"test"')
    rows = list(csv.DictReader(io.StringIO(text[start:]))) if start >= 0 else []
    if len(rows) != 1:
        raise RuntimeError(f"redis-benchmark gave no line of figures: {text[-400:]!r}")
    return {name: float(value) for name, value in rows[0].items() if name != "test"}


def _prepare(port: int, cell: Cell, requests: int) -> None:
    """Prepare for more requests: redis-benchmark may send up to one extra pipeline a client."""
    prepare(port, cell.test, requests + cell.clients * cell.pipeline)


def calibrate(port: int, cell: Cell, target_s: float) -> int:
    """The number of requests that take about `target_s`."""
    requests = max(200, cell.clients * cell.pipeline * 4)
    while True:
        _prepare(port, cell, requests)
        row, _ = benchmark(port, cell, requests)
        seconds = requests / row["rps"]
        if seconds >= min(0.3, target_s / 4) or requests > 5_000_000:
            return max(cell.clients * cell.pipeline * 4, int(row["rps"] * target_s))
        requests = int(requests * min(20.0, max(2.0, 0.4 / max(seconds, 1e-3))))


def measure(port: int, cell: Cell, requests: int, pids: Mapping[str, list[int]]) -> Sample:
    """Measure one run. `pids` is by kind of process; their CPU is summed and shown separately."""
    _prepare(port, cell, requests)
    before = {kind: sum(cpu_seconds(pid) for pid in members) for kind, members in pids.items()}
    row, _ = benchmark(port, cell, requests)
    used = {
        kind: sum(cpu_seconds(pid) for pid in members) - before[kind]
        for kind, members in pids.items()
    }
    parts = {kind: seconds * 1e6 / requests for kind, seconds in used.items()}
    return Sample(
        row["rps"],
        row["p50_latency_ms"],
        row["p99_latency_ms"],
        row["max_latency_ms"],
        requests,
        requests / row["rps"],
        sum(parts.values()),
        parts,
    )
