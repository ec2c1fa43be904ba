"""The wall clock of a node: never back, never behind the log, and a jump of the machine's clock is followed slowly."""

from __future__ import annotations

from memstore.engine.facts import Facts
from memstore.server.clocks import WallClock
from memstore.server.sampling import TurnWatch


class Machine:
    def __init__(self) -> None:
        self.boot_us = 50_000_000
        self.wall_ms = 1_000_000
        self.clock = WallClock(lambda: self.boot_us, lambda: self.wall_ms)

    def passes(self, ms: int, jump_ms: int = 0) -> int:
        self.boot_us += ms * 1000
        self.wall_ms += ms + jump_ms
        return self.clock.read()


def test_it_follows_the_machine() -> None:
    machine = Machine()
    assert machine.passes(10) == 1_000_010
    assert machine.passes(500, jump_ms=3) == 1_000_513  # small corrections are taken as they are


def test_it_never_goes_back() -> None:
    machine = Machine()
    before = machine.passes(1000)
    assert before <= machine.passes(10, jump_ms=-600) <= before + 10
    assert machine.passes(1000) > before


def test_it_never_goes_back_behind_what_was_told_between_two_readings() -> None:
    machine = Machine()
    machine.passes(1000)
    told = machine.clock.at(machine.boot_us + 90_000)
    assert machine.passes(90, jump_ms=-600) >= told
    assert machine.clock.at(machine.boot_us) >= told


def test_it_is_never_behind_the_newest_entry() -> None:
    machine = Machine()
    machine.clock.at(machine.boot_us)
    machine.clock.raise_floor(5_000_000)
    assert machine.clock.until_us == 0, "what was told before the entry is not told again"
    assert machine.clock.at(machine.boot_us) == 5_000_000 == machine.clock.ms
    assert machine.passes(10) == 5_000_000
    machine.clock.raise_floor(4_000_000)
    assert machine.passes(10) == 5_000_000


def test_what_is_told_for_a_millisecond_is_kept_until_its_end_and_no_longer_than_a_reading() -> None:
    machine = Machine()
    machine.passes(7)
    told = machine.clock.at(machine.boot_us + 300)
    assert (told, machine.clock.until_us) == (machine.clock.ms, machine.boot_us + 1000)
    machine.passes(10)
    assert machine.clock.until_us == 0


def test_a_jump_ahead_is_followed_at_a_tenth_of_the_time_that_passes() -> None:
    machine = Machine()
    before = machine.passes(1000)
    after = machine.passes(100, jump_ms=3_600_000)
    assert after - before == 110
    assert machine.clock.jumped_ms == 3_600_000 - 10
    for _ in range(1000):
        machine.passes(1)  # read so often that each step alone would round to nothing
    assert machine.clock.read() - after == 1100


def test_a_jump_that_was_followed_or_taken_back_is_over() -> None:
    machine = Machine()
    machine.passes(10, jump_ms=5000)
    machine.passes(60_000)
    machine.passes(10)
    assert machine.clock.jumped_ms == 0 and machine.clock.read() == machine.wall_ms
    machine.passes(10, jump_ms=5000)
    machine.passes(10, jump_ms=-5000)
    assert machine.clock.jumped_ms == 0


async def test_the_longest_turn_says_how_much_of_it_was_our_own_work() -> None:
    facts, now_us, cpu_us = Facts(), 0, 0
    watch = TurnWatch(facts, lambda: now_us, lambda: 1_700_000_000_000 + now_us // 1000, lambda: cpu_us * 1000)
    watch.start()
    now_us, cpu_us = 5_000 + 80_000, 3_000  # the machine was elsewhere
    watch.stop()
    watch._beat()
    assert (facts.longest_turn_us, facts.longest_turn_cpu_us) == (80_000, 3_000)
    now_us, cpu_us = now_us + 5_000 + 90_000, cpu_us + 70_000
    watch.stop()
    watch._beat()
    assert (facts.longest_turn_us, facts.longest_turn_cpu_us) == (90_000, 70_000)
    assert facts.longest_turn_at_ms == 1_700_000_000_180
    now_us += 6_000
    watch.stop()
    watch._beat()
    watch.stop()
    assert (facts.longest_turn_us, facts.longest_turn_cpu_us) == (90_000, 70_000)
