"""`client-output-buffer-limit`, and clients in MONITOR that never read.
The unread bytes of a client have a bound, and the client is closed at that bound.
"""

from __future__ import annotations

import pytest

from memstore.engine.output_limits import DEFAULT, OutputLimit
from memstore.engine.settings import TABLE, SettingError, parse
from memstore.node.client_connection import ClientConnection
from tests.node.harness import Host, commit, encoded, turns
from tests.node.test_large_replies import SlowSocket, slow
from tests.replication.test_shard import Node

MIB = 1024 * 1024
ROW = TABLE["client-output-buffer-limit"]


def limited(text: str, **settings: int) -> Host:
    node = Node(**settings)
    host = Host(node)
    node.engine.settings.client_output_buffer_limit = parse(ROW, text)

    def after_batch() -> None:
        lines, node.engine.monitor_lines = node.engine.monitor_lines, []
        for session, line in lines:
            session.sink.show(line)

    host.after_batch = after_batch  # type: ignore[method-assign]
    return host


def asks_for(host: Host, size: int) -> tuple[ClientConnection, SlowSocket]:
    connection, socket = slow(host)
    connection.data_received(encoded(b"ECHO", b"x" * size))
    turns(host)
    return connection, socket


def test_a_client_is_closed_at_the_hard_limit_of_its_class() -> None:
    host = limited("normal 1mb 0 0")
    _, below = asks_for(host, MIB - 100)
    _, above = asks_for(host, MIB)
    assert (below.aborted, above.aborted) == (False, True)
    assert host.shard.engine.facts.output_limit_closes == 1


def test_it_may_be_above_the_soft_limit_for_so_many_seconds() -> None:
    host = limited("normal 0 100kb 2")
    connection, socket = asks_for(host, 200_000)
    host.node.now_us += 2_000_000
    connection.check_output(host.clock())
    turns(host)
    assert not socket.aborted
    host.node.now_us += 1
    connection.check_output(host.clock())
    turns(host)
    assert socket.aborted


def test_the_soft_limits_time_begins_again_when_it_has_read() -> None:
    host = limited("normal 0 100kb 2")
    connection, socket = asks_for(host, 200_000)
    host.node.now_us += 1_900_000
    socket.drain()
    connection.data_received(encoded(b"ECHO", b"x" * 200_000))
    turns(host)
    host.node.now_us += 1_900_000
    connection.check_output(host.clock())
    turns(host)
    assert not socket.aborted


def test_replies_that_waited_for_a_commit_count() -> None:
    host = limited("normal 300kb 0 0")
    connection, socket = slow(host)
    connection.data_received(encoded(b"ECHO", b"x" * 200_000))
    turns(host)
    assert connection.write_paused and not socket.aborted
    connection.session.sink.released(b"y" * 1000)
    turns(host)
    assert not socket.aborted
    connection.released(b"y" * 200_000)
    host.budget.flush()
    connection.check_output(host.clock())
    turns(host)
    assert socket.aborted


def test_without_a_limit_a_client_stays() -> None:
    host = limited("normal 0 0 0")
    connection, socket = asks_for(host, 8 * MIB)
    host.node.now_us += 3600 * 1_000_000
    connection.check_output(host.clock())
    turns(host)
    assert not socket.aborted


def test_five_monitors_that_never_read_stay_within_their_limit() -> None:
    """Case 31. Earlier, each was closed at its limit, but together they were not counted."""
    host = limited("normal 0 0 0", monitor_output_limit=4 * MIB, total_output_limit=8 * MIB)
    monitors = [slow(host) for _ in range(5)]
    for connection, _ in monitors:
        connection.data_received(encoded(b"MONITOR"))
    turns(host)
    other, _ = slow(host)
    most = 0
    for _ in range(400):
        other.data_received(encoded(b"GET", b"x" * 60_000))
        turns(host)
        most = max(most, sum(len(s.sent) for _, s in monitors if not s.aborted))
        for connection, socket in monitors:
            if socket.aborted and connection.session in host.shard.engine.monitors:
                connection.connection_lost(None)
    assert all(socket.aborted for _, socket in monitors)
    assert most <= 8 * MIB + 5 * 200_000, "all together"
    assert not host.shard.engine.monitors and host.budget.unread.total == 0


def test_a_monitor_is_closed_at_the_limit_of_the_class_normal_too() -> None:
    host = limited("normal 1mb 0 0")
    monitor, socket = slow(host)
    monitor.data_received(encoded(b"MONITOR"))
    turns(host)
    other, _ = slow(host)
    count = 0
    while not socket.aborted:
        other.data_received(encoded(b"GET", b"x" * 60_000))
        turns(host)
        count += 1
        assert count < 40
    assert socket.most < MIB + 200_000
    commit(host)


def test_a_class_that_is_not_named_keeps_its_limit() -> None:
    present = parse(ROW, "replica 1gb 2mb 30 PUBSUB 3 2 1")
    assert present.normal == DEFAULT.normal and present.pubsub == OutputLimit(3, 2, 1)
    assert str(parse(ROW, "normal 1 0 0", present)) == (
        "normal 1 0 0 slave 1073741824 2097152 30 pubsub 3 2 1"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("normal 0 0", "Wrong number of arguments"),
        ("master 0 0 0", "Invalid client class"),
        ("none 0 0 0", "Invalid client class"),
        ("normal -1 0 0", "Error in hard, soft or soft_seconds"),
        ("normal 0 x 0", "Error in hard, soft or soft_seconds"),
        ("normal 0 0 -1", "Error in hard, soft or soft_seconds"),
        ("normal 0 0 1s", "Error in hard, soft or soft_seconds"),
    ],
)
def test_a_wrong_text_is_refused_in_redis_words(text: str, reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        parse(ROW, text)
