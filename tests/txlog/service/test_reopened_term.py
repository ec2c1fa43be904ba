"""A term that is sealed again in the same turn in which its owner comes.
The owner must learn which position this costs.
"""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

from txlog.client.writer import Writer
from txlog.consensus.outputs import Reopened
from txlog.consensus.pace import Pace


async def test_an_owner_that_came_after_a_second_seal_of_the_term_appends_the_leadership() -> None:
    client: Any = SimpleNamespace(
        busy_limit_ms=0,
        links=[],
        clock=lambda: 1,
        nodes=3,
        incarnation=b"i" * 16,
        rng=random.Random(1),
        commit_timeout_ms=0,
        limits={},
        pace=Pace(),
        keeper=None,
    )
    writer = Writer(client, 800)
    said: list[object] = []
    own = "appended on its own"
    writer.append = lambda *_: [said.append(own), 1][1]  # type: ignore[assignment]
    writer._event(Reopened(2))
    writer.on_reopened = said.append
    await asyncio.sleep(0)
    assert said == [writer.term]
