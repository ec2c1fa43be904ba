"""Slices of the state: bounded, all of it in time, equal where the state is equal and different
where it is not.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.commands import build_table
from memstore.engine import state_digest as slices
from memstore.engine.engine import Engine
from memstore.engine.keyspace import SLOTS, Keyspace, slot_of
from memstore.engine.settings import Settings
from memstore.engine.state_digest import Slice, Walk, slice_digest
from memstore.engine.values.value_types import typed
from tests.engine.harness import START_MS, Harness

MANY = 1 << 20


def walk(keyspace: Keyspace, keys: int = 64, size: int = 1 << 16) -> list[Slice]:
    """One round."""
    way, found = Walk(), []
    while not way.rounds:
        found.append(way.take(keyspace, keys, size))
        assert len(found) < 10_000
    return found


def differing(one: Keyspace, other: Keyspace, keys: int = 64, size: int = 1 << 16) -> list[Slice]:
    """The slices of a round through ``one`` in which ``other`` is not the same."""
    return [
        piece
        for piece in walk(one, keys, size)
        if slice_digest(one, piece) != slice_digest(other, piece)
    ]


def copy_of(h: Harness) -> Engine:
    copy = Engine(Settings(), Random(7), build_table())
    for unit in h.units:
        copy.apply(unit, h.wall_ms)
    return copy


def filled() -> Harness:
    """Strings, all kinds of collections small and large, a hash tag with many keys,
    two databases, expiries.
    """
    h = Harness()
    for n in range(400):
        h.run(b"SET", b"key:%d" % n, b"value %d" % n)
        h.run(b"SET", b"{tag}%d" % n, b"t%d" % n)
    for n in range(0, 400, 7):
        h.run(b"PEXPIREAT", b"key:%d" % n, b"%d" % (START_MS + 10**9 + n))
    for size in (3, 100, 2000):
        members = [b"m:%d" % n for n in range(size)]
        h.run(b"SADD", b"set:%d" % size, *members)
        h.run(b"SADD", b"ints:%d" % size, *[b"%d" % n for n in range(size)])
        h.run(b"RPUSH", b"list:%d" % size, *members)
        h.run(
            b"HSET",
            b"hash:%d" % size,
            *[text for member in members for text in (member, b"v" + member)],
        )
        h.run(
            b"ZADD",
            b"zset:%d" % size,
            *[text for n, member in enumerate(members) for text in (b"%d" % (n % 50), member)],
        )
    h.run(b"SET", b"long", b"0123456789" * 50_000)
    h.line("SELECT 3")
    h.line("MSET a 1 b 2 {tag}x 3")
    h.line("SELECT 0")
    return h


FILLED = filled()


def test_a_copy_made_by_replay_agrees_slice_by_slice() -> None:
    copy = copy_of(FILLED).keyspace
    for keys, size in ((16, 4096), (64, 1 << 16), (1000, MANY)):
        assert differing(FILLED.engine.keyspace, copy, keys, size) == []


@pytest.mark.parametrize(
    "change",
    [
        ("SET key:5 other",),
        ("DEL key:5",),
        ("SET more 1",),
        ("PERSIST key:7",),
        ("PEXPIREAT key:7 1800000000000",),
        ("PEXPIREAT key:8 1900000000000",),
        ("SET {tag}77 other",),
        ("DEL {tag}77",),
        ("SET {tag}new 1",),
        ("DEL {tag}77", "SET {tag}new 1"),
        ("PEXPIREAT {tag}77 1900000000000",),
        ("SADD set:3 x",),
        ("SADD set:2000 x",),
        ("SREM set:2000 m:1500", "SADD set:2000 x"),
        ("SADD ints:100 1000",),
        ("SREM ints:2000 7", "SADD ints:2000 -1"),
        ("LSET list:2000 1234 x",),
        ("LSET list:3 1 x",),
        ("RPOPLPUSH list:2000 list:2000",),
        ("HSET hash:2000 m:1999 x",),
        ("HSET hash:100 m:7 x",),
        ("HDEL hash:2000 m:7", "HSET hash:2000 x x"),
        ("ZADD zset:2000 51 m:1777",),
        ("ZADD zset:3 9 m:1",),
        ("ZREM zset:100 m:5", "ZADD zset:100 3 x"),
        ("SETRANGE long 499999 x",),
        ("SETRANGE long 0 x",),
        ("SELECT 3", "SET a 2"),
        ("SELECT 3", "SET {tag}x 4"),
        ("SELECT 5", "SET a 2"),
        ("DEL set:3", "RPUSH set:3 m:0 m:1 m:2"),
        ("FLUSHALL",),
        ("SWAPDB 0 3",),
    ],
)
def test_every_difference_is_in_some_slice(change: tuple[str, ...]) -> None:
    copy = copy_of(FILLED)
    other = Harness()
    other.engine, other.mirror, other.context = copy, copy_of(FILLED), copy.context
    for line in change:
        answer = other.line(line)
        assert answer is not None and answer[:1] != b"-", answer
    for keys, size in ((16, 4096), (64, 1 << 16), (1000, MANY)):
        assert differing(FILLED.engine.keyspace, copy.keyspace, keys, size), (keys, size)
        assert differing(copy.keyspace, FILLED.engine.keyspace, keys, size), (keys, size)


def test_a_slice_holds_about_as_much_as_it_may() -> None:
    for keys, size in ((16, 4096), (64, 1 << 16), (1000, MANY)):
        for piece in walk(FILLED.engine.keyspace, keys, size):
            index, slot = divmod(piece.start, SLOTS)
            if not piece.parts:
                assert piece.keys <= keys
                continue
            database = FILLED.engine.keyspace.databases[index]
            assert database is not None
            items = database.slots[slot]
            assert piece.keys == len(items)
            assert (
                sum(len(key) for key, _, _ in piece.parts)
                <= slices.NAMES_BYTES + slices.NAME_LONGEST
            )
            spans = [typed(items[key]).span(start, stop) for key, start, stop in piece.parts]
            # a piece may go on to the end of a step of 64 members (or a small value), whose
            # overhead is some bytes a member
            assert sum(map(len, spans)) <= 2 * size + 64 * 32 + 16 * 600, (
                piece.parts[0],
                sum(map(len, spans)),
            )


@pytest.mark.parametrize("kind", ["list", "long list", "hash", "packed hash", "set", "sorted set"])
def test_large_members_come_few_at_a_time(kind: str) -> None:
    """A piece goes beyond the bytes wanted by its last member only."""
    h = Harness()
    large = 40_000
    for n in range(50):
        member = b"%04d" % n + bytes(large)
        if kind == "list":
            h.run(b"RPUSH", b"k", member)
        elif kind == "long list":
            h.run(b"RPUSH", b"k", *[b"%d" % (n * 100 + i) for i in range(100)], member)
        elif kind == "hash":
            h.run(b"HSET", b"k", b"f%d" % n, member)
        elif kind == "packed hash":
            h.run(
                b"HSET",
                b"k",
                *[part for i in range(20) for part in (b"f%d.%d" % (n, i), bytes(40))],
            )
        elif kind == "set":
            h.run(b"SADD", b"k", member)
        else:
            h.run(b"ZADD", b"k", b"%d" % n, member)
    value = h.engine.keyspace.database(0).get(b"k")
    assert value is not None
    size = 1 << 16
    pieces = [part for piece in walk(h.engine.keyspace, 4096, size) for part in piece.parts]
    assert [start for _, start, _ in pieces] == [0] + [
        stop for _, _, stop in pieces[:-1]
    ] and pieces[-1][2] == 0
    spans = [typed(value).span(start, stop) for _, start, stop in pieces]
    assert max(map(len, spans)) <= size + large + 2000
    copy = copy_of(h).keyspace
    assert (
        differing(h.engine.keyspace, copy, 4096, size)
        == differing(copy, h.engine.keyspace, 4096, size)
        == []
    )


def test_one_round_covers_every_key_and_every_piece_once() -> None:
    keyspace = FILLED.engine.keyspace
    whole: set[int] = set()
    reached: dict[tuple[int, bytes], int] = {}
    for piece in walk(keyspace, 16, 4096):
        if not piece.parts:
            assert not whole & set(range(piece.start, piece.stop))
            whole |= set(range(piece.start, piece.stop))
        for key, start, stop in piece.parts:
            place = (piece.start, key)
            assert reached.get(place, 0) == start, "a piece begins where the one before it ended"
            reached[place] = stop or -1
    for database in keyspace.existing():
        for slot, items in enumerate(database.slots):
            place = database.index * SLOTS + slot
            for key in items:
                assert place in whole or reached.get((place, key)) == -1, key


def test_how_a_value_is_kept_does_not_matter() -> None:
    """Integers in a table, a hash and a sorted set that were large once, a list that was long."""
    one, other = Harness(), Harness()
    for h, extra in ((one, 0), (other, 3000)):
        for n in range(600):
            h.run(b"SADD", b"s", b"%d" % n)
            h.run(b"HSET", b"h", b"f%d" % n, b"v")
        for n in range(100):
            h.run(b"ZADD", b"z", b"%d" % n, b"m%d" % n)
            h.run(b"RPUSH", b"l", b"e%d" % n)
        for n in range(extra):
            h.run(b"SADD", b"s", b"x%d" % n)
            h.run(b"HSET", b"h", b"x%d" % n, b"v")
            h.run(b"ZADD", b"z", b"1000", b"x%d" % n)
            h.run(b"RPUSH", b"l", b"x%d" % n)
        for n in range(extra):
            h.run(b"SREM", b"s", b"x%d" % n)
            h.run(b"HDEL", b"h", b"x%d" % n)
            h.run(b"ZREM", b"z", b"x%d" % n)
            h.run(b"RPOP", b"l")
    for keys, size in ((16, 4096), (4096, MANY)):
        assert differing(one.engine.keyspace, other.engine.keyspace, keys, size) == []
        assert differing(other.engine.keyspace, one.engine.keyspace, keys, size) == []


def test_integers_beyond_any_usual_limit_are_compared_by_their_number_alone() -> None:
    """Where one node's setting allows so many packed integers, and another's does not,
    that is no difference.
    """
    wide = Settings()
    wide.set_max_intset_entries = 1 << 20
    one, other = Harness(settings=wide), Harness()
    for h in (one, other):
        h.run(b"SADD", b"s", *[b"%d" % n for n in range(10_000)])
    assert (
        differing(one.engine.keyspace, other.engine.keyspace)
        == differing(other.engine.keyspace, one.engine.keyspace)
        == []
    )
    other.run(b"SADD", b"s", b"-1")
    assert differing(one.engine.keyspace, other.engine.keyspace)


def test_a_damaged_sorted_set_is_seen_in_its_order_and_in_its_table() -> None:
    copy = copy_of(FILLED).keyspace
    # database 0 is always there
    table: Any = copy.databases[0].get(b"zset:2000")  # type: ignore[union-attr]
    table.body.table.put(b"m:1234", 17.5)
    assert differing(FILLED.engine.keyspace, copy)


def test_keys_that_change_during_a_round_are_left_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slot in parts is gone through by the names it had: gone ones are passed over, the walk goes
    on, the end comes.
    """
    monkeypatch.setattr(slices, "GONE_MOST", 20)  # names passed in one slice
    h = Harness()
    for n in range(500):
        h.run(b"SET", b"{t}%d" % n, b"v")
    way, keyspace = Walk(), h.engine.keyspace
    while not way.take(keyspace, 16, 4096).parts:
        assert way.place <= slot_of(b"{t}")
    for n in range(500):
        if n % 3:
            h.run(b"DEL", b"{t}%d" % n)
    taken = 0
    while not way.rounds:
        piece = way.take(keyspace, 16, 4096)
        assert slice_digest(keyspace, piece) == slice_digest(h.mirror.keyspace, piece)
        taken += 1
        assert taken < 3000
    h.line("FLUSHALL")
    while way.rounds < 2:
        assert (
            slice_digest(keyspace, way.take(keyspace, 16, 4096))
            == slice_digest(h.mirror.keyspace, Slice(0, 0, 0))
            or way.place
        )


