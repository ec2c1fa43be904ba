"""The work for clients in one turn of the loop.
When a turn ends, no command is lost, doubled or passed over.
"""

from __future__ import annotations

from typing import Any

import pytest

from memstore.engine.session import SESSION
from memstore.node.loop_budget import COMMANDS, MAX_TURN_US
from memstore.replication.shard import REPLICA
from tests.node.harness import Host, another, connected, echoes, encoded, pings, resumed, turns
from tests.replication.test_shard import Node


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


def test_when_a_turn_has_taken_long_the_others_wait_too() -> None:
    host, slow, _ = connected(Node())
    others = [another(host) for _ in range(3)]
    slow.data_received(pings(0, 1))
    host.node.now_us += MAX_TURN_US + 1
    others[0][0].data_received(pings(0, 1))  # found out after this one
    for connection, _ in others[1:]:
        connection.data_received(pings(0, 1))
    assert host.shard.engine.facts.commands_processed == 2
    host.later.turn()
    assert host.shard.engine.facts.commands_processed == 4
    turns(host)
    assert all(socket.sent == echoes(0, 1) for _, socket in others)


def test_those_put_off_go_on_in_turn() -> None:
    host, greedy, greedy_socket = connected(Node())
    small, small_socket = another(host)
    greedy.data_received(pings(0, 5 * COMMANDS))
    small.data_received(pings(0, 1))
    host.later.turn()
    host.later.turn()
    host.later.turn()
    assert small_socket.sent == echoes(0, 1) and len(greedy_socket.sent) < len(
        echoes(0, 5 * COMMANDS)
    )
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


def test_a_client_that_was_put_off_in_the_middle_of_a_large_command_is_read_again() -> None:
    host, connection, socket = connected(Node())
    data = encoded(b"ECHO", b"v" * 600_000)
    connection.data_received(pings(0, COMMANDS))
    connection.data_received(data[:256_000])
    connection.data_received(data[256_000:512_000])
    assert not socket.reading
    turns(host)
    assert socket.reading
    connection.data_received(data[512_000:])
    turns(host)
    assert socket.sent.endswith(b"v\r\n") and len(socket.sent) > 600_000


def test_a_client_that_does_not_read_its_replies_is_not_read_until_it_does() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(pings(0, 2 * COMMANDS + 1))
    connection.pause_writing()
    turns(host)
    assert (
        not socket.reading
        and connection.deferred
        and host.shard.engine.facts.commands_processed == COMMANDS
    ), "no more is made for it either"
    connection.resume_writing()
    turns(host)
    assert socket.reading and socket.sent == echoes(0, 2 * COMMANDS + 1)


def test_a_client_that_reads_slowly_is_not_read_while_it_waits() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(pings(0, 4 * COMMANDS))
    connection.data_received(pings(4 * COMMANDS, 1))
    connection.pause_writing()
    connection.resume_writing()
    assert connection.deferred and not socket.reading
    turns(host)
    assert socket.reading and socket.sent == echoes(0, 4 * COMMANDS + 1)


def test_what_is_parked_counts_when_it_runs() -> None:
    host, connection, _ = connected(Node())
    host.shard.begin_handover_pause()
    connection.data_received(pings(0, 100))
    assert host.budget.left == COMMANDS
    host.shard.end_handover_pause()
    assert host.shard.take_runnable() == [connection.session]
    connection.run_parked()
    assert host.budget.left == COMMANDS - 100


def test_what_one_client_has_parked_is_divided_too_and_answered_in_order() -> None:
    host, connection, socket = connected(Node())
    host.shard.begin_handover_pause()
    count = 5 * COMMANDS + 3
    connection.data_received(pings(0, count))
    turns(host)
    assert len(connection.session.parked) == count and not socket.reading
    host.shard.end_handover_pause()
    assert host.shard.take_runnable() == [connection.session]
    connection.run_parked()
    assert (
        connection.resumable
        and len(connection.session.parked) == count - COMMANDS
        and not socket.reading
    )
    connection.data_received(pings(count, 7))  # the new commands come after them
    assert resumed(host) <= COMMANDS
    assert socket.sent == echoes(0, count + 7) and socket.reading and not connection.session.parked


