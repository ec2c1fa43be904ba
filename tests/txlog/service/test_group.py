"""A group of three log nodes under one or more clients.

The tests cover rivals, nodes that go down and come back, and damage. `tests/log/conformance` tests
what every log must do.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.txlog.service.harness import (
    LEASE_MS,
    Group,
    Reader,
    committed,
    eventually,
    win,
)
from txlog.client import CampaignLost, NoMajority
from txlog.clock import now_us, wall_ms
from txlog.entry import DATA, GENESIS_CHAIN, NO_ENTRY


async def test_no_other_writer_while_the_lease_runs_and_one_after(group: Group) -> None:
    first, second = await group.client("a"), await group.client("b")
    writer = await win(first)
    lost: list[str] = []
    writer.on_lost = lost.append
    with pytest.raises(CampaignLost) as refused:
        await second.campaign(NO_ENTRY, GENESIS_CHAIN, LEASE_MS, b"{}", wall_ms)
    assert refused.value.held
    assert not (await second.probe()).would_promise
    until = writer.lease_until_us
    writer.stop()
    other = await win(second)
    assert now_us() > until, "two writers at once"
    assert other.term > writer.term
    assert writer.lease_until_us == 0
    assert lost == [], "it stopped by itself"


async def test_a_writer_that_is_fenced_is_told_once_and_commits_nothing_more(group: Group) -> None:
    proxies, through = await group.proxies()
    first, second = await group.client("a", through), await group.client("b")
    writer = await win(first)
    lost: list[str] = []
    writer.on_lost = lost.append
    for proxy in proxies:
        proxy.cut()
    other = await win(second)  # when the lease is over
    assert now_us() > writer.lease_until_us
    before = writer.committed
    position = writer.append(DATA, b"too late", wall_ms())
    for proxy in proxies:
        proxy.heal()
    await eventually(lambda: lost)
    await committed(other, [b"mine"])
    assert len(lost) == 1
    assert writer.committed == before < position
    assert writer.lease_until_us == 0
    for proxy in proxies:
        proxy.stop()


async def test_release_hands_over_at_once_and_only_to_the_successor(group: Group) -> None:
    first, second, third = await group.client("a"), await group.client("b"), await group.client("c")
    writer = await win(first, lease_ms=4000)
    await committed(writer, [b"last"])
    assert not (await third.probe()).would_promise
    await writer.release(second.incarnation)
    assert writer.lease_until_us == 0
    with pytest.raises(CampaignLost):
        await third.campaign(NO_ENTRY, GENESIS_CHAIN, LEASE_MS, b"{}", wall_ms)
    successor = await win(second, timeout_s=1.5)
    assert [entry.payload for entry in successor.prefix[1:2]] == [b"last"]


async def test_one_node_down_changes_nothing_and_it_catches_up(group: Group) -> None:
    client = await group.client()
    writer = await win(client)
    lost: list[str] = []
    writer.on_lost = lost.append
    await committed(writer, [b"before"])
    await group.down(1)
    await committed(writer, [b"%d" % number for number in range(100)])
    assert (await client.tail(2000)) >= (writer.term, writer.committed)
    await group.up(1)
    await committed(writer, [b"after"])
    await eventually(lambda: all(state.connected for state in client.node_states()))

    def caught_up() -> bool:
        (log,) = group.running[1].status()["logs"]
        return bool(log["durable"] == writer.committed and log["committed"] == writer.committed)

    await eventually(caught_up)
    assert lost == []


async def test_two_nodes_down_commits_nothing_until_one_is_back(group: Group) -> None:
    client = await group.client()
    writer = await win(client, lease_ms=4000)
    lost: list[str] = []
    writer.on_lost = lost.append
    await group.down(0)
    await group.down(2)
    position = writer.append(DATA, b"waits", wall_ms())
    await asyncio.sleep(0.3)
    assert writer.committed < position
    assert writer.in_flight == 1
    with pytest.raises(NoMajority):
        await client.tail(100)
    await group.up(2)
    await eventually(lambda: writer.committed >= position)
    assert lost == []


async def test_a_reader_moves_on_when_its_node_dies(group: Group) -> None:
    writing, reading = await group.client("a"), await group.client("b")
    writer = await win(writing)
    reader = Reader().read(reading)
    await committed(writer, [b"1"])
    await reader.until(2)
    assert reader.subscription is not None
    assert reader.subscription.node == [state.az for state in reading.node_states()].index("b")
    index = group.ports.index(reading.address.nodes[reader.subscription.node][1])
    await group.down(index)
    await committed(writer, [b"2", b"3"])
    entries = await reader.until(4)
    assert [entry.position for entry in entries] == [1, 2, 3, 4]
    assert reader.error == ""


async def test_a_group_restarted_under_a_living_writer_loses_nothing(group: Group) -> None:
    client = await group.client()
    writer = await win(client)
    lost: list[str] = []
    writer.on_lost = lost.append
    await committed(writer, [b"before"])
    await group.restart()
    await committed(writer, [b"after"])
    entries = await Reader().read(await group.client("c")).until(writer.committed)
    assert [entry.payload for entry in entries if entry.kind == DATA] == [b"before", b"after"]
    assert lost == []


async def test_a_flipped_byte_under_a_running_node_is_found_by_a_read_and_put_back(
    group: Group,
) -> None:
    client = await group.client("a")
    writer = await win(client)
    await committed(writer, [b"entry %d." % number + b"z" * 2000 for number in range(200)])
    await committed(writer, [b"last"])  # the data on disk now leaves the memory, except the newest
    index = group.ports.index(
        client.address.nodes[[state.az for state in client.node_states()].index("a")][1]
    )
    segments = sorted((group.folder / f"node{index}" / "logs" / "shard-0" / "segments").iterdir())
    damaged = next(path for path in segments if b"entry 20." in path.read_bytes())
    at = damaged.read_bytes().index(b"entry 20.")
    with damaged.open("r+b") as file:
        file.seek(at)
        file.write(b"X")
    entries = await Reader().read(client).until(writer.committed)
    assert [entry.payload[:10] for entry in entries[1:201]] == [
        (b"entry %d." % number + b"z" * 9)[:10] for number in range(200)
    ]
    await eventually(lambda: damaged.read_bytes()[at : at + 9] == b"entry 20.")
    await eventually(lambda: group.running[index].status()["logs"][0]["holes"] == [])
