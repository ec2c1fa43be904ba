"""The lease as the shard sees it: until when reads may be served.

Decides: nothing. The shard asks the lease each time.
Must not know: how a lease is won or renewed.
"""

from __future__ import annotations

from typing import Final, Protocol


class Lease(Protocol):
    """The shard's view of the writer. When ``lease_until_us`` has passed, the shard calls
    `renewed_until`, which counts renewals that were made while the loop stood still.
    """

    lease_until_us: int

    def renewed_until(self, now_us: int) -> int: ...


class FixedLease:
    __slots__ = ("lease_until_us",)

    def __init__(self, lease_until_us: int) -> None:
        self.lease_until_us = lease_until_us

    def renewed_until(self, now_us: int) -> int:
        return self.lease_until_us


NO_LEASE: Final = FixedLease(0)
