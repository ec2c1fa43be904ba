"""Lists beside plain Python lists: the same answers after any history, whatever lies packed, open
or as it is; and what long lists must not cost.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from memstore.engine.values import deferred_free, list_nodes, quicklist
from memstore.engine.values.list_nodes import Arm, closed, items_of
from memstore.engine.values.packed import pack, unpack
from memstore.engine.values.quicklist import List

MODES = ["even", "mixed", "numbers", "large", "hostile"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of a few elements, so that short histories cross every border."""
    monkeypatch.setattr(quicklist, "SMALL_BYTES", 60)
    monkeypatch.setattr(quicklist, "OPEN_ITEMS", 4)
    monkeypatch.setattr(list_nodes, "OPEN_ITEMS", 4)
    monkeypatch.setattr(list_nodes, "KEPT_ITEMS", 2)
    monkeypatch.setattr(list_nodes, "NODE_ITEMS", 6)
    monkeypatch.setattr(list_nodes, "_NEAR", 1)
    monkeypatch.setattr(list_nodes, "_FEW", 1)


class History:
    """A list and a Python list that are told the same."""

    def __init__(self, seed: int, mode: str) -> None:
        self.rng = Random(seed)
        self.mode = mode
        self.list = List()
        self.plain: list[bytes] = []
        self.ends = self.rng.random()

    def value(self) -> bytes:
        rng = self.rng
        if self.mode == "even":
            return b"%03d" % rng.randrange(30)
        if self.mode == "mixed":
            return b"x" * rng.randrange(12) + b"%d" % rng.randrange(5)
        if self.mode == "numbers":
            return (
                b"%d"
                % rng.choice(
                    [rng.randrange(10), rng.randrange(-1000, 1000), rng.randrange(1 << 63)]
                )
                if rng.random() < 0.99
                else b"none"
            )
        if self.mode == "large":
            return b"%d" % rng.randrange(5) * rng.choice([1, 100, 200, 300, 1500])
        return rng.choice(
            [
                b"$3\r\nabc",
                b"\r\n$1\r\na\r\n",
                b"",
                b"$",
                b"a",
                b"\n",
                b"\r\n",
                b"$1\r\na\r\n",
                b"abc",
            ]
        )

    def some(self) -> bytes:
        """Most often a value that is there."""
        return (
            self.rng.choice(self.plain) if self.plain and self.rng.random() < 0.9 else self.value()
        )

    def push(self) -> None:
        left = self.rng.random() < self.ends
        values = [self.value() for _ in range(self.rng.choice([1, 1, 2, 20, 150]))]
        if len(values) == 1:
            length = self.list.push_left(values[0]) if left else self.list.push_right(values[0])
        else:
            length = self.list.push(values, left)
        self.plain = values[::-1] + self.plain if left else self.plain + values
        assert length == len(self.plain)

    def pop(self) -> None:
        for _ in range(min(self.rng.randrange(40), len(self.plain) - 1)):
            if self.rng.random() < self.ends:
                assert self.list.pop_left() == self.plain.pop(0)
            else:
                assert self.list.pop_right() == self.plain.pop()

    def pop_some(self) -> None:
        count = min(self.rng.choice([0, 1, 5, 100]), len(self.plain) - 1)
        if self.rng.random() < 0.5:
            assert self.list.pop(count, True) == self.plain[:count]
            del self.plain[:count]
        else:
            assert self.list.pop(count, False) == self.plain[::-1][:count]
            del self.plain[len(self.plain) - count :]

    def trim(self) -> None:
        left = self.rng.randrange(len(self.plain)) // 3
        right = self.rng.randrange(len(self.plain) - left) // 3
        self.list.trim(left, right)
        self.plain = self.plain[left : len(self.plain) - right]

    def look(self) -> None:
        length = len(self.plain)
        for _ in range(10):
            index = self.rng.randrange(-length - 2, length + 2)
            assert self.list.get(index) == (
                self.plain[index] if -length <= index < length else None
            )
            start = self.rng.randrange(length)
            stop = self.rng.randrange(start, length) + 1
            assert self.list.encoded(start, stop) == pack(self.plain[start:stop])
            assert self.list.items(start, stop) == self.plain[start:stop]

    def set(self) -> None:
        length = len(self.plain)
        for _ in range(3):
            index, value = self.rng.randrange(-length - 1, length + 1), self.value()
            there = -length <= index < length
            assert self.list.set(index, value) == there
            if there:
                self.plain[index] = value

    def insert(self) -> None:
        for _ in range(self.rng.choice([1, 5, 60])):
            pivot, value, after = self.some(), self.value(), self.rng.random() < 0.5
            there = pivot in self.plain
            assert self.list.insert(pivot, value, after) == there
            if there:
                self.plain.insert(self.plain.index(pivot) + after, value)

    def remove(self) -> None:
        value, count = self.some(), self.rng.choice([0, 1, -1, 3, -3, 100, -100])
        gone = min(abs(count) or len(self.plain), self.plain.count(value))
        if gone == len(self.plain):
            return
        assert self.list.remove(value, count) == gone
        places = [at for at, item in enumerate(self.plain) if item == value]
        for at in sorted(
            places[len(places) - gone :] if count < 0 else places[:gone], reverse=True
        ):
            del self.plain[at]

    def positions(self) -> None:
        value, rng = self.some(), self.rng
        skip, most, within, backward = (
            rng.choice([0, 0, 1, 3]),
            rng.choice([0, 1, 3]),
            rng.choice([0, 0, 1, 30, 300]),
            rng.random() < 0.5,
        )
        order = list(range(len(self.plain)))[:: -1 if backward else 1]
        found = [at for at in order[: within or None] if self.plain[at] == value][skip:]
        assert self.list.positions(value, skip, most, within, backward) == found[: most or None]

    def copy(self) -> None:
        old, before = self.list, self.plain[:]
        self.list = old.copy()
        self.set()
        self.pop()
        self.push()
        self.insert()
        assert old.items() == before
        check(old)

    def step(self) -> None:
        if not self.plain:
            self.push()
        steps: list[Callable[[], None]] = [
            self.push,
            self.push,
            self.pop,
            self.pop_some,
            self.trim,
            self.look,
            self.set,
            self.insert,
        ]
        self.rng.choice([*steps, self.remove, self.remove, self.positions, self.copy])()
        assert len(self.list) == len(self.plain) and self.list.items() == self.plain
        assert self.list.span(0, 0) == pack(self.plain) and self.list.size() > sum(
            map(len, self.plain)
        )
        check(self.list)


