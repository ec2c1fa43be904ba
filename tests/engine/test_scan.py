"""Walking the keys: cursors, Redis' guarantee, patterns, chance."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.engine.context import HIDE_EXPIRED
from memstore.engine.keyspace import slot_of
from memstore.engine.scan import parse_cursor, scan
from tests.engine.harness import Harness


def walk(h: Harness, count: int, between: object = None) -> list[bytes]:
    found: list[bytes] = []
    cursor, calls = 0, 0
    h.context.bind(h.session, h.wall_ms)
    while True:
        cursor, keys = scan(h.context, h.context.database, cursor, count)
        found += keys
        calls += 1
        if callable(between):
            between(calls)
        if not cursor:
            return found
        assert parse_cursor(b"%d" % cursor) == cursor


quick = settings(max_examples=40, deadline=None)  # an engine and its mirror each


@quick
@given(
    st.sets(st.binary(min_size=1, max_size=12), max_size=200), st.integers(1, 300), st.booleans()
)
def test_every_key_comes_exactly_once_when_nothing_changes(
    keys: set[bytes], count: int, one_slot: bool
) -> None:
    h = Harness()
    names = {b"{t}" + key if one_slot else key for key in keys}
    for key in names:
        h.run(b"SET", key, b"v")
    found = walk(h, count)
    assert len(found) == len(set(found)) and set(found) == names


@quick
@given(st.integers(0, 10_000), st.integers(1, 60), st.booleans())
def test_keys_that_stay_are_returned_while_others_come_and_go(
    seed: int, count: int, one_slot: bool
) -> None:
    h, rng = Harness(), Random(seed)
    tag = b"{t}" if one_slot else b""
    stay = {tag + b"stay:%d" % n for n in range(100)}
    pass_by = [tag + b"pass:%d" % n for n in range(200)]
    for key in [*stay, *pass_by[:100]]:
        h.run(b"SET", key, b"v")

    def churn(_: int) -> None:
        for _ in range(10):
            h.run(rng.choice([b"DEL", b"INCR"]), rng.choice(pass_by))

    assert stay <= set(walk(h, count, churn))


def test_a_cursor_goes_on_at_another_node_whose_keys_came_in_another_order() -> None:
    one, two = Harness(), Harness()
    names = [b"{t}%d" % n for n in range(500)] + [b"k%d" % n for n in range(500)]
    for key in names:
        one.run(b"SET", key, b"v")
    for key in reversed(names):
        two.run(b"SET", key, b"v")
    found: list[bytes] = []
    cursor, at = 0, 0
    while True:
        node = (one, two)[at % 2]
        at += 1
        node.context.bind(node.session, node.wall_ms)
        cursor, keys = scan(node.context, node.context.database, cursor, 7)
        found += keys
        if not cursor:
            break
    assert sorted(found) == sorted(names) and at > 50


def test_count_is_about_what_a_call_returns() -> None:
    h = Harness()
    for n in range(2000):
        h.run(b"SET", b"{t}%d" % n, b"v")
    h.context.bind(h.session, h.wall_ms)
    _, keys = scan(h.context, h.context.database, 0, 10)
    assert 10 <= len(keys) <= 2000 // 64 + 1
    _, keys = scan(h.context, h.context.database, 0, 500)
    assert len(keys) == 500


def test_cursors_are_read_as_strtoul_reads_them() -> None:
    for text in (
        b"abc",
        b"1 ",
        b" 1",
        b"18446744073709551616",
        b"99999999999999999999999",
        b"0x10",
        "١".encode(),
        b"+",
        b"-",
        b"1_0",
        b"1" * 5000,
    ):
        assert parse_cursor(text) is None, text
    assert (
        parse_cursor(b"") == 0
        and parse_cursor(b"+7") == 7
        and parse_cursor(b"7\x00x") == 7
        and parse_cursor(b"0" * 5000 + b"7") == 7
    )
    assert parse_cursor(b"-1") == (1 << 64) - 1 == parse_cursor(b"18446744073709551615")


def test_a_cursor_beyond_all_keys_ends_the_walk() -> None:
    h = Harness()
    h.run(b"SET", b"k", b"v")
    for cursor in (b"%d" % (16384 << 32), b"-1", b"9223372036854775808"):
        assert h.run(b"SCAN", cursor) == b"*2\r\n$1\r\n0\r\n*0\r\n"


def test_expired_keys_are_deleted_on_a_primary_and_hidden_on_a_replica() -> None:
    h = Harness()
    h.lines("SET a 1 PX 5", "SET b 1", "SET c 1 PX 5")
    h.wall_ms += 10
    h.context.expiry = HIDE_EXPIRED
    assert walk(h, 10) == [b"b"]
    assert (
        h.line("DBSIZE") == b":1\r\n"
        and h.line("KEYS *") == b"*1\r\n$1\r\nb\r\n"
        and h.line("RANDOMKEY") == b"$1\r\nb\r\n"
    )
    assert h.effects == [] and len(h.engine.keyspace.database(0)) == 3
    h.context.expiry = 0
    assert walk(h, 10) == [b"b"]
    h.close_unit()
    assert sorted(h.effects) == [[b"DEL", b"a"], [b"DEL", b"c"]]
    assert h.same()


def test_random_keys_are_fair_whatever_the_slots() -> None:
    h = Harness()
    names = [b"{t}%d" % n for n in range(30)] + [b"k%d" % n for n in range(10)]
    for key in names:
        h.run(b"SET", key, b"v")
    assert len({slot_of(name) for name in names}) == 11
    counts = dict.fromkeys(names, 0)
    for _ in range(800):
        answer = h.line("RANDOMKEY")
        assert answer is not None
        counts[answer.split(b"\r\n")[1]] += 1
    assert min(counts.values()) > 2 and max(counts.values()) < 60
