"""What the conformance tests need of a log, and helpers around the interface.

A third log needs one class here and its name in the fixture of `conftest`:

1. Derive it from `Backend`. ``machines`` is how many entries `Log.node_states` has.
2. `start` and `stop` bring up and end the servers, in ``self.folder``, on ports of `tests.ports`.
3. `make` gives a `memstore.log.interface.Log` with an incarnation of its own, not opened yet.
4. `restart` ends all servers and starts them on the same data.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from memstore.log.embedded import EmbeddedLog
from memstore.log.interface import CampaignLost, Log, Writer
from memstore.log.quorum import QuorumLog
from tests.txlog.service.harness import LEASE_MS, Group, Reader, committed, eventually
from txlog.client import LogAddress, LogClient
from txlog.clock import wall_ms
from txlog.entry import GENESIS_CHAIN, NO_ENTRY, EntryId

__all__ = ["LEASE_MS", "Backend", "Reader", "committed", "eventually", "win"]


class Backend:
    """See the module."""

    machines = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._logs: list[Log] = []
        self._seed = 0

    async def start(self) -> None: ...

    async def stop(self) -> None:
        for log in list(self._logs):
            await self.close(log)

    async def restart(self) -> None: ...

    def make(self, rng: random.Random) -> Log:
        raise NotImplementedError

    async def log(self) -> Log:
        self._seed += 1
        log = self.make(random.Random(self._seed))
        await log.open()
        self._logs.append(log)
        return log

    async def close(self, log: Log) -> None:
        self._logs.remove(log)
        await log.close()


class QuorumBackend(Backend):
    machines = 3

    async def start(self) -> None:
        self._group = Group(self.folder)
        await self._group.start()

    async def stop(self) -> None:
        await super().stop()
        await self._group.stop()

    async def restart(self) -> None:
        await self._group.restart()

    def make(self, rng: random.Random) -> Log:
        return QuorumLog(LogClient(self._group.address(), "a", rng, create=True))


class EmbeddedBackend(Backend):
    def make(self, rng: random.Random) -> Log:
        return EmbeddedLog(LogAddress.parse(f"embedded:{self.folder / 'log'}"), "a", rng)


async def win(
    log: Log,
    applied: EntryId = NO_ENTRY,
    chain: bytes = GENESIS_CHAIN,
    lease_ms: int = LEASE_MS,
    timeout_s: float = 10,
) -> Writer:
    """Campaign until it is won."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await log.campaign(applied, chain, lease_ms, b'{"node":"test"}', wall_ms)
            except CampaignLost as lost:
                await asyncio.sleep(max(lost.retry_ms, 10) / 1000)
