"""One TCP connection of a log node: bytes in and out, the handshake, and nothing of what messages mean.

Decides: who may speak before the handshake is over (nobody), when a slow or hostile connection is closed, when bytes leave (once a loop turn).
Must not know: terms, entries, disks. Invariants: the node speaks first (a Challenge); before the Welcome only a Hello of bounded size is read;
messages that arrive while the log is being opened wait in order.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final, Protocol, cast

import structlog

from txlog import handshake
from txlog.client.link import tune_socket
from txlog.handshake import Door
from txlog.messages import Hello, InitGroup, JoinGroup, Membership, Message, Reject, StatusQuery, Welcome
from txlog.server.session import Session
from txlog.wire import FrameKey, WireError, encode

_HANDSHAKE_TIMEOUT_S: Final = 5.0
_WRITE_BUFFER_BYTES: Final = 2 << 20  # above it a reader is fed no more until it has taken half
_STUCK_BUFFER_BYTES: Final = 256 << 20  # a caller that never reads its answers is closed, not collected for

log = structlog.get_logger("txlog.connection")


NodeMessage = InitGroup | JoinGroup | Membership | StatusQuery


class Node(Protocol):
    """What a connection needs of the log node."""

    max_frame_bytes: int

    def door(self, nonce: bytes) -> Door: ...
    def check_hello(self, hello: Hello) -> Reject | None: ...  # None: welcome
    async def open_session(self, hello: Hello, connection: Connection) -> Session | str: ...
    def welcome(self, hello: Hello) -> Welcome: ...
    def on_node_message(self, connection: Connection, message: NodeMessage) -> None: ...
    def on_connection(self, connection: Connection) -> bool: ...  # False: too many
    def on_connection_lost(self, connection: Connection) -> None: ...


class Connection:
    """A `session.Sink` over a socket; an `asyncio.Protocol` in all but descent, for the sake of the compiled code."""

    def __init__(self, node: Node) -> None:
        self.blocked = False
        self.peer_name = "?"
        self.purpose = ""
        self.names_log = False
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._door = node.door(secrets.token_bytes(handshake.NONCE_BYTES))
        self._decoder = self._door.decoder
        self._outgoing: FrameKey | None = None
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._opening: asyncio.Task[None] | None = None
        self._greeted = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._transport = transport
        self.peer_name = str(transport.get_extra_info("peername"))
        tune_socket(transport.get_extra_info("socket"))
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        if not self._node.on_connection(self):
            self.end(f"{handshake.BUSY}: too many connections")
            return
        self._timer = self._loop.call_later(_HANDSHAKE_TIMEOUT_S, self._late)
        transport.write(self._door.opening())

    def eof_received(self) -> None:
        """Nothing more comes: it is closed."""

    def data_received(self, data: bytes) -> None:
        try:
            if self._greeted:
                self._take(self._decoder.feed(data))
            elif (hello := self._door.feed(data)) is not None:
                self._hello(hello)
        except WireError as error:
            log.warning("unreadable bytes, connection closed", peer=self.peer_name, reason=str(error))
            self._abort()
        except handshake.HandshakeError as refused:
            log.warning("connection refused", peer=self.peer_name, reason=refused.reason)
            self.end(refused.reason)

    def _take(self, messages: list[Message]) -> None:
        if not messages:
            return
        if self._session is not None:
            self._session.on_messages(messages)
        else:
            self._node_messages(messages)

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        if self._session is not None:
            self._session.on_unblocked()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            session, self._session = self._session, None
            session.close()
        self._node.on_connection_lost(self)

    # ------------------------------------------------------------------ handshake

    def _late(self) -> None:
        if not self._greeted and self._opening is None:
            self.end("no Hello in time")

    def _hello(self, hello: Hello) -> None:
        """Of a caller that has proven the secret, where one is set."""
        reject = self._node.check_hello(hello)
        if reject is not None:
            log.warning("connection refused", peer=self.peer_name, purpose=hello.purpose, reason=reject.reason)
            self._end(reject)
            return
        self.purpose = hello.purpose
        self.names_log = bool(hello.log)
        if not hello.log:
            self._greet(hello, None)
            return
        assert self._transport is not None
        self._transport.pause_reading()  # what comes with the Hello waits; more of it must not pile up while a large log is checked
        self._opening = self._loop.create_task(self._open(hello))

    async def _open(self, hello: Hello) -> None:
        session = await self._node.open_session(hello, self)
        if isinstance(session, str):
            self.end(session)
        elif self._transport is None or self._transport.is_closing():
            session.close()
        else:
            self._greet(hello, session)

    def _greet(self, hello: Hello, session: Session | None) -> None:
        self._greeted = True
        self._session = session
        if self._opening is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._out.append(self._door.welcome(self._node.welcome(hello), self._node.max_frame_bytes))
        self._outgoing = self._door.outgoing
        self._flush()
        self.data_received(b"")  # what came with the Hello

    def _node_messages(self, messages: list[Message]) -> None:
        for message in messages:
            if isinstance(message, NodeMessage):
                self._node.on_node_message(self, message)
            else:
                self.end(f"{handshake.PROTOCOL}: a {type(message).__name__} on a connection that names no log")
                return

    # ------------------------------------------------------------------ out

    def send(self, message: Message) -> None:
        if self._out_bytes > _STUCK_BUFFER_BYTES:
            return  # so many answers in one turn: it is closed at the turn's end
        if not self._out:
            self._loop.call_soon(self._flush)
        frame = encode(message)
        self._out.append(frame)
        if self._outgoing is not None:
            self._out.append(self._outgoing.tag(frame))
        self._out_bytes += len(frame)
        if self._out_bytes > _STUCK_BUFFER_BYTES:
            self.blocked = True

    def _flush(self) -> None:
        transport, asked, self._out_bytes = self._transport, self._out_bytes, 0
        if transport is None:
            self._out.clear()
            return
        out = self._out
        if asked > _STUCK_BUFFER_BYTES:
            out.clear()
            log.warning("caller asks for more at once than it can be given, connection closed", peer=self.peer_name, purpose=self.purpose)
            self._abort()
            return
        transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        if self.blocked and transport.get_write_buffer_size() > _STUCK_BUFFER_BYTES:
            log.warning("caller does not read its answers, connection closed", peer=self.peer_name, purpose=self.purpose)
            self._abort()

    def end(self, reason: str) -> None:
        """Say why, and close once it has been sent."""
        self._end(Reject(reason))

    def retire(self, reject: Reject) -> None:
        """S8: the membership under which this connection was made is over. Its session ends here and now: whatever it still waits for is never answered."""
        if self._session is not None:
            session, self._session = self._session, None
            session.close()
        self._end(reject)

    def _end(self, reject: Reject) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._out.append(self._door.reject(reject))
            self._flush()
            self._transport.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
