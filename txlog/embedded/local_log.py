"""The embedded log: a log node of a group of one inside this process, without a socket.

Decides: that an empty folder makes itself a group of one.
Must not know: what the log is used for.
Invariants: it has the same acceptor, store and driver as a log node; everything is fsync'd before
it is acknowledged; the folder is locked, so this process is the only one that can write the log.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from txlog.address import LogAddress
from txlog.client import LogClient, LogRefused
from txlog.clock import now_us
from txlog.link import Link, LinkOwner
from txlog.messages import Message, Reject, Welcome
from txlog.program_errors import report_end
from txlog.server.driver import LogDriver
from txlog.server.identity import DataFolder, FolderError, Identity
from txlog.server.logs import StoreRefused, open_store
from txlog.server.session import CallerSession

_NODE = "embedded"
SEGMENT_BYTES = 64 << 20
CACHE_BYTES = 32 << 20


def _halt(reason: str) -> NoReturn:
    """A5: the disk has failed, so any later answer of this process could be wrong."""
    sys.stderr.write(f"txlog: {reason}\n")
    sys.stderr.flush()
    os._exit(1)


class EmbeddedLog:
    """Implements `client.LocalLog`. A process and folder have one. ``driver`` and ``welcome`` exist
    once it is open.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self.driver: LogDriver | None = None
        self.welcome: Welcome | None = None
        self._folder: DataFolder | None = None
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="log reader")
        self._beats: asyncio.Task[None] | None = None

    async def open(self, rng: random.Random, clock: Callable[[], int]) -> None:
        """Open the log. Raises `LogRefused`, and the store's own errors."""
        loop = asyncio.get_running_loop()
        try:
            folder = await loop.run_in_executor(None, DataFolder.open, self._path)
            try:
                self._join_own_group(folder, rng)
                store = await loop.run_in_executor(
                    None, open_store, folder, self._name, SEGMENT_BYTES, CACHE_BYTES
                )
            except BaseException:
                folder.close()
                raise
        except (FolderError, StoreRefused) as error:
            raise LogRefused(str(error)) from error
        self._folder = folder
        identity = folder.identity
        self.welcome = Welcome(
            _NODE, "local", identity.group_id, identity.membership, identity.members, b""
        )
        self.driver = LogDriver(self._name, store, [], rng, clock, _halt, self._readers)
        self.driver.start()
        self._beats = loop.create_task(self._beat(self.driver), name="embedded log heartbeat")
        self._beats.add_done_callback(report_end)

    def _join_own_group(self, folder: DataFolder, rng: random.Random) -> None:
        identity = folder.identity
        if not identity.group:
            folder.write(Identity(rng.randbytes(16).hex(), _NODE, 1, [f"{_NODE}=embedded"], []))
        elif len(identity.members) != 1:
            raise FolderError(
                f"data folder {self._path} belongs to a node of a group of "
                f"{len(identity.members)}; it cannot be embedded"
            )

    def make_link(self, index: int, owner: LinkOwner) -> Link:
        return LocalLink(index, self, owner)

    async def _beat(self, driver: LogDriver) -> None:
        while True:
            await asyncio.sleep(0.1)
            driver.beat()

    async def close(self) -> None:
        if self._beats is not None:
            self._beats.cancel()
        if self.driver is not None:
            await self.driver.close()
        self._readers.shutdown(wait=False)
        if self._folder is not None:
            self._folder.close()


def make_client(
    address: LogAddress,
    az: str,
    rng: random.Random,
    secret: bytes | None = None,
    clock: Callable[[], int] = now_us,
    create: bool = False,
) -> LogClient:
    """Make a client of the log at ``address``: embedded if the address is a folder, else of a
    group. The arguments are those of `LogClient`.
    """
    local = EmbeddedLog(address.folder, address.log) if address.folder is not None else None
    return LogClient(address, az, rng, secret, clock, create, local)


class _LocalAnswers:
    """The log's answers to one caller, delivered one turn of the loop later, as by a socket."""

    def __init__(self, link: LocalLink) -> None:
        self.blocked = False
        self.peer_name = "this process"
        self._link = link
        self._answers: list[Message] = []
        self._loop = asyncio.get_running_loop()

    def send(self, message: Message) -> None:
        if not self._answers:
            self._loop.call_soon(self._deliver)
        self._answers.append(message)

    def on_served(self) -> None:
        """Nothing to do: the caller is this process, and no questions wait."""

    def end(self, reason: str) -> None:
        self.send(Reject(reason))

    def _deliver(self) -> None:
        answers, self._answers = self._answers, []
        self._link.deliver(self, answers)


class LocalLink:
    """A `link.Link` to an embedded log: messages pass as objects."""

    def __init__(self, index: int, log: EmbeddedLog, owner: LinkOwner) -> None:
        self.index = index
        self.up = False
        self.error = ""
        assert log.driver is not None and log.welcome is not None, "the log is not open"
        self.welcome: Welcome | None = log.welcome
        self._welcome = log.welcome
        self._driver = log.driver
        self.address = "embedded"
        self._owner = owner
        self._sink = _LocalAnswers(self)
        self._session: CallerSession | None = None
        self._closed = False

    def start(self) -> None:
        if self._closed or self._session is not None:
            return
        self._sink = _LocalAnswers(self)
        self._session = CallerSession(self._driver, self._sink)
        self.up = True
        self.error = ""
        self._owner.on_up(self.index, self._welcome)

    def close(self) -> None:
        self._closed = True
        self._end()

    def _end(self) -> None:
        self.up = False
        if self._session is not None:
            session, self._session = self._session, None
            session.close()

    def send(self, message: Message) -> None:
        if self._session is not None:
            self._session.on_messages([message])

    def send_frame(self, message: Message, frame: bytes) -> None:
        self.send(message)

    def drop(self, reason: str) -> None:
        """End the session and start it again soon; this link has no socket that could break."""
        if self.up:
            self._end()
            self.error = reason
            self._owner.on_down(self.index, reason)
            asyncio.get_running_loop().call_later(0.1, self.start)

    def pause_reading(self) -> None:
        self._sink.blocked = True

    def resume_reading(self) -> None:
        self._sink.blocked = False
        if self._session is not None:
            self._session.on_unblocked()

    def deliver(self, sink: _LocalAnswers, answers: list[Message]) -> None:
        if answers and self.up and sink is self._sink:
            self._owner.on_messages(self.index, answers)
