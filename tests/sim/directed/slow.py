"""Schedules about disks that are slow when another node must take over: W1, W2, L8.

The condition is progress: another node leads within a time that follows from the disks, and keeps
its role.

Decides: the moments.
Must not know: which mutant each is for.
"""

from __future__ import annotations

from random import Random

from tests.sim.directed.stage import NotStaged, Stage, alone, schedule
from tests.sim.disk import Disk
from tests.sim.faults import SECOND
from tests.sim.lone_store import open_store
from tests.sim.world import Violation, World
from txlog.consensus.acceptor import Acceptor
from txlog.entry import NO_ENTRY
from txlog.messages import Seal


def leads_within(stage: Stage, azs: str, seconds: float, promise: str) -> str:
    """Wait until one of the nodes leads, and give it."""
    end = stage.world.now + int(seconds * SECOND)
    while stage.world.now < end:
        for az in azs:
            if stage.leads(az):
                return az
        stage.run_for(5)
    stage.expect(False, promise)
    return ""


def slow_down(stage: Stage, azs: str, sync_ms: int) -> None:
    for az in azs:
        stage.logs[az].disk.sync_us = sync_ms * 1000


def primary_dies(stage: Stage) -> None:
    stage.power_off(stage.engines["a"])
    stage.until(
        lambda: all(stage.window_left_ms(az) == 0 for az in "abc"), "all windows are closed"
    )


@schedule()
def takeover_on_slow_disks(stage: Stage) -> None:
    """Two disks take a second for each sync when the primary dies.
    A promise takes two syncs, the first entry takes one. Each may wait for one that is under way.
    """
    primary_dies(stage)
    slow_down(stage, "bc", 1000)
    stage.power_off(stage.logs["a"])
    stage.let("b")
    leads_within(stage, "b", 3.7, "another node leads after three syncs on slow disks")
    slow_down(stage, "bc", 1)


@schedule()
def large_writes_on_slow_disks(stage: Stage) -> None:
    """Many clients write large values, and each disk takes 4 MB a second.
    Load alone does not cost the role.
    """
    for az in "abc":
        stage.logs[az].disk.bytes_per_s = 4_000_000
    term = stage.proposer("a").term
    asked = [stage.ask("a", ("SET", f"r:{number}", "v" * 400_000)) for number in range(40)]
    end = stage.world.now + 12 * SECOND
    while stage.world.now < end and not all(one.done for one in asked):
        stage.run_for(50)
        stage.expect(
            stage.leads("a") and stage.proposer("a").term == term,
            "the primary keeps its role under load",
        )
    stage.expect(all(one.done for one in asked), "every write is answered")
    for az in "abc":
        stage.logs[az].disk.bytes_per_s = 0


@schedule()
def first_entry_slower_than_a_lease(stage: Stage) -> None:
    """A sync takes longer than a lease: a new writer's first entry is committed by a late answer.
    The answer is about a message from more than a lease ago.
    """
    primary_dies(stage)
    slow_down(stage, "bc", 2100)
    stage.power_off(stage.logs["a"])
    stage.let("b")
    leads_within(stage, "b", 14, "another node leads on disks slower than a lease")
    term = stage.proposer("b").term
    for number in range(120):
        if number % 10 == 0:
            stage.ask("b", ("SET", "r:0", f"slow.{number}"))
        stage.run_for(50)
        stage.expect(
            stage.leads("b") and stage.proposer("b").term == term,
            "a new primary keeps its role on disks slower than a lease",
        )
    slow_down(stage, "bc", 1)


@alone
def candidates_that_overtake_one_another() -> None:
    """The disk needs longer for a promise than candidates wait between two attempts.
    Each candidate asks for a higher term while the other's promise is on its way.
    """
    disk = Disk(World(1), "h")
    store = open_store(disk)
    acceptor = Acceptor(store.recovered, store, ["b", "c"], Random(1), 1_000_000)
    acceptor.on_message(1, Seal(1, b"first", b"r1", NO_ENTRY, 1000, False), 1_000_000)
    if acceptor.promise.incarnation != b"first":
        raise NotStaged("a promise is on its way to disk")
    for number in range(2, 8):
        candidate = b"second" if number % 2 == 0 else b"first"
        acceptor.on_message(
            number % 2,
            Seal(number, candidate, b"r%d" % number, NO_ENTRY, 1000, False),
            1_000_000 + number * 100_000,
        )
        if acceptor.promise.incarnation != b"first":
            raise Violation("a candidate's promise was overtaken before it was on disk")
