"""Too few whole nodes, catching up, and questions that are given up."""

from __future__ import annotations

import pytest

from tests.txlog.consensus.cluster import Violation
from tests.txlog.consensus.harness import A, B, Bench, append, log_of, renew, seal
from tests.txlog.consensus.repair_harness import (
    LOG,
    agree,
    answer,
    converse,
    damaged,
    met,
    surveyed,
    tell,
)
from txlog.consensus.adaptive_timeout import FIRST_US, LONGEST_US, AdaptiveTimeout
from txlog.consensus.outputs import PeerFetch, Promise, PutBack, Truncate, WriteMeta
from txlog.messages import (
    Appended,
    CatchUp,
    Fetch,
    Fetched,
    MissingEntries,
    Suspected,
    Tail,
    TailQuery,
    Unavailable,
)


@pytest.mark.parametrize("slow_us", [400_000, 2_500_000, 7_000_000])
def test_answers_that_take_longer_than_they_are_first_waited_for_are_used(slow_us: int) -> None:
    bench = damaged(LOG, 2, committed=4)
    converse(
        bench,
        lambda node, fetch: answer(fetch, []),
        lambda node: {"n1": 1000, "n2": slow_us}[node],
        lambda: bench.machine.broken == 2,
    )
    assert bench.machine.broken == 2, "both have said that they do not have it"
    bench = damaged(LOG, 2, committed=4)
    converse(
        bench,
        lambda node, fetch: answer(fetch, LOG),
        lambda node: slow_us,
        lambda: not bench.machine.holes,
    )
    assert not bench.machine.holes


@pytest.mark.parametrize("slow_us", [2_500_000, 15_000_000, 30_000_000])
def test_pieces_that_take_longer_than_they_are_first_waited_for_are_taken(slow_us: int) -> None:
    bench = Bench()
    bench.ask(append(1, LOG, upto=1))
    bench.ask(CatchUp(1, b"round1", 5))

    def says(node: str, fetch: Fetch) -> Fetched:
        takes_us[node] = slow_us if fetch.max_bytes else 1000
        return answer(fetch, LOG[: fetch.start + 1], last=(1, 5), committed=5)

    takes_us: dict[str, int] = {}
    converse(bench, says, takes_us.__getitem__, lambda: bench.machine.committed == 5)
    assert bench.machine.last == (1, 5) and bench.machine.committed == 5


def test_how_long_is_waited_is_of_one_piece_of_work() -> None:
    bench = damaged(LOG, 2, committed=4)
    patience = bench.machine.repair._timeout
    converse(
        bench,
        lambda node, fetch: answer(fetch, LOG),
        lambda node: 7_000_000,
        lambda: not bench.machine.holes,
    )
    assert patience.us > FIRST_US
    bench.node.tick(bench.machine.deadline())
    assert bench.machine.deadline() == 0 and bench.machine.repair._timeout.us == FIRST_US


def test_an_answer_to_a_question_that_another_took_the_place_of_proves_nothing() -> None:
    bench = damaged(LOG, 2, committed=4)
    old = surveyed(bench)
    bench.machine.on_membership(["n1", "n2"], bench.now)
    bench.node.run(bench.now)
    tell(bench, "n1", answer(old, LOG))
    assert bench.machine.holes and bench.machine.repair._timeout.us == FIRST_US


def test_a_round_of_late_answers_proves_it_once() -> None:
    patience = AdaptiveTimeout()
    for token in range(1, 100):
        patience.give_up(token)
    patience.late(5)
    assert patience.us == FIRST_US, "of long ago"
    patience.late(98)
    patience.late(99)
    assert patience.us == 2 * FIRST_US
    for token in range(100, 120):
        patience.give_up(token)
        patience.late(token)
    assert patience.us == LONGEST_US


def test_when_all_have_answered_in_vain_it_is_asked_again_soon() -> None:
    bench = damaged(LOG, 2, committed=4)
    fetch = surveyed(bench)
    assert bench.machine.deadline() >= bench.now + 2_000_000
    for node in ("n1", "n2"):
        tell(bench, node, answer(fetch, []))
    assert bench.machine.deadline() == bench.now + 500_000