def check(value: List) -> None:
    """The structure's own invariants."""
    if value.nodes is None:
        assert (
            unpack(value.blob, value.count) is not None and len(value.blob) <= quicklist.SMALL_BYTES
        )
        return
    assert value.blob == b"" and value.count == 0
    for arm in (value.nodes.left, value.nodes.right):
        assert (
            len(arm.nodes) == len(arm.counts)
            and arm.total == sum(arm.counts)
            and len(arm.ends) <= len(arm.nodes)
        )
        assert [
            len(items_of(node, count)) for node, count in zip(arm.nodes, arm.counts, strict=True)
        ] == arm.counts
        assert all(0 < count <= list_nodes.NODE_ITEMS for count in arm.counts)
        assert all(closed(node) == node for node in arm.nodes[:-1])
        assert arm.ends == [sum(arm.counts[: at + 1]) for at in range(len(arm.ends))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(10))
def test_any_history(seed: int, mode: str) -> None:
    history = History(seed, mode)
    for _ in range(60):
        history.step()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(25))
def test_any_history_of_tiny_nodes(tiny: None, seed: int, mode: str) -> None:
    history = History(1000 + seed, mode)
    for _ in range(60):
        history.step()


@pytest.mark.parametrize("length", [1, 10, 100, 1000])
@pytest.mark.parametrize("left", [True, False])
def test_an_empty_list_is_false(length: int, left: bool) -> None:
    value = List()
    assert not value
    value.push([b"element:%d" % n for n in range(length)], left)
    for _ in range(length):
        assert value
        assert value.pop_left()
    assert not value and len(value) == 0 and value.items() == []


