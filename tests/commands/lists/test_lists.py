"""List commands, a few lines each: the reply, what is logged, what is left."""

from __future__ import annotations

import pytest

from memstore.engine.values.quicklist import SMALL_BYTES, List
from tests.engine.harness import START_MS, Harness
from tests.replication.test_shard import Node

WRONGTYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


def all_of(h: Harness, key: bytes = b"l") -> list[bytes]:
    value = h.engine.keyspace.database(h.session.db).get(key)
    return value.items() if isinstance(value, List) else []


def test_pushes_are_logged_as_they_came(h: Harness) -> None:
    assert (
        h.line("LPUSH l a") == b":1\r\n"
        and h.effects == [[b"LPUSH", b"l", b"a"]]
        and h.changed == {(0, b"l")}
    )
    assert h.line("rpush l b c") == b":3\r\n" and h.effects == [[b"RPUSH", b"l", b"b", b"c"]]
    assert h.line("LPUSH l x y") == b":5\r\n" and all_of(h) == [b"y", b"x", b"a", b"b", b"c"]
    assert h.line("LPUSHX l z") == b":6\r\n" and h.effects == [[b"LPUSH", b"l", b"z"]]
    assert h.line("RPUSHX l z z") == b":8\r\n" and h.effects == [[b"RPUSH", b"l", b"z", b"z"]]
    assert (
        h.line("LPUSHX none z") == b":0\r\n"
        and h.effects == []
        and h.line("EXISTS none") == b":0\r\n"
    )
    assert h.same()


