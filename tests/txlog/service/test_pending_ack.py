"""An answer that waits for the disk belongs to the membership of its request.
When the version changes, the answer is never given (S8).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.txlog.service.harness import Group, eventually
from tests.txlog.service.test_doors import Raw, hello
from txlog.entry import DATA, GENESIS_CHAIN, NO_ENTRY, make_entry
from txlog.handshake import MEMBERSHIP
from txlog.messages import (
    Append,
    Appended,
    Challenge,
    Hello,
    Membership,
    Message,
    Promised,
    Reject,
    Seal,
    Welcome,
)
from txlog.server.driver import SLOW_SYNC_US, LogDriver

WRITER, ROUND = b"i" * 16, b"r" * 16
ENTRY = make_entry(1, 1, DATA, 0, GENESIS_CHAIN, b"x")
ASKED: dict[str, Message] = {
    "append": Append(
        1, WRITER, ROUND, 1000, 7, NO_ENTRY, GENESIS_CHAIN, 0, [ENTRY.encoded], b"", 0
    ),
    "seal": Seal(1, WRITER, ROUND, NO_ENTRY, 1000, False),
}


async def caller(group: Group, membership: int) -> Raw:
    raw = await Raw().open(group.ports[0])
    assert isinstance(await raw.next(), Challenge)
    asked = hello()
    raw.send(Hello(asked.protocol, asked.log, asked.incarnation, asked.purpose, membership))
    assert isinstance(await raw.next(), Welcome)
    return raw


def held_up(driver: LogDriver) -> threading.Event:
    """Delay the disk until the event is set."""
    go_on, begin = threading.Event(), driver.store.begin_sync
    driver._sync_us = SLOW_SYNC_US

    def begin_sync() -> Callable[[], None]:
        job = begin()

        def later() -> None:
            assert go_on.wait(10)
            job()

        return later

    driver.store.begin_sync = begin_sync  # type: ignore[method-assign]  # the disk's speed
    return go_on


async def waits(group: Group, asked: Message) -> tuple[Raw, threading.Event, LogDriver]:
    """One caller whose answer waits for the disk."""
    raw = await caller(group, 1)
    driver = await group.running[0]._driver("shard-0")
    if isinstance(asked, Append):
        raw.send(ASKED["seal"])
        assert isinstance(await raw.next(), Promised)
    go_on = held_up(driver)
    raw.send(asked)
    await eventually(lambda: driver._waiting)
    return raw, go_on, driver


@pytest.mark.parametrize("what", ASKED)
async def test_it_is_given_when_the_disk_has_it(group: Group, what: str) -> None:
    raw, go_on, driver = await waits(group, ASKED[what])
    go_on.set()
    answer = await raw.next()
    assert isinstance(answer, Appended | Promised)
    assert driver._acceptor._durable_promise.term == 1


@pytest.mark.parametrize("what", ASKED)
async def test_it_is_never_given_when_the_membership_has_changed(group: Group, what: str) -> None:
    """The writer would add it to an answer of the lost node: a majority of no membership (F11)."""
    raw, go_on, driver = await waits(group, ASKED[what])
    node = group.running[0]
    members = sorted([*node.identity.members[:2], "new=127.0.0.1:1"])
    assert node._adopt(Membership(node.identity.group_id, 2, members), False) == Membership(
        node.identity.group_id, 2, members
    )
    assert driver._waiting, "the disk still works"
    again = await caller(group, 2)
    go_on.set()
    await eventually(lambda: not driver._waiting)
    told = await raw.next()
    assert isinstance(told, Reject) and told.reason.startswith(MEMBERSHIP) and told.version == 2
    assert await raw.next() is None
    assert driver._acceptor._durable_promise.term == 1 and driver._acceptor.durable == (
        what == "append"
    ), "it is on disk all the same"
    again.send(ASKED["append"])
    assert await again.next() == Appended(1, ROUND, 7, 1), (
        "what is said under the new membership is for the new connection alone"
    )
