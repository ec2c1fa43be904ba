"""strace of single SETs: each reply leaves after a covering fdatasync on two log nodes.

Decides: what is traced and how many SETs.
Must not know: how to read a recording (`strace_check`).
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from tests.system import strace_check
from tests.system.client import Blocking
from tests.system.cluster import Cluster, alive, wait_until
from tests.system.results import Result


def traced_sets(cluster: Cluster, count: int = 1000) -> Result:
    result = Result(f"strace of {count} single SETs: synced on two log nodes before each reply")
    primary = cluster.wait_primary()
    traced = {primary.pid: "primary", **{node.pid: node.name for node in cluster.log_nodes()}}
    recording = cluster.root / "strace.txt"
    command = [*strace_check.STRACE, "-o", str(recording)]
    for pid in traced:
        command += ["-p", str(pid)]
    with Blocking(primary.address, timeout=30.0) as connection:
        connection.call("SET", "before", "tracing")
        with (cluster.root / "strace.err").open("wb") as err:
            tracer = subprocess.Popen(command, stdout=err, stderr=err, start_new_session=True)
        try:
            wait_until("strace is attached to all", lambda: all(_traced(pid) for pid in traced), 20)
            time.sleep(0.2)
            values = [f"needle-{cluster.token[:6]}-{n:06d}." for n in range(count)]
            begun = time.monotonic()
            refused = sum(
                connection.call("SET", f"traced:{n % 10}", value) != b"OK"
                for n, value in enumerate(values)
            )
            took = time.monotonic() - begun
            time.sleep(0.3)
            node_of = {
                int(task.name): name
                for pid, name in traced.items()
                for task in Path(f"/proc/{pid}/task").iterdir()
            }
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
    with recording.open(errors="replace") as lines:
        found = strace_check.verdict(strace_check.journeys(lines, values, node_of))
    problems = list(found.early[:5])
    if found.answered != count:
        problems.append(
            f"{count - found.answered} replies were not found in the recording ({recording})"
        )
    if refused:
        problems.append(f"{refused} SETs were not answered with OK")
    if not all(alive(pid) for pid in traced):
        problems.append("a traced process died")
    counts = {f"on {nodes} nodes": found.covered.get(nodes, 0) for nodes in range(4)}
    result.add(
        {
            "SETs": count,
            "replies": found.answered,
            "early": len(found.early),
            **counts,
            "seconds": took,
        },
        problems,
    )
    return result


def _traced(pid: int) -> bool:
    """Whether every thread has a tracer."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)
