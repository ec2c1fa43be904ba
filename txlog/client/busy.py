"""L7: a thread that keeps the lease while the event loop stands still inside one long command.

Decides: that the loop stands still (its beat, a clock reading a timer keeps fresh, has stopped for a quarter of the lease) and for how long renewals
go on without it. Must not know: the proposer (it belongs to the loop's thread); it is told afterwards what was renewed. Invariants (L2): an answer
counts only for the term and round that are still the writer's when it is counted, only as `Renewed`, once a node (the one the client's own link has met
at that address) and round of questions; the lease is counted from a clock reading taken before the first byte left. While the loop turns, the thread
sends nothing. Its connections are opened ahead, so that none is made in need.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final

import structlog

from txlog import handshake
from txlog.client.link import tune_socket
from txlog.client.questions import majority_of
from txlog.handshake import Caller
from txlog.messages import Message, Renew, Renewed
from txlog.wire import Decoder, FrameKey, WireError, encode

if TYPE_CHECKING:
    from txlog.client.client import LogClient
    from txlog.client.writer import Writer

_BEAT_S: Final = 0.05
_CONNECT_TIMEOUT_S: Final = 0.15  # short: while it waits for a dead node the thread cannot stand in
_HANDSHAKE_TIMEOUT_US: Final = 300_000  # however slowly the bytes come
_RECONNECT_S: Final = 3.0
_FIRST_NUMBER: Final = 1 << 62  # apart from the proposer's own numbers

log = structlog.get_logger("txlog.busy")


class _Line:
    """A blocking connection to one log node; used by the thread alone."""

    def __init__(self, client: LogClient, index: int) -> None:
        self._client = client
        self._index = index
        self._decoder = Decoder()
        self._outgoing: FrameKey | None = None
        self.socket: socket.socket | None = None
        self.version = 0  # of the membership under which it was opened
        self.tried_us = 0

    def open(self) -> None:
        """Connect and shake hands, or leave it closed."""
        host, port = self._client.where(self._index)
        self._outgoing = None
        try:
            self.socket = socket.create_connection((host, port), _CONNECT_TIMEOUT_S)
            tune_socket(self.socket)
            self.version = self._client.membership
            caller = Caller(self._client.make_hello("busy"), self._client.secret, secrets.token_bytes(handshake.NONCE_BYTES))
            until_us = self._client.clock() + _HANDSHAKE_TIMEOUT_US
            while caller.welcome is None:
                if self._client.clock() > until_us:
                    raise TimeoutError("the handshake takes too long")
                self.socket.sendall(caller.feed(self._receive()))
            self._decoder, self._outgoing = caller.decoder, caller.outgoing
            if not self._client.is_node(self._index, caller.welcome.node) or caller.welcome.membership != self.version:
                self.close()
        except (OSError, WireError, handshake.HandshakeError):
            self.close()  # tried again a second later; the link of the loop tells people why

    def _receive(self) -> bytes:
        assert self.socket is not None
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError
        return data

    def read(self) -> list[Message]:
        return self._decoder.feed(self._receive())

    def send(self, frame: bytes) -> None:
        if self.socket is not None:
            try:
                self.socket.sendall(frame if self._outgoing is None else frame + self._outgoing.tag(frame))
            except OSError:
                self.close()

    def close(self) -> None:
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.close()
            self.socket = None


class BusyHelper:
    """One for a client's life; serves whichever writer is open."""

    def __init__(self, client: LogClient, limit_ms: int) -> None:
        self.renewals = 0  # rounds of questions that a majority answered
        self._client = client
        self._limit_us = limit_ms * 1000
        self._clock = client.clock
        self._loop = asyncio.get_running_loop()
        self._beat_us = self._clock()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = threading.Event()
        self._number = _FIRST_NUMBER
        self._lines = [] if client.embedded else [_Line(client, index) for index in range(client.nodes)]
        self._thread = threading.Thread(target=self._run, name="txlog-busy", daemon=True)

    # ------------------------------------------------------------------ in the loop

    def start(self) -> None:
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self.look(self._clock())
        self._timer = self._loop.call_later(_BEAT_S, self._beat)

    def look(self, now: int) -> None:
        """The loop turns. If it stood still before, the writer is told for how long, before any of its own time-outs is looked at."""
        stood_still_us = now - self._beat_us - int(_BEAT_S * 1e6)
        writer = self._client.writer
        self._beat_us = now
        if writer is not None and stood_still_us > writer.lease_ms * 125:
            writer.on_renewed_elsewhere([], stood_still_us)

    def _tell(self, writer: Writer, answers: list[tuple[int, int, bytes, int]]) -> None:
        """From the thread to the loop; it hears of it when it turns again."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile: nobody is left to be told
            self._loop.call_soon_threadsafe(writer.on_renewed_elsewhere, answers, 0)

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        while True:
            writer = self._client.writer
            lease_ms = writer.lease_ms if writer is not None else 1000
            # Three looks in a quarter of the lease: the stand-still is noticed with more than half of the lease left.
            if self._stopping.wait(lease_ms / 12_000):
                break
            if writer is None or writer.renewable() is None:
                continue
            self._keep_lines()
            self._stand_in(writer)
        for line in self._lines:
            line.close()

    def _keep_lines(self) -> None:
        """Open what is closed, while the loop turns; a line on which the node has said goodbye is found here too."""
        now = self._clock()
        for line in self._lines:
            if line.version != self._client.membership:
                line.close()
                line.version, line.tried_us = self._client.membership, 0
            if line.socket is None and now - line.tried_us > _RECONNECT_S * 1e6:
                line.tried_us = now
                line.open()
            elif line.socket is not None:
                self._drain(line, 0)

    def _drain(self, line: _Line, timeout_s: float) -> list[Message]:
        assert line.socket is not None
        try:
            line.socket.settimeout(timeout_s)
            return line.read()
        except (BlockingIOError, TimeoutError):
            return []
        except (OSError, WireError):
            line.close()
            return []
        finally:
            if line.socket is not None:
                line.socket.settimeout(_CONNECT_TIMEOUT_S)

    def _stand_in(self, writer: Writer) -> None:
        """While the loop stands still: renew each quarter of the lease."""
        quarter_us = writer.lease_ms * 250
        began_us = self._beat_us
        rounds = 0
        while not self._stopping.is_set():
            now = self._clock()
            if self._beat_us != began_us or not quarter_us < now - began_us < self._limit_us:
                break
            wanted = writer.renewable()
            if wanted is None:
                break
            if not self._renew(writer, wanted, now + quarter_us):
                break
            rounds += 1
            left_us = now + quarter_us - self._clock()
            if left_us > 0 and self._stopping.wait(left_us / 1e6):
                break
        if rounds:
            log.info("the event loop stood still, the lease was renewed beside it", rounds=rounds, ms=(self._clock() - began_us) // 1000)

    def _renew(self, writer: Writer, wanted: tuple[int, bytes], until_us: int) -> bool:
        """One Renew to every node, answers until ``until_us``. False: the term is over."""
        term, round = wanted
        sent_us = self._clock()
        if self._client.embedded:
            # The folder is locked and this process has one client: nobody else can seal, so there is nobody to ask.
            return writer.credit(wanted, sent_us + writer.lease_ms * 1000)
        self._number += 1
        frame = encode(Renew(term, self._client.incarnation, round, writer.lease_ms, self._number))
        with selectors.DefaultSelector() as selector:
            for index, line in enumerate(self._lines):
                line.send(frame)
                if line.socket is not None:
                    selector.register(line.socket, selectors.EVENT_READ, (index, line))
            answered: dict[int, tuple[int, int, bytes, int]] = {}
            while (left_us := until_us - self._clock()) > 0 and selector.get_map():
                for key, _ in selector.select(left_us / 1e6):
                    index, line = key.data
                    opened = line.socket
                    for message in self._drain(line, 0):
                        if isinstance(message, Renewed) and (message.term, message.round, message.number) == (term, round, self._number):
                            answered[index] = (index, term, round, sent_us)
                    if line.socket is None and opened is not None:
                        selector.unregister(opened)
                if len(answered) >= majority_of(len(self._lines)):
                    self.renewals += 1
                    valid = writer.credit(wanted, sent_us + writer.lease_ms * 1000)
                    self._tell(writer, list(answered.values()))
                    return valid
        return True
