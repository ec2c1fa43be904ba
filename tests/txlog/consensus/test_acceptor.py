"""The log node's machine by example, one rule per test.
The name or the first line of the test has the rule's number.
"""

from __future__ import annotations

import pytest

from tests.txlog.consensus.cluster import Violation
from tests.txlog.consensus.harness import (
    LEASE,
    WINDOW_US,
    A,
    B,
    Bench,
    append,
    log_of,
    renew,
    seal,
    suspect_bench,
)
from txlog.consensus.outputs import SendAfterPersist, WriteMeta
from txlog.entry import NO_ENTRY
from txlog.messages import (
    Append,
    Appended,
    Behind,
    CatchUp,
    Conflict,
    Fetch,
    Fetched,
    LeaseHeld,
    MissingEntries,
    Promised,
    Refused,
    Release,
    Renew,
    Renewed,
    Seal,
    Suspected,
    Tail,
    TailQuery,
    Unavailable,
    Unsealed,
)


def test_a1_a_promise_is_answered_when_it_is_on_disk() -> None:
    bench = Bench()
    assert bench.ask(seal(3), sync=False) == []
    bench.node.sync(bench.now)
    assert bench.said == [("w", Promised(3, b"round3", 3, False, NO_ENTRY, 0))]
    bench.restart()
    assert bench.machine.promise.term == 3


def test_a1_lower_terms_and_equal_ones_of_another_round_are_refused() -> None:
    bench = Bench()
    bench.ask(seal(3))
    assert bench.one(seal(2)) == Refused(2, b"round2", 3)
    assert bench.one(seal(3, ballot_id=b"other")) == Refused(3, b"other", 3)
    assert isinstance(bench.one(seal(3)), Promised), "the same ballot id again: an answer was lost"


def test_a1_a_lagging_candidate_gets_no_promise_and_fences_nobody() -> None:
    bench = Bench()
    log = log_of(1, 1)
    bench.ask(append(1, log), sync=False)  # not durable yet: it counts all the same
    answer = bench.one(seal(2, expected=(1, 1)), sync=False)
    assert answer == Behind(2, b"round2", 1, (1, 2), 0)
    assert bench.machine.promise.term == 1
    bench.node.sync(bench.now)
    assert isinstance(bench.one(append(1, log, 3)), Appended), "the writer goes on"


def test_a1_a_probe_promises_nothing() -> None:
    bench = Bench()
    answer = bench.one(seal(5, probe=True))
    assert isinstance(answer, Promised) and answer.probe
    assert bench.machine.promise.term == 0 and not bench.node.disk.pending


def test_a1_another_incarnation_waits_for_the_window_the_own_one_does_not() -> None:
    bench = Bench()
    bench.ask(append(1, log_of(1)))
    assert bench.one(seal(2, B)) == LeaseHeld(2, b"round2", 1, 170, A)
    assert isinstance(bench.one(seal(2, B, probe=True)), LeaseHeld)
    assert isinstance(bench.one(seal(2, A)), Promised)
    bench.now += WINDOW_US
    assert isinstance(bench.one(seal(3, B)), Promised)


def test_a2_an_append_needs_the_writers_seal_on_this_node() -> None:
    """Earlier, the node believed that a majority had elected the writer.
    One Append of a higher term fenced the living writer, and opened a window that excluded all
    others.
    """
    bench = Bench()
    bench.ask(append(4, log_of(4)))
    living = bench.machine.promise
    assert bench.one(append(5, log_of(4), 2, who=B), seal=False) == Unsealed(5, b"round5", 7)
    assert bench.one(append(4, log_of(4), 2, who=B, ballot_id=b"other"), seal=False) == Unsealed(
        4, b"other", 7
    )
    assert bench.machine.promise == living and bench.machine.window_writer == A
    assert bench.one(append(3, log_of(3))) == Refused(3, b"round3", 4)
    assert isinstance(bench.one(seal(5, B)), LeaseHeld), "and its Seal waits for the window"
    bench.now += WINDOW_US
    assert isinstance(bench.one(seal(5, B)), Promised)
    assert bench.one(append(5, log_of(5, behind=log_of(4)), 2, who=B), seal=False) == Appended(
        5, b"round5", 7, 2
    )


