"""The writer in its term: sealing again, leases, log nodes that lag or are suspect."""

from __future__ import annotations

import pytest

from tests.txlog.consensus.writer_harness import LEASE, Bench, entries_of, reseal
from txlog.consensus.limits import Limits
from txlog.consensus.outputs import (
    Fenced,
    LeaseUntil,
    Reopened,
)
from txlog.consensus.sender import IDLE, OPEN
from txlog.entry import (
    HANDOVER,
    LEADERSHIP,
)
from txlog.messages import (
    Append,
    Appended,
    Behind,
    LeaseHeld,
    MissingEntries,
    Refused,
    Release,
    Renew,
    Renewed,
    Seal,
    Suspected,
    Unavailable,
)


def test_w7_or_with_the_next_append() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    for node in (0, 1):
        bench.appended(node)
    bench.append()
    assert bench.newest(2, Append).committed == 2
    bench.clear()
    bench.tick(1)
    assert bench.sent == [[], [], []]


def test_w5_f7_refused_by_a_minority_seals_again_above_it() -> None:
    bench = Bench()
    bench.open()
    entry = bench.append()
    lease = bench.machine.lease_until_us
    bench.appended(0)
    assert bench.machine.may_renew_beside()
    seal = reseal(bench)
    assert not bench.machine.may_renew_beside(), "L7: the old term is about to end"
    assert (
        not seal.probe
        and seal.term == 6
        and seal.expected == entry.id
        and seal.ballot_id != bench.machine.ballot_id
    )
    waiting = bench.append()  # while it lasts: assigned, not sent
    assert bench.newest(0, Append).previous[1] + 1 < waiting.position
    bench.promise(0, entry.id)
    bench.promise(1, (1, 1))
    assert bench.heard(Reopened) == [Reopened(6)] and bench.machine.term == 6
    assert bench.machine.may_renew_beside()
    assert bench.machine.lease_until_us == lease, "the old lease stays valid"
    bench.tell(1, Appended(1, seal.ballot_id, 1, entry.position))
    assert bench.machine.committed == 1, "acks of the old term are forgotten"
    bench.machine.append(LEADERSHIP, b"me", 1, False, bench.now)
    bench.take()
    sent = [
        entry
        for message in bench.sent[0]
        if isinstance(message, Append) and message.term == 6
        for entry in entries_of(message)
    ]
    assert [entry.term for entry in sent] == [1, 6], (
        "what was assigned meanwhile, then the new term"
    )
    bench.appended(0)
    bench.appended(1)
    assert bench.machine.committed == 1, "entry 3 is on a majority and of the old term"
    bench.appended(1)
    assert bench.machine.committed == 4


def test_w5_refused_by_a_majority_fences_for_good() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    reseal(bench, 5)
    sent = bench.newest(1, Append)
    bench.tell(1, Refused(sent.term, sent.ballot_id, 5))
    assert (
        len(bench.heard(Fenced)) == 1
        and bench.machine.state == IDLE
        and bench.machine.lease_until_us == 0
    )
    bench.clear()
    bench.tell(0, Appended(sent.term, sent.ballot_id, sent.number, 2))
    assert bench.said == []


def test_w5_refusals_that_name_its_own_new_term_are_its_own_doing() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    seal = reseal(bench)
    sent = bench.newest(0, Append)
    for node in (0, 1):
        bench.tell(node, Refused(sent.term, sent.ballot_id, seal.term))
    assert bench.heard(Fenced) == []


def test_w5_refused_at_or_below_the_current_term_says_nothing() -> None:
    bench = Bench()
    bench.open()
    sent_before = [len(messages) for messages in bench.sent]
    bench.append()
    sent = bench.newest(0, Append)
    for node in range(3):
        bench.tell(node, Refused(sent.term, sent.ballot_id, sent.term))
    assert bench.heard(Fenced) == [] and [len(messages) for messages in bench.sent] == [
        count + 1 for count in sent_before
    ]