def numbered(length: int) -> List:
    value = List()
    for n in range(length):
        value.push_right(b"element:%d" % n)
    return value


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many elements were taken out of blobs, a call each."""
    counts: list[int] = []

    def counting(blob: bytes, count: int) -> list[bytes]:
        counts.append(count)
        return unpack(blob, count)

    monkeypatch.setattr(list_nodes, "unpack", counting)
    monkeypatch.setattr(quicklist, "unpack", counting)
    return counts


def test_a_place_in_the_middle_of_a_long_list_costs_one_node(unpacked: list[int]) -> None:
    value = numbered(100_000)
    arm = value.nodes.right if value.nodes else Arm(False)
    assert len(arm.ends) == 0, "pushes alone keep no index"
    unpacked.clear()
    assert (
        value.get(50_000) == b"element:50000"
        and value.set(49_999, b"new")
        and value.encoded(50_100, 50_101) == b"$13\r\nelement:50100\r\n"
    )
    assert sum(unpacked) <= 3 * list_nodes.NODE_ITEMS
    index = arm.ends
    assert len(index) == len(arm.nodes)
    value.push_right(b"more")
    value.push_left(b"first")
    value.pop_right()
    value.pop_left()
    assert (
        value.get(60_000) == b"element:60000"
        and arm.ends is index
        and len(index) >= len(arm.nodes) - 1
    ), "work at the ends leaves the index true"


def test_a_range_over_whole_nodes_joins_their_blobs(unpacked: list[int]) -> None:
    value = numbered(10_000)
    unpacked.clear()
    assert value.encoded(0, 10_000) == pack([b"element:%d" % n for n in range(10_000)])
    assert unpacked == []
    assert value.encoded(1000, 3000) == pack([b"element:%d" % n for n in range(1000, 3000)])
    assert len(unpacked) <= 2


def test_an_element_of_evenly_long_ones_is_cut_out(unpacked: list[int]) -> None:
    value = List()
    value.push([b"%05d" % n for n in range(10_000)], False)
    unpacked.clear()
    assert (
        value.get(5_000) == b"05000"
        and value.encoded(77, 80) == pack([b"00077", b"00078", b"00079"])
        and unpacked == []
    )
    value.set(5_001, b"longer than the others")
    unpacked.clear()
    assert value.get(5_000) == b"05000" and len(unpacked) == 1, "not even any more: taken apart"


def test_dollar_signs_at_even_distances_do_not_deceive() -> None:
    # packed, every eleventh byte is a dollar sign, but the third one is not a head's
    four = [b"abcde", b"1234567$", b"xy", b"abcde"]
    assert pack(four)[::11] == b"$$$$"
    value = List()
    value.push(four * 60, False)
    assert (
        value.items(1, 4) == four[1:]
        and value.get(2) == b"xy"
        and value.get(162) == b"xy"
        and value.items(42, 43) == [b"xy"]
    )


def test_nodes_that_lost_most_of_their_elements_are_joined() -> None:
    value = numbered(4000)
    for n in range(4000):
        if n % 20:
            value.remove(b"element:%d" % n, 1)
    assert value.nodes is not None and len(value) == 200
    assert len(value.nodes.left.nodes) + len(value.nodes.right.nodes) <= 4
    value = numbered(4000)
    value.push([b"odd", b"odd", b"odd", b"even"] * 1000, True)
    assert value.remove(b"odd", 0) == 3000 and value.nodes is not None
    assert len(value.nodes.left.nodes) <= 1000 // list_nodes.NODE_ITEMS + 1


def test_pops_from_the_far_end_of_what_was_pushed_share_the_work() -> None:
    """A queue: pushed right, popped left; each element moves a bounded number of times."""
    value = numbered(20_000)
    assert value.nodes is not None
    for n in range(19_000):
        assert value.pop_left() == b"element:%d" % n
        value.push_right(b"again")
    assert value.items(0, 2) == [b"element:19000", b"element:19001"] and len(value) == 20_000
    assert max(len(value.nodes.left.open), len(value.nodes.right.open)) <= list_nodes.NODE_ITEMS


def test_large_elements_stay_as_they_are() -> None:
    large = [bytes([65 + n]) * 1000 for n in range(20)]
    value = List()
    value.push(large * 20, False)
    assert value.nodes is not None
    assert all(isinstance(node, list) for node in value.nodes.right.nodes)
    assert value.get(41) is large[1]


def test_a_long_list_is_freed_piece_by_piece() -> None:
    while deferred_free.waiting():
        deferred_free.free_some(1_000_000)
    value = numbered(100_000)
    del value
    assert deferred_free.waiting()
    while deferred_free.waiting():
        deferred_free.free_some(10_000)
    short = numbered(300)
    assert short.nodes is not None
    del short
    assert not deferred_free.waiting()
    value = numbered(100_000)
    value.trim(50_000, 10)
    assert deferred_free.waiting(), "what LTRIM cuts off as well"


def test_a_small_list_takes_little_more_than_its_bytes() -> None:
    value = List()
    for n in range(10):
        value.push_right(b"element:%02d" % n)
    assert value.size() < 10 * (10 + 7) + 150


@pytest.mark.parametrize("length", [1000, 100_000])
def test_a_long_list_of_numbers_takes_less_than_their_digits(length: int) -> None:
    value = List()
    for n in range(length):
        value.push_right(b"%d" % (1_000_000 + n))
    assert value.size() < length * 5.5 + 3000
    value.get(0)  # which makes the index
    before = value.size()
    for n in range(0, length, 100):
        value.set(n, b"%d" % n)
        value.get(n + 1)
    assert value.size() <= before, "neither changed nor read nodes stay wide"


@pytest.mark.parametrize("absent", [b"5000", b"text", b"$4\r\n1234"])
def test_what_is_not_in_a_list_of_numbers_is_found_out_without_taking_it_apart(
    unpacked: list[int], absent: bytes
) -> None:
    value = List()
    value.push([b"%d" % n for n in range(1000, 5000)], False)
    unpacked.clear()
    assert (
        value.positions(absent, 0, 0, 0, False) == []
        and value.remove(absent, 0) == 0
        and not value.insert(absent, b"x", False)
    )
    assert sum(unpacked) <= 3 * list_nodes.NODE_ITEMS
    assert (
        value.positions(b"3210", 0, 0, 0, True) == [2210]
        and value.insert(b"4000", b"new", True)
        and value.get(3001) == b"new"
    )
