"""Replacements for the world below the real drivers during a run.

They replace threads, the machine's clocks, process-wide facts and the event log.

Decides: which names of which modules are replaced, and puts them back after the run.
Must not know: how the cluster is built. Only names that reach out of the process are replaced; none
of them decides anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import memstore.node.client_connection
import memstore.node.client_requests
import memstore.node.errors
import memstore.node.facts_writer
import memstore.node.identity
import memstore.node.node
import memstore.node.upkeep
import txlog.client.client
import txlog.client.writer
import txlog.server.connection
import txlog.server.driver
import txlog.server.node
from tests.sim.disk import Disk
from tests.sim.world import Loop, World
from txlog.consensus.acceptor import CONTRADICTION
from txlog.server import scrubbing
from txlog.server.callers import Callers
from txlog.server.logs import StoreRefused
from txlog.storage.errors import StorageError
from txlog.storage.files import META_NAME
from txlog.storage.store import LogStore

_NUMBERS = re.compile(r"\b(?:[0-9a-f]{8,}|\d+)\b")


class EventLog:
    """The replacement of structlog in the real processes.
    Here, an event is a line of the trace, and a counter for its kind.
    """

    def __init__(self, world: World, part: str) -> None:
        self._world = world
        self._part = part

    def info(self, event: str, **fields: Any) -> None:
        loop = self._world.current
        text = str(fields.get("text", fields.get("reason", fields.get("position", ""))))
        self._world.counters[_NUMBERS.sub("N", event).split(":")[0]] += 1
        if self._part != "connection":
            self._world.note(loop.name if loop is not None else "-", f"{event} {text}".rstrip())

    warning = info

    def error(self, event: str, exc_info: Any = None, **fields: Any) -> None:
        """Pass an error also to the loop's ``on_error``, or end the process by ``halt``."""
        self.info(event, **fields)
        if (
            str(fields.get("reason", "")).startswith(CONTRADICTION)
            and self._world.current is not None
        ):
            # every writer here is honest: one of the two is wrong, and nothing may hide the error
            self._world.current.end(fields["reason"])
        if isinstance(exc_info, Exception):
            loop = self._world.current
            assert loop is not None
            if loop.on_error is not None and not isinstance(exc_info, OSError):
                loop.on_error(loop, exc_info)


class Worker:
    """The thread that syncs a slow disk: a job ends when the disk's time has passed.
    The loop turns meanwhile.
    """

    def __init__(self, loop: Loop, name: str) -> None:
        self._loop = loop

    def submit(
        self, job: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        loop = self._loop
        disk: Disk = loop.disk  # type: ignore[attr-defined]  # a log node's loop has one

        def work() -> None:
            result, error = None, None
            world = loop.world
            try:
                result = job()
            except Exception as caught:
                error = caught
            finally:
                world.inside_us = 0
            done(result, error)

        loop.world.counters["a slow disk was synced in a thread"] += 1
        loop.world.after(disk.sync_us + int(disk.slow_us * (0.5 + disk.rng.random())), loop, work)

    def stop(self) -> None:
        """Nothing runs beside the loop."""


class _Quiet:
    """Replaces the objects that watch the real process: memory, loop, Python's collector."""

    def __init__(self, *args: Any) -> None:
        """Accept all arguments."""

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def tick(self, elapsed_s: float, keys: Callable[[], int]) -> None:
        """Do nothing."""

    def sample(self, elapsed_s: float) -> None:
        """Do nothing."""


@contextmanager
def installed(world: World) -> Iterator[None]:
    """Replace only names that both builds allow to be replaced.
    These are a module's variables, and names that it imported from an interpreted module. A
    compiled module gets its replacements through constructors (`cluster`).
    """

    def now_us() -> int:
        assert world.current is not None
        return world.current.clock.now_us()

    def halt(reason: str) -> None:
        assert world.current is not None
        world.current.end(reason)

    def open_store(folder: Any, name: str, segment_bytes: int, cache_bytes: int) -> LogStore:
        """As `txlog.server.logs.open_store`, on the machine's disk in memory."""
        identity, path, disk = folder.identity, folder.log_folder(name), folder.disk
        if name in identity.logs and not disk.exists(path / META_NAME):
            raise StoreRefused(f"{path}: the log is known here and its folder holds no {META_NAME}")
        try:
            store = LogStore.open(
                path,
                name,
                identity.group_id,
                identity.node,
                segment_bytes=segment_bytes,
                cache_bytes=cache_bytes,
                files=disk,
                threaded=False,
                learner=identity.joined > 1,
            )
        except StorageError as error:
            raise StoreRefused(str(error)) from error
        if name not in identity.logs:
            identity.logs.append(name)
        return store

    upkeep = memstore.node.upkeep
    node, driver, log_node = memstore.node.node, txlog.server.driver, txlog.server.node
    replaced: list[tuple[Any, str, Any]] = [
        (upkeep, "GcScheduler", _Quiet),
        (upkeep, "Sampler", _Quiet),
        (upkeep, "LoopLagMonitor", _Quiet),
        (memstore.node.identity, "describe_process", lambda facts: None),
        (driver, "Worker", Worker),
        (log_node, "now_us", now_us),
        (log_node, "halt", halt),
        (log_node, "open_store", open_store),
        (Callers, "measure", lambda callers, logs: None),  # of the machine the simulator runs on
    ]
    for module, part in (
        (node, "node"),
        (driver, "log"),
        (log_node, "log node"),
        (txlog.server.connection, "connection"),
        (scrubbing, "scrub"),
        (txlog.client.client, "log client"),
        (memstore.node.client_requests, "node"),
        (memstore.node.errors, "node"),
        (memstore.node.facts_writer, "node"),
    ):
        replaced.append((module, "log", EventLog(world, part)))
    patches = [patch.object(module, name, value) for module, name, value in replaced]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()
