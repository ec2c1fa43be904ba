"""Hashes as clients see them, what is logged of them, and what a reply waits for."""

from __future__ import annotations

import pytest

from memstore.engine.values.hash import Hash
from tests.engine.harness import START_MS, Harness, decode

WRONG = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


def test_fields_come_and_go(h: Harness) -> None:
    assert h.line("HSET h a 1 b 2 a 3") == b":2\r\n" and h.effects == [
        [b"HSET", b"h", b"a", b"1", b"b", b"2", b"a", b"3"]
    ]
    assert (
        h.line("HSET h a 4") == b":0\r\n"
        and h.effects == [[b"HSET", b"h", b"a", b"4"]]
        and h.changed == {(0, b"h")}
    )
    assert h.line("HMSET h c 5") == b"+OK\r\n" and h.effects == [[b"HSET", b"h", b"c", b"5"]]
    assert h.lines("HGET h a", "HGET h none", "HGET none a") == [
        b"$1\r\n4\r\n",
        b"$-1\r\n",
        b"$-1\r\n",
    ]
    assert (
        h.line("HMGET h c none b") == b"*3\r\n$1\r\n5\r\n$-1\r\n$1\r\n2\r\n"
        and h.line("HMGET none a b") == b"*2\r\n$-1\r\n$-1\r\n"
    )
    assert h.lines("HEXISTS h a", "HEXISTS h none", "HEXISTS none a") == [
        b":1\r\n",
        b":0\r\n",
        b":0\r\n",
    ]
    assert h.lines("HLEN h", "HLEN none", "HSTRLEN h a", "HSTRLEN h none", "HSTRLEN none a") == [
        b":3\r\n",
        b":0\r\n",
        b":1\r\n",
        b":0\r\n",
        b":0\r\n",
    ]
    assert h.line("TYPE h") == b"+hash\r\n" and h.same()


def test_a_hash_without_fields_is_no_key(h: Harness) -> None:
    h.lines("HSET h a 1 b 2", "PEXPIRE h 1000")
    assert h.line("HDEL h a none a") == b":1\r\n" and h.effects == [[b"HDEL", b"h", b"a"]]
    assert h.line("HDEL h b") == b":1\r\n" and h.effects == [[b"HDEL", b"h", b"b"]]
    assert h.lines("EXISTS h", "DBSIZE", "TYPE h") == [b":0\r\n", b":0\r\n", b"+none\r\n"]
    h.line("HSET h a 1")
    assert h.line("PTTL h") == b":-1\r\n", "the expiry went with the key"
    assert h.same()
    h.check_keyspace()


def test_what_changes_nothing_logs_nothing_and_so_waits_like_a_read(h: Harness) -> None:
    h.line("HSET h a 1")
    for line, answer in (
        ("HSETNX h a 2", b":0\r\n"),
        ("HDEL h none", b":0\r\n"),
        ("HDEL none a", b":0\r\n"),
    ):
        assert h.line(line) == answer and h.effects == [] and h.changed == set()
    row = h.engine.table[b"HDEL"]
    assert row.keys([b"HDEL", b"h", b"none"]) == [b"h"], "the tracker finds the key it waits for"


def test_the_same_value_again_is_a_change(h: Harness) -> None:
    """As in Redis: WATCH fails."""
    h.line("HSET h a 1")
    assert h.line("HSET h a 1") == b":0\r\n" and h.changed == {(0, b"h")}


def test_an_expired_hash_is_gone_before_it_is_written(h: Harness) -> None:
    h.lines("HSET h a 1 b 2", "PEXPIRE h 10")
    h.wall_ms += 10
    assert h.line("HSET h c 3") == b":1\r\n" and h.effects == [
        [b"DEL", b"h"],
        [b"HSET", b"h", b"c", b"3"],
    ]
    assert h.line("HGETALL h") == b"*2\r\n$1\r\nc\r\n$1\r\n3\r\n" and h.same()
    h.line("PEXPIRE h 10")
    h.wall_ms += 10
    assert h.line("HGET h c") == b"$-1\r\n" and h.effects == [[b"DEL", b"h"]]


