"""A learner's machine by example (S8): when it counts, and what it does not do before that."""

from __future__ import annotations

import pytest

from tests.txlog.consensus.harness import Bench, append, log_of, renew, seal
from tests.txlog.consensus.repair_harness import converse, rotten_while_it_runs
from txlog.consensus.outputs import Suspicion
from txlog.entry import NO_ENTRY, Entry, EntryId
from txlog.messages import (
    Appended,
    Fetch,
    Fetched,
    LeaseHeld,
    MissingEntries,
    Promised,
    Refused,
    Suspected,
    Tail,
    TailQuery,
)

LEASE_MS = 1600
WINDOW_US = 1_700_000


def learner(peers: int = 2) -> tuple[Bench, Fetch]:
    """A learner and its first question."""
    bench = Bench(peers)
    bench.node.crash(0)
    for state in (bench.node.disk.synced, bench.node.disk.now):
        state.suspicion = Suspicion(1, b"learner", "new", learner=True)
    bench.said.clear()
    bench.node.start(bench.now)
    return bench, asked(bench)


def asked(bench: Bench) -> Fetch:
    found = [message for _, message in bench.said if isinstance(message, Fetch)]
    assert found, bench.said
    return found[-1]


def answer(
    fetch: Fetch,
    promised: int,
    last: EntryId,
    committed: int = 0,
    entries: list[Entry] | None = None,
    **more: bool,
) -> Fetched:
    encoded = [entry.encoded for entry in entries or []]
    return Fetched(
        fetch.token,
        fetch.start,
        promised,
        last,
        committed,
        NO_ENTRY,
        more.get("suspect", False),
        encoded,
        committed,
        LEASE_MS,
        more.get("learner", False),
    )


def silent(bench: Bench) -> None:
    """It promises nothing, renews nothing and answers no tail.
    It reports no position that a writer could count.
    """
    assert bench.ask(seal(9, expected=(99, 99), probe=True)) == []
    assert bench.ask(TailQuery(1)) == []
    assert bench.ask(renew(bench.machine.promise.term)) == []


def later(bench: Bench, us: int) -> None:
    bench.now += us
    bench.said.clear()
    bench.node.tick(bench.now)
    if bench.node.dirty:
        bench.node.sync(bench.now)


def joined(bench: Bench) -> bool:
    return bench.machine.counts


def test_it_copies_the_greatest_log_promises_the_greatest_promise_and_waits_a_window() -> None:
    log = log_of(1, 1, 2)
    bench, first = learner()
    silent(bench)
    bench.ask(answer(first, 5, (1, 2), 2), source="n1")
    assert not [m for _, m in bench.said if isinstance(m, Fetch)], "one of three is no majority"
    bench.ask(answer(first, 2, log[-1].id, 2), source="n2")
    pull = asked(bench)
    assert pull.uncommitted and pull.max_bytes
    silent(bench)
    bench.ask(answer(pull, 2, log[-1].id, 2, log), source="n2")
    assert (
        bench.machine.promise.term == 5
        and bench.machine.last == (2, 3)
        and bench.machine.committed == 2
    )
    silent(bench)
    later(bench, WINDOW_US - 1)
    assert not joined(bench)
    later(bench, 1)
    assert joined(bench)
    assert bench.one(TailQuery(4)) == Tail(4, (2, 3), 2)
    assert bench.one(seal(5)) == Refused(5, b"round5", 5)
    assert bench.one(seal(6)) == Promised(6, b"round6", 6, False, (2, 3), 2)
    bench.restart()
    assert joined(bench) and isinstance(bench.one(seal(7, who=b"x" * 16)), LeaseHeld)


