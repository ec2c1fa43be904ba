"""The limits of a writer, each with its unit.
They bound the time between its messages, and the entries and bytes in flight or kept.

Decides: the numbers.
Must not know: how they are used (`proposer`). Times that depend on measurements are in `pace`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COMMIT_NOTICE_US: Final = 1_000  # W7
BUSY_US: Final = 20_000  # appends count as close together within this time
BUSY_AFTER: Final = 8  # after so many in a row, the next append will soon carry the commit notice
BUSY_NOTICE_US: Final = 4_000  # how long the commit notice then waits for that append
RETRY_US: Final = 100_000  # a node without room is tried again
CATCH_UP_LOOK_US: Final = 50_000
MAX_STALL_US: Final = 4_000_000
MAX_READINGS: Final = 8  # a log that grows while it is read has an active writer


@dataclass(slots=True)
class Limits:
    window_entries: int = 4096  # in flight to one node
    window_bytes: int = 16 << 20
    message_bytes: int = 4 << 20  # entries in one Append; a single larger entry is still sent
    # recent entries kept for nodes that lag; they use the primary's memory beside its data
    keep_bytes: int = 16 << 20
    fetch_bytes: int = 4 << 20
    commit_timeout_ms: int = 0  # L8, 0: the lease, or longer as commits were measured to take
    # L8: how much of the time in which the loop stood still is not counted for one entry, in total
    busy_limit_ms: int = 15_000
