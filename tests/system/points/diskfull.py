"""Disk full on one log node: writes continue. On two: writes stop as the table of outcomes says.
They continue when there is room again.

Decides: how a disk is filled: a small tmpfs mounted over the node's folder, and a filler file in it
(root is needed).
Must not know: when segments are made.
Invariant: `Cluster.stop` unmounts all mounted file systems.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

from tests.system import checks
from tests.system.client import Connection, ReplyError, ask
from tests.system.cluster import Cluster, Process
from tests.system.history import OK
from tests.system.results import Result
from tests.system.workload import Load, Plan

MIB = 1 << 20
BACK_BOUND_S = 3.0


def possible() -> bool:
    return os.geteuid() == 0


def small_disk(cluster: Cluster, node: Process, size_mib: int = 512) -> None:
    """Stop the node, move its folder onto a tmpfs mounted in the same place, start it."""
    assert node.data is not None
    cluster.kill(node)
    data = Path(node.data)
    aside = data.with_name(data.name + ".aside")
    shutil.copytree(data, aside)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(data)], check=True
    )
    cluster.mounts.append(data)
    shutil.copytree(aside, data, dirs_exist_ok=True)
    shutil.rmtree(aside)
    cluster.restart(node)


def fill(node: Process) -> Path:
    """Fill the disk until no byte is free."""
    assert node.data is not None
    filler = Path(node.data) / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(MIB))
        except OSError:
            pass
    return filler


async def _pour(cluster: Cluster, mib: int, refused: Counter[str]) -> None:
    """Write this number of MiB to make the log need new segments.
    End early when writes are no longer accepted.
    """
    address = (await asyncio.to_thread(cluster.wait_primary)).address
    connection = await Connection.open(address)
    value = "v" * 100_000
    try:
        for number in range(mib * MIB // len(value)):
            reply = await connection.call("SET", f"pour:{number % 20}", value, timeout=10)
            if isinstance(reply, ReplyError):
                refused[str(reply).split(" ")[0]] += 1
                return
    except (OSError, TimeoutError) as error:
        refused[type(error).__name__] += 1
    finally:
        connection.close()


async def on_one_and_two(cluster: Cluster, plan: Plan | None = None) -> Result:
    result = Result("disk full on one log node, then on two")
    if not possible():
        result.failures.append("needs root for a small mount")
        return result
    one, two = cluster.log_nodes()[1], cluster.log_nodes()[2]
    for node in (one, two):
        await asyncio.to_thread(small_disk, cluster, node)
        await asyncio.sleep(1.0)
    await _one(cluster, one, result, plan)
    await _two(cluster, one, two, result, plan)
    return result


async def _one(cluster: Cluster, one: Process, result: Result, plan: Plan | None) -> None:
    load = Load(cluster.addresses(), plan or Plan(clients=20, think_s=0.01), tag="full1:")
    await load.start()
    await load.wait_acknowledged(200, 20)
    filler = await asyncio.to_thread(fill, one)
    begun = time.monotonic()
    refused: Counter[str] = Counter()
    await _pour(cluster, 200, refused)
    await load.wait_acknowledged(200, 20)
    gap, _ = checks.longest_gap(load.history, begun, time.monotonic())
    said = (
        "disk full" in cluster.output(one.name).lower()
        or "disk full" in cluster.txlog("status", f"{one.host}:{one.port}").stdout.lower()
    )
    await load.finish()
    judgement = await asyncio.to_thread(
        checks.judge_at, cluster.wait_primary().address, load.history
    )
    problems = judgement.problems()
    if load.errors or refused or judgement.unknown:
        problems.append(f"errors with one disk full: {dict(load.errors)} {dict(refused)}")
    if not said:
        problems.append(
            f"{one.name} does not say that its disk is full (perhaps it was "
            f"not)\n{cluster.tail(one.name)}"
        )
    result.add({"full": one.name, "gap s": gap, "said so": said, **judgement.row()}, problems)
    filler.unlink()


async def _two(
    cluster: Cluster, one: Process, two: Process, result: Result, plan: Plan | None
) -> None:
    await asyncio.sleep(3.0)
    load = Load(cluster.addresses(), plan or Plan(clients=20, think_s=0.01), tag="full2:")
    await load.start()
    await load.wait_acknowledged(200, 20)
    fillers = [await asyncio.to_thread(fill, node) for node in (one, two)]
    refused: Counter[str] = Counter()
    await _pour(cluster, 400, refused)
    await asyncio.sleep(4.0)
    stopped_from = time.monotonic()
    await asyncio.sleep(2.0)
    still = sum(
        op.changes and op.outcome == OK and op.complete > stopped_from for op in load.history
    )
    told = Counter(op.detail.split(" ")[0] for op in load.history if op.outcome != OK)
    later = Counter(
        [await asyncio.to_thread(_first_word, process) for process in cluster.engines()]
    )
    for filler in fillers:
        filler.unlink()
    room = time.monotonic()
    await load.wait_acknowledged(200, 30)
    back = checks.first_acknowledged_after(load.history, room)
    await load.finish()
    judgement = await asyncio.to_thread(
        checks.judge_at, cluster.wait_primary().address, load.history
    )
    problems = judgement.problems()
    if still:
        problems.append(
            f"{still} writes were acknowledged with two disks full (or the disks were not full: "
            f"poured until {dict(refused)})"
        )
    if back is None or back > BACK_BOUND_S:
        problems.append(f"serving again {back} s after there was room")
    if set(later) != {"MASTERDOWN"}:
        problems.append(f"writes sent while two disks were full were told {dict(later)}")
    strange = set(told) - {
        "UNKNOWN",
        "MASTERDOWN",
        "READONLY",
        "TRYAGAIN",
        "LOADING",
        "closed:",
        "MOVED",
        "CLUSTERDOWN",
    }
    if strange:
        problems.append(f"clients were told {dict(told)}")
    result.add(
        {
            "full": f"{one.name}+{two.name}",
            "acked while full": still,
            "serving again s": back or -1.0,
            "told": dict(told),
            "told later": dict(later),
            **judgement.row(),
        },
        problems,
    )


def _first_word(process: Process) -> str:
    try:
        return str(ask(process.address, "SET", "while full", "x", timeout=5)).split(" ")[0]
    except OSError as error:
        return type(error).__name__
