"""What one turn of the loop runs for clients, and that nothing is lost, doubled or passed over when
it is enough.
"""

from __future__ import annotations

from typing import Any

import pytest

from memstore.engine.session import SESSION
from memstore.node.client_connection import ClientConnection
from memstore.node.loop_budget import COMMANDS, MAX_TURN_US
from memstore.replication.shard import REPLICA
from tests.replication.test_review_connection import Host, Socket, connected, encoded
from tests.replication.test_shard import Node


def another(host: Host, **session: Any) -> tuple[ClientConnection, Socket]:
    connection, socket = ClientConnection(host, host.node.session(**session)), Socket()
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


def commit(host: Host) -> None:
    """Everything executed is appended and committed, and what waited for that leaves."""
    host.node.append()
    for session, data in host.shard.on_committed(host.shard.next_position - 1):
        session.sink.released(data)


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
    others[0][0].data_received(pings(0, 1))  # that was found out behind this one
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


def test_who_has_said_all_is_closed_when_the_last_reply_has_left() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(encoded(b"SET", b"key", b"1") + encoded(b"GET", b"key"))
    assert connection.eof_received()
    turns(host)
    assert socket.sent == b"" and socket.reading
    commit(host)
    assert socket.sent == b"+OK\r\n$1\r\n1\r\n" and not socket.reading


def test_who_has_said_all_is_closed_when_what_was_parked_has_run() -> None:
    host, connection, socket = connected(Node())
    host.shard.begin_handover_pause()
    connection.data_received(pings(0, 3 * COMMANDS))
    assert connection.eof_received()
    host.shard.end_handover_pause()
    resumed(host)
    assert socket.sent == echoes(0, 3 * COMMANDS) and not socket.reading
    host.shard.engine.facts.role = "primary"
    waiting, socket = another(host)
    waiting.data_received(encoded(b"WAIT", b"1", b"0") + pings(0, 1))
    assert waiting.session.is_blocked and not waiting.eof_received(), (
        "it has hung up, and waits for what may never be"
    )


def resumed(host: Host) -> int:
    """Runs until no session can go on. Returns the most commands that ran in one turn."""
    facts, most = host.shard.engine.facts, 0
    while host.shard.runnable or host.later.calls:
        before = facts.commands_processed
        host.later.turn()
        for session in host.shard.take_runnable():
            session.sink.run_parked()
        most = max(most, facts.commands_processed - before)
    return most


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
    connection.data_received(pings(count, 7))  # what comes now is behind them
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


def test_behind_a_quit_that_was_parked_nothing_runs() -> None:
    host, connection, socket = connected(Node())
    host.shard.begin_handover_pause()
    connection.data_received(pings(0, 10) + encoded(b"QUIT") + pings(10, 2 * COMMANDS))
    host.shard.end_handover_pause()
    resumed(host)
    assert (
        socket.sent == echoes(0, 10) + b"+OK\r\n"
        and not socket.reading
        and not connection.session.parked
    )


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
    """A session that is named twice is asked for twice; the second answer must not cover what was
    parked after the first has let everything run.
    """
    host, connection, socket = connected(Node(REPLICA))
    shard, session = host.shard, connection.session
    shard.on_applied((1, 5), host.node.wall_ms)
    shard.begin_handover_pause()
    connection.data_received(encoded(b"GET", b"k") * 2)
    shard.end_handover_pause()
    shard.runnable.append(session)
    queries = []
    for named in shard.take_runnable():
        named.sink.run_parked()
        queries.append(shard.reads.on_asked() if shard.reads.wanted else 0)
        shard.on_tail(queries[0], (1, 6), host.node.now_us)
    if shard.reads.wanted:
        queries.append(shard.reads.on_asked())
    shard.on_applied((1, 6), host.node.wall_ms)  # and 7 is committed and acknowledged
    shard.on_tail(queries[-1], (1, 6), host.node.now_us)
    resumed(host)
    assert socket.sent == b"$-1\r\n" * 2
    connection.data_received(encoded(b"GET", b"k"))
    for query in queries:
        shard.on_tail(query, (1, 6), host.node.now_us)
    resumed(host)
    assert socket.sent == b"$-1\r\n" * 2 and shard.reads.wanted, (
        "read without a question of its own"
    )


def test_an_answer_counts_once_and_only_if_nothing_was_taken_since() -> None:
    host, connection, _ = connected(Node(REPLICA))
    shard, session = host.shard, connection.session
    connection.data_received(encoded(b"GET", b"k") * 2)
    first = shard.reads.on_asked()
    shard.runnable.append(session)  # by something else
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


def test_who_hangs_up_behind_a_blocked_command_is_told_what_waits_for_a_commit() -> None:
    host, connection, socket = connected(Node())
    host.shard.engine.facts.role = "primary"
    connection.data_received(encoded(b"SET", b"k", b"1") + encoded(b"WAIT", b"1", b"0"))
    assert connection.eof_received()
    commit(host)
    assert socket.sent == b"+OK\r\n" and not socket.reading


def test_who_hangs_up_in_a_pause_is_not_waited_for() -> None:
    host, connection, _ = connected(Node())
    connection.data_received(encoded(b"CLIENT", b"PAUSE", b"60000"))
    host.shard.update_fast_path()
    waiting, _ = another(host)
    waiting.data_received(encoded(b"GET", b"k"))
    assert waiting.session.parked and not waiting.eof_received()


