"""Entries from other nodes, by example: what may be put back (S2), the exchange of all nodes (S4),
a log that nobody can mend (S5).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.txlog.consensus.cluster import Violation
from tests.txlog.consensus.test_acceptor import WINDOW_US, A, B, Bench, append, log_of, renew, seal
from txlog.consensus.adaptive_timeout import FIRST_US, LONGEST_US, AdaptiveTimeout
from txlog.consensus.log import Scan
from txlog.consensus.outputs import PeerFetch, Promise, PutBack, Truncate, WriteMeta
from txlog.entry import NO_ENTRY, Entry, EntryId
from txlog.messages import (
    Appended,
    CatchUp,
    Fetch,
    Fetched,
    LeaseHeld,
    MissingEntries,
    Promised,
    Refused,
    Suspected,
    Tail,
    TailQuery,
    Unavailable,
)


def surveyed(bench: Bench) -> Fetch:
    """The newest question to the other nodes."""
    return [message for _, message in bench.said if isinstance(message, Fetch)][-1]


def answer(
    fetch: Fetch,
    log: list[Entry],
    last: EntryId | None = None,
    committed: int = 0,
    suspect: bool = False,
    proven: int = 0,
) -> Fetched:
    entries = (
        [entry.encoded for entry in log if entry.position >= fetch.start] if fetch.max_bytes else []
    )
    top = last or (log[-1].id if log else NO_ENTRY)
    return Fetched(
        fetch.token,
        fetch.start,
        max(1, fetch.fence),
        top,
        committed,
        NO_ENTRY,
        suspect,
        entries,
        proven,
    )


def tell(bench: Bench, node: str, fetched: Fetched) -> None:
    bench.said.clear()
    bench.node.deliver(node, fetched, bench.now)
    if bench.node.dirty:
        bench.node.sync(bench.now)


def converse(
    bench: Bench,
    says: Callable[[str, Fetch], Fetched | None],
    takes_us: Callable[[str], int],
    until: Callable[[], bool],
) -> None:
    """For ten minutes at most: what the node asks is answered so much later, one question a node at
    a time, the newest (`PeerLinks`); its deadlines pass.
    """
    under_way: dict[str, tuple[int, Fetched]] = {}
    waiting: dict[str, Fetch] = {}
    end = bench.now + 600_000_000
    while not until() and bench.now < end:
        waiting |= {node: message for node, message in bench.said if isinstance(message, Fetch)}
        bench.said.clear()
        for node in sorted(waiting.keys() - under_way.keys()):
            if (fetched := says(node, waiting.pop(node))) is not None:
                under_way[node] = bench.now + takes_us(node), fetched
        deadline = bench.machine.deadline() or end
        node = min(under_way, key=lambda node: under_way[node][0], default="")
        if node and under_way[node][0] <= deadline:
            bench.now, fetched = under_way.pop(node)
            tell(bench, node, fetched)
        else:
            bench.now = deadline
            bench.node.tick(bench.now)
            if bench.node.dirty:
                bench.node.sync(bench.now)


def agree(bench: Bench, **says: Callable[[Fetch], Fetched]) -> None:
    """S4: every node answers, again and again, until it has answered behind the fence."""
    fence = 0
    for _ in range(10):
        fetch = surveyed(bench)
        fence = fetch.fence
        for node, of in says.items():
            tell(bench, node, of(fetch))
        if fence:
            return
        if not any(isinstance(message, Fetch) for _, message in bench.said):
            bench.now += 500_000
            bench.node.tick(bench.now)
    raise AssertionError("no fence was raised")


def damaged(
    log: list[Entry],
    *positions: int,
    committed: int = 0,
    header: bool = False,
    peers: int = 2,
    ack: int = 0,
) -> Bench:
    """A node that held ``log`` and found these positions bad at start. ``ack``: synced up to there
    before the rest was written.
    """
    bench = Bench(peers)
    term = log[-1].term
    if ack:
        bench.ask(append(term, log, upto=ack))
    bench.ask(append(term, log, ack + 1, upto=len(log) - 1, committed=committed))
    bench.ask(append(term, log, len(log), committed=committed))
    for position in positions:
        bench.node.disk.rot(position, header)
    bench.restart()
    return bench


LOG = log_of(1, 1, 1, 1, 1)
STALE = log_of(1, 1, text=b"stale", behind=LOG[:3])


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
    """On a full disk it has no room (A5): to ask again at once would go on without a pause."""
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
    bench = damaged(LOG, 2, 3)  # nothing is known of 2, of 3 the next frame's previous chain
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


def fenced(bench: Bench) -> Fetch:
    """The question behind the fence, which is raised when a writer has had time to heal."""
    nobody = [answer(surveyed(bench), [], last=(1, 4), suspect=True) for _ in range(2)]
    for again in range(3):
        fetch = surveyed(bench)
        for node, fetched in zip(("n1", "n2"), nobody, strict=True):
            fetched.token = fetch.token
            tell(bench, node, fetched)
        assert bench.machine.suspicion is not None and bench.machine.promise.term == (
            2 if again == 2 else 1
        )
        if again < 2:
            bench.now += 500_000
            bench.node.tick(bench.now)
    return surveyed(bench)


def test_s4_first_every_node_promises_a_term_that_no_writer_has() -> None:
    """A living writer may count what this node has acknowledged and is about to cut."""
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
    # healed meanwhile, acknowledged 5, and lost power once more
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


# --------------------------------------------------------------------- S6: damage met while running


def rotten_while_it_runs(bench: Bench, *positions: int, header: bool = True) -> None:
    """The scrubber finds it (S6)."""
    for position in positions:
        bench.node.disk.rot(position, header)
    bench.said.clear()
    bench.machine.on_damage(bench.node.disk.scan(bench.machine.committed), bench.now)
    bench.node.run(bench.now)
    if bench.node.dirty:
        bench.node.sync(bench.now)


def met(*positions: int, committed: int = 0, peers: int = 2, header: bool = True) -> Bench:
    """A node that took ``LOG`` from its writer, and then meets these positions bad."""
    bench = Bench(peers)
    bench.ask(append(1, LOG, committed=committed))
    rotten_while_it_runs(bench, *positions, header=header)
    return bench


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
    """It was a hole until the restart: the writer's next Append truncated there what had been
    acknowledged, and a crash before the write lost it unseen.
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
    """A new writer cuts right behind the hole; for as long as a sync takes its id, which nobody
    here knows, is the durable one.
    """
    bench = damaged(LOG, 2, committed=2)
    fresh = log_of(2, behind=LOG[:2])
    assert bench.ask(append(2, fresh, start=3), sync=False) == []
    assert bench.ask(TailQuery(5), sync=False) == [], "no answer is better than an end"
    bench.node.sync(bench.now)
    assert [message for message in bench.ask(TailQuery(6)) if not isinstance(message, Fetch)] == [
        Tail(6, (2, 3), 2)
    ]
