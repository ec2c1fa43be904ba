"""A client's connection with a shard, without socket and loop, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memstore.node.client_connection import ClientConnection
from memstore.node.clocks import WallClock
from memstore.node.loop_budget import LoopBudget
from tests.replication.test_shard import Node


class Later:
    """The loop's next turn; the test runs it."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def call_soon(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Host:
    """The part of a node that a connection needs; it records the calls."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.shard = node.shard
        self.clock: Callable[[], int] = lambda: node.now_us
        self.wall = WallClock(lambda: node.now_us, lambda: node.wall_ms)
        self.later = Later()
        self.failed: list[object] = []
        self.budget = LoopBudget(
            self.later, lambda: node.now_us, lambda client, error: self.failed.append(client)
        )
        self.bugs: list[Exception] = []
        self.drains = 0
        self.left: list[ClientConnection] = []

    def accept(self, connection: ClientConnection) -> bytes:
        return b""

    def on_disconnect(self, connection: ClientConnection) -> None:
        self.left.append(connection)

    def schedule_drain(self) -> None:
        self.drains += 1

    def after_batch(self) -> None:
        self.node.engine.requests.clear()

    def on_bug(self, error: Exception) -> None:
        self.bugs.append(error)


class Socket:
    def __init__(self) -> None:
        self.sent = b""
        self.reading = True
        self.closing = False
        self.aborted = False
        self.reads = True  # the client reads

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.reading = False

    def abort(self) -> None:
        self.aborted = True
        self.reading = False

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.high, self.low = high, low

    def get_write_buffer_size(self) -> int:
        return 0 if self.reads else len(self.sent)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str) -> None:
        return None


class ClosedSocket(Socket):
    def write(self, data: bytes) -> None:
        raise RuntimeError("the handler is closed")


def connected(node: Node) -> tuple[Host, ClientConnection, Socket]:
    host, socket = Host(node), Socket()
    connection = ClientConnection(host, node.session())
    transport: Any = socket
    connection.connection_made(transport)
    return host, connection, socket


def encoded(*words: bytes) -> bytes:
    return b"*%d\r\n%b" % (
        len(words),
        b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words]),
    )


def another(host: Host, **session: Any) -> tuple[ClientConnection, Socket]:
    connection, socket = ClientConnection(host, host.node.session(**session)), Socket()
    transport: Any = socket
    connection.connection_made(transport)
    return connection, socket


def pings(first: int, count: int) -> bytes:
    return b"".join([encoded(b"ECHO", b"%d" % n) for n in range(first, first + count)])


def echoes(first: int, count: int) -> bytes:
    return b"".join([b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(first, first + count)])


def turns(host: Host) -> int:
    """Run turns until nothing is left to do, and count them."""
    count = 0
    while host.later.calls:
        host.later.turn()
        count += 1
    return count


def commit(host: Host) -> None:
    """Append and commit everything executed; then the waiting replies leave."""
    host.node.append()
    for session, data in host.shard.on_committed(host.shard.next_position - 1):
        session.sink.released(data)


def resumed(host: Host) -> int:
    """Run until no session can continue; the largest number of commands in one turn."""
    facts, most = host.shard.engine.facts, 0
    while host.shard.runnable or host.later.calls:
        before = facts.commands_processed
        host.later.turn()
        for session in host.shard.take_runnable():
            session.sink.run_parked()
        most = max(most, facts.commands_processed - before)
    return most
