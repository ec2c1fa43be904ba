"""String commands, a few lines each: the reply, what is logged, what is left."""

from __future__ import annotations

import pytest

from memstore.engine.settings import Settings
from tests.engine.harness import START_MS, Harness


def test_set_and_get(h: Harness) -> None:
    assert h.line("SET k v") == b"+OK\r\n"
    assert h.effects == [[b"SET", b"k", b"v"]] and h.changed == {(0, b"k")}
    assert h.line("GET k") == b"$1\r\nv\r\n" and h.effects == []
    assert h.line("GET missing") == b"$-1\r\n"


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 5000])
def test_values_and_keys_of_any_length(h: Harness, length: int) -> None:
    key, value = b"{" + b"k" * length, b"\r\n" * length
    h.run(b"SET", key, value)
    assert h.run(b"GET", key) == b"$%d\r\n%b\r\n" % (len(value), value) and h.effects == []
    assert h.same()


def test_set_in_another_database_selects_it_in_the_log(h: Harness) -> None:
    h.lines("SELECT 3", "SET k v")
    assert h.effects == [[b"SELECT", b"3"], [b"SET", b"k", b"v"]] and h.changed == {(3, b"k")}


def test_set_takes_the_expiry_away_unless_told_to_keep_it(h: Harness) -> None:
    h.lines("SET k v EX 100", "SET k w KEEPTTL")
    assert h.effects == [[b"SET", b"k", b"w", b"PXAT", b"%d" % (START_MS + 100_000)]]
    h.line("SET k x")
    assert h.line("TTL k") == b":-1\r\n" and h.same()


def test_set_logs_absolute_times(h: Harness) -> None:
    h.line("SET k v PX 5")
    assert h.effects == [[b"SET", b"k", b"v", b"PXAT", b"%d" % (START_MS + 5)]]
    h.line("SET k v EXAT 2000000000")
    assert h.effects == [[b"SET", b"k", b"v", b"PXAT", b"2000000000000"]]


def test_set_with_a_time_that_has_passed_deletes(h: Harness) -> None:
    h.line("SET k v")
    assert h.line("SET k w PXAT 1") == b"+OK\r\n" and h.effects == [[b"DEL", b"k"]]
    assert h.line("SET k w PXAT 1") == b"+OK\r\n" and h.effects == []


def test_set_conditions(h: Harness) -> None:
    assert h.line("SET k v XX") == b"$-1\r\n" and h.effects == []
    assert h.line("SET k v NX GET") == b"$-1\r\n" and h.line("GET k") == b"$1\r\nv\r\n"
    assert h.line("SET k w NX GET") == b"$1\r\nv\r\n" and h.effects == []
    assert h.line("SET k w XX GET") == b"$1\r\nv\r\n" and h.effects == [[b"SET", b"k", b"w"]]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("SET k v NX XX", "ERR syntax error"),
        ("SET k v EX 1 PX 1", "ERR syntax error"),
        ("SET k v EX 1 KEEPTTL", "ERR syntax error"),
        ("SET k v EX", "ERR syntax error"),
        ("SET k v PERSIST", "ERR syntax error"),
        ("SET k v EX x", "ERR value is not an integer or out of range"),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SETEX k -1 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k 0 v", "ERR invalid expire time in 'psetex' command"),
        ("SETRANGE k -1 v", "ERR offset is out of range"),
        ("SETRANGE k 536870912 v", "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a 1 b", "ERR wrong number of arguments for 'msetnx' command"),
        ("GETRANGE k x 1", "ERR value is not an integer or out of range"),
        ("LCS a b LEN IDX", "ERR If you want both the length and indexes, please just use IDX."),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("INCRBY k 1.5", "ERR value is not an integer or out of range"),
        ("DECRBY k -9223372036854775808", "ERR decrement would overflow"),
        ("INCRBYFLOAT k x", "ERR value is not a valid float"),
        ("INCRBYFLOAT k inf", "ERR increment would produce NaN or Infinity"),
    ],
)
def test_errors_change_nothing(h: Harness, line: str, error: str) -> None:
    assert (
        h.line(line) == b"-%b\r\n" % error.encode() and h.effects == [] and h.digest() == bytes(20)
    )


def test_getex_and_getdel(h: Harness) -> None:
    h.line("SET k v")
    assert h.line("GETEX k PX 7") == b"$1\r\nv\r\n" and h.effects == [
        [b"PEXPIREAT", b"k", b"%d" % (START_MS + 7)]
    ]
    assert h.line("GETEX k PERSIST") == b"$1\r\nv\r\n" and h.effects == [[b"PERSIST", b"k"]]
    assert h.line("GETEX k PERSIST") == b"$1\r\nv\r\n" and h.effects == []
    assert h.line("GETEX k PXAT 1") == b"$1\r\nv\r\n" and h.effects == [[b"DEL", b"k"]]
    h.line("SET k v")
    assert h.line("GETDEL k") == b"$1\r\nv\r\n" and h.effects == [[b"DEL", b"k"]]
    assert h.line("GETDEL k") == b"$-1\r\n" and h.effects == []


