"""Timers of event loops whose finest unit is a millisecond."""

from __future__ import annotations

import pytest

from txlog.clock import timer_s


@pytest.mark.parametrize(
    ("us", "seconds"),
    [(-5, 0.0), (0, 0.0), (1, 0.001), (400, 0.001), (1000, 0.001), (1001, 0.002), (250_000, 0.25)],
)
def test_a_timer_is_never_set_for_less_than_what_is_left(us: int, seconds: float) -> None:
    assert timer_s(us) == seconds
    assert timer_s(us) * 1_000_000 >= us
