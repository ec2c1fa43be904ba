"""A connection with a shard, without socket and loop: its requests to the node after a batch."""

from __future__ import annotations

from typing import Any

from memstore.node.client_connection import ClientConnection
from tests.node.harness import ClosedSocket, connected, encoded
from tests.replication.test_shard import Node


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
