"""Until when reads may be served: who says so to the shard.

Decides: nothing. The shard asks the lessor each time.
Must not know: how a lease is won or renewed.
"""

from __future__ import annotations

from typing import Final, Protocol


class Lessor(Protocol):
    """The writer, as far as reads are concerned. Where ``lease_until_us`` is over, `look` is asked:
    it counts what was renewed while the loop stood still.
    """

    lease_until_us: int

    def look(self, now_us: int) -> int: ...


class FixedLease:
    __slots__ = ("lease_until_us",)

    def __init__(self, lease_until_us: int) -> None:
        self.lease_until_us = lease_until_us

    def look(self, now_us: int) -> int:
        return self.lease_until_us


NO_LEASE: Final = FixedLease(0)
