"""A node that halts must fail its test, not end the test run;
and the group of three that most tests ask.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.txlog.service.harness import Group
from txlog.embedded import local_log
from txlog.server import node


@pytest.fixture(autouse=True)
def halts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The reasons for which a node of this test would have ended its process; a test that expects
    one clears the list.
    """
    reasons: list[str] = []

    def halt(reason: str) -> None:
        reasons.append(reason)

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
