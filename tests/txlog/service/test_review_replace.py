"""Replacing a second log node before the first newcomer has every log: what it has not begun to copy counts as not copied."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.txlog.service.cluster import committed, eventually, free_port, win
from tests.txlog.service.test_replace import Load, Shop
from txlog.client import LogAddress
from txlog.client.admin import AdminError
from txlog.client.replace import Group, _check_whole, _join
from txlog.config import LogServerConfig
from txlog.messages import InitDone, JoinGroup, Membership, Status
from txlog.server.identity import DataFolder, Identity
from txlog.server.node import LogNode


class Told:
    """A tool whose node answers with these logs."""

    def __init__(self, joined: int, *logs: tuple[str, int]) -> None:
        rows = [{"log": name, "last": [1, last], "promised": 1 if last else 0, "suspect": None, "broken": None} for name, last in logs]
        self.status = json.dumps({"joined": joined, "logs": rows, "known_logs": [name for name, _ in logs]})

    async def ask(self, message: object) -> Status:
        return Status(1, self.status)


def group(a: Told, x: Told) -> Group:
    """Node b is lost; c was replaced by x before."""
    tools: dict[str, Any] = {"a": a, "x": x}
    return Group(Membership(b"g" * 16, 3, ["a=h:1", "x=h:3", "y=h:4"]), tools, {"a": 2, "x": 2})


async def test_a_newcomer_that_has_not_opened_a_log_yet_is_not_whole() -> None:
    with pytest.raises(AdminError, match=r"'shard-1' was not copied to log node x yet.*nothing was changed"):
        await _check_whole(group(Told(1, ("shard-0", 5), ("shard-1", 7)), Told(2, ("shard-0", 5))))
    await _check_whole(group(Told(1, ("shard-0", 5), ("shard-1", 7)), Told(2, ("shard-0", 5), ("shard-1", 7))))
    await _check_whole(group(Told(1, ("shard-0", 5), ("never-used", 0)), Told(2, ("shard-0", 5))))
    await _check_whole(group(Told(1, ("shard-0", 5), ("shard-1", 7)), Told(1, ("shard-0", 5))))  # there from the start: what it does not know it never promised


async def test_a_place_given_again_opens_the_logs_that_are_still_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    node = LogNode(LogServerConfig("c", tmp_path, port, segment_bytes=256 << 10), DataFolder.open(tmp_path))
    await node.start()
    members = [f"a=127.0.0.1:{free_port()}", f"b=127.0.0.1:{free_port()}", f"x=127.0.0.1:{port}"]
    place = JoinGroup(b"g" * 16, "x", 2, members, node.identity.folder, ["shard-0"])
    with monkeypatch.context() as patch:
        patch.setattr(node, "_open_all", lambda names: None)  # it ends here
        assert node._join(place) == InitDone(b"g" * 16, "x", True)
    assert not node._drivers() and node.status()["known_logs"] == ["shard-0"]
    assert node._join(place) == InitDone(b"g" * 16, "x", False)
    await eventually(lambda: [driver.name for driver in node._drivers()] == ["shard-0"])
    assert node._drivers()[0]._acceptor.newcomer and node.status()["joined"] == 2
    assert not (await node._driver("later"))._acceptor.newcomer, "nobody can have promised anything there on behalf of the lost node"
    await node.close()


def test_a_node_that_was_not_told_which_logs_there_were_begins_all_as_a_newcomer() -> None:
    assert Identity(joined=2).is_newcomer("any") and not Identity().is_newcomer("any")
    told = Identity(joined=2, inherited=["old"], logs=["new"])
    assert told.is_newcomer("old") and not told.is_newcomer("new") and told.known_logs == ["new", "old"]


async def test_a_place_is_given_only_when_a_majority_has_told_its_logs() -> None:
    class Silent(Told):
        async def ask(self, message: object) -> Status:
            raise TimeoutError

    newcomer: Any = SimpleNamespace(welcome=object())
    with pytest.raises(AdminError, match="only 1 log nodes say"):
        await _join(group(Told(1), Silent(2)), "y", {"a", "x"}, newcomer, lambda text: None)


async def test_a_new_log_can_be_made_after_all_log_nodes_were_replaced(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    await shop.start()
    try:
        client = await shop.client()
        load = Load(await win(client))
        for index in (2, 1, 0):
            await load.more()
            await shop.down(index)
            shop.lose(index)
            await shop.up(index)
            await shop.replace(shop.ports[index], shop.ports[index])
        await load.more()
        await load.stop()
        base = str(shop.address()).rpartition("/")[0]
        fresh = await shop.client(address=LogAddress.parse(f"{base}/shard-1"))
        await committed(await win(fresh), [b"first"])
        await shop.check_log(load, await shop.client("c"))
    finally:
        await shop.stop()
