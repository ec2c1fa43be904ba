"""The comparison: every cell on both servers, alternately, several times.

Decides: the cells and their order.
Must not know: how a figure is made (`load`) or shown (`report`). Each run goes through all cells.
Within a cell the two servers run directly one after the other, and the first one changes from run
to run. So a slow minute of the machine affects both. Both servers run during the whole bench. The
CPU use of the idle servers is measured and shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench import load
from bench.load import KEYS, Cell, Sample, calibrate, cpu_seconds
from bench.prepare import COLLECTIONS
from bench.servers import Ours, Redis
from tests.system.client import Blocking

TESTS = ["get", "set", "incr", "mset"]
GROUPS = {"plain": TESTS, "collections": COLLECTIONS}
CLIENTS = [1, 50, 200]
COLLECTION_CLIENTS = [50]
PIPELINES = [1, 16]
IDLE_S = 3.0


@dataclass
class Options:
    runs: int = 5
    seconds: float = 2.0  # of one measurement, approximately
    tests: list[str] = field(default_factory=lambda: list(TESTS))
    # if empty: CLIENTS, and COLLECTION_CLIENTS for the collections
    clients: list[int] = field(default_factory=list)
    pipelines: list[int] = field(default_factory=lambda: list(PIPELINES))
    replica: bool = True  # also measure strong reads at a replica


@dataclass
class Report:
    """All results. `samples[cell][server]` has one sample a run."""

    options: Options
    samples: dict[Cell, dict[str, list[Sample]]]
    idle_cpu: dict[str, float]  # share of one core, by server
    versions: dict[str, str]
    began: float
    seconds: float


def cells(options: Options) -> list[Cell]:
    def clients_of(test: str) -> list[int]:
        return options.clients or (COLLECTION_CLIENTS if test in COLLECTIONS else CLIENTS)

    found = [
        Cell(test, clients, pipeline)
        for test in options.tests
        for clients in clients_of(test)
        for pipeline in options.pipelines
    ]
    if options.replica and "get" in options.tests:
        found += [
            Cell("get", clients, pipeline, "replica")
            for clients in clients_of("get")
            for pipeline in options.pipelines
        ]
    return found


def measure(
    options: Options, say: Callable[[str], None] = print, ours: Ours | None = None
) -> Report:
    """`ours` may be another server of the same form: the bench's own test compares redis-server
    with itself.
    """
    began, clock = time.time(), time.monotonic()
    table = cells(options)
    samples: dict[Cell, dict[str, list[Sample]]] = {
        cell: {Ours.name: [], Redis.name: []} for cell in table
    }
    with Redis() as redis, ours or Ours() as ours:
        servers: list[Ours | Redis] = [ours, redis]
        for server in servers:
            fill(server)
        idle = {server.name: _idle(server) for server in servers}
        say(f"idle: {cores_used(idle)}")
        requests = {
            (cell, server.name): calibrate(server.port(cell.where), cell, options.seconds)
            for cell in table
            for server in servers
        }
        for run in range(options.runs):
            for number, cell in enumerate(table):
                order = servers if (run + number) % 2 == 0 else servers[::-1]
                for server in order:
                    sample = load.measure(
                        server.port(cell.where), cell, requests[cell, server.name], server.pids()
                    )
                    samples[cell][server.name].append(sample)
                a, b = samples[cell][Ours.name][-1], samples[cell][Redis.name][-1]
                say(
                    f"run {run + 1}/{options.runs}  {cell.label:<44} {a.rps:>9.0f} / "
                    f"{b.rps:>9.0f} rps = {a.rps / b.rps:.2f}   p50 {a.p50:.3f} / {b.p50:.3f} ms"
                )
            ours.check()
        versions = {**ours.versions(), **redis.versions()}
    return Report(options, samples, idle, versions, began, time.monotonic() - clock)


def fill(server: Ours | Redis) -> None:
    """Set all keys that GET asks for (redis-benchmark's names: `key:` and 12 digits)."""
    with Blocking(("127.0.0.1", server.port("primary")), timeout=60.0) as connection:
        for start in range(0, KEYS, 500):
            command: list[object] = ["MSET"]
            for number in range(start, start + 500):
                command += [f"key:{number:012d}", "x" * 100]
            reply = connection.call(*command)
            assert reply == b"OK", reply


def cores_used(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share * 100:.1f} % of a core" for name, share in shares.items())


def _idle(server: Ours | Redis) -> float:
    pids = [pid for members in server.pids().values() for pid in members]
    before = sum(cpu_seconds(pid) for pid in pids)
    time.sleep(IDLE_S)
    return (sum(cpu_seconds(pid) for pid in pids) - before) / IDLE_S
