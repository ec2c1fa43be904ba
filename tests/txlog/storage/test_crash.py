"""The process stops before any step of the disk, by kill or by power loss.
Synced data is there, and intact data is not taken for damage.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.txlog.storage.fake_files import Crash, FakeFiles
from tests.txlog.storage.helpers import contents, make_run, open_store
from txlog.consensus.outputs import Promise, Suspicion
from txlog.entry import GENESIS_CHAIN, Entry
from txlog.storage.store import LogStore

PATH = Path("/log")


class Run:
    """A scenario on a fake disk, and its guarantees so far."""

    def __init__(self, files: FakeFiles) -> None:
        self.files = files
        self.store: LogStore | None = None
        self.synced: list[Entry] = []  # entries that the last sync covered
        self.asked: list[Entry] = []  # entries written since then
        self.kept = 0  # entries that no cut since the last sync touches
        self.promise = 0
        self.asked_promise = 0

    def open(self) -> None:
        self.store = open_store(PATH, files=self.files)

    def write(self, count: int, size: int = 30) -> None:
        assert self.store is not None
        previous = self.asked[-1].chain if self.asked else GENESIS_CHAIN
        run = make_run(count, size, len(self.asked) + 1, previous, self.asked_promise + 1)
        self.asked = self.asked + run
        self.store.write_entries(run, min(2, self.kept))

    def cut(self, position: int) -> None:
        assert self.store is not None
        self.asked = self.asked[: position - 1]
        self.kept = min(self.kept, position - 1)
        self.store.truncate(position)

    def promise_next(self, suspicion: Suspicion | None = None) -> None:
        assert self.store is not None
        self.asked_promise += 1
        self.store.write_meta(Promise(self.asked_promise, b"i" * 16, b"r" * 16, 1000), suspicion)

    def claim(self) -> None:
        assert self.store is not None
        if self.store.evidence_due:
            self.store.write_evidence(1)

    def sync(self) -> None:
        assert self.store is not None
        self.store.sync()
        self.synced, self.kept, self.promise = list(self.asked), len(self.asked), self.asked_promise


def scenario(run: Run) -> None:
    run.open()
    run.promise_next()
    run.sync()
    run.write(5)
    run.sync()
    run.write(40)
    run.write(30)
    run.sync()
    run.claim()
    run.sync()
    run.cut(72)
    run.write(3)
    run.sync()
    run.promise_next()
    run.cut(20)
    run.sync()
    run.write(30)
    run.promise_next()
    run.write(1, size=3000)
    run.sync()
    run.cut(12)
    run.write(25, size=60)
    run.sync()
    run.claim()
    run.sync()


def count_steps() -> int:
    run = Run(FakeFiles())
    scenario(run)
    return run.files.steps


STEPS = count_steps()


def crash_at(step: int) -> Run:
    run = Run(FakeFiles())
    run.files.crash_at = step
    with pytest.raises(Crash):
        scenario(run)
    return run


def check(run: Run, files: FakeFiles, torn_allowed: bool) -> LogStore:
    store = open_store(PATH, files=files)
    found = contents(store)[: store.recovered.last[1]]
    assert run.promise <= store.recovered.promise.term <= run.asked_promise
    assert len(found) == store.recovered.last[1] >= run.kept
    for index, encoded in enumerate(found):
        assert encoded in [
            entries[index].encoded for entries in (run.synced, run.asked) if index < len(entries)
        ]
    if not torn_allowed:
        assert store.recovered.damage == []
    assert all(damage.position > run.kept for damage in store.recovered.damage)
    return store


def test_the_scenario_without_a_crash() -> None:
    run = Run(FakeFiles())
    scenario(run)
    assert STEPS > 100
    assert check(run, run.files.after_kill(), False).recovered.last == run.asked[-1].id


@pytest.mark.parametrize("step", range(STEPS))
def test_killed_before_any_step(step: int) -> None:
    run = crash_at(step)
    files = run.files.after_kill()
    store = check(run, files, torn_allowed=False)
    goes_on(store, files)


def goes_on(store: LogStore, files: FakeFiles) -> None:
    """Two starts give the same report, and a writer may overwrite what did not check."""
    before = store.recovered
    again = open_store(PATH, files=files.after_kill())
    assert again.recovered == before
    last = before.last[1]
    store.truncate(last + 1)
    fresh = make_run(40, start=last + 1, previous=before.last_chain, term=99)
    store.write_entries(fresh, 0)
    store.sync()
    final = open_store(PATH, files=files.after_kill())
    assert final.recovered.damage == []
    assert final.recovered.last == fresh[-1].id
    assert contents(final)[last:] == [entry.encoded for entry in fresh]


@pytest.mark.parametrize("step", range(0, STEPS, 2))
def test_power_lost_before_any_step(step: int) -> None:
    for seed in range(3):
        run = crash_at(step)
        files = run.files.after_power_loss(random.Random(seed))
        store = check(run, files, torn_allowed=True)
        goes_on(store, files)


@pytest.mark.parametrize("step", range(0, STEPS, 3))
def test_what_is_reported_after_a_kill_outlives_a_power_loss(step: int) -> None:
    run = crash_at(step)
    files = run.files.after_kill()
    reported = open_store(PATH, files=files).recovered
    for seed in range(3):
        again = open_store(PATH, files=files.after_power_loss(random.Random(seed)))
        assert again.recovered == reported


@pytest.mark.parametrize("position", [3, 25, 32, 40, 79])
def test_a_cut_stopped_anywhere_by_a_power_loss_is_not_damage(position: int) -> None:
    """Only the cut is unsynced: the log then ends at its old end, or at the cut.
    No node has to doubt it.
    """
    step = 0
    while True:
        run = Run(FakeFiles())
        run.open()
        run.write(80)
        run.sync()
        run.claim()
        run.sync()
        run.cut(position)
        run.files.crash_at = run.files.steps + step
        try:
            run.sync()
        except Crash:
            for seed in range(5):
                store = open_store(PATH, files=run.files.after_power_loss(random.Random(seed)))
                assert store.recovered.damage == []
                assert store.recovered.last[1] in (80, position - 1)
            step += 1
            continue
        assert step > 8
        return


def test_killed_again_while_recovering() -> None:
    """A start that is interrupted at any step changes nothing for the next start."""
    for step in range(0, STEPS, 11):
        run = crash_at(step)
        rng: Callable[[], random.Random] = lambda step=step: random.Random(step)  # noqa: E731
        needed = run.files.after_power_loss(rng())
        open_store(PATH, files=needed)
        for second in range(0, needed.steps, 4):
            files = run.files.after_power_loss(rng())
            files.crash_at = second
            with pytest.raises(Crash):
                open_store(PATH, files=files)
            check(run, files.after_kill(), torn_allowed=True)