@pytest.mark.parametrize(
    "message",
    [append(0, log_of(0), ballot_id=b""), append(1, log_of(1))],
    ids=["no term", "first term"],
)
def test_a2_a_node_that_never_promised_takes_no_append(message: Append) -> None:
    """A fresh node has promised term 0 and an empty ballot id.
    Earlier, a caller with these values was taken for its writer.
    """
    bench = Bench()
    message.ballot_id = message.ballot_id if message.term else b""
    [answer] = bench.ask(message, seal=False)
    assert isinstance(answer, Unsealed | Unavailable)
    assert (
        bench.machine.last == NO_ENTRY
        and bench.machine.window_left_ms(bench.now) == 0
        and bench.machine.promise.term == 0
    )


def test_a2_a_promise_that_is_nobodys_lets_nobody_in() -> None:
    """A promise without a ballot id was pulled with entries, or is a fence.
    Earlier, a caller without a ballot id was taken for its writer.
    """
    bench = Bench()
    bench.machine.raise_promise(4)
    bench.node.run(bench.now)
    for hostile in (
        Renew(4, B, b"", LEASE, 1),
        Release(4, b"", B),
        append(4, log_of(4), ballot_id=b""),
        Seal(4, B, b"", (9, 9), LEASE, False),
        CatchUp(4, b"", 9),
    ):
        bench.ask(hostile, seal=False)
        assert (
            bench.machine.window_left_ms(bench.now) == 0
            and bench.machine.successor(bench.now) == b""
            and bench.machine.last == NO_ENTRY
        )
    assert bench.one(seal(4)) == Refused(4, b"round4", 4), (
        "its own vote in that term is not known: the writer seals above it"
    )
    assert isinstance(bench.one(seal(5)), Promised)
    assert isinstance(bench.one(append(5, log_of(5)), seal=False), Appended)


def test_a2_a_lease_beyond_the_nodes_limit_is_refused_with_the_reason() -> None:
    bench = Bench()
    bench.machine.max_lease_ms = LEASE - 1
    for message in (seal(1), append(1, log_of(1))):
        answer = bench.one(message, seal=False)
        assert isinstance(answer, Unavailable) and "max-lease-ms" in answer.reason
    bench.machine.max_lease_ms = LEASE
    assert isinstance(bench.one(append(1, log_of(1))), Appended)
    bench.machine.max_lease_ms = LEASE - 1
    assert bench.ask(renew(1)) == []


def test_a2_a_contradiction_ends_the_callers_session_and_not_the_node() -> None:
    """A caller's message proves nothing about this disk. Earlier, it ended the node."""
    log, other = log_of(1, 1, 1), log_of(2, 2, 2)
    hostile = [
        append(2, other), append(2, other, 3), append(2, log_of(1, 1, 2), 4),
        Append(2, A, b"round2", LEASE, 7, (0, 0), b"c" * 16, 0, []),
        Append(2, A, b"round2", LEASE, 7, (2, 3), log[2].chain, 0, []),
        append(2, log_of(1, 2, 2, 2), 3),
    ]  # fmt: skip
    for message in hostile:
        bench = Bench()
        bench.ask(append(1, log, committed=3))
        bench.ask(seal(2))
        with pytest.raises(Violation, match="expels"):
            bench.ask(message)
        assert bench.machine.committed == 3 and bench.machine.last == (1, 3)
        assert isinstance(bench.one(append(2, log_of(2, behind=log), 4)), Appended), (
            "and it goes on"
        )


def test_a2_gap() -> None:
    bench = Bench()
    log = log_of(1, 1, 1)
    bench.ask(append(1, log, upto=1))
    assert bench.one(append(1, log, 3)) == MissingEntries(1, b"round1", 7, (1, 1), 0)


def test_a2_conflict_goes_back_over_the_whole_dead_term_and_never_below_committed() -> None:
    bench = Bench()
    mine = log_of(1, 1, 2, 2, 2)
    bench.ask(append(2, mine, committed=1))
    other = log_of(3, 3, 3, 3, behind=mine[:2])
    assert bench.one(append(3, other, 5)) == Conflict(3, b"round3", 7, 2, 1)
    bench.ask(append(3, other, 3))
    assert bench.machine.last == (3, 6)


