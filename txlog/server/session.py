"""One caller of one log: passes its messages to the log's driver and feeds its subscription.

Decides: how much of the log is read ahead for a reader (one chunk, and nothing while its socket is
full).
Must not know: sockets (it has an `AnswerSink`), terms, leases, quorums. The same object serves a
TCP connection and a caller in the same process.
Invariants: a stream sends committed entries only, each once, in order, from the requested position;
a sink that is blocked gets answers only.
"""

from __future__ import annotations

from typing import Final, Protocol

from txlog.consensus.outputs import Peer
from txlog.messages import Fetch, Heartbeat, Message, Records, Reject, Subscribe

CHUNK_BYTES: Final = 1 << 20


class AnswerSink(Protocol):
    """Where a caller's answers go."""

    blocked: bool  # its buffer is full
    peer_name: str  # for people

    def send(self, message: Message) -> None: ...
    def on_served(self) -> None: ...  # the session has no `reads_under_way` any more
    def end(self, reason: str) -> None: ...  # send the reason and close


class LogSource(Protocol):
    """What a session needs of the log's driver."""

    def attach(self, session: CallerSession) -> Peer: ...
    def detach(self, peer: Peer) -> None: ...
    def handle(self, peer: Peer, messages: list[Message]) -> None: ...
    def add_stream(self, stream: SubscriberStream) -> None: ...
    def remove_stream(self, stream: SubscriberStream) -> None: ...
    def committed(self) -> int: ...
    # up to where committed entries can be given from ``start``: they end at a hole under repair
    def readable(self, start: int) -> int: ...
    def recent(self, start: int, upto: int, max_bytes: int) -> list[bytes]: ...
    # reads in a thread; ``stream.on_read`` gets the answer
    def read_behind(
        self, stream: SubscriberStream, start: int, upto: int, max_bytes: int
    ) -> None: ...
    def heartbeat(self) -> Heartbeat: ...


class SubscriberStream:
    """A reader's subscription."""

    __slots__ = ("_reading", "closed", "next", "sink", "source")

    def __init__(self, source: LogSource, sink: AnswerSink, start: int) -> None:
        self.source = source
        self.sink = sink
        self.next = start
        self.closed = False
        self._reading = False

    def push(self) -> None:
        """Send committed entries that were not sent yet, up to the limits of memory and the
        reader's buffer.
        """
        source, sink = self.source, self.sink
        upto = source.readable(self.next)
        while self.next <= upto and not (self._reading or self.closed or sink.blocked):
            entries = source.recent(self.next, upto, CHUNK_BYTES)
            if not entries:
                self._reading = True
                source.read_behind(self, self.next, upto, CHUNK_BYTES)
                return
            self.next += len(entries)
            sink.send(Records(upto, entries))

    def on_read(self, entries: list[bytes]) -> None:
        """The answer to ``read_behind``."""
        self._reading = False
        if self.closed:
            return
        if not entries:
            self.closed = True
            self.sink.end(f"log: position {self.next} is missing on this node")
            return
        self.next += len(entries)
        self.sink.send(Records(self.source.committed(), entries))
        self.push()


class CallerSession:
    """A caller that has completed the handshake."""

    __slots__ = ("_may_fence", "_peer", "_source", "_stream", "reads_under_way", "sink")

    def __init__(self, source: LogSource, sink: AnswerSink, may_fence: bool = False) -> None:
        """``may_fence``: the caller is another log node of the group (S4)."""
        self.sink = sink
        self.reads_under_way = (
            0  # answers that are being read from the disk: the next question waits
        )
        self._may_fence = may_fence
        self._source = source
        self._stream: SubscriberStream | None = None
        self._peer = source.attach(self)

    def asks_little(self, messages: list[Message]) -> bool:
        """Whether the answers are small, whatever the log contains."""
        for message in messages:
            kind = type(message)
            if kind is Fetch or kind is Subscribe:
                return False
        return True

    def served(self) -> None:
        self.reads_under_way -= 1
        if not self.reads_under_way:
            self.sink.on_served()

    def on_messages(self, messages: list[Message]) -> None:
        for message in messages:
            kind = type(message)
            if kind is Subscribe:
                break
            if kind is Fetch and not self._may_fence:
                message.fence = 0  # type: ignore[union-attr]  # identity is not narrowed
        else:
            self._source.handle(self._peer, messages)
            return
        others = [message for message in messages if type(message) is not Subscribe]
        for message in others:
            if isinstance(message, Fetch) and not self._may_fence:
                message.fence = 0
        if others:
            self._source.handle(self._peer, others)
        for message in messages:
            if isinstance(message, Subscribe):
                self._subscribe(message.start)

    def _subscribe(self, start: int) -> None:
        if start < 1:
            self.sink.send(Reject("log: positions start at 1"))
            return
        self._close_stream()
        self._stream = SubscriberStream(self._source, self.sink, start)
        self._source.add_stream(self._stream)
        self.sink.send(self._source.heartbeat())  # a reader learns the log's position at once
        self._stream.push()

    def on_unblocked(self) -> None:
        if self._stream is not None:
            self._stream.push()

    def close(self) -> None:
        self._close_stream()
        self._source.detach(self._peer)

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.closed = True
            self._source.remove_stream(self._stream)
            self._stream = None
