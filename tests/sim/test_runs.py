"""A fixed set of runs on every change, and that a run is a function of its number.

Decides: how many seeds `make test` runs (40 seconds of processor time; `make sim RUNS=n` runs as many as wanted). A run that fails prints how to see it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from tests.sim.__main__ import command, many
from tests.sim.mutants import planted
from tests.sim.run import Plan, Result, run
from tests.sim.sometimes import missing

SMOKE_SEEDS = (*range(40), 72, 73, 78)  # in the last ones an engine node restores for longer than a moment


@cache
def smoke() -> tuple[Result, ...]:
    return tuple(many([Plan(seed) for seed in SMOKE_SEEDS]))


def test_the_smoke_seeds_pass() -> None:
    assert [(command(result.plan), result.problems) for result in smoke() if not result.ok] == []


def test_the_smoke_seeds_reach_what_they_must() -> None:
    faults: Counter[str] = Counter()
    counters: Counter[str] = Counter()
    for result in smoke():
        faults += result.faults
        counters += result.counters
    assert missing(faults, counters) == []


def test_enough_is_asked_and_answered() -> None:
    for result in smoke():
        assert result.simulated_s >= 60 and result.operations >= 300, command(result.plan)
    assert sum(result.operations for result in smoke()) / len(smoke()) >= 500
    assert sum(result.succeeded for result in smoke()) >= 0.6 * sum(result.operations for result in smoke())


DIGESTS = "from tests.sim.run import Plan, run\nprint([f'{run(Plan(seed)).digest:08x}' for seed in (1, 2, 3, 4)])"


def test_the_same_seed_is_the_same_run_whatever_the_hash_seed() -> None:
    told = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        result = subprocess.run([sys.executable, "-W", "ignore", "-c", DIGESTS], capture_output=True, text=True, timeout=300, check=True, env=environment)
        told.add(result.stdout)
    assert len(told) == 1
    assert str([f"{result.digest:08x}" for seed in (1, 2, 3, 4) for result in smoke() if result.plan.seed == seed]) == told.pop().strip()


@pytest.mark.parametrize("name", ["ack-before-fsync", "commit-on-one-ack", "reply-before-commit"])
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        assert any(not run(Plan(seed)).ok for seed in range(1, 16))
