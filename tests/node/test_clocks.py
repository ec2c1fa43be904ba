"""The wall clock of a node never goes back and is never earlier than the log.
It follows a jump of the machine's clock slowly.
"""

from __future__ import annotations

from memstore.engine.facts import Facts
from memstore.node.clocks import WallClock
from memstore.node.sampling import LoopLagMonitor


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
    assert machine.passes(500, jump_ms=3) == 1_000_513  # small corrections apply at once


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
    assert machine.passes(10) == 5_000_010, "and from there time goes on"


def test_a_millisecond_is_kept_until_its_end_and_no_longer_than_a_reading() -> None:
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


def test_a_clock_that_is_set_back_does_not_stop_time() -> None:
    machine = Machine()
    before = machine.passes(1000)
    after = machine.passes(100, jump_ms=-7_200_000)
    assert after == before + 100 and machine.clock.behind_ms == 7_200_000
    for passed in range(100, 60_100, 100):
        assert machine.passes(100) == after + passed
        assert machine.clock.at(machine.boot_us + 50_000) == after + passed + 50
    assert machine.clock.behind_ms == 7_200_000 and not machine.clock.jumped_ms
    machine.passes(100, jump_ms=7_200_000)
    assert (
        machine.clock.behind_ms == machine.clock.jumped_ms == 0
        and machine.clock.read() == machine.wall_ms
    )


def test_a_small_step_back_is_made_up_for_at_a_slower_rate() -> None:
    machine = Machine()
    before = machine.passes(1000)
    after = machine.passes(100, jump_ms=-2000)
    assert before + 100 == after and machine.clock.behind_ms == 0
    assert machine.passes(100) == before + 190
    while machine.clock.read() != machine.wall_ms:
        told = machine.clock.read()
        assert told + 85 <= machine.passes(100) <= told + 100
    assert machine.boot_us < 80_000_000, "it has come to an end"


def test_a_node_that_takes_over_goes_on_from_the_log_though_its_clock_was_set_back() -> None:
    """A key that the primary showed as gone stays gone; the remaining keys expire at their time."""
    primary, successor = Machine(), Machine()
    primary.passes(7_200_000)
    successor.wall_ms -= 7_200_000
    told = primary.passes(100)
    successor.clock.raise_floor(told)
    first = successor.passes(100)
    assert first == told and successor.passes(60_000) == told + 60_000
    restarted = Machine()
    restarted.clock.raise_floor(told)
    restarted.passes(10)
    assert restarted.passes(5000) == told + 5000


def test_readings_close_together_never_go_back_and_add_up() -> None:
    machine = Machine()
    told = machine.passes(100)
    machine.wall_ms -= 3000
    for _ in range(5000):
        now = machine.passes(1)
        assert told <= now <= told + 1
        told = now
    assert 1_000_100 + 4500 - 10 <= told <= 1_000_100 + 4500 + 10


async def test_the_longest_turn_says_how_much_of_it_was_our_own_work() -> None:
    facts, now_us, cpu_us = Facts(), 0, 0
    watch = LoopLagMonitor(
        facts, lambda: now_us, lambda: 1_700_000_000_000 + now_us // 1000, lambda: cpu_us * 1000
    )
    watch.start()
    now_us, cpu_us = 5_000 + 80_000, 3_000  # the machine did other work
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
