"""The embedded log: a log node of a group of one inside this process, without a socket.

Decides: that the folder makes itself a group of one when it is empty.
Must not know: what the log is used for.
Invariants: the same acceptor, store and driver as a log node's; everything is fsync'd before it is
acknowledged; the folder is locked, so this process is the only one that can write the log.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from txlog.messages import Message, Reject, Welcome
from txlog.program_errors import report_end
from txlog.server.driver import LogDriver
from txlog.server.identity import DataFolder, FolderError, Identity
from txlog.server.logs import open_store
from txlog.server.session import CallerSession

if TYPE_CHECKING:
    from txlog.link import LinkOwner

_NODE = "embedded"
SEGMENT_BYTES = 64 << 20
CACHE_BYTES = 32 << 20


def _halt(reason: str) -> NoReturn:
    """A5: the disk has failed; nothing this process says from here on could be trusted."""
    sys.stderr.write(f"txlog: {reason}\n")
    sys.stderr.flush()
    os._exit(1)


class EmbeddedLog:
    """The opened log. One a process and folder."""

    def __init__(self, folder: DataFolder, driver: LogDriver, readers: ThreadPoolExecutor) -> None:
        self.driver = driver
        self.welcome = Welcome(
            _NODE,
            "local",
            folder.identity.group_id,
            folder.identity.membership,
            folder.identity.members,
            b"",
        )
        self._folder = folder
        self._readers = readers
        self._beats = asyncio.get_running_loop().create_task(
            self._beat(), name="embedded log heartbeat"
        )
        self._beats.add_done_callback(report_end)

    @staticmethod
    async def open(
        path: Path, name: str, rng: random.Random, clock: Callable[[], int]
    ) -> EmbeddedLog:
        """Raises `FolderError` and the store's own errors."""
        loop = asyncio.get_running_loop()
        folder = await loop.run_in_executor(None, DataFolder.open, path)
        try:
            identity = folder.identity
            if not identity.group:
                folder.write(Identity(rng.randbytes(16).hex(), _NODE, 1, [f"{_NODE}=embedded"], []))
            elif len(identity.members) != 1:
                raise FolderError(
                    f"data folder {path} belongs to a node of a group of {len(identity.members)}; "
                    "it cannot be embedded"
                )
            store = await loop.run_in_executor(
                None, open_store, folder, name, SEGMENT_BYTES, CACHE_BYTES
            )
        except BaseException:
            folder.close()
            raise
        readers = ThreadPoolExecutor(1, thread_name_prefix="log reader")
        driver = LogDriver(name, store, [], rng, clock, _halt, readers)
        driver.start()
        return EmbeddedLog(folder, driver, readers)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.driver.beat()

    async def close(self) -> None:
        self._beats.cancel()
        await self.driver.close()
        self._readers.shutdown(wait=False)
        self._folder.close()


class _LocalAnswers:
    """Answers of the log to one caller: handed over a turn of the loop later, as a socket does."""

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
        """Nothing waits here: the caller is this process."""

    def end(self, reason: str) -> None:
        self.send(Reject(reason))

    def _deliver(self) -> None:
        answers, self._answers = self._answers, []
        self._link.deliver(self, answers)


class LocalLink:
    """A `link.Link` to an embedded log: messages are handed over as objects."""

    def __init__(self, index: int, log: EmbeddedLog, owner: LinkOwner) -> None:
        self.index = index
        self.up = False
        self.error = ""
        self.welcome: Welcome | None = log.welcome
        self.address = "embedded"
        self._log = log
        self._owner = owner
        self._sink = _LocalAnswers(self)
        self._session: CallerSession | None = None
        self._closed = False

    def start(self) -> None:
        if self._closed or self._session is not None:
            return
        self._sink = _LocalAnswers(self)
        self._session = CallerSession(self._log.driver, self._sink)
        self.up = True
        self.error = ""
        self._owner.on_up(self.index, self._log.welcome)

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
        """What cannot break is made anew."""
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
