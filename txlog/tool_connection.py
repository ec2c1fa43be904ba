"""A connection to a log node that names no log: one question, one answer.

Decides: how long it waits; that it trusts a node only after the handshake.
Must not know: what is asked. It uses streams, because it is not on a hot path.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Final

from txlog import handshake
from txlog.address import format_host_port
from txlog.handshake import Caller
from txlog.messages import Hello, Message, Reject, Welcome
from txlog.resolver import RESOLVER
from txlog.wire import PROTOCOL, Decoder, FrameKey, WireError, encode

_ANSWER_TIMEOUT_S: Final = 2.0
_OPEN_TIMEOUT_S: Final = 5.0  # for connection and handshake together, also if the bytes come slowly
_ASK_TIMEOUT_S: Final = 10.0  # for a whole answer, also if the bytes come slowly

HostPort = tuple[str, int]


class AdminError(Exception):
    """The text is one line for the operator."""


class NotWelcome(AdminError):
    """The node at this address refuses the connection, or it cannot be trusted. An impostor can
    send any text here: ``reason`` is for the operator.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


class ToolConnection:
    """See the module."""

    def __init__(self, address: HostPort, secret: bytes | None) -> None:
        self.name = format_host_port(*address)
        self._address = address
        self._secret = secret
        self._decoder: Decoder | None = None
        self._outgoing: FrameKey | None = None
        self._messages: list[Message] = []
        self.welcome: Welcome | None = None

    async def open(self) -> Welcome:
        """Raises OSError while no node answers. Raises `NotWelcome` when the node refuses the
        connection or cannot be trusted.
        """
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            return await self._open()

    async def _open(self) -> Welcome:
        self._reader, self._writer = await RESOLVER.open_streams(*self._address, _ANSWER_TIMEOUT_S)
        hello = Hello(PROTOCOL, "", bytes(handshake.INCARNATION_BYTES), "tool")
        caller = Caller(hello, self._secret, secrets.token_bytes(handshake.NONCE_BYTES))
        try:
            while caller.welcome is None:
                self._writer.write(caller.feed(await self._read()))
        except handshake.HandshakeError as refused:
            raise NotWelcome(self.name, refused.reason) from refused
        except WireError as error:
            raise NotWelcome(
                self.name, f"this is not a log node of this version: {error}"
            ) from error
        self._decoder, self._outgoing, self.welcome = (
            caller.decoder,
            caller.outgoing,
            caller.welcome,
        )
        return caller.welcome

    async def ask(self, message: Message) -> Message:
        frame = encode(message)
        self._writer.write(frame if self._outgoing is None else frame + self._outgoing.tag(frame))
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            return await self._next()

    async def _read(self) -> bytes:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            data = await self._reader.read(1 << 16)
        if not data:
            raise ConnectionResetError("the node closed the connection")
        return data

    async def _next(self) -> Message:
        assert self._decoder is not None, "a question before the handshake"
        try:
            self._messages += self._decoder.feed(b"")  # what came after the Welcome
            while not self._messages:
                self._messages += self._decoder.feed(await self._read())
        except WireError as error:
            raise AdminError(f"{self.name} is not a log node: {error}") from error
        message = self._messages.pop(0)
        if isinstance(message, Reject):
            raise AdminError(f"{self.name}: {message.reason}")
        return message

    def close(self) -> None:
        with contextlib.suppress(AttributeError):  # never opened
            self._writer.close()
