"""The fault "a disk is lost and the node replaced" (S8), under all other faults of the run.

A run loses one disk, on the machine whose bits may rot, and only while the other two log nodes are
whole. A larger loss is beyond the promise of a group of three. Until the learner counts, a power
loss removes the bytes that the other two had not synced as a whole. A torn tail would make a node
suspect: with one whole node of three, a group correctly waits for its operator.

Decides: how a log node is lost, where the learner starts, when an operator runs `txlog
replace-node`, how often the operator is interrupted. A lost node has an empty disk; or its machine
is gone for a while; or it is cut off and continues.
Must not know: what is checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from tests.sim.cluster import CLIENTS, LOG_PORT, Cluster, LogMember
from tests.sim.disk import Disk
from txlog.server.identity import Identity
from txlog.tool_connection import AdminError
from txlog.tools.replace import replace_node

if TYPE_CHECKING:
    from tests.sim.faults import Fault, Faults

LOST: Final = "lost-disk"
SECOND: Final = 1_000_000
LOOK_US: Final = 20_000
SHARE: Final = 0.3  # the share of the runs that have this fault


def add(
    rng: Random, kinds: tuple[str, ...], count: int, start_us: int, end_us: int
) -> tuple[int, int, int, int] | None:
    """Number, time, length and draw of the one fault of this kind in a run, if it has one.
    With or without this fault, the run has the same other faults.
    """
    alone = set(kinds) == {LOST}
    at, draw, has = (
        rng.randrange(start_us, start_us + (end_us - start_us) * 2 // 3),
        rng.getrandbits(32),
        rng.random() < SHARE,
    )
    return (count + 1, at, 0, draw) if LOST in kinds and (has or alone) else None


class Replacement:
    """The replacement of one run."""

    def __init__(self, cluster: Cluster, faults: Faults) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.lost: LogMember | None = None
        self.learner: LogMember | None = None
        self.done = True
        self._faults = faults
        self._task: asyncio.Task[None] | None = None

    # ----------------------------------------------------------------- the loss

    def begin(self, fault: Fault, rng: Random) -> None:
        lost = self._faults.rotten
        others = [member for member in self.cluster.logs if member is not lost]
        if not all(self._whole(member) for member in others):
            if self.world.now < 40 * SECOND:
                self.world.after(LOOK_US, None, self.begin, fault, rng)
            return
        self.lost, self.done = lost, False
        for member in others:
            member.disk.clean = True
        kind = rng.choice(("empty", "away", "apart"))
        self.world.counters[f"a log node was lost: {kind}"] += 1
        self.world.note("FAULT", f"{lost.name} is lost: {kind}")
        if kind == "empty":
            self._empty(lost, rng)
        else:
            self._elsewhere(lost, kind, rng)
        self._task = self.cluster.clients.create_task(
            self._operate(others, Random(rng.getrandbits(32)))
        )
        self.world.after(LOOK_US, None, self._look)

    @staticmethod
    def _whole(member: LogMember) -> bool:
        driver = member.driver
        return driver is not None and driver._acceptor.counts and not driver._acceptor.holes

    def _empty(self, lost: LogMember, rng: Random) -> None:
        """Kill its process; the manager starts it again on an empty disk."""
        lost.kill()
        lost.disk = self._new_disk(lost)
        lost.identity = Identity(folder=f"{rng.getrandbits(64):016x}")
        lost.rotten = False
        self.learner = lost

    def _new_disk(self, member: LogMember) -> Disk:
        disk = Disk(self.world, f"{member.host} again")
        disk.sync_us = member.disk.sync_us
        disk.on_crash = lambda: member.lose_power(SECOND)
        return disk

    def _elsewhere(self, lost: LogMember, kind: str, rng: Random) -> None:
        """Start a new machine in its place. The old one comes back later, with its old disk."""
        cluster = self.cluster
        fresh = LogMember(cluster, f"{lost.name}-new", "127.0.1.9", lost.az)
        fresh.identity = Identity(folder=f"{rng.getrandbits(64):016x}")
        cluster.logs[cluster.logs.index(lost)] = fresh
        cluster.by_name[fresh.name] = fresh
        cluster.place(fresh)
        self._faults.rotten = self.learner = fresh
        fresh.start()
        back_us = rng.randrange(500_000, 12 * SECOND)
        if kind == "away":
            lost.lose_power(0)
            lost.held_down = True
            self.world.after(back_us, None, self._back, partial(self._switch_on, lost))
            return
        around = [
            member.host
            for member in [*cluster.logs, *rng.sample(cluster.engines, rng.randrange(4))]
        ] + [CLIENTS]
        undo = self._faults.block(
            [(lost.host, host) for host in around] + [(host, lost.host) for host in around]
        )
        self.world.after(back_us, None, self._back, undo)

    @staticmethod
    def _switch_on(lost: LogMember) -> None:
        lost.held_down = False
        lost.power_back(lost.lives)

    def _back(self, come: Callable[[], None]) -> None:
        """Bring the old node back, but only after it was replaced.
        A node that answers is not lost, and the operator would be told so.
        """
        if self.lost is not None and self.learner is not None and not self.learner.identity.group:
            self.world.after(LOOK_US, None, self._back, come)
        else:
            come()

    # ----------------------------------------------------------------- the operator

    async def _operate(self, others: list[LogMember], rng: Random) -> None:
        assert self.lost is not None and self.learner is not None
        lost, new = (self.lost.host, LOG_PORT), (self.learner.host, LOG_PORT)
        patience_s = [rng.random() ** 3 for _ in range(rng.randrange(4))] + [8.0] * 100
        await asyncio.sleep(rng.random() * 2)
        for limit_s in patience_s:
            named = [(member.host, LOG_PORT) for member in rng.sample(others, rng.randint(1, 2))]
            try:
                await asyncio.wait_for(
                    replace_node(
                        lost, new, named, None, 60, lambda text: self.world.note("operator", text)
                    ),
                    limit_s,
                )
                return
            except (AdminError, OSError, TimeoutError) as error:
                self.world.note("operator", f"again: {error}")
                self.world.counters["replace-node was run again"] += 1
            await asyncio.sleep(rng.random())

    def _look(self) -> None:
        """Check whether the learner is a full member."""
        member = self.learner
        assert member is not None
        if member.identity.group and self._whole(member):
            self.done = True
            self.world.counters["a learner counts"] += 1
            for other in self.cluster.logs:
                other.disk.clean = False
        elif not self.cluster.over:
            self.world.after(LOOK_US, None, self._look)

    # ----------------------------------------------------------------- at the end

    @property
    def finished(self) -> bool:
        """Whether the learner counts, unless its own disk rotted meanwhile.
        The old node, if it is there, must also know that it no longer has a place.
        """
        if self.lost is None or self.learner is None or self.learner.rotten:
            return True
        old = self.lost
        return self.done and (old is self.learner or not old.alive or old.identity.replaced)
