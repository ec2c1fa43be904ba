"""The client of `memstore demo`: it follows the primary, and never guesses an unknown outcome.

Decides: what each reply to a write means, when a write is sent again, where it is sent next.
Must not know: what the demo does to the cluster.
Invariant: a write is sent again only if its last reply says that it was not executed. If the
connection ends between the command and its reply, the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import hiredis

from memstore.ops.demo_check import HostPort
from memstore.ops.resp_client import encode

READ_BYTES: Final = 64 * 1024
REPLY_S: Final = 3.0  # a node that does not answer within this time is given up
PAUSE_S: Final = 0.02  # before a write is sent again
PATIENCE_S: Final = 15.0  # a write that no node takes within this time ends the demo
BATCH: Final = 100  # reads sent at once
PRIMARY: Final = re.compile(r"primary=(.+):(\d+)$")
MOVED: Final = re.compile(r"MOVED \d+ (.+):(\d+)$")
NOT_EXECUTED: Final = ("MASTERDOWN ", "CLUSTERDOWN ", "LOADING ", "TRYAGAIN ")


class DemoError(Exception):
    """The demo cannot go on; the text is one line."""


class Lost(Exception):
    """The connection is gone, or the node does not answer; the text is one line."""


class Means(Enum):
    """The meaning of a reply for the write that it answers."""

    ACKNOWLEDGED = auto()
    UNKNOWN = auto()
    ELSEWHERE = auto()  # not executed here; ``Reading.primary`` may name the primary
    LATER = auto()  # not executed: no primary, or the node is not ready
    REFUSED = auto()  # for a reason that a demo never meets


@dataclass(slots=True, frozen=True)
class Reading:
    """A decoded reply."""

    means: Means
    primary: HostPort | None = None


def read(answer: object) -> Reading:
    """Decode the reply to a SET."""
    if not isinstance(answer, hiredis.ReplyError):
        return Reading(Means.ACKNOWLEDGED if answer == b"OK" else Means.REFUSED)
    text = str(answer)
    if text.startswith("UNKNOWN "):
        return Reading(Means.UNKNOWN)
    if text.startswith(("READONLY ", "MOVED ")):
        named = PRIMARY.search(text) or MOVED.search(text)
        return Reading(Means.ELSEWHERE, (named[1], int(named[2])) if named else None)
    return Reading(Means.LATER if text.startswith(NOT_EXECUTED) else Means.REFUSED)


class Link:
    """One connection to one node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def open(address: HostPort) -> Link:
        """Raises `Lost`."""
        try:
            async with asyncio.timeout(REPLY_S):
                return Link(*await asyncio.open_connection(*address))
        except (OSError, TimeoutError) as error:
            raise Lost(f"{address[0]}:{address[1]} cannot be reached: {error}") from None

    async def call(self, *commands: tuple[str | bytes, ...]) -> list[Any]:
        """The replies, in order; an error reply is a value. Raises `Lost`."""
        parser = hiredis.Reader()
        answers: list[Any] = []
        try:
            async with asyncio.timeout(REPLY_S):
                self._writer.write(b"".join(encode(*command) for command in commands))
                while len(answers) < len(commands):
                    data = await self._reader.read(READ_BYTES)
                    if not data:
                        raise Lost("the node closed the connection")
                    parser.feed(data)
                    while (answer := parser.gets()) is not False:
                        answers.append(answer)
        except (OSError, TimeoutError, hiredis.ProtocolError) as error:
            raise Lost(f"the connection broke: {error or 'no answer'}") from None
        return answers

    def close(self) -> None:
        self._writer.close()


class Follower:
    """A client that finds the primary by itself. One write at a time."""

    def __init__(self, nodes: list[HostPort]) -> None:
        self._nodes = nodes
        self._tried = 0
        self.address = nodes[0]
        self._link: Link | None = None

    async def set(self, key: bytes, value: bytes) -> bool:
        """True: acknowledged. False: the outcome is unknown. Raises `DemoError`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    reading = await self._try_once(key, value)
                    if reading.means is Means.ACKNOWLEDGED:
                        return True
                    self._go_to(reading.primary)
                    if reading.means is Means.UNKNOWN:
                        return False
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            raise DemoError(f"no node took a write within {PATIENCE_S:.0f} s") from None

    async def _try_once(self, key: bytes, value: bytes) -> Reading:
        if self._link is None:
            try:
                self._link = await Link.open(self.address)
            except Lost:
                return Reading(Means.LATER)  # nothing was sent
        try:
            (answer,) = await self._link.call(("SET", key, value))
        except Lost:
            return Reading(Means.UNKNOWN)
        reading = read(answer)
        if reading.means is Means.REFUSED:
            raise DemoError(f"{self.address[0]}:{self.address[1]} answers a SET with: {answer}")
        return reading

    def _go_to(self, primary: HostPort | None) -> None:
        """The next attempt goes to ``primary``; if it is None, to the next node."""
        self.close()
        if primary is None or primary == self.address:
            self._tried += 1
            primary = self._nodes[self._tried % len(self._nodes)]
        self.address = primary

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


async def read_all(address: HostPort, keys: list[bytes]) -> dict[bytes, bytes | None]:
    """The value of each key at the node, by strong reads. Raises `DemoError`."""
    found: dict[bytes, bytes | None] = {}
    try:
        async with asyncio.timeout(PATIENCE_S):
            left = keys
            while left:
                left = await _read_some(address, left, found)
                await asyncio.sleep(PAUSE_S if left else 0)
    except TimeoutError:
        raise DemoError(
            f"{address[0]}:{address[1]} answered {len(found)} of {len(keys)} reads "
            f"within {PATIENCE_S:.0f} s"
        ) from None
    return found


async def _read_some(
    address: HostPort, keys: list[bytes], found: dict[bytes, bytes | None]
) -> list[bytes]:
    """Read all keys once over one connection. Returns the keys that must be read again."""
    again: list[bytes] = []
    link = None
    try:
        link = await Link.open(address)
        await link.call(("MEMSTORE", "READS", "strong"))
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            answers = await link.call(*(("GET", key) for key in batch))
            for key, answer in zip(batch, answers, strict=True):
                if isinstance(answer, hiredis.ReplyError):
                    again.append(key)
                else:
                    found[key] = answer
    except Lost:
        return [key for key in keys if key not in found]
    finally:
        if link is not None:
            link.close()
    return again
