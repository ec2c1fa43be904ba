"""A log's store on a simulated disk, without a node around it.

Decides: which log and which sizes it has. Must not know: what a test does with it.
"""

from __future__ import annotations

from pathlib import Path

from tests.sim.disk import Disk
from txlog.storage.store import LogStore

PATH = Path("/data/logs/l")


def open_store(disk: Disk) -> LogStore:
    return LogStore.open(
        PATH, "l", bytes(16), "n", segment_bytes=32 * 1024, files=disk, threaded=False
    )
