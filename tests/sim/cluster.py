"""The cluster of a run: three machines with a log node, three with an engine node, one for clients.

Decides: addresses, settings, how a process starts, dies and comes back. The processes are the real
ones from their main objects down (`txlog.server.node.LogNode`, `memstore.node.node.EngineNode`).
Like a service manager, the cluster starts a process again that ended.
Must not know: faults' schedules, what clients do.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from memstore.config import ServerConfig
from memstore.log.interface import LogUnusable
from memstore.log.quorum import QuorumLog
from memstore.node.clocks import WallClock
from memstore.node.node import EngineNode
from tests.sim.disk import Disk
from tests.sim.network import Network
from tests.sim.world import Clock, Loop, World
from txlog.client import LogAddress, LogClient
from txlog.config import LogServerConfig
from txlog.server.identity import Identity
from txlog.server.node import LogNode

AZS = ("a", "b", "c")
LOG_PORT = 7401
PORT = 6379
GROUP = bytes(range(16)).hex()
LOG_NAME = "shard-0"
CLIENTS = "127.0.9.1"
KILLED = "killed"
END_OF_NODE = "the node ended"
POWER_LOST = "power lost"
RESTART_US = 300_000  # a service manager starts a process again after this time


class Folder:
    """The data folder of a log node whose group is known.
    It replaces `txlog.server.identity.DataFolder` and uses no files.
    """

    def __init__(self, member: LogMember) -> None:
        self.disk = member.disk
        self._member = member

    @property
    def identity(self) -> Identity:
        return self._member.identity

    def write(self, identity: Identity) -> None:
        """The identity is durable when this returns."""
        self._member.identity = identity

    def take_membership(self, version: int, members: list[str]) -> None:
        assert version > self.identity.membership, "a membership version went down"
        self.write(replace(self.identity, membership=version, members=list(members)))

    def log_folder(self, name: str) -> Path:
        return Path("/data/logs") / name

    def close(self) -> None:
        """The lock of the folder ends with the process."""


class Member:
    """A machine and the process on it, through all lives of the process."""

    def __init__(self, cluster: Cluster, name: str, host: str, az: str) -> None:
        self.cluster = cluster
        self.name = name
        self.host = host
        self.az = az
        self.lives = 0
        self.loop: Loop | None = None  # of the present life
        self.clock: Clock = cluster.new_clock(name)
        self.ended_by = ""
        self.held_down = False  # a fault keeps it down: nothing else starts it

    @property
    def alive(self) -> bool:
        return self.loop is not None and self.loop.alive

    def start(self) -> None:
        cluster = self.cluster
        self.lives += 1
        loop = self.loop = Loop(cluster.world, self.name, self.host, self.clock)
        loop.network = cluster.network
        loop.on_error = cluster.on_error
        loop.on_end = self._ended
        cluster.network.machines[self.host] = loop
        cluster.network.gone.discard(self.host)
        cluster.world.note(self.name, f"life {self.lives} begins")
        self.prepare(loop)
        cluster.world.at(cluster.world.now, loop, lambda: loop.create_task(self.main(loop)))

    def prepare(self, loop: Loop) -> None:
        """Prepare what the loop needs before anything runs."""

    async def main(self, loop: Loop) -> None:
        raise NotImplementedError

    def _ended(self, loop: Loop, reason: str) -> None:
        """The process ended itself or was killed; its manager starts it again."""
        cluster = self.cluster
        if reason not in (KILLED, POWER_LOST):
            cluster.on_exit(self, reason)
        cluster.world.note(self.name, f"ended: {reason}")
        self.ended_by = reason
        self.died()
        cluster.network.process_died(loop, self.host in cluster.network.gone)
        cluster.world.after(RESTART_US, None, self._again, self.lives)

    def _again(self, life: int) -> None:
        if (
            not self.alive
            and self.lives == life
            and not self.held_down
            and self.host not in self.cluster.network.gone
            and not self.cluster.over
        ):
            self.start()

    def died(self) -> None:
        """Reduce the machine's state to what it keeps after the death of its process."""

    def kill(self) -> None:
        """SIGKILL."""
        if self.loop is not None:
            self.loop.kill(KILLED)

    def lose_power(self, for_us: int) -> None:
        cluster = self.cluster
        cluster.network.gone.add(self.host)
        if self.loop is not None:
            self.loop.kill(POWER_LOST)
        cluster.world.after(for_us, None, self.power_back, self.lives)

    def power_back(self, life: int) -> None:
        if self.lives == life and not self.held_down:
            self.cluster.network.gone.discard(self.host)
            # another boot: the clock since boot starts at another value
            self.clock.base_us += 1_000_000
            if not self.alive:
                self.start()

    def pause(self, us: int) -> None:
        """SIGSTOP, or a machine that does nothing: its clocks continue."""
        if self.loop is not None:
            self.loop.busy_until = max(self.loop.busy_until, self.cluster.world.now + us)


