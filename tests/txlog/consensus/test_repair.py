"""Entries from other nodes, by example.

The tests cover entries that may be put back (S2), the exchange of all nodes (S4), and a log that
cannot be repaired (S5).
"""

from __future__ import annotations

from tests.txlog.consensus.harness import WINDOW_US, A, B, Bench, append, log_of, renew, seal
from tests.txlog.consensus.repair_harness import (
    LOG,
    STALE,
    agree,
    answer,
    damaged,
    fenced,
    surveyed,
    tell,
)
from txlog.consensus.log import Scan
from txlog.consensus.outputs import PeerFetch, PutBack, Truncate
from txlog.messages import (
    Appended,
    Fetch,
    Fetched,
    LeaseHeld,
    Promised,
    Refused,
    Suspected,
    TailQuery,
    Unavailable,
)


def test_s2_a_hole_below_committed_stops_nothing_but_readers() -> None:
    bench = damaged(LOG, 2, committed=4)
    machine = bench.machine
    assert machine.suspicion is None and [hole.position for hole in machine.holes] == [2]
    assert machine.readable_upto(1) == 1 and machine.readable_upto(3) == 4
    bench.now += WINDOW_US
    assert isinstance(bench.ask(seal(2, B, expected=(1, 5)))[-1], Promised)
    tell(bench, "n1", answer(fetch := Fetch(machine.repair._token, 2, 1, True), LOG, committed=0))
    assert fetch.start == 2 and not machine.holes, (
        "its chain is the next good frame's previous chain"
    )
    assert bench.node.disk.chain_at(2) == LOG[1].chain


def test_s2_an_append_over_a_hole_is_taken() -> None:
    bench = damaged(LOG, 4, committed=4)
    longer = log_of(1, behind=LOG)
    assert bench.one(append(1, longer, 4, committed=5)) == Appended(1, b"round1", 7, 6)


def test_s2_by_the_id_in_the_good_header() -> None:
    bench = damaged(LOG, 5, header=True)
    assert bench.machine.suspicion is not None
    tell(bench, "n1", answer(surveyed(bench), LOG))
    assert bench.machine.suspicion is None and bench.machine.last == (1, 5), (
        "a clean end after the put-back"
    )


def test_a_put_back_that_changed_nothing_is_tried_again_later() -> None:
    """On a full disk it has no room (A5): an immediate repetition would never pause."""
    bench = damaged(LOG, 5, header=True)
    machine = bench.machine
    fetch = surveyed(bench)
    machine.on_peer_fetched("n1", answer(fetch, LOG), bench.now)
    [put] = [output for output in machine.take_outputs() if isinstance(output, PutBack)]
    unchanged = Scan(machine.last, machine.last_chain, list(machine.tail_damage))
    machine.on_persisted(put.sequence, bench.now)
    machine.on_put_back(put.sequence, unchanged, bench.now)
    assert not [output for output in machine.take_outputs() if isinstance(output, PeerFetch)]
    assert bench.now < machine.deadline() <= bench.now + 500_000
    machine.on_deadline(machine.deadline())
    assert [output for output in machine.take_outputs() if isinstance(output, PeerFetch)]


def test_s2_by_the_answering_nodes_committed_position() -> None:
    bench = damaged(LOG, 5)
    tell(bench, "n1", answer(surveyed(bench), LOG, committed=5))
    assert bench.machine.suspicion is None and bench.machine.last == (1, 5)


def test_s2_f3_any_other_candidate_may_be_a_stale_entry_of_a_dead_writer() -> None:
    bench = damaged(LOG, 4, 5)
    tell(bench, "n1", answer(surveyed(bench), STALE))
    assert bench.machine.last == (1, 3) and bench.machine.suspicion is not None


def test_s2_a_later_proven_entry_proves_those_before_it() -> None:
    bench = damaged(LOG, 2, 3)  # nothing is known of 2; of 3, the next frame has the previous chain
    tell(bench, "n1", answer(surveyed(bench), LOG))
    assert bench.machine.last == (1, 5) and bench.machine.suspicion is None, (
        "the scan went on behind them, over 4 and 5"
    )


def test_s2_a_run_that_does_not_chain_is_not_put_back() -> None:
    bench = damaged(LOG, 4, 5)
    fetched = answer(surveyed(bench), LOG, committed=5)
    fetched.entries[0] = STALE[3].encoded
    tell(bench, "n1", fetched)
    assert bench.machine.last == (1, 3)


