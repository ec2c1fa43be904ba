"""kill -9 under 50 writing clients: of the primary, of each log node, of all processes at once.

Decides: which process to kill, when, and what the result must be.
Must not know: how roles or quorums work.
"""

from __future__ import annotations

import asyncio
import time

from tests.system import checks
from tests.system.client import ReplyError, ask
from tests.system.cluster import Cluster, Process, wait_until
from tests.system.results import Result
from tests.system.workload import Load, Plan

NEW_PRIMARY_BOUND_S = 3.0
LOG_NODE_GAP_S = 0.2
WARM_WRITES = 500


# runs a blocking helper of Cluster outside the load's loop
async def _in_thread(function, *args):  # type: ignore[no-untyped-def]
    return await asyncio.to_thread(function, *args)


async def primary(cluster: Cluster, runs: int, plan: Plan | None = None) -> Result:
    """No acknowledged write is lost; writes continue at a new primary within 3 s."""
    result = Result(f"kill -9 of the primary under {(plan or Plan()).clients} writing clients")
    for run in range(runs):
        load = Load(cluster.addresses(), _plan(plan, run), tag=f"p{run}:")
        await load.start()
        await load.wait_acknowledged(WARM_WRITES, 30)
        old = await _in_thread(cluster.wait_primary)
        killed = time.monotonic()
        await _in_thread(cluster.kill, old)
        new = await _in_thread(cluster.wait_primary, 30.0, old.name)
        await load.wait_acknowledged(WARM_WRITES, 30)
        await load.finish()
        first = checks.first_acknowledged_after(load.history, killed, not_node=old.port)
        gap, _ = checks.longest_gap(load.history, load.started, load.ended)
        judgement = await _in_thread(checks.judge_at, new.address, load.history)
        problems = judgement.problems()
        if first is None or first > NEW_PRIMARY_BOUND_S:
            problems.append(
                f"the first write at {new.name} was acknowledged {first} s after the kill of "
                f"{old.name}"
            )
        result.add(
            {
                "killed": old.name,
                "new": new.name,
                "first ack s": first or -1.0,
                "gap s": gap,
                **judgement.row(),
            },
            problems,
        )
        await _in_thread(_back, cluster, old)
    return result


def _plan(plan: Plan | None, run: int) -> Plan:
    made = Plan(**vars(plan)) if plan is not None else Plan(replica_readers=4)
    made.seed = run + 1
    return made


def _back(cluster: Cluster, dead: Process) -> None:
    """Start the dead engine node again, and wait until it follows the log."""
    started = cluster.restart(dead)
    cluster.wait_answers(started)
    wait_until(f"{dead.name} is a replica or primary and reads", lambda: _reads(started), 30)


def _reads(process: Process) -> bool:
    try:
        return not isinstance(ask(process.address, "GET", "no such key", timeout=3), ReplyError)
    except OSError:
        return False


async def log_node(cluster: Cluster, runs: int, plan: Plan | None = None) -> Result:
    """No error at all, no gap above 200 ms, and the node catches up after its restart."""
    result = Result(f"kill -9 of a log node under {(plan or Plan()).clients} writing clients")
    names = [node.name for node in cluster.log_nodes()]
    for run in range(runs):
        node = cluster.process(names[run % len(names)])
        before = await _in_thread(cluster.wait_primary)
        load = Load(cluster.addresses(), _plan(plan, run), tag=f"l{run}:")
        await load.start()
        await load.wait_acknowledged(WARM_WRITES, 30)
        killed = time.monotonic()
        await _in_thread(cluster.kill, node)
        await asyncio.sleep(1.0)
        gap, _ = checks.longest_gap(load.history, killed - 0.1, time.monotonic())
        await _in_thread(cluster.restart, node)
        restarted = time.monotonic()
        caught_up = await _in_thread(_caught_up, cluster, node.name)
        gap_back, _ = checks.longest_gap(load.history, restarted, time.monotonic())
        await load.finish()
        after = await _in_thread(cluster.wait_primary)
        judgement = await _in_thread(checks.judge_at, after.address, load.history)
        problems = judgement.problems()
        if load.errors or judgement.unknown or judgement.refused:
            problems.append(
                f"errors were seen: {dict(load.errors)}, unknown {judgement.unknown}, refused "
                f"{judgement.refused}"
            )
        if max(gap, gap_back) > LOG_NODE_GAP_S:
            problems.append(
                f"gap of {gap * 1000:.0f} ms after the kill, {gap_back * 1000:.0f} ms after the "
                "restart"
            )
        if caught_up is None:
            problems.append(f"{node.name} did not catch up\n{cluster.tail(node.name)}")
        if before.name != after.name:
            problems.append(f"the primary changed from {before.name} to {after.name}")
        row = {
            "killed": node.name,
            "gap ms": gap * 1000,
            "gap at return ms": gap_back * 1000,
            "caught up s": -1.0 if caught_up is None else caught_up,
        }
        result.add({**row, "errors": sum(load.errors.values()), **judgement.row()}, problems)
    return result


def last_positions(cluster: Cluster) -> dict[str, int]:
    """Each log node's last position by `txlog status`; nodes that do not answer are missing."""
    return {name: row.last for name, row in cluster.log_status().items() if row.last >= 0}


def _caught_up(cluster: Cluster, name: str, bound_s: float = 30.0) -> float | None:
    """Seconds until the node's last position reaches what the others held at the call."""
    start = time.monotonic()
    while time.monotonic() - start < bound_s:
        positions = last_positions(cluster)
        others = [p for other, p in positions.items() if other != name]
        if name in positions and others and positions[name] >= min(others) - 50:
            return time.monotonic() - start
        time.sleep(0.1)
    return None


async def everything(cluster: Cluster, runs: int, plan: Plan | None = None) -> Result:
    """Kill all six at once and start them by their own commands: no acknowledged write is lost."""
    result = Result(
        f"kill -9 of all six processes at once under {(plan or Plan()).clients} writing clients"
    )
    for run in range(runs):
        load = Load(cluster.addresses(), _plan(plan, run), tag=f"a{run}:")
        await load.start()
        await load.wait_acknowledged(WARM_WRITES, 30)
        everyone = cluster.processes()
        await _in_thread(cluster.kill, *everyone)
        load.stopping = True
        for process in everyone:
            await _in_thread(cluster.restart, process)
        begun = time.monotonic()
        new = await _in_thread(cluster.wait_primary, 30.0)
        back = time.monotonic() - begun
        await load.finish()
        judgement = await _in_thread(checks.judge_at, new.address, load.history)
        again = Load(cluster.addresses(), _plan(plan, run + 1000), tag=f"b{run}:")
        await again.start()
        await again.wait_acknowledged(200, 30)
        await again.finish()
        result.add(
            {"primary": new.name, "primary again s": back, **judgement.row()}, judgement.problems()
        )
        for process in cluster.engines():
            await _in_thread(cluster.wait_answers, process)
    return result
