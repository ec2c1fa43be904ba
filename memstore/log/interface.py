"""What an engine node needs of any transaction log: writer, subscription, tail, state, trim.

Decides: which operations a log has, and with which errors they fail.
Must not know: how a log does it. `quorum` and `embedded` implement it. A further log is one more
file here, a line in `opening`, and a fixture in `tests/log/conformance`.

Invariants that each log keeps:
- An append follows the entry before it, or the writer is lost. Positions are dense.
- A position is committed only when it is on disk as often as the log promises.
- `Log.tail` is at or above each append that was acknowledged before the call.
- The leases of two writers do not overlap. A lost writer commits nothing more.
- A subscription gives each committed entry once, in order, from its start position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from txlog.entry import Entry, EntryId


class LogUnusable(Exception):
    """The log cannot be opened; the text is one line for the operator."""


class NoMajority(Exception):
    """The log cannot report its tail in time; the text is one line."""


class TrimNotSupported(Exception):
    """This log keeps all its entries."""


class CampaignLost(Exception):
    """The campaign failed this time. ``held``: another writer's lease runs. ``retry_ms``: the
    least time before the next try. ``windows``: the writers whose windows are open, and for how
    many ms.
    """

    def __init__(
        self, reason: str, retry_ms: int, held: bool, windows: tuple[tuple[bytes, int], ...] = ()
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_ms = retry_ms
        self.held = held
        self.windows = windows


class ProbeResult(Protocol):
    """Whether a campaign would be won now. ``wait_ms``: until the open windows allow it."""

    would_promise: bool
    wait_ms: int
    windows: tuple[tuple[bytes, int], ...]


class Heartbeat(Protocol):
    """The log's state, as its readers receive it. ``writer``: the incarnation whose window is open
    for ``window_left_ms``. ``successor``: the incarnation to which it was released.
    """

    committed: int
    last: EntryId
    promised: int  # the highest term that was promised
    window_left_ms: int
    writer: bytes
    successor: bytes
    suspect: bool


class NodeState(Protocol):
    """One of the machines that keep the log, for status."""

    address: str
    node: str
    az: str
    connected: bool
    error: str
    last: EntryId | None
    committed: int


class Subscription(Protocol):
    """A stream of committed entries. Nothing comes after `close`."""

    def close(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Writer(Protocol):
    """The one writer of a term. Its LEADERSHIP entry is committed, and ``prefix`` holds all entries
    from the campaign's position up to it. ``on_reopened(term)``: the owner appends ``leadership``
    again before its next entry. ``on_lost(reason)`` is called at most once, and no callback after
    it.
    """

    lease_until_us: int
    leadership: bytes
    prefix: list[Entry]
    lost: str
    on_committed: Callable[[int], None]
    on_reopened: Callable[[int], None] | None

    @property
    def on_lost(self) -> Callable[[str], None] | None: ...
    @on_lost.setter
    def on_lost(self, callback: Callable[[str], None]) -> None: ...
    @property
    def term(self) -> int: ...
    @property
    def next_position(self) -> int: ...
    @property
    def committed(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def in_flight_bytes(self) -> int: ...
    @property
    def last(self) -> tuple[EntryId, bytes]: ...
    def append(self, kind: int, payload: bytes, wall_ms: int, continued: bool = False) -> int: ...
    def flush(self) -> None: ...
    # the lease's end, also after the loop stood still
    def renewed_until(self, now_us: int) -> int: ...
    def start_handover(self) -> None: ...
    def abort_handover(self) -> None: ...
    def stop(self) -> None: ...
    async def release(self, successor: bytes) -> None: ...


class Log(Protocol):
    """``incarnation`` is this process' id in the log. ``embedded``: the log is in this process, so
    no log node can be unreachable. ``clock``: microseconds of the leases' clock.
    """

    name: str
    incarnation: bytes
    embedded: bool
    clock: Callable[[], int]

    # raises LogUnusable, OSError
    async def open(self) -> None: ...
    async def close(self) -> None: ...
    # the lease is renewed for up to ``busy_limit_ms`` while the loop is inside one command
    def start_lease_keeper(self, busy_limit_ms: int) -> None: ...
    def node_states(self) -> Sequence[NodeState]: ...
    def subscribe(
        self,
        start: int,
        chain: bytes,
        on_records: Callable[[list[Entry], int], None],
        on_heartbeat: Callable[[Heartbeat], None],
        on_error: Callable[[str], None],
    ) -> Subscription: ...

    # raises NoMajority
    async def tail(self, timeout_ms: int) -> EntryId: ...
    async def probe(self) -> ProbeResult: ...

    # raises CampaignLost
    async def campaign(
        self,
        applied: EntryId,
        applied_chain: bytes,
        lease_ms: int,
        leadership_payload: bytes,
        wall_ms: Callable[[], int],
    ) -> Writer: ...

    # entries up to ``upto`` are no longer needed; raises TrimNotSupported
    async def trim(self, upto: int) -> None: ...
