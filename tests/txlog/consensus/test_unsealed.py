"""A2 at the writer: a log node takes no Append before it has the writer's Seal."""

from __future__ import annotations

from tests.txlog.consensus.writer_harness import Bench, entries_of
from txlog.consensus.outputs import Reopened
from txlog.consensus.sender import OPEN
from txlog.entry import LEADERSHIP, NO_ENTRY
from txlog.messages import Append, Appended, LeaseHeld, Promised, Refused, Seal, Suspected, Unsealed


def opened(bench: Bench) -> None:
    """Node 2 was away, and now gets a message."""
    bench.open()
    bench.machine.on_disconnected(2, bench.now)
    bench.machine.on_connected(2, bench.now)
    bench.take()


def unsealed(bench: Bench, node: int) -> Seal:
    """Node ``node`` takes no Append before our Seal; the message that the writer then sends."""
    number = bench.machine._progress[node].outstanding[-1].number
    bench.clear()
    bench.tell(node, Unsealed(bench.machine.term, bench.machine.ballot_id, number))
    [seal] = bench.sent[node]
    assert isinstance(seal, Seal)
    assert (seal.term, seal.ballot_id, seal.probe) == (
        bench.machine.term,
        bench.machine.ballot_id,
        False,
    )
    assert seal.expected == bench.machine.last
    return seal


def test_a2_a_node_that_missed_the_seal_gets_it_and_then_the_log() -> None:
    bench = Bench()
    opened(bench)
    seal = unsealed(bench, 2)
    bench.clear()
    bench.tell(2, Promised(seal.term, seal.ballot_id, seal.term, False, NO_ENTRY, 0))
    assert [entry.kind for entry in entries_of(bench.newest(2, Append))] == [LEADERSHIP]
    bench.appended(2)
    assert bench.machine.state == OPEN and bench.sent[2]


def test_a2_anothers_window_there_is_waited_for() -> None:
    bench = Bench()
    opened(bench)
    seal = unsealed(bench, 2)
    bench.clear()
    bench.tell(2, LeaseHeld(seal.term, seal.ballot_id, 0, 500))
    bench.tick(499)
    assert not [message for message in bench.sent[2] if isinstance(message, Append | Seal)]
    bench.tick(1)
    assert isinstance(bench.newest(2, Append), Append)
    unsealed(bench, 2)


def test_a2_an_answer_that_is_lost_is_asked_for_again() -> None:
    bench = Bench()
    opened(bench)
    unsealed(bench, 2)
    bench.clear()
    bench.tick(100)
    assert isinstance(bench.newest(2, Append), Append)


def test_a2_a_suspect_node_says_so_and_is_fed() -> None:
    bench = Bench()
    opened(bench)
    seal = unsealed(bench, 2)
    bench.clear()
    bench.tell(2, Suspected(seal.term, seal.ballot_id, 0, b"epoch", 0))
    assert bench.newest(2, Append).repair_epoch == b"epoch"


def test_a2_a_node_that_gave_the_term_to_another_round_is_met_above_it() -> None:
    """The other candidate of this term did not succeed.
    That node would never take an Append of our round.
    """
    bench = Bench()
    opened(bench)
    seal = unsealed(bench, 2)
    bench.clear()
    bench.tell(2, Refused(seal.term, seal.ballot_id, seal.term))
    again = bench.newest(2, Seal)
    assert again.term == seal.term + 1 and again.ballot_id != seal.ballot_id
    bench.tell(0, Promised(again.term, again.ballot_id, again.term, False, bench.machine.last, 1))
    bench.tell(1, Promised(again.term, again.ballot_id, again.term, False, bench.machine.last, 1))
    assert bench.heard(Reopened) and bench.machine.term == again.term


def test_a2_promises_that_come_late_change_nothing() -> None:
    bench = Bench()
    opened(bench)
    number, machine = bench.machine._progress[2].outstanding[-1].number, bench.machine
    bench.clear()
    bench.tell(2, Promised(machine.term, machine.ballot_id, machine.term, False, NO_ENTRY, 0))
    assert not bench.sent[2]
    bench.tell(2, Appended(machine.term, machine.ballot_id, number, 1))
    assert machine.state == OPEN and machine._progress[2].match == 1
