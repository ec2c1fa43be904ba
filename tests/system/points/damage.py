"""Rot and loss on the log nodes' disks.

Flipped bytes are found and restored, proven loss is refused, an emptied folder does not vote.

Decides: where bytes are flipped and what the result must be.
Must not know: the file format. It finds a place by the bytes of a value written there, or at random
among the used bytes. `txlog verify` judges besides the recorded history.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import time
from pathlib import Path

from tests.system import checks
from tests.system.client import ReplyError, ask
from tests.system.cluster import Cluster, Process, alive, wait_until
from tests.system.history import Operation
from tests.system.points.kills import last_positions
from tests.system.results import Result
from tests.system.workload import Load, Plan

CAUGHT_UP_S = 30.0


def segments(node: Process) -> list[Path]:
    assert node.data is not None
    return sorted(Path(node.data).glob("**/*.seg"))


def used_bytes(path: Path) -> int:
    """The number of bytes up to the last that is not zero: segments are allocated ahead."""
    return len(path.read_bytes().rstrip(b"\0"))


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of one byte, in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def find_bytes(node: Process, needle: bytes) -> tuple[Path, int]:
    for path in segments(node):
        offset = path.read_bytes().find(needle)
        if offset >= 0:
            return path, offset
    raise AssertionError(f"{node.name} holds no {needle!r}")


def verify(cluster: Cluster, node: Process) -> tuple[int, str]:
    """Run `txlog verify` on every log folder of a stopped node: exit code and output."""
    assert node.data is not None
    done = cluster.txlog("verify", node.data)
    return done.returncode, (done.stdout + done.stderr).strip()


def _status(cluster: Cluster) -> str:
    return cluster.txlog(
        "status", *[f"{p.host}:{p.port}" for p in cluster.log_nodes() if alive(p.pid)], bound_s=20
    ).stdout


async def _some_load(cluster: Cluster, writes: int, tag: str) -> list[Operation]:
    load = Load(cluster.addresses(), Plan(clients=20, think_s=0.002), tag=tag)
    await load.start()
    await load.wait_acknowledged(writes, 60)
    await load.finish()
    return load.history


async def flipped_bytes(cluster: Cluster, places: int = 50, seed: int = 1) -> Result:
    """For one node after the other: stop it, flip one bit at a random used place, start it.
    Then wait until it is whole again, stop, verify, start.
    """
    result = Result(f"one flipped bit in one log node's segments, at {places} random places")
    rng = random.Random(seed)
    history = await _some_load(cluster, 2000, "flip:")
    for place in range(places):
        node = cluster.process(f"log-{'abc'[place % 3]}")
        row, problems = await asyncio.to_thread(_one_flip, cluster, node, rng)
        history += await _some_load(cluster, 30, f"flip{place}:")
        result.add(row, problems)
    judgement = await asyncio.to_thread(checks.judge_at, cluster.wait_primary().address, history)
    result.failures += judgement.problems()
    result.notes.append(f"history: {judgement.row()}")
    return result


def _one_flip(
    cluster: Cluster, node: Process, rng: random.Random
) -> tuple[dict[str, object], list[str]]:
    cluster.terminate(node)
    sizes = [(path, used_bytes(path)) for path in segments(node)]
    path, used = rng.choices(sizes, weights=[size for _, size in sizes])[0]
    offset, bit = rng.randrange(used), rng.randrange(8)
    whole = path.read_bytes()[:used]
    flip(path, offset, bit)
    found, told = verify(cluster, node)
    names = path.name in told
    before = len(cluster.output(node.name))
    cluster.restart(node)
    back_in = _whole_again(cluster, node)
    cluster.terminate(node)
    mended, told_after = verify(cluster, node)
    same = path.exists() and path.read_bytes()[offset : offset + 1] == whole[offset : offset + 1]
    cluster.restart(node)
    wait_until(
        f"{node.name} is back\n{cluster.tail(node.name)}",
        lambda: node.name in last_positions(cluster),
        CAUGHT_UP_S,
    )
    problems = []
    where = f"{node.name} {path.name} byte {offset} of {used}, bit {bit}"
    if found != 1 or not names:
        problems.append(f"{where}: `txlog verify` did not find it (exit {found}): {told[-300:]}")
    if back_in is None:
        problems.append(
            f"{where}: the node was not whole again\n{cluster.output(node.name)[before:][-1500:]}"
        )
    if mended != 0:
        problems.append(
            f"{where}: `txlog verify` is not clean after the put-back (exit {mended}): "
            f"{told_after[-300:]}"
        )
    row = {
        "node": node.name,
        "byte": offset,
        "of": used,
        "verify found": found == 1,
        "back in s": -1.0 if back_in is None else back_in,
    }
    return {**row, "verify clean": mended == 0, "byte restored": same}, problems


def _whole_again(cluster: Cluster, node: Process) -> float | None:
    """Seconds until the node holds what the others hold and `txlog status` calls it good."""
    start = time.monotonic()
    while time.monotonic() - start < CAUGHT_UP_S:
        rows = cluster.log_status()
        furthest = max((row.last for row in rows.values()), default=0)
        if (
            node.name in rows
            and rows[node.name].last >= furthest - 20
            and rows[node.name].state == "good"
        ):
            return time.monotonic() - start
        time.sleep(0.1)
    return None


def everywhere(cluster: Cluster) -> Result:
    """The same proven entry is rotten on all three: the log refuses to serve and names the
    position.
    The cluster is of no use afterwards.
    """
    result = Result("the same proven entry flipped on all three log nodes")
    primary = cluster.wait_primary()
    needle = f"needle-{cluster.token}".encode()
    for n in range(300):
        ask(primary.address, "SET", f"earlier:{n}", "x")
    assert ask(primary.address, "SET", "needle", needle) == b"OK"
    for n in range(50):
        ask(primary.address, "SET", f"later:{n}", "x")
    time.sleep(0.5)
    nodes = cluster.log_nodes()
    for process in cluster.engines():
        cluster.kill(process)
    for node in nodes:
        cluster.terminate(node)
    for node in nodes:
        path, offset = find_bytes(node, needle)
        flip(path, offset + 3, 2)
    before = {node.name: len(cluster.output(node.name)) for node in nodes}
    positions = {node.name: verify(cluster, node) for node in nodes}
    for node in nodes:
        cluster.restart(node)
    time.sleep(4.0)
    for process in cluster.engines():
        cluster.restart(process)
    time.sleep(6.0)
    said = {
        node.name: cluster.output(node.name)[before[node.name] :] + _status(cluster)
        for node in nodes
    }
    number = _position(positions[nodes[0].name][1])
    names = re.compile(rf"position\W+{number}\b")
    naming = sum(names.search(text) is not None for text in said.values()) if number else 0
    served = [p.name for p in cluster.engines() if _serves(p)]
    problems = []
    if not number:
        problems.append(f"`txlog verify` names no position: {positions}")
    if any(code != 1 for code, _ in positions.values()):
        problems.append(f"`txlog verify` did not find it everywhere: {positions}")
    if naming == 0:
        problems.append(
            f"no log node names position {number}: {[text[-400:] for text in said.values()]}"
        )
    if served:
        problems.append(f"{served} serve although a proven entry is lost")
    result.notes.append(f"`txlog verify`: {positions[nodes[0].name][1][:200]}")
    result.notes.append(
        f"`txlog status`: {' / '.join(row.state for row in cluster.log_status().values())[:400]}"
    )
    result.notes.append(f"an engine node: {_told(cluster.engines()[0])}")
    result.add(
        {"position": number, "nodes naming it": naming, "engines serving": len(served)}, problems
    )
    return result


def _position(text: str) -> str:
    match = re.search(r"position\W+(\d+)", text)
    return match[1] if match else ""


def _serves(process: Process) -> bool:
    try:
        reply = ask(process.address, "SET", "does it", "serve", timeout=2)
        read = ask(process.address, "GET", "needle", timeout=2)
    except OSError:
        return False
    return reply == b"OK" or not isinstance(read, ReplyError)


def _told(process: Process) -> str:
    try:
        return str(ask(process.address, "GET", "needle", timeout=3))
    except OSError as error:
        return f"({error})"


def empty_folder(cluster: Cluster) -> Result:
    """A wiped node under its old name must not help to elect or to commit.
    With it and one good node there is no majority.
    """
    result = Result("an empty folder under an old node's name does not vote")
    primary = cluster.wait_primary()
    assert ask(primary.address, "SET", "kept", "yes") == b"OK"
    wiped, stopped = cluster.process("log-a"), cluster.process("log-b")
    cluster.kill(wiped)
    assert wiped.data is not None
    shutil.rmtree(wiped.data)
    cluster.restart(wiped)
    time.sleep(1.0)
    with_two = ask(primary.address, "SET", "with two", "yes", timeout=5)
    cluster.kill(stopped)
    time.sleep(cluster.lease_ms / 1000 * 2.5)
    written = 0
    for process in cluster.engines():
        try:
            written += ask(process.address, "SET", "with one", "no", timeout=3) == b"OK"
        except OSError:
            continue
    masters = [p.name for p in cluster.engines() if cluster.role(p) == "master"]
    cluster.restart(stopped)
    after = cluster.wait_primary(20.0)
    wait_until(
        "writes go on with the majority",
        lambda: ask(after.address, "SET", "after", "yes", timeout=5) == b"OK",
        10,
    )
    kept = ask(after.address, "GET", "kept", timeout=5)
    problems = []
    if with_two != b"OK":
        problems.append(f"two good nodes did not suffice: {with_two!r}")
    if written or masters:
        problems.append(
            f"with one good node and the wiped one: {written} writes acknowledged, masters "
            f"{masters}"
        )
    if kept != b"yes":
        problems.append(f"a value is lost: {kept!r}")
    result.add(
        {
            "writes on 2 good": with_two == b"OK",
            "acked on 1 good + wiped": written,
            "masters then": len(masters),
            "kept": kept == b"yes",
        },
        problems,
    )
    return result
