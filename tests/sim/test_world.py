"""The simulated world keeps the promises on which its findings depend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.sim.disk import Disk
from tests.sim.mutants import MUTANTS, rewritten
from tests.sim.network import Network
from tests.sim.world import Clock, Loop, World

A, B = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def world() -> Any:
    made = World(1)
    yield made
    made.close()


def loop_at(world: World, network: Network, host: str, ppm: int = 0) -> Loop:
    loop = Loop(world, host, host, Clock(world, ppm, 1000, 0))
    loop.network = network
    network.machines[host] = loop
    return loop


class Ear(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard: list[tuple[int, bytes]] = []
        self.world: World | None = None
        self.lost = 0

    def data_received(self, data: bytes) -> None:
        assert self.world is not None
        self.heard.append((self.world.now, data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


def connected(world: World, network: Network) -> tuple[Any, Ear]:
    near, far, ear, ends = loop_at(world, network, A), loop_at(world, network, B), Ear(), []
    ear.world = world
    far.listeners[1] = lambda: ear

    async def connect() -> None:
        ends.append(await near.create_connection(Ear, B, 1))

    world.at(world.now, near, lambda: near.create_task(connect()))
    world.run(world.now + 10_000)
    return ends[0][0], ear


def test_bytes_come_in_order_through_a_cut_link(world: World) -> None:
    network = Network(world)
    transport, ear = connected(world, network)
    transport.write(b"a")  # under way when the link is cut
    network.link(A, B).blocked += 1
    transport.write(b"b")
    world.run(1_000_000)
    assert ear.heard == []
    network.link(A, B).blocked -= 1
    network.healed(A, B)
    transport.write(b"c")
    world.run(2_000_000)
    assert b"".join(data for _, data in ear.heard) == b"abc"


def test_a_connection_whose_bytes_find_no_way_is_given_up(world: World) -> None:
    network = Network(world)
    transport, ear = connected(world, network)
    network.link(A, B).blocked += 1
    transport.write(b"a")
    world.run(7_000_000)
    assert transport.lost and ear.heard == [] and ear.lost == 0


def test_a_paused_process_gets_everything_later(world: World) -> None:
    network = Network(world)
    transport, ear = connected(world, network)
    network.machines[B].busy_until = 3_000_000
    transport.write(b"a")
    world.run(5_000_000)
    assert [time for time, _ in ear.heard] == [3_000_000]


def test_a_dead_process_is_heard_of_and_one_without_power_is_not(world: World) -> None:
    for powerless in (False, True):
        network = Network(world)
        transport, _ = connected(world, network)
        if powerless:
            network.gone.add(B)
        network.machines[B].kill("killed")
        network.process_died(network.machines[B], powerless)
        world.run(world.now + 1_000_000)
        assert transport.lost is not powerless


def test_a_timer_fires_by_its_own_clock_and_never_early(world: World) -> None:
    fast = loop_at(world, Network(world), A, ppm=30_000)
    fired: list[tuple[int, int]] = []
    start = fast.clock.now_us()
    fast.call_later(1.0, lambda: fired.append((world.now, fast.clock.now_us())))
    world.run(2_000_000)
    assert (
        fired and fired[0][1] >= start + 1_000_000 and fired[0][0] == pytest.approx(970_874, abs=2)
    )


PATH = Path("/data/x.seg")


def test_synced_bytes_survive_and_others_may_not(world: World) -> None:
    fates = set()
    for number in range(40):
        disk = Disk(World(number), A)
        fd = disk.open(PATH, create=True)
        disk.write(fd, 0, b"s" * 1024)
        disk.sync(fd)
        disk.sync_folder(PATH.parent)
        disk.write(fd, 0, b"u" * 1024)
        disk.lose_power()
        data = disk.read(disk.open(PATH), 0, 1024)
        assert all(data[at : at + 512] in (b"s" * 512, b"u" * 512) for at in (0, 512))
        fates.add(data[:1] + data[-1:])
    assert fates == {b"ss", b"uu", b"su", b"us"}


def test_a_failed_sync_leaves_pages_that_only_look_written() -> None:
    kept = set()
    for number in range(12):
        disk = Disk(World(number), A)
        fd = disk.open(PATH, create=True)
        disk.sync(fd)
        disk.sync_folder(PATH.parent)
        disk.write(fd, 0, b"u" * 4096)
        disk.fail_syncs = 1
        with pytest.raises(OSError, match="Input/output"):
            disk.sync(fd)
        disk.sync(fd)
        assert disk.read(fd, 0, 4096) == b"u" * 4096
        disk.lose_power()
        kept.add(disk.read(disk.open(PATH), 0, 4096) == b"u" * 4096)
    assert kept == {False, True}


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_still_fits_the_code(name: str) -> None:
    assert rewritten(MUTANTS[name])