def test_parked_commands_have_their_turn_behind_those_put_off_before() -> None:
    host = Host(Node())
    host.shard.begin_handover_pause()
    waiting = [another(host) for _ in range(500)]
    for connection, _ in waiting:
        connection.data_received(pings(0, 1))
    host.shard.end_handover_pause()
    for _ in range(2):
        another(host)[0].data_received(pings(0, 200 * COMMANDS))
    count = 0
    while not all(socket.sent for _, socket in waiting):
        host.later.turn()
        for session in host.shard.take_runnable():
            session.sink.run_parked()
        count += 1
    assert count < 10, "one small question waits for what everybody has sent"


def test_what_must_wait_again_stays_in_front_of_what_was_not_reached() -> None:
    host, connection, socket = connected(Node())
    host.shard.engine.facts.role = "primary"
    host.shard.begin_handover_pause()
    connection.data_received(pings(0, 10) + encoded(b"WAIT", b"1", b"0") + pings(10, 2 * COMMANDS))
    turns(host)
    host.shard.end_handover_pause()
    (session,) = host.shard.take_runnable()
    session.sink.run_parked()
    assert session.is_blocked and not connection.resumable and len(session.parked) == 2 * COMMANDS
    host.shard.finish(session, b":0\r\n")
    resumed(host)
    assert socket.sent == echoes(0, 10) + b":0\r\n" + echoes(10, 2 * COMMANDS)


def test_a_very_large_command_that_was_parked_is_looked_at_when_it_runs() -> None:
    host, connection, socket = connected(Node(max_uncommitted_bytes=1024 * 1024))
    host.shard.begin_handover_pause()
    data = encoded(b"SET", b"k", b"v" * 2 * 1024 * 1024)
    for at in range(0, len(data), 256 * 1024):
        connection.data_received(data[at : at + 256 * 1024])
    assert len(connection.session.parked) == 1 and connection.session.slow_path
    host.shard.end_handover_pause()
    resumed(host)
    assert (
        socket.sent.startswith(b"-ERR ")
        and not host.shard.has_entries
        and socket.reading
        and not connection.session.slow_path
    )


@pytest.mark.parametrize("before", [[b"CLIENT", b"REPLY", b"ON"], [b"MULTI"], [b"RESET"]])
@pytest.mark.parametrize("held", [False, True])
def test_a_very_large_command_is_looked_at_whatever_stands_before_it(
    before: list[bytes], held: bool
) -> None:
    host, connection, _ = connected(Node(max_uncommitted_bytes=1024 * 1024))
    if held:
        host.shard.begin_handover_pause()
    data = encoded(*before) + encoded(b"EXEC") + encoded(b"SET", b"k", b"v" * 2 * 1024 * 1024)
    for at in range(0, len(data), 256 * 1024):
        connection.data_received(data[at : at + 256 * 1024])
    host.shard.end_handover_pause()
    resumed(host)
    assert not host.shard.has_entries and connection.session.fast_path_ok


def test_an_answer_covers_nothing_that_came_after_its_question() -> None:
    """A session that is named twice is asked about twice.
    The second answer must not cover what was parked after the first answer released everything.
    """
    host, connection, socket = connected(Node(REPLICA))
    shard, session = host.shard, connection.session
    shard.on_applied((1, 5), host.node.wall_ms)
    shard.begin_handover_pause()
    connection.data_received(encoded(b"GET", b"k") * 2)
    shard.end_handover_pause()
    shard.runnable.append(session)
    questions = []
    for named in shard.take_runnable():
        named.sink.run_parked()
        questions.append(shard.reads.on_asked() if shard.reads.wanted else 0)
        shard.on_tail(questions[0], (1, 6), host.node.now_us)
    if shard.reads.wanted:
        questions.append(shard.reads.on_asked())
    shard.on_applied((1, 6), host.node.wall_ms)  # and 7 is committed and acknowledged
    shard.on_tail(questions[-1], (1, 6), host.node.now_us)
    resumed(host)
    assert socket.sent == b"$-1\r\n" * 2
    connection.data_received(encoded(b"GET", b"k"))
    for question in questions:
        shard.on_tail(question, (1, 6), host.node.now_us)
    resumed(host)
    assert socket.sent == b"$-1\r\n" * 2 and shard.reads.wanted, (
        "read without a question of its own"
    )


def test_an_answer_counts_once_and_only_if_nothing_was_taken_since() -> None:
    host, connection, _ = connected(Node(REPLICA))
    shard, session = host.shard, connection.session
    connection.data_received(encoded(b"GET", b"k") * 2)
    first = shard.reads.on_asked()
    shard.runnable.append(session)  # by another cause
    resumed(host)
    shard.on_tail(first, (0, 0), host.node.now_us)
    assert not shard.runnable and session.reads_covered == 0 and shard.reads.wanted
    shard.on_tail(shard.reads.on_asked(), (0, 0), host.node.now_us)
    assert shard.runnable == [session] and session.reads_covered == 2


