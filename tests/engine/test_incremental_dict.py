"""The hash table of big collections:
what it holds, what a scan promises, chance, and how it goes away.
"""

from __future__ import annotations

import gc
import weakref
from binascii import crc32
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from memstore.engine.keyspace import Keyspace
from memstore.engine.values import deferred_free
from memstore.engine.values.incremental_dict import IncrementalDict

quick = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    # tables of other tests that are garbage would be handed over in the middle of this one
    gc.collect()
    empty()
    yield
    empty()


def empty() -> None:
    while deferred_free.waiting():
        deferred_free.free_some(1_000_000)


def filled(count: int, prefix: bytes = b"m:") -> IncrementalDict:
    table = IncrementalDict()
    for n in range(count):
        assert table.put(b"%b%d" % (prefix, n), n)
    return table


def check(table: IncrementalDict) -> None:
    """The table's own invariants."""
    homes = table._buckets if table._alone is None else [table._alone]
    assert sum(map(len, homes)) == len(table)
    assert max(map(len, homes)) <= table._most
    assert len(table) <= table._ceiling and (len(table) >= table._floor)
    at = 0
    for place, home in enumerate(homes):
        start, end = table._bounds(place)
        assert start == at
        assert all(start <= crc32(member) < end for member in home)
        at = end
    assert at == 1 << 32
    if table._alone is None:
        assert len(homes) == table._level_size + table._parted // 2
        assert len(homes) < deferred_free.LARGE or (
            table._deferred_free is not None and table._deferred_free.pieces is table._buckets
        )
    else:
        assert table._deferred_free is None


class Model(RuleBasedStateMachine):
    """Against a dict. Bulk steps carry it through all its sizes, so that splits and merges happen
    between the single ones.
    """

    @initialize(count=st.sampled_from([0, 5, 300, 330, 2000, 6000]))
    def begin(self, count: int) -> None:
        self.table, self.model = IncrementalDict(), dict[bytes, Any]()
        self.add_many(0, count)

    @rule(member=st.binary(max_size=3), value=st.integers())
    def put(self, member: bytes, value: int) -> None:
        assert self.table.put(member, value) is (member not in self.model)
        self.model[member] = value

    @rule(member=st.binary(max_size=3))
    def pop(self, member: bytes) -> None:
        assert self.table.pop(member, "none") == self.model.pop(member, "none")

    @rule(first=st.integers(0, 8000), count=st.sampled_from([1, 40, 500, 4000]))
    def add_many(self, first: int, count: int) -> None:
        for n in range(first, first + count):
            self.table.put(b"%d" % n, n)
            self.model[b"%d" % n] = n

    @rule(first=st.integers(0, 8000), count=st.sampled_from([1, 40, 500, 4000, 12000]))
    def remove_many(self, first: int, count: int) -> None:
        for n in range(first, first + count):
            assert self.table.pop(b"%d" % n) == self.model.pop(b"%d" % n, None)

    @rule()
    def copy(self) -> None:
        before, self.table = self.table, self.table.copy()
        before.put(b"only in the old one", 1)

    @invariant()
    def same(self) -> None:
        table, model = self.table, self.model
        assert len(table) == len(model)
        assert dict(table.items()) == model
        assert sorted(table.keys()) == sorted(model)
        assert sorted(table.values()) == sorted(model.values())
        for member in [b"7", b"", b"6000", *list(model)[:3]]:
            assert (member in table) is (member in model)
            assert table.get(member, "none") == model.get(member, "none")
        if model:
            assert table.random(Random(len(model))) in model
        check(table)


def test_it_holds_what_a_dict_holds() -> None:
    # not typed there
    run_state_machine_as_test(
        Model, settings=settings(max_examples=25, stateful_step_count=15, deadline=None)
    )  # type: ignore[no-untyped-call]


@quick
@given(
    st.sampled_from([0, 1, 11, 319, 320, 321, 480, 641, 2559, 2560, 5000]),
    st.sampled_from([0, 1, 300]),
)
def test_filled_at_once_is_as_filled_one_by_one(count: int, twice: int) -> None:
    members = [b"m:%d" % n for n in range(count)]
    table, other = IncrementalDict.filled(members + members[:twice], 7), IncrementalDict()
    for member in members:
        other.put(member, 7)
    check(table)
    assert dict(table.items()) == dict(other.items()) and len(table) == count
    assert (table._deferred_free is None) is (len(table._buckets) < deferred_free.LARGE)
    for n in range(0, 3 * count, 2):
        assert table.put(b"m:%d" % n, n) is other.put(b"m:%d" % n, n)
    check(table)
    for n in range(3 * count):
        assert table.pop(b"m:%d" % n) == other.pop(b"m:%d" % n)
    check(table)
    assert len(table) == 0