@pytest.mark.parametrize("length", [0, 1, 1014, 1015, 1016, 1023, 1024, 5000])
@pytest.mark.parametrize("name", [b"LPUSH", b"RPUSH"])
def test_elements_and_keys_of_any_length(h: Harness, name: bytes, length: int) -> None:
    key, item = b"{" + b"k" * length, b"\r\n" * (length // 2) + b"x" * (length % 2)
    for count in (1, 2, 3):
        assert h.run(name, key, item) == b":%d\r\n" % count
    assert all_of(h, key) == [item] * 3 and h.same()
    assert h.run(b"RPOP", key) == b"$%d\r\n%b\r\n" % (length, item) == h.run(b"LPOP", key)
    assert h.run(b"LLEN", key) == b":1\r\n" and h.same()


def test_a_list_in_another_database_selects_it_in_the_log(h: Harness) -> None:
    h.lines("SELECT 3", "RPUSH l a b c")
    assert h.effects == [[b"SELECT", b"3"], [b"RPUSH", b"l", b"a", b"b", b"c"]] and h.changed == {
        (3, b"l")
    }
    h.line("RPUSH l d")
    assert h.effects == [[b"SELECT", b"3"], [b"RPUSH", b"l", b"d"]] and h.changed == {(3, b"l")}
    h.line("LPOP l")
    assert (
        h.effects == [[b"SELECT", b"3"], [b"LPOP", b"l"]] and h.changed == {(3, b"l")} and h.same()
    )


def test_the_last_pop_takes_the_key_and_its_expiry_away(h: Harness) -> None:
    for pop in (
        "LPOP l",
        "RPOP l",
        "LPOP l 2",
        "RPOP l 1",
        "LMPOP 1 l LEFT",
        "LREM l 0 a",
        "LTRIM l 1 0",
        "LMOVE l m LEFT LEFT",
        "RPOPLPUSH l m",
    ):
        h.lines("RPUSH l a", "EXPIRE l 100", pop)
        assert len(h.effects) == 1
        assert h.lines("EXISTS l", "TTL l") == [b":0\r\n", b":-2\r\n"], pop
        assert h.same()
        h.check_keyspace()


def test_pops_say_how_many_they_took(h: Harness) -> None:
    h.line("RPUSH l a b c d e f")
    assert h.line("LPOP l") == b"$1\r\na\r\n" and h.effects == [[b"LPOP", b"l"]]
    assert h.line("RPOP l 2") == b"*2\r\n$1\r\nf\r\n$1\r\ne\r\n" and h.effects == [
        [b"RPOP", b"l", b"2"]
    ]
    assert h.line("LPOP l 0") == b"*0\r\n" and h.effects == []
    assert h.line("LPOP l 100") == b"*3\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n" and h.effects == [
        [b"LPOP", b"l", b"3"]
    ]
    assert (
        h.lines("LPOP l", "LPOP l 1", "LPOP l 0") == [b"$-1\r\n", b"*-1\r\n", b"*-1\r\n"]
        and h.same()
    )
    h.session.resp3 = True
    assert h.lines("RPOP l", "RPOP l 1", "LMPOP 1 l LEFT", "LPOS l a", "LPOS l a COUNT 1") == [
        b"_\r\n"
    ] * 4 + [b"*0\r\n"]


def test_moves(h: Harness) -> None:
    h.line("RPUSH l a b c")
    assert h.line("LMOVE l m left RIGHT") == b"$1\r\na\r\n"
    assert h.effects == [[b"LMOVE", b"l", b"m", b"LEFT", b"RIGHT"]] and h.changed == {
        (0, b"l"),
        (0, b"m"),
    }
    assert h.line("RPOPLPUSH l m") == b"$1\r\nc\r\n" and h.effects == [
        [b"LMOVE", b"l", b"m", b"RIGHT", b"LEFT"]
    ]
    assert all_of(h) == [b"b"] and all_of(h, b"m") == [b"c", b"a"]
    assert h.line("LMOVE m m LEFT RIGHT") == b"$1\r\nc\r\n" and all_of(h, b"m") == [b"a", b"c"]
    h.line("EXPIRE l 100")
    assert h.line("LMOVE l l LEFT LEFT") == b"$1\r\nb\r\n" and h.line("TTL l") == b":100\r\n", (
        "a list is never empty in between"
    )
    assert h.line("LMOVE none l LEFT LEFT") == b"$-1\r\n" and h.effects == []
    h.line("SET s text")
    assert h.line("LMOVE l s LEFT LEFT") == WRONGTYPE and h.effects == [] and all_of(h) == [b"b"]
    assert h.line("LMOVE none s LEFT LEFT") == b"$-1\r\n" and h.same()


def test_lmpop_takes_from_the_first_list_that_is_there(h: Harness) -> None:
    h.lines("RPUSH l a b c", "RPUSH m x")
    assert (
        h.line("LMPOP 3 none l m RIGHT COUNT 2") == b"*2\r\n$1\r\nl\r\n*2\r\n$1\r\nc\r\n$1\r\nb\r\n"
    )
    assert h.effects == [[b"RPOP", b"l", b"2"]] and h.changed == {(0, b"l")}
    assert h.line("LMPOP 2 none nothing LEFT") == b"*-1\r\n" and h.effects == []
    h.line("SET s text")
    assert (
        h.line("LMPOP 2 s l LEFT") == WRONGTYPE
        and h.line("LMPOP 2 l s LEFT") == b"*2\r\n$1\r\nl\r\n*1\r\n$1\r\na\r\n"
        and h.same()
    )


def test_changes_inside(h: Harness) -> None:
    h.line("RPUSH l a b c b a")
    assert h.line("LINSERT l before b x") == b":6\r\n" and h.effects == [
        [b"LINSERT", b"l", b"BEFORE", b"b", b"x"]
    ]
    assert h.line("LINSERT l AFTER none x") == b":-1\r\n" and h.effects == []
    assert h.line("LSET l -1 z") == b"+OK\r\n" and h.effects == [[b"LSET", b"l", b"-1", b"z"]]
    assert h.line("LREM l -1 b") == b":1\r\n" and h.effects == [[b"LREM", b"l", b"-1", b"b"]]
    assert (
        h.line("LREM l 0 none") == b":0\r\n"
        and h.effects == []
        and all_of(h) == [b"a", b"x", b"b", b"c", b"z"]
    )
    assert h.line("LTRIM l 0 -1") == b"+OK\r\n" and h.effects == []
    assert (
        h.line("LTRIM l 1 -2") == b"+OK\r\n"
        and h.effects == [[b"LTRIM", b"l", b"1", b"-2"]]
        and all_of(h) == [b"x", b"b", b"c"]
    )
    assert (
        h.line("LTRIM l 5 10") == b"+OK\r\n"
        and h.effects == [[b"LTRIM", b"l", b"5", b"10"]]
        and h.line("EXISTS l") == b":0\r\n"
        and h.same()
    )


def test_looking(h: Harness) -> None:
    h.line("RPUSH l a b c b a")
    assert h.lines("LLEN l", "LLEN none", "LINDEX l -2", "LINDEX l 5", "LINDEX none x") == [
        b":5\r\n",
        b":0\r\n",
        b"$1\r\nb\r\n",
        b"$-1\r\n",
        b"$-1\r\n",
    ]
    assert h.lines("LRANGE l 3 100", "LRANGE l -100 0", "LRANGE l 3 2") == [
        b"*2\r\n$1\r\nb\r\n$1\r\na\r\n",
        b"*1\r\n$1\r\na\r\n",
        b"*0\r\n",
    ]
    assert h.lines("LPOS l b", "LPOS l b RANK -1", "LPOS l b RANK 3", "LPOS l b COUNT 0") == [
        b":1\r\n",
        b":3\r\n",
        b"$-1\r\n",
        b"*2\r\n:1\r\n:3\r\n",
    ]
    assert h.lines("LPOS l a RANK -1 MAXLEN 1 COUNT 0", "LPOS l b MAXLEN 1") == [
        b"*1\r\n:4\r\n",
        b"$-1\r\n",
    ]
    assert h.lines("TYPE l", "OBJECT ENCODING l") == [b"+list\r\n", b"$9\r\nquicklist\r\n"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("LPOP l -1", "ERR value is out of range, must be positive"),
        ("LPOP l x", "ERR value is out of range, must be positive"),
        ("RPOP l 1 2", "ERR wrong number of arguments for 'rpop' command"),
        ("LSET none x y", "ERR no such key"),
        ("LSET l 7 y", "ERR index out of range"),
        ("LSET l x y", "ERR value is not an integer or out of range"),
        ("LINDEX l x", "ERR value is not an integer or out of range"),
        ("LRANGE none 0 x", "ERR value is not an integer or out of range"),
        ("LTRIM none x 0", "ERR value is not an integer or out of range"),
        ("LREM none x y", "ERR value is not an integer or out of range"),
        ("LINSERT none beside x y", "ERR syntax error"),
        ("LMOVE none none LEFT up", "ERR syntax error"),
        ("LMPOP 0 l LEFT", "ERR numkeys should be greater than 0"),
        ("LMPOP 2 l LEFT", "ERR syntax error"),
        ("LMPOP 1 l LEFT COUNT 0", "ERR count should be greater than 0"),
        ("LMPOP 1 l LEFT COUNT 1 COUNT 1", "ERR syntax error"),
        ("LPOS l a COUNT -1", "ERR COUNT can't be negative"),
        ("LPOS l a MAXLEN x", "ERR MAXLEN can't be negative"),
        ("LPOS l a RANK", "ERR syntax error"),
    ],
)
def test_errors_change_nothing(h: Harness, line: str, error: str) -> None:
    h.line("RPUSH l a b")
    before = h.digest()
    assert h.line(line) == b"-%b\r\n" % error.encode() and h.effects == [] and h.digest() == before


