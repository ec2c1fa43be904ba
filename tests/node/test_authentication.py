"""Clients without authentication: what the node keeps for them, and what runs after AUTH."""

from __future__ import annotations

import pytest

from memstore.node.loop_budget import COMMANDS
from tests.node.harness import (
    Host,
    another,
    commit,
    connected,
    echoes,
    encoded,
    pings,
    resumed,
    turns,
)
from tests.replication.test_shard import Node


def test_a_client_may_authenticate_while_commands_wait() -> None:
    host = Host(Node(requirepass="secret"))
    connection, socket = another(host, authenticated=False, fast_path_ok=False)
    host.shard.begin_handover_pause()
    connection.data_received(encoded(b"AUTH", b"secret") + encoded(b"ECHO", b"v" * 20_000))
    turns(host)
    assert socket.sent == b"+OK\r\n" and len(connection.session.parked) == 1
    host.shard.end_handover_pause()
    resumed(host)
    assert socket.sent.endswith(b"v\r\n")


def test_nothing_is_kept_for_a_client_that_has_not_authenticated() -> None:
    host, first, _ = connected(Node())
    first.data_received(pings(0, COMMANDS))
    host.shard.engine.settings.requirepass = "secret"
    unauthenticated, socket = another(host, authenticated=False, fast_path_ok=False)
    unauthenticated.data_received(pings(0, 1))
    assert not unauthenticated.pending_bytes and not unauthenticated.deferred
    turns(host)
    assert socket.sent == b"-NOAUTH Authentication required.\r\n"


@pytest.mark.parametrize(
    "command", [(b"AUTH", b"secret"), (b"HELLO", b"3", b"AUTH", b"default", b"secret")]
)
def test_a_client_that_has_authenticated_runs_commands(
    command: tuple[bytes, ...],
) -> None:
    host = Host(Node(requirepass="secret"))
    connection, socket = another(host, authenticated=False, fast_path_ok=False)
    connection.data_received(encoded(*command) + pings(0, 3))  # also what is pipelined after it
    turns(host)
    assert (
        socket.sent.endswith(echoes(0, 3))
        and connection.reader.authenticated
        and connection.reader.fast
    )
    connection.data_received(encoded(b"SET", b"key", b"v" * 100_000))
    assert not connection.session.closing and host.drains == 1


@pytest.mark.parametrize(
    "command", [(b"AUTH", b"secret"), (b"HELLO", b"3", b"AUTH", b"default", b"secret")]
)
def test_what_follows_auth_in_a_turn_that_is_used_up_runs_in_the_next(
    command: tuple[bytes, ...],
) -> None:
    host = Host(Node(requirepass="secret"))
    busy, _ = another(host)
    connection, socket = another(host, authenticated=False, fast_path_ok=False)
    busy.data_received(pings(0, COMMANDS))
    connection.data_received(
        encoded(*command) + encoded(b"SELECT", b"0") + encoded(b"SET", b"k", b"1") + pings(0, 2)
    )
    turns(host)
    commit(host)
    turns(host)
    assert socket.sent.endswith(b"+OK\r\n+OK\r\n" + echoes(0, 2))
    connection.data_received(pings(7, 1))
    turns(host)
    assert socket.sent.endswith(echoes(0, 2) + echoes(7, 1))


def test_what_follows_auth_runs_though_a_command_used_the_turn_up() -> None:
    host = Host(Node(requirepass="secret"))
    connection, socket = another(host, authenticated=False, fast_path_ok=False)
    ordinary = host.clock

    def later() -> int:
        host.node.now_us += 3000
        return ordinary()

    host.clock = later  # type: ignore[method-assign]  # two readings are more than a turn
    connection.data_received(
        encoded(b"AUTH", b"secret")
        + encoded(b"SELECT", b"0")
        + encoded(b"KEYS", b"*")
        + pings(0, 2)
    )
    turns(host)
    assert socket.sent == b"+OK\r\n+OK\r\n*0\r\n" + echoes(0, 2)


def test_a_client_resets_and_authenticates_again_in_a_divided_pipeline() -> None:
    host, connection, socket = connected(Node(requirepass="secret"))
    connection.data_received(
        pings(0, COMMANDS - 1) + encoded(b"RESET") + encoded(b"AUTH", b"secret") + pings(0, 2)
    )
    assert not connection.reader.authenticated
    turns(host)
    assert (
        socket.sent.endswith(b"+RESET\r\n+OK\r\n" + echoes(0, 2))
        and connection.reader.authenticated
        and connection.reader.fast
    )
