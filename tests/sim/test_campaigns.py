"""Small campaigns: each condition holds over a few fixed seeds, and each can fail.
`make sim CAMPAIGN=name RUNS=n` runs many.
"""

from __future__ import annotations

import pytest

from tests.sim.campaigns import CAMPAIGNS, ReplicaPartition, Summary, command, outcomes
from tests.sim.mutants import planted
from txlog.consensus.lease import Window
from txlog.consensus.pace import Pace
from txlog.consensus.proposer import Proposer
from txlog.consensus.repair import Repair

SEEDS = 5
MUST_BE_SEEN = {
    "power-loss": ("power losses of all three", "served again"),
    "bit-flip": ("all files clean, all logs equal",),
    "triple-corrupt": ("refused, named, by all three",),
    "replica-partition": ("cut both ways", "slow"),
    "primary-cut": ("changes of leadership",),
    "slow-disks": ("changes of leadership", "still led 3 s later"),
    "broken-clocks": ("rates changed",),
}


# runs that once found a bug of the real code: `docs/bugs.md`
FOUND = (("triple-corrupt", 218948301353),)


def summary_of(name: str, seeds: range) -> Summary:
    summary = Summary(name)
    for outcome in outcomes(name, list(seeds), 1):
        summary.add(outcome)
    return summary


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_the_condition_holds(name: str) -> None:
    summary = summary_of(name, range(SEEDS))
    assert [(command(name, failed.seed), failed.problems) for failed in summary.failed] == []
    assert summary.holds
    assert all(summary.figures[figure] for figure in MUST_BE_SEEN[name])


@pytest.mark.parametrize(("name", "seed"), FOUND)
def test_a_run_that_once_found_a_bug_passes(name: str, seed: int) -> None:
    assert summary_of(name, range(seed, seed + 1)).holds


def test_a_lost_write_fails_power_loss() -> None:
    with planted("ack-before-fsync"):
        assert not summary_of("power-loss", range(2)).holds


def test_a_hole_that_is_passed_over_fails_triple_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def pass_over(self: Repair, now_us: int) -> None:
        self._log.holes = []

    monkeypatch.setattr(Repair, "start", pass_over)
    assert not summary_of("triple-corrupt", range(2)).holds


def test_damage_that_nobody_repairs_fails_bit_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Repair, "_put_next_back", lambda self: False)
    assert not summary_of("bit-flip", range(SEEDS)).holds


def test_windows_that_hold_nobody_up_fail_replica_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = ReplicaPartition.led

    def led(self: ReplicaPartition) -> None:
        monkeypatch.setattr(Window, "held_us", lambda *args: 0)
        begin(self)

    monkeypatch.setattr(ReplicaPartition, "led", led)
    outcome = ReplicaPartition(1).outcome()
    assert outcome.problems and outcome.result.simulated_s > 2


def test_windows_that_never_close_fail_primary_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txlog.consensus.lease.window_us", lambda lease_ms: 60_000_000)
    assert not summary_of("primary-cut", range(1)).holds


def test_seals_that_are_given_up_too_soon_fail_slow_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Proposer, "_worth_waiting", lambda *args: False)
    monkeypatch.setattr(Pace, "synced", lambda *args: None)
    assert not summary_of("slow-disks", range(SEEDS)).holds
