"""The writer's machine by example, one rule per test; the test makes the log nodes' answers."""

from __future__ import annotations

from tests.txlog.consensus.writer_harness import LEASE, Bench, entries_of
from txlog.consensus.limits import Limits
from txlog.consensus.outputs import (
    CampaignOver,
    Committed,
    Opened,
)
from txlog.consensus.sender import IDLE
from txlog.entry import (
    DATA,
    LEADERSHIP,
    NO_ENTRY,
    decode_entry,
)
from txlog.messages import (
    Append,
    Appended,
    Behind,
    CatchUp,
    Fetch,
    Fetched,
    LeaseHeld,
    MissingEntries,
    Promised,
    Refused,
    Seal,
)


def test_w1_reads_a_majority_probes_seals_above_everything_seen() -> None:
    old = Bench()
    old.open()
    log = [old.machine._recent.slice(1)[0], old.append()]
    bench = Bench()
    bench.campaign()
    bench.fetched(0, log[:1], promised=7)
    assert bench.machine.state == "fetching", "one answer is no majority"
    bench.fetched(2, log, promised=3)
    probe = bench.newest(1, Seal)
    assert probe.probe and probe.term == 8 and probe.expected == log[1].id
    bench.promise(0, log[0].id)
    bench.promise(1)
    seal = bench.newest(1, Seal)
    assert not seal.probe and seal.term == 8 and seal.ballot_id != probe.ballot_id


def test_w1_a_suspect_nodes_answer_is_no_answer() -> None:
    bench = Bench()
    bench.campaign()
    bench.fetched(0)
    bench.fetched(1, suspect=True)
    assert bench.machine.state == "fetching"
    bench.fetched(2)
    assert bench.machine.state == "probing"


def test_w1_a_probe_is_no_promise() -> None:
    bench = Bench()
    bench.campaign()
    bench.fetched(0)
    bench.fetched(1)
    bench.promise(0)
    probe = bench.newest(1, Seal)
    bench.promise(1)
    assert bench.machine.state == "sealing"
    bench.tell(0, Promised(probe.term, probe.ballot_id, 0, True, NO_ENTRY, 0))
    bench.tell(1, Promised(probe.term, probe.ballot_id, 0, True, NO_ENTRY, 0))
    assert bench.machine.state == "sealing"


def test_w1_lease_held_waits_that_long_and_a_little() -> None:
    bench = Bench()
    bench.campaign()
    bench.fetched(0)
    bench.fetched(1)
    seal = bench.newest(0, Seal)
    bench.tell(0, LeaseHeld(seal.term, seal.ballot_id, 4, 300))
    bench.tell(1, LeaseHeld(seal.term, seal.ballot_id, 4, 700))
    [over] = bench.heard(CampaignOver)
    assert over.held and 700 <= over.retry_ms <= 700 + LEASE // 8, (
        "both windows must close, unless the third node answers"
    )


def test_w1_behind_reads_again() -> None:
    bench = Bench()
    bench.campaign()
    bench.fetched(0)
    bench.fetched(1)
    seal = bench.newest(0, Seal)
    token = bench.newest(0, Fetch).token
    for node in (0, 1):
        bench.tell(node, Behind(seal.term, seal.ballot_id, 4, (4, 1), 0))
    assert bench.machine.state == "fetching" and bench.newest(0, Fetch).token != token


