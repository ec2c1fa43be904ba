"""Clusters for the system tests.

Most tests leave the cluster as they found it, so they share one. `cluster` gives the shared cluster
while it is whole, and a new one after a test that did not leave it whole. Each failing test's
folder is kept. Tests that destroy their cluster take `own_cluster`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.cluster import Cluster, alive


class Pool:
    """At most one running cluster."""

    def __init__(self) -> None:
        self.running: Cluster | None = None

    def get(self) -> Cluster:
        if self.running is not None and not whole(self.running):
            self.running.keep = True
            self.drop()
        if self.running is None:
            made = Cluster()
            made.__enter__()
            self.running = made
        return self.running

    def drop(self) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None


def whole(cluster: Cluster) -> bool:
    """Whether the cluster is whole.
    Every process lives, the log nodes are good, one engine node is primary and the others answer.
    """
    processes = cluster.processes()
    if not all(alive(p.pid) for p in processes) or cluster.added:
        return False
    states = [row.state for row in cluster.log_status().values()]
    roles = sorted(cluster.role(p) for p in cluster.engines())
    return states == ["good"] * 3 and roles == ["master", "slave", "slave"]


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.drop()


@pytest.fixture
def cluster(pool: Pool) -> Cluster:
    return pool.get()


@pytest.fixture
def own_cluster(pool: Pool) -> Iterator[Cluster]:
    pool.drop()  # two clusters at once would only slow both down
    with Cluster() as made:
        yield made


@pytest.fixture
def cluster_mode(pool: Pool) -> Iterator[Cluster]:
    pool.drop()
    with Cluster(extra=["--cluster"]) as made:
        yield made