def test_more_keys_than_there_should_be_end_the_work() -> None:
    """A node that holds far more in a slice must not stand still over it."""
    keyspace = FILLED.engine.keyspace
    assert slice_digest(keyspace, Slice(0, SLOTS, 5)) != slice_digest(
        keyspace, Slice(0, SLOTS, MANY)
    )
    assert slice_digest(keyspace, Slice(0, 100 * SLOTS, MANY)) == slice_digest(
        keyspace, Slice(0, 16 * SLOTS, MANY)
    ), "databases that nobody has are empty"


WORDS = st.sampled_from(
    [b"a", b"b", b"{t}1", b"{t}2", b"{t}3", b"k7", b"", b"1", b"22", b"x" * 300]
)
COMMANDS = st.one_of(
    st.tuples(st.just(b"SET"), WORDS, WORDS),
    st.tuples(st.just(b"DEL"), WORDS),
    st.tuples(st.just(b"PEXPIREAT"), WORDS, st.just(b"1900000000000")),
    st.tuples(st.just(b"SADD"), WORDS, WORDS, WORDS),
    st.tuples(st.just(b"SPOP"), WORDS),
    st.tuples(st.just(b"HSET"), WORDS, WORDS, WORDS),
    st.tuples(st.just(b"LPUSH"), WORDS, WORDS),
    st.tuples(st.just(b"RPOPLPUSH"), WORDS, WORDS),
    st.tuples(st.just(b"ZADD"), WORDS, st.sampled_from([b"1", b"2.5", b"-0", b"inf"]), WORDS),
    st.tuples(st.just(b"RENAME"), WORDS, WORDS),
    st.tuples(st.just(b"SELECT"), st.sampled_from([b"0", b"2"])),
    st.tuples(st.just(b"SWAPDB"), st.just(b"0"), st.just(b"2")),
    st.just((b"FLUSHDB",)),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(COMMANDS, st.integers(16, 24)), min_size=1, max_size=60),
    st.integers(0, 16 * SLOTS - 1),
)
def test_primary_and_replica_agree_at_every_position(steps: list[Any], place: int) -> None:
    """Commands, and slices (a number: how many keys at most) in between, taken by the primary and
    compared by one that applies its effects.
    """
    h, way = Harness(), Walk(place)
    for step in steps:
        if isinstance(step, int):
            piece = way.take(h.engine.keyspace, step, 4096)
            assert slice_digest(h.engine.keyspace, piece) == slice_digest(h.mirror.keyspace, piece)
        else:
            h.run(*step)
    assert differing(h.engine.keyspace, h.mirror.keyspace, 16, 4096) == []
