"""An HTTP request on the engine's port: the connection is closed in every state, as in Redis.
Nothing after the line runs.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memstore.engine.requests import CloseSession
from memstore.node.client_connection import ClientConnection
from memstore.node.loop_budget import COMMANDS
from memstore.replication.shard import REPLICA, RESTORING, Shard
from tests.node.harness import Host, Socket, commit, connected, encoded, pings, resumed, turns
from tests.replication.test_shard import Node


def carry_out(host: Host) -> None:
    """Close a client on request, as the node does."""
    requests, host.shard.engine.requests = host.shard.engine.requests, []
    for request in requests:
        if isinstance(request, CloseSession) and request.session.sink is not None:
            assert request.hostile
            request.session.sink.abort()


def open_one(node: Node) -> tuple[Host, ClientConnection, Socket]:
    host, connection, socket = connected(node)
    host.after_batch = lambda: carry_out(host)  # type: ignore[method-assign]
    return host, connection, socket


BEHIND = b"SET pwned 1\r\n"
LINES = [
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"hOsT: x\r\n",
    b"post\r\n",
    encoded(b"POST", b"/", b"HTTP/1.1"),
    encoded(b"Host:", b"x"),
    encoded(b"PING") + encoded(b"pOsT"),
]


@pytest.mark.parametrize("line", LINES)
def test_an_http_request_closes_the_connection_and_nothing_behind_it_runs(line: bytes) -> None:
    host, connection, socket = open_one(Node())
    connection.data_received(line + BEHIND)
    connection.data_received(BEHIND)
    turns(host)
    assert socket.aborted and socket.sent == b"" and not host.shard.has_entries


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"OPTIONS / HTTP/1.1\r\n"]
)
def test_what_redis_answers_with_an_error_is_answered_with_an_error(head: bytes) -> None:
    host, connection, socket = open_one(Node())
    connection.data_received(head)
    turns(host)
    assert socket.sent.startswith(b"-ERR ") and not socket.aborted


def in_multi(host: Host, connection: ClientConnection) -> None:
    connection.data_received(b"MULTI\r\nSET k v\r\n")


def in_monitor(host: Host, connection: ClientConnection) -> None:
    connection.data_received(b"MONITOR\r\n")


def in_a_pause(host: Host, connection: ClientConnection) -> None:
    host.shard.engine.pause_mode, host.shard.engine.pause_until_ms = 2, 1 << 60
    host.shard.update_fast_path()


def in_a_handover(host: Host, connection: ClientConnection) -> None:
    host.shard.begin_handover_pause()


def congested(host: Host, connection: ClientConnection) -> None:
    host.shard.congested = True
    host.shard.update_fast_path()


def with_replies_off(host: Host, connection: ClientConnection) -> None:
    connection.data_received(b"CLIENT REPLY OFF\r\n")


def with_a_reply_held(host: Host, connection: ClientConnection) -> None:
    connection.data_received(b"SET held 1\r\n")
    host.node.append()


def at_a_replica(host: Host, connection: ClientConnection) -> None:
    host.shard.role = REPLICA


def restoring(host: Host, connection: ClientConnection) -> None:
    host.shard.role = RESTORING


@pytest.mark.parametrize(
    "state",
    [
        in_multi,
        in_monitor,
        in_a_pause,
        in_a_handover,
        congested,
        with_replies_off,
        with_a_reply_held,
        at_a_replica,
        restoring,
    ],
)
@pytest.mark.parametrize("line", [LINES[0], LINES[4]])
def test_in_every_state(state: Callable[[Host, ClientConnection], None], line: bytes) -> None:
    host, connection, socket = open_one(Node())
    state(host, connection)
    turns(host)
    socket.sent = b""
    entries = host.shard.has_entries
    connection.data_received(line + BEHIND + b"EXEC\r\n")
    turns(host)
    assert (
        socket.aborted
        and socket.sent == b""
        and host.shard.has_entries is entries
        and not connection.session.held
    )
    connection.connection_lost(None)
    connection.session.parked.clear()
    commit(host)
    assert socket.sent == b"" and b"pwned" not in b"".join(
        payload for _, payload, _, _ in host.node.log
    )


def test_before_authentication() -> None:
    host = Host(Node(requirepass="secret"))
    host.after_batch = lambda: carry_out(host)  # type: ignore[method-assign]
    for line in LINES:
        connection, socket = (
            ClientConnection(
                host, host.node.session(authenticated=False, restricted=True, fast_path_ok=False)
            ),
            Socket(),
        )
        connection.connection_made(socket)  # type: ignore[arg-type]
        connection.data_received(line + b"AUTH secret\r\n" + BEHIND)
        turns(host)
        assert socket.aborted and not connection.session.authenticated


def test_behind_a_deep_pipeline_what_stands_before_it_runs() -> None:
    host, connection, socket = open_one(Node())
    connection.data_received(
        pings(0, 2 * COMMANDS)
        + encoded(b"SET", b"before", b"1")
        + LINES[4]
        + encoded(b"SET", b"pwned", b"1")
    )
    turns(host)
    assert socket.aborted
    reader = host.node.session()
    commit(host)
    assert host.node.do(reader, "EXISTS before pwned") == b":1\r\n"


def test_behind_a_parked_command_it_closes_when_its_place_has_come() -> None:
    host, connection, socket = open_one(Node())
    shard: Shard = host.shard
    shard.begin_handover_pause()
    connection.data_received(encoded(b"SET", b"before", b"1") + LINES[4])
    connection.data_received(encoded(b"SET", b"pwned", b"1"))
    turns(host)
    assert not socket.aborted
    shard.end_handover_pause()
    resumed(host)
    assert socket.aborted
    reader = host.node.session()
    commit(host)
    assert host.node.do(reader, "EXISTS before pwned") == b":1\r\n"
