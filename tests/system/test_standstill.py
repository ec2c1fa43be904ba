"""What counts as a standstill of the machine."""

from __future__ import annotations

from tests.system.standstill import Standstill, in_all


def test_only_what_all_processors_missed_at_the_same_time_counts() -> None:
    assert in_all([[(0, 10), (20, 30)], [(5, 25), (29, 40)]]) == [(5, 10), (20, 25), (29, 30)]
    assert in_all([[(0, 10)], [(10, 20)]]) == []
    assert in_all([[(0, 10)], []]) == []
    assert in_all([]) == []


def test_a_standstill_counts_as_far_as_it_lies_in_the_time_asked_for() -> None:
    standstill = Standstill(5.0)
    standstill.spans = [(100.0, 120.0), (200.0, 203.0)]
    assert standstill.within(110, 202) == 12
    assert standstill.within(0, 50) == 0
    assert (
        standstill.summary()
        == "the machine stood still 1 times for 5 ms or more: 20 ms in all, 20.0 ms at most"
    )


def test_the_watchers_start_and_end() -> None:
    with Standstill(0.0) as standstill:
        pass
    assert all(watcher.returncode is not None for watcher in standstill._watchers)