def test_a2_f5_a_longer_foreign_tail_is_not_counted() -> None:
    bench = Bench()
    mine = log_of(1, 1, 1, 1)
    bench.ask(append(1, mine))
    answer = bench.one(append(2, mine, upto=2))
    assert answer == Appended(2, b"round2", 7, 2)
    assert bench.machine.last == (1, 4), "what does not contradict the writer stays"


def test_a2_same_id_is_not_the_same_entry() -> None:
    bench = Bench()
    bench.ask(append(1, log_of(1, 1)))
    other = log_of(1, 1, text=b"y")
    bench.ask(append(2, other))
    assert bench.machine.last_chain == other[1].chain


def test_a2_truncation_lowers_durable_at_once() -> None:
    """Otherwise an empty Append at the same position would be answered from a stale mark.
    A power loss would then remove the entry.
    """
    bench = Bench()
    mine = log_of(1, 1, 1)
    bench.ask(append(1, mine))
    other = log_of(2, 2, behind=mine[:1])
    assert bench.ask(append(2, other, 2), sync=False) == []
    assert bench.machine.durable == 1
    assert bench.ask(append(2, other, 4), sync=False) == [], (
        "nothing is acknowledged before it is on disk"
    )
    bench.node.sync(bench.now)
    assert bench.said == [("w", Appended(2, b"round2", 7, 3))] * 2
    assert bench.machine.durable == 3


def test_a2_a_committed_entry_is_never_truncated() -> None:
    bench = Bench()
    bench.ask(append(1, log_of(1, 1), committed=2))
    with pytest.raises(Violation, match="committed entry 1"):
        bench.ask(append(2, log_of(2, 2)))


def test_a2_an_append_that_is_no_run_is_dropped() -> None:
    bench = Bench()
    message = append(1, log_of(1, 1, 1))
    del message.entries[1]
    with pytest.raises(Violation, match="expels"):
        bench.ask(message)
    assert bench.machine.last == NO_ENTRY


def test_a3_committed_is_bounded_by_what_is_confirmed_in_this_term() -> None:
    bench = Bench()
    mine = log_of(1, 1, 1)
    bench.ask(append(1, mine))
    # the writer of term 2 has said nothing about 2 and 3 yet
    bench.ask(append(2, mine, upto=1, committed=3))
    assert bench.machine.committed == 1
    bench.ask(append(2, mine, 2, committed=2))
    assert bench.machine.committed == 2


def test_a4_readers_get_committed_entries_candidates_all() -> None:
    bench = Bench()
    log = log_of(1, 1, 1)
    bench.ask(append(1, log, committed=2), sync=False)
    reader = bench.one(Fetch(1, 1, 1 << 20, False), sync=False)
    candidate = bench.one(Fetch(2, 1, 1 << 20, True), sync=False)
    assert isinstance(reader, Fetched) and reader.entries == [entry.encoded for entry in log[:2]]
    assert (
        isinstance(candidate, Fetched) and len(candidate.entries) == 3 and candidate.last == (1, 3)
    )


def test_a4_f9_a_pull_raises_the_promise_first_and_acknowledges_nothing() -> None:
    bench = Bench()
    old, log = log_of(1, 1, 1), log_of(1, 3, 3)
    bench.ask(append(1, old))
    assert bench.ask(CatchUp(3, b"round3", 3)) == [Unsealed(3, b"round3", 0)]
    answers = bench.ask(CatchUp(1, b"round1", 3))
    fetches = [message for message in answers if isinstance(message, Fetch)]
    assert len(fetches) == 2, "both other nodes are asked what they have"
    head = Fetched(fetches[0].token, fetches[0].start, 3, (3, 3), 3, NO_ENTRY, False, [])
    [pull] = [message for message in bench.ask(head, source="n1") if isinstance(message, Fetch)]
    chunk = Fetched(pull.token, 1, 3, (3, 3), 3, NO_ENTRY, False, [entry.encoded for entry in log])
    assert bench.ask(chunk, sync=False, source="n1") == []
    kinds = [type(output) for _, output in bench.node.disk.pending]
    assert WriteMeta in kinds and bench.machine.promise.term == 3
    bench.node.sync(bench.now)
    assert bench.machine.last == (3, 3) and bench.machine.committed == 3 and bench.said == []
    assert bench.ask(renew(3)) == [], "the pulled promise is no writer's: it must seal first"


