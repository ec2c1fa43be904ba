"""A process waits as long as the log nodes need, on disks slower than any fixed time-out.
The tests cover a candidate, a writer that opens, and one that seals again.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.txlog.consensus.harness import Bench as NodeBench
from tests.txlog.consensus.writer_harness import LEASE, Bench
from txlog.consensus.outputs import CampaignOver, Fenced, Opened
from txlog.consensus.pace import (
    ANSWER_LONGEST_US,
    DISK_LONGEST_US,
    HALVING_US,
    SEAL_LONGEST_US,
    Pace,
)
from txlog.consensus.sender import IDLE, OPEN, OPENING, SEALING
from txlog.entry import NO_ENTRY
from txlog.messages import (
    Append,
    Appended,
    Fetched,
    LeaseHeld,
    Promised,
    Refused,
    Renew,
    Renewed,
    Seal,
    Unavailable,
)

A, B = b"writer-a".ljust(16), b"writer-b".ljust(16)


def sealing() -> Bench:
    """A candidate whose Seal is under way; nodes 0 and 1 have answered the probe."""
    bench = Bench()
    bench.campaign()
    for node in (0, 1):
        bench.fetched(node)
    for node in (0, 1):
        bench.promise(node)
    assert bench.machine.state == SEALING
    return bench


def wait(bench: Bench, ms: int) -> None:
    for _ in range(ms // 20):
        bench.tick(20)


# --------------------------------------------------------------------------- a Seal


@pytest.mark.parametrize("sync_ms", [150, 300, 1000, 2000])
def test_a_promise_that_takes_two_slow_syncs_is_waited_for(sync_ms: int) -> None:
    bench = sealing()
    asked = len([message for message in bench.sent[0] if isinstance(message, Seal)])
    wait(bench, 2 * sync_ms)
    assert len([message for message in bench.sent[0] if isinstance(message, Seal)]) == asked, (
        "another Seal would cost two more syncs"
    )
    bench.promise(0)
    bench.promise(1)
    assert bench.machine.state == OPENING
    assert bench.machine.pace.disk_us >= 2 * sync_ms * 1000 - 20_000


def test_a_promise_is_waited_for_although_a_third_node_turned_the_seal_down() -> None:
    bench = sealing()
    seal = bench.newest(0, Seal)
    bench.promise(0)
    bench.tell(2, Refused(seal.term, seal.ballot_id, seal.term + 1))
    wait(bench, 1000)
    bench.promise(1)
    assert bench.machine.state == OPENING


def test_a_seal_is_given_up_when_too_few_work_on_it() -> None:
    bench = sealing()
    seal = bench.newest(0, Seal)
    bench.promise(0)
    bench.tell(
        1, LeaseHeld(seal.term, seal.ballot_id, 1, 100)
    )  # and node 2 never answered the probe
    wait(bench, LEASE // 4 + 20)
    assert len(bench.heard(CampaignOver)) == 1 and bench.machine.state == IDLE


def test_a_seal_is_given_up_when_a_node_that_works_on_it_goes_away() -> None:
    bench = sealing()
    bench.promise(0)
    bench.machine.on_disconnected(1, bench.now)
    wait(bench, LEASE // 4 + 20)
    assert bench.machine.state == IDLE


def test_a_seal_is_given_up_in_the_end() -> None:
    bench = sealing()
    wait(bench, SEAL_LONGEST_US // 1000 - 100)
    assert bench.machine.state == SEALING
    wait(bench, LEASE // 2)
    assert bench.machine.state == IDLE


def test_the_pause_between_campaigns_grows_with_the_promise() -> None:
    quick, slow = Pace(), Pace()
    slow.synced(2_000_000, 0)
    rng = Random(1)
    pauses = [quick.pause_ms(LEASE, rng, True) for _ in range(200)]
    assert min(pauses) >= LEASE // 8 and max(pauses) <= LEASE // 2
    pauses = [slow.pause_ms(LEASE, rng, True) for _ in range(200)]
    assert min(pauses) >= 1000 and max(pauses) <= 3000 and max(pauses) - min(pauses) > 1500
    pauses = [slow.pause_ms(LEASE, rng, False) for _ in range(200)]
    assert max(pauses) <= LEASE // 2, "without a Seal no other candidate was outbid"


@pytest.mark.parametrize("stage", ["fetching", "probing", "sealing"])
def test_only_a_lost_seal_makes_the_pause_longer(stage: str) -> None:
    bench = Bench() if stage == "fetching" else sealing()
    if stage == "fetching":
        bench.campaign()
    elif stage == "probing":
        bench = Bench()
        bench.campaign()
        bench.fetched(0)
        bench.fetched(1)
    assert bench.machine.state == stage
    bench.machine.pace.synced(4_000_000, bench.now)
    for node in (0, 1):
        bench.machine.on_disconnected(node, bench.now)
    wait(bench, SEAL_LONGEST_US // 1000 + 12_000)
    (over,) = bench.heard(CampaignOver)
    if stage == "sealing":
        assert over.retry_ms >= 1000
    else:
        assert over.retry_ms <= LEASE // 2


def test_an_estimate_that_nothing_confirms_halves_with_time() -> None:
    pace = Pace()
    pace.synced(4_000_000, 0)
    pace.answered(2_000_000, 0)
    pace.age(HALVING_US - 1)
    assert (pace.disk_us, pace.answer_us) == (4_000_000, 2_000_000)
    pace.answered(2_000_000, HALVING_US - 1)
    pace.age(HALVING_US)
    assert (pace.disk_us, pace.answer_us) == (2_000_000, 2_000_000)
    pace.age(HALVING_US + 1)
    assert pace.disk_us == 2_000_000
    pace.age(3600 * 1_000_000)
    assert (pace.disk_us, pace.answer_us) == (0, 0)


def test_a_campaign_begins_with_no_estimate_of_hours_ago() -> None:
    bench = Bench()
    bench.machine.pace.synced(4_000_000, bench.now)
    bench.machine.pace.answered(4_000_000, bench.now)
    bench.now += 3600 * 1_000_000
    bench.campaign()
    assert bench.machine.pace.disk_us == 0
    wait(bench, LEASE // 4 + 20)
    assert bench.machine.state == IDLE, "it waits for a Fetch as on a quick network"


def test_a_primary_that_is_idle_forgets_a_slow_commit() -> None:
    bench = Bench()
    bench.open()
    bench.machine.pace.synced(4_000_000, bench.now)
    bench.now += 60 * 1_000_000
    bench.machine.on_deadline(bench.now)
    assert bench.machine.pace.commit_timeout_us(0, LEASE) == LEASE * 1000


def test_time_in_which_the_loop_stood_still_is_no_measurement() -> None:
    bench = sealing()
    bench.now += 3_000_000
    bench.machine.on_stood_still(3_000_000, bench.now)
    bench.promise(0)
    bench.promise(1)
    assert bench.machine.state == OPENING and bench.machine.pace.disk_us < 1_000_000
    pace = Pace()
    pace.give_up(b"seal", 1_000_000, True)
    pace.stood_still(3_000_000, 4_500_000)
    pace.late(b"seal", 4_500_000)
    assert pace.disk_us == 500_000


# ---------------------------------------------------------------------- answers over a slow network


def test_a_late_answer_lengthens_the_next_campaign() -> None:
    bench = Bench()
    bench.campaign()
    fetch = bench.sent[0][-1]
    wait(bench, LEASE // 4 + 20)
    assert bench.machine.state == IDLE
    wait(bench, 100)
    # it is a Fetch
    token = fetch.token  # type: ignore[union-attr]
    bench.tell(0, Fetched(token, 1, 0, NO_ENTRY, 0, NO_ENTRY, False, []))
    before = bench.machine.pace.answer_us
    assert before >= 300_000
    bench.campaign()
    wait(bench, 400)
    assert bench.machine.state != IDLE
    bench.fetched(0)
    bench.fetched(1)
    assert bench.machine.state == "probing"


def test_estimates_are_bounded_and_fall_again() -> None:
    pace = Pace()
    pace.synced(60_000_000, 0)
    pace.answered(60_000_000, 0)
    assert (pace.disk_us, pace.answer_us) == (DISK_LONGEST_US, ANSWER_LONGEST_US)
    for _ in range(60):
        pace.synced(1000, 0)
        pace.answered(1000, 0)
    assert pace.disk_us < 10_000 and pace.answer_us < 10_000
    assert (
        pace.commit_timeout_us(0, LEASE) == LEASE * 1000
        and pace.answer_timeout_us(LEASE) == LEASE * 250
    )


def test_a_commit_timeout_that_was_set_is_kept() -> None:
    pace = Pace()
    pace.synced(2_000_000, 0)
    assert pace.commit_timeout_us(500, LEASE) == 500_000
    assert pace.commit_timeout_us(0, LEASE) == 4_000_000
    pace.synced(60_000_000, 0)
    assert pace.commit_timeout_us(0, LEASE) == 8_000_000, "the bound that the documents name"
    assert pace.commit_timeout_us(0, 20_000) == 20_000_000


def test_only_questions_that_were_given_up_prove_something() -> None:
    pace = Pace()
    pace.late(b"never asked", 5_000_000)
    for number in range(40):
        pace.give_up(b"%d" % number, 1_000_000, True)
    pace.late(b"0", 3_000_000)  # long forgotten
    assert pace.disk_us == 0
    pace.late(b"39", 3_000_000)
    assert pace.disk_us == 2_000_000


# ------------------------------------------------------------------------ the first entry of a term


def opening(sync_ms: int) -> Bench:
    bench = sealing()
    wait(bench, 2 * sync_ms)
    bench.promise(0)
    bench.promise(1)
    assert bench.machine.state == OPENING
    return bench


@pytest.mark.parametrize("sync_ms", [600, 1000, 2000])
def test_the_first_entry_may_take_longer_than_the_lease(sync_ms: int) -> None:
    """Windows stay open meanwhile; the writer opens with a lease and does not lose it."""
    bench = opening(sync_ms)
    first = bench.newest(0, Append)
    beats = 0
    for _ in range(2 * sync_ms // 20):  # after a sync that was under way
        before = len(bench.sent[0])
        bench.tick(20)
        beats += len(bench.sent[0]) > before
    assert beats >= 2 * sync_ms // LEASE, "an Append at least once a lease keeps the window open"
    for message in [
        message
        for message in bench.sent[0]
        if isinstance(message, Append) and message.number >= first.number
    ]:
        for node in (0, 1):
            bench.tell(node, Appended(message.term, message.ballot_id, message.number, 1))
    assert bench.machine.state == OPEN and len(bench.heard(Opened)) == 1
    assert bench.machine.lease_until_us > bench.now
    # It keeps the lease by Renew while its first write takes as long as the promise.
    bench.append()
    for _ in range(2 * sync_ms // 20):
        bench.tick(20)
        renew = bench.sent[0][-1]
        if isinstance(renew, Renew):
            for node in (0, 1):
                newest = bench.newest(node, Renew)
                bench.tell(node, Renewed(newest.term, newest.ballot_id, newest.number))
        assert bench.machine.lease_until_us > bench.now


def test_a_writer_does_not_open_without_a_lease() -> None:
    """All messages answered so far were sent a lease ago: the role would be lost at once."""
    bench = opening(600)
    first = bench.newest(0, Append)
    wait(bench, LEASE + 100)
    for node in (0, 1):
        bench.tell(node, Appended(first.term, first.ballot_id, first.number, 1))
    assert bench.machine.state == OPENING and bench.machine.committed == 1
    newest = bench.newest(0, Append)
    assert newest.number > first.number
    for node in (0, 1):
        bench.tell(node, Appended(newest.term, newest.ballot_id, newest.number, 1))
    assert bench.machine.state == OPEN and bench.machine.lease_until_us > bench.now


# --------------------------------------------------------------------------- sealing again


def test_a_second_seal_of_a_writer_is_not_overtaken_by_its_own_third() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    sent = bench.newest(2, Append)
    bench.tell(2, Refused(sent.term, sent.ballot_id, 5))
    seal = bench.newest(0, Seal)
    wait(bench, 3 * LEASE // 4)
    assert bench.newest(0, Seal) is seal and not bench.heard(Fenced)
    bench.promise(0, bench.machine.last)
    bench.promise(1, (1, 1))
    assert bench.machine.term == seal.term


# --------------------------------------------------------------------------- a log node


def test_a_candidate_is_held_up_while_anothers_promise_is_on_its_way_to_disk() -> None:
    bench = NodeBench()
    first = Seal(1, A, b"r1", NO_ENTRY, 160, False)
    assert bench.ask(first, sync=False) == []
    answer = bench.one(Seal(2, B, b"r2", NO_ENTRY, 160, False), sync=False)
    assert (
        isinstance(answer, LeaseHeld) and answer.left_ms == 100 and bench.machine.promise.term == 1
    )
    assert isinstance(bench.one(Seal(2, B, b"r3", NO_ENTRY, 160, True), sync=False), LeaseHeld)
    assert bench.ask(Seal(3, A, b"r4", NO_ENTRY, 160, False), sync=False) == [], (
        "the same candidate may ask for more"
    )
    bench.said.clear()
    bench.node.sync(bench.now)
    assert [type(message) for _, message in bench.said] == [Promised, Promised]
    assert isinstance(bench.one(Seal(4, B, b"r5", NO_ENTRY, 160, False)), Promised)


def test_a_probe_is_told_of_a_full_disk_and_a_seal_is_promised() -> None:
    bench = NodeBench()
    bench.machine.on_room(False)
    answer = bench.one(Seal(1, A, b"r1", NO_ENTRY, 160, True))
    assert isinstance(answer, Unavailable) and answer.reason == "disk full" and answer.number == 0
    assert isinstance(bench.one(Seal(1, A, b"r2", NO_ENTRY, 160, False)), Promised)
    bench.machine.on_room(True)
    assert isinstance(bench.one(Seal(2, A, b"r3", NO_ENTRY, 160, True)), Promised)
