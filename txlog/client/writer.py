"""The writer's driver: connects a `Proposer` with the client's links, one timer, and its owner's
callbacks.

Decides: when bytes leave (`flush`, or the end of the loop turn) and in which order the owner gets
events.
Must not know: the protocol; the proposer decides.
Invariants: ``on_lost`` is called at most once, and no callback follows it; ``lease_until_us`` stays
0 once the writer is lost, released or stopped; the lease keeper's renewals (L7) count only in
`renewed_until`, and only for the writer's term and ballot id at that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from txlog.clock import timer_s
from txlog.consensus.limits import Limits
from txlog.consensus.outputs import (
    CampaignOver,
    Committed,
    Fenced,
    LeaseUntil,
    Opened,
    Reopened,
    Send,
)
from txlog.consensus.proposer import Proposer
from txlog.entry import LEADERSHIP, Entry, EntryId
from txlog.lease_keeper.board import RenewalOrder
from txlog.messages import Message
from txlog.wire import encode

if TYPE_CHECKING:
    from txlog.client.client import LogClient


FAR_US: Final = 1 << 62
# a timer that fires within this time asks for the next deadline itself: to ask now costs more than
# most messages
_SOON_US: Final = 1000


class CampaignLost(Exception):
    """The campaign did not succeed.

    ``held``: another writer's lease runs. ``retry_ms``: the shortest time until another try.
    ``windows``: the writers with open windows, and for how many ms.
    """

    def __init__(
        self, reason: str, retry_ms: int, held: bool, windows: tuple[tuple[bytes, int], ...] = ()
    ) -> None:
        super().__init__(reason)
        self.windows = windows
        self.reason = reason
        self.retry_ms = retry_ms
        self.held = held


def _nothing_committed(position: int) -> None:
    """The callback until the owner sets its own."""


class Writer:
    """Made by `LogClient.campaign`. Set ``on_committed`` and ``on_lost`` at once. A loss that came
    before ``on_lost`` was set is still reported to it.

    ``on_reopened(term)``: a minority had to be sealed again (W5), and the writer goes on. The owner
    must append its LEADERSHIP payload (``leadership``) through `append` before its next entry.
    Without an ``on_reopened`` the writer appends it itself, between two turns of the loop.
    """

    def __init__(self, client: LogClient, lease_ms: int) -> None:
        self.lease_ms = lease_ms
        self.lease_until_us = 0
        self.prefix: list[Entry] = []
        self.leadership = b""
        self.lost = ""  # the reason, once the writer is lost
        self.on_committed: Callable[[int], None] = _nothing_committed
        self.on_reopened: Callable[[int], None] | None = None
        self._on_lost: Callable[[str], None] | None = None
        self._client = client
        self._links = client.links
        self._clock = client.clock
        limits = Limits(
            **{
                "commit_timeout_ms": client.commit_timeout_ms,
                "busy_limit_ms": client.busy_limit_ms,
                **client.limits,
            }
        )
        self._proposer = Proposer(client.nodes, client.incarnation, client.rng, limits, client.pace)
        self._wall_ms: Callable[[], int] = int
        self._campaign: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0
        self._flush_due = False
        self._open = False
        self._over = False
        self._released = False
        # the term and ballot id that the lease keeper may renew
        self.renewable: tuple[int, bytes] | None = None
        # a later clock reading means that the loop stood still; the lease keeper sets it
        self.due_us = FAR_US

    # ------------------------------------------------------------------ for the owner

    @property
    def term(self) -> int:
        return self._proposer.term

    @property
    def next_position(self) -> int:
        return self._proposer.next_position

    @property
    def committed(self) -> int:
        return self._proposer.committed

    @property
    def last(self) -> tuple[EntryId, bytes]:
        """Id and chain of the newest entry appended. When all entries are committed, the owner's
        subscription goes on from there.
        """
        return self._proposer.last, self._proposer.last_chain

    @property
    def in_flight(self) -> int:
        """Number of entries that are appended and not committed."""
        return self._proposer.in_flight

    @property
    def in_flight_bytes(self) -> int:
        return self._proposer.in_flight_bytes

    @property
    def on_lost(self) -> Callable[[str], None] | None:
        return self._on_lost

    @on_lost.setter
    def on_lost(self, callback: Callable[[str], None]) -> None:
        self._on_lost = callback
        if self.lost:
            self._loop.call_soon(callback, self.lost)

    def append(self, kind: int, payload: bytes, wall_ms: int, continued: bool = False) -> int:
        """Append an entry and return its position. It leaves with `flush`, or at the end of this
        turn of the loop, together with all others of the turn.
        """
        position = self._proposer.append(kind, payload, wall_ms, continued, self._clock()).position
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_turn)
        return position

    def flush(self) -> None:
        """Send now what has been appended."""
        self.pump()

    async def release(self, successor: bytes) -> None:
        """L4: from now on the lease counts as over. Everything appended should be committed before
        the call. The writer is over after it.
        """
        self._set_lease(0)
        self._released = True
        if self._over:
            return
        self._proposer.release(successor, self._clock())
        self.pump()
        # The Releases are in the sockets' buffers; one turn of the loop sends them before a caller
        # closes a link.
        await asyncio.sleep(0.01)
        self.stop()

    def stop(self) -> None:
        """Stop the renewals; the lease expires by itself. ``on_lost`` is not called."""
        if self._over:
            return
        self._proposer.stop()
        self._end()
        if self._campaign is not None and not self._campaign.done():
            self._campaign.set_exception(CampaignLost("stopped", 0, False))

    def start_handover(self) -> None:
        """From now on the lease counts as over (no reads are served), but appends go on: HANDOVER
        is one of them.
        """
        self._proposer.start_handover()
        self._set_lease(0)
        self.pump()

    def abort_handover(self) -> None:
        """The hand-over failed and nothing was released: the lease counts again after the next
        renewal.
        """
        self._proposer.abort_handover()
        self._allow_keeper()
        self.pump()

    # ------------------------------------------------------------------ campaign

    async def campaign(
        self,
        applied: EntryId,
        applied_chain: bytes,
        leadership_payload: bytes,
        wall_ms: Callable[[], int],
    ) -> None:
        now = self._clock()
        self.leadership = leadership_payload
        self._wall_ms = wall_ms
        self._campaign = self._loop.create_future()
        for link in self._links:
            if link.up:
                self._proposer.on_connected(link.index, now)
        self._proposer.start_campaign(
            applied, applied_chain, self.lease_ms, leadership_payload, wall_ms(), now
        )
        self.pump()
        await self._campaign

    # ------------------------------------------------------------------ events from the links

    def on_connected(self, index: int) -> None:
        if not self._over:
            self._proposer.on_connected(index, self._clock())
            self.pump()

    def on_membership(self) -> None:
        """S8: all connections were dropped; the proposer seals the term again over new ones."""
        if not self._over:
            self._set_renewable(None)
            self._proposer.on_membership(self._clock())
            self.pump()

    def on_disconnected(self, index: int) -> None:
        if not self._over:
            self._proposer.on_disconnected(index, self._clock())
            self.pump()

    def on_messages(self, index: int, messages: list[Message]) -> None:
        if self._over:
            return
        now = self._clock()
        if now > self.due_us:
            self.renewed_until(now)
        on_message = self._proposer.on_message
        for message in messages:
            on_message(index, message, now)
        self.pump()

    # ------------------------------------------------------------------ the machine's outputs

    def _flush_turn(self) -> None:
        if self._flush_due:
            self.pump()

    def pump(self) -> None:
        """Carry out the proposer's outputs: first the sends, then the owner's callbacks, which may
        append again.
        """
        self._flush_due = False
        if self._over:
            return
        committed = 0
        events: list[object] = []
        links = self._links
        last: Message | None = None
        frame = b""
        for output in self._proposer.take_outputs():
            kind = type(output)
            if kind is Send:
                message = output.message  # type: ignore[union-attr]  # identity is not narrowed
                if message is not last:
                    frame = encode(message)
                    last = message
                links[output.to].send_frame(message, frame)  # type: ignore[union-attr]  # as above
            elif kind is Committed:
                committed = output.position  # type: ignore[union-attr]  # as above
            elif kind is LeaseUntil:
                self._lease(output.us)  # type: ignore[union-attr]  # as above
            else:
                events.append(output)
        if events:
            for event in events:
                self._event(event)
        if committed and self._open and not self._over:
            self.on_committed(committed)
        self._arm()

    def _event(self, event: object) -> None:
        if isinstance(event, Opened):
            self.prefix = event.prefix
            self._open = True
            self._allow_keeper()
            if self._campaign is not None and not self._campaign.done():
                self._campaign.set_result(None)
        elif isinstance(event, CampaignOver):
            self._end()
            if self._campaign is not None and not self._campaign.done():
                self._campaign.set_exception(
                    CampaignLost(event.reason, event.retry_ms, event.held, event.windows)
                )
        elif isinstance(event, Fenced):
            self._end()
            if self._campaign is not None and not self._campaign.done():
                self._campaign.set_exception(CampaignLost(event.reason, self.lease_ms, False))
                return
            self.lost = event.reason
            if self._on_lost is not None and not self._released:
                self._on_lost(event.reason)
        elif isinstance(event, Reopened):
            self._allow_keeper()
            if self.on_reopened is not None:
                self.on_reopened(event.term)
            else:
                self._loop.call_soon(self._append_leadership)

    def _append_leadership(self) -> None:
        if self._over:
            return
        if self.on_reopened is not None:
            # the owner set it meanwhile, and has to know of every position
            self.on_reopened(self.term)
        else:
            self.append(LEADERSHIP, self.leadership, self._wall_ms())

    def _end(self) -> None:
        self._over = True
        self._open = False
        self._set_lease(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._client.on_writer_over(self)

    # ------------------------------------------------------------------ the lease

    def renewed_until(self, now_us: int) -> int:
        """The end of the lease, with the lease keeper's renewals while the loop stood still (L7).

        For a caller that finds `lease_until_us` over. It carries out no outputs, so any code may
        call it at any time.
        """
        keeper = self._client.keeper
        if keeper is not None and not self._over:
            keeper.on_loop_tick(now_us)
        return self.lease_until_us

    def renews_until(self, now_us: int) -> int:
        """For the lease keeper: the lease's end, or 0 while this writer asks for no lease (L8)."""
        return self.lease_until_us if self._proposer.renews(now_us) else 0

    def on_stood_still(self, us: int, now_us: int) -> None:
        """From the lease keeper: the loop stood still for this long."""
        if not self._over:
            self._proposer.on_stood_still(us, now_us)

    def on_keeper_renewed(
        self, index: int, term: int, ballot_id: bytes, sent_us: int, now_us: int
    ) -> None:
        """From the lease keeper: a Renew of this term and ballot id was sent to this log node at
        ``sent_us``, and the node answered it with `Renewed`.
        """
        if not self._over and self.renewable == (term, ballot_id):
            self._proposer.on_renewed_elsewhere(index, term, ballot_id, sent_us, now_us)
            self._lease(self._proposer.lease_until_us)

    def _lease(self, until_us: int) -> None:
        if until_us == 0:
            self._set_lease(0)
        elif until_us > self.lease_until_us and not self._released and not self._over:
            self.lease_until_us = until_us

    def _set_lease(self, until_us: int) -> None:
        self.lease_until_us = until_us
        self._set_renewable(None)

    def _allow_keeper(self) -> None:
        """A new term and ballot id begin: the lease keeper may renew for them, and not for earlier
        ones. While a re-seal is open this call does nothing, because the next term is about to
        begin.
        """
        if not self._released and not self._over and self._proposer.may_renew_beside():
            self._set_renewable((self._proposer.term, self._proposer.ballot_id))

    def _set_renewable(self, renewable: tuple[int, bytes] | None) -> None:
        self.renewable = renewable
        if self._client.keeper is not None:
            order = (
                RenewalOrder(renewable[0], renewable[1], self.lease_ms)
                if renewable is not None
                else None
            )
            self._client.keeper.order(
                order, self.renews_until(self._clock()) if order is not None else 0
            )

    # ------------------------------------------------------------------ time

    def _arm(self) -> None:
        """Set the one timer. If the deadline moves later, the old timer fires and finds nothing
        due. This is cheaper than a new timer at each message.
        """
        if self._over or (self._timer is not None and self._timer_us - self._clock() < _SOON_US):
            return
        deadline = self._proposer.deadline()
        if not deadline or (self._timer is not None and self._timer_us <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_us = deadline
        self._timer = self._loop.call_later(timer_s(deadline - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._over:
            return
        now = self._clock()
        if now > self.due_us:
            self.renewed_until(now)
        deadline = self._proposer.deadline()
        if deadline and now >= deadline:
            self._proposer.on_deadline(now)
        self.pump()
