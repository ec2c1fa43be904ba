"""Group commit as a machine: the work of one turn, without a loop, a timer or a log."""

from __future__ import annotations

from memstore.replication.commit_rate import CommitRate
from memstore.replication.group_commit import (
    APPEND,
    IN_FLIGHT_LARGE,
    LARGE_BYTES,
    MAX_SKIPPED_WAITS,
    NEXT_TURN,
    NOTHING,
    START_WAIT,
    GroupCommit,
)
from tests.replication.test_shard import Node


def machine() -> tuple[Node, GroupCommit, CommitRate]:
    node = Node()
    rate = CommitRate(1000, node.engine.settings.max_uncommitted_bytes)
    return node, GroupCommit(node.shard, rate), rate


def gather(node: Node, units: int) -> None:
    for n in range(units):
        node.do(node.session(), f"SET k{n} v")


def append(node: Node, group: GroupCommit) -> None:
    group.on_append(len(node.shard.gathered))
    node.append()


def one_of_three_is_back(node: Node, group: GroupCommit) -> None:
    """Three units were committed, one client has written again, and a turn brought no more."""
    gather(node, 1)
    assert group.on_committed()
    assert group.on_turn(0) == NEXT_TURN


def test_a_turn_with_nothing_gathered_appends_nothing() -> None:
    _, group, _ = machine()
    assert group.on_turn(0) == NOTHING and not group.on_committed()


def test_the_first_unit_is_appended_at_once() -> None:
    node, group, _ = machine()
    gather(node, 1)
    assert group.on_turn(0) == APPEND


def test_units_gather_while_a_small_entry_is_in_flight() -> None:
    node, group, _ = machine()
    gather(node, 1)
    assert group.on_turn(1) == NOTHING


def test_what_is_large_goes_out_beside_others_while_there_is_room() -> None:
    node, group, rate = machine()
    node.run(node.session(), [[b"SET", b"k", b"v" * LARGE_BYTES]])
    assert rate.room >= group.next_size() > LARGE_BYTES
    assert group.on_turn(IN_FLIGHT_LARGE - 1) == APPEND
    assert group.on_turn(IN_FLIGHT_LARGE) == NOTHING
    rate.on_appended(2, rate.room, node.now_us)
    assert group.on_turn(1) == NOTHING, "no room: a commit makes some"


def test_an_entry_waits_for_clients_that_were_just_answered() -> None:
    node, group, _ = machine()
    gather(node, 3)
    append(node, group)
    one_of_three_is_back(node, group)
    assert group.on_turn(0) == START_WAIT and group.waiting
    assert group.on_turn(0) == NOTHING, "the timer runs"
    gather(node, 3)
    assert group.on_turn(0) == APPEND, "all are back"


def test_after_failed_waits_more_and_more_entries_do_not_wait() -> None:
    node, group, _ = machine()
    skipped = []
    for _ in range(10):
        count = 0
        while True:
            gather(node, 3)
            append(node, group)
            one_of_three_is_back(node, group)
            if group.on_turn(0) == START_WAIT:
                break
            append(node, group)
            count += 1
        skipped.append(count)
        group.on_wait_expired()
        assert group.on_turn(0) == APPEND
        append(node, group)
    assert skipped == [0, 1, 3, 7, 15, 31, 63, 127, MAX_SKIPPED_WAITS, MAX_SKIPPED_WAITS]
