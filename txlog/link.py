"""One connection to one log node: connect, shake hands, decode, send, and connect again after a
loss.

Decides: when to try again and what counts as broken.
Must not know: what the messages mean.
Invariants: ``on_up`` comes after the node's Welcome and before any message; after ``on_down`` no
message of that connection comes; what was sent on a connection that went down is lost: the link
does not know whether the node got it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from typing import Final, Protocol, cast

from txlog import handshake
from txlog.address import format_host_port
from txlog.handshake import Caller
from txlog.messages import Hello, Message, Reject, Welcome
from txlog.program_errors import report, report_end
from txlog.resolver import RESOLVER
from txlog.sockets import tune_socket
from txlog.wire import DEFAULT_MAX_FRAME_BYTES, Decoder, FrameKey, WireError, encode

_CONNECT_TIMEOUT_S: Final = 1.0  # for the connection, and again for the node's first message
# longer than a node lets a caller wait for a log that is being opened: after that wait the node
# sends a proven refusal
_WELCOME_TIMEOUT_S: Final = 5.0
_FIRST_WAIT_S: Final = 0.02
_LONGEST_WAIT_S: Final = 1.0


class LinkOwner(Protocol):
    """Gets the events of a link. The link calls it synchronously, in loop context."""

    # A text refuses the node for good: it is not the expected one.
    def on_up(self, index: int, welcome: Welcome) -> str | None: ...
    def on_messages(self, index: int, messages: list[Message]) -> None: ...
    def on_down(self, index: int, reason: str) -> None: ...
    def on_refused(self, index: int, reason: str) -> None: ...
    # the node has a higher version than our Hello, and it refuses us
    def on_membership(self, index: int, reject: Reject) -> None: ...


class Link(Protocol):
    """What the client needs of a connection to a node, by socket or in the same process."""

    index: int
    up: bool
    error: str
    welcome: Welcome | None
    address: str

    def start(self) -> None: ...
    def close(self) -> None: ...
    def send(self, message: Message) -> None: ...
    def send_frame(self, message: Message, frame: bytes) -> None: ...
    def drop(self, reason: str) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class _Connection:
    """One TCP connection of a `SocketLink`; it reports to its link, which lives longer.

    It has the methods of an `asyncio.Protocol` but does not inherit from it, because this module is
    compiled.
    """

    def __init__(self, link: SocketLink) -> None:
        self.link = link
        self.caller: Caller | None = None  # until the Welcome
        self.decoder: Decoder | None = None  # after the Welcome
        self.outgoing: FrameKey | None = None
        self.transport: asyncio.Transport | None = None
        self.challenged = False  # the node's Challenge is here, our Hello is sent
        self.greeted = False  # the node's Welcome is here
        self.reason = "the node closed the connection"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        if self.link.connection is not self:
            transport.abort()  # another attempt has taken its place
            return
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.link.peer = (str(peer[0]), int(peer[1]))
        tune_socket(transport.get_extra_info("socket"))

    def eof_received(self) -> None:
        """The node sends nothing more: close the connection."""

    def pause_writing(self) -> None:
        """Nothing to do: what is under way has a bound, `Limits.window_bytes`."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def data_received(self, data: bytes) -> None:
        """Report an error of the program to the loop's handler from here. A transport would drop it
        if it is an `OSError`, and would show itself as the place of the error.
        """
        try:
            self._take(data)
        except Exception as bug:
            report(f"the link to {self.link.address}", bug)
            self.fail("an error of the program")

    def _take(self, data: bytes) -> None:
        link = self.link
        if link.connection is not self:
            return
        try:
            decoder = self.decoder
            if decoder is None:
                decoder = self._handshake(data)
                if decoder is None:
                    return
                data = b""  # the decoder has what came after the Welcome
            messages = decoder.feed(data)
        except WireError as error:
            self.fail(f"unreadable bytes from the node: {error}")
            return
        if messages:
            link.owner.on_messages(link.index, messages)

    def _handshake(self, data: bytes) -> Decoder | None:
        """Returns the decoder for later bytes, once the Welcome is here."""
        link = self.link
        if self.caller is None:
            self.caller = Caller(
                link.make_hello(),
                link.secret,
                secrets.token_bytes(handshake.NONCE_BYTES),
                link.max_frame_bytes,
            )
        caller = self.caller
        try:
            out = caller.feed(data)
        except handshake.HandshakeError as refused:
            if refused.reject is not None and refused.reject.version:
                link.owner.on_membership(link.index, refused.reject)
            self.refuse(refused.reason)
            return None
        if out:
            self.challenged = True
            link.error = "connected, the node has not answered yet"
            if self.transport is not None:
                self.transport.write(out)
        if caller.welcome is None:
            return None
        self.greeted = True
        self.caller = None
        self.decoder = caller.decoder
        self.outgoing = caller.outgoing
        link.greeted(self, caller.welcome)
        return self.decoder if link.connection is self else None

    def write(self, frame: bytes) -> None:
        """Send one frame, after the handshake."""
        if self.transport is not None:
            self.transport.write(
                frame if self.outgoing is None else frame + self.outgoing.tag(frame)
            )

    def refuse(self, reason: str) -> None:
        self.link.refused(reason)
        self.fail(reason)

    def fail(self, reason: str) -> None:
        self.reason = reason
        if self.transport is not None:
            self.transport.abort()
        self.link.lost(self, reason)

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.lost(self, str(exc) if exc else self.reason)