def test_a_seal_is_kept_and_not_answered_by_a_promise() -> None:
    """The writer of that term may send it entries; it counts in no ballot."""
    bench, _ = learner()
    assert [type(answer) for answer in bench.ask(seal(9, expected=(99, 99)))] == [Suspected]
    assert bench.machine.promise.term == 0
    assert bench.ask(seal(9, expected=(99, 99), probe=True)) == []
    assert bench.one(append(9, log_of(9)), seal=False) == Suspected(9, b"round9", 7, b"learner", 1)
    assert bench.ask(renew(9)) == [] and bench.machine.window_left_ms(bench.now) == 0


def test_a_long_uncommitted_tail_is_copied_in_pieces() -> None:
    """The tail that is not committed is longer than one piece.
    Earlier, each piece was requested from the committed position on: the same piece again and
    again.
    """
    log = log_of(1, 1, 1, 1, 1)
    bench, first = learner()
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id, 1), source=source)
    source = bench.machine.learner._source
    for _ in range(3):
        pull = asked(bench)
        bench.ask(
            answer(pull, 1, log[-1].id, 1, log[pull.start - 1 : pull.start + 1]), source=source
        )
    assert bench.machine.last == log[-1].id and bench.machine.learner.state == "waiting"


def test_a_writer_who_replaces_what_was_copied_is_not_in_the_way() -> None:
    log = log_of(1, 1, 1, 1, 1)
    other = log_of(2, 2, behind=log[:1])
    bench, first = learner()
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id, 1), source=source)
    source = bench.machine.learner._source
    pull = asked(bench)
    bench.ask(answer(pull, 1, log[-1].id, 1, log[:4]), source=source)
    pull = asked(bench)
    assert pull.start == 5
    bench.ask(append(2, other[:2], start=2))
    bench.ask(answer(pull, 1, log[-1].id, 1, log[4:]), source=source)
    assert bench.machine.last == (2, 2), "they do not follow what is here now"


def test_suspect_nodes_and_other_learners_are_not_counted() -> None:
    bench, first = learner()
    bench.ask(answer(first, 1, (1, 9), suspect=True), source="n1")
    bench.ask(answer(first, 1, NO_ENTRY, suspect=True, learner=True), source="n2")
    later(bench, 20_000_000)
    silent(bench)
    assert not joined(bench)


def test_of_five_two_answers_are_not_enough() -> None:
    bench, first = learner(4)
    bench.ask(answer(first, 0, NO_ENTRY), source="n1")
    bench.ask(answer(first, 0, NO_ENTRY), source="n2")
    later(bench, 10_000)
    assert not joined(bench) and bench.machine.learner.state == "asking"
    bench.ask(answer(first, 0, NO_ENTRY), source="n3")
    later(bench, WINDOW_US)
    assert joined(bench)


def test_answers_of_two_surveys_are_not_added_up() -> None:
    bench, first = learner()
    bench.ask(answer(first, 1, NO_ENTRY), source="n1")
    later(bench, 500_000)
    second = asked(bench)
    assert second.token != first.token
    bench.ask(answer(second, 1, NO_ENTRY), source="n2")
    assert bench.machine.learner.state == "asking"


def test_another_membership_begins_it_again() -> None:
    bench, first = learner()
    bench.ask(answer(first, 1, NO_ENTRY), source="n1")
    bench.said.clear()
    bench.machine.on_membership(["n1", "n7"], bench.now)
    bench.node.run(bench.now)
    bench.ask(answer(first, 1, NO_ENTRY), source="n7")
    bench.ask(answer(asked_again(bench), 1, NO_ENTRY), source="n2")  # replaced meanwhile
    assert bench.machine.learner.state == "asking"


def asked_again(bench: Bench) -> Fetch:
    return Fetch(bench.machine.learner._token, 1, 0, True)