@pytest.mark.parametrize(
    "line",
    [
        "LPUSH s a",
        "RPUSHX s a b",
        "LPOP s",
        "RPOP s 1",
        "LLEN s",
        "LINDEX s 0",
        "LRANGE s 0 1",
        "LSET s 0 a",
        "LINSERT s AFTER a b",
        "LREM s 0 a",
        "LTRIM s 0 1",
        "LPOS s a",
        "LMOVE s l LEFT LEFT",
        "RPOPLPUSH l s",
        "LMPOP 1 s LEFT",
    ],
)
def test_another_type_is_refused(h: Harness, line: str) -> None:
    h.lines("SET s text", "RPUSH l a")
    assert h.line(line) == WRONGTYPE and h.effects == [] and all_of(h) == [b"a"]
    assert h.lines("GET l", "APPEND l x", "INCR l") == [WRONGTYPE] * 3


def test_a_list_that_has_expired_is_gone(h: Harness) -> None:
    for line in ("LPUSH l new", "RPUSH l new"):
        h.lines("DEL l", "RPUSH l a b", "PEXPIRE l 10")
        h.wall_ms += 20
        assert h.line(line) == b":1\r\n" and h.effects == [
            [b"DEL", b"l"],
            [line[:5].encode(), b"l", b"new"],
        ]
        assert h.line("TTL l") == b":-1\r\n" and h.same()
    h.line(f"PEXPIREAT l {START_MS + 1}")
    assert h.line("LPOP l") == b"$-1\r\n"


