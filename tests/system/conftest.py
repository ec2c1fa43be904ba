"""Clusters for the system tests: each test gets its own, since most of them leave it hurt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.cluster import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


@pytest.fixture
def cluster_mode() -> Iterator[Cluster]:
    with Cluster(extra=["--cluster"]) as made:
        yield made
