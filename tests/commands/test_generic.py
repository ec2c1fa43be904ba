"""Commands about keys and databases: the reply, what is logged, what is left."""

from __future__ import annotations

import pytest

from memstore.engine.context import HIDE_EXPIRED
from memstore.engine.settings import Settings
from tests.engine.harness import START_MS, Harness


def test_del_logs_only_what_was_there(h: Harness) -> None:
    h.line("MSET a 1 b 2")
    assert h.line("DEL a x b a") == b":2\r\n" and h.effects == [[b"DEL", b"a"], [b"DEL", b"b"]]
    assert h.line("UNLINK a") == b":0\r\n" and h.effects == []


def test_presence_and_type(h: Harness) -> None:
    h.line("SET a 1")
    assert h.lines("EXISTS a a b", "TOUCH a b", "TYPE a", "TYPE b") == [
        b":2\r\n",
        b":1\r\n",
        b"+string\r\n",
        b"+none\r\n",
    ]


def test_rename_takes_the_expiry_along(h: Harness) -> None:
    h.lines("SET a 1 PX 500", "SET b 2")
    assert h.line("RENAMENX a b") == b":0\r\n" and h.effects == []
    assert h.line("RENAME a b") == b"+OK\r\n" and h.changed == {(0, b"a"), (0, b"b")}
    assert h.lines("PTTL b", "EXISTS a", "RENAME b b", "RENAMENX b b") == [
        b":500\r\n",
        b":0\r\n",
        b"+OK\r\n",
        b":0\r\n",
    ]
    assert h.line("RENAME a b") == b"-ERR no such key\r\n" and h.same()


def test_copy(h: Harness) -> None:
    h.line("SET a 1 PX 500")
    assert h.line("COPY a b") == b":1\r\n" and h.changed == {(0, b"b")}
    assert (
        h.line("COPY a b") == b":0\r\n"
        and h.effects == []
        and h.line("COPY a b REPLACE") == b":1\r\n"
    )
    assert h.line("COPY a b DB 3") == b":1\r\n" and h.changed == {(3, b"b")}
    assert h.lines("SELECT 3", "PTTL b") == [b"+OK\r\n", b":500\r\n"] and h.same()
    assert h.line("COPY b b") == b"-ERR source and destination objects are the same\r\n"
    assert (
        h.line("COPY b c DB 99") == b"-ERR DB index is out of range\r\n"
        and h.line("COPY b c DB") == b"-ERR syntax error\r\n"
    )


def test_move(h: Harness) -> None:
    h.lines("SET a 1 PX 500", "SET b 1", "SELECT 2", "SET b 2", "SELECT 0")
    assert (
        h.line("MOVE a 2") == b":1\r\n"
        and h.effects == [[b"MOVE", b"a", b"2"]]
        and h.changed == {(0, b"a"), (2, b"a")}
    )
    assert h.lines("MOVE b 2", "MOVE nothing 2") == [b":0\r\n", b":0\r\n"]
    assert (
        h.lines("EXISTS a", "SELECT 2", "PTTL a") == [b":0\r\n", b"+OK\r\n", b":500\r\n"]
        and h.same()
    )
    assert h.line("MOVE a 2") == b"-ERR source and destination objects are the same\r\n"
    assert h.line("MOVE a 16") == b"-ERR DB index is out of range\r\n"


def test_what_lies_in_another_database_counts_as_looked_at(h: Harness) -> None:
    h.line("SET a 1")
    h.context.bind(h.session, h.wall_ms)
    for argv, place in (
        ([b"COPY", b"a", b"b", b"DB", b"3"], (3, b"b")),
        ([b"MOVE", b"a", b"2"], (2, b"a")),
    ):
        h.context.looked.clear()
        h.context.bind(h.session, h.wall_ms)
        h.engine.table[argv[0]].handler(h.context, argv)
        assert h.context.looked == [place]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("EXPIRE k 100 NX", b":1\r\n"),
        ("EXPIRE k 100 XX", b":0\r\n"),
        ("EXPIRE k 100 GT", b":0\r\n"),
        ("EXPIRE k 100 LT", b":1\r\n"),
        ("EXPIRE e 100 NX", b":0\r\n"),
        ("EXPIRE e 100 XX GT", b":1\r\n"),
        ("EXPIRE e 10 GT", b":0\r\n"),
        ("EXPIRE e 100 LT", b":0\r\n"),
        ("EXPIRE e 50 LT", b":0\r\n"),
        ("EXPIRE e 49 LT", b":1\r\n"),
        ("EXPIRE missing 1", b":0\r\n"),
        (
            "EXPIRE k 1 NX GT",
            b"-ERR NX and XX, GT or LT options at the same time are not compatible\r\n",
        ),
        ("EXPIRE k 1 GT LT", b"-ERR GT and LT options at the same time are not compatible\r\n"),
        ("EXPIRE k 1 now", b"-ERR Unsupported option now\r\n"),
        ("EXPIRE k x", b"-ERR value is not an integer or out of range\r\n"),
        ("EXPIRE k 9223372036854775807", b"-ERR invalid expire time in 'expire' command\r\n"),
        ("PEXPIRE k 9223372036854775807", b"-ERR invalid expire time in 'pexpire' command\r\n"),
    ],
)
def test_conditions_of_expire(h: Harness, line: str, reply: bytes) -> None:
    h.lines("SET k v", "SET e v EX 50")
    assert h.line(line) == reply
    assert bool(h.effects) == (reply == b":1\r\n") and h.same()