def test_s3_f2_that_others_lack_the_entry_ends_nothing_while_they_are_a_majority() -> None:
    bench = damaged(LOG, 5)
    fetch = surveyed(bench)
    tell(bench, "n1", answer(fetch, LOG[:4]))
    tell(bench, "n2", answer(fetch, LOG[:4]))
    assert bench.machine.suspicion is not None and not any(
        isinstance(output, Truncate) for _, output in bench.node.disk.pending
    )


def test_s4_all_answer_and_the_greatest_good_prefix_is_copied() -> None:
    bench = damaged(LOG, 4, 5)
    other = log_of(2, 2, behind=LOG[:3])
    agree(
        bench,
        n1=lambda fetch: answer(fetch, [], last=(1, 2), suspect=True),
        n2=lambda fetch: answer(fetch, other, suspect=False),
    )
    copy = surveyed(bench)
    assert copy.uncommitted and copy.start == 1
    tell(bench, "n2", answer(copy, other))
    assert bench.machine.last == (2, 5) and bench.machine.suspicion is None
    assert bench.machine.promise.term == 2, "A4: raised, durably, before the entries"
    bench.restart(keep=99)
    assert bench.machine.suspicion is None and bench.machine.promise.term == 2


def test_s4_first_every_node_promises_a_term_that_no_writer_has() -> None:
    """A living writer may count an entry that this node has acknowledged and is about to cut."""
    bench = damaged(LOG, 5)
    second = fenced(bench)
    assert second.fence == 2
    assert isinstance(bench.one(append(1, log_of(1, behind=LOG[:4]), 5)), Refused)
    late = answer(second, [], last=(1, 4), suspect=True)
    late.promised = 1
    tell(bench, "n1", answer(second, [], last=(1, 4), suspect=True))
    tell(bench, "n2", late)
    assert bench.machine.suspicion is not None, "not on disk at n2 yet"
    bench.now += 50_000
    bench.node.tick(bench.now)
    third = surveyed(bench)
    tell(bench, "n1", answer(third, [], last=(1, 4), suspect=True))
    tell(bench, "n2", answer(third, [], last=(1, 4), suspect=True))
    assert third.fence == 2 and bench.machine.suspicion is None and bench.machine.last == (1, 4)


def test_s4_a_writer_who_heals_is_not_turned_away() -> None:
    bench = damaged(LOG, 5)
    fetch = surveyed(bench)
    for node in ("n1", "n2"):
        tell(bench, node, answer(fetch, [], last=(1, 4), suspect=True))
    bench.now += 600_000
    suspected = bench.one(append(1, LOG, 5))
    assert isinstance(suspected, Suspected)
    bench.ask(append(1, LOG, 6, repair_epoch=suspected.epoch, repair_upto=5))
    assert (
        bench.machine.promise.term == 1
        and bench.machine.suspicion is None
        and bench.machine.last == (1, 5)
    )


def test_s4_what_was_acknowledged_before_the_second_answer_is_copied() -> None:
    bench = damaged(LOG, 5)
    second = fenced(bench)
    # it was healed meanwhile, acknowledged 5, and lost power again
    tell(bench, "n1", answer(second, LOG, last=(1, 5), suspect=True))
    tell(bench, "n2", answer(second, [], last=(1, 4), suspect=True))
    tell(bench, "n1", answer(surveyed(bench), LOG))
    assert bench.machine.suspicion is None and bench.machine.last == (1, 5)


def test_s4_another_suspicion_has_a_fence_of_its_own() -> None:
    bench = damaged(LOG, 5)
    agree(
        bench,
        n1=lambda f: answer(f, [], last=(1, 4), suspect=True),
        n2=lambda f: answer(f, [], last=(1, 4), suspect=True),
    )
    assert bench.machine.suspicion is None
    bench.ask(append(3, log_of(3, 3, behind=LOG[:4]), 5))
    bench.said.clear()
    bench.node.disk.rot(6, False)
    bench.machine.on_damage(bench.node.disk.scan(bench.machine.committed), bench.now)
    bench.node.run(bench.now)
    bench.node.sync(bench.now)
    assert surveyed(bench).fence == 0
    fences = []

    def says(fetch: Fetch) -> Fetched:
        fences.append(fetch.fence)
        fetched = answer(fetch, [], last=(3, 6), suspect=True)
        fetched.promised = max(3, fetch.fence)
        return fetched

    agree(bench, n1=says, n2=says)
    assert fences[-1] == 4 == bench.machine.promise.term


