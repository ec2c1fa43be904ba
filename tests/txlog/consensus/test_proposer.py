"""The writer's machine by example, one rule a test; the log nodes' answers are made by hand."""

from __future__ import annotations

from random import Random
from typing import TypeVar

import pytest

from txlog.consensus.limits import Limits
from txlog.consensus.outputs import (
    CampaignOver,
    Committed,
    Fenced,
    LeaseUntil,
    Opened,
    ProposerOutput,
    Reopened,
    Send,
)
from txlog.consensus.proposer import Proposer
from txlog.consensus.sender import IDLE, OPEN, OPENING
from txlog.entry import (
    DATA,
    GENESIS_CHAIN,
    HANDOVER,
    LEADERSHIP,
    NO_ENTRY,
    Entry,
    EntryId,
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
    Message,
    MissingEntries,
    Promised,
    Refused,
    Release,
    Renew,
    Renewed,
    Seal,
    Suspected,
    Unavailable,
)

LEASE = 800
M = TypeVar("M")


class Bench:
    """A writer with three connected log nodes."""

    def __init__(self, limits: Limits | None = None, nodes: int = 3) -> None:
        self.now = 5_000_000
        self.nodes = nodes
        self.machine = Proposer(nodes, b"i" * 16, Random(1), limits)
        for node in range(nodes):
            self.machine.on_connected(node, self.now)
        self.sent: list[list[Message]] = [[] for _ in range(nodes)]
        self.said: list[ProposerOutput] = []

    def take(self) -> None:
        for output in self.machine.take_outputs():
            if isinstance(output, Send):
                self.sent[output.to].append(output.message)
            else:
                self.said.append(output)

    def tell(self, node: int, message: Message) -> None:
        self.machine.on_message(node, message, self.now)
        self.take()

    def newest(self, node: int, kind: type[M]) -> M:
        return [message for message in self.sent[node] if isinstance(message, kind)][-1]

    def heard(self, kind: type[M]) -> list[M]:
        return [output for output in self.said if isinstance(output, kind)]

    def tick(self, ms: int) -> None:
        self.now += ms * 1000
        due = self.machine.deadline()
        if due and due <= self.now:
            self.machine.on_deadline(self.now)
        self.take()

    def clear(self) -> None:
        self.said.clear()
        for messages in self.sent:
            messages.clear()

    # ------------------------------------------------------------------ the usual answers

    def campaign(self, applied: EntryId = NO_ENTRY, chain: bytes = GENESIS_CHAIN) -> None:
        self.machine.start_campaign(applied, chain, LEASE, b"me", 1, self.now)
        self.take()

    def fetched(
        self,
        node: int,
        entries: list[Entry] | None = None,
        promised: int = 0,
        committed: int = 0,
        suspect: bool = False,
    ) -> None:
        fetch = self.newest(node, Fetch)
        log = entries or []
        last = log[-1].id if log else NO_ENTRY
        encoded = [entry.encoded for entry in log if entry.position >= fetch.start]
        self.tell(
            node,
            Fetched(
                fetch.token, fetch.start, promised, last, committed, NO_ENTRY, suspect, encoded
            ),
        )

    def promise(self, node: int, last: EntryId = NO_ENTRY, committed: int = 0) -> None:
        seal = self.newest(node, Seal)
        self.tell(node, Promised(seal.term, seal.ballot_id, seal.term, seal.probe, last, committed))

    def appended(self, node: int, position: int | None = None) -> None:
        message = self.newest(node, Append)
        self.tell(
            node,
            Appended(
                message.term,
                message.ballot_id,
                message.number,
                message.previous[1] + len(message.entries) if position is None else position,
            ),
        )

    def open(self, log: list[Entry] | None = None) -> None:
        """Won by the answers of nodes 0 and 1; all three get LEADERSHIP, 0 and 1 acknowledge it."""
        self.campaign()
        last = log[-1].id if log else NO_ENTRY
        for _ in range(3):  # read, probe, seal
            for node in (0, 1):
                if self.machine.state == "fetching":
                    self.fetched(node, log)
                else:
                    self.promise(node, last)
            if self.machine.state == OPENING:
                break
        for node in range(self.nodes):
            self.appended(node)
        assert self.machine.state == OPEN
        self.clear()

    def append(self, text: bytes = b"x") -> Entry:
        entry = self.machine.append(DATA, text, 1, False, self.now)
        self.take()
        return entry


def entries_of(message: Append) -> list[Entry]:
    return [decode_entry(encoded) for encoded in message.entries]


# --------------------------------------------------------------------------- W1


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


# --------------------------------------------------------------------------- W2, W3


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


# --------------------------------------------------------------------------- W4, W6, W7


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


# --------------------------------------------------------------------------- W5


def reseal(bench: Bench, promised: int = 5) -> Seal:
    sent = bench.newest(2, Append)
    bench.tell(2, Refused(sent.term, sent.ballot_id, promised))
    return bench.newest(0, Seal)


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


# --------------------------------------------------------------------------- L2, L4, L7, L8


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
    """Not by promises that were asked for before."""
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


# --------------------------------------------------------------------------- S3, bounds


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
    """It may have lost just that; what is committed already stays."""
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
