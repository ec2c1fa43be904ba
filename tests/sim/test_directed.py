"""Each directed schedule holds on the right code, and breaks a promise under each of its mutants.

The tests need ten seconds of processor time. A schedule that does not reach its moments reports it
(`NOT_STAGED`) and fails here in both cases.
"""

from __future__ import annotations

import pytest

from tests.sim.directed import SCHEDULES, play
from tests.sim.directed.stage import NOT_STAGED
from tests.sim.mutants import MUTANTS, planted


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_the_promises_hold(name: str) -> None:
    assert play(name) == []


@pytest.mark.parametrize("mutant", [name for name, mutant in MUTANTS.items() if mutant.schedule])
def test_the_schedule_shows_its_mutant(mutant: str) -> None:
    with planted(mutant):
        problems = play(MUTANTS[mutant].schedule)
    assert problems and not problems[0].startswith(NOT_STAGED)


def test_every_schedule_is_somebodys() -> None:
    assert {mutant.schedule for mutant in MUTANTS.values()} - {""} == set(SCHEDULES)
