"""The quorum log: a group of txlog's log nodes as a `Log`.

Decides: only which error of `txlog.client` becomes which error of the interface.
Must not know: what entries mean. It returns the client's own writer and subscription unchanged, so
an append costs no extra call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memstore.log.interface import (
    CampaignLost,
    Heartbeat,
    LogUnusable,
    NodeState,
    NoMajority,
    ProbeResult,
    Subscription,
    TrimNotSupported,
    Writer,
)
from txlog import client as txlog
from txlog.entry import Entry, EntryId


class QuorumLog:
    """Implements `interface.Log`."""

    def __init__(self, client: txlog.LogClient) -> None:
        self.client = client
        self.name = client.address.log
        self.incarnation = client.incarnation
        self.embedded = client.embedded
        self.clock = client.clock

    async def open(self) -> None:
        try:
            await self.client.start()
        except txlog.LogRefused as refused:
            raise LogUnusable(str(refused)) from refused

    async def close(self) -> None:
        await self.client.close()

    def start_lease_keeper(self, busy_limit_ms: int) -> None:
        self.client.start_lease_keeper(busy_limit_ms)

    def node_states(self) -> Sequence[NodeState]:
        return self.client.node_states()

    @property
    def writer(self) -> txlog.Writer | None:
        """The writer that campaigns or is open; for tests."""
        return self.client.writer

    def subscribe(
        self,
        start: int,
        chain: bytes,
        on_records: Callable[[list[Entry], int], None],
        on_heartbeat: Callable[[Heartbeat], None],
        on_error: Callable[[str], None],
    ) -> Subscription:
        return self.client.subscribe(start, chain, on_records, on_heartbeat, on_error)

    async def tail(self, timeout_ms: int) -> EntryId:
        try:
            return await self.client.tail(timeout_ms)
        except txlog.NoMajority as error:
            raise NoMajority(str(error)) from None

    async def probe(self) -> ProbeResult:
        return await self.client.probe()

    async def campaign(
        self,
        applied: EntryId,
        applied_chain: bytes,
        lease_ms: int,
        leadership_payload: bytes,
        wall_ms: Callable[[], int],
    ) -> Writer:
        try:
            return await self.client.campaign(
                applied, applied_chain, lease_ms, leadership_payload, wall_ms
            )
        except txlog.CampaignLost as lost:
            raise CampaignLost(lost.reason, lost.retry_ms, lost.held, lost.windows) from None

    async def trim(self, upto: int) -> None:
        raise TrimNotSupported(f"log '{self.name}' keeps all its entries")
