"""A fixed set of runs on every change; a run is a function of its number.

Decides: how many seeds `make test` runs, on all cores (two and a half minutes of processor time;
`make sim RUNS=n` runs as many as wanted). A run that fails prints how to repeat it.
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

SMOKE_SEEDS = 200


@cache
def smoke() -> tuple[Result, ...]:
    return tuple(many([Plan(seed) for seed in range(SMOKE_SEEDS)]))


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
    assert sum(result.succeeded for result in smoke()) >= 0.6 * sum(
        result.operations for result in smoke()
    )


DIGESTS = (
    "import sys\nfrom tests.sim.run import Plan, run\nprint([f'{run(Plan(seed)).digest:08x}' "
    "for seed in map(int, sys.argv[1:])])"
)


def test_the_same_seed_is_the_same_run_whatever_the_hash_seed() -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", DIGESTS, *map(str, range(1, 11))],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        for hash_seed in ("1", "2")
    ]
    told = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert told[0] == told[1]


@pytest.mark.parametrize("name", ["ack-before-fsync", "commit-on-one-ack", "reply-before-commit"])
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        assert any(not run(Plan(seed)).ok for seed in range(1, 16))
