"""A connection with a shard behind it and neither socket nor loop:
what it asks of its node after a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memstore.node.client_connection import ClientConnection
from memstore.node.clocks import WallClock
from memstore.node.loop_budget import LoopBudget
from tests.replication.test_shard import Node


class Later:
    """The loop's next turn."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def call_soon(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Host:
    """What a connection needs of its node, written down."""

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
        self.reads = True  # the client does

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


def test_a_unit_larger_than_an_entry_is_appended_though_nothing_else_gathers() -> None:
    host, connection, _ = connected(Node(max_entry_bytes=4096))
    connection.data_received(encoded(b"SET", b"k", b"v" * 9000))
    assert host.shard.has_entries and host.drains == 1


def test_what_a_client_changed_before_it_broke_is_appended() -> None:
    host, connection, _ = connected(Node())
    host.shard.run(
        connection.session, [[b"SET", b"k", b"v"]], 0, host.node.wall_ms, host.node.now_us
    )
    connection.connection_lost(None)
    assert host.drains == 1


def test_a_very_large_command_that_must_wait_stops_the_reading_until_it_has_run() -> None:
    host, connection, socket = connected(Node())
    host.shard.begin_handover_pause()
    data = encoded(b"SET", b"k", b"v" * 1024 * 1024)
    for at in range(0, len(data), 256 * 1024):  # as much as one read of a socket gives
        connection.data_received(data[at : at + 256 * 1024])
    assert not socket.reading
    host.shard.end_handover_pause()
    assert host.shard.take_runnable() == [connection.session]
    connection.run_parked()
    assert socket.reading and host.drains == 1


def test_what_a_turn_says_is_written_at_its_end_in_order_and_before_a_close() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(encoded(b"GET", b"none"))
    connection.released(b"+released\r\n")
    connection.data_received(encoded(b"STRLEN", b"none"))
    assert socket.sent == b"" and len(host.later.calls) == 1
    host.later.turn()
    assert socket.sent == b"$-1\r\n+released\r\n:0\r\n"
    connection.data_received(encoded(b"QUIT"))
    assert socket.sent.endswith(b"+OK\r\n") and not socket.reading
    host.later.turn()  # nothing twice
    assert socket.sent == b"$-1\r\n+released\r\n:0\r\n+OK\r\n"


def test_a_client_that_left_costs_the_others_nothing() -> None:
    host, connection, socket = connected(Node())
    gone, closed = (
        ClientConnection(host, host.node.session()),
        ClientConnection(host, host.node.session()),
    )
    transport: Any = ClosedSocket()
    closed.connection_made(transport)
    for one in (gone, closed, connection):
        one.data_received(encoded(b"GET", b"none"))
    host.later.turn()
    assert socket.sent == b"$-1\r\n"
