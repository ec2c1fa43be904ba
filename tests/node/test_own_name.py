"""The address that a node gives to others when it listens on every address."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from memstore.node import process
from txlog.resolver import RESOLVER


@pytest.fixture
def everywhere() -> Iterator[list[socket.socket]]:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        yield [sock]


async def test_its_own_name_s_address(
    everywhere: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RESOLVER, "_names", {})
    monkeypatch.setattr(RESOLVER, "_ask", lambda name: ["fd00::7", "10.0.0.7"])
    monkeypatch.setattr(socket, "gethostname", lambda: "engine-a")
    assert await process.announced(everywhere) == "10.0.0.7"


async def test_a_resolver_that_does_not_answer_does_not_keep_it_from_starting(
    everywhere: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RESOLVER, "_names", {})
    monkeypatch.setattr(RESOLVER, "_ask", lambda name: time.sleep(2))
    monkeypatch.setattr(socket, "gethostname", lambda: "engine-b")
    monkeypatch.setattr(process, "OWN_NAME_S", 0.1)
    begun = time.monotonic()
    assert await process.announced(everywhere) == "127.0.0.1"
    assert time.monotonic() - begun < 1.5
