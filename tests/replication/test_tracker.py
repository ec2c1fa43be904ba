"""No client ever sees a value that may be lost: the tracker's rules, one by one."""

from __future__ import annotations

from memstore.engine.session import Session
from memstore.replication.tracker import FAR, Tracker


def held(position: int, data: bytes = b"x") -> tuple[int, bytes, int, bool]:
    return (position, data, 0, True)


def test_a_changed_key_is_dirty_until_its_position_is_committed() -> None:
    tracker = Tracker(10)
    tracker.mark([b"a"], [], 11)
    assert tracker.busy and tracker.position_of(b"a") == 11 and tracker.position_of(b"b") == 0
    tracker.commit(11)
    assert not tracker.busy and tracker.position_of(b"a") == 0


def test_the_last_change_counts() -> None:
    tracker = Tracker()
    tracker.mark([b"a"], [], 1)
    tracker.mark([b"a"], [], 3)
    tracker.commit(2)
    assert tracker.position_of(b"a") == 3


def test_an_old_generation_is_forgotten_only_when_all_of_it_is_committed() -> None:
    tracker = Tracker()
    for position in range(1, 50):
        tracker.mark([b"k%d" % position, b"hot"], [], position)
        if position > 3:
            tracker.commit(position - 3)
        for age in range(3):
            if position - age > 0:
                assert tracker.position_of(b"k%d" % (position - age)) == position - age
        assert tracker.position_of(b"hot") == position
        assert len(tracker._young) + len(tracker._old) < 20
    tracker.commit(49)
    assert not tracker.busy and not tracker._young and not tracker._old


def test_a_whole_database_is_dirty_for_each_of_its_keys_only() -> None:
    tracker = Tracker()
    tracker.mark([], [0], 1)
    assert tracker.position_of(b"any") == 1 and tracker.position_of((3, b"any")) == 0
    tracker.mark([], [3], 2)
    assert tracker.position_of((3, b"any")) == 2


def test_replies_leave_in_order_and_one_piece_a_session() -> None:
    tracker, one, two = Tracker(), Session(1), Session(2)
    tracker.mark([b"a"], [], 1)
    tracker.mark([b"b"], [], 2)
    tracker.hold_reply(one, held(1, b"1"))
    tracker.hold_reply(one, held(2, b"2"))
    tracker.hold_reply(two, held(2, b"3"))
    assert tracker.commit(1) == [(one, b"1")]
    assert tracker.commit(2) == [(one, b"2"), (two, b"3")]
    assert tracker.held_bytes == 0


def test_one_commit_of_many_positions_gives_one_piece() -> None:
    tracker, one = Tracker(), Session(1)
    for position in (1, 2, 3):
        tracker.mark([b"a"], [], position)
        tracker.hold_reply(one, held(position, b"%d" % position))
    assert tracker.commit(3) == [(one, b"123")]


def test_what_waits_for_ever_is_not_released_and_blocks_what_follows() -> None:
    tracker, one = Tracker(), Session(1)
    tracker.mark([b"a"], [], 1)
    tracker.hold_reply(one, held(FAR, b"never"))
    assert tracker.commit(1) == [] and len(one.held) == 1


def test_a_slipped_entry_takes_its_marks_and_replies_with_it() -> None:
    tracker, one = Tracker(4), Session(1)
    tracker.mark([b"sent"], [], 5)
    tracker.hold_reply(one, held(5, b"5"))
    tracker.mark([b"gathers"], [2], 6)
    tracker.hold_reply(one, held(6, b"6"))
    tracker.shift_positions(6)
    assert (
        tracker.position_of(b"sent") == 5
        and tracker.position_of(b"gathers") == 7
        and tracker.position_of((2, b"x")) == 7
    )
    assert tracker.commit(6) == [(one, b"5")]
    assert tracker.commit(7) == [(one, b"6")]
    assert not tracker.busy


def test_a_client_that_left_waits_for_nothing() -> None:
    tracker, one = Tracker(), Session(1)
    tracker.mark([b"a"], [], 1)
    tracker.hold_reply(one, held(1, b"abc"))
    tracker.drop(one)
    assert tracker.held_bytes == 0 and tracker.commit(1) == []