def test_a_writer_feeds_it_and_no_append_heals_it() -> None:
    log = log_of(1, 1, 2, 2)
    bench, first = learner()
    assert isinstance(bench.one(append(2, log, start=3)), MissingEntries)
    told = bench.one(append(2, log, committed=4))
    assert told == Suspected(2, b"round2", 7, b"learner", 4)
    told = bench.one(append(2, log, start=5, committed=4, repair_epoch=b"learner", repair_upto=4))
    assert isinstance(told, Suspected), "S3's way out of suspicion is not a learner's"
    for source in ("n1", "n2"):
        bench.ask(answer(first, 2, log[2].id, 2), source=source)
    assert bench.machine.learner.state == "waiting", "what the others told is here already"
    told = bench.one(append(2, log, start=5, committed=4))
    assert isinstance(told, Suspected)
    later(bench, WINDOW_US)
    assert bench.one(append(2, log, start=5, committed=4)) == Appended(2, b"round2", 7, 4)


def test_a_restart_midway_begins_again() -> None:
    log = log_of(1, 1)
    bench, first = learner()
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id, 2), source=source)
    bench.ask(answer(asked(bench), 1, log[-1].id, 2, log), source=bench.machine.learner._source)
    assert bench.machine.learner.state == "waiting"
    bench.restart()
    assert bench.machine.learner.state == "asking" and not joined(bench)
    silent(bench)
    later(bench, 10 * WINDOW_US)
    assert not joined(bench)


def test_a_torn_tail_of_a_learner_is_cut_for_it_has_acknowledged_nothing() -> None:
    log = log_of(1, 1, 1)
    bench, _ = learner()
    bench.ask(append(1, log))
    bench.node.disk.rot(3, False)
    bench.restart()
    assert bench.machine.last == (1, 2) and bench.machine.is_learner
    silent(bench)


@pytest.mark.parametrize("fresh", [True, False])
def test_the_exchange_of_all_nodes_does_not_end_while_a_learner_is_among_them(fresh: bool) -> None:
    """S4 takes the greatest log of all nodes.
    An entry that the lost node acknowledged together with this one may be in the torn tail.
    """
    log = log_of(1, 1, 1)
    bench = Bench()
    bench.ask(append(1, log))
    bench.node.disk.rot(3, False)
    bench.restart()
    for _ in range(4):  # a writer has time to heal; then once more after the fence
        fetch = asked(bench)
        bench.ask(answer(fetch, max(1, fetch.fence), (1, 2), 2, suspect=True), source="n1")
        bench.ask(
            answer(fetch, max(1, fetch.fence), NO_ENTRY, suspect=True, learner=fresh), source="n2"
        )
        if not bench.machine.counts and not any(
            isinstance(message, Fetch) for _, message in bench.said
        ):
            later(bench, 500_000)
    assert bench.machine.counts is not fresh


@pytest.mark.parametrize("way", ["put back", "healed by the writer"])
def test_damage_found_while_it_copies_does_not_make_it_an_ordinary_suspect(way: str) -> None:
    """Otherwise it would count with a part of the log, by S3's ways out of suspicion.
    It would lack the others' promises and its window.
    """
    log = log_of(1, 1, 1, 1, 1)
    bench, _ = learner()
    bench.ask(append(1, log, upto=3))
    rotten_while_it_runs(bench, 2)
    assert bench.machine.is_learner and bench.node.disk.synced.suspicion.learner
    if way == "put back":
        for fetch in [
            message for _, message in bench.said if isinstance(message, Fetch) and message.max_bytes
        ]:
            bench.ask(answer(fetch, 1, log[-1].id, 5, log[fetch.start - 1 :]), source="n1")
    else:
        told = bench.one(append(1, log, start=2, upto=3))
        assert isinstance(told, Suspected)
        assert isinstance(
            bench.one(append(1, log, start=4, upto=3, repair_epoch=told.epoch, repair_upto=3)),
            Suspected,
        )
    assert not joined(bench)
    silent(bench)
    bench.restart()
    assert bench.machine.is_learner
    silent(bench)


def test_a_learner_damaged_while_its_last_step_goes_to_disk_is_a_suspect_member() -> None:
    log = log_of(1, 1, 1)
    bench, first = learner()
    bench.ask(append(1, log))
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id), source=source)
    bench.now += WINDOW_US
    bench.node.tick(bench.now)
    assert bench.machine.suspicion_ending
    rotten_while_it_runs(bench, 2)
    assert not joined(bench) and not bench.machine.is_learner, (
        "it has done all that a learner must; what it holds is damaged, as any member's may be"
    )
    assert bench.machine.learner.deadline == 0
    silent(bench)