def test_w1_no_majority_within_a_quarter_of_the_lease_or_refused_gives_up() -> None:
    bench = Bench()
    bench.campaign()
    bench.fetched(0)
    bench.tick(LEASE // 4 - 1)
    assert bench.machine.state == "fetching"
    bench.tick(1)
    [over] = bench.heard(CampaignOver)
    assert not over.held and LEASE // 8 <= over.retry_ms <= LEASE // 2
    bench.clear()
    bench.campaign()
    bench.fetched(0)
    bench.fetched(1)
    seal = bench.newest(0, Seal)
    bench.tell(0, Refused(seal.term, seal.ballot_id, 9))
    bench.tell(1, Refused(seal.term, seal.ballot_id, 9))
    assert bench.heard(CampaignOver) and bench.machine.state == IDLE
    bench.campaign()
    bench.fetched(0)
    bench.fetched(1)
    assert bench.newest(0, Seal).term == 10


def test_w1_a_large_suffix_is_read_in_pieces() -> None:
    old = Bench()
    old.open()
    log = [old.machine._recent.slice(1)[0]] + [old.append(b"%d" % i) for i in range(4)]
    bench = Bench()
    bench.campaign()
    first = bench.newest(0, Fetch)
    for node in (0, 1):
        bench.tell(
            node,
            Fetched(
                first.token, 1, 1, log[4].id, 1, NO_ENTRY, False, [log[0].encoded, log[1].encoded]
            ),
        )
    more = bench.newest(0, Fetch)
    assert more.start == 3
    bench.tell(
        0,
        Fetched(
            more.token, 3, 1, log[4].id, 1, NO_ENTRY, False, [entry.encoded for entry in log[2:]]
        ),
    )
    assert bench.newest(0, Seal).expected == log[4].id


def test_w1_a_format_it_cannot_read_never_campaigns() -> None:
    old = Bench()
    old.open()
    log = [old.machine._recent.slice(1)[0]]
    bench = Bench()
    bench.campaign()
    fetch = bench.newest(0, Fetch)
    strange = log[0].encoded[:33] + b"\x09" + log[0].encoded[34:]
    assert decode_entry(strange).format == 9
    for node in (0, 1):
        bench.tell(node, Fetched(fetch.token, 1, 1, log[0].id, 0, NO_ENTRY, False, [strange]))
    assert "cannot read" in bench.heard(CampaignOver)[0].reason


def test_w2_leadership_is_first_and_older_entries_are_committed_with_it_not_before() -> None:
    old = Bench()
    old.open()
    log = [old.machine._recent.slice(1)[0], old.append()]
    bench = Bench()
    bench.campaign()
    bench.fetched(0, log)
    bench.fetched(1, log[:1])
    bench.promise(0, log[1].id)
    bench.promise(1, log[0].id)
    bench.promise(0, log[1].id)
    bench.promise(1, log[0].id)
    assert [entry.kind for entry in entries_of(bench.newest(0, Append))] == [LEADERSHIP]
    assert [entry.position for entry in entries_of(bench.newest(1, Append))] == [2, 3], (
        "fed from where it stands"
    )
    bench.appended(0, 2)
    bench.appended(1, 2)
    assert bench.machine.committed == 0, (
        "an older entry on a majority is not committed by being there"
    )
    bench.appended(0, 3)
    bench.appended(1, 3)
    [opened] = bench.heard(Opened)
    assert [entry.id for entry in opened.prefix] == [log[0].id, log[1].id, (2, 3)]
    assert bench.machine.committed == 3


def test_w3_two_of_three_commit_and_only_answers_of_this_term_and_round_count() -> None:
    bench = Bench()
    bench.open()
    entry = bench.append()
    sent = bench.newest(0, Append)
    bench.tell(0, Appended(sent.term - 1, sent.ballot_id, sent.number, entry.position))
    bench.tell(1, Appended(sent.term, b"another round", sent.number, entry.position))
    bench.appended(2)
    assert bench.heard(Committed) == []
    bench.appended(0)
    assert bench.heard(Committed) == [Committed(entry.position)]


def test_w4_appends_of_one_turn_are_one_message_shared_by_all_nodes() -> None:
    bench = Bench()
    bench.open()
    bench.machine.append(DATA, b"one", 1, False, bench.now)
    bench.machine.append(DATA, b"two", 1, True, bench.now)
    bench.take()
    assert [len(messages) for messages in bench.sent] == [1, 1, 1]
    assert bench.sent[0][0] is bench.sent[1][0] is bench.sent[2][0]
    assert [entry.payload for entry in entries_of(bench.newest(0, Append))] == [b"one", b"two"]


def test_w4_a_window_holds_back_the_slow_node_only() -> None:
    bench = Bench(Limits(window_entries=3))
    bench.open()
    for _ in range(6):
        bench.append()
        bench.appended(0)
        bench.appended(1)
    assert len(bench.sent[2]) == 3 and bench.machine.in_flight == 0
    bench.appended(2)
    assert (
        sum(len(message.entries) for message in bench.sent[2] if isinstance(message, Append)) == 6
    )


def test_w4_what_is_no_longer_at_hand_is_pulled_from_another_node() -> None:
    bench = Bench(Limits(keep_bytes=0))
    bench.open()
    bench.machine.on_disconnected(2, bench.now)
    for _ in range(20):
        bench.append()
        bench.appended(0)
        bench.appended(1)
    bench.clear()
    bench.machine.on_connected(2, bench.now)
    bench.take()
    assert bench.sent[2] == [CatchUp(1, bench.machine.ballot_id, 21)]
    bench.tick(50)
    look = bench.newest(2, Append)
    assert look.previous == (1, 21) and look.entries == []
    bench.appended(2)
    bench.append()
    assert len(bench.newest(2, Append).entries) == 1


def test_w6_after_a_reconnect_the_nodes_answer_says_where_to_go_on() -> None:
    bench = Bench()
    bench.open()
    bench.append()
    bench.machine.on_disconnected(2, bench.now)
    bench.append()
    bench.append()
    bench.machine.on_connected(2, bench.now)
    bench.take()
    first = bench.newest(2, Append)
    assert first.previous == (1, 1) and len(first.entries) == 3
    bench.tell(2, MissingEntries(1, first.ballot_id, first.number, NO_ENTRY, 0))
    assert (
        bench.newest(2, Append).previous == NO_ENTRY and len(bench.newest(2, Append).entries) == 4
    )


def test_w6_a_lost_message_is_noticed_by_the_next_or_by_silence() -> None:
    bench = Bench()
    bench.open()
    lost = bench.append()
    bench.append()
    later = bench.newest(0, Append)
    bench.tell(0, MissingEntries(1, later.ballot_id, later.number, (1, 1), 0))
    assert [entry.position for entry in entries_of(bench.newest(0, Append))] == [
        lost.position,
        lost.position + 1,
    ]
    bench.clear()
    bench.tick(LEASE // 2)
    assert [entry.position for entry in entries_of(bench.newest(1, Append))] == [
        lost.position,
        lost.position + 1,
    ]


def test_w7_commit_progress_travels_alone_after_a_millisecond() -> None:
    bench = Bench()
    bench.open()
    bench.tick(30)
    bench.append()
    for node in (0, 1):
        bench.appended(node)
    assert bench.machine.deadline() == bench.now + 1000
    bench.clear()
    bench.tick(1)
    assert [message.committed for message in (bench.newest(node, Append) for node in range(3))] == [
        2,
        2,
        2,
    ]


def test_w7_waits_longer_for_the_next_append_when_appends_are_many() -> None:
    bench = Bench()
    bench.open()
    for _ in range(12):
        bench.tick(2)
        bench.append()
        for node in range(3):
            bench.appended(node)
    bench.clear()
    bench.tick(1)
    assert bench.sent == [[], [], []]
    bench.tick(3)
    assert [message.committed for message in (bench.newest(node, Append) for node in range(3))] == [
        13,
        13,
        13,
    ]