COMMANDS = [
    *(
        "HSET s a 1",
        "HSET s a 1 b 2",
        "HMSET s a 1",
        "HSETNX s a 1",
        "HGET s a",
        "HMGET s a",
        "HGETALL s",
        "HDEL s a",
        "HEXISTS s a",
        "HINCRBY s a 1",
    ),
    *(
        "HINCRBYFLOAT s a 1",
        "HKEYS s",
        "HVALS s",
        "HLEN s",
        "HSTRLEN s a",
        "HRANDFIELD s",
        "HRANDFIELD s 2",
        "HSCAN s 0",
    ),
]


@pytest.mark.parametrize("line", COMMANDS)
def test_another_type_is_refused(h: Harness, line: str) -> None:
    h.line("SET s x")
    assert h.line(line) == WRONG and h.effects == []


def test_other_commands_refuse_a_hash(h: Harness) -> None:
    h.line("HSET h a 1")
    for line in (
        "GET h",
        "APPEND h x",
        "INCR h",
        "GETRANGE h 0 1",
        "SETRANGE h 0 x",
        "GETSET h x",
        "GETDEL h",
        "STRLEN h",
    ):
        assert h.line(line) == WRONG and h.effects == []
    assert h.line("MGET h") == b"*1\r\n$-1\r\n"
    assert h.line("SET h x") == b"+OK\r\n" and h.line("TYPE h") == b"+string\r\n" and h.same()


def test_pairs_must_be_whole(h: Harness) -> None:
    assert h.line("HSET h a 1 b") == b"-ERR wrong number of arguments for 'hset' command\r\n"
    assert h.line("hmset h a 1 b") == b"-ERR wrong number of arguments for 'hmset' command\r\n"
    assert h.line("EXISTS h") == b":0\r\n" and h.effects == []


def test_counting(h: Harness) -> None:
    assert h.line("HINCRBY h n 5") == b":5\r\n" and h.effects == [[b"HSET", b"h", b"n", b"5"]]
    assert h.line("HINCRBY h n -7") == b":-2\r\n" and h.effects == [[b"HSET", b"h", b"n", b"-2"]]
    h.line("HSET h big 9223372036854775807 x 01 f 10.50")
    assert (
        h.line("HINCRBY h big 1") == b"-ERR increment or decrement would overflow\r\n"
        and h.effects == []
    )
    assert h.line("HINCRBY h x 1") == b"-ERR hash value is not an integer\r\n"
    assert h.line("HINCRBY h n 1.5") == b"-ERR value is not an integer or out of range\r\n"
    assert h.line("HINCRBYFLOAT h f 0.1") == b"$4\r\n10.6\r\n" and h.effects == [
        [b"HSET", b"h", b"f", b"10.6"]
    ]
    assert h.line("HINCRBYFLOAT h new 2e2") == b"$3\r\n200\r\n"
    h.line("HSET h inf inf word abc")
    assert (
        h.line("HINCRBYFLOAT h word 1") == b"-ERR hash value is not a float\r\n" and h.effects == []
    )
    assert h.line("HINCRBYFLOAT h inf 1") == b"-ERR increment would produce NaN or Infinity\r\n"
    assert h.line("HINCRBYFLOAT h f inf") == b"-ERR value is NaN or Infinity\r\n"
    assert h.line("HINCRBYFLOAT h f x") == b"-ERR value is not a valid float\r\n"
    assert (
        h.line("HINCRBYFLOAT none f x") == b"-ERR value is not a valid float\r\n"
        and h.line("EXISTS none") == b":0\r\n"
        and h.same()
    )


