"""Interleavings at the shard that once gave a false answer, or no answer."""

from __future__ import annotations

import pytest

from memstore.commands.shard import is_reached
from memstore.engine.effects import encode
from memstore.engine.facts import ReplicaFact
from memstore.engine.requests import WaitForReplicas
from memstore.engine.session import EVENTUAL
from memstore.replication.refusals import DEMOTED_READ, unknown_outcome
from memstore.replication.shard import REPLICA, FixedLease
from tests.replication.test_shard import SECOND, Node


def test_an_answer_covers_no_command_that_came_after_a_transaction_was_queued() -> None:
    node = Node(REPLICA)
    session = node.session()
    node.do(session, "GET a", "MULTI", "GET b", "EXEC")
    query = node.shard.reads.on_asked()
    node.shard.on_tail(query, (0, 0), node.now_us)
    assert node.go_on() == b"$-1\r\n+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n"
    assert node.do(session, "GET c") == b"" and node.shard.reads.wanted, (
        "read without a question of its own"
    )


def test_an_answer_from_before_it_led_covers_nothing_after_it_led() -> None:
    node = Node(REPLICA)
    session = node.session()
    node.do(session, "GET a")
    node.shard.on_tail(node.shard.reads.on_asked(), (0, 0), node.now_us)
    node.shard.become_primary(1, 0)
    node.shard.lease = FixedLease(1000 * SECOND)
    assert node.go_on() == b"$-1\r\n"
    node.shard.demote(0)
    node.shard.become_replica()
    assert node.do(session, "GET a") == b"", "read without a question of its own"


def test_at_demotion_a_reply_that_was_about_to_leave_has_an_answer_in_its_place() -> None:
    node = Node()
    node.engine.facts.role = "primary"
    waiter, late = node.session(), node.session()
    node.do(waiter, "WAIT 1 100")
    # its time is over, and in the same turn of the loop the lease is over too
    node.shard.finish(waiter, b":0\r\n")
    node.shard.run(late, [[b"GET", b"a"]], 0, node.wall_ms, 2000 * SECOND)
    told = {session.id: data for session, data, _ in node.shard.demote(1)}
    assert told == {waiter.id: DEMOTED_READ, late.id: DEMOTED_READ}


def test_an_unknown_outcome_names_a_position_that_was_given() -> None:
    node = Node()
    session = node.session()
    node.shard.run(session, [[b"GET", b"b"], [b"SET", b"a", b"1"]], 0, node.wall_ms, node.now_us)
    node.shard.take_reply(session, 2000 * SECOND)
    told = [data for _, data, _ in node.shard.demote(1)]
    assert told == [DEMOTED_READ + unknown_outcome(2)]


@pytest.mark.parametrize("quiet", ["CLIENT REPLY SKIP", "CLIENT REPLY OFF"])
def test_waitaof_covers_writes_whose_replies_are_not_wanted(quiet: str) -> None:
    node = Node()
    node.engine.facts.role, node.engine.facts.committed = "primary", 1
    session = node.session()
    node.do(session, quiet, "SET k v", "CLIENT REPLY ON")
    assert session.seen == 2
    session.held.clear()
    assert node.do(session, "WAITAOF 1 0 0") == b"" and session.is_blocked, "said to be in the log"


def test_what_a_connection_has_written_moves_up_with_its_entry() -> None:
    node = Node()
    facts = node.engine.facts
    facts.role, facts.committed, facts.replicas = (
        "primary",
        1,
        [ReplicaFact("r", "127.0.0.1", 1, "b", 2, 0)],
    )
    session = node.session()
    node.do(session, "SET k v")
    request = WaitForReplicas(session, session.seen, 1, 0, "wait")
    assert is_reached(facts, request)
    node.shard.shift_positions(2)
    assert session.seen == 3
    assert not is_reached(facts, request), "the replica has applied what came between"


def test_wait_in_a_transaction_answers_at_once() -> None:
    node = Node()
    node.engine.facts.role = "primary"
    session = node.session()
    assert node.do(session, "MULTI", "WAIT 1 0", "EXEC") == b"+OK\r\n+QUEUED\r\n*1\r\n:0\r\n"
    assert not session.is_blocked and not node.engine.requests and session.fast_path_ok
    assert node.do(session, "GET k") == b"$-1\r\n"


def effect(*words: str) -> bytes:
    return encode([word.encode() for word in words])


@pytest.mark.parametrize(
    "payload",
    [
        effect("SET", "k", "2"),
        effect("RENAME", "other", "k"),
        effect("FLUSHALL"),
        effect("SWAPDB", "0", "3"),
    ],
)
@pytest.mark.parametrize("leads", [False, True])
def test_a_watch_at_a_replica_fails_by_what_the_replica_applies(
    payload: bytes, leads: bool
) -> None:
    node = Node(REPLICA)
    node.engine.apply(effect("MSET", "k", "1", "other", "1"), node.wall_ms)
    session = node.session(reads=EVENTUAL)
    node.do(session, "WATCH k")
    node.engine.apply(payload, node.wall_ms)
    node.shard.on_applied((1, 1), node.wall_ms)
    # it takes over in between: it must not overwrite the write of another client without seeing it
    if leads:
        node.shard.become_primary(2, 1)
        node.shard.lease = FixedLease(1000 * SECOND)
        assert node.do(session, "MULTI", "SET k 3", "EXEC").endswith(b"*-1\r\n")
    else:
        assert node.do(session, "MULTI", "GET k", "EXEC").endswith(b"*-1\r\n")


def test_a_watch_at_a_replica_stands_when_other_keys_change() -> None:
    node = Node(REPLICA)
    session = node.session(reads=EVENTUAL)
    node.do(session, "WATCH k")
    node.engine.apply(
        effect("SELECT", "1")
        + effect("SET", "k", "2")
        + effect("SELECT", "0")
        + effect("SET", "j", "2"),
        node.wall_ms,
    )
    assert node.do(session, "MULTI", "GET k", "EXEC").endswith(b"*1\r\n$-1\r\n")


def test_a_transaction_queued_at_a_replica_shows_nothing_of_a_memory_in_restoration() -> None:
    node = Node(REPLICA)
    session, other = node.session(reads=EVENTUAL), node.session(reads=EVENTUAL)
    node.do(session, "MULTI", "GET k")
    node.do(other, "MULTI", "PING")
    node.shard.become_restoring()
    assert node.do(session, "EXEC").startswith(
        b"-EXECABORT Transaction discarded because of: LOADING"
    )
    assert node.do(other, "EXEC") == b"*1\r\n+PONG\r\n"


@pytest.mark.parametrize(
    "change", [effect("APPEND", "k", "x" * 1024 * 1024), effect("SETRANGE", "k", "1048576", "x")]
)
def test_an_effect_is_applied_whatever_this_nodes_own_limit_of_a_strings_length(
    change: bytes,
) -> None:
    node = Node(REPLICA, proto_max_bulk_len=1024 * 1024)
    node.engine.apply(effect("SET", "k", "v") + change, node.wall_ms)
    assert node.do(node.session(reads=EVENTUAL), "STRLEN k") == b":1048577\r\n"


def test_a_client_that_changes_a_key_it_watches_aborts_its_own_transaction() -> None:
    """Earlier, a write right after the WATCH was taken for the WATCH's own deletions."""
    node = Node()
    one = node.session()
    node.do(one, "WATCH k", "SET k v")
    node.commit()
    assert node.do(one, "MULTI", "GET k", "EXEC") == b"+OK\r\n+QUEUED\r\n*-1\r\n"
