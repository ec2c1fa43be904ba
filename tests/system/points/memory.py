"""Memory of a million string keys beside redis-server, and a long soak over five million.

Decides: what is loaded and measured.
Must not know: how values are kept. Growth is the process' resident memory (VmRSS) after the load
minus before it. For the longest turns of the loop, the time in which the machine stood still
(`standstill`) is reported separately, as a hint. The bound is on the whole turn.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.system import bulk
from tests.system.client import ask, info
from tests.system.cluster import Cluster, PlainRedis, alive, wait_until
from tests.system.points.busy import RoleWatch, term
from tests.system.results import Result
from tests.system.standstill import Standstill

RATIO_BOUND = 1.5
TURN_BOUND_MS = 50.0
BEAT_MS = 5.0  # the period of the watch of the turns


def resident(pid: int) -> int:
    """The VmRSS of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no VmRSS of process {pid}")


def growth(cluster: Cluster, count: int = 1_000_000) -> Result:
    result = Result(f"memory of {count} string keys, 20-byte names, 100-byte values")
    with PlainRedis("--appendonly", "no") as redis:
        assert redis.child is not None
        before = resident(redis.child.pid)
        bulk.load(redis.addresses()[0], count)
        theirs = resident(redis.child.pid) - before
        result.rows.append(
            {
                "process": "redis-server",
                "grew MiB": theirs / (1 << 20),
                "bytes a key": theirs / count,
                "ratio": 1.0,
            }
        )
    primary = cluster.wait_primary()
    engines = cluster.engines()
    at_start = {p.name: resident(p.pid) for p in engines}
    size_before = int(ask(primary.address, "DBSIZE"))
    took = bulk.load(primary.address, count)
    result.notes.append(f"loaded in {took:.1f} s ({count / took:.0f} keys/s)")
    for process in engines:
        wait_until(
            f"{process.name} has applied the load",
            lambda process=process: _size(process.address) >= size_before + count,
            120,
        )
    time.sleep(1.0)
    for process in engines:
        ours = resident(process.pid) - at_start[process.name]
        role = "primary" if process.name == primary.name else "replica"
        row = {
            "process": f"{process.name} ({role})",
            "grew MiB": ours / (1 << 20),
            "bytes a key": ours / count,
            "ratio": ours / theirs,
        }
        result.add(
            row,
            [f"{process.name} grew {ours / theirs:.2f} times as much as redis-server"]
            if ours > RATIO_BOUND * theirs
            else [],
        )
    return result


def _size(address: tuple[str, int]) -> int:
    reply = ask(address, "DBSIZE", timeout=10)
    return reply if isinstance(reply, int) else -1


@dataclass
class Turn:
    """The longest turn of the loop in a second."""

    ms: float
    own_ms: float
    ended_ms: int
    commands: int
    still_ms: float = 0.0


def soak(cluster: Cluster, seconds: float = 600.0, count: int = 5_000_000) -> Result:
    """Run 50 clients at pipeline 16, half of them SET and half GET, on `count` keys."""
    result = Result(f"soak: {count} keys, 50 clients, pipeline 16, {seconds:g} s")
    primary = cluster.wait_primary()
    took = bulk.load(primary.address, count)
    result.notes.append(f"loaded {count} keys in {took:.1f} s ({count / took:.0f} keys/s)")
    before_term = term(cluster, primary.name)
    turn_load = _next_turn(primary.address).ms
    turns: list[Turn] = []
    with Standstill(BEAT_MS) as standstill, RoleWatch(cluster) as watch:
        loads = [
            _benchmark(cluster, primary.address, command, count, tag)
            for command, tag in (
                (["SET", "key:0000__rand_int__", "y" * 100], "set"),
                (["GET", "key:0000__rand_int__"], "get"),
            )
        ]
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            time.sleep(1.0)
            turns.append(_next_turn(primary.address))
            ended = [load.poll() for load in loads if load.poll() is not None]
            if ended or not alive(primary.pid):
                result.failures.append(
                    f"the load ended early with {ended}; {cluster.tail('soak-set')} "
                    f"{cluster.tail('soak-get')}"
                )
                break
        ran = time.monotonic() - begun
        for load in loads:
            load.kill()
            load.wait()
    after = cluster.wait_primary()
    for turn in turns:
        turn.still_ms = standstill.within(turn.ended_ms - turn.ms - BEAT_MS, turn.ended_ms)
    longest = max(turns, key=lambda turn: turn.ms)
    others = {name: n for name, n in watch.masters.items() if name != primary.name}
    problems = []
    if after.name != primary.name or others or term(cluster, after.name) != before_term:
        problems.append(
            f"the role moved: {primary.name} -> {after.name}, seen as master elsewhere {others}, "
            f"term {before_term} -> {term(cluster, after.name)}"
        )
    if longest.ms >= TURN_BOUND_MS:
        problems.append(
            f"longest turn of the loop {longest.ms:.1f} ms, of which the machine stood still "
            f"{longest.still_ms:.1f}"
        )
    row = {
        "ran s": ran,
        "longest turn ms": longest.ms,
        "of it standstill": longest.still_ms,
        "own work": longest.own_ms,
        "longest beside standstill": max(turn.ms - turn.still_ms for turn in turns),
        f"seconds with one >= {TURN_BOUND_MS:g} ms": sum(
            turn.ms >= TURN_BOUND_MS for turn in turns
        ),
        "while loading ms": turn_load,
        "commands": sum(turn.commands for turn in turns),
        "role changes": len(others),
    }
    result.add({**row, "rss MiB": resident(primary.pid) / (1 << 20)}, problems)
    result.notes.append(standstill.summary())
    return result


def _next_turn(address: tuple[str, int]) -> Turn:
    """The longest turn of the event loop since the previous call."""
    fields = info(address, timeout=10)
    ask(address, "CONFIG", "RESETSTAT", timeout=10)
    own_us, commands = (
        int(fields["longest_loop_turn_cpu_usec"]),
        int(fields["total_commands_processed"]),
    )
    return Turn(
        int(fields["longest_loop_turn_usec"]) / 1000,
        own_us / 1000,
        int(fields["longest_loop_turn_at_ms"]),
        commands,
    )


def _benchmark(
    cluster: Cluster, address: tuple[str, int], command: list[str], count: int, tag: str
) -> subprocess.Popen[bytes]:
    args = [
        "redis-benchmark",
        "-h",
        address[0],
        "-p",
        str(address[1]),
        "-c",
        "25",
        "-P",
        "16",
        "-r",
        str(count),
        "-n",
        "1000000000",
        "-q",
        *command,
    ]
    return cluster.spawn(args, f"soak-{tag}")