def test_the_whole_hash(h: Harness) -> None:
    h.line("HSET h a 1 b 2")
    assert (
        h.line("HGETALL h") == b"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n"
        and h.line("HGETALL none") == b"*0\r\n"
    )
    assert (
        h.line("HKEYS h") == b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"
        and h.line("HVALS h") == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"
    )
    assert h.lines("HKEYS none", "HVALS none") == [b"*0\r\n", b"*0\r\n"]
    h.session.resp3 = True
    assert (
        h.line("HGETALL h") == b"%2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n"
        and h.line("HGETALL none") == b"%0\r\n"
    )
    assert h.line("HGET h none") == b"_\r\n" and h.line("HMGET h none") == b"*1\r\n_\r\n"


def large(h: Harness, pairs: int) -> None:
    for start in range(0, pairs, 1000):
        h.run(
            b"HSET",
            b"big",
            *[
                part
                for n in range(start, min(pairs, start + 1000))
                for part in (b"field:%d" % n, b"%d" % n)
            ],
        )


def test_fields_by_chance(h: Harness) -> None:
    assert h.lines("HRANDFIELD none", "HRANDFIELD none 5", "HRANDFIELD none -5 WITHVALUES") == [
        b"$-1\r\n",
        b"*0\r\n",
        b"*0\r\n",
    ]
    h.line("HSET small a 1 b 2 c 3")
    large(h, 3000)
    for key, size in (("small", 3), ("big", 3000)):
        drawn = [h.line(f"HRANDFIELD {key}") for _ in range(60)]
        assert len(set(drawn)) > (size > 3) * 40 + 2
        for count in (1, 2, 3, 50, 2000, 5000, -1, -5, -4000):
            answer = decode(h.line(f"HRANDFIELD {key} {count}") or b"")[0]
            assert len(answer) == (min(count, size) if count > 0 else -count)
            assert count < 0 or len(set(answer)) == len(answer)
            flat = decode(h.line(f"HRANDFIELD {key} {count} WITHVALUES") or b"")[0]
            assert len(flat) == 2 * len(answer)
            assert all(
                decode(h.run(b"HGET", key.encode(), field) or b"")[0] == value
                for field, value in zip(flat[::2], flat[1::2], strict=True)
            )
    h.session.resp3 = True
    assert (h.line("HRANDFIELD small 3 WITHVALUES") or b"").startswith(b"*3\r\n*2\r\n$1\r\n")


def test_chance_is_even(h: Harness) -> None:
    """Each field of a table as often as the others, whichever way they are drawn: five times the
    expected deviation would be bad luck indeed.
    """
    large(h, 1000)
    for line, draws in (
        ("HRANDFIELD big 100", 400),
        ("HRANDFIELD big -500", 80),
        ("HRANDFIELD big -2000", 20),
        ("HRANDFIELD big 900", 50),
    ):
        seen: dict[bytes, int] = {}
        for _ in range(draws):
            for field in decode(h.line(line) or b"")[0]:
                seen[field] = seen.get(field, 0) + 1
        mean = sum(seen.values()) / 1000
        assert len(seen) == 1000 and all(
            abs(times - mean) < 6 * mean**0.5 for times in seen.values()
        ), line


def test_chance_is_asked_within_bounds(h: Harness) -> None:
    h.line("HSET h a 1")
    for line in ("HRANDFIELD h 4611686018427387904 WITHVALUES", "HRANDFIELD h -99999999"):
        assert h.line(line) == b"-ERR value is out of range\r\n"
    assert (h.line("HRANDFIELD h -9223372036854775808") or b"").startswith(
        b"-ERR value is out of range, value must between"
    )
    assert (
        h.line("HRANDFIELD h 1 WITHVALUES x")
        == b"-ERR syntax error\r\n"
        == h.line("HRANDFIELD none 1 bad")
    )


