"""When the lease keeper renews, as scenarios.
Bugs are planted in it, and a scenario must find each of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest

from tests.sim.mutants import plant
from txlog.lease_keeper.board import Answers, Board, RenewalOrder
from txlog.lease_keeper.renewer import Renewer, RenewRequest

LEASE_MS = 1000
QUARTER_US = LEASE_MS * 250
LIMIT_US = 15_000_000
STEP_US = LEASE_MS * 1000 // 12
ROUND = b"r" * 16


class Primary:
    """A primary, its log nodes and its lease keeper, in steps of time.
    Log nodes answer at once unless they are `away`.
    """

    def __init__(self, nodes: int = 3) -> None:
        self.renewer = Renewer(nodes, LIMIT_US)
        self.now = 100_000_000
        self.order: RenewalOrder | None = RenewalOrder(7, ROUND, LEASE_MS)
        self.beat = self.now
        self.lease_until = self.now + LEASE_MS * 1000
        self.state = "R"
        self.away: set[int] = set()
        self.asked: list[RenewRequest] = []
        self.nodes = nodes

    def turn(self) -> None:
        """The loop turns and renews by itself."""
        self.beat = self.now
        self.lease_until = self.now + LEASE_MS * 1000

    def look(self) -> RenewRequest | None:
        question = self.renewer.on_tick(
            self.now, self.beat, self.lease_until, self.order, self.state
        )
        if question is not None:
            self.asked.append(question)
            for node in range(self.nodes):
                if node not in self.away:
                    self.answer(node, question)
        return question

    def answer(self, node: int, question: RenewRequest) -> bool:
        return self.renewer.on_renewed(
            node, question.order.term, question.order.ballot_id, question.number
        )

    def stand_still(self, us: int) -> None:
        until = self.now + us
        while self.now < until:
            self.now = min(self.now + STEP_US, until)
            self.look()

    def leads(self) -> bool:
        return self.now < max(self.lease_until, self.renewer.lease_until_us)


# --------------------------------------------------------------------------- the scenarios


def while_the_loop_turns_nothing_is_asked() -> None:
    primary = Primary()
    for _ in range(100):
        primary.now += QUARTER_US
        primary.turn()
        primary.now += STEP_US
        primary.look()
    assert primary.asked == []


def a_long_command_keeps_its_lease_up_to_the_limit() -> None:
    primary = Primary()
    begun = primary.now
    for _ in range(400):
        if primary.leads():
            primary.stand_still(STEP_US)
    assert len(primary.asked) > 40 and all(
        later.sent_us - earlier.sent_us >= QUARTER_US for earlier, later in pairwise(primary.asked)
    )
    assert all(QUARTER_US < question.sent_us - begun < LIMIT_US for question in primary.asked)
    assert LIMIT_US <= primary.now - begun <= LIMIT_US + LEASE_MS * 1000 + STEP_US
    primary.stand_still(5_000_000)
    assert primary.renewer.lease_until_us < primary.now, "nor is it taken up again later"
    primary.turn()
    primary.stand_still(5_000_000)
    assert primary.leads(), "the next command has a limit of its own"


def the_lease_counts_from_before_the_question() -> None:
    primary = Primary()
    primary.away = {0, 1, 2}
    primary.stand_still(QUARTER_US + STEP_US)
    (question,) = primary.asked
    primary.now += QUARTER_US // 2
    assert primary.answer(0, question) and primary.renewer.lease_until_us == 0, (
        "one node is no majority"
    )
    assert not primary.answer(0, question) and primary.renewer.lease_until_us == 0, (
        "and counts once"
    )
    assert primary.answer(2, question)
    assert primary.renewer.lease_until_us == question.sent_us + LEASE_MS * 1000


def a_minority_renews_nothing() -> None:
    primary = Primary(5)
    primary.away = {0, 2, 4}
    primary.stand_still(3_000_000)
    assert not primary.leads() and primary.renewer.lease_until_us == 0


def a_stopped_primary_loses_its_lease() -> None:
    for state in ("T", "t", "Z", "X", ""):
        primary = Primary()
        primary.stand_still(2_000_000)
        primary.state = state
        before = len(primary.asked)
        primary.stand_still(3_000_000)
        assert len(primary.asked) == before and not primary.leads(), state
        primary.state = "R"
        primary.stand_still(3_000_000)
        assert len(primary.asked) == before, "what has ended is not brought back"


def a_frozen_primary_loses_its_lease_and_a_slow_disk_does_not_cost_it() -> None:
    primary = Primary()
    for _ in range(5):
        primary.state = "D"
        primary.stand_still(LEASE_MS * 900)
        primary.state = "R"
        primary.stand_still(STEP_US)
    assert primary.leads()
    primary.state = "D"
    primary.stand_still(3 * LEASE_MS * 1000)
    assert not primary.leads()


def answers_of_an_older_round_count_for_nothing() -> None:
    primary = Primary()
    primary.stand_still(QUARTER_US + STEP_US)
    assert primary.renewer.lease_until_us
    primary.away = {0, 1, 2}
    primary.stand_still(QUARTER_US + STEP_US)
    old = primary.asked[-1]
    primary.order = RenewalOrder(8, b"s" * 16, LEASE_MS)
    primary.turn()
    primary.now += STEP_US
    primary.look()
    for node in range(3):
        primary.answer(node, old)
        primary.renewer.on_renewed(node, 8, b"s" * 16, old.number)
    assert primary.renewer.lease_until_us == 0
    assert primary.renewer.answers == Answers(8, b"s" * 16, 0, (0, 0, 0))


def a_lease_that_was_given_up_is_not_renewed() -> None:
    primary = Primary()
    primary.stand_still(QUARTER_US + STEP_US)
    question = primary.asked[-1]
    primary.order = None
    before = len(primary.asked)
    primary.stand_still(3_000_000)
    assert len(primary.asked) == before
    assert not primary.answer(0, question) and primary.renewer.answers is None


def a_writer_that_asks_for_no_more_lease_is_not_helped() -> None:
    """Its lease end reads 0 (L8)."""
    primary = Primary()
    primary.lease_until = 0
    primary.stand_still(3_000_000)
    assert primary.asked == []


STORIES: dict[str, Callable[[], None]] = {
    story.__name__: story
    for story in (
        while_the_loop_turns_nothing_is_asked, a_long_command_keeps_its_lease_up_to_the_limit,
        the_lease_counts_from_before_the_question, a_minority_renews_nothing,
        a_stopped_primary_loses_its_lease,
        a_frozen_primary_loses_its_lease_and_a_slow_disk_does_not_cost_it,
        answers_of_an_older_round_count_for_nothing, a_lease_that_was_given_up_is_not_renewed,
        a_writer_that_asks_for_no_more_lease_is_not_helped,
    )
}  # fmt: skip

# The error, the function, the piece of its text, the replacement.
BUGS: dict[str, tuple[str, str, str]] = {
    "renews while the loop turns": ("on_tick", "if stood_us <= quarter_us:", "if stood_us <= 0:"),
    "renews beyond the limit": ("on_tick", "stood_us >= self.limit_us or ", ""),
    "brings a dead lease back": (
        "on_tick",
        " or now_us >= max(lease_until_us, self.lease_until_us)",
        "",
    ),
    "renews while the primary is stopped": (
        "_is_stopped",
        "return not state or state in STOPPED",
        "return False",
    ),
    "renews while the primary is frozen": (
        "_is_stopped",
        "return now_us - self._waits_since >= lease_us",
        "return False",
    ),
    "renews after a release": (
        "on_tick",
        "if order is None or self._over:\n",
        "order = order or RenewalOrder(7, b'r' * 16, 1000)\n    if self._over:\n",
    ),
    "counts an answer of an old ballot": ("_begin", "self._requests.clear()", "pass"),
    "keeps answers of an old ballot": ("_begin", "self._sent_us = [0] * self._nodes", "pass"),
    "counts from the answer": (
        "on_renewed",
        "self._sent_us[node] = question.sent_us",
        "self._sent_us[node] = question.sent_us + 100_000",
    ),
    "one node is enough": ("_majority_sent_us", "[self._nodes // 2]", "[0]"),
    "asks at every look": ("on_tick", " or now_us < self._asked_us + quarter_us", ""),
}


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str) -> None:
    STORIES[story]()


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    caught = []
    with ExitStack() as undo:
        plant(Renewer, *BUGS[bug], undo)
        for name, story in STORIES.items():
            try:
                story()
            except (AssertionError, ValueError, TypeError):
                caught.append(name)
    assert caught, f"no story notices a lease keeper that {bug}"


# --------------------------------------------------------------------------- the shared memory


def board(nodes: int = 3) -> tuple[Board, memoryview]:
    memory = memoryview(bytearray(Board.size(nodes)))
    return Board(memory, nodes), memory.cast("Q")


def test_what_one_side_writes_the_other_reads() -> None:
    shared, _ = board()
    assert shared.read_order() is None and shared.read_answers() is None, (
        "memory that was never written"
    )
    shared.beat(5, 9)
    order, answers = (
        RenewalOrder((1 << 64) - 1, bytes(range(16)), 60_000),
        Answers(3, b"q" * 16, 2, (10, 0, 12)),
    )
    shared.order(order, 9)
    shared.answers(answers)
    shared.keeper_beat(7)
    assert shared.keeper_beat_us == 7
    assert (shared.beat_us, shared.lease_until_us, shared.read_order(), shared.read_answers()) == (
        5,
        9,
        order,
        answers,
    )
    shared.order(None)
    assert shared.read_order() is None and shared.read_answers() == answers


def test_the_lease_end_is_there_before_the_order_that_needs_it() -> None:
    """The loop may stand still right after an order, before its next beat."""
    shared, words = board()
    stored: list[int] = []

    class HelloFields:
        def __getitem__(self, at: int) -> int:
            return words[at]

        def __setitem__(self, at: int, value: int) -> None:
            stored.append(at)
            words[at] = value

    spied: Any = shared
    spied._words = HelloFields()
    shared.order(RenewalOrder(5, b"a" * 16, 1000), 77)
    assert shared.lease_until_us == 77
    assert stored.index(1) < stored.index(2)


def test_a_half_written_order_is_no_order() -> None:
    """A reader may see any mixture of two orders: it takes one of them whole, or none."""
    rng = random.Random(5)
    shared, words = board()
    orders = [RenewalOrder(5, b"a" * 16, 1000), RenewalOrder(6, b"b" * 16, 2000)]
    pictures = []
    for order in orders:
        shared.order(order)
        pictures.append(list(words))
    for _ in range(3000):
        for at in range(len(words)):
            words[at] = pictures[rng.randrange(2)][at]
        found = shared.read_order()
        assert found is None or (
            found in orders and list(words[2:8]) in [picture[2:8] for picture in pictures]
        )


def test_a_writer_that_died_in_the_middle_leaves_nothing_to_read() -> None:
    shared, words = board()
    shared.order(RenewalOrder(5, b"a" * 16, 1000))
    words[2] |= 1
    assert shared.read_order() is None
    shared.order(RenewalOrder(6, b"b" * 16, 1000))
    assert shared.read_order() == RenewalOrder(6, b"b" * 16, 1000)
