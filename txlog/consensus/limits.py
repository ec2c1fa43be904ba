"""The bounds of a writer, each with its unit: of time between its messages, of entries and bytes
under way or kept.

Decides: the numbers.
Must not know: what is done with them (`proposer`). Times that follow measurements are in `pace`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COMMIT_NOTICE_US: Final = 1_000  # W7
BUSY_US: Final = 20_000  # appends that follow one another within this
BUSY_AFTER: Final = 8  # so many times mean that the next one will soon carry the news
BUSY_NOTICE_US: Final = 4_000  # how long the news waits for it then
RETRY_US: Final = 100_000  # a node without room is tried again
CATCH_UP_LOOK_US: Final = 50_000
MAX_STALL_US: Final = 4_000_000
MAX_READINGS: Final = 8  # a log that grows while it is read has a living writer


@dataclass(slots=True)
class Limits:
    window_entries: int = 4096  # in flight to one node
    window_bytes: int = 16 << 20
    message_bytes: int = 4 << 20  # entries in one Append; one larger entry still goes
    # recent entries kept for lagging nodes; they are memory of the primary beside its data
    keep_bytes: int = 16 << 20
    fetch_bytes: int = 4 << 20
    commit_timeout_ms: int = 0  # L8, 0: the lease, or longer as commits were measured to take
    # L8: time in which the loop stood still that does not count for one entry, all together
    busy_limit_ms: int = 15_000