def test_walking(h: Harness) -> None:
    h.line("HSET small a 1 b 2 ab 3")
    assert (
        h.line("HSCAN small 0 COUNT 1")
        == b"*2\r\n$1\r\n0\r\n"
        + b"*6\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n$2\r\nab\r\n$1\r\n3\r\n"
    )
    assert h.line("HSCAN small 0 MATCH a?") == b"*2\r\n$1\r\n0\r\n*2\r\n$2\r\nab\r\n$1\r\n3\r\n"
    assert h.line("HSCAN none 0 BAD") == b"*2\r\n$1\r\n0\r\n*0\r\n"
    large(h, 5000)
    cursor, found, calls = b"0", dict[bytes, bytes](), 0
    while cursor != b"0" or not calls:
        cursor, flat = decode(h.run(b"HSCAN", b"big", cursor, b"COUNT", b"100") or b"")[0]
        assert isinstance(cursor, bytes)
        found.update(zip(flat[::2], flat[1::2], strict=True))
        calls += 1
    assert found == {b"field:%d" % n: b"%d" % n for n in range(5000)} and calls > 10
    errors = {
        "HSCAN small x": b"-ERR invalid cursor\r\n",
        "HSCAN small 0 COUNT 0": b"-ERR syntax error\r\n",
        "HSCAN small 0 COUNT x": b"-ERR value is not an integer or out of range\r\n",
        "HSCAN small 0 MATCH": b"-ERR syntax error\r\n",
        "HSCAN small 0 TYPE hash": b"-ERR syntax error\r\n",
    }
    for line, error in errors.items():
        assert h.line(line) == error


def test_the_encoding_told(h: Harness) -> None:
    h.line("HSET h a 1")
    assert h.line("OBJECT ENCODING h") == b"$8\r\nlistpack\r\n"
    h.line("HSET h a " + "x" * 65)
    assert h.line("OBJECT ENCODING h") == b"$9\r\nhashtable\r\n"
    h.line("HSET h a 1")
    assert h.line("OBJECT ENCODING h") == b"$9\r\nhashtable\r\n", "never back"
    large(h, 512)
    assert h.line("OBJECT ENCODING big") == b"$8\r\nlistpack\r\n"
    h.line("HSETNX big more 1")
    assert h.line("OBJECT ENCODING big") == b"$9\r\nhashtable\r\n"
    h.engine.settings.hash_max_listpack_entries = 0
    h.line("HINCRBY n x 1")
    assert h.line("OBJECT ENCODING n") == b"$9\r\nhashtable\r\n"
    h.line("COPY big copy")
    assert h.line("OBJECT ENCODING copy") == b"$9\r\nhashtable\r\n" and h.same()


def test_a_hash_grows_large_and_small_again(h: Harness) -> None:
    large(h, 20_000)
    assert h.line("HLEN big") == b":20000\r\n" and h.same()
    for n in range(0, 20_000, 500):
        h.run(b"HDEL", b"big", *[b"field:%d" % m for m in range(n, n + 500)])
        assert h.run(b"EXISTS", b"big") == (b":1\r\n" if n + 500 < 20_000 else b":0\r\n")
    assert h.same()


def test_long_arguments_are_logged_whole(h: Harness) -> None:
    for key, field, value in (
        (b"k" * 2000, b"f", b"v"),
        (b"k", b"f" * 2000, b"v"),
        (b"k", b"f", b"v" * 2000),
    ):
        assert h.run(b"HSET", key, field, value) == b":1\r\n" and h.effects == [
            [b"HSET", key, field, value]
        ]
    assert h.same()


def test_a_hash_of_another_database(h: Harness) -> None:
    h.lines("SELECT 3", "HSET h a 1")
    assert (
        h.effects == [[b"SELECT", b"3"], [b"HSET", b"h", b"a", b"1"]]
        and h.changed == {(3, b"h")}
        and h.same()
    )


def test_a_copy_goes_its_own_way(h: Harness) -> None:
    h.lines(
        "HSET h a 1 expires 1", "COPY h copy", "HSET copy a 2", f"PEXPIREAT h {START_MS + 5000}"
    )
    assert h.lines("HGET h a", "HGET copy a") == [b"$1\r\n1\r\n", b"$1\r\n2\r\n"]
    one, two = h.engine.keyspace.database(0).get(b"h"), h.engine.keyspace.database(0).get(b"copy")
    assert type(one) is type(two) is Hash and one is not two and h.same()