def test_copies_are_apart(h: Harness) -> None:
    for count in (3, 2000):
        h.run(b"DEL", b"l", b"m")
        h.run(b"RPUSH", b"l", *[b"%d" % n for n in range(count)])
        h.lines("COPY l m", "LPUSH m first", "LSET m 2 x", "LREM m 0 0", "RPOP l", "LSET l 0 y")
        assert all_of(h) == [b"y", *[b"%d" % n for n in range(1, count - 1)]]
        assert (
            all_of(h, b"m") == [b"first", b"x", *[b"%d" % n for n in range(2, count)]] and h.same()
        )


def test_the_digest_does_not_tell_how_a_list_came_to_be() -> None:
    digests = []
    items = [b"element:%d" % n for n in range(500)]
    for way in range(3):
        h = Harness()
        if way == 0:
            h.run(b"RPUSH", b"l", *items)
        elif way == 1:
            for item in reversed(items):
                h.run(b"LPUSH", b"l", item)
        else:
            h.run(b"RPUSH", b"l", *items[200:], b"z" * SMALL_BYTES)
            h.run(b"LPUSH", b"l", *items[199::-1])
            h.lines("LPUSH l x", "LPOP l", "RPOP l", "LSET l 300 y", "LSET l 300 element:300")
        assert all_of(h) == items and h.same()
        digests.append(h.digest())
    assert len(set(digests)) == 1


@pytest.mark.parametrize(
    ("before", "write", "read"),
    [
        ("", "RPUSH l a", "LLEN l"),
        ("", "RPUSH l a", "LRANGE l 0 -1"),
        ("RPUSH l a", "LPOP l", "LPOP l"),  # nothing there: absence is data
        ("RPUSH l a", "LPOP l", "LPUSHX l b"),  # writes that changed nothing are reads
        ("RPUSH l a", "LSET l 0 b", "LREM l 0 none"),
        ("RPUSH l a", "LSET l 0 b", "LTRIM l 0 -1"),
        ("RPUSH l a", "LSET l 0 b", "LINSERT l AFTER none x"),
        ("RPUSH l a", "LPOP l", "LMPOP 2 none l LEFT"),
        ("RPUSH l a", "LPOP l", "RPOPLPUSH l m"),
        ("", "SET l text", "LPUSH l a"),  # WRONGTYPE reveals state
        ("RPUSH s a", "SET l text", "LMOVE s l LEFT LEFT"),
        ("RPUSH l a", "LMOVE l m LEFT LEFT", "LLEN m"),  # both lists of a move have changed
        ("RPUSH l a b", "LMOVE l m LEFT LEFT", "LINDEX l 0"),
    ],
)
def test_what_saw_an_uncommitted_change_waits_for_it(before: str, write: str, read: str) -> None:
    node = Node()
    writer, reader = node.session(), node.session()
    if before:
        node.do(writer, before)
        node.commit()
    assert node.do(writer, write) == b""
    assert node.do(reader, read) == b"", "shown before its commit"
    assert node.do(node.session(), "LLEN elsewhere") == b":0\r\n"
    assert node.commit()[reader.id]
