"""How a connection ends: QUIT, end of input, a protocol error, an error of a command.
The commands before the end are answered, and nothing after it runs.
"""

from __future__ import annotations

from memstore.node.loop_budget import COMMANDS
from tests.node.harness import another, commit, connected, echoes, encoded, pings, resumed, turns
from tests.replication.test_shard import Node


def test_what_came_before_the_end_is_run_before_the_close() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(pings(0, 3 * COMMANDS))
    assert connection.eof_received()  # the transport must stay
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
    # another session may continue, so the node is notified at the end of the part
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
    # a parser that ignored the gap would read this as the end of a write
    connection.data_received(b"54321\r\n")
    turns(host)
    assert socket.sent == b""
    commit(host)
    assert socket.sent == b"+OK\r\n+OK\r\n" and not socket.reading
    assert host.node.do(host.node.session(), "EXISTS key other") == b":1\r\n"


def test_nothing_runs_behind_a_command_that_failed() -> None:
    host, connection, socket = connected(Node())
    connection.data_received(pings(0, 3 * COMMANDS))
    socket.closing = True  # the loop closes it after an error in a callback, and reports this later
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