def test_getset_setnx_setex(h: Harness) -> None:
    assert h.line("GETSET k v") == b"$-1\r\n" and h.line("GETSET k w") == b"$1\r\nv\r\n"
    assert h.line("SETNX k x") == b":0\r\n" and h.effects == [] and h.line("SETNX n x") == b":1\r\n"
    assert h.lines("SETEX k 10 v", "TTL k", "PSETEX k 1500 v", "PTTL k") == [
        b"+OK\r\n",
        b":10\r\n",
        b"+OK\r\n",
        b":1500\r\n",
    ]


def test_many_keys(h: Harness) -> None:
    assert h.line("MSET a 1 b 2 a 3") == b"+OK\r\n" and h.changed == {(0, b"a"), (0, b"b")}
    assert h.line("MGET a b c") == b"*3\r\n$1\r\n3\r\n$1\r\n2\r\n$-1\r\n"
    assert h.line("MSETNX c 1 a 1") == b":0\r\n" and h.effects == []
    h.line("PEXPIRE a 5")
    assert (
        h.line("MSETNX c 1 d 1") == b":1\r\n"
        and h.line("MSET a 1") == b"+OK\r\n"
        and h.line("TTL a") == b":-1\r\n"
    )


def test_parts(h: Harness) -> None:
    assert (
        h.line("APPEND k Hello") == b":5\r\n"
        and h.line("APPEND k World") == b":10\r\n"
        and h.effects == [[b"APPEND", b"k", b"World"]]
    )
    assert (
        h.line("GETRANGE k -5 -1") == b"$5\r\nWorld\r\n"
        and h.line("SUBSTR k 0 0") == b"$1\r\nH\r\n"
    )
    assert h.line("GETRANGE k 5 2") == b"$0\r\n\r\n" and h.line("GETRANGE k -1 -5") == b"$0\r\n\r\n"
    assert (
        h.line("SETRANGE k 12 !") == b":13\r\n" and h.line("GET k") == b"$13\r\nHelloWorld\0\0!\r\n"
    )
    assert (
        h.line("SETRANGE k 0 ''") == b":13\r\n"
        and h.effects == []
        and h.line("SETRANGE n 0 ''") == b":0\r\n"
    )
    assert h.line("STRLEN k") == b":13\r\n" and h.line("STRLEN n") == b":0\r\n"


def test_append_keeps_to_the_limit() -> None:
    h = Harness(settings=Settings(proto_max_bulk_len=10))
    h.line("SET k 12345678")
    assert h.line("APPEND k 90") == b":10\r\n"
    assert (
        h.line("APPEND k 1") == b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
        and h.effects == []
    )


def test_counting(h: Harness) -> None:
    assert h.line("INCR n") == b":1\r\n" and h.effects == [[b"INCR", b"n"]]
    assert h.line("DECRBY n 5") == b":-4\r\n" and h.effects == [[b"DECRBY", b"n", b"5"]]
    assert h.lines("DECR n", "INCRBY n 10") == [b":-5\r\n", b":5\r\n"]
    h.lines("PEXPIRE n 1000", "INCR n")
    assert h.line("PTTL n") == b":1000\r\n" and h.same()
    h.line("SET n 9223372036854775807")
    assert h.line("INCR n") == b"-ERR increment or decrement would overflow\r\n" and h.effects == []
    h.line("SET n 01")
    assert h.line("INCR n") == b"-ERR value is not an integer or out of range\r\n"


def test_floats_are_logged_as_their_digits(h: Harness) -> None:
    h.line("SET n 10.50")
    assert h.line("INCRBYFLOAT n 0.1") == b"$4\r\n10.6\r\n" and h.effects == [
        [b"SET", b"n", b"10.6"]
    ]
    h.line("PEXPIRE n 1000")
    assert h.line("INCRBYFLOAT n -5") == b"$3\r\n5.6\r\n" and h.effects == [
        [b"SET", b"n", b"5.6", b"PXAT", b"%d" % (START_MS + 1000)]
    ]
    assert h.same()


def test_lcs(h: Harness) -> None:
    h.line("MSET a ohmytext b mynewtext")
    assert (
        h.line("LCS a b") == b"$6\r\nmytext\r\n"
        and h.line("LCS a b LEN") == b":6\r\n"
        and h.line("LCS a missing") == b"$0\r\n\r\n"
    )
    assert (
        h.line("LCS a b IDX MINMATCHLEN 4")
        == b"*4\r\n$7\r\nmatches\r\n*1\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n"
        b"$3\r\nlen\r\n:6\r\n"
    )
    h.session.resp3 = True
    assert (h.line("LCS a b IDX") or b"").startswith(b"%2\r\n")


def test_lcs_refuses_what_redis_refuses() -> None:
    h = Harness(settings=Settings(proto_max_bulk_len=1000))
    h.run(b"MSET", b"a", b"x" * 100, b"b", b"y" * 100)
    assert (
        h.line("LCS a b")
        == b"-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n"
    )
