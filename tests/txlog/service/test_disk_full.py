"""A full disk never ends a log node (A5), however much arrives between two checks of the disk.

Entries without room are refused, and accepted when there is room. The driver and the store are
real; the disk has blocks for a fixed number of segments.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.txlog.service.harness import Ears, eventually
from tests.txlog.service.test_doors import lone_node
from tests.txlog.storage.helpers import SEGMENT, contents, make_run
from txlog.clock import now_us
from txlog.entry import GENESIS_CHAIN, NO_ENTRY, Entry
from txlog.messages import (
    Append,
    Appended,
    CatchUp,
    Fetch,
    Fetched,
    InitDone,
    InitGroup,
    Membership,
    MissingEntries,
    Reject,
    Seal,
    Unavailable,
)
from txlog.server import identity
from txlog.server.driver import SLOW_SYNC_US, LogDriver
from txlog.server.logs import StoreRefused, open_store
from txlog.server.session import CallerSession
from txlog.storage.files import Files
from txlog.storage.store import LogStore

SEGMENT_ENTRIES = 31  # entries of `make_run` in one segment
WRITER, ROUND = b"i" * 16, b"r" * 16


class FullDisk(Files):
    """A disk with blocks for ``segments`` more segments."""

    def __init__(self, segments: int) -> None:
        self.segments = segments

    def reserve(self, fd: int, length: int) -> None:
        if not self.segments:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.segments -= 1
        super().reserve(fd, length)


class Others:
    """The other log nodes: they record their questions."""

    def __init__(self) -> None:
        self.asked: list[Fetch] = []

    def fetch(self, node: str, fetch: Fetch, topic: str) -> None:
        self.asked.append(fetch)

    def close(self) -> None: ...


class Node:
    def __init__(self, path: Path, learner: bool) -> None:
        self.disk = FullDisk(2)  # the first segment, and one
        self.halts: list[str] = []
        self.others = Others()
        self.store = LogStore.open(
            path,
            "shard-0",
            b"g" * 16,
            "a",
            segment_bytes=SEGMENT,
            files=self.disk,
            threaded=False,
            learner=learner,
        )
        self.driver = LogDriver(
            "shard-0",
            self.store,
            ["b", "c"],
            random.Random(1),
            now_us,
            self.halts.append,
            ThreadPoolExecutor(1),
        )
        self.driver.peers = self.others
        self.driver.start()
        self.ears = Ears()
        self.session = CallerSession(self.driver, self.ears)
        self.session.on_messages([Seal(1, WRITER, ROUND, (1, 1 << 40), 100, False)])

    @property
    def last(self) -> int:
        return self.driver._acceptor.last[1]

    def append(self, entries: list[Entry], first: int, upto: int, number: int = 1) -> Append:
        """An Append of positions ``first`` to ``upto``."""
        before = entries[first - 2] if first > 1 else None
        encoded = [entry.encoded for entry in entries[first - 1 : upto]]
        previous, chain = (before.id, before.chain) if before else (NO_ENTRY, GENESIS_CHAIN)
        return Append(1, WRITER, ROUND, 100, number, previous, chain, 0, encoded, b"", 0)

    async def settle(self) -> None:
        await eventually(lambda: self.halts or not self.driver.disk_busy(), 5)

    async def feed(self, entries: list[Entry]) -> None:
        """Append as a writer does: after the present end, as long as the node accepts something."""
        while self.last < len(entries):
            before = self.last
            self.session.on_messages([self.append(entries, before + 1, len(entries))])
            await self.settle()
            if self.halts or self.last == before:
                return


@pytest.fixture(params=[0, SLOW_SYNC_US], ids=["synced in the loop", "synced in a thread"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path / "log", False)
    made.driver._sync_us = request.param
    await made.settle()
    made.ears.heard.clear()
    yield made
    await made.driver.close()


async def goes_on(node: Node, entries: list[Entry]) -> None:
    """The node lives, its accepted entries are on disk, and with room it accepts the rest."""
    await node.settle()
    assert node.halts == [] and node.last >= SEGMENT_ENTRIES
    await node.feed(entries)
    taken = node.last
    assert node.halts == [] and taken == 2 * SEGMENT_ENTRIES, "two segments and no more"
    assert contents(node.store) == [entry.encoded for entry in entries[:taken]]
    node.session.on_messages([node.append(entries, taken + 1, len(entries), 98)])
    assert [Unavailable(1, ROUND, 98, "disk full")] == node.ears.heard[-1:]
    node.disk.segments = 100
    node.driver.beat()
    await node.feed(entries)
    assert node.halts == [] and node.last == len(entries)
    node.session.on_messages([node.append(entries, len(entries) + 1, len(entries), 99)])
    await node.settle()
    assert [Appended(1, ROUND, 99, len(entries))] == node.ears.heard[-1:]
    assert contents(node.store) == [entry.encoded for entry in entries]


async def test_more_than_fits_in_several_messages_at_once(node: Node) -> None:
    """Only the first message could see what the queue had not written yet."""
    entries = make_run(4 * SEGMENT_ENTRIES)
    node.session.on_messages(
        [node.append(entries, first, first + 4, first) for first in range(1, len(entries), 5)]
    )
    await goes_on(node, entries)


async def test_more_than_fits_while_a_sync_is_under_way(node: Node) -> None:
    """Earlier, the blocks of the next segment were counted again.
    This continued until the entry that took them was on disk.
    """
    entries = make_run(4 * SEGMENT_ENTRIES)
    for first in range(1, len(entries), 5):
        node.session.on_messages([node.append(entries, first, first + 4, first)])
    await goes_on(node, entries)


async def test_one_message_of_several_segments(node: Node) -> None:
    """It is taken in pieces: when a piece is on disk, the writer continues after it."""
    entries = make_run(4 * SEGMENT_ENTRIES)
    node.session.on_messages([node.append(entries, 1, len(entries))])
    assert node.ears.heard == [], "said when it is on disk"
    await node.settle()
    assert node.ears.heard == [MissingEntries(1, ROUND, 1, (1, node.last), 0)]
    await goes_on(node, entries)


async def test_pulled_entries_that_do_not_fit(node: Node) -> None:
    """W4: a lagging node asks the others for the entries that it lacks."""
    entries = make_run(4 * SEGMENT_ENTRIES)
    node.session.on_messages([CatchUp(1, ROUND, len(entries))])
    await pulls(node, entries, lambda: node.driver._acceptor.committed == node.last)
    await goes_on(node, entries)


async def test_a_learner_s_entries_that_do_not_fit(tmp_path: Path) -> None:
    """S8: the learner copies, and gets entries from the writer at the same time."""
    node = Node(tmp_path / "log", True)
    try:
        entries = make_run(4 * SEGMENT_ENTRIES)
        await pulls(node, entries, lambda: True)
        node.session.on_messages([node.append(entries, node.last + 1, len(entries))])
        await node.settle()
        assert node.halts == [] and SEGMENT_ENTRIES < node.last < len(entries)
        assert node.driver._acceptor.is_learner and node.driver._acceptor.learner.state == "copying"
        node.disk.segments = 100
        node.driver.beat()
        await pulls(node, entries, lambda: True)
        assert node.last == len(entries) and node.driver._acceptor.counts
    finally:
        await node.driver.close()


async def pulls(node: Node, entries: list[Entry], holds: Callable[[], bool]) -> None:
    """Both others answer every question with all entries, while the node accepts something."""
    for _ in range(200):
        await asyncio.sleep(0)
        if not node.others.asked:
            before = node.last
            acceptor = node.driver._acceptor
            acceptor.on_deadline(now_us() + 10_000_000)  # its waiting time ends
            node.driver._pump()
            if before == node.last and not node.others.asked:
                break
        for fetch in take(node.others.asked):
            found = (
                [entry.encoded for entry in entries[fetch.start - 1 :]] if fetch.max_bytes else []
            )
            for other in "bc":
                node.driver.on_peer_fetched(
                    other,
                    Fetched(
                        fetch.token,
                        fetch.start,
                        1,
                        entries[-1].id,
                        len(entries),
                        NO_ENTRY,
                        False,
                        found,
                    ),
                )
        assert holds() and node.halts == []
    await node.settle()


def take(asked: list[Fetch]) -> list[Fetch]:
    found = list(asked)
    asked.clear()
    return found


# -------------------------------------------------------------------------- what else a node writes


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A switch for the node's own file: writes to it find no blocks."""

    def full(path: Path, mode: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def switch(on: bool) -> None:
        monkeypatch.setattr(identity, "open", full if on else open, raising=False)

    return switch


async def test_a_membership_that_finds_no_room(
    tmp_path: Path, halts: list[str], no_room: Callable[[bool], None]
) -> None:
    """Earlier, it ended the node, and again each time the others named the version."""
    log_node = await lone_node(tmp_path / "n")
    try:
        members = [f"{name}=127.0.0.1:{number}" for number, name in enumerate("abc", 1)]
        no_room(True)
        init = InitGroup(b"g" * 16, "a", members)
        assert isinstance(log_node._init(init), Reject) and not log_node.identity.group
        no_room(False)
        assert log_node._init(init) == InitDone(b"g" * 16, "a", True)
        wanted = Membership(b"g" * 16, 2, [*members[:2], "d=127.0.0.1:4"])
        no_room(True)
        answer = log_node._adopt(wanted, False)
        assert isinstance(answer, Reject) and "disk" in answer.reason
        assert (
            log_node.identity.membership == identity.read_identity(tmp_path / "n").membership == 1
        )
        no_room(False)
        assert log_node._adopt(wanted, False) == wanted
        assert identity.read_identity(tmp_path / "n").membership == 2
    finally:
        await log_node.close()
    assert halts == []


def test_a_new_log_that_finds_no_room(tmp_path: Path, no_room: Callable[[bool], None]) -> None:
    folder = identity.DataFolder.open(tmp_path / "n")
    folder.write(identity.Identity("ab" * 16, "a", 1, ["a=h:1"], []))
    no_room(True)
    for _ in range(2):
        with pytest.raises(StoreRefused, match="No space left"):
            open_store(folder, "shard-0", SEGMENT, 0)
    assert folder.identity.logs == []
    no_room(False)
    open_store(folder, "shard-0", SEGMENT, 0).close()
    assert identity.read_identity(tmp_path / "n").logs == ["shard-0"]
    folder.close()