def test_w5_behind_at_a_majority_fences_lease_held_waits() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    seal = reseal(bench)
    for node in (0, 1):
        bench.tell(node, LeaseHeld(seal.term, seal.ballot_id, 1, 50))
    assert bench.heard(Fenced) == []
    asked = [len(messages) for messages in bench.sent]
    bench.tick(LEASE // 4)
    assert bench.newest(0, Seal) is seal, (
        "the same question: another term would overtake a promise on its way to disk"
    )
    assert [len(messages) for messages in bench.sent] == [asked[0] + 1, asked[1] + 1, asked[2]]
    for node in (0, 1):
        bench.tell(node, Behind(seal.term, seal.ballot_id, 5, (5, 3), 1))
    assert len(bench.heard(Fenced)) == 1


def test_l2_the_lease_runs_from_before_the_newest_message_a_majority_answered() -> None:
    bench = Bench()
    bench.open()
    first = bench.now
    bench.append()
    bench.now += 100_000
    bench.appended(0)
    assert bench.machine.lease_until_us == first + LEASE * 1000
    bench.append()
    bench.appended(0)
    assert bench.machine.lease_until_us == first + LEASE * 1000, "node 1 answered nothing newer"
    bench.now += 50_000
    bench.appended(1)
    assert bench.machine.lease_until_us == first + 100_000 + LEASE * 1000
    assert bench.heard(LeaseUntil)[-1].us == bench.machine.lease_until_us


def test_l2_no_other_answer_counts() -> None:
    bench = Bench()
    bench.open()
    before = bench.machine.lease_until_us
    bench.now += 100_000
    bench.append()
    for node in (0, 1):
        sent = bench.newest(node, Append)
        bench.tell(node, MissingEntries(sent.term, sent.ballot_id, sent.number, (1, 1), 1))
        sent = bench.newest(node, Append)
        bench.tell(node, Suspected(sent.term, sent.ballot_id, sent.number, b"epoch", 2))
    assert bench.machine.lease_until_us == before


def test_l2_an_idle_writer_renews_at_a_third_of_the_lease() -> None:
    bench = Bench()
    bench.open()
    bench.tick(2)
    for node in range(3):
        bench.appended(node)
    bench.clear()
    bench.tick(LEASE // 3 + 1)
    sent = bench.now
    assert [type(messages[-1]) for messages in bench.sent] == [Renew] * 3
    bench.now += 5_000
    for node in (0, 2):
        renew = bench.newest(node, Renew)
        bench.tell(node, Renewed(renew.term, renew.ballot_id, renew.number))
    assert bench.machine.lease_until_us == sent + LEASE * 1000


def test_l4_handover_ends_the_lease_for_reads_release_ends_the_term() -> None:
    bench = Bench()
    bench.open()
    bench.machine.append(HANDOVER, b"you", 1, False, bench.now)
    bench.take()
    assert bench.machine.lease_until_us == 0 and bench.heard(LeaseUntil)[-1].us == 0
    with pytest.raises(AssertionError):
        bench.machine.release(b"s" * 16, bench.now)
    for node in (0, 1):
        bench.appended(node)
    assert bench.machine.lease_until_us == 0, "no answer brings it back"
    bench.machine.release(b"s" * 16, bench.now)
    bench.take()
    assert bench.newest(2, Release) == Release(1, bench.machine.ballot_id, b"s" * 16)
    bench.clear()
    bench.tick(10 * LEASE)
    assert bench.sent == [[], [], []]


def test_l4_a_released_term_is_not_sealed_again() -> None:
    """Promises that were requested before do not seal it either."""
    bench = Bench()
    bench.open()
    entry = bench.machine.append(HANDOVER, b"you", 1, False, bench.now)
    bench.take()
    for node in (0, 1):
        bench.appended(node)
    reseal(bench)
    bench.machine.release(b"s" * 16, bench.now)
    bench.take()
    said = [len(messages) for messages in bench.sent]
    for node in (0, 1):
        bench.promise(node, entry.id)
    bench.tick(10 * LEASE)
    assert (
        not bench.heard(Reopened)
        and bench.machine.term == 1
        and [len(messages) for messages in bench.sent] == said
    )


def test_l7_a_renewal_made_elsewhere_counts() -> None:
    bench = Bench()
    bench.open()
    machine, sent = bench.machine, bench.now + 100_000
    bench.now += 200_000
    machine.on_renewed_elsewhere(0, machine.term, machine.ballot_id, sent, bench.now)
    machine.on_renewed_elsewhere(1, machine.term, b"another round", sent, bench.now)
    assert machine.lease_until_us < sent + LEASE * 1000
    machine.on_renewed_elsewhere(1, machine.term, machine.ballot_id, sent, bench.now)
    assert machine.lease_until_us == sent + LEASE * 1000


def test_l8_without_a_majority_for_its_oldest_append_it_stops_renewing() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    for _ in range(30):
        bench.tick(50)
        for node in range(3):
            if any(isinstance(message, Renew) for message in bench.sent[node]):
                renew = bench.newest(node, Renew)
                bench.tell(node, Renewed(renew.term, renew.ballot_id, renew.number))
            if node and any(isinstance(message, Append) for message in bench.sent[node]):
                sent = bench.newest(node, Append)
                bench.tell(node, Unavailable(sent.term, sent.ballot_id, sent.number, "disk full"))
    assert bench.machine.lease_until_us < bench.now
    bench.clear()
    bench.tick(LEASE)
    assert not any(isinstance(message, Renew) for messages in bench.sent for message in messages)
    assert all(
        message.entries
        for messages in bench.sent
        for message in messages
        if isinstance(message, Append)
    ), "only the append itself is tried again"
    for node in (1, 2):
        bench.appended(node)
    assert bench.machine.lease_until_us > bench.now, "it has one again: the lease comes back"


def test_l8_time_in_which_the_loop_stood_still_does_not_count() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    bench.now += 5_000_000
    bench.machine.on_stood_still(5_000_000, bench.now)
    bench.appended(0)
    bench.appended(1)
    assert bench.machine.committed == 2
    bench.append()
    bench.appended(0)
    bench.appended(1)
    assert bench.machine.lease_until_us == bench.now + LEASE * 1000


def test_s3_heal_is_the_last_position_when_the_node_told_of_its_suspicion() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    bench.append()
    sent = bench.newest(2, Append)
    bench.tell(2, Suspected(sent.term, sent.ballot_id, sent.number, b"doubt", 1))
    repairing = bench.newest(2, Append)
    assert (repairing.repair_epoch, repairing.repair_upto) == (b"doubt", 3)
    bench.append()
    assert bench.newest(2, Append).repair_upto == 3 and bench.newest(0, Append).repair_epoch == b""
    bench.appended(0, 1)
    sent = bench.newest(2, Append)
    bench.tell(2, Suspected(sent.term, sent.ballot_id, sent.number, b"doubt", 4))
    assert bench.machine.committed == 1, "what it answers while suspect counts nowhere"


def test_s3_what_a_node_acknowledged_before_it_was_suspect_is_not_counted_any_more() -> None:
    """It may have lost exactly that entry; committed entries stay committed."""
    bench = Bench()
    bench.open()
    first, second = bench.append(), bench.append()
    bench.appended(2)
    bench.appended(0, first.position)
    assert bench.machine.committed == first.position
    bench.append()
    sent = bench.newest(2, Append)
    bench.tell(2, Suspected(sent.term, sent.ballot_id, sent.number, b"doubt", sent.previous[1] + 1))
    bench.tell(
        0, Appended(sent.term, sent.ballot_id, bench.newest(0, Append).number, second.position)
    )
    assert bench.machine.committed == first.position, (
        "one node that is whole, and one that says it may have lost it"
    )
    bench.appended(1, second.position)
    assert bench.machine.committed == second.position
    repairing = bench.newest(2, Append)
    bench.tell(
        2, Appended(repairing.term, repairing.ballot_id, repairing.number, second.position + 1)
    )
    bench.appended(0)
    assert bench.machine.committed == second.position + 1, "healed, it counts again"


def test_recent_entries_are_bounded_and_hold_everything_uncommitted() -> None:
    bench = Bench(Limits(keep_bytes=1000))
    bench.open()
    for _ in range(100):
        bench.append(b"y" * 100)
    assert bench.machine._recent.first == 1, "nothing of this is committed"
    assert bench.machine.in_flight == 100 and bench.machine.in_flight_bytes > 100 * 100
    for node in (0, 1):
        bench.appended(node)
    assert bench.machine._recent.first > 80 and bench.machine.in_flight_bytes == 0


def test_a_group_of_one() -> None:
    bench = Bench(nodes=1)
    bench.campaign()
    bench.fetched(0)
    bench.promise(0)
    bench.promise(0)
    bench.appended(0)
    assert bench.machine.state == OPEN
    bench.append()
    bench.appended(0)
    assert bench.machine.committed == 2 and bench.machine.lease_until_us == bench.now + LEASE * 1000
