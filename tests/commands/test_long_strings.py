"""Strings beyond 64 KiB: changed in place, and in everything else as any other string."""

from __future__ import annotations

import sys
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.commands import build_table
from memstore.engine.digest import digest
from memstore.engine.engine import Engine
from memstore.engine.settings import Settings
from memstore.engine.state_digest import Walk
from memstore.engine.values.longstring import LONG, LongString
from memstore.engine.values.value_types import typed
from tests.engine.harness import Harness

MIB = 1 << 20


def value(h: Harness, key: bytes) -> object:
    return h.engine.keyspace.database(0).get(key)


def long(h: Harness, key: bytes = b"k", size: int = 100_000) -> bytes:
    """A long string that has been changed in place; its content."""
    text = bytes(range(250)) * (size // 250)
    h.run(b"SET", key, text[:-1])
    h.run(b"APPEND", key, text[-1:])
    assert type(value(h, key)) is LongString
    return text


def test_short_strings_and_strings_set_as_a_whole_stay_bytes() -> None:
    h = Harness()
    h.run(b"SET", b"whole", b"x" * MIB)
    h.run(b"SET", b"k", b"x" * (LONG - 1))
    h.run(b"APPEND", b"k", b"y")
    assert type(value(h, b"whole")) is type(value(h, b"k")) is bytes
    h.run(b"APPEND", b"k", b"y")
    assert type(value(h, b"k")) is LongString
    h.run(b"SETRANGE", b"far", b"%d" % LONG, b"y")
    assert type(value(h, b"far")) is LongString
    h.run(b"SET", b"k", b"short")
    assert type(value(h, b"k")) is bytes


@pytest.mark.parametrize("apply", [False, True])
def test_fifty_megabytes_are_not_copied_for_each_append(apply: bool) -> None:
    h = Harness()
    h.run(b"SET", b"k", b"x" * (50 * MIB))
    h.run(b"APPEND", b"k", b"y")
    engine = h.mirror if apply else h.engine
    value = engine.keyspace.database(0).get(b"k")
    start = time.process_time()
    if apply:
        engine.apply(
            b"*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$1\r\ny\r\n" * 2000
            + b"*4\r\n$8\r\nSETRANGE\r\n$1\r\nk\r\n$1\r\n5\r\n$1\r\nz\r\n" * 2000,
            0,
        )
    else:
        for _ in range(2000):
            assert h.run(b"APPEND", b"k", b"y") is not None and h.effects == [
                [b"APPEND", b"k", b"y"]
            ]
            h.run(b"SETRANGE", b"k", b"5", b"z")
            h.run(b"GETRANGE", b"k", b"-3", b"-1")
            h.run(b"STRLEN", b"k")
    assert time.process_time() - start < 5  # a copy each would take minutes
    assert engine.keyspace.database(0).get(b"k") is value and len(value) == 50 * MIB + 2001
    assert sys.getsizeof(value.data) < 50 * MIB * 1.2


def test_every_command_reads_it_as_a_string() -> None:
    h = Harness()
    text = long(h)
    bulk = b"$%d\r\n%b\r\n" % (len(text), text)
    assert h.run(b"GET", b"k") == bulk
    assert h.run(b"MGET", b"k", b"none") == b"*2\r\n" + bulk + b"$-1\r\n"
    assert h.run(b"STRLEN", b"k") == b":%d\r\n" % len(text)
    assert (
        h.run(b"TYPE", b"k") == b"+string\r\n"
        and h.run(b"OBJECT", b"ENCODING", b"k") == b"$3\r\nraw\r\n"
    )
    assert h.run(b"OBJECT", b"REFCOUNT", b"k") == b":1\r\n"
    assert h.run(b"GETEX", b"k", b"PERSIST") == bulk
    assert h.run(b"SCAN", b"0", b"TYPE", b"string") == b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n"
    assert h.run(b"INCR", b"k") == b"-ERR value is not an integer or out of range\r\n"
    assert h.run(b"INCRBYFLOAT", b"k", b"1") == b"-ERR value is not a valid float\r\n"
    wrong = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
    for call in (
        (b"LPUSH", b"k", b"x"),
        (b"SADD", b"k", b"x"),
        (b"HGET", b"k", b"x"),
        (b"ZADD", b"k", b"1", b"x"),
        (b"LLEN", b"k"),
        (b"SORT", b"k"),
    ):
        assert h.run(*call) == wrong, call
    memory = h.run(b"MEMORY", b"USAGE", b"k")
    assert memory is not None and len(text) <= int(memory[1:]) <= len(text) * 1.2
    h.run(b"SET", b"one", b"\x01")
    assert h.run(b"LCS", b"k", b"one", b"LEN") == b":1\r\n"
    h.run(b"RPUSH", b"list", b"k")
    assert h.run(b"SORT", b"list", b"BY", b"nosort", b"GET", b"*") == b"*1\r\n" + bulk
    assert h.run(b"DEBUG", b"OBJECT", b"k").startswith(
        b"+Value at:0x0 refcount:1 encoding:raw serializedlength:%d " % len(text)
    )  # type: ignore[union-attr]
    assert h.run(b"GETSET", b"k", b"x") == bulk
    assert long(h) == text and h.run(b"SET", b"k", b"y", b"GET") == bulk
    assert (
        long(h) == text and h.run(b"GETDEL", b"k") == bulk and h.run(b"EXISTS", b"k") == b":0\r\n"
    )


def test_a_copy_shares_nothing_with_it() -> None:
    h = Harness()
    text = long(h)
    h.run(b"COPY", b"k", b"copy")
    h.run(b"RENAME", b"k", b"other")
    h.run(b"APPEND", b"copy", b"!")
    h.run(b"SETRANGE", b"other", b"0", b"?")
    assert h.run(b"GET", b"copy") == b"$%d\r\n%b!\r\n" % (len(text) + 1, text)
    assert h.run(b"GETRANGE", b"other", b"0", b"0") == b"$1\r\n?\r\n" and h.run(
        b"STRLEN", b"other"
    ) == b":%d\r\n" % len(text)


def test_the_limit_counts_for_it_too_and_changes_nothing() -> None:
    h = Harness(settings=Settings(proto_max_bulk_len=1 << 20))
    text = long(h)
    too_long = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
    assert (
        h.run(b"APPEND", b"k", b"x" * (1 << 20))
        == h.run(b"SETRANGE", b"k", b"1048576", b"x")
        == too_long
    )
    assert h.run(b"STRLEN", b"k") == b":%d\r\n" % len(text)


def test_the_digest_does_not_tell_how_a_string_is_kept() -> None:
    one, two = Harness(), Harness()
    text = long(one)
    two.run(b"SET", b"k", text)
    assert type(value(two, b"k")) is bytes
    assert one.digest() == two.digest()
    for most_bytes in (1 << 20, 4096):
        way, other = Walk(), Walk()
        while not way.rounds:
            piece = way.take(one.engine.keyspace, 100, most_bytes)
            assert piece == other.take(two.engine.keyspace, 100, most_bytes)
            assert one.engine.digest(piece) == two.engine.digest(piece)
    h = Harness()
    long(h)
    piece = Walk().take(h.engine.keyspace, 100, 1 << 20)
    before = h.engine.digest(piece)
    h.run(b"SETRANGE", b"k", b"500", b"#")
    assert h.engine.digest(piece) != before


KEY = st.sampled_from([b"a", b"b"])
OFFSET = st.integers(0, 200_000).map(lambda n: b"%d" % n)
ACTION = st.one_of(
    st.tuples(st.just(b"APPEND"), KEY, st.sampled_from([b"", b"x", b"yz" * 40_000])),
    st.tuples(st.just(b"SETRANGE"), KEY, OFFSET, st.sampled_from([b"", b"q", b"p" * 70_000])),
    st.tuples(st.just(b"SET"), KEY, st.sampled_from([b"s", b"t" * 70_000])),
    st.tuples(st.just(b"COPY"), KEY, KEY, st.just(b"REPLACE")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTION, max_size=12))
def test_any_changes_give_what_plain_bytes_give_and_the_same_digest_at_a_replay(
    actions: list[tuple[bytes, ...]],
) -> None:
    h, plain = Harness(), {}
    for action in actions:
        h.run(*action)
        name, key = action[:2]
        old = plain.get(key, b"")
        if name == b"APPEND":
            plain[key] = old + action[2]
        elif name == b"SETRANGE" and action[3]:
            at = int(action[2])
            plain[key] = old[:at].ljust(at, b"\x00") + action[3] + old[at + len(action[3]) :]
        elif name == b"SET":
            plain[key] = action[2]
        elif name == b"COPY" and key in plain:
            plain[action[2]] = old
    for key, text in plain.items():
        assert h.run(b"GET", key) == b"$%d\r\n%b\r\n" % (len(text), text)
        found = value(h, key)
        assert typed(found).span(0, 0) == text
        for start, end in ((0, 10), (65_530, 65_540), (-5, -1), (len(text), len(text) + 5)):
            stop = end + 1 or len(text)
            assert h.run(b"GETRANGE", key, b"%d" % start, b"%d" % end) == b"$%d\r\n%b\r\n" % (
                len(text[start:stop]),
                text[start:stop],
            )
    copy = Engine(Settings(), Random(3), build_table())
    for unit in h.units:
        copy.apply(unit, 0)
    assert digest(copy.keyspace) == h.digest()