def test_what_nobody_calls_committed_is_copied_in_pieces_too() -> None:
    """A dead writer's suffix may be larger than one answer.
    While there is no writer, no node commits it.
    """
    log = log_of(1, 1, 1, 1, 1)
    bench, first = learner()
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id, 1), source=source)
    starts = []
    while bench.machine.learner.state == "copying":
        pull = asked(bench)
        starts.append(pull.start)
        assert len(starts) < 5, starts
        bench.ask(
            answer(pull, 1, log[-1].id, 1, log[pull.start - 1 : pull.start + 1]),
            source=bench.machine.learner._source,
        )
    assert starts == [1, 3, 5] and bench.machine.last == (1, 5) and bench.machine.committed == 1


def test_an_answer_that_is_long_on_its_way_is_taken() -> None:
    """A piece of some MiB may need longer on a slow link than a question without entries."""
    log = log_of(1, 1)
    bench, first = learner()
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id, 2), source=source)
    pull = asked(bench)
    later(bench, 1_500_000)
    bench.ask(answer(pull, 1, log[-1].id, 2, log), source=bench.machine.learner._source)
    assert bench.machine.learner.state == "waiting"
    bench, first = learner()
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id, 2), source=source)
    later(bench, 20_000_000)
    assert bench.machine.learner.state == "asking", "a source that says nothing is given up"


def test_pieces_that_take_longer_than_they_are_first_waited_for_are_taken() -> None:
    log = log_of(1, 1, 1, 1)
    bench, first = learner()

    def says(node: str, fetch: Fetch) -> Fetched:
        return answer(
            fetch,
            1,
            log[-1].id,
            4,
            log[fetch.start - 1 : fetch.start + 1] if fetch.max_bytes else None,
        )

    bench.said = [(node, first) for node in ("n1", "n2")]
    converse(
        bench,
        says,
        lambda node: 5_000_000 if bench.machine.learner.state == "copying" else 1000,
        lambda: bench.machine.learner.state == "waiting",
    )
    assert bench.machine.last == (1, 4)


def test_a_hole_of_a_learner_is_mended_while_a_writer_appends() -> None:
    """The writer appends more often than an answer takes."""
    log = log_of(1, 1, 1, 1)
    bench, first = learner()
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id, 4), source=source)
    bench.ask(answer(asked(bench), 1, log[-1].id, 4, log), source="n1")
    assert bench.machine.learner.state == "waiting"
    bench.said.clear()
    bench.node.disk.rot(2, True)
    bench.machine.on_damage(bench.node.disk.scan(bench.machine.committed), bench.now)
    bench.node.run(bench.now)
    question = asked(bench)
    longer = log_of(1, 1, behind=log)
    for count in (5, 6):
        bench.ask(append(1, longer, count, count, committed=count - 1))
    bench.ask(answer(question, 1, log[-1].id, 4, log[1:4]), source="n1")
    assert not bench.machine.holes


def test_a_piece_that_does_not_join_on_is_not_taken() -> None:
    log = log_of(1, 1, 1, 1)
    bench, first = learner()
    for source in ("n1", "n2"):
        bench.ask(answer(first, 1, log[-1].id, 0), source=source)
    bench.ask(answer(asked(bench), 1, log[-1].id, 0, log[:2]), source=bench.machine.learner._source)
    pull = asked(bench)
    other = log_of(2)
    # a writer of a higher term has cut what was copied
    bench.ask(append(2, other, ballot_id=b"another"))
    assert bench.machine.last == (2, 1)
    bench.ask(answer(pull, 1, log[-1].id, 0, log[2:]), source=bench.machine.learner._source)
    assert bench.machine.last == (2, 1)
