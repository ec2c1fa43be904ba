"""When readers get committed entries.

They get them at once when none came for a while, gathered when the log is busy, and at once again
when a reader waits.
"""

from __future__ import annotations

import asyncio

from tests.txlog.service.harness import Group, committed, eventually, win
from tests.txlog.service.test_doors import Raw, caller
from tests.txlog.service.test_scrub import rot
from txlog.messages import Records, Subscribe, Tail, TailQuery


async def reader(group: Group) -> Raw:
    """A reader of the first node's log, from its beginning."""
    raw = await caller(group)
    raw.send(Subscribe(1))
    return raw


async def entries(raw: Raw, count: int) -> list[int]:
    """The number of entries in each message, until `count` entries arrived."""
    sizes: list[int] = []
    while sum(sizes) < count:
        message = await raw.next()
        assert message is not None
        if isinstance(message, Records):
            sizes.append(len(message.entries))
    return sizes


async def test_a_busy_log_gathers_and_a_question_about_the_tail_ends_that(group: Group) -> None:
    writer = await win(await group.client())
    await committed(writer, [b"x"] * 3)
    driver = await group.running[0]._driver("shard-0")
    await eventually(lambda: driver.committed() == writer.committed)
    raw = await reader(group)
    await entries(raw, writer.committed)
    await committed(writer, [b"x"])
    await entries(raw, 1)

    now = driver._clock()
    driver._clock = lambda: now + 1_000_000
    await committed(writer, [b"after a pause"])
    assert await entries(raw, 1) == [1]

    for _ in range(10):  # the clock stands: all of it is "soon after"
        await committed(writer, [b"soon after"])
    await eventually(lambda: driver.committed() == writer.committed)
    raw.send(TailQuery(7))
    before: list[object] = []
    while not isinstance(message := await raw.next(), Tail):
        assert message is not None
        before.append(message)
    assert not any(isinstance(message, Records) for message in before)
    assert await entries(raw, 10) == [10]


async def test_a_reader_that_waits_before_a_hole_goes_on_when_the_hole_is_filled(
    group: Group,
) -> None:
    client = await group.client()
    writer = await win(client)
    for text in (b"one", b"two", b"three", b"four"):
        await committed(writer, [text])
    await eventually(
        lambda: all(
            node._drivers()[0].committed() == writer.committed for node in group.running.values()
        )
    )
    last = writer.committed
    await client.close()
    await asyncio.sleep(0.3)  # the node records what is committed
    for index in range(3):
        await group.down(index)
    (segment,) = (group.folder / "node0" / "logs" / "shard-0" / "segments").iterdir()
    rot(segment, b"two")
    await group.up(0)
    raw = await reader(group)
    assert await entries(raw, 2) == [2], "LEADERSHIP and the entry before the hole"
    await group.up(1)
    await group.up(2)
    async with asyncio.timeout(20):
        assert sum(await entries(raw, last - 2)) == last - 2