# ----------------------------------------------------------------- scanning


def walk(table: IncrementalDict, count: int, between: Any = lambda: None) -> list[bytes]:
    cursor, found = 0, []
    while True:
        cursor, items = table.scan(cursor, count)
        found += [member for member, _ in items]
        between()
        if not cursor:
            return found


@quick
@given(st.sampled_from([0, 1, 30, 33, 320, 321, 1000, 5000]), st.integers(1, 700))
def test_a_scan_of_what_does_not_change_returns_each_member_once(size: int, count: int) -> None:
    table = filled(size)
    found = walk(table, count)
    assert len(found) == size and sorted(found) == sorted(table.keys())
    assert table.scan(0, 1 << 62) == (0, list(table.items()))


@quick
@given(
    st.integers(0, 1000), st.sampled_from([1, 10, 100]), st.sampled_from(["grow", "shrink", "both"])
)
def test_members_that_stay_are_returned_while_the_table_grows_and_shrinks(
    seed: int, count: int, way: str
) -> None:
    rng = Random(seed)
    table = filled(300, b"stay:")
    others = [b"pass:%d" % n for n in range(6000)]
    for member in others[:100] if way == "grow" else others:
        table.put(member, None)
    stay = {member for member in table if member.startswith(b"stay:")}
    turn = 0

    def churn() -> None:
        nonlocal turn
        turn += 1
        growing = way == "grow" or (way == "both" and turn // 10 % 2)
        for _ in range(150):
            member = rng.choice(others)
            if growing:
                table.put(member, None)
            else:
                table.pop(member)

    assert stay <= set(walk(table, count, churn))
    check(table)


@quick
@given(st.sampled_from([40, 400, 4000]), st.sampled_from([40, 300, 900, 6000]), st.integers(1, 50))
def test_a_cursor_means_the_same_in_a_table_with_another_history(
    one: int, other: int, count: int
) -> None:
    """As on another node: what the first returned and what the second returns from its cursor on is
    everything, and nothing twice.
    """
    first, second = filled(one), filled(max(one, other))
    for n in range(one, other):
        second.pop(b"m:%d" % n)
    cursor, items = first.scan(0, count)
    found = [member for member, _ in items]
    while cursor:
        cursor, items = second.scan(cursor, count)
        found += [member for member, _ in items]
    assert sorted(found) == sorted(first.keys())


def alike(count: int) -> list[bytes]:
    """Members with the same leading bits of their CRC: what somebody would send who wants to make
    one dict long.
    """
    found: list[bytes] = []
    n = 0
    while len(found) < count:
        member = b"x%d" % n
        if crc32(member) >> 26 == 5:
            found.append(member)
        n += 1
    return found


def test_members_made_alike_are_held_scanned_and_drawn_all_the_same() -> None:
    table, members = IncrementalDict(), alike(2000)
    for member in members:
        table.put(member, 1)
    check(table)
    assert sorted(walk(table, 10)) == sorted(members)
    rng = Random(1)
    drawn = Counter(table.random(rng) for _ in range(8000))
    assert len(drawn) > 1900 and max(drawn.values()) < 20


def test_a_cursor_never_given_out_ends_the_scan() -> None:
    table = filled(1000)
    assert table.scan(1 << 32, 10) == (0, []) and table.scan(-1, 10) == (0, [])
    assert table.scan((1 << 32) - 1, 10)[0] == 0
    assert IncrementalDict().scan(5, 10) == (0, [])


# ----------------------------------------------------------------- chance


@pytest.mark.parametrize(
    ("size", "removed"), [(3, 0), (200, 190), (500, 0), (1000, 930), (2500, 1000)]
)
def test_every_member_is_drawn_as_often_as_any_other(size: int, removed: int) -> None:
    """Chi square at one in ten thousand, by its normal approximation; the seed is fixed."""
    table = filled(size)
    for n in range(removed):
        table.pop(b"m:%d" % n)
    left, each, rng = len(table), 60, Random(7)
    drawn = Counter(table.random(rng) for _ in range(left * each))
    assert drawn.keys() <= set(table.keys())
    chi = sum((drawn[member] - each) ** 2 / each for member in table)
    assert chi < left - 1 + 4 * (2 * left) ** 0.5, (chi, left)


# ----------------------------------------------------------------- memory


def test_a_place_costs_what_the_head_says() -> None:
    for size in (3000, 10_000, 40_000):
        table = filled(size)
        members = sum(member.__sizeof__() for member in table)
        assert 30 * size < table.size() - members < 50 * size
        assert abs(table.copy().size() / table.size() - 1) < 0.2


def test_a_table_that_becomes_small_becomes_small_in_memory_too() -> None:
    table = filled(20_000)
    for n in range(19_995):
        table.pop(b"m:%d" % n)
    assert table.size() < 1500 and len(table) == 5
    check(table)


# ----------------------------------------------------------------- going away


class Thing:
    """A value whose end can be seen."""


def watched(count: int) -> tuple[IncrementalDict, list[weakref.ref[Thing]]]:
    table, seen = IncrementalDict(), []
    for n in range(count):
        thing = Thing()
        seen.append(weakref.ref(thing))
        table.put(b"%d" % n, thing)
    return table, seen


def alive(seen: list[weakref.ref[Thing]]) -> int:
    return sum(ref() is not None for ref in seen)


@pytest.mark.parametrize("way", ["del", "set", "flush", "overwritten"])
def test_a_large_value_goes_away_in_pieces(way: str) -> None:
    keyspace = Keyspace()
    database = keyspace.database(0)
    table, seen = watched(10_000)
    database.put(b"k", table)
    del table
    if way == "del":
        database.remove(b"k")
    elif way == "flush":
        keyspace.discard(database.clear())
    else:
        database.put(b"k", b"something else")
    before = alive(seen)
    assert before == 10_000
    turns = 0
    while keyspace.free_some(1000):
        turns += 1
        now = alive(seen)
        assert before - now <= 1000 + 400, "a piece more than asked for at most"
        before = now
    assert alive(seen) == 0 and turns >= 5 and not deferred_free.waiting()


def test_a_small_one_goes_at_once() -> None:
    table, seen = watched(1000)
    assert table._deferred_free is None
    del table
    assert alive(seen) == 0 and not deferred_free.waiting()


def test_many_middling_values_of_a_flush_count_with_their_members() -> None:
    keyspace = Keyspace()
    seen = []
    for n in range(100):
        table, refs = watched(500)
        keyspace.database(0).put(b"{tag}%d" % n, table)  # one slot
        seen += refs
    del table
    keyspace.discard(keyspace.database(0).clear())
    before = alive(seen)
    while keyspace.free_some(2000):
        now = alive(seen)
        assert before - now <= 2500
        before = now
    assert alive(seen) == 0


def test_what_expires_is_let_go_of_in_pieces_too() -> None:
    keyspace = Keyspace()
    database = keyspace.database(0)
    for n in range(1000):
        database.put(b"{tag}%d" % n, b"v")
        database.set_expire(b"{tag}%d" % n, 10**15 + n)
    old = database.clear()
    assert sum(map(len, old)) == 2000
    keyspace.discard(old)
    assert keyspace.free_some(500) and sum(map(len, old)) >= 1500


def test_a_keyspace_thrown_away_leaves_what_it_had_to_another() -> None:
    old, fresh = Keyspace(), Keyspace()
    table, seen = watched(10_000)
    old.database(0).put(b"a", table)
    table, more = watched(1000)
    old.database(3).put(b"b", table)
    del table
    old.discard(old.database(3).clear())
    fresh.discard_all(old)
    del old
    assert alive(seen) == 10_000 and alive(more) == 1000
    while fresh.free_some(2000):
        pass
    assert alive(seen) == alive(more) == 0


def test_a_table_grown_small_again_keeps_its_members_when_its_guard_goes() -> None:
    """The guard's list held the very dict that lived on."""
    table = filled(6000)
    assert table._deferred_free is not None
    for n in range(5990):
        table.pop(b"m:%d" % n)
    empty()
    assert (
        sorted(table.keys()) == sorted(b"m:%d" % n for n in range(5990, 6000))
        and table._deferred_free is None
    )


def test_a_long_piece_is_freed_in_steps() -> None:
    rows: list[Any] = [dict.fromkeys(range(10_000)), list(range(10_000)), b"a node"]
    deferred_free.hand_over(list(rows))
    assert deferred_free.free_some(1) <= 0 and len(rows[1]) == 10_000  # the node
    while deferred_free.waiting():
        before = len(rows[0]) + len(rows[1])
        deferred_free.free_some(1)
        assert before - len(rows[0]) - len(rows[1]) <= 2048
    assert deferred_free.free_some(7) == 7
