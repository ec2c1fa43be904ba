"""A small RESP client for tests: one asyncio connection, and one blocking question.

It is independent of redis-py, so that no retry or reconnect of a library hides an outcome.

Decides: how a command becomes bytes and which future a reply belongs to.
Must not know: what a reply means (`workload`), which node is the primary (`cluster`).
Invariants: replies complete futures in the order in which the commands were sent. When the
connection ends, every outstanding future fails with `Closed`: the caller learns that the outcome of
its command is unknown. Error replies are returned as values (`hiredis.ReplyError`), never raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import Any

import hiredis

Address = tuple[str, int]
ReplyError = hiredis.ReplyError


class Closed(ConnectionError):
    """The connection ended with commands outstanding, or before the command could be sent."""


def pack(*args: Any) -> bytes:
    """One command as a RESP array of bulk strings."""
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in args]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


class Connection(asyncio.Protocol):
    """Pipelined RESP over one socket. Open with `Connection.open`."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.transport: asyncio.Transport | None = None
        self.ended: str | None = None

    @classmethod
    async def open(cls, address: Address, timeout: float = 2.0) -> Connection:
        loop = asyncio.get_running_loop()
        _, protocol = await asyncio.wait_for(loop.create_connection(cls, *address), timeout)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            if not self.waiting:  # a message without a request (a push): not for this client
                continue
            future = self.waiting.popleft()
            if not future.done():
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.ended or (str(exc) if exc else "closed by the server")
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_exception(Closed(self.ended))

    def send(self, *args: Any) -> asyncio.Future[Any]:
        """Send at once; the future gives the reply, or raises `Closed`."""
        if self.ended is not None or self.transport is None or self.transport.is_closing():
            raise Closed(self.ended or "not connected")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        self.transport.write(pack(*args))
        return future

    async def call(self, *args: Any, timeout: float = 10.0) -> Any:
        """The reply. `TimeoutError` closes the connection.
        Otherwise later replies could not be distinguished from earlier ones.
        """
        try:
            return await asyncio.wait_for(self.send(*args), timeout)
        except TimeoutError:
            self.close()
            raise

    def close(self) -> None:
        self.ended = self.ended or "closed by the test"
        if self.transport is not None:
            self.transport.abort()


class Blocking:
    """The same over a blocking socket, for control questions and single sequential commands."""

    def __init__(self, address: Address, timeout: float = 5.0) -> None:
        self.sock = socket.create_connection(address, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader()

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, *args: Any) -> None:
        self.sock.sendall(pack(*args))

    def receive(self) -> Any:
        while (reply := self.reader.gets()) is False:
            data = self.sock.recv(1 << 16)
            if not data:
                raise Closed("closed by the server")
            self.reader.feed(data)
        return reply

    def call(self, *args: Any) -> Any:
        self.send(*args)
        return self.receive()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()


def ask(address: Address, *args: Any, timeout: float = 1.0) -> Any:
    """Ask once on a new connection. Raises `OSError` when no answer comes in time."""
    with Blocking(address, timeout) as connection:
        return connection.call(*args)


def info(address: Address, section: str = "", timeout: float = 2.0) -> dict[str, str]:
    """INFO as a dictionary."""
    reply = ask(address, *(["INFO", section] if section else ["INFO"]), timeout=timeout)
    if isinstance(reply, ReplyError):
        raise reply
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    return dict(
        line.split(":", 1)
        for line in text.splitlines()
        if line and not line.startswith("#") and ":" in line
    )