def test_a_writer_who_comes_by_while_the_greatest_log_is_copied_holds_nothing_up() -> None:
    bench = damaged(LOG, 5)
    agree(
        bench,
        n1=lambda fetch: answer(fetch, [], last=(1, 3), suspect=True),
        n2=lambda fetch: answer(fetch, LOG, suspect=True),
    )
    assert bench.machine.deadline() >= bench.now + 2_000_000, "the copy is under way"
    bench.ask(append(3, LOG[:4], repair_upto=9))
    assert bench.machine.suspicion is not None and bench.machine.deadline() <= bench.now + 500_000


def test_a_node_that_is_silent_makes_nobody_wait_longer() -> None:
    bench = damaged(LOG, 2, committed=4)
    asked: list[int] = []

    def says(node: str, fetch: Fetch) -> Fetched | None:
        if node == "n1":
            asked.append(bench.now)
            return answer(fetch, [])
        return None

    converse(bench, says, lambda node: 1000, lambda: len(asked) == 20)
    assert asked[-1] - asked[0] <= 19 * 2_010_000


def test_s4_a_group_of_one_cuts_its_torn_tail() -> None:
    bench = damaged(LOG, 5, peers=0)
    assert bench.machine.last == (1, 4) and bench.machine.suspicion is None
    assert any(isinstance(output, Truncate) for _, output in bench.node.disk.pending)


def test_s5_a_group_of_one_never_cuts_what_it_had_proven() -> None:
    bench = damaged(LOG, 3, peers=0, ack=3)
    assert bench.machine.broken == 3 and len(bench.node.disk.now.frames) == 5


def test_a_put_back_that_a_truncation_overtook_says_nothing() -> None:
    bench = damaged(LOG, 5)
    machine = bench.machine
    fetch = surveyed(bench)
    machine.on_peer_fetched("n1", answer(fetch, LOG, committed=5), bench.now)
    outputs = machine.take_outputs()
    sequence = outputs[-1].sequence
    machine.on_message(0, seal(2), bench.now)
    machine.on_message(0, append(2, log_of(2, behind=LOG[:4]), 5), bench.now)
    scan = bench.node.disk.scan(0)
    machine.on_put_back(sequence, scan, bench.now)
    assert machine.last == (2, 5) and machine.suspicion is not None


def test_catching_up_ends_when_the_writer_has_fed_the_rest() -> None:
    bench = Bench()
    bench.machine.repair.catch_up(3, bench.now)
    assert any(isinstance(output, PeerFetch) for output in bench.machine.take_outputs())
    bench.ask(append(1, LOG, committed=4))
    bench.now += 600_000
    bench.said.clear()
    bench.node.tick(bench.now)
    assert bench.said == [] and bench.machine.deadline() == 0


def test_an_old_promise_on_disk_is_raised_to_the_entries_held() -> None:
    bench = Bench()
    bench.ask(append(4, log_of(4)))
    bench.node.disk.synced.promise = Promise(2, A, b"round2", 160)
    bench.restart()
    assert bench.machine.promise.term == 4
    assert isinstance(bench.node.disk.pending[0][1], WriteMeta)


def test_s6_below_committed_it_is_a_hole_that_is_put_back_while_the_node_works() -> None:
    bench = met(2, committed=4)
    assert bench.machine.suspicion is None and bench.machine.last == (1, 5)
    fetch = surveyed(bench)
    assert fetch.start == 2
    assert bench.one(append(1, log_of(1, behind=LOG), 6, committed=5)) == Appended(
        1, b"round1", 7, 6
    )
    tell(bench, "n2", answer(fetch, LOG, committed=2))
    assert not bench.machine.holes and bench.node.disk.chain_at(2) == LOG[1].chain


def test_s6_above_committed_the_node_is_suspect_at_once_and_for_good_until_it_is_whole() -> None:
    """Earlier, it was a hole until the restart.
    The writer's next Append truncated acknowledged entries there, and a crash before the write lost
    them unnoticed.
    """
    bench = met(4, committed=3)
    machine = bench.machine
    assert (
        machine.suspicion is not None
        and machine.last == (1, 3)
        and machine.durable == 3
        and machine.proven == 5
    )
    assert bench.node.disk.synced.suspicion is not None, "on disk"
    assert (
        bench.ask(renew(1)) == [] and bench.ask(TailQuery(1)) == [] and bench.ask(seal(2, B)) == []
    )
    bench.restart()
    assert bench.machine.suspicion is not None
    tell(bench, "n1", answer(surveyed(bench), LOG))
    assert bench.machine.suspicion is None and bench.machine.last == (1, 5), (
        "whole again, with what stood behind the damage"
    )


