"""`memstore demo`: a whole zone dies under load, and every acknowledged write is still present.

Decides: the steps of the demo, its output, the exit code.
Must not know: how a client follows the primary (`demo_client`), how the cluster is run
(`demo_cluster`), what counts as found (`demo_check`).
Invariants: it ends within `LIMIT_S`. However it ends, no process and no folder stay.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Final

from rich.console import Console
from rich.status import Status

from memstore.ops.demo_check import HostPort, Record, Verdict
from memstore.ops.demo_client import DemoError, Follower, read_all
from memstore.ops.demo_cluster import ThrowAwayCluster

CLIENTS: Final = 8
THINK_S: Final = 0.005  # pause of a client between two writes
PHASE_S: Final = 1.5  # time of writing before the kill, and after the takeover
PHASE_WRITES: Final = 50  # least number of acknowledged writes in a phase
TAKEOVER_S: Final = 15.0
LIMIT_S: Final = 60.0
POLL_S: Final = 0.02
FAILED: Final = 1


class Screen:
    """Prints lines with the time since the start; at a terminal also a progress line below them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin = time.monotonic()
        self._status: Status | None = None
        if console.is_terminal:
            self._status = console.status("starting")
            self._status.start()

    def say(self, text: str) -> None:
        elapsed = time.monotonic() - self._begin
        self._line(f"{elapsed:5.1f} s  {text}")

    def progress(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)

    def end(self, lines: list[str]) -> None:
        self.close()
        for line in lines:
            self._line(line)

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Load:
    """Clients that write until they are stopped, each to its own keys."""

    def __init__(self, nodes: list[HostPort]) -> None:
        self.record = Record()
        self._stopping = False
        self._writers = [
            asyncio.create_task(self._write(number, Follower(nodes))) for number in range(CLIENTS)
        ]

    async def _write(self, number: int, client: Follower) -> None:
        count = 0
        try:
            while not self._stopping:
                key, value = b"demo:%d:%d" % (number, count), b"value %d of %d" % (count, number)
                count += 1
                if await client.set(key, value):
                    self.record.acknowledged[key] = value
                    self.record.by_node[client.address] += 1
                else:
                    self.record.unknown[key] = value
                await asyncio.sleep(THINK_S)
        finally:
            client.close()

    def check(self) -> None:
        """Raises the error that ended a writer too early."""
        for writer in self._writers:
            if writer.done():
                writer.result()

    async def stop(self) -> None:
        """Stop the writers. Every write in flight gets its outcome first."""
        self._stopping = True
        await asyncio.gather(*self._writers)

    async def abandon(self) -> None:
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)


class Demo:
    def __init__(self, cluster: ThrowAwayCluster, screen: Screen) -> None:
        self._cluster = cluster
        self._screen = screen

    async def run(self) -> Verdict:
        """Run the demo's steps. Raises `DemoError`."""
        cluster, screen = self._cluster, self._screen
        screen.say("starting three log nodes, a primary and two replicas")
        await cluster.start()
        primary = next(node for node, role in cluster.roles.items() if role == "primary")
        screen.say(f"{self._name(primary)} is the primary; {CLIENTS} clients write")
        load = Load(cluster.nodes)
        try:
            return await self._story(load, primary)
        finally:
            await load.abandon()

    async def _story(self, load: Load, primary: HostPort) -> Verdict:
        screen, record = self._screen, load.record
        await self._write_a_phase(load)
        screen.say(f"{len(record.acknowledged)} writes acknowledged")
        names = [self._name(primary), self._cluster.zone_mate(primary)]
        self._cluster.kill(*names)
        killed = time.monotonic()
        screen.say(f"kill -9 {' '.join(names)}: the primary and a log node, a whole zone")
        living = [node for node in self._cluster.nodes if node != primary]
        await self._until(load, lambda: any(record.by_node[node] for node in living), "takeover")
        leader = max(living, key=lambda node: record.by_node[node])
        gap = time.monotonic() - killed
        screen.say(f"{self._name(leader)} is the primary: its first write, {gap:.1f} s later")
        await self._write_a_phase(load)
        await load.stop()
        screen.say(f"writing stopped: {len(record.acknowledged)} acknowledged")
        replica = next(node for node in living if node != leader)
        return await self._verify(record, leader, replica)

    async def _verify(self, record: Record, leader: HostPort, replica: HostPort) -> Verdict:
        found = {}
        keys = [*record.acknowledged, *record.unknown]
        for node, how in ((leader, "the primary"), (replica, "a replica, strong reads")):
            found[self._name(node)] = await read_all(node, keys)
            self._screen.say(f"read every value at {self._name(node)} ({how})")
        return Verdict.of(record, found)

    def _name(self, node: HostPort) -> str:
        return self._cluster.names[node]

    async def _write_a_phase(self, load: Load) -> None:
        enough = len(load.record.acknowledged) + PHASE_WRITES
        end = time.monotonic() + PHASE_S
        await self._until(
            load,
            lambda: time.monotonic() >= end and len(load.record.acknowledged) >= enough,
            f"{PHASE_WRITES} acknowledged writes",
        )

    async def _until(self, load: Load, ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + TAKEOVER_S
        while not ready():
            load.check()
            if time.monotonic() > end:
                raise DemoError(f"no {what} within {TAKEOVER_S:.0f} s")
            record = load.record
            self._screen.progress(
                f"{len(record.acknowledged)} acknowledged, {len(record.unknown)} unknown"
            )
            await asyncio.sleep(POLL_S)


class Signals:
    """The first signal cancels the demo. Later ones change nothing: cleaning up is bounded."""

    def __init__(self) -> None:
        self.number = 0
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self.number:
            self.number = int(number)
            self._task.cancel()


async def demo(console: Console) -> int:
    """Returns the exit code: 0 if every acknowledged value was found, 1 if not, 128 + n after a
    signal.
    """
    signals = Signals()
    cluster = ThrowAwayCluster()
    screen = Screen(console)
    code, lines = FAILED, []
    try:
        async with asyncio.timeout(LIMIT_S):
            verdict = await Demo(cluster, screen).run()
        code, lines = verdict.code, verdict.lines()
    except asyncio.CancelledError:
        if not signals.number:
            raise
        code, lines = 128 + signals.number, ["interrupted: everything is stopped and removed"]
    except TimeoutError:
        lines = [f"the demo did not finish within {LIMIT_S:.0f} s"]
    except DemoError as error:
        lines = [f"the demo cannot go on: {error}"]
    finally:
        screen.progress("removing the cluster")
        await finish(cluster.stop)
        screen.end(lines)
    return code


async def finish(stop: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run ``stop`` to its end: a signal during it must not leave half of the cluster."""
    task = asyncio.create_task(stop())
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue  # the demo is over: the exit code is known, and cleaning up is bounded
    task.result()


def run() -> int:
    return asyncio.run(demo(Console()))