def test_who_was_owed_too_much_and_is_gone_holds_nobody_up() -> None:
    host, hog, _ = connected(Node(max_held_bytes=100_000))
    other, socket = another(host)
    hog.data_received(encoded(b"SET", b"k", b"v" * 60_000))
    hog.data_received(encoded(b"GET", b"k") * 2)
    other.data_received(encoded(b"GET", b"x"))
    assert host.shard.congested and len(other.session.parked) == 1
    hog.connection_lost(None)
    assert not host.shard.congested
    resumed(host)
    assert socket.sent == b"$-1\r\n"


def test_what_comes_with_a_very_large_command_or_before_an_error_is_divided_too() -> None:
    for tail in (encoded(b"ECHO", b"v" * 600_000), b"*1\r\nx\r\n"):
        host, connection, socket = connected(Node())
        data = pings(0, 5 * COMMANDS) + tail + (pings(0, 5 * COMMANDS) if len(tail) > 100 else b"")
        facts, most, before = host.shard.engine.facts, 0, 0
        for at in range(0, len(data), 256_000):
            connection.data_received(data[at : at + 256_000])
            while host.later.calls:
                most, before = (
                    max(most, facts.commands_processed - before),
                    facts.commands_processed,
                )
                host.later.turn()
        assert most <= COMMANDS + 1 and not connection.session.slow_path
        assert socket.sent.startswith(echoes(0, 5 * COMMANDS))
        assert socket.sent.endswith(echoes(0, 5 * COMMANDS) if len(tail) > 100 else b"got 'x'\r\n")


def test_who_leaves_while_he_waits_is_named_nowhere() -> None:
    host, connection, _ = connected(Node())
    host.shard.begin_handover_pause()
    connection.data_received(pings(0, 1))
    connection.connection_lost(None)
    host.shard.end_handover_pause()
    assert not host.shard.runnable


def test_a_session_read_gives_up_like_a_strong_one() -> None:
    host, connection, socket = connected(Node(REPLICA))
    shard, session = host.shard, connection.session
    session.reads, session.seen = SESSION, 7
    connection.data_received(encoded(b"GET", b"k") * 2)
    gone, _ = another(host, reads=SESSION, seen=7)
    gone.data_received(encoded(b"GET", b"k"))
    gone.connection_lost(None)
    until_us = shard.deadline()
    assert until_us == host.node.now_us + shard.engine.settings.strong_read_timeout_ms * 1000
    shard.on_deadline(until_us - 1)
    assert not shard.runnable
    shard.on_deadline(until_us)
    assert shard.runnable == [session] and not shard.deadline()
    resumed(host)
    assert socket.sent.count(b"-TRYAGAIN") == 2
    connection.data_received(encoded(b"GET", b"k"))
    shard.on_applied((1, 7), host.node.wall_ms)
    resumed(host)
    assert socket.sent.endswith(b"$-1\r\n") and not shard.deadline()


def test_a_change_of_role_ends_what_an_answer_covered_and_was_not_run() -> None:
    host, connection, _ = connected(Node(REPLICA))
    shard = host.shard
    connection.data_received(b"".join([encoded(b"GET", b"k")] * (COMMANDS + 5)))
    turns(host)
    shard.on_tail(shard.reads.on_asked(), (0, 0), host.node.now_us)
    (session,) = shard.take_runnable()
    session.sink.run_parked()
    assert session.reads_covered == 5
    shard.become_restoring()
    shard.become_replica()
    host.later.turn()
    for named in shard.take_runnable():
        named.sink.run_parked()
    assert session.reads_covered == 0 and shard.reads.wanted, "read without a question of its own"


class BrokenHost(Host):
    """A host whose clock cannot be read."""

    @property
    def clock(self) -> Any:
        raise ZeroDivisionError

    @clock.setter
    def clock(self, clock: Any) -> None:
        """Ignore the new clock: it stays broken."""


def test_an_error_of_the_program_costs_one_client_its_connection_and_the_others_nothing() -> None:
    host, first, _ = connected(Node())
    broken, _ = another(host)
    other, socket = another(host)
    first.data_received(pings(0, COMMANDS))
    broken.data_received(pings(0, 1))
    other.data_received(pings(0, 1))

    broken.host = BrokenHost(host.node)
    turns(host)
    assert host.failed == [broken] and socket.sent == echoes(0, 1)
