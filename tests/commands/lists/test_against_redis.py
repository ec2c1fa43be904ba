"""The same random list commands at a real redis-server and at the engine: the same replies, byte
for byte, and the same lists at the end.

MEMSTORE_AGAINST_REDIS sets the number of sequences a test tries (default 40).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memstore.engine.values import list_nodes, quicklist
from tests.commands.arguments import (
    KEYS,
    Command,
    command,
    generic,
    key,
    number,
    transactions,
    with_tail,
    words,
)
from tests.commands.realredis import RawClient, real_redis
from tests.commands.test_against_redis import DATABASES, compare_by, flag_names, parse, relaxed
from tests.engine.harness import Harness

pytestmark = pytest.mark.redis

# Few values, so that they are found again; some look like what packed elements are made of.
value = st.one_of(
    st.sampled_from(
        [
            b"a",
            b"b",
            b"c",
            b"",
            b"1",
            b"12",
            b"007",
            b"$1\r\na\r\n",
            b"$",
            b"\r\n$1\r\na",
            b"\n",
            b"\x00\xff",
        ]
    ),
    st.sampled_from([b"x" * 50, b"y" * 300, b"z" * 1100]),
    st.integers(0, 9).map(lambda n: b"value:%d" % n),
    st.integers(0, 30).map(lambda n: b"%d" % (n * n)),
)
many = st.one_of(
    st.lists(value, min_size=1, max_size=5),
    st.integers(20, 200).map(lambda n: [b"value:%d" % (at % 10) for at in range(n)]),
    st.integers(20, 200).map(lambda n: [b"%d" % (at * at) for at in range(n)]),
).map(tuple)
index = st.one_of(
    st.integers(-12, 12).map(lambda n: b"%d" % n),
    st.integers(-400, 400).map(lambda n: b"%d" % n),
    st.sampled_from(
        [
            b"0",
            b"-1",
            b"x",
            b"",
            b"1.5",
            b"-9223372036854775808",
            b"9223372036854775807",
            b"9223372036854775808",
        ]
    ),
)
count = st.sampled_from(
    [
        b"0",
        b"1",
        b"2",
        b"5",
        b"100",
        b"-1",
        b"-2",
        b"-100",
        b"x",
        b"",
        b"9223372036854775807",
        b"9223372036854775808",
        b"-9223372036854775808",
    ]
)
side = st.sampled_from([b"LEFT", b"RIGHT", b"left", b"Right", b"bad"])
keys = st.lists(key, min_size=1, max_size=3).map(lambda found: (b"%d" % len(found), *found))
odd_keys = st.tuples(st.one_of(number, st.just(b"2")), st.lists(key, max_size=2)).map(
    lambda drawn: (drawn[0], *drawn[1])
)


def pushes(name: bytes) -> st.SearchStrategy[Command]:
    return st.tuples(st.sampled_from([name, name.lower()]), key, many).map(
        lambda drawn: (drawn[0], drawn[1], *drawn[2])
    )


def flat(*parts: st.SearchStrategy[Command]) -> st.SearchStrategy[Command]:
    return st.tuples(*parts).map(lambda drawn: tuple(arg for part in drawn for arg in part))


LISTS: list[st.SearchStrategy[Command]] = [
    pushes(b"LPUSH"),
    pushes(b"RPUSH"),
    pushes(b"RPUSH"),
    pushes(b"LPUSHX"),
    pushes(b"RPUSHX"),
    with_tail(command(b"LPOP", key), st.tuples(count), 2),
    with_tail(command(b"RPOP", key), st.tuples(count), 2),
    command(b"LLEN", key),
    command(b"LINDEX", key, index),
    command(b"LRANGE", key, index, index),
    command(b"LRANGE", key, st.just(b"0"), st.just(b"-1")),
    command(b"LSET", key, index, value),
    command(
        b"LINSERT",
        key,
        st.sampled_from([b"BEFORE", b"AFTER", b"before", b"After", b"bad"]),
        value,
        value,
    ),
    command(b"LREM", key, count, value),
    command(b"LTRIM", key, index, index),
    command(
        b"LTRIM",
        key,
        st.integers(0, 5).map(lambda n: b"%d" % n),
        st.integers(-5, -1).map(lambda n: b"%d" % n),
    ),
    command(b"LMOVE", key, key, side, side),
    command(b"RPOPLPUSH", key, key),
    flat(words(b"LMPOP"), st.one_of(keys, keys, odd_keys), st.tuples(side)),
    flat(
        words(b"LMPOP"),
        keys,
        st.tuples(side),
        st.lists(st.one_of(words(b"COUNT", b"bad"), st.tuples(count)), max_size=4).map(
            lambda drawn: sum(drawn, ())
        ),
    ),
    flat(words(b"LMPOP"), keys, st.tuples(st.just(b"LEFT")), words(b"COUNT"), st.tuples(count)),
    with_tail(
        command(b"LPOS", key, value),
        st.one_of(
            st.tuples(st.sampled_from([b"RANK", b"rank"]), count),
            st.tuples(st.just(b"COUNT"), count),
            st.tuples(st.sampled_from([b"MAXLEN", b"Maxlen"]), count),
            words(b"RANK", b"COUNT", b"bad"),
        ),
    ),
    with_tail(
        command(b"LPOS", key, value),
        st.tuples(
            st.sampled_from([b"RANK", b"COUNT", b"MAXLEN"]),
            st.integers(-3, 60).map(lambda n: b"%d" % n),
        ),
    ),
    command(b"LPOS", key, value),
    command(b"OBJECT", st.just(b"ENCODING"), key),
    st.sampled_from(
        [
            (b"LPUSH", b"a"),
            (b"LPOP",),
            (b"LRANGE", b"a", b"0"),
            (b"LMPOP", b"1", b"a"),
            (b"LMOVE", b"a", b"b", b"LEFT"),
            (b"LINSERT", b"a"),
        ]
    ),
]
lists = st.one_of(LISTS)
others = st.one_of(
    command(b"SET", key, value),
    command(b"GET", key),
    command(b"DEL", key),
    command(b"INCR", key),
    command(b"TYPE", key),
    command(b"STRLEN", key),
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with real_redis(folder) as found:
        yield found


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of a few elements, so that short sequences cross every border."""
    monkeypatch.setattr(quicklist, "SMALL_BYTES", 60)
    monkeypatch.setattr(quicklist, "OPEN_ITEMS", 4)
    monkeypatch.setattr(list_nodes, "OPEN_ITEMS", 4)
    monkeypatch.setattr(list_nodes, "KEPT_ITEMS", 2)
    monkeypatch.setattr(list_nodes, "NODE_ITEMS", 6)


