"""The lease keeper's connections to the log nodes: opened early, so that a renewal never waits for
one.

Decides: when to try a connection again; that it closes a connection to a node which is not the
expected one.
Must not know: when to renew. Sockets do not block, so a node that is away does not delay the other
nodes. The keeper connects to addresses only; the event loop looks names up.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import selectors
import socket
from dataclasses import dataclass
from typing import Any, Final

from txlog import handshake
from txlog.messages import Hello, Message
from txlog.sockets import tune_socket
from txlog.wire import PROTOCOL, Decoder, FrameKey, WireError

CONNECT_US: Final = 1_000_000  # time limit for a connection
GREET_US: Final = 10_000_000  # and for the handshake: a node may have to open the log first
RETRY_US: Final = 1_000_000  # between two tries
DEAD_PEER_MS: Final = 1000  # about a lease: a connection is of use only while the lease runs
PURPOSE: Final = "busy"

CLOSED: Final = "closed"
CONNECTING: Final = "connecting"
GREETING: Final = "greeting"
UP: Final = "up"


@dataclass(frozen=True, slots=True)
class LogNodeAddress:
    """One log node: its id and the address at which the loop reached it."""

    node: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class HelloFields:
    """The contents of each Hello, the same as in the loop's own connections."""

    log: str
    incarnation: bytes
    group: bytes
    membership: int
    secret: bytes | None


def hello_fields_of(told: dict[str, Any]) -> HelloFields:
    """Read the fields that `txlog.client.lease_keeper` sends."""
    secret = bytes.fromhex(told["secret"]) if told["secret"] is not None else None
    return HelloFields(
        told["log"],
        bytes.fromhex(told["incarnation"]),
        bytes.fromhex(told["group"]),
        told["membership"],
        secret,
    )


class NodeLink:
    def __init__(self, index: int, selector: selectors.BaseSelector) -> None:
        self.index = index
        self.state = CLOSED
        self._selector = selector
        self._socket: socket.socket | None = None
        self._caller: handshake.Caller | None = None  # until the node has said Welcome
        self._decoder: Decoder | None = None  # after the Welcome
        self._outgoing: FrameKey | None = None
        self._words: HelloFields | None = None
        self._place: LogNodeAddress | None = None
        self._until_us = 0  # time limit of the present state
        self._retry_us = 0

    def set_target(self, words: HelloFields, place: LogNodeAddress | None) -> None:
        """Set the node to connect to from now on."""
        if words != self._words or place != self._place:
            self.close()
            self._words, self._place, self._retry_us = words, place, 0

    def tick(self, now_us: int) -> None:
        """Open what is closed, and close what takes too long."""
        if self.state in (CONNECTING, GREETING) and now_us >= self._until_us:
            self.close()
        if self.state == CLOSED and self._place is not None and now_us >= self._retry_us:
            self._retry_us = now_us + RETRY_US
            self._connect(self._place, now_us)

    def _connect(self, place: LogNodeAddress, now_us: int) -> None:
        words = self._words
        assert words is not None
        hello = Hello(
            PROTOCOL, words.log, words.incarnation, PURPOSE, words.membership, words.group
        )
        self._caller = handshake.Caller(
            hello, words.secret, secrets.token_bytes(handshake.NONCE_BYTES)
        )
        self._decoder = self._outgoing = None
        try:
            self._socket = sock = socket.socket(
                socket.AF_INET6 if ":" in place.host else socket.AF_INET, socket.SOCK_STREAM
            )
            sock.setblocking(False)
            tune_socket(sock, DEAD_PEER_MS)
            if (code := sock.connect_ex((place.host, place.port))) not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
            self._selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self)
        except OSError:
            self.close()  # tried again later; the loop's own connection reports the reason
            return
        self.state, self._until_us = CONNECTING, now_us + CONNECT_US

    def close(self) -> None:
        self.state = CLOSED
        if self._socket is not None:
            with contextlib.suppress(KeyError, ValueError):  # not registered yet
                self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def send(self, frame: bytes) -> None:
        """Send a small frame. If the socket cannot take it at once, close it."""
        if self.state == UP and self._socket is not None:
            try:
                data = frame if self._outgoing is None else frame + self._outgoing.tag(frame)
                if self._socket.send(data) != len(data):
                    self.close()
            except OSError:
                self.close()

    def on_ready(self, now_us: int) -> list[Message]:
        """The selector reports this connection: return what the node sent after the handshake."""
        if self._socket is None:
            return []
        try:
            if self.state == CONNECTING:
                if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(code, "connect")
                self._selector.modify(self._socket, selectors.EVENT_READ, self)
                self.state, self._until_us = GREETING, now_us + GREET_US
                return []
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            if self._decoder is None:
                self._greet(data)
                data = b""  # the decoder has what came after the Welcome
            return self._decoder.feed(data) if self._decoder is not None else []
        except BlockingIOError:
            return []
        except (OSError, WireError, handshake.HandshakeError):
            self.close()
            return []

    def _greet(self, data: bytes) -> None:
        caller, place, words = self._caller, self._place, self._words
        assert (
            caller is not None
            and place is not None
            and words is not None
            and self._socket is not None
        )
        if out := caller.feed(data):
            self._socket.sendall(out)
        if caller.welcome is None:
            return
        if caller.welcome.node != place.node or caller.welcome.membership != words.membership:
            self.close()  # not the node whose answers count for this place
            return
        self._caller, self._decoder, self._outgoing = None, caller.decoder, caller.outgoing
        self.state = UP