def test_expire_logs_a_time_or_a_deletion(h: Harness) -> None:
    h.line("SET k v")
    h.line("EXPIRE k 1")
    assert h.effects == [[b"PEXPIREAT", b"k", b"%d" % (START_MS + 1000)]]
    assert h.line("EXPIREAT k 1") == b":1\r\n" and h.effects == [[b"DEL", b"k"]]
    h.line("SET k v")
    assert h.line("PEXPIRE k -1") == b":1\r\n" and h.effects == [[b"DEL", b"k"]] and h.same()


def test_times_left(h: Harness) -> None:
    h.lines("SET k v PX 1500", "SET n v")
    assert h.lines("TTL k", "PTTL k", "TTL n", "PTTL n", "TTL x") == [
        b":2\r\n",
        b":1500\r\n",
        b":-1\r\n",
        b":-1\r\n",
        b":-2\r\n",
    ]
    assert h.lines("PEXPIRETIME k", "EXPIRETIME k") == [
        b":%d\r\n" % (START_MS + 1500),
        b":%d\r\n" % ((START_MS + 2000) // 1000),
    ]
    assert (
        h.line("PERSIST k") == b":1\r\n"
        and h.effects == [[b"PERSIST", b"k"]]
        and h.line("PERSIST k") == b":0\r\n"
        and h.effects == []
    )


@pytest.mark.parametrize(
    "line",
    [
        "GET k",
        "EXISTS k",
        "TYPE k",
        "TTL k",
        "KEYS *",
        "SCAN 0",
        "DBSIZE",
        "RANDOMKEY",
        "PERSIST k",
        "DEL k",
        "OBJECT ENCODING k",
        "STRLEN k",
        "EXPIRE k 5",
    ],
)
def test_an_expired_key_is_deleted_in_the_unit_that_shows_its_absence(
    h: Harness, line: str
) -> None:
    h.line("SET k v PX 5")
    h.wall_ms += 5
    fresh = Harness().line(line)
    assert (
        h.line(line) == fresh
        and h.effects == [[b"DEL", b"k"]]
        and h.same()
        and h.engine.expired_keys == 1
    )


@pytest.mark.parametrize(
    "line", ["RENAMENX a k", "COPY a k", "MSETNX k 1", "SETNX k 1", "APPEND k 1", "INCR k"]
)
def test_an_expired_key_is_no_obstacle(h: Harness, line: str) -> None:
    h.lines("SET a v", "SET k v PX 5")
    h.wall_ms += 5
    assert h.line(line) == b":1\r\n" and h.effects[0] == [b"DEL", b"k"]
    assert h.same()


def test_an_expired_key_in_the_database_moved_to_is_no_obstacle(h: Harness) -> None:
    h.lines("SELECT 1", "SET k old PX 5", "SELECT 0", "SET k v")
    h.wall_ms += 5
    assert h.line("MOVE k 1") == b":1\r\n"
    assert (
        h.effects == [[b"SELECT", b"1"], [b"DEL", b"k"], [b"SELECT", b"0"], [b"MOVE", b"k", b"1"]]
        and h.same()
    )


@pytest.mark.parametrize(
    "line", ["GET k", "KEYS *", "SCAN 0", "DBSIZE", "RANDOMKEY", "TTL k", "EXISTS k"]
)
def test_a_replica_hides_it_and_changes_nothing(h: Harness, line: str) -> None:
    h.line("SET k v PX 5")
    before = h.digest()
    h.wall_ms += 5
    h.context.expiry = HIDE_EXPIRED
    assert h.line(line) == Harness().line(line) and h.effects == [] and h.digest() == before


def test_expiry_is_ignored_while_effects_are_applied(h: Harness) -> None:
    h.line(f"SET k 1 PXAT {START_MS + 5}")
    h.line("INCR k")
    h.wall_ms += 100
    for unit in h.units:
        h.engine.apply(unit, h.wall_ms)
    assert h.engine.keyspace.database(0).get(b"k") == b"2"


def test_keys_and_scan(h: Harness) -> None:
    h.line("MSET one 1 two 2 three 3")
    assert (
        h.line("KEYS t*e") == b"*1\r\n$5\r\nthree\r\n"
        and h.line("KEYS [^ot]*") == b"*0\r\n"
        and h.line("KEYS one") == b"*1\r\n$3\r\none\r\n"
    )
    assert h.line("SCAN 0 MATCH o?e TYPE string") == b"*2\r\n$1\r\n0\r\n*1\r\n$3\r\none\r\n"
    assert h.line("SCAN 0 TYPE list COUNT 100") == b"*2\r\n$1\r\n0\r\n*0\r\n"
    assert h.lines("SCAN x", "SCAN 0 COUNT 0", "SCAN 0 MATCH", "SCAN 0 COUNT x") == [
        b"-ERR invalid cursor\r\n",
        b"-ERR syntax error\r\n",
        b"-ERR syntax error\r\n",
        b"-ERR value is not an integer or out of range\r\n",
    ]


def test_object(h: Harness) -> None:
    h.lines("SET n 12345", "SET s short", "SET small 7")
    h.run(b"SET", b"long", b"x" * 45)
    assert h.lines(*(f"OBJECT ENCODING {key}" for key in ("n", "s", "long", "none"))) == [
        b"$3\r\nint\r\n",
        b"$6\r\nembstr\r\n",
        b"$3\r\nraw\r\n",
        b"$-1\r\n",
    ]
    assert h.lines("OBJECT REFCOUNT n", "OBJECT REFCOUNT small", "OBJECT IDLETIME n") == [
        b":1\r\n",
        b":2147483647\r\n",
        b":0\r\n",
    ]
    assert (h.line("OBJECT FREQ n") or b"").startswith(
        b"-ERR An LFU maxmemory policy is not selected"
    ) and h.line("OBJECT FREQ none") == b"$-1\r\n"
    assert (h.line("OBJECT HELP") or b"").startswith(b"*") and (
        h.line("OBJECT NOTHING") or b""
    ).startswith(b"-ERR unknown subcommand 'NOTHING'")


def test_databases(h: Harness) -> None:
    h.lines("SET a 1", "SELECT 1", "SET b 2 PX 500")
    assert h.line("SWAPDB 0 1") == b"+OK\r\n" and h.effects == [
        [b"SELECT", b"1"],
        [b"SWAPDB", b"0", b"1"],
    ]
    assert (
        h.lines("EXISTS a", "SELECT 0", "PTTL b", "SWAPDB 0 0")
        == [b":1\r\n", b"+OK\r\n", b":500\r\n", b"+OK\r\n"]
        and h.effects == []
    )
    assert h.lines("SWAPDB x 1", "SWAPDB 1 x", "SWAPDB 0 16", "SELECT 16", "SELECT x") == [
        b"-ERR invalid first DB index\r\n",
        b"-ERR invalid second DB index\r\n",
        b"-ERR DB index is out of range\r\n",
        b"-ERR DB index is out of range\r\n",
        b"-ERR value is not an integer or out of range\r\n",
    ]
    assert h.same()
    h.check_keyspace()


def test_flushing(h: Harness) -> None:
    h.lines("SET a 1", "SELECT 1", "SET b 2 PX 500")
    assert (
        h.line("FLUSHDB SYNC") == b"+OK\r\n"
        and h.effects == [[b"SELECT", b"1"], [b"FLUSHDB"]]
        and h.line("DBSIZE") == b":0\r\n"
    )
    assert h.line("FLUSHDB") == b"+OK\r\n" and h.effects == []
    assert h.line("FLUSHALL ASYNC") == b"+OK\r\n" and h.digest() == bytes(20) and h.same()
    assert (
        h.line("FLUSHALL") == b"+OK\r\n"
        and h.effects == []
        and h.line("FLUSHALL NOW") == b"-ERR syntax error\r\n"
    )


def test_cluster_mode_has_one_database() -> None:
    h = Harness(settings=Settings(cluster_enabled=True))
    h.line("SET a 1")
    assert h.lines(
        "SELECT 1", "MOVE a 1", "SWAPDB 0 1", "COPY a b DB 1", "SELECT 0", "COPY a b"
    ) == [
        b"-ERR SELECT is not allowed in cluster mode\r\n",
        b"-ERR MOVE is not allowed in cluster mode\r\n",
        b"-ERR SWAPDB is not allowed in cluster mode\r\n",
        b"-ERR Copying to another database is not allowed in cluster mode\r\n",
        b"+OK\r\n",
        b":1\r\n",
    ]
