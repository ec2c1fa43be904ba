"""The waiting machine, compared with a model that checks every wait each time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memstore.replication.waiting
from memstore.engine.session import Session
from memstore.replication.waiting import COMMIT, HERE, REPLICAS, Wait, Waiting
from tests.sim.mutant import Mutant
from tests.sim.mutants import plant as plant_mutant

SMALL = st.integers(0, 6)
WAITS = st.tuples(
    st.sampled_from([COMMIT, HERE, REPLICAS]),
    SMALL,
    st.sampled_from([0, 0, 3, 5, 9]),
    st.integers(0, 3),
    st.booleans(),
)
STEPS = st.one_of(
    st.tuples(st.just("add"), WAITS),
    st.tuples(st.just("progress"), st.tuples(SMALL, SMALL, st.lists(SMALL, max_size=3))),
    st.tuples(st.just("time"), st.integers(0, 10)),
    st.tuples(st.just("forget"), st.integers(0, 40)),
    st.tuples(st.just("shift"), SMALL),
    st.tuples(st.just("clear"), st.none()),
)


class Model:
    """A model that checks every wait each time."""

    def __init__(self) -> None:
        self.waits: dict[Session, Wait] = {}

    def progress(self, committed: int, here: int, applied: list[int]) -> set[Session]:
        return self.take(lambda wait: self.holds(wait, committed, here, applied))

    @staticmethod
    def holds(wait: Wait, committed: int, here: int, applied: list[int]) -> bool:
        if wait.reason == COMMIT:
            return committed >= wait.position
        if wait.reason == HERE:
            return here >= wait.position
        enough = sum(at >= wait.position for at in applied) >= wait.replicas
        return enough and (not wait.durable or committed >= wait.position)

    def time(self, now_us: int) -> set[Session]:
        return self.take(lambda wait: 0 < wait.deadline_us <= now_us)

    def take(self, condition: Callable[[Wait], bool]) -> set[Session]:
        over = {session for session, wait in self.waits.items() if condition(wait)}
        for session in over:
            del self.waits[session]
        return over

    def deadline(self) -> int:
        return min((w.deadline_us for w in self.waits.values() if w.deadline_us), default=0)


def wait(session: Session, fields: tuple[int, int, int, int, bool]) -> Wait:
    reason, position, deadline_us, replicas, durable = fields
    return Wait(session, reason, position, deadline_us, replicas, durable)


def sessions_of(over: list[Wait]) -> set[Session]:
    assert len({one.session for one in over}) == len(over), "returned twice"
    return {one.session for one in over}


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_each_wait_is_over_exactly_when_its_condition_holds(steps: list[tuple[str, Any]]) -> None:
    waiting, model, sessions = Waiting(), Model(), [Session(n) for n in range(60)]
    for at, (step, fields) in enumerate(steps):
        if step == "add":
            # two objects: the machine changes its own
            waiting.add(wait(sessions[at], fields))
            model.waits[sessions[at]] = wait(sessions[at], fields)
        elif step == "progress":
            assert sessions_of(waiting.on_progress(*fields)) == model.progress(*fields)
        elif step == "time":
            assert sessions_of(waiting.on_deadline(fields)) == model.time(fields)
        elif step == "forget":
            waiting.forget(sessions[fields])
            model.waits.pop(sessions[fields], None)
        elif step == "shift":
            waiting.shift_positions(fields)
            for one in model.waits.values():
                one.position += one.reason != HERE and one.position >= fields
        else:
            waiting.clear()
            model.waits.clear()
        assert len(waiting) == len(model.waits) and bool(waiting) == bool(model.waits)
        assert waiting.deadline() == model.deadline()
        replicated = [one for one in model.waits.values() if one.reason == REPLICAS]
        assert waiting.for_replicas == len(replicated)


def test_the_second_replica_ends_a_wait_for_two() -> None:
    waiting, one = Waiting(), Session(1)
    waiting.add(Wait(one, REPLICAS, 5, replicas=2))
    assert waiting.on_progress(9, 9, [9, 4]) == [], "one replica is not two"
    assert waiting.on_progress(9, 9, [9]) == []
    assert sessions_of(waiting.on_progress(9, 9, [5, 9])) == {one} and not waiting


def test_a_durable_wait_needs_the_commit_too() -> None:
    waiting, one = Waiting(), Session(1)
    waiting.add(Wait(one, REPLICAS, 5, durable=True))
    assert waiting.on_progress(4, 9, [9, 9]) == []
    assert sessions_of(waiting.on_progress(5, 5, [])) == {one}


def test_a_wait_whose_entry_moved_up_needs_the_higher_position() -> None:
    waiting, one, two = Waiting(), Session(1), Session(2)
    waiting.add(Wait(one, COMMIT, 5))
    waiting.add(Wait(two, HERE, 5))
    waiting.shift_positions(5)
    assert sessions_of(waiting.on_progress(5, 5, [])) == {two}
    assert sessions_of(waiting.on_progress(6, 6, [])) == {one}


def test_waits_in_order_of_position_and_then_of_arrival() -> None:
    waiting, sessions = Waiting(), [Session(n) for n in range(4)]
    for session, position in zip(sessions, (7, 5, 7, 6), strict=True):
        waiting.add(Wait(session, COMMIT, position))
    assert [one.session.id for one in waiting.on_progress(9, 9, [])] == [1, 3, 0, 2]


@pytest.mark.parametrize("reason", [COMMIT, HERE, REPLICAS])
@pytest.mark.parametrize("by", ["leaving", "time", "progress"])
def test_waits_that_are_over_take_no_memory(reason: int, by: str) -> None:
    """Waits of a client that waits without a limit and leaves, again and again.
    The same for waits that end long before their deadline.
    """
    waiting = Waiting()
    waiting.add(Wait(Session(0), reason, 10**6, 10**12, 3))
    for number in range(1, 2_000):
        deadline_us = number if by == "time" else 10**9
        waiting.add(
            Wait(Session(number), reason, 10 if by == "progress" else 10**5, deadline_us, 1)
        )
        if by == "time":
            assert len(waiting.on_deadline(number)) == 1
        elif by == "progress":
            assert len(waiting.on_progress(10, 10, [10])) == 1
    for number in range(1, 2_000):
        if by == "leaving":
            waiting.forget(next(s for s in list(waiting._waits) if s.id == number))
    assert len(waiting) == 1 and waiting.places() < 300


def steps_of(work: Callable[[], object]) -> int:
    """How many lines and calls of Python ``work`` takes, in a module that is not compiled."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_a_commit_looks_at_no_wait_that_goes_on() -> None:
    def crowd(size: int) -> Waiting:
        waiting = Waiting()
        for number in range(size):
            waiting.add(Wait(Session(number), REPLICAS, 100 + number, 10**9 + number, 2, True))
        return waiting

    few, many = crowd(10), crowd(20_000)
    cost = steps_of(lambda: few.on_progress(99, 99, [99, 99]))
    assert cost and steps_of(lambda: many.on_progress(99, 99, [99, 99])) == cost
    one = Wait(Session(-1), REPLICAS, 7, 10**9, 2, True)
    assert steps_of(lambda: many.add(one)) < 60, "to add a wait looks at few others"
    assert steps_of(lambda: many.forget(one.session)) < 60


