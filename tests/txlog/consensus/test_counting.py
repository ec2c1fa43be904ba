"""Majorities, R2's bound, W1's window question, both ends of a lease."""

from __future__ import annotations

from itertools import permutations

from txlog.consensus.lease import Window, WriterLease, window_us
from txlog.consensus.quorum import TailQuestion, WindowQuestion, held_by_majority, majority
from txlog.messages import LeaseHeld, Promised, Tail


def test_a_majority() -> None:
    assert [majority(nodes) for nodes in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]


def test_held_by_majority() -> None:
    for values in permutations([1, 2, 3]):
        assert held_by_majority(list(values)) == 2
    for values in permutations([1, 1, 3]):
        assert held_by_majority(list(values)) == 1
    assert held_by_majority([7]) == 7
    assert held_by_majority([1, 9]) == 1
    assert held_by_majority([1, 2, 3, 4]) == 2
    assert held_by_majority([5, 1, 4, 2, 3]) == 3


def test_r2_the_bound_is_the_greatest_id_of_a_majority() -> None:
    question = TailQuestion(3, 7)
    assert question.on_tail(0, Tail(7, (2, 5), 5)) is None
    assert question.on_tail(0, Tail(7, (2, 5), 5)) is None, "one node, one answer"
    assert question.on_tail(1, Tail(6, (9, 9), 9)) is None, "of another question"
    assert question.on_tail(2, Tail(7, (1, 90), 5)) == (2, 5), (
        "ids, not positions: a dead writer's tail is longer"
    )


def test_w1_would_a_majority_promise() -> None:
    question = WindowQuestion(3, b"me", b"round", 100)
    seal = question.message
    assert seal.probe
    question.on_message(0, LeaseHeld(seal.term, b"round", 4, 80))
    question.on_message(1, Promised(seal.term, b"round", 4, True, (1, 1), 1))
    question.on_message(1, Promised(seal.term, b"round", 4, True, (1, 1), 1))
    assert not question.would and question.held_ms == 80
    question.on_message(2, Promised(seal.term, b"round", 4, True, (1, 1), 1))
    assert question.would and question.held_ms == 0


def test_l2_the_window_outlasts_the_lease_by_a_sixteenth_rounded_up() -> None:
    assert window_us(160) == 170_000
    assert window_us(1) == 1063


def test_l2_windows_outlast_leases_at_the_worst_clocks() -> None:
    """The writer's clock is slow by 1/33, the node's clock is fast by 1/33.
    When the node's window ends, the writer has stopped.
    """
    slow, fast = 32 / 33, 34 / 33
    for lease_ms in (1, 7, 1000, 10_000):
        lease_over_at = lease_ms * 1000 / slow
        window_over_at = window_us(lease_ms) / fast
        assert window_over_at >= lease_over_at


def test_a_lease_only_grows_and_needs_a_majority() -> None:
    lease = WriterLease(3, 100)
    assert not lease.credit(0, 1000) and lease.until_us == 0
    assert lease.credit(2, 900) and lease.until_us == 100_900
    assert not lease.credit(2, 900)
    assert lease.credit(1, 2000) and lease.until_us == 101_000
    lease.new_term()
    assert not lease.credit(0, 50_000) and lease.until_us == 101_000
    assert lease.credit(1, 60_000) and lease.until_us == 150_000
    lease.end()
    assert not lease.credit(2, 70_000) and lease.until_us == 0


def test_a_window_of_a_released_term_stays_closed() -> None:
    window = Window(0)
    assert window.open(b"a", 1, 16, 0)
    window.release(1, b"b", 16, 100)
    assert not window.open(b"a", 1, 16, 200)
    assert window.open(b"b", 2, 16, 300) and window.successor(301) == b""
