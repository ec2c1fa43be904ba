"""An address that now leads to another log node: that node's answers must not count for two."""

from __future__ import annotations

import asyncio

import pytest

from tests.txlog.service.harness import Group, Proxy, eventually, win
from txlog.client import LogClient, NoMajority
from txlog.clock import wall_ms
from txlog.entry import DATA


def link_through(client: LogClient, proxy: Proxy) -> int:
    return client.address.nodes.index(("127.0.0.1", proxy.port))


async def test_an_entry_on_one_node_is_not_committed_by_reaching_it_two_ways(group: Group) -> None:
    """The first node acknowledged through the second one's address, then through its own.
    That looks like two of three, but it is one disk.
    """
    proxies, address = await group.proxies()
    client = await group.client(address=address)
    await eventually(lambda: all(state.connected for state in client.node_states()))
    writer = await win(client, lease_ms=4000)
    for proxy in proxies:
        proxy.cut()
    await eventually(lambda: not any(state.connected for state in client.node_states()))
    proxies[1]._to = group.ports[0]
    proxies[1].heal()
    position = writer.append(DATA, b"on one disk only", wall_ms())
    second = client.links[link_through(client, proxies[1])]
    await eventually(lambda: second.up or "now leads to" in second.error)
    await asyncio.sleep(0.3)
    proxies[1].cut()
    proxies[0].heal()
    first = client.links[link_through(client, proxies[0])]
    await eventually(lambda: first.up)
    await asyncio.sleep(0.3)
    assert writer.committed < position
    proxies[1].heal()
    with pytest.raises(NoMajority):
        await client.tail(1500)
    proxies[1]._to = group.ports[1]
    await eventually(lambda: writer.committed >= position)
    for proxy in proxies:
        proxy.stop()
