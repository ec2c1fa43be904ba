"""One TCP connection of a log node: bytes in and out, and the handshake.

Decides: that no caller is served before its handshake is complete; when a slow or hostile
connection is closed; when bytes leave (once a loop turn).
Must not know: terms, entries, disks, what messages mean.
Invariants: the node speaks first (a Challenge); before the Welcome it reads only a Hello of bounded
size; messages that arrive while the log is being opened wait in order.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import Final, Protocol, cast

import structlog

from txlog import handshake
from txlog.handshake import Door
from txlog.messages import (
    DeleteLog,
    Hello,
    InitGroup,
    JoinGroup,
    Membership,
    Message,
    Reject,
    StatusQuery,
    Welcome,
)
from txlog.server.session import CallerSession
from txlog.sockets import tune_socket
from txlog.throttle import ThrottledLog
from txlog.wire import TAG_BYTES, FrameKey, WireError, encode

_HANDSHAKE_TIMEOUT_S: Final = 5.0
_LARGE_BYTES: Final = 64 << 10  # smaller amounts are not reported to `callers`
_TOOL_FRAME_BYTES: Final = 1 << 20  # from a caller that names no log

# any caller that connects can cause these lines
log = ThrottledLog(structlog.get_logger("txlog.connection"))


NodeMessage = InitGroup | JoinGroup | Membership | DeleteLog | StatusQuery


class LogNodeServices(Protocol):
    """What a connection needs of the log node."""

    max_frame_bytes: int
    max_output_bytes: int  # not read by the caller yet; above it the node answers nothing more

    def door(self, nonce: bytes) -> Door: ...
    def check_hello(self, hello: Hello) -> Reject | None: ...  # None: welcome
    async def open_session(
        self, hello: Hello, connection: CallerConnection
    ) -> CallerSession | str: ...
    def welcome(self, hello: Hello) -> Welcome: ...
    def on_node_message(self, connection: CallerConnection, message: NodeMessage) -> None: ...
    def on_connection(self, connection: CallerConnection) -> str: ...  # why it cannot be served
    def on_greeted(self, connection: CallerConnection) -> None: ...
    def on_connection_lost(self, connection: CallerConnection) -> None: ...
    # ``held``: bytes that this caller has not read yet
    def on_output(self, connection: CallerConnection, held: int) -> None: ...
    # ``held``: bytes of a message that has come in part
    def on_input(self, connection: CallerConnection, held: int) -> None: ...


class CallerConnection:
    """A `session.AnswerSink` over a socket. It has the methods of an `asyncio.Protocol` but does
    not inherit from it, because this module is compiled.
    """

    def __init__(self, node: LogNodeServices) -> None:
        self.blocked = False
        self.peer_name = "?"
        self.address = ""
        self.purpose = ""
        self.log_name = ""  # "": the caller names no log; it asks about the node
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._door = node.door(secrets.token_bytes(handshake.NONCE_BYTES))
        self._decoder = self._door.decoder
        self._outgoing: FrameKey | None = None
        self._transport: asyncio.Transport | None = None
        self._session: CallerSession | None = None
        self._opening: asyncio.Task[None] | None = None
        self.greeted = False
        # questions that wait because the caller does not read its answers
        self._queue: deque[Message] = deque()
        self._reading = True
        self._input = 0
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.peer_name, self.address = (
            str(peer),
            str(peer[0]) if isinstance(peer, tuple) and peer else "",
        )
        tune_socket(transport.get_extra_info("socket"))
        transport.set_write_buffer_limits(high=self._node.max_output_bytes)
        if reason := self._node.on_connection(self):
            log.warning("connection refused", peer=self.peer_name, reason=reason)
            self.end(f"{handshake.BUSY}: {reason}")
            return
        self._timer = self._loop.call_later(_HANDSHAKE_TIMEOUT_S, self._on_handshake_timeout)
        transport.write(self._door.opening())

    def eof_received(self) -> None:
        """The caller sends nothing more: close the connection."""

    def data_received(self, data: bytes) -> None:
        try:
            if self.greeted:
                self._on_messages(self._decoder.feed(data))
            elif (hello := self._door.feed(data)) is not None:
                self._on_hello(hello)
        except WireError as error:
            log.warning(
                "unreadable bytes, connection closed", peer=self.peer_name, reason=str(error)
            )
            self._abort()
        except handshake.HandshakeError as refused:
            log.warning("connection refused", peer=self.peer_name, reason=refused.reason)
            self.end(refused.reason)

    def _on_messages(self, messages: list[Message]) -> None:
        if self._decoder.waiting or self._input:
            self._input = self._decoder.waiting
            self._node.on_input(self, self._input)
        if not messages:
            return
        session = self._session
        if (
            session is not None
            and not self._queue
            and not self.output_full
            and session.asks_little(messages)
        ):
            session.on_messages(messages)
            return
        self._queue.extend(messages)
        self._process_queue()

    @property
    def output_full(self) -> bool:
        return self.blocked or self._out_bytes > self._node.max_output_bytes

    def _process_queue(self) -> None:
        """Process one question at a time, as long as the caller reads the answers. While it does
        not read them, the node reads nothing from it.
        """
        queue, session = self._queue, self._session
        while (
            queue
            and not self.output_full
            and self._transport is not None
            and (session is None or not session.reads_under_way)
        ):
            message = queue.popleft()
            if session is not None:
                session.on_messages([message])
            elif not self._node_message(message):
                queue.clear()
        self._set_reading(not queue)

    def _set_reading(self, on: bool) -> None:
        transport = self._transport
        if on != self._reading and transport is not None and not transport.is_closing():
            self._reading = on
            if on:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def on_served(self) -> None:
        """The answers that were read from the disk for this caller have been sent."""
        if self._queue:
            self._process_queue()

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        if self._transport is not None:
            self._node.on_output(self, self._transport.get_write_buffer_size())
        if self._session is not None:
            self._session.on_unblocked()
        if self._queue:
            self._process_queue()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            session, self._session = self._session, None
            session.close()
        self._node.on_connection_lost(self)

    # ------------------------------------------------------------------ handshake

    def _on_handshake_timeout(self) -> None:
        if not self.greeted and self._opening is None:
            self.end("no Hello in time")

    def _on_hello(self, hello: Hello) -> None:
        """Handle the Hello of a caller that has proven the secret, if a secret is set."""
        reject = self._node.check_hello(hello)
        if reject is not None:
            log.warning(
                "connection refused",
                peer=self.peer_name,
                purpose=hello.purpose,
                reason=reject.reason,
            )
            self._reject(reject)
            return
        self.purpose = hello.purpose
        self.log_name = hello.log
        if not hello.log:
            self._accept(hello, None)
            return
        assert self._transport is not None
        # messages after the Hello wait; not too many of them may collect while a large log is
        # checked
        self._set_reading(False)
        self._opening = self._loop.create_task(self._open_session(hello))

    async def _open_session(self, hello: Hello) -> None:
        session = await self._node.open_session(hello, self)
        if isinstance(session, str):
            self.end(session)
        elif self._transport is None or self._transport.is_closing():
            session.close()
        else:
            self._accept(hello, session)

    def _accept(self, hello: Hello, session: CallerSession | None) -> None:
        self.greeted = True
        self._node.on_greeted(self)
        self._session = session
        self._set_reading(True)
        largest = self._node.max_frame_bytes
        self._out.append(
            self._door.welcome(
                self._node.welcome(hello), largest if hello.log else min(largest, _TOOL_FRAME_BYTES)
            )
        )
        self._outgoing = self._door.outgoing
        self._flush()
        self.data_received(b"")  # process what came with the Hello

    def _node_message(self, message: Message) -> bool:
        """False: the node ends its service of this caller."""
        if isinstance(message, NodeMessage):
            self._node.on_node_message(self, message)
            return True
        self.end(
            f"{handshake.PROTOCOL}: a {type(message).__name__} on a connection that names no log"
        )
        return False

    # ------------------------------------------------------------------ out

    def send(self, message: Message) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        frame = encode(message)
        self._out.append(frame)
        if self._outgoing is not None:
            self._out.append(self._outgoing.tag(frame))
            self._out_bytes += TAG_BYTES
        self._out_bytes += len(frame)

    def _flush(self) -> None:
        transport, asked, self._out_bytes = self._transport, self._out_bytes, 0
        out = self._out
        if transport is None or not out:
            out.clear()
            return
        transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        if self.blocked or asked > _LARGE_BYTES:
            self._node.on_output(self, transport.get_write_buffer_size())
        if self._queue:
            self._process_queue()

    @property
    def unread(self) -> int:
        """Bytes that the caller has not read yet."""
        return self._out_bytes + (
            self._transport.get_write_buffer_size() if self._transport is not None else 0
        )

    def end(self, reason: str) -> None:
        """Send the reason, and close the connection after it."""
        self._reject(Reject(reason))

    def retire(self, reject: Reject) -> None:
        """End the session at once, without an answer to what it still waits for.

        The reason: the membership under which this connection was made is over (S8), or its log is
        being deleted.
        """
        if self._session is not None:
            session, self._session = self._session, None
            session.close()
        self._reject(reject)

    def _reject(self, reject: Reject) -> None:
        self._queue.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._out.append(self._door.reject(reject))
            self._flush()
            self._transport.close()

    def drop(self, reason: str) -> None:
        """Close at once, without sending what waits."""
        log.warning("connection closed", peer=self.peer_name, purpose=self.purpose, reason=reason)
        self._abort()

    def _abort(self) -> None:
        self._queue.clear()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