def test_s4_who_was_fenced_still_knows_whose_window_it_is() -> None:
    bench = Bench()
    bench.ask(append(1, LOG))
    bench.ask(Fetch(1, 6, 0, True, 7))
    bench.restart()
    assert isinstance(bench.one(seal(8, B)), LeaseHeld)
    assert bench.ask(renew(7)) == [], "a ballot id that it does not know"
    assert isinstance(bench.one(seal(8, A)), Promised)


def test_s4_a_fence_is_promised_on_disk_before_it_is_told() -> None:
    bench = Bench()
    bench.ask(append(1, LOG))
    [told] = bench.ask(Fetch(1, 6, 0, True, 7), sync=False)
    assert isinstance(told, Fetched) and told.promised == 1 and bench.machine.promise.term == 7
    bench.node.sync(bench.now)
    [told] = bench.ask(Fetch(2, 6, 0, True, 7))
    assert isinstance(told, Fetched) and told.promised == 7
    assert bench.one(append(1, log_of(1, behind=LOG), 6)) == Refused(1, b"round1", 7)
    [told] = bench.ask(Fetch(3, 6, 0, True, 1 << 60))
    assert isinstance(told, Fetched) and told.promised == 7 == bench.machine.promise.term, (
        "no group campaigns so often"
    )


def test_s4_waits_for_every_node() -> None:
    bench = damaged(LOG, 5)
    tell(bench, "n1", answer(surveyed(bench), [], last=(1, 4), suspect=True))
    assert bench.machine.suspicion is not None
    bench.said.clear()
    bench.now += 600_000
    bench.node.tick(bench.now)
    assert not bench.said, "what was asked waits for the other"
    bench.now += 1_500_000
    bench.node.tick(bench.now)
    assert len([message for _, message in bench.said if isinstance(message, Fetch)]) == 2, (
        "asked again, both"
    )


def test_s4_the_own_prefix_may_be_the_greatest() -> None:
    bench = damaged(LOG, 5)
    agree(
        bench,
        n1=lambda fetch: answer(fetch, [], last=(1, 3), suspect=True),
        n2=lambda fetch: answer(fetch, [], last=(1, 4), suspect=True),
    )
    assert bench.machine.last == (1, 4) and bench.machine.suspicion is None
    assert len(bench.node.disk.now.frames) == 4, "the rest is cut"


def test_s4_an_answer_of_a_source_that_moved_on_is_not_copied() -> None:
    bench = damaged(LOG, 5)
    agree(
        bench,
        n1=lambda fetch: answer(fetch, [], last=(1, 3), suspect=True),
        n2=lambda fetch: answer(fetch, LOG, suspect=True),
    )
    copy = surveyed(bench)
    assert copy.start == 1, "the copy is asked for, from what is committed on"
    tell(bench, "n2", answer(copy, log_of(2, behind=LOG)))
    assert bench.machine.suspicion is not None and bench.machine.last == (1, 4)


def test_s5_a_proven_entry_that_nobody_has_breaks_the_log() -> None:
    bench = damaged(LOG, 5)
    fetch = surveyed(bench)
    tell(bench, "n1", answer(fetch, [], last=(1, 4), suspect=True, proven=5))
    tell(bench, "n2", answer(fetch, [], last=(1, 4), suspect=True))
    machine = bench.machine
    assert (
        machine.broken == 5
        and "entry 5" in machine.broken_reason
        and "frame 5" in machine.broken_reason
    )
    assert machine.status(bench.now)["broken"]["position"] == 5
    assert bench.node.disk.now.frames[4] is not None, "never truncated"
    assert len(bench.node.disk.now.frames) == 5


def test_s5_a_hole_that_nobody_can_fill_breaks_the_log_until_somebody_can() -> None:
    bench = damaged(LOG, 2, committed=4)
    fetch = surveyed(bench)
    for node in ("n1", "n2"):
        tell(bench, node, answer(fetch, [], last=(1, 5)))
    assert bench.machine.broken == 2
    bench.now += WINDOW_US
    assert isinstance(bench.one(seal(2, B)), Unavailable)
    assert isinstance(bench.one(append(1, log_of(1, behind=LOG), 6, who=A)), Unavailable)
    assert bench.ask(TailQuery(1)) == []
    bench.now += 600_000
    bench.node.tick(bench.now)
    tell(bench, "n1", answer(surveyed(bench), LOG))
    assert bench.machine.broken == 0 and not bench.machine.holes
