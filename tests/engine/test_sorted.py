"""Sorted sets against a model: the packed body, the rank index, and the two together, with
blocks so small that they split and join all the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore.engine.values import deferred_free, packed_zset, rank_index
from memstore.engine.values.sorted import Large, SortedSet

ODD = [
    b"",
    b"\x00",
    b"\x00\x00",
    b"a",
    b"aa",
    b"aaa",
    b"aaaa",
    b"ab",
    b"b",
    b"\xff",
    b"x" * 64,
    b"x" * 65,
]
SCORES: list[list[float]] = [
    [1.0],
    [0.0, -0.0, 1.0],
    [float(n) for n in range(50)],
    [float("inf"), -float("inf"), 2.5],
]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rank_index, "BLOCK", 8)
    monkeypatch.setattr(rank_index, "_FEW", 2)
    yield


def in_order(model: dict[bytes, float]) -> list[bytes]:
    return sorted(model, key=lambda member: (model[member], member))


def compare(
    value: SortedSet,
    model: dict[bytes, float],
    rng: Random,
    members: list[bytes],
    scores: list[float],
) -> None:
    order = in_order(model)
    value.check()
    assert list(value.items()) == [(member, model[member]) for member in order] and len(
        value
    ) == len(model)
    member, score = rng.choice(members), rng.choice(scores)
    assert value.score(member) == model.get(member)
    assert value.rank(member) == (order.index(member) if member in model else None)
    assert value.below(score, False) == sum(one < score for one in model.values())
    assert value.below(score, True) == sum(one <= score for one in model.values())
    if len(set(model.values())) == 1:
        assert value.before(member, False) == sum(one < member for one in model)
        assert value.before(member, True) == sum(one <= member for one in model)
    start = rng.randrange(len(model) + 1)
    stop = rng.randrange(start, len(model) + 1)
    assert value.part(start, stop) == (order[start:stop], [model[one] for one in order[start:stop]])


def change(
    value: SortedSet,
    model: dict[bytes, float],
    rng: Random,
    members: list[bytes],
    scores: list[float],
) -> SortedSet:
    chance, member = rng.random(), rng.choice(members)
    if chance < 0.6 or not model:
        model[member] = rng.choice(scores)
        value.put(member, model[member])
    elif chance < 0.85:
        assert value.remove(member) == (model.pop(member, None) is not None)
    elif chance < 0.9:
        start = rng.randrange(len(model) + 1)
        stop = min(rng.randrange(start, len(model) + 1), start + 40)
        gone = in_order(model)[start:stop]
        value.remove_part(start, stop)
        for one in gone:
            del model[one]
    elif chance < 0.95:
        kept, other = dict(value.items()), value.copy()
        value.put(member, 77.0)
        assert dict(other.items()) == kept, "a copy shares nothing that changes"
        return other
    else:
        order = in_order(model)
        return SortedSet.of(list(order), [model[one] for one in order], True)
    return value


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("few", [5, 60, 300])
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 1 << 30))
def test_like_a_model(small_blocks: None, few: int, scores: list[float], seed: int) -> None:
    rng = Random(seed)
    members = [*ODD, *[b"member:%d" % n for n in range(few)]]
    value, model = SortedSet(), dict[bytes, float]()
    for step in range(few * 5):
        value = change(value, model, rng, members, scores)
        if step % 7 == 0:
            compare(value, model, rng, members, scores)
    for member in in_order(model):
        assert value.remove(member)
    assert len(value) == 0 and list(value.items()) == []


def test_when_it_is_packed() -> None:
    value = SortedSet()
    for n in range(packed_zset.MOST):
        value.put(b"member:%d" % n, float(n % 7))
    assert type(value.body) is bytes
    value.put(b"one more", 3.0)
    assert type(value.body) is Large and len(value) == packed_zset.MOST + 1
    value.check()
    other = SortedSet()
    other.put(b"x" * packed_zset.LONGEST, 1.0)
    assert type(other.body) is bytes
    other.put(b"x" * (packed_zset.LONGEST + 1), 1.0)
    assert type(other.body) is Large


def test_a_member_is_found_where_it_is_and_not_inside_another() -> None:
    members = sorted(ODD[:-1])
    body = packed_zset.pack(members, [1.0] * len(members))
    assert [packed_zset.find(body, len(members), member) for member in members] == list(
        range(len(members))
    )
    assert [
        packed_zset.find(body, len(members), member)
        for member in (b"aaaaa", b"ba", b"x" * 63, b"x" * 65, b"\x00\x00\x00")
    ] == [-1] * 5
    assert packed_zset.find(packed_zset.pack([b"a"], [1.0]), 1, b"") == -1


def test_blocks_that_grow_in_order_are_left_full() -> None:
    value = SortedSet()
    for n in range(20_000):
        value.put(b"%08d" % n, float(n))
    assert type(value.body) is Large
    blocks = value.body.rank_index._members
    assert len(blocks) < 20_000 / rank_index.BLOCK * 1.5
    assert value.rank(b"%08d" % 12_345) == 12_345
    value.check()


def test_taken_from_the_ends_as_a_queue_is() -> None:
    value = SortedSet()
    for n in range(5000):
        value.put(b"%05d" % (n * 7919 % 5000), float(n * 7919 % 5000))
    for n in range(2400):
        assert value.part(0, 1) == ([b"%05d" % n], [float(n)])
        value.remove_part(0, 1)
        assert value.rank(b"04999") == len(value) - 1
        size = len(value)
        assert value.part(size - 1, size)[0] == [b"04999"]
        if n % 400 == 0:
            value.check()
    value.remove_part(1, len(value) - 1)
    value.check()
    assert [member for member, _ in value.items()] == [b"02400", b"04999"]


def test_a_member_is_kept_once_whatever_its_score_becomes() -> None:
    """The bytes that arrive with a new score are not kept beside those that came first: a set would
    be half as large again.
    """
    value = SortedSet()
    for n in range(1000):
        value.put(b"member:%d" % n, 1.0)
    for n in range(1000):
        value.put(b"member:%d" % n, float(n))
    assert type(value.body) is Large
    kept = {member: member for member in value.body.table}
    assert all(kept[member] is member for member, _ in value.items())


def test_a_large_one_is_freed_in_pieces() -> None:
    deferred_free.free_some(1 << 40)  # what other tests left
    value = SortedSet.of(
        [b"%08d" % n for n in range(100_000)], [float(n) for n in range(100_000)], True
    )
    assert not deferred_free.waiting()
    del value
    assert deferred_free.waiting()
    steps = 0
    while deferred_free.waiting():
        deferred_free.free_some(10_000)
        steps += 1
    assert steps >= 20, "members and scores of the blocks, and the table's, some at a time"


def test_how_much_memory_is_told() -> None:
    small, large = SortedSet(), SortedSet()
    for n in range(10):
        small.put(b"member:%09d" % n, float(n))
    for n in range(10_000):
        large.put(b"member:%09d" % n, float(n))
    assert 300 < small.size() < 500
    assert 110 < large.size() / 10_000 < 160


def test_the_digest_depends_on_what_is_in_it_alone() -> None:
    one, two = SortedSet(), SortedSet()
    members = [b"m%d" % n for n in range(500)]
    for member in members:
        one.put(member, float(len(member)))
    for member in reversed(members):
        two.put(member, 9.0)
    for member in members:
        two.put(member, float(len(member)))
    assert one.span(0, 0) == two.span(0, 0)
    two.put(b"m7", 2.5)
    assert one.span(0, 0) != two.span(0, 0)
