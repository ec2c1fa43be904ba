"""A node's regular work several times a second, whatever its clients do: ticks, samples, freeing.

Decides: how often each is done.
Must not know: terms, leases, what commands mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from memstore.engine.engine import Engine
from memstore.engine.facts import Facts
from memstore.node.client_requests import ClientRequests
from memstore.node.clocks import WallClock
from memstore.node.facts_writer import FactsWriter
from memstore.node.loop_budget import LoopBudget
from memstore.node.primary import PrimaryDriver
from memstore.node.sampling import GcScheduler, LoopLagMonitor, Sampler, key_count

TICK_S: Final = 0.1
FREE_UNITS: Final = 20_000  # discarded keys and members freed at a time: a few milliseconds
FREE_AGAIN_S: Final = 0.01  # pause between two rounds while there is more


class NodeToKeep(Protocol):
    """What `Upkeep` uses of the node."""

    engine: Engine
    facts: Facts
    clock: Callable[[], int]
    wall: WallClock
    primary: PrimaryDriver | None
    facts_writer: FactsWriter
    client_requests: ClientRequests
    budget: LoopBudget

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...

    def wall_ms(self) -> int: ...

    def check_lease(self) -> None: ...

    def resume_sessions(self) -> None: ...


class Upkeep:
    """The upkeep of one node, from its start to its end."""

    def __init__(self, node: NodeToKeep) -> None:
        self._node = node
        self._gc = GcScheduler()
        self._sampler = Sampler(node.facts)
        self._lag_monitor = LoopLagMonitor(node.facts, node.clock, node.wall_ms)

    def start(self) -> None:
        self._gc.start()
        self._lag_monitor.start()
        self._node.spawn(self._tick_forever())
        self._node.spawn(self._free_forever())

    def stop(self) -> None:
        self._lag_monitor.stop()

    async def _tick_forever(self) -> None:
        node = self._node
        before_us, count = node.clock(), 0
        sampled_us = before_us
        while True:
            await asyncio.sleep(TICK_S)
            now_us = node.clock()
            elapsed_s, before_us = (now_us - before_us) / 1e6, now_us
            count += 1
            keyspace = node.engine.keyspace
            self._gc.tick(elapsed_s, lambda: key_count(node.engine.keyspace))
            if node.primary is not None:
                node.primary.tick(any(database.volatile for database in keyspace.existing()))
                node.check_lease()
            node.wall.read()
            for client in node.budget.unread.clients():
                client.check_output(now_us)
            node.facts_writer.update_shard()
            node.client_requests.tick(count)
            if count % 10 == 0:
                self._sampler.sample((now_us - sampled_us) / 1e6)
                sampled_us = now_us
                node.facts_writer.update_log()
                node.facts_writer.update_progress()
            node.resume_sessions()

    async def _free_forever(self) -> None:
        """Free discarded values a few milliseconds at a time, whatever discarded them."""
        while True:
            more = self._node.engine.keyspace.free_some(FREE_UNITS)
            await asyncio.sleep(FREE_AGAIN_S if more else TICK_S)