def dump(run: RawClient | Harness) -> list[object]:
    found: list[object] = []
    for db in DATABASES:
        run.run(b"SELECT", b"%d" % db)
        for name in KEYS:
            found.append(
                (
                    db,
                    name,
                    run.run(b"TYPE", name),
                    run.run(b"GET", name),
                    run.run(b"LRANGE", name, b"0", b"-1"),
                )
            )
        found.append(run.run(b"DBSIZE"))
    return found


def compare(port: int, sequence: list[Command], resp3: bool) -> None:
    compare_by(dump, port, sequence, resp3)


@relaxed
@given(
    st.lists(st.one_of(lists, lists, lists, lists, others), min_size=20, max_size=80), st.booleans()
)
@example(
    [(b"RPUSH", b"a", b"x", b"y", b"x"), (b"LPOS", b"a", b"x", b"RANK", b"-9223372036854775808")],
    False,
)
@example(
    [
        (b"RPUSH", b"a", b"$1\r\na\r\n", b"a"),
        (b"RPOP", b"a"),
        (b"LREM", b"a", b"0", b"a"),
        (b"RPOP", b"a"),
        (b"RPOP", b"a"),
    ],
    False,
)
def test_lists(port: int, sequence: list[Command], resp3: bool) -> None:
    compare(port, sequence, resp3)


@relaxed
@given(
    st.lists(st.one_of(lists, lists, lists, lists, others), min_size=20, max_size=80), st.booleans()
)
def test_lists_of_tiny_nodes(port: int, tiny: None, sequence: list[Command], resp3: bool) -> None:
    compare(port, sequence, resp3)


@relaxed
@given(
    st.lists(st.one_of(lists, lists, lists, generic, transactions), min_size=20, max_size=80),
    st.booleans(),
)
def test_lists_among_keys_of_all_kinds(port: int, sequence: list[Command], resp3: bool) -> None:
    compare(port, sequence, resp3)


@pytest.mark.parametrize("name", [b"LPUSH", b"RPUSH"])
def test_one_key_list_with_everything(port: int, name: bytes) -> None:
    """Every read at every place of a list that has nodes of all kinds."""
    elements = (
        [b"%d" % n for n in range(500)]
        + [b"y" * 300] * 150
        + [b"value:%d" % (n % 10) for n in range(300)]
    )
    sequence: list[Command] = [(name, b"a", element) for element in elements]
    sequence += [(b"LINDEX", b"a", b"%d" % n) for n in range(-960, 960, 7)]
    sequence += [(b"LRANGE", b"a", b"%d" % n, b"%d" % (n + n % 400)) for n in range(0, 960, 13)]
    sequence += [(b"LSET", b"a", b"%d" % n, b"new") for n in range(0, 950, 37)]
    sequence += [
        (b"LPOS", b"a", b"new", b"RANK", b"%d" % rank, b"COUNT", b"0") for rank in (1, 5, -1, -7)
    ]
    sequence += [
        (b"LINSERT", b"a", b"AFTER", b"new", b"newer"),
        (b"LREM", b"a", b"-9", b"new"),
        (b"LREM", b"a", b"3", b"y" * 300),
    ]
    compare(port, sequence, False)


def test_table_rows_say_what_redis_says(port: int) -> None:
    client, h = RawClient(port), Harness()
    rows = [row for row in h.engine.table.values() if row.handler.__module__.endswith(".lists")]
    assert len(rows) == 17
    for row in rows:
        theirs = parse(client.run(b"COMMAND", b"INFO", row.name))
        assert isinstance(theirs, list) and theirs[0] is not None, row.name
        info = theirs[0]
        assert (info[1], tuple(info[3:6])) == (row.arity, (row.first, row.last, row.step)), row.name
        assert {flag.decode() for flag in info[2]} == flag_names(row.flags), row.name
    client.close()


@pytest.mark.parametrize(
    "line",
    [
        "LMPOP 2 a b LEFT",
        "LMPOP 5 a b LEFT",
        "LMPOP x a b LEFT",
        "LMOVE a b LEFT LEFT",
        "RPOPLPUSH a b",
        "LPOS a x",
        "LMPOP 1 a LEFT",
    ],
)
def test_keys_that_a_line_names(port: int, line: str) -> None:
    client, h = RawClient(port), Harness()
    argv = [part.encode() for part in line.split()]
    assert h.run(b"COMMAND", b"GETKEYS", *argv) == client.run(b"COMMAND", b"GETKEYS", *argv)
    client.close()