# ------------------------------ each guard is needed: deliberate bugs, and the test that finds each

GUARDS: dict[str, tuple[Mutant, Callable[[], None]]] = {
    "any-replica-counts-for-all": (
        Mutant(
            "the first replica ends a wait for several",
            Waiting,
            "_take_replicated",
            "ranked[count - 1]",
            "ranked[0]",
        ),
        test_the_second_replica_ends_a_wait_for_two,
    ),
    "durable-without-commit": (
        Mutant(
            "WAITAOF does not wait for the commit",
            Waiting,
            "_take_replicated",
            "min(upto, committed) if durable else upto",
            "upto",
        ),
        test_a_durable_wait_needs_the_commit_too,
    ),
    "position-before-it-moved": (
        Mutant(
            "a wait keeps the position that its entry had before",
            Waiting,
            "shift_positions",
            "queue.shift(position)",
            "pass",
        ),
        test_a_wait_whose_entry_moved_up_needs_the_higher_position,
    ),
    "one-position-early": (
        Mutant(
            "a wait is over one position early",
            memstore.replication.waiting._Queue,
            "take",
            "heap[0][0] <= upto",
            "heap[0][0] <= upto + 1",
        ),
        test_a_wait_whose_entry_moved_up_needs_the_higher_position,
    ),
}


@pytest.mark.parametrize("name", GUARDS)
def test_each_guard_is_needed(name: str) -> None:
    mutant, story = GUARDS[name]
    story()
    with ExitStack() as undo:
        for piece in mutant.pieces:
            plant_mutant(mutant.owner, *piece, undo)
        with pytest.raises(AssertionError):
            story()