def test_s6_a_writer_goes_on_from_in_front_of_the_damage_and_heals() -> None:
    bench = met(4, committed=3)
    longer = log_of(1, behind=LOG)
    assert bench.one(append(1, longer, 6)) == MissingEntries(1, b"round1", 7, (1, 3), 3)
    suspected = bench.one(append(1, longer, 4))
    assert isinstance(suspected, Suspected)
    assert bench.one(append(1, longer, 7, repair_epoch=suspected.epoch, repair_upto=6)) == Appended(
        1, b"round1", 7, 6
    )
    assert bench.machine.suspicion is None and [
        bench.node.disk.chain_at(entry.position) for entry in longer
    ] == [entry.chain for entry in longer]


def test_s6_what_is_under_way_to_the_disk_comes_back_with_the_put_back() -> None:
    bench = Bench()
    bench.ask(append(1, LOG, committed=3))
    longer = log_of(1, 1, behind=LOG)
    bench.ask(append(1, longer, 6), sync=False)
    bench.node.disk.rot(5, True)
    bench.machine.on_damage(bench.node.disk.scan(3), bench.now)
    bench.node.run(bench.now)
    fetch = surveyed(bench)
    bench.node.sync(bench.now)
    assert bench.machine.durable == 4
    tell(bench, "n1", answer(fetch, longer))
    assert (
        bench.machine.last == (1, 7)
        and bench.machine.durable == 7
        and bench.machine.suspicion is None
    )


def test_s6_more_damage_while_a_put_back_is_under_way() -> None:
    bench = met(4, committed=2)
    machine = bench.machine
    machine.on_peer_fetched("n1", answer(surveyed(bench), LOG), bench.now)
    put_back = next(output for output in machine.take_outputs() if isinstance(output, PutBack))
    bench.node.disk.apply(put_back)
    bench.node.applied = put_back.sequence
    bench.node.disk.rot(3, True)
    machine.on_damage(bench.node.disk.scan(2), bench.now)
    bench.node.run(bench.now)
    bench.node.sync(bench.now)
    machine.on_put_back(put_back.sequence, bench.node.disk.scan(2), bench.now)
    bench.node.run(bench.now)
    assert machine.last == (1, 2) and machine.suspicion is not None
    tell(bench, "n1", answer(surveyed(bench), LOG))
    assert machine.last == (1, 5) and machine.suspicion is None


def test_s6_what_nobody_has_is_refused_by_name() -> None:
    bench = met(2, committed=4)
    fetch = surveyed(bench)
    for node in ("n1", "n2"):
        tell(bench, node, answer(fetch, [], last=(1, 5)))
    machine = bench.machine
    assert machine.broken == 2 and "entry 2 frame 2" in machine.broken_reason
    assert machine.readable_upto(1) == 1, "never skipped"
    assert isinstance(bench.one(append(1, log_of(1, behind=LOG), 6)), Unavailable)


def test_s6_a_group_of_one_has_nobody_to_ask() -> None:
    for position, committed in ((2, 4), (4, 3)):
        bench = met(position, committed=committed, peers=0)
        assert bench.machine.broken == position
        assert len(bench.node.disk.now.frames) == 5


def test_s6_what_is_known_committed_and_of_which_nothing_is_known_needs_a_start() -> None:
    bench = Bench()
    bench.ask(append(1, LOG, committed=5))
    bench.node.disk.rot(5, False)
    with pytest.raises(Violation, match="known committed"):
        bench.machine.on_damage(bench.node.disk.scan(5), bench.now)
        bench.node.run(bench.now)


def test_a_question_for_the_tail_while_a_hole_is_the_last_durable_position_ends_nobody() -> None:
    """A new writer cuts right after the hole.
    For the duration of a sync the hole's id, which no node here knows, is the durable one.
    """
    bench = damaged(LOG, 2, committed=2)
    fresh = log_of(2, behind=LOG[:2])
    assert bench.ask(append(2, fresh, start=3), sync=False) == []
    assert bench.ask(TailQuery(5), sync=False) == [], "no answer is better than an end"
    bench.node.sync(bench.now)
    assert [message for message in bench.ask(TailQuery(6)) if not isinstance(message, Fetch)] == [
        Tail(6, (2, 3), 2)
    ]
