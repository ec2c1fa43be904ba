"""L7, L8: what a writer allows while its loop stands still.
Bugs are planted in it, and the tests find each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.sim.mutants import plant
from tests.txlog.consensus import test_writer_terms
from tests.txlog.consensus.writer_harness import LEASE, Bench
from txlog.consensus.limits import Limits
from txlog.consensus.progress import Ages
from txlog.consensus.proposer import Proposer


def test_l8_stand_stills_do_not_put_the_end_off_without_bound() -> None:
    bench = Bench(Limits(commit_timeout_ms=LEASE, busy_limit_ms=10 * LEASE))
    bench.open()
    bench.append()
    for _ in range(10):
        bench.now += 2 * LEASE * 1000
        bench.machine.on_stood_still(2 * LEASE * 1000, bench.now)
        if bench.now - 5_000_000 < 11 * LEASE * 1000:
            assert bench.machine.renews(bench.now)
    assert not bench.machine.renews(bench.now), (
        "20 leases without a majority, 10 of them do not count"
    )


def test_l7_nothing_is_renewed_beside_a_writer_that_hands_over() -> None:
    bench = Bench()
    bench.open()
    bench.machine.start_handover()
    assert not bench.machine.may_renew_beside()
    bench.machine.abort_handover()
    assert bench.machine.may_renew_beside()


@pytest.mark.parametrize(
    ("owner", "function", "old", "new", "story"),
    [
        (
            Ages,
            "shift",
            ", began + limit_us",
            "",
            test_l8_stand_stills_do_not_put_the_end_off_without_bound,
        ),
        (
            Proposer,
            "may_renew_beside",
            " and (not self._lease.over)",
            "",
            test_l7_nothing_is_renewed_beside_a_writer_that_hands_over,
        ),
        (
            Proposer,
            "may_renew_beside",
            "self._reseal is None and ",
            "",
            test_writer_terms.test_w5_f7_refused_by_a_minority_seals_again_above_it,
        ),
    ],
)
def test_a_planted_bug_in_what_the_lease_keeper_relies_on_is_found(
    owner: type, function: str, old: str, new: str, story: Callable[[], None]
) -> None:
    with ExitStack() as undo:
        plant(owner, function, old, new, undo)
        with pytest.raises(AssertionError):
            story()
