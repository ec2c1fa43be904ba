"""MULTI and its companions."""

from __future__ import annotations

from memstore.engine.transaction import end_transaction
from tests.engine.harness import Harness


def test_a_transaction_is_one_unit(h: Harness) -> None:
    assert (
        h.lines("MULTI", "SET a 1", "SELECT 2", "INCR b", "GET b")
        == [b"+OK\r\n", *[b"+QUEUED\r\n"] * 4]
        and h.units == []
    )
    assert h.line("EXEC") == b"*4\r\n+OK\r\n+OK\r\n:1\r\n$1\r\n1\r\n"
    assert (
        h.effects == [[b"SET", b"a", b"1"], [b"SELECT", b"2"], [b"INCR", b"b"]]
        and len(h.units) == 1
    )
    assert h.session.db == 2 and h.session.multi is None and h.session.fast_path_ok and h.same()


def test_an_error_inside_does_not_stop_the_others(h: Harness) -> None:
    h.lines("SET a x", "MULTI", "INCR a", "SET b 1")
    assert h.line("EXEC") == b"*2\r\n-ERR value is not an integer or out of range\r\n+OK\r\n"
    assert h.effects == [[b"SET", b"b", b"1"]]


def test_what_cannot_be_queued_spoils_it(h: Harness) -> None:
    h.lines("MULTI", "SET a 1")
    assert (
        h.line("NOSUCH x") == b"-ERR unknown command 'NOSUCH', with args beginning with: 'x' \r\n"
    )
    assert (
        h.line("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        and h.digest() == bytes(20)
    )
    assert h.line("EXEC") == b"-ERR EXEC without MULTI\r\n"


def test_misplaced_commands(h: Harness) -> None:
    assert h.lines("DISCARD", "EXEC") == [
        b"-ERR DISCARD without MULTI\r\n",
        b"-ERR EXEC without MULTI\r\n",
    ]
    h.line("MULTI")
    assert h.lines("MULTI", "WATCH a") == [
        b"-ERR MULTI calls can not be nested\r\n",
        b"-ERR WATCH inside MULTI is not allowed\r\n",
    ]
    assert h.line("EXEC") == b"*0\r\n", "these two do not spoil it"


def test_exec_with_wrong_arguments_ends_it(h: Harness) -> None:
    h.lines("MULTI", "SET a 1")
    assert (
        h.line("EXEC x")
        == b"-EXECABORT Transaction discarded because of: wrong number of arguments for "
        b"'exec' command\r\n"
    )
    assert h.line("EXEC") == b"-ERR EXEC without MULTI\r\n"


def test_watch_stops_a_transaction(h: Harness) -> None:
    other = h.new_session()
    h.lines("WATCH a b", "MULTI", "SET c 1")
    h.line("SET b 1", other)
    assert h.line("EXEC") == b"*-1\r\n" and h.effects == []
    h.lines("WATCH a", "MULTI", "SET c 1")
    h.line("SET b 2", other)
    assert h.line("EXEC") == b"*1\r\n+OK\r\n" and h.engine.watched.sessions == {}
    h.session.resp3 = True
    h.line("WATCH a")
    h.lines("SET a 1", "MULTI", "PING")
    assert h.line("EXEC") == b"_\r\n", "one's own change counts too"


def test_unwatch_and_discard_forget(h: Harness) -> None:
    for forget in (["UNWATCH", "MULTI"], ["MULTI", "DISCARD", "MULTI"]):
        h.lines("WATCH a a", "SET a 1", *forget, "GET a")
        assert (h.line("EXEC") or b"").startswith(b"*1") and h.engine.watched.sessions == {}


def test_a_watched_key_that_expires_has_changed(h: Harness) -> None:
    h.lines("SET a 1 PX 5", "WATCH a", "MULTI", "SET b 1")
    h.wall_ms += 5
    assert h.line("EXEC") == b"*-1\r\n"
    assert h.effects[-1] == [b"DEL", b"a"], "the log knows before anybody is shown that it is gone"
    h.lines("WATCH a", "MULTI", "SET b 1")
    assert h.line("EXEC") == b"*1\r\n+OK\r\n", "it was gone when it was watched"


def test_a_watched_key_that_expires_is_deleted_in_its_own_database(h: Harness) -> None:
    h.lines(
        "SELECT 3", "SET a 1 PX 5", "WATCH a", "SELECT 0", "SET a 1", "WATCH b", "MULTI", "GET a"
    )
    h.wall_ms += 5
    assert h.lines("EXEC", "GET a", "SELECT 3", "GET a") == [
        b"*-1\r\n",
        b"$1\r\n1\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
    ]
    h.lines("SET a 1 PX 5", "WATCH a", "MULTI", "NONSENSE")
    h.wall_ms += 5
    # EXEC answers at once
    assert h.line("EXEC").startswith(b"-EXECABORT")  # type: ignore[union-attr]
    assert h.same()


def test_flushing_fails_only_watches_of_keys_that_were_there(h: Harness) -> None:
    for flush, expected in (
        ("FLUSHALL", b"*-1"),
        ("FLUSHDB", b"*-1"),
        ("SWAPDB 0 1", b"*-1"),
        ("SWAPDB 1 2", b"*1"),
    ):
        h.lines("SET a 1", "WATCH a", "MULTI", "PING")
        h.line(flush, h.new_session())
        assert (h.line("EXEC") or b"").startswith(expected), flush
        h.lines("FLUSHALL", "SET other 1", "WATCH a", "MULTI", "PING")
        h.line(flush, h.new_session())
        assert (h.line("EXEC") or b"").startswith(b"*1"), flush


def test_watch_is_about_one_database(h: Harness) -> None:
    h.lines("WATCH a", "SELECT 1", "SET a 1", "SELECT 0", "MULTI", "PING")
    assert (h.line("EXEC") or b"").startswith(b"*1")


def test_a_session_that_ends_leaves_nothing_behind(h: Harness) -> None:
    h.lines("WATCH a b", "MULTI", "SET a 1")
    end_transaction(h.engine, h.session)
    assert h.engine.watched.sessions == {} and h.session.fast_path_ok and h.session.watched == []


def test_a_queue_larger_than_a_client_may_send_is_given_up(h: Harness) -> None:
    h.engine.settings.client_query_buffer_limit = 1000
    h.lines("SET b 1", "MULTI", "SET a " + "x" * 700)
    assert (
        h.line("SET b " + "x" * 700)
        == b"-ERR the transaction's queue is larger than client-query-buffer-limit\r\n"
    )
    assert (
        h.session.multi == []
        and h.line("SET c 1")
        == b"-ERR the transaction's queue is larger than client-query-buffer-limit\r\n"
    )
    assert h.line("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    assert h.line("GET b") == b"$1\r\n1\r\n" and h.line("GET a") == b"$-1\r\n"
    assert h.lines("MULTI", "SET a 1", "EXEC")[2] == b"*1\r\n+OK\r\n", "the next one begins anew"


def test_what_follows_a_refused_command_is_not_kept(h: Harness) -> None:
    h.lines("MULTI", "NOSUCH")
    assert h.line("SET a 1") == b"+QUEUED\r\n" and h.session.multi == []


def test_exchanged_databases_show_an_expired_key_as_the_missing_one_it_is(h: Harness) -> None:
    """A missing or expired key that was watched, and an expired one in its place afterwards:
    nothing changed. (The EXEC was stopped.)
    """
    for index in (0, 1):
        h.lines(
            "FLUSHALL", "SELECT 0", "SET a 1 PX 5", "SELECT 1", "SET a 2 PX 5", f"SELECT {index}"
        )
        h.wall_ms += 5
        h.lines("WATCH a", "SWAPDB 0 1", "MULTI", "PING")
        assert h.line("EXEC") == b"*1\r\n+PONG\r\n"
        assert h.same()
    h.lines(
        "FLUSHALL", "SELECT 0", "SET a 1 PX 5", "SELECT 1", "WATCH a", "SWAPDB 0 1", "MULTI", "PING"
    )
    assert h.line("EXEC") == b"*-1\r\n", "a key that lives came"
    h.lines("FLUSHALL", "SET a 1 PX 5", "WATCH a")
    h.wall_ms += 5
    h.lines("SWAPDB 0 1", "MULTI", "PING")
    assert h.line("EXEC") == b"*-1\r\n", "its time passed while it was watched"
