"""Interleavings at the shard in which something false was once told, or nothing at all."""

from __future__ import annotations

from memstore.replication.shard import REPLICA, FixedLease
from tests.replication.test_shard import SECOND, Node


def test_an_answer_covers_no_command_that_came_after_a_transaction_was_queued() -> None:
    node = Node(REPLICA)
    session = node.session()
    node.do(session, "GET a", "MULTI", "GET b", "EXEC")
    question = node.shard.reads.on_asked()
    node.shard.on_tail(question, (0, 0), node.now_us)
    assert node.go_on() == b"$-1\r\n+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n"
    assert node.do(session, "GET c") == b"" and node.shard.reads.wanted, "read without a question of its own"


def test_an_answer_from_before_it_led_covers_nothing_after_it_led() -> None:
    node = Node(REPLICA)
    session = node.session()
    node.do(session, "GET a")
    node.shard.on_tail(node.shard.reads.on_asked(), (0, 0), node.now_us)
    node.shard.become_primary(1, 0, node.wall_ms)
    node.shard.lessor = FixedLease(1000 * SECOND)
    assert node.go_on() == b"$-1\r\n"
    node.shard.demote(0)
    node.shard.become_replica()
    assert node.do(session, "GET a") == b"", "read without a question of its own"
