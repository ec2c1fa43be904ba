"""A fixed set of runs on every change, and that a run is a function of its number.

Decides: how many seeds `make test` runs, in portions that can go side by side (`make sim RUNS=n` runs as many as wanted). What only the whole set can show is
judged by the portion that ends last, in whatever process that is. A run that fails prints how to see it again.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sim.__main__ import command
from tests.sim.mutants import planted
from tests.sim.run import Plan, Result, run
from tests.sim.sometimes import missing

SMOKE_SEEDS = 200
PORTION = 10


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("first", range(0, SMOKE_SEEDS, PORTION))
def test_the_smoke_seeds_pass(first: int, whole: Path) -> None:
    faults: Counter[str] = Counter()
    counters: Counter[str] = Counter()
    failed: list[tuple[str, list[str]]] = []
    operations = succeeded = 0
    for seed in range(first, first + PORTION):
        result = run(Plan(seed))
        if not result.ok:
            failed.append((command(result.plan), result.problems))
            continue
        check_size(result)
        faults += result.faults
        counters += result.counters
        operations += result.operations
        succeeded += result.succeeded
    gc.collect()  # runs leave cycles, and switch the collector off
    save(whole / f"{first}.json", {"faults": faults, "counters": counters, "operations": operations, "succeeded": succeeded})
    assert failed == []
    portions = [json.loads(path.read_text()) for path in whole.glob("*.json")]
    if len(portions) * PORTION == SMOKE_SEEDS:
        judge_the_whole(portions)


def check_size(result: Result) -> None:
    assert result.simulated_s >= 60 and result.operations >= 300, command(result.plan)


def save(path: Path, portion: dict[str, object]) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(portion))
    unfinished.rename(path)


def judge_the_whole(portions: list[dict[str, object]]) -> None:
    """Enough is asked and answered, every kind of fault came about, every state that must be reached was."""
    faults: Counter[str] = Counter()
    counters: Counter[str] = Counter()
    for portion in portions:
        faults += Counter(portion["faults"])
        counters += Counter(portion["counters"])
    assert missing(faults, counters) == []
    operations = sum(int(str(portion["operations"])) for portion in portions)
    assert operations >= 500 * SMOKE_SEEDS
    assert sum(int(str(portion["succeeded"])) for portion in portions) >= 0.6 * operations


DIGESTS = "import sys\nfrom tests.sim.run import Plan, run\nprint([f'{run(Plan(seed)).digest:08x}' for seed in map(int, sys.argv[1:])])"


@pytest.mark.parametrize("seeds", [("1", "2"), ("3", "4"), ("5", "6"), ("7", "8"), ("9", "10")], ids="-".join)
def test_the_same_seed_is_the_same_run_whatever_the_hash_seed(seeds: tuple[str, ...]) -> None:
    told = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        ran = subprocess.run([sys.executable, "-W", "ignore", "-c", DIGESTS, *seeds], capture_output=True, text=True, timeout=300, check=True, env=environment)
        told.add(ran.stdout)
    assert len(told) == 1


@pytest.mark.parametrize("name", ["ack-before-fsync", "commit-on-one-ack", "reply-before-commit"])
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        assert any(not run(Plan(seed)).ok for seed in range(1, 16))