def test_a5_disk_full_is_answered_and_recovered_from() -> None:
    bench = Bench()
    log = log_of(1, 1)
    bench.ask(append(1, log, upto=1))
    bench.machine.on_room(False)
    assert bench.one(append(1, log, 2)) == Unavailable(1, b"round1", 7, "disk full")
    assert isinstance(bench.one(append(1, log, 2, upto=1)), Appended), (
        "commit progress needs no room"
    )
    bench.machine.on_room(True)
    assert isinstance(bench.one(append(1, log, 2)), Appended)


def test_a5_what_does_not_fit_comes_again_when_the_rest_is_on_disk() -> None:
    bench = Bench()
    log = log_of(1, 1, 1, 1)
    bench.machine.room_bytes = sum(len(entry.encoded) for entry in log[:3])
    assert bench.ask(append(1, log), sync=False) == []
    bench.node.sync(bench.now)
    assert [message for _, message in bench.said] == [
        MissingEntries(1, b"round1", 7, (1, 3), 0)
    ] and bench.machine.room_bytes == 0
    assert isinstance(bench.one(append(1, log)), Unavailable)
    assert isinstance(bench.one(append(1, log, upto=3)), Appended), (
        "what is here already needs no room"
    )
    bench.machine.room_bytes = len(log[3].encoded)
    assert bench.one(append(1, log)) == Appended(1, b"round1", 7, 4)


def test_a5_without_room_nothing_is_cut_either() -> None:
    bench = Bench()
    bench.ask(append(1, log_of(1, 1)))
    bench.machine.on_room(False)
    assert isinstance(bench.one(append(2, log_of(2, 2))), Unavailable)
    assert bench.machine.last == (1, 2)


def test_a6_an_answer_waits_for_everything_it_depends_on() -> None:
    bench = Bench()
    machine = bench.machine
    machine.on_message(0, seal(1), bench.now)
    machine.on_message(0, append(1, log_of(1)), bench.now)
    outputs = machine.take_outputs()
    answer = outputs[-1]
    assert isinstance(answer, SendAfterPersist) and answer.sequence == 2, (
        "behind the promise and the entry"
    )
    machine.on_persisted(1, bench.now)
    assert machine.durable == 0
    machine.on_persisted(2, bench.now)
    assert machine.durable == 1


def test_l1_the_window_opens_before_the_fsync() -> None:
    bench = Bench()
    bench.ask(append(1, log_of(1)), sync=False)
    assert bench.machine.window_left_ms(bench.now) == 170
    assert isinstance(bench.ask(seal(2, B), sync=False)[0], LeaseHeld)


def test_l1_only_an_accepted_append_opens_a_window() -> None:
    bench = Bench()
    log = log_of(1, 1, 1)
    bench.ask(append(1, log, 3))
    assert bench.machine.window_left_ms(bench.now) == 0


def test_l1_v6_renew_needs_the_durable_promise_of_its_term_and_round() -> None:
    bench = Bench()
    assert bench.ask(renew(1)) == [], "above the promise: the writer is to append first"
    bench.ask(seal(1), sync=False)
    assert bench.ask(renew(1), sync=False) == [], "promised, not on disk"
    bench.node.sync(bench.now)
    assert bench.ask(renew(1, b"other")) == []
    assert bench.ask(renew(1)) == [Renewed(1, b"round1", 9)]
    assert not bench.node.disk.pending, "an idle shard costs no fsync"
    bench.now += WINDOW_US
    bench.ask(seal(2, B))
    assert bench.one(renew(1)) == Refused(1, b"round1", 2)


def test_l1_a_window_follows_one_of_another_incarnation() -> None:
    bench = Bench()
    bench.ask(append(1, log_of(1)))
    bench.ask(append(2, log_of(1), 2, who=B))
    assert bench.machine.window_writer == A
    bench.now += WINDOW_US
    bench.ask(append(2, log_of(1), 2, who=B))
    assert bench.machine.window_writer == B
    assert isinstance(bench.one(seal(3, A)), LeaseHeld)


def test_l3_a_restarted_node_keeps_a_whole_window_one_that_never_promised_does_not() -> None:
    bench = Bench()
    bench.restart()
    assert isinstance(bench.one(seal(1, B, probe=True)), Promised)
    bench.ask(seal(1, A))
    bench.now += 10 * WINDOW_US
    bench.restart()
    assert bench.one(seal(2, B)) == LeaseHeld(2, b"round2", 1, 170)
    bench.now += WINDOW_US
    assert isinstance(bench.one(seal(2, B)), Promised)


