"""An unexpected error ends the node with its reason.
A node that continued with half of its outputs would forget promises, or answer no caller.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.txlog.service.harness import Ears, Group, eventually
from tests.txlog.service.test_doors import Raw, hello
from txlog.clock import now_us
from txlog.messages import Seal
from txlog.server import node
from txlog.server.driver import SLOW_SYNC_US, LogDriver
from txlog.server.session import CallerSession
from txlog.storage.scrub import Scrubber, Span
from txlog.storage.segment import SegmentHeader
from txlog.storage.store import LogStore


@pytest.fixture
async def driver(tmp_path: Path, halts: list[str]) -> AsyncIterator[LogDriver]:
    store = LogStore.open(tmp_path, "shard-0", b"g" * 16, "a", segment_bytes=64 << 10)
    driver = LogDriver(
        "shard-0", store, ["b", "c"], random.Random(1), now_us, halts.append, ThreadPoolExecutor(1)
    )
    driver.start()
    yield driver
    driver._closed = False
    await driver.close()


def fail(*_: object) -> Callable[[], None]:
    raise ValueError("planted")


SEAL = Seal(1, b"i" * 16, b"r" * 16, (0, 0), 100, False)


@pytest.mark.parametrize("sync_us", [0, SLOW_SYNC_US], ids=["in the loop", "in a thread"])
async def test_an_error_in_a_sync(
    driver: LogDriver, halts: list[str], monkeypatch: pytest.MonkeyPatch, sync_us: int
) -> None:
    """Earlier, in the loop, it left the log waiting for that sync without end.
    The node continued to answer probes.
    """
    driver._sync_us = sync_us
    monkeypatch.setattr(driver.store, "begin_sync", lambda: fail)
    ears = Ears()
    CallerSession(driver, ears).on_messages([SEAL])
    await eventually(lambda: halts, 2)
    assert "planted" in halts.pop()
    assert ears.heard == []


async def test_an_error_between_two_outputs(
    driver: LogDriver, halts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, the outputs after it were lost.
    A later answer would have left before a promise that was never written.
    """
    monkeypatch.setattr(driver.store, "write_meta", fail)
    CallerSession(driver, Ears()).on_messages([SEAL])
    assert "planted" in halts.pop()


async def test_an_error_in_a_heartbeat(
    driver: LogDriver, halts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, it ended the task that sends heartbeats for all logs of the node.
    Readers got nothing more, and a full disk was no longer noticed.
    """
    monkeypatch.setattr(driver.store, "begin_look", fail)
    driver.beat()
    assert "planted" in halts.pop()


async def test_an_error_while_a_log_is_opened(
    tmp_path: Path, halts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, the caller waited without end, and the node continued without the log.
    No code after `halt` runs: it fails in a task for which nothing waits.
    """
    failed: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: failed.append(str(context["message"]))
    )
    group = Group(tmp_path)
    await group.start()
    monkeypatch.setattr(node, "open_store", fail)
    raw = await Raw().open(group.ports[0])
    await raw.next()
    raw.send(hello())
    await eventually(lambda: halts, 2)
    await asyncio.sleep(0)
    assert "planted" in halts.pop()
    await group.stop()
    raw.writer.close()
    del raw, group
    for _ in range(3):  # callbacks of closed sockets hold the connection for some turns
        await asyncio.sleep(0.01)
        gc.collect()
    assert failed == []


async def test_a_process_short_of_files_goes_on_without_the_scrubber(
    driver: LogDriver, halts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the scrubber ends a log only when the disk fails."""

    def short(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    scrubbing = driver._scrubbing
    scrubbing._scrubber = Scrubber(1 << 20, 0, now_us())
    monkeypatch.setattr(driver.store, "read_piece", short)
    monkeypatch.setattr(
        driver.store,
        "span_after",
        lambda first: Span(1, "", 0, SegmentHeader(b"", 1, 0, b""), 8192, 0, b"", 8192, 0),
    )
    scrubbing.start()
    await eventually(lambda: scrubbing._scrubber.deadline() > now_us() + 500_000, 5)
    assert halts == []
