"""Every promise once or twice on a real cluster.

This is the short form of `done_when`, whose full counts are the `long` tests. A failing test keeps
the cluster's folder (data and output), and its message names the row that failed.
"""

from __future__ import annotations

import shutil

import pytest

from tests.system import done_when
from tests.system.cluster import Cluster
from tests.system.points import (
    busy,
    clients,
    damage,
    diskfull,
    fsync,
    handover,
    kills,
    memory,
    pause,
    reads,
)
from tests.system.results import Result
from tests.system.workload import Plan

pytestmark = pytest.mark.system
needs_redis = pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="redis-server and its tools are not installed"
)
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
needs_root = pytest.mark.skipif(not diskfull.possible(), reason="a small mount needs root")


def held(result: Result) -> None:
    print(result)
    assert result.passed, f"\n{result}"


@needs_redis
def test_clients(cluster: Cluster) -> None:
    held(clients.standalone(cluster, requests=2000))


async def test_kill_of_the_primary(cluster: Cluster) -> None:
    held(await kills.primary(cluster, 2))


async def test_kill_of_a_log_node(cluster: Cluster) -> None:
    """Does not check the bound on gaps: `done_when` does, on a machine that does nothing else."""
    result = await kills.log_node(cluster, 1, Plan(think_s=0.02))
    result.failures = [failure for failure in result.failures if "gap of" not in failure]
    held(result)


async def test_kill_of_everything(cluster: Cluster) -> None:
    held(await kills.everything(cluster, 1))


@needs_strace
def test_fsync_before_every_reply(cluster: Cluster) -> None:
    held(fsync.traced_sets(cluster, 50))


def test_no_stale_read_after_a_pause(cluster: Cluster) -> None:
    held(pause.stale_reads(cluster, 1))


async def test_handover(cluster: Cluster) -> None:
    result = await handover.under_load(cluster, 2, Plan(think_s=0.02))
    result.failures = [failure for failure in result.failures if "gap of" not in failure]
    held(result)


async def test_strong_reads(cluster: Cluster) -> None:
    held(await reads.strong(cluster, 500))


def test_debug_sleep_keeps_the_role(cluster: Cluster) -> None:
    held(busy.debug_sleep(cluster, seconds=3))


async def test_a_flipped_byte_is_put_back(cluster: Cluster) -> None:
    held(await damage.flipped_bytes(cluster, 3))


def test_redis_cluster_through_a_failover(cluster_mode: Cluster) -> None:
    held(clients.cluster_mode(cluster_mode))


def test_a_proven_entry_lost_everywhere_is_refused(own_cluster: Cluster) -> None:
    held(damage.everywhere(own_cluster))


def test_an_empty_folder_does_not_vote(own_cluster: Cluster) -> None:
    held(damage.empty_folder(own_cluster))


@needs_root
@pytest.mark.long
async def test_disk_full(own_cluster: Cluster) -> None:
    held(await diskfull.on_one_and_two(own_cluster))


@pytest.mark.long
@needs_redis
def test_memory(own_cluster: Cluster) -> None:
    held(memory.growth(own_cluster, 1_000_000))


@pytest.mark.long
def test_a_short_soak(own_cluster: Cluster) -> None:
    held(memory.soak(own_cluster, seconds=60, count=1_000_000))


@pytest.mark.long
@pytest.mark.parametrize("point", [2, 3, 4, 5, 6, 7, 8])
def test_full_counts(point: int) -> None:
    for result in done_when.POINTS[point](done_when.arguments([str(point)])):
        held(result)
