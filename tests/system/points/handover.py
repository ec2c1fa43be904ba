"""`MEMSTORE HANDOVER` under load: planned, and clients get only redirections.

Decides: which answers clients may get.
Must not know: how the hand-over is made.
"""

from __future__ import annotations

import asyncio
import time

from tests.system import checks
from tests.system.client import ReplyError, ask
from tests.system.cluster import Cluster
from tests.system.history import OK, REFUSED, UNKNOWN
from tests.system.results import Result
from tests.system.workload import Load, Plan

GAP_BOUND_S = 0.3
ALLOWED = {"READONLY", "MOVED"}


async def under_load(cluster: Cluster, runs: int, plan: Plan | None = None) -> Result:
    """One load with `runs` hand-overs; judged as a whole at the end."""
    result = Result(
        f"MEMSTORE HANDOVER under {(plan or Plan()).clients} writing clients, {runs} times"
    )
    load = Load(cluster.addresses(), plan or Plan(), tag="h:")
    await load.start()
    await load.wait_acknowledged(500, 30)
    windows = []
    for _ in range(runs):
        old = await asyncio.to_thread(cluster.wait_primary)
        begun = time.monotonic()
        reply = await asyncio.to_thread(_handover, old.address)
        new = await asyncio.to_thread(cluster.wait_primary, 15.0, old.name)
        await load.wait_acknowledged(200, 15)
        await asyncio.sleep(0.7)
        windows.append((begun, time.monotonic(), old.name, new.name, reply))
    await load.finish()
    address = cluster.wait_primary().address
    judgement = await asyncio.to_thread(checks.judge_at, address, load.history)
    for begun, ended, old_name, new_name, reply in windows:
        gap, _ = checks.longest_gap(load.history, begun - 0.05, ended)
        during = [op for op in load.history if begun <= op.complete <= ended]
        refusals = {op.detail.split(" ")[0] for op in during if op.outcome == REFUSED}
        unknown = sum(op.outcome == UNKNOWN for op in during)
        problems = []
        if gap > GAP_BOUND_S:
            problems.append(f"gap of {gap * 1000:.0f} ms")
        if refusals - ALLOWED:
            problems.append(f"clients were told {sorted(refusals)}")
        if unknown:
            details = sorted({op.detail for op in during if op.outcome == UNKNOWN})
            problems.append(f"{unknown} outcomes unknown: {details[:3]}")
        acked = sum(op.outcome == OK and op.changes for op in during)
        row = {
            "from": old_name,
            "to": new_name,
            "reply": reply,
            "gap ms": gap * 1000,
            "acked": acked,
        }
        result.add(
            {
                **row,
                "refused": sum(op.outcome == REFUSED for op in during),
                "unknown": unknown,
                "told": ",".join(sorted(refusals)),
            },
            problems,
        )
    result.notes.append(f"whole load: {judgement.row()}")
    result.notes.append(
        f"closed with a command outstanding: {load.closed_outstanding}; closed idle: "
        f"{load.closed_idle}; errors {dict(load.errors)}"
    )
    result.failures += judgement.problems()
    result.require(
        load.closed_outstanding == 0,
        f"{load.closed_outstanding} connections were closed with a command outstanding",
    )
    return result


def _handover(address: tuple[str, int]) -> str:
    try:
        reply = ask(address, "MEMSTORE", "HANDOVER", timeout=15)
    except OSError as error:
        return f"({error or type(error).__name__})"
    return (
        str(reply)
        if isinstance(reply, ReplyError)
        else reply.decode()
        if isinstance(reply, bytes)
        else str(reply)
    )