def test_l4_release_lets_the_successor_in_then_everybody_and_is_for_good() -> None:
    bench = Bench()
    bench.ask(append(1, log_of(1)))
    bench.ask(Release(1, b"wrong", B))
    assert isinstance(bench.one(seal(2, B, probe=True)), LeaseHeld), "needs the promised ballot id"
    bench.ask(Release(1, b"round1", B))
    assert bench.ask(renew(1)) == [], "a late Renew does not open what was closed"
    assert bench.one(seal(2, b"writer-c", probe=True)) == LeaseHeld(2, b"round2", 1, 80)
    assert isinstance(bench.one(seal(2, B, probe=True)), Promised)
    bench.now += 80_000
    assert isinstance(bench.one(seal(2, b"writer-c")), Promised)


def test_r2_tail_is_the_last_durable_id() -> None:
    bench = Bench()
    log = log_of(1, 1)
    bench.ask(append(1, log, upto=1))
    bench.ask(append(1, log, 2), sync=False)
    assert bench.ask(TailQuery(5), sync=False) == [Tail(5, (1, 1), 0)]
    bench.node.sync(bench.now)
    assert bench.ask(TailQuery(6)) == [Tail(6, (1, 2), 0)]


def test_s3_a_suspect_node_counts_nowhere_but_serves_its_good_entries() -> None:
    bench, log = suspect_bench()
    assert bench.machine.suspicion.position == 3
    assert (
        [type(answer) for answer in bench.ask(seal(2))] == [Suspected]
        and bench.ask(TailQuery(1)) == []
        and bench.ask(renew(1)) == []
    )
    assert bench.one(seal(0)) == Refused(0, b"round0", 1)
    [answer] = bench.ask(Fetch(1, 1, 1 << 20, True))
    assert (
        isinstance(answer, Fetched)
        and answer.suspect
        and answer.entries == [entry.encoded for entry in log[:2]]
    )


def test_s3_suspicion_survives_a_restart() -> None:
    bench, _ = suspect_bench()
    epoch = bench.machine.suspicion.epoch
    bench.node.sync(bench.now)
    bench.restart()
    assert bench.machine.suspicion is not None and bench.machine.suspicion.epoch != epoch, (
        "damage again: a new doubt"
    )


def test_s3_v3_one_append_does_not_end_it_matching_up_to_heal_does() -> None:
    bench, log = suspect_bench()
    bench.node.sync(bench.now)
    answer = bench.one(append(1, log, 3, upto=3))
    assert isinstance(answer, Suspected) and answer.position == 3
    assert bench.machine.window_left_ms(bench.now) == 0
    healed = append(1, log, 4, repair_epoch=answer.epoch, repair_upto=4)
    wrong = append(1, log, 4, repair_epoch=b"another doubt", repair_upto=4)
    assert isinstance(bench.one(wrong), Suspected)
    assert bench.ask(healed, sync=False) == [], "on disk before in memory"
    assert bench.machine.suspicion is not None and bench.ask(TailQuery(1), sync=False) == []
    bench.node.sync(bench.now)
    assert bench.said[-1][1] == Appended(1, b"round1", 7, 4)
    assert bench.machine.suspicion is None
    bench.restart()
    assert bench.machine.suspicion is None


def test_s3_what_was_cut_cannot_be_put_back_into_trust() -> None:
    """Healing cuts the doubtful tail; then the power fails inside the first rewritten entry.
    Putting back that entry must not end the suspicion: no node knows what followed it.
    """
    bench, log = suspect_bench()
    bench.node.sync(bench.now)
    bench.ask(append(1, log, 3, upto=3))
    bench.node.disk.rot(3, False)
    bench.restart()
    assert bench.machine.suspicion.cut
    bench.now += 600_000
    bench.node.tick(bench.now)
    fetch = [message for _, message in bench.said if isinstance(message, Fetch)][-1]
    bench.ask(Fetched(fetch.token, 3, 1, (1, 4), 4, NO_ENTRY, False, [log[2].encoded]), source="n1")
    assert bench.machine.last == (1, 3) and bench.machine.suspicion is not None
