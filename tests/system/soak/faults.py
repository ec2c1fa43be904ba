"""Executes the schedule of faults and undoes each fault.

Each fault heals after its time, and its node must be well again within a bound.

Decides: targets, how each kind is done and undone, what counts as healed.
Must not know: what clients see.
Invariants: a lane's next fault begins after the previous one has healed (`kill-all` waits for both
lanes of processes). After `run` everything lives, runs and is connected again. A node that does not
come back is a problem of the run, not a reason to stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.system.client import Connection, ReplyError, ask
from tests.system.cluster import Process
from tests.system.points.damage import flip, segments, used_bytes
from tests.system.soak.network import CLIENTS, ZONES, Link, Network, zone_links
from tests.system.soak.schedule import ENGINES, LOGS, NETWORK, Fault
from tests.system.soak.zones import MIB, Zones

WELL_AGAIN_S = 90.0  # bound for a restored or repaired node, while other faults happen
POUR_MIB = 18  # written while a disk is full, so that the node notices: more than two segments
POUR_BYTES = 100_000

Say = Callable[[str], None]


@dataclass
class Done:
    """The results of the schedule."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    noticed_full: int = 0  # full disks that the log node reported
    problems: list[str] = field(default_factory=list)


class Faults:
    def __init__(self, cluster: Zones, network: Network, say: Say) -> None:
        self.cluster = cluster
        self.network = network
        self.say = say
        self.done = Done()
        self.begun = time.monotonic()
        self.locks = {lane: asyncio.Lock() for lane in (ENGINES, LOGS, NETWORK)}
        self._do: dict[str, Callable[[Fault, Random], Awaitable[None]]] = {
            "kill-primary": self._kill_engine,
            "kill-engine": self._kill_engine,
            "kill-all": self._kill_all,
            "terminate": self._kill_engine,
            "pause-primary": self._pause_engine,
            "pause-engine": self._pause_engine,
            "hand-over": self._hand_over,
            "kill-log": self._kill_logs,
            "kill-two-logs": self._kill_logs,
            "pause-log": self._pause_logs,
            "pause-two-logs": self._pause_logs,
            "bit-stopped": self._flip_stopped,
            "bit-running": self._flip_running,
            "disk-full": self._fill_disks,
            "disk-full-two": self._fill_disks,
        }

    async def run(self, faults: list[Fault], begun: float) -> None:
        """Run all lanes until the last fault of each has healed."""
        self.begun = begun
        await asyncio.gather(
            *(
                self._lane(lane, [fault for fault in faults if fault.lane == lane], begun)
                for lane in self.locks
            )
        )

    async def _lane(self, lane: str, faults: list[Fault], begun: float) -> None:
        end = max((fault.at_s + fault.lasts_s for fault in faults), default=0.0)
        for fault in faults:
            await asyncio.sleep(max(0.0, begun + fault.at_s - time.monotonic()))
            if time.monotonic() > begun + end:
                # the previous faults took longer than drawn; the run ends at its planned time
                self.done.skipped[fault.kind] += 1
                continue
            async with self.locks[lane]:
                await self._one(fault)

    async def _one(self, fault: Fault) -> None:
        start = time.monotonic()
        self.say(f"{start - self.begun:7.1f} s  {fault}")
        try:
            do = self._cut if fault.lane == NETWORK else self._do[fault.kind]
            await do(fault, Random(fault.draw))
        except (OSError, AssertionError, RuntimeError) as error:
            self.done.problems.append(f"{fault}: {type(error).__name__}: {error}")
        self.done.counts[fault.kind] += 1
        self.done.seconds[fault.kind] += int(1000 * (time.monotonic() - start))

    # ------------------------------------------------------------------ engine nodes

    async def _engine(self, fault: Fault, rng: Random) -> Process:
        others = self.cluster.engines()
        if fault.kind.endswith("-primary") or fault.kind == "terminate":
            primary = await asyncio.to_thread(self.cluster.primary)
            if primary is not None:
                return primary
        return rng.choice(others)

    async def _kill_engine(self, fault: Fault, rng: Random) -> None:
        process = await self._engine(fault, rng)
        self.cluster.down.add(process.name)
        await asyncio.to_thread(
            self.cluster.terminate if fault.kind == "terminate" else self.cluster.kill, process
        )
        await asyncio.sleep(fault.lasts_s)
        await self._back([process])
        await self._serving([process])

    async def _kill_all(self, fault: Fault, rng: Random) -> None:
        async with self.locks[LOGS]:
            everyone = self.cluster.processes()
            self.cluster.down |= {process.name for process in everyone}
            await asyncio.to_thread(self.cluster.kill, *everyone)
            await asyncio.sleep(fault.lasts_s)
            await self._back(everyone)
            await self._whole([process for process in everyone if process.kind == "log"])
            await self._serving([process for process in everyone if process.kind == "engine"])

    async def _pause_engine(self, fault: Fault, rng: Random) -> None:
        process = await self._engine(fault, rng)
        await self._pause([process], fault.lasts_s)
        await self._serving([process])

    async def _hand_over(self, fault: Fault, rng: Random) -> None:
        primary = await asyncio.to_thread(self.cluster.primary)
        if primary is not None:
            # a cut or a kill may come first: then there is nothing to hand over
            with contextlib.suppress(OSError):
                await asyncio.to_thread(ask, primary.address, "MEMSTORE", "HANDOVER", timeout=5.0)

    # ------------------------------------------------------------------ log nodes

    def _logs(self, fault: Fault, rng: Random) -> list[Process]:
        return rng.sample(self.cluster.log_nodes(), 2 if "two" in fault.kind else 1)

    async def _kill_logs(self, fault: Fault, rng: Random) -> None:
        nodes = self._logs(fault, rng)
        self.cluster.down |= {node.name for node in nodes}
        await asyncio.to_thread(self.cluster.kill, *nodes)
        await asyncio.sleep(fault.lasts_s)
        await self._back(nodes)
        await self._whole(nodes)

    async def _pause_logs(self, fault: Fault, rng: Random) -> None:
        nodes = self._logs(fault, rng)
        await self._pause(nodes, fault.lasts_s)
        await self._whole(nodes)

    async def _flip_stopped(self, fault: Fault, rng: Random) -> None:
        (node,) = self._logs(fault, rng)
        self.cluster.down.add(node.name)
        await asyncio.to_thread(self.cluster.kill, node)
        await asyncio.to_thread(self._flip, node, rng)
        await asyncio.sleep(fault.lasts_s)
        await self._back([node])
        await self._whole([node])

    async def _flip_running(self, fault: Fault, rng: Random) -> None:
        """Flip a bit under a running node, and kill the node a while later.
        So it must find the bit: only one bit at a time may be wrong.
        """
        (node,) = self._logs(fault, rng)
        await asyncio.to_thread(self._flip, node, rng)
        await asyncio.sleep(fault.lasts_s)
        self.cluster.down.add(node.name)
        await asyncio.to_thread(self.cluster.kill, node)
        await self._back([node])
        await self._whole([node])

    def _flip(self, node: Process, rng: Random) -> None:
        found = segments(node)
        # in the newest segment as often as in any of them
        path = found[-1] if rng.random() < 0.5 else rng.choice(found)
        used = used_bytes(path)
        if used:
            offset, bit = rng.randrange(used), rng.randrange(8)
            flip(path, offset, bit)
            self.say(f"           {node.name}: bit {bit} of byte {offset} of {used} in {path.name}")

    async def _fill_disks(self, fault: Fault, rng: Random) -> None:
        nodes = self._logs(fault, rng)
        before = {
            node.name: await asyncio.to_thread(self.cluster.said, node, "disk full")
            for node in nodes
        }
        fillers: list[Path] = []
        try:
            for node in nodes:
                fillers.append(await asyncio.to_thread(self.cluster.fill_disk, node))
            pouring = asyncio.create_task(self._pour(fault.lasts_s))
            await asyncio.sleep(fault.lasts_s)
            await pouring
        finally:
            for node in nodes:
                (Path(str(node.data)).parent / "filler").unlink(missing_ok=True)
        await self._whole(nodes)
        for node in nodes:
            self.done.noticed_full += (
                await asyncio.to_thread(self.cluster.said, node, "disk full") > before[node.name]
            )

    async def _pour(self, within_s: float) -> None:
        """Write large values over few keys, so that log nodes need new segments; not judged."""
        end = time.monotonic() + within_s
        left = POUR_MIB * MIB // POUR_BYTES
        value = "v" * POUR_BYTES
        while left and time.monotonic() < end:
            connection: Connection | None = None
            try:
                primary = await asyncio.to_thread(self.cluster.primary)
                if primary is not None:
                    connection = await Connection.open(primary.address, 1.0)
                    while left and time.monotonic() < end:
                        reply = await connection.call(
                            "SET", f"pour:{left % 10}", value, timeout=2.0
                        )
                        if isinstance(reply, ReplyError):
                            break
                        left -= 1
            except (OSError, TimeoutError):
                pass  # other faults are active; the loop tries again
            finally:
                if connection is not None:
                    connection.close()
            await asyncio.sleep(0.2)

    # ------------------------------------------------------------------ restarting processes

    async def _pause(self, processes: list[Process], seconds: float) -> None:
        try:
            for process in processes:
                await asyncio.to_thread(self.cluster.pause, process)
            await asyncio.sleep(seconds)
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    self.cluster.resume(process)

    async def _back(self, processes: list[Process]) -> None:
        for process in processes:
            await asyncio.to_thread(self.cluster.restart, process)
            self.cluster.down.discard(process.name)

    async def _whole(self, nodes: list[Process]) -> None:
        for node in nodes:
            wrong = await asyncio.to_thread(self.cluster.wait_whole, node, WELL_AGAIN_S)
            self.done.problems += [wrong] if wrong else []

    async def _serving(self, nodes: list[Process]) -> None:
        for node in nodes:
            wrong = await asyncio.to_thread(self.cluster.wait_serving, node, WELL_AGAIN_S)
            self.done.problems += [wrong] if wrong else []

    # ------------------------------------------------------------------ network

    async def _cut(self, fault: Fault, rng: Random) -> None:
        links = await self._links(fault.kind, rng)
        self.say("           " + ", ".join(f"{source} -> {target}" for source, target in links))
        try:
            await self.network.cut(fault.number, links)
            await asyncio.sleep(fault.lasts_s)
        finally:
            await self.network.mend(fault.number)

    async def _links(self, kind: str, rng: Random) -> list[Link]:
        zone = rng.choice(ZONES)
        other = rng.choice([name for name in ZONES if name != zone])
        also = [CLIENTS] if rng.random() < 0.3 else []
        if kind == "cut-primary":
            primary = await asyncio.to_thread(self.cluster.primary)
            zone = primary.az if primary is not None else zone
            into, out = zone_links(zone)
            return rng.choice([into, out, into + out])
        into, out = zone_links(zone, also)
        if kind == "cut-zone":
            return into + out
        if kind == "cut-zone-in":
            return into
        if kind == "cut-zone-out":
            return out
        if kind == "cut-link":
            return [(zone, other), (other, zone)]
        if kind == "cut-link-one-way":
            return [(zone, other)]
        if kind == "cut-clients":
            return [(zone, CLIENTS), (CLIENTS, zone)]
        if kind == "cut-clients-one-way":
            return [rng.choice([(zone, CLIENTS), (CLIENTS, zone)])]
        assert kind == "cut-all", kind
        return [(source, target) for source in ZONES for target in ZONES if source != target]
