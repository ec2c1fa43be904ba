"""Observes the cluster from outside during the faults.

It records which node is the primary, how long there is none, and which process died without a
fault.

Decides: how often it checks, what is a role change.
Must not know: faults (the cluster knows which processes they took away), clients. A process that
ended itself is a finding. The watch starts it again, so that the run continues.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from tests.system.client import Connection
from tests.system.cluster import Process
from tests.system.soak.zones import Zones

EVERY_S = 0.1
ANSWER_S = 0.3


@dataclass
class Seen:
    role_changes: int = 0
    without_primary_s: float = 0.0  # the sum
    longest_without_primary_s: float = 0.0
    died: list[str] = field(default_factory=list)


class Watch:
    def __init__(self, cluster: Zones) -> None:
        self.cluster = cluster
        self.seen = Seen()
        self.primaries: set[str] = set()
        self._last = ""

    async def run(self, over: asyncio.Event) -> None:
        looks = [asyncio.create_task(self._look(row)) for row in self.cluster.engines()]
        since = before = time.monotonic()
        round_ = 0
        while not over.is_set():
            await asyncio.sleep(EVERY_S)
            now = time.monotonic()
            if self.primaries:
                since = now
            else:
                self.seen.without_primary_s += now - before
                self.seen.longest_without_primary_s = max(
                    self.seen.longest_without_primary_s, now - since
                )
            before = now
            round_ += 1
            if round_ % 5 == 0:
                await self._deaths()
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def _look(self, row: Process) -> None:
        connection: Connection | None = None
        while True:
            primary = False
            try:
                if connection is None or connection.ended is not None:
                    connection = await Connection.open(row.address, ANSWER_S)
                reply = await connection.call("ROLE", timeout=ANSWER_S)
                primary = isinstance(reply, list) and reply[0] == b"master"
            except (OSError, TimeoutError):
                primary = False  # it does not say so, for any reason
            if primary and row.name not in self.primaries:
                self.primaries.add(row.name)
                self.seen.role_changes += self._last not in ("", row.name)
                self._last = row.name
            elif not primary:
                self.primaries.discard(row.name)
            await asyncio.sleep(EVERY_S)

    async def _deaths(self) -> None:
        for row in self.cluster.died():
            self.seen.died.append(f"{row.name} ended by itself\n{self.cluster.tail(row.name)}")
            await asyncio.to_thread(self.cluster.restart, row)
