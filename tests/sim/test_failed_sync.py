"""A node writes bytes again that it reads after a failed sync.

After a failed fsync the kernel may mark pages clean that the platter does not hold. The process
ends (A5), but the machine continues, and the next life of the process reads those pages. Entries
that the process reports as held will be acknowledged. So it must write them again: a sync alone is
not enough. Runs with a sync error and, soon after, a power loss found this.
"""

from __future__ import annotations

import pytest

from tests.sim.disk import Disk
from tests.sim.lone_store import open_store
from tests.sim.world import World
from tests.txlog.storage.helpers import make_run
from txlog.storage.errors import StorageFatal
from txlog.storage.store import LogStore

SEEDS = range(30)


def restarted(disk: Disk) -> LogStore:
    disk.process_died()
    return open_store(disk)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_restart_reports_after_a_failed_sync_survives_a_power_loss(seed: int) -> None:
    disk = Disk(World(seed), "h")
    store = open_store(disk)
    entries = make_run(6)
    store.write_entries(entries[:3], 0)
    store.sync()
    store.write_entries(entries[3:], 0)
    disk.fail_syncs = 1
    with pytest.raises(StorageFatal):
        store.sync()
    reported = restarted(disk).recovered.last
    disk.lose_power()
    assert open_store(disk).recovered.last >= reported