class SocketLink:
    """A `Link` over TCP."""

    def __init__(
        self,
        index: int,
        host: str,
        port: int,
        owner: LinkOwner,
        make_hello: Callable[[], Hello],
        secret: bytes | None,
        rng: random.Random,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        where: Callable[[], tuple[str, int]] | None = None,
    ) -> None:
        """``where``: called before each attempt for the address, instead of a fixed one."""
        self.index = index
        self.host = host
        self.port = port
        self.address = format_host_port(host, port)
        self.peer = (host, port)  # as an address, once a connection was made
        self.owner = owner
        self.make_hello = make_hello
        self.secret = secret
        self.max_frame_bytes = max_frame_bytes
        self.up = False
        self.error = "not connected yet"
        self.welcome: Welcome | None = None
        self.connection: _Connection | None = None
        self.tried = asyncio.Event()  # the first attempt has succeeded or failed
        self._where = where
        self._rng = rng
        self._wait_s = _FIRST_WAIT_S
        self._task: asyncio.Task[None] | None = None
        self._down = asyncio.Event()
        self._closed = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(
            self._keep_up(), name=f"the link to {self.address}"
        )
        self._task.add_done_callback(report_end)

    def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        self.drop("closed here")

    async def _keep_up(self) -> None:
        while not self._closed:
            await self._connect_once()
            self.tried.set()
            # Full jitter from one half on, so that not all clients connect at the same moment to
            # nodes that failed together.
            await asyncio.sleep(self._wait_s * (0.5 + self._rng.random() / 2))
            self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)

    async def _connect_once(self) -> None:
        """The whole life of one connection."""
        self._down.clear()
        loop = asyncio.get_running_loop()
        if self._where is not None:
            self.host, self.port = self._where()
            self.address = format_host_port(self.host, self.port)
        try:
            await RESOLVER.connect(self._new_connection, self.host, self.port, _CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            reason = (
                (str(error) or "no answer")
                if isinstance(error, TimeoutError)
                else (error.strerror or str(error))
            )
            self._give_up(reason)
            return
        connection = self.connection
        if connection is None:
            return  # lost already
        timers = [
            loop.call_later(_CONNECT_TIMEOUT_S, self._late, connection, False),
            loop.call_later(_WELCOME_TIMEOUT_S, self._late, connection, True),
        ]
        try:
            await self._down.wait()
        finally:
            for timer in timers:
                timer.cancel()

    def _new_connection(self) -> asyncio.Protocol:
        """A connection for one address of the name. An attempt at an earlier address that is still
        under way no longer counts.
        """
        self._give_up("another address is tried")
        self._down.clear()
        connection = self.connection = _Connection(self)
        return cast(asyncio.Protocol, connection)

    def _give_up(self, reason: str) -> None:
        connection = self.connection
        if connection is None:
            self.error = reason
        else:
            connection.fail(reason)

    def _late(self, connection: _Connection, hello_sent: bool) -> None:
        if not connection.greeted and connection.challenged == hello_sent:
            connection.fail(
                "connected, but the node says nothing"
                if not hello_sent
                else "connected, but the node does not finish the handshake"
            )

    def greeted(self, connection: _Connection, welcome: Welcome) -> None:
        self.up = True
        self.error = ""
        before, self.welcome = self.welcome, welcome
        self._wait_s = _FIRST_WAIT_S
        refusal = self.owner.on_up(self.index, welcome)
        if refusal:
            self.up, self.welcome = False, before
            connection.refuse(refusal)
            return
        self.tried.set()

    def refused(self, reason: str) -> None:
        # After a refusal of the membership the wait stays short: the next Hello has the new
        # version, or the node soon has it.
        if not reason.startswith(handshake.MEMBERSHIP):
            self._wait_s = max(self._wait_s, _LONGEST_WAIT_S / 4)
        self.owner.on_refused(self.index, reason)

    def lost(self, connection: _Connection, reason: str) -> None:
        if self.connection is not connection:
            return
        self.connection = None
        self.error = reason
        was_up, self.up = self.up, False
        self._down.set()
        if was_up:
            self.owner.on_down(self.index, reason)

    def drop(self, reason: str) -> None:
        """End this connection; the link tries a new one."""
        if self.connection is not None:
            self.connection.fail(reason)

    @property
    def unfinished_bytes(self) -> int:
        """The bytes of a message that has come in part."""
        return (
            self.connection.decoder.waiting
            if self.connection is not None and self.connection.decoder is not None
            else 0
        )

    def send(self, message: Message) -> None:
        if self.up and self.connection is not None:
            self.connection.write(encode(message))

    def send_frame(self, message: Message, frame: bytes) -> None:
        """``frame`` is ``encode(message)``, made once for several links."""
        if self.up and self.connection is not None:
            self.connection.write(frame)

    def pause_reading(self) -> None:
        if (
            self.connection is not None
            and self.connection.transport is not None
            and self.connection.transport.is_reading()
        ):
            self.connection.transport.pause_reading()

    def resume_reading(self) -> None:
        if (
            self.connection is not None
            and self.connection.transport is not None
            and not self.connection.transport.is_reading()
        ):
            self.connection.transport.resume_reading()