class LogMember(Member):
    def __init__(self, cluster: Cluster, name: str, host: str, az: str) -> None:
        super().__init__(cluster, name, host, az)
        self.disk = Disk(cluster.world, host)
        self.disk.sync_us = cluster.settings.sync_us
        self.disk.on_crash = lambda: self.lose_power(1_000_000)
        self.rng = cluster.world.rng(name)
        self.node: LogNode | None = None
        self.rotten = False  # a bit of its disk was flipped: the disk may count as lost
        # content of `node.json`: durable when it is written
        self.identity = Identity(GROUP, name, 1, cluster.members, [], f"{name:->16}")

    @property
    def driver(self) -> Any:
        """The driver of the log, if it is open."""
        if self.node is None or not self.alive:
            return None
        task = self.node._logs.get(LOG_NAME)
        return (
            task.result()
            if task is not None
            and task.done()
            and not task.cancelled()
            and task.exception() is None
            else None
        )

    def prepare(self, loop: Loop) -> None:
        loop.disk = self.disk  # type: ignore[attr-defined]  # for the stand-in of the sync thread
        self.disk.hurt = ""  # from the previous life

    async def main(self, loop: Loop) -> None:
        settings = self.cluster.settings
        config = LogServerConfig(
            az=self.az, data=Path("/data"), port=LOG_PORT, bind=self.host,
            segment_bytes=settings.segment_bytes, cache_bytes=settings.cache_bytes,
            scrub_bytes_per_s=settings.scrub_bytes_per_s, scrub_pause_s=1,
        )  # fmt: skip
        # `Folder` has only the part of a data folder that is used
        node = LogNode(config, Folder(self))  # type: ignore[arg-type]
        node.incarnation = self.rng.randbytes(16)
        node._pid = 1
        node._rng = Random(self.rng.getrandbits(128))
        self.node = node
        try:
            await node.start()
        except Exception as error:
            self.cluster.on_start_failed(self, error)
            loop.end(f"cannot start: {error}")

    def died(self) -> None:
        self.node = None
        if self.host in self.cluster.network.gone:
            self.disk.lose_power()
        else:
            self.disk.process_died()


class EngineMember(Member):
    def __init__(self, cluster: Cluster, name: str, host: str, az: str) -> None:
        super().__init__(cluster, name, host, az)
        self.rng = cluster.world.rng(name)
        self.node: EngineNode | None = None
        self.terminated = 0  # the life that got a SIGTERM

    async def main(self, loop: Loop) -> None:
        settings = self.cluster.settings
        config = ServerConfig()
        config.az, config.port, config.bind = self.az, PORT, self.host
        config.lease_ms, config.max_entry_bytes = settings.lease_ms, settings.max_entry_bytes
        config.databases = 2
        config.enable_debug_command = "yes"
        config.digest_interval_ms, config.digest_slice_keys = (
            settings.digest_ms,
            settings.digest_keys,
        )
        config.digest_slice_bytes = 256 * settings.digest_keys
        rng = Random(self.rng.getrandbits(128))
        # only the loop renews: there are no threads and no other processes here
        config.busy_limit_ms = 0
        client = LogClient(
            self.cluster.log_address, self.az, rng, None, loop.clock.now_us, create=True
        )
        client.limits = settings.limits
        client.commit_timeout_ms = config.commit_timeout_ms
        transaction_log = QuorumLog(client)
        try:
            await transaction_log.open()
        except LogUnusable as error:
            loop.end(f"the log cannot be used: {error}")
        self.node = node = EngineNode(
            config,
            transaction_log,
            self.host,
            PORT,
            rng,
            WallClock(client.clock, loop.clock.wall_ms),
        )
        await loop.create_server(node.new_connection, self.host, PORT)
        node.start()
        await node.ended
        loop.end(END_OF_NODE)

    def died(self) -> None:
        self.node = None

    def terminate(self) -> None:
        """SIGTERM."""
        node, loop = self.node, self.loop
        if node is not None and loop is not None and loop.alive:
            self.terminated = self.lives
            self.cluster.world.at(self.cluster.world.now, loop, node.terminate, "SIGTERM")


