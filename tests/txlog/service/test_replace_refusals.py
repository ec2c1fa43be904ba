"""A second log node is replaced before the first learner has every log.
A log that the learner has not begun to copy counts as not copied.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.txlog.service.harness import eventually
from txlog.config import LogServerConfig
from txlog.messages import InitDone, JoinGroup, Membership, Status
from txlog.server.identity import DataFolder
from txlog.server.node import LogNode
from txlog.tool_connection import AdminError
from txlog.tools.replace import Group, _check_whole


class Told:
    """A tool whose node answers with these logs."""

    def __init__(self, joined: int, *logs: tuple[str, int]) -> None:
        rows = [
            {
                "log": name,
                "last": [1, last],
                "promised": 1 if last else 0,
                "suspect": None,
                "broken": None,
            }
            for name, last in logs
        ]
        self.status = json.dumps({"joined": joined, "logs": rows, "refused": {}})

    async def ask(self, message: object) -> Status:
        return Status(1, self.status)


def group(a: Told, x: Told) -> Group:
    """Node b is lost; x replaced c before."""
    tools: dict[str, Any] = {"a": a, "x": x}
    return Group(Membership(b"g" * 16, 3, ["a=h:1", "x=h:3", "y=h:4"]), tools, {"a": 2, "x": 2})


async def test_a_learner_that_has_not_opened_a_log_yet_is_not_whole() -> None:
    with pytest.raises(
        AdminError, match=r"'shard-1' was not copied to log node x yet.*nothing was changed"
    ):
        await _check_whole(group(Told(1, ("shard-0", 5), ("shard-1", 7)), Told(2, ("shard-0", 5))))
    await _check_whole(
        group(Told(1, ("shard-0", 5), ("shard-1", 7)), Told(2, ("shard-0", 5), ("shard-1", 7)))
    )
    await _check_whole(group(Told(1, ("shard-0", 5), ("never-used", 0)), Told(2, ("shard-0", 5))))
    # there from the start: what it does not know it never promised
    await _check_whole(group(Told(1, ("shard-0", 5), ("shard-1", 7)), Told(1, ("shard-0", 5))))


async def test_a_place_given_again_opens_the_logs_that_are_still_missing(tmp_path: Path) -> None:
    port = free_port()
    node = LogNode(
        LogServerConfig("c", tmp_path, port, segment_bytes=256 << 10), DataFolder.open(tmp_path)
    )
    await node.start()
    members = [f"a=127.0.0.1:{free_port()}", f"b=127.0.0.1:{free_port()}", f"x=127.0.0.1:{port}"]
    assert node._join(JoinGroup(b"g" * 16, "x", 2, members, node.identity.folder, [])) == InitDone(
        b"g" * 16, "x", True
    )
    assert node._join(
        JoinGroup(b"g" * 16, "x", 2, members, node.identity.folder, ["shard-0"])
    ) == InitDone(b"g" * 16, "x", False)
    await eventually(lambda: [driver.name for driver in node._drivers()] == ["shard-0"])
    assert node._drivers()[0]._acceptor.is_learner and node.status()["joined"] == 2
    await node.close()
