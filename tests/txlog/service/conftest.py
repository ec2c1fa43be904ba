"""Fixtures for service tests.

A node that halts must fail its test, not end the test run. Most tests use the group of three.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.txlog.service.harness import Group
from txlog.embedded import local_log
from txlog.server import node


class Halted(asyncio.CancelledError):
    """Replaces the end of the process.
    No code after `halt` runs, and no handler of `Exception` takes it. The task that halts counts as
    cancelled, so asyncio reports nothing.
    """


@pytest.fixture(autouse=True)
def halts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The reasons for which a node of this test would have ended its process.
    A test that expects one clears the list.
    """
    reasons: list[str] = []

    def halt(reason: str) -> NoReturn:
        reasons.append(reason)
        raise Halted(reason)

    monkeypatch.setattr(node, "halt", halt)
    monkeypatch.setattr(local_log, "_halt", halt)
    yield reasons
    assert reasons == []


@pytest.fixture
async def group(tmp_path: Path) -> AsyncIterator[Group]:
    group = Group(tmp_path)
    await group.start()
    yield group
    await group.stop()