class Settings:
    """The settings of one run, drawn from its seed."""

    def __init__(self, rng: Random) -> None:
        self.lease_ms = 1000
        self.segment_bytes = rng.choice([32, 40, 64, 256]) * 1024
        self.cache_bytes = rng.choice([0, 4, 64, 1024]) * 1024
        # a segment must hold any entry
        self.max_entry_bytes = min(rng.choice([4096, 4096, 65536]), self.segment_bytes // 2)
        # The limits of the writer's messages and memory. Small ones cause gaps and catch-up with
        # little data.
        self.message_bytes = rng.choice([4 << 20, 4 << 20, 4000, 300])
        self.window_entries = rng.choice([4096, 4096, 8, 2])
        self.keep_bytes = rng.choice([16 << 20, 16 << 20, 3000])
        self.drift_ppm = rng.choice([0, 100, 5000, 30000])  # the stated bound is 1/33
        # Far beyond the bound: log nodes' windows end long before the writer's lease. Reads may
        # then be stale; the term guards writes (L6).
        self.broken_clocks = rng.random() < 0.25
        self.skew_ms = rng.choice([0, 5, 200, 3000])
        # delay between AZs, one way; a long delay means that many messages are under way at a fault
        self.delay_us = rng.choice([400, 400, 3000, 20_000])
        self.sync_us = rng.choice([150, 150, 2000, 8000])
        self.scrub_bytes_per_s = rng.choice([0, 256 << 10, 4 << 20])

        # These draws come last: the draws before them do not depend on them.
        self.digest_ms = rng.choice([50, 200, 1000])
        self.digest_keys = rng.choice([16, 64, 4096])
        # clients keep keys with an expiry, or give them another one
        self.keeps = rng.random() < 0.4

    @property
    def limits(self) -> dict[str, int]:
        return {
            "message_bytes": self.message_bytes,
            "window_entries": self.window_entries,
            "keep_bytes": self.keep_bytes,
        }


class Cluster:
    def __init__(
        self,
        world: World,
        network: Network,
        settings: Settings,
        on_error: Any,
        on_start_failed: Any,
        on_exit: Any,
    ) -> None:
        self.world = world
        self.network = network
        self.settings = settings
        self.on_error = on_error
        self.on_start_failed = on_start_failed
        self.on_exit = on_exit
        self.over = False
        self._clocks = world.rng("clocks")
        hosts = [f"127.0.1.{index + 1}" for index in range(3)]
        self.members = [f"log-{az}={host}:{LOG_PORT}" for az, host in zip(AZS, hosts, strict=True)]
        self.log_address = LogAddress.parse(
            f"txlog://{','.join(f'{host}:{LOG_PORT}' for host in hosts)}/{LOG_NAME}"
        )
        self.logs = [
            LogMember(self, f"log-{az}", host, az) for az, host in zip(AZS, hosts, strict=True)
        ]
        self.engines = [
            EngineMember(self, f"engine-{az}", f"127.0.2.{index + 1}", az)
            for index, az in enumerate(AZS)
        ]
        self.clients = Loop(world, "clients", CLIENTS, Clock(world, 0, 0, 0))
        self.clients.network = network
        self.clients.on_error = on_error
        network.machines[CLIENTS] = self.clients
        self.by_name: dict[str, LogMember | EngineMember] = {
            member.name: member for member in [*self.logs, *self.engines]
        }
        for one in [*self.logs, *self.engines]:
            self.place(one)

    def place(self, one: Member) -> None:
        """Set its distance from the other machines."""
        for other in [*self.logs, *self.engines]:
            for link in (
                self.network.link(one.host, other.host),
                self.network.link(other.host, one.host),
            ):
                link.delay_us, link.jitter_us = (
                    (80, 60)
                    if one.az == other.az
                    else (self.settings.delay_us, self.settings.delay_us)
                )

    def new_clock(self, name: str) -> Clock:
        rng, settings = self._clocks, self.settings
        drift = rng.randint(-settings.drift_ppm, settings.drift_ppm)
        if settings.broken_clocks:
            drift = (
                rng.choice((3_000_000, 6_000_000, 9_000_000))
                if name.startswith("log")
                else rng.choice((0, -500_000))
            )
        return Clock(
            self.world,
            drift,
            rng.randrange(1, 10**12),
            rng.randint(-settings.skew_ms, settings.skew_ms),
        )

    def start(self) -> None:
        for member in [*self.logs, *self.engines]:
            member.start()

    @property
    def primary(self) -> EngineMember | None:
        """The node that serves as primary with a lease, by its own clock."""
        for member in self.engines:
            node = member.node
            if (
                member.alive
                and node is not None
                and node.writer is not None
                and node.shard.lease.lease_until_us > member.clock.now_us()
            ):
                return member
        return None


def cancel_all(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
