"""What one turn of the loop runs for clients, and that nothing is lost, doubled or passed over when it is enough."""

from __future__ import annotations

from typing import Any

import pytest

from memstore.server.connection import Connection
from memstore.server.turn import COMMANDS
from tests.replication.test_review_connection import Host, Socket, connected, encoded
from tests.replication.test_shard import Node


def another(host: Host) -> tuple[Connection, Socket]:
    connection, socket = Connection(host, host.node.session()), Socket()
    transport: Any = socket
    connection.connection_made(transport)
    return connection, socket


def pings(first: int, count: int) -> bytes:
    return b"".join([encoded(b"ECHO", b"%d" % n) for n in range(first, first + count)])


def echoes(first: int, count: int) -> bytes:
    return b"".join([b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(first, first + count)])


def turns(host: Host) -> int:
    """Until nothing is left to do; how many it took."""
    count = 0
    while host.later.calls:
        host.later.turn()
        count += 1
    return count


def test_when_enough_has_run_others_have_their_turn_after_the_loop_has_looked_around() -> None:
    host, first, first_socket = connected(Node())
    second, second_socket = another(host)
    first.data_received(pings(0, COMMANDS))
    second.data_received(pings(0, 16))
    assert host.shard.engine.facts.commands_processed == COMMANDS
    host.later.turn()
    assert first_socket.sent == echoes(0, COMMANDS) and not second_socket.sent
    turns(host)
    assert second_socket.sent == echoes(0, 16)


def test_a_deep_pipeline_is_divided_and_answered_in_order() -> None:
    host, connection, socket = connected(Node())
    count = 10 * COMMANDS + 3
    connection.data_received(pings(0, count))
    facts = host.shard.engine.facts
    most = before = facts.commands_processed
    while host.later.calls:
        host.later.turn()
        most, before = max(most, facts.commands_processed - before), facts.commands_processed
    assert socket.sent == echoes(0, count) and facts.commands_processed == count
    assert most <= COMMANDS


def test_those_put_off_go_on_in_turn() -> None:
    host, greedy, greedy_socket = connected(Node())
    small, small_socket = another(host)
    greedy.data_received(pings(0, 5 * COMMANDS))
    small.data_received(pings(0, 1))
    host.later.turn()
    host.later.turn()
    host.later.turn()
    assert small_socket.sent == echoes(0, 1) and len(greedy_socket.sent) < len(echoes(0, 5 * COMMANDS))
    turns(host)
    assert greedy_socket.sent == echoes(0, 5 * COMMANDS)


def test_a_client_that_sends_more_while_it_waits_is_not_read_until_it_has_gone_on() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(pings(0, 2 * COMMANDS))
    connection.data_received(pings(2 * COMMANDS, 5)[:-3])
    assert not socket.reading
    turns(host)
    assert socket.reading
    connection.data_received(pings(2 * COMMANDS, 5)[-3:] + pings(2 * COMMANDS + 5, 1))
    turns(host)
    assert socket.sent == echoes(0, 2 * COMMANDS + 6)


def test_what_came_before_the_end_is_run_before_the_close() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(pings(0, 3 * COMMANDS))
    assert connection.eof_received()  # the transport is to stay
    assert socket.reading
    turns(host)
    assert socket.sent == echoes(0, 3 * COMMANDS) and not socket.reading
    _, lone, _ = connected(Node())
    lone.data_received(pings(0, 1))
    assert not lone.eof_received()


def test_what_follows_a_quit_or_a_lost_connection_is_not_run() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(pings(0, COMMANDS) + encoded(b"QUIT") + pings(0, 9))
    turns(host)
    assert socket.sent == echoes(0, COMMANDS) + b"+OK\r\n" and not socket.reading
    gone, _ = another(host)
    before = host.shard.engine.facts.commands_processed
    gone.data_received(pings(0, 3 * COMMANDS))
    gone.connection_lost(None)
    turns(host)
    assert host.shard.engine.facts.commands_processed <= before + COMMANDS and not gone.unrun


def test_a_protocol_error_behind_a_pipeline_is_told_last() -> None:
    host, first, _ = connected(Node())
    first.data_received(pings(0, COMMANDS))
    connection, socket = another(host)
    connection.data_received(pings(0, 2) + b"*1\r\nx\r\n")
    turns(host)
    assert socket.sent == echoes(0, 2) + b"-ERR Protocol error: expected '$', got 'x'\r\n" and not socket.reading


def test_nothing_is_kept_for_a_client_that_has_not_authenticated() -> None:
    host, first, _ = connected(Node(requirepass="secret"))
    first.session.authenticated = first.reader.authenticated = True
    first.session.settle()
    first.data_received(pings(0, COMMANDS))
    stranger = Connection(host, host.node.session(authenticated=False))
    transport: Any = Socket()
    stranger.connection_made(transport)
    stranger.data_received(pings(0, 1))
    assert not stranger.unread and not stranger.waits
    turns(host)
    assert transport.sent == b"-NOAUTH Authentication required.\r\n"


def test_an_error_of_the_program_costs_one_client_its_connection_and_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host, first, _ = connected(Node())
    broken, _ = another(host)
    other, socket = another(host)
    first.data_received(pings(0, COMMANDS))
    broken.data_received(pings(0, 1))
    other.data_received(pings(0, 1))

    def fail(data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(broken, "_take", fail)
    turns(host)
    assert host.failed == [broken] and socket.sent == echoes(0, 1)
