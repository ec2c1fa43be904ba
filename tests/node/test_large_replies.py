"""A turn ends by time and by bytes as well as by count.
No reply is made for a client that does not read.
"""

from __future__ import annotations

import pytest

from memstore.engine.command import Handler
from memstore.node.client_connection import ClientConnection
from memstore.node.loop_budget import MAX_TURN_US, REPLY_BYTES, UnreadOutput
from memstore.replication.fast_path import LARGE_REPLY, is_plain, is_quick
from tests.node.harness import Host, Socket, another, commit, connected, encoded, resumed, turns
from tests.replication.test_shard import Node

MIB = 1024 * 1024


class SlowSocket(Socket):
    """A socket whose buffer grows while its client does not read.
    It notifies the connection of this, as a transport does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads = False
        self.connection: ClientConnection | None = None
        self.most = 0

    def write(self, data: bytes) -> None:
        super().write(data)
        self.most = max(self.most, self.get_write_buffer_size())
        assert self.connection is not None
        if self.get_write_buffer_size() > self.high and not self.connection.write_paused:
            self.connection.pause_writing()

    def drain(self) -> int:
        """Let the client read all bytes."""
        read, self.sent = len(self.sent), b""
        assert self.connection is not None
        if self.connection.write_paused:
            self.connection.resume_writing()
        return read


def slow(host: Host) -> tuple[ClientConnection, SlowSocket]:
    connection, socket = ClientConnection(host, host.node.session()), SlowSocket()
    socket.connection = connection
    connection.connection_made(socket)  # type: ignore[arg-type]
    return connection, socket


def holding(key: bytes, value: bytes, **settings: int) -> Host:
    host, connection, _ = connected(Node(**settings))
    connection.data_received(encoded(b"SET", key, value))
    turns(host)
    commit(host)
    return host


def test_a_turn_makes_so_many_bytes_of_large_replies_and_no_more() -> None:
    host = holding(b"k", b"v" * MIB)
    connection, socket = another(host)
    small, small_socket = another(host)
    connection.data_received(encoded(b"GET", b"k") * 32)
    small.data_received(encoded(b"GET", b"none"))
    count = 0
    while not small_socket.sent:
        host.later.turn()
        count += 1
    assert count <= 3 and len(socket.sent) <= 3 * (MIB + 20)
    turns(host)
    assert len(socket.sent) == 32 * (MIB + 12)


@pytest.mark.parametrize(
    "ask",
    [
        [b"GET", b"k"], [b"LRANGE", b"l", b"0", b"-1"], [b"HGETALL", b"h"], [b"MGET", b"k", b"k"],
        [b"KEYS", b"*"], [b"SMEMBERS", b"s"], [b"GETRANGE", b"k", b"0", b"-1"],
        [b"ECHO", b"x" * 200_000],
    ],
)  # fmt: skip
def test_replies_are_not_made_for_a_client_that_does_not_read(ask: list[bytes]) -> None:
    host = holding(b"k", b"v" * 200_000)
    maker, _ = another(host)
    parts = [b"e" * 2000 + b"%d" % i for i in range(100)]
    maker.data_received(
        encoded(b"RPUSH", b"l", *parts)
        + encoded(b"SADD", b"s", *parts)
        + encoded(b"HSET", b"h", *parts)
    )
    maker.data_received(
        b"".join([encoded(b"SET", b"key:%d:" % i + b"x" * 2000, b"") for i in range(100)])
    )
    turns(host)
    commit(host)
    turns(host)
    connection, socket = slow(host)
    started = host.shard.engine.facts.commands_processed
    connection.data_received(encoded(*ask) * 200)
    turns(host)
    assert socket.sent and socket.most <= REPLY_BYTES + 3 * 200_000 * 2 and not socket.reading
    before = host.shard.engine.facts.commands_processed
    connection.data_received(encoded(b"PING"))
    turns(host)
    assert host.shard.engine.facts.commands_processed == before, "nothing runs for it"
    read = 0
    for _ in range(2000):
        read += socket.drain()
        turns(host)
        if not socket.sent:
            break
    assert (
        socket.reading
        and read > 200 * 190_000
        and host.shard.engine.facts.commands_processed == started + 201
    )


def test_a_batch_of_slow_commands_is_divided_by_the_clock() -> None:
    node = Node()
    host, connection, socket = connected(node)
    row = node.engine.table[b"LPOS"]
    handler: Handler = row.handler

    def slowly(context: object, argv: list[bytes]) -> bytes | None:
        node.now_us += 5000
        return handler(context, argv)  # type: ignore[arg-type]

    row.handler = slowly
    connection.data_received(encoded(b"LPOS", b"l", b"x") * 256)
    facts = node.engine.facts
    most = before = facts.commands_processed
    while host.later.calls:
        host.later.turn()
        most, before = max(most, facts.commands_processed - before), facts.commands_processed
    assert most <= 2 + MAX_TURN_US // 5000 and socket.sent == b"$-1\r\n" * 256
    assert row.calls == 256 and row.usec == 256 * 5000


def test_what_is_parked_is_divided_by_the_clock_and_by_bytes_too() -> None:
    host = holding(b"k", b"v" * MIB)
    connection, socket = another(host)
    host.shard.begin_handover_pause()
    connection.data_received(encoded(b"GET", b"k") * 50 + encoded(b"ECHO", b"last"))
    host.shard.end_handover_pause()
    assert resumed(host) <= 3
    assert socket.sent.endswith(b"last\r\n") and len(socket.sent) == 50 * (MIB + 12) + 10


def test_replies_held_for_a_commit_count_as_well() -> None:
    node = Node(max_held_bytes=4 * MIB)
    host, connection, _ = connected(node)
    connection.data_received(encoded(b"SET", b"k", b"v" * MIB))
    reader, socket = another(host)
    reader.data_received(encoded(b"GET", b"k") * 32)
    turns(host)
    assert (
        node.shard.congested
        and node.shard.tracker.held_bytes < 6 * MIB
        and len(reader.session.parked) > 25
    )
    commit(host)
    resumed(host)
    turns(host)
    assert len(socket.sent) == 32 * (MIB + 12)


def test_many_clients_that_do_not_read_are_bounded_together() -> None:
    host = holding(b"k", b"v" * MIB, total_output_limit=16 * MIB)
    clients = [slow(host) for _ in range(40)]
    for connection, _ in clients:
        connection.data_received(encoded(b"GET", b"k") * 20)
    turns(host)
    left = sum(len(socket.sent) for _, socket in clients if not socket.aborted)
    assert left <= 18 * MIB and host.shard.engine.facts.output_limit_closes >= 20
    for connection, socket in clients:
        if socket.aborted:
            connection.connection_lost(None)
    assert host.budget.unread.total == left


def test_a_small_question_does_not_wait_for_every_client_with_large_replies() -> None:
    host = holding(b"k", b"v" * 2 * MIB)
    small, small_socket = another(host)
    small.data_received(encoded(b"GET", b"none"))
    turns(host)
    heavy = [another(host) for _ in range(40)]
    for connection, _ in heavy:
        connection.data_received(encoded(b"GET", b"k") * 5)
    small.data_received(encoded(b"GET", b"none"))
    for _ in range(3):
        host.later.turn()
    assert (
        small_socket.sent == b"$-1\r\n" * 2
        and sum(len(socket.sent) > 0 for _, socket in heavy) <= 3
    )
    for connection, _ in [another(host) for _ in range(3)]:
        connection.data_received(encoded(b"GET", b"none") * 5000)
    turns(host)
    assert all(len(socket.sent) == 5 * (2 * MIB + 12) for _, socket in heavy)


def test_a_client_that_hangs_up_with_replies_unread_is_given_the_rest_when_it_reads() -> None:
    host = holding(b"k", b"v" * MIB)
    connection, socket = slow(host)
    connection.data_received(encoded(b"GET", b"k") * 20)
    turns(host)
    assert connection.eof_received(), "the transport is to stay"
    read = 0
    for _ in range(100):
        read += socket.drain()
        turns(host)
    assert read == 20 * (MIB + 12) and not socket.reading


def test_a_client_without_replies_is_not_held_up() -> None:
    host = holding(b"k", b"v" * MIB)
    connection, socket = slow(host)
    connection.data_received(
        encoded(b"CLIENT", b"REPLY", b"OFF")
        + encoded(b"GET", b"k") * 300
        + encoded(b"SET", b"done", b"1")
    )
    turns(host)
    assert not socket.sent and host.shard.has_entries and socket.reading


def test_a_transaction_that_answers_too_much_reads_no_more_and_writes_all_the_same() -> None:
    host = holding(b"k", b"v" * MIB, transaction_reply_limit=2 * MIB)
    connection, socket = another(host)
    connection.data_received(
        encoded(b"MULTI")
        + encoded(b"GET", b"k") * 10
        + encoded(b"SET", b"w", b"1")
        + encoded(b"EXEC")
    )
    turns(host)
    commit(host)
    turns(host)
    assert socket.sent.count(b"-ERR not run") == 8 and socket.sent.endswith(
        b"limit allows\r\n+OK\r\n"
    )


def test_a_transaction_that_answers_too_much_writes_where_select_says() -> None:
    host = holding(b"k", b"v" * MIB, transaction_reply_limit=MIB // 2)
    connection, socket = another(host)
    queued = [
        (b"GET", b"k"),
        (b"SELECT", b"1"),
        (b"SET", b"w", b"1"),
        (b"GET", b"w"),
        (b"SELECT", b"0"),
    ]
    connection.data_received(
        encoded(b"MULTI") + b"".join(encoded(*command) for command in queued) + encoded(b"EXEC")
    )
    turns(host)
    commit(host)
    turns(host)
    keyspace = host.shard.engine.keyspace
    assert keyspace.database(1).get(b"w") == b"1" and keyspace.database(0).get(b"w") is None
    assert socket.sent.count(b"-ERR not run") == 1


def test_who_has_the_most_unread_is_closed_first() -> None:
    def client() -> ClientConnection:
        return connected(Node())[1]

    unread, one, two = UnreadOutput(), client(), client()
    unread.note(one, 10)
    unread.note(two, 5)
    unread.add(two, 3)
    assert unread.total == 18 and unread.excess(18) is None and unread.excess(17) is one
    unread.forget(one)
    assert unread.total == 8 and unread.excess(8) is None
    unread.add(one, 100)
    unread.forget(one)
    assert unread.total == 8


def test_which_commands_may_take_long() -> None:
    table = Node().engine.table
    assert all(
        is_quick(table[name])
        for name in (
            b"GET",
            b"SET",
            b"MGET",
            b"INCR",
            b"LPUSH",
            b"LRANGE",
            b"HSET",
            b"SADD",
            b"ZADD",
        )
    )
    slow = (
        b"SUNION",
        b"SINTERSTORE",
        b"LREM",
        b"LINSERT",
        b"LPOS",
        b"SSCAN",
        b"ZREMRANGEBYRANK",
        b"LCS",
        b"APPEND",
        b"SETRANGE",
    )
    assert all(is_plain(table[name], False) and not is_quick(table[name]) for name in slow)
    assert LARGE_REPLY * 256 <= 4 * MIB, "what a turn of replies just below it makes"