def test_who_has_hung_up_is_told_of_everything_though_the_role_ends_inside_a_part() -> None:
    host, connection, socket = connected(Node())
    shard = host.shard
    shard.begin_handover_pause()
    count = COMMANDS + 5
    connection.data_received(encoded(b"GET", b"k") * count)
    turns(host)
    assert connection.eof_received()
    shard.end_handover_pause()

    def after_batch() -> None:  # as the node does when a reply was ready after the lease had ended
        if shard.lease_expired:
            for session, data, _ in shard.demote(shard.tracker.committed):
                session.sink.released(data)
            shard.become_restoring()

    host.after_batch = after_batch  # type: ignore[method-assign]
    readings = iter([host.node.now_us] + [shard.lease.lease_until_us + 1] * 10_000)
    host.clock = lambda: next(readings)
    other, _ = another(host)
    (session,) = shard.take_runnable()
    # somebody else may go on, so the node is told at the end of the part
    shard.runnable.append(other.session)
    session.sink.run_parked()
    assert session.parked and socket.reading
    resumed(host)
    assert socket.sent.count(b"\r\n") == count and not socket.reading


def test_a_protocol_error_waits_for_what_was_parked_before_it() -> None:
    host, connection, socket = connected(Node())
    host.shard.begin_handover_pause()
    count = 2 * COMMANDS
    connection.data_received(pings(0, count) + b"*1\r\nx\r\n")
    turns(host)
    assert not socket.sent
    host.shard.end_handover_pause()
    resumed(host)
    assert (
        socket.sent == echoes(0, count) + b"-ERR Protocol error: expected '$', got 'x'\r\n"
        and not socket.reading
    )


def test_a_protocol_error_behind_a_blocked_command_is_told_when_that_is_answered() -> None:
    host, connection, socket = connected(Node())
    host.shard.engine.facts.role = "primary"
    connection.data_received(encoded(b"WAIT", b"5", b"0") + b"*1\r\nx\r\n")
    assert not socket.sent and socket.reading, "that its client has gone must be seen"
    host.shard.finish(connection.session, b":0\r\n")
    resumed(host)
    assert (
        socket.sent == b":0\r\n-ERR Protocol error: expected '$', got 'x'\r\n"
        and not socket.reading
    )


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


def test_a_stranger_may_authenticate_while_commands_wait() -> None:
    host = Host(Node(requirepass="secret"))
    connection, socket = another(host, authenticated=False, plain=False)
    host.shard.begin_handover_pause()
    connection.data_received(encoded(b"AUTH", b"secret") + encoded(b"ECHO", b"v" * 20_000))
    turns(host)
    assert socket.sent == b"+OK\r\n" and len(connection.session.parked) == 1
    host.shard.end_handover_pause()
    resumed(host)
    assert socket.sent.endswith(b"v\r\n")


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
    assert (
        host.shard.engine.facts.commands_processed <= before + COMMANDS
        and not gone.pending_commands
    )


def test_nothing_behind_a_quit_is_read_though_replies_before_it_are_still_held() -> None:
    host, connection, socket = connected(Node())
    unfinished = encoded(b"SET", b"other", b"12345")[:-7]
    connection.data_received(
        encoded(b"SET", b"key", b"1") + encoded(b"QUIT") + pings(0, 2 * COMMANDS) + unfinished
    )
    connection.data_received(pings(0, 1))
    turns(host)
    # read as if nothing had been left out, this would be the end of a write
    connection.data_received(b"54321\r\n")
    turns(host)
    assert socket.sent == b""
    commit(host)
    assert socket.sent == b"+OK\r\n+OK\r\n" and not socket.reading
    assert host.node.do(host.node.session(), "EXISTS key other") == b":1\r\n"


def test_nothing_runs_behind_a_command_that_failed() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(pings(0, 3 * COMMANDS))
    socket.closing = True  # the loop closes it for what a callback raised, and tells so later
    turns(host)
    assert (
        host.shard.engine.facts.commands_processed == COMMANDS and not connection.pending_commands
    )


def test_a_protocol_error_behind_a_pipeline_is_told_last() -> None:
    host, first, _ = connected(Node())
    first.data_received(pings(0, COMMANDS))
    connection, socket = another(host)
    connection.data_received(pings(0, 2) + b"*1\r\nx\r\n")
    turns(host)
    assert (
        socket.sent == echoes(0, 2) + b"-ERR Protocol error: expected '$', got 'x'\r\n"
        and not socket.reading
    )


def test_nothing_is_kept_for_a_client_that_has_not_authenticated() -> None:
    host, first, _ = connected(Node())
    first.data_received(pings(0, COMMANDS))
    host.shard.engine.settings.requirepass = "secret"
    stranger, socket = another(host, authenticated=False, plain=False)
    stranger.data_received(pings(0, 1))
    assert not stranger.pending_bytes and not stranger.deferred
    turns(host)
    assert socket.sent == b"-NOAUTH Authentication required.\r\n"


class BrokenHost(Host):
    """Its clock cannot be read."""

    @property
    def clock(self) -> Any:
        raise ZeroDivisionError

    @clock.setter
    def clock(self, clock: Any) -> None:
        """It stays broken."""


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


@pytest.mark.parametrize(
    "command", [(b"AUTH", b"secret"), (b"HELLO", b"3", b"AUTH", b"default", b"secret")]
)
def test_a_client_that_has_authenticated_is_no_stranger_any_more(
    command: tuple[bytes, ...],
) -> None:
    host = Host(Node(requirepass="secret"))
    connection, socket = another(host, authenticated=False, plain=False)
    connection.data_received(encoded(*command) + pings(0, 3))  # what is pipelined behind it, too
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
    connection, socket = another(host, authenticated=False, plain=False)
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
    connection, socket = another(host, authenticated=False, plain=False)
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


def test_a_client_that_resets_and_authenticates_in_a_divided_pipeline_is_no_stranger() -> None:
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
