"""A group is permanent, so a node accepts only values that it can always use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.txlog.service.test_doors import Raw, hello, lone_node
from txlog.messages import InitDone, InitGroup, Reject

GROUP = b"g" * 16


@pytest.mark.parametrize(
    "wanted",
    [
        InitGroup(b"g" * 65, "a", ["a=h:1"]),
        InitGroup(b"g", "a", ["a=h:1"]),
        InitGroup(GROUP, "a" * 4000, ["a" * 4000 + "=h:1"]),
        InitGroup(GROUP, "a", ["a=h:1", "b=h:port"]),
        InitGroup(GROUP, "a", ["a=h:1", "b"]),
        InitGroup(GROUP, "a", ["b=h:1"]),
    ],
    ids=["long id", "short id", "long name", "no port", "no address", "not this node"],
)
async def test_a_group_that_no_log_could_be_opened_in_is_refused(
    tmp_path: Path, wanted: InitGroup
) -> None:
    """An id of 65 bytes is no key for a log's id, and a name of 4000 bytes does not fit meta.
    Earlier, the node would have ended at each request for a log.
    """
    node = await lone_node(tmp_path / "n")
    raw = await Raw().open(node.port)
    await raw.next()
    raw.send(hello("", "tool"))
    await raw.next()
    raw.send(wanted)
    assert isinstance(await raw.next(), Reject)
    assert node.identity.group == ""
    raw.send(InitGroup(GROUP, "a", ["a=h:1"]))
    assert isinstance(await raw.next(), InitDone)
    await node.close()


async def test_an_empty_node_that_a_group_calls_does_not_begin_a_group_of_its_own(
    tmp_path: Path,
) -> None:
    """A wiped folder beside a living group.
    Earlier, an init of this node alone made a group of one, which `replace-node` then refused.
    """
    node = await lone_node(tmp_path / "n")
    raw = await Raw().open(node.port)
    await raw.next()
    caller = hello("shard-0", "reader")
    caller.membership, caller.group = 1, GROUP
    raw.send(caller)
    refused = await raw.next()
    assert isinstance(refused, Reject) and "replace-node" in refused.reason
    other = await Raw().open(node.port)
    await other.next()
    other.send(hello("", "tool"))
    await other.next()
    other.send(InitGroup(b"h" * 16, "a", ["a=h:1"]))
    refused = await other.next()
    assert isinstance(refused, Reject) and "txlog status" in refused.reason
    assert node.identity.group == ""
    other.send(InitGroup(GROUP, "a", ["a=h:1"]))
    assert isinstance(await other.next(), InitDone)
    await node.close()
