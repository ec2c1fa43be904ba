"""MONITOR shows every command, in the order in which it ran.
Its lines come after the replies for which the watching client waits, and they have a bound.
"""

from __future__ import annotations

import re

from memstore.node.client_connection import ClientConnection
from tests.node.harness import Host, Socket, another, commit, connected, encoded, turns
from tests.replication.test_shard import Node


def watched(node: Node) -> tuple[Host, ClientConnection, Socket]:
    """A host that sends MONITOR's lines as the node does, and a client in MONITOR."""
    host, connection, socket = connected(node)

    def after_batch() -> None:
        lines, node.engine.monitor_lines = node.engine.monitor_lines, []
        for session, line in lines:
            session.sink.show(line)

    host.after_batch = after_batch  # type: ignore[method-assign]
    return host, connection, socket


def shown(sent: bytes) -> list[bytes]:
    """The sent bytes, with each line of MONITOR reduced to its database and command."""
    return [
        re.sub(rb"^\+\d+\.\d{6} \[(\d+) [^]]*\]", rb"[\1]", line)
        for line in sent.split(b"\r\n")[:-1]
    ]


def test_a_client_that_was_connected_before_is_shown() -> None:
    host, monitor, socket = watched(Node())
    other, _ = another(host)
    other.data_received(encoded(b"SET", b"a", b"1"))
    commit(host)
    monitor.data_received(encoded(b"MONITOR"))
    other.data_received(encoded(b"GET", b"a") + encoded(b"GET", b"b"))
    other.data_received(encoded(b"SET", b"a", b"2"))
    turns(host)
    assert shown(socket.sent) == [b"+OK", b'[0] "GET" "a"', b'[0] "GET" "b"', b'[0] "SET" "a" "2"']
    monitor.data_received(encoded(b"RESET"))
    assert host.shard.fast_path_open, "the fast path is open again"


def test_lines_do_not_overtake_the_replies_that_the_client_itself_waits_for() -> None:
    host, monitor, socket = watched(Node())
    other, _ = another(host)
    pipeline = (
        encoded(b"SET", b"a", b"1")
        + encoded(b"MONITOR")
        + encoded(b"PING")
        + encoded(b"GET", b"b")
        + encoded(b"MONITOR")
        + encoded(b"PING")
    )
    monitor.data_received(pipeline)
    other.data_received(encoded(b"GET", b"c"))
    turns(host)
    assert socket.sent == b""
    commit(host)
    turns(host)
    refused = b"-ERR Replica can't interact with the keyspace"
    assert shown(socket.sent) == [
        b"+OK",
        b"+OK",
        b"+PONG",
        b'[0] "PING"',
        refused,
        b"+PONG",
        b'[0] "PING"',
        b'[0] "GET" "c"',
    ]


def test_lines_are_no_replies_when_the_role_ends() -> None:
    host, monitor, _ = watched(Node())
    monitor.data_received(encoded(b"SET", b"a", b"1") + encoded(b"MONITOR") + encoded(b"PING"))
    ((_, told, close),) = host.shard.demote(host.shard.tracker.committed)
    assert told.count(b"\r\n") == 1 and told.startswith(b"-UNKNOWN") and close


def test_a_transaction_is_shown_command_by_command_as_redis_does() -> None:
    host, monitor, socket = watched(Node())
    other, _ = another(host)
    monitor.data_received(encoded(b"MONITOR"))
    lines = [b"MULTI", b"RPUSH l 3 1 2", b"SORT l", b"SELECT 4", b"GET q", b"EXEC", b"GET q"]
    other.data_received(b"".join([encoded(*line.split()) for line in lines]))
    turns(host)
    commands = [
        b'[0] "MULTI"',
        b'[0] "RPUSH" "l" "3" "1" "2"',
        b'[0] "SORT" "l"',
        b'[4] "SELECT" "4"',
        b'[4] "GET" "q"',
        b'[4] "EXEC"',
        b'[4] "GET" "q"',
    ]
    assert shown(socket.sent) == [b"+OK", *commands]


def test_monitor_in_a_transaction_is_refused_as_redis_does() -> None:
    host, connection, socket = watched(Node())
    connection.data_received(encoded(b"MULTI") + encoded(b"MONITOR") + encoded(b"EXEC"))
    turns(host)
    assert (
        socket.sent.endswith(b"*1\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n")
        and not host.shard.engine.monitors
    )


def test_the_commands_of_a_transaction_are_timed_one_by_one() -> None:
    node = Node(slowlog_log_slower_than_us=1000)
    _, connection, _ = watched(node)
    ticks = iter(range(0, 1_000_000, 2000))
    node.engine.clock_us = lambda: next(ticks)  # each command of the transaction takes 2 ms
    connection.data_received(
        b"".join(
            [
                encoded(*line.split())
                for line in (b"MULTI", b"RPUSH l 3 1 2", b"SORT l", b"LLEN l", b"EXEC")
            ]
        )
    )
    table = node.engine.table
    assert [(table[name].calls, table[name].usec) for name in (b"RPUSH", b"SORT", b"LLEN")] == [
        (1, 2000)
    ] * 3
    assert [entry.argv[0] for entry in node.engine.slowlog.entries] == [b"LLEN", b"SORT", b"RPUSH"]
    assert all(
        sum(node.engine.latency.histograms[name]) == 1
        for name in (b"RPUSH", b"SORT", b"LLEN", b"EXEC")
    )


def test_a_client_in_monitor_that_does_not_read_is_closed_at_its_limit() -> None:
    host, monitor, socket = watched(Node(monitor_output_limit=1024 * 1024))
    other, other_socket = another(host)
    monitor.data_received(encoded(b"MONITOR"))
    socket.reads = False
    count, most = 0, 0
    while not socket.aborted:
        other.data_received(encoded(b"ECHO", b"x" * 60_000))
        host.later.turn()
        count += 1
        most = max(most, len(socket.sent))
        assert count < 100
    assert most < 1024 * 1024 + 200_000 and host.shard.engine.facts.output_limit_closes == 1
    monitor.connection_lost(None)
    assert host.shard.fast_path_open and other_socket.sent.count(b"$60000") == count
