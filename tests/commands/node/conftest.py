"""Fixtures: a node of ours, and a real redis-server beside it where one is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.commands.node.harness import Client, Node
from tests.commands.realredis import real_redis


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def client(node: Node) -> Client:
    return node.connect()


@pytest.fixture(scope="module")  # no file sees what another left in the server
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with real_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port
