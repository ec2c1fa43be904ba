"""`make sim`: plays one run by its seed, or many runs on all cores.

A run that fails prints how to repeat it. The program can also look for a shorter run that fails.

Decides: what is printed, how many runs are in parallel, how a failing run is shortened.
Must not know: what a run does.

    make sim SEED=17                        one run; TRACE=1 prints every event
    make sim SEED=17 FAULTS=3,9 STEPS=200   the same, with the third and ninth of its faults only
                                            and 200 client operations
    make sim SEED=17 FAULTS=kill,cut        another schedule, of these kinds; FAULTS=none: none
    make sim RUNS=500                       fresh seeds (FROM=1: from 1 on) on all cores
    make sim CAMPAIGN=power-loss RUNS=500   one scenario with a condition of its own (`campaigns`)
    SHRINK=1                                look for a shorter run that fails in the same way
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context
from typing import Any, Final

from tests.sim import campaigns
from tests.sim.faults import KINDS
from tests.sim.mutants import MUTANTS, planted
from tests.sim.run import STEPS, Plan, Result, run
from tests.sim.sometimes import missing

SHRINK_RUNS = 120


def plan_of(seed: int, steps: int, faults: str, trace: bool = False) -> Plan:
    if not faults:
        return Plan(seed, steps, trace=trace)
    if faults == "none":
        return Plan(seed, steps, kinds=(), trace=trace)
    words = faults.split(",")
    if all(word.isdigit() for word in words):
        return Plan(seed, steps, only=frozenset(map(int, words)), trace=trace)
    unknown = [word for word in words if word not in KINDS]
    if unknown:
        raise SystemExit(
            f"no such fault: {', '.join(unknown)}; there are {', '.join(KINDS)}, and numbers"
        )
    return Plan(seed, steps, kinds=tuple(words), trace=trace)


def command(plan: Plan, mutant: str = "") -> str:
    """The command that repeats a run."""
    faults = ""
    if plan.only is not None:
        faults = " FAULTS=" + (",".join(map(str, sorted(plan.only))) or "none")
    elif plan.kinds != tuple(KINDS):
        faults = " FAULTS=" + (",".join(plan.kinds) or "none")
    return (
        f"make sim SEED={plan.seed}"
        + (f" STEPS={plan.steps}" if plan.steps != STEPS else "")
        + faults
        + (f" MUTANT={mutant}" if mutant else "")
    )


def with_mutant(mutant: str) -> Any:
    return planted(mutant) if mutant else nullcontext()


def one(task: tuple[Plan, str]) -> Result:
    plan, mutant = task
    with with_mutant(mutant):
        return run(plan)


def many(plans: list[Plan], mutant: str = "") -> Iterator[Result]:
    """Run all plans on all cores and give the results in any order."""
    with get_context("fork").Pool(os.cpu_count(), maxtasksperchild=25) as pool:
        yield from pool.imap_unordered(one, [(plan, mutant) for plan in plans])


def many_until_failure(mutant: str, first: int, seeds: int, processes: int) -> tuple[int, str]:
    """(number of seeds until one fails, why); 0: no seed failed."""
    with get_context("fork").Pool(processes, maxtasksperchild=25) as pool:
        for number, result in enumerate(
            pool.imap(one, [(Plan(first + at), mutant) for at in range(seeds)]), 1
        ):
            if not result.ok:
                return number, result.problems[0]
    return 0, ""


def revision() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"


def show(result: Result, mutant: str) -> None:
    print(
        f"seed {result.plan.seed}: {'ok' if result.ok else 'FAILED'}, digest {result.digest:08x}, "
        f"{result.events} events, "
        f"{result.succeeded} of {result.operations} operations succeeded, "
        f"{result.simulated_s:.1f} s simulated in {result.cpu_s:.2f} s"
    )
    for problem in result.problems[:10]:
        print(f"  {problem}")
    if not result.ok:
        print(f"  again: {command(result.plan, mutant)}")


def shrink(result: Result, mutant: str) -> Result:
    """Remove faults, then operations, as long as the run still fails."""
    left = SHRINK_RUNS
    best = result
    numbers = sorted(
        fault.number
        for fault in result.schedule
        if result.plan.only is None or fault.number in result.plan.only
    )

    def fails(plan: Plan) -> bool:
        nonlocal left, best
        left -= 1
        tried = one((plan, mutant))
        if not tried.ok:
            best = tried
        return not tried.ok

    size = max(1, len(numbers) // 2)
    while left > 0:
        for at in range(0, len(numbers), size):
            fewer = numbers[:at] + numbers[at + size :]
            if left > 0 and fails(replace(result.plan, only=frozenset(fewer))):
                numbers = fewer
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    steps = result.plan.steps
    while (
        left > 0
        and steps > 20
        and fails(replace(result.plan, only=frozenset(numbers), steps=steps * 2 // 3))
    ):
        steps = steps * 2 // 3
    return best


PROGRESS_S: Final = 30  # between two lines of progress


class Summary:
    """The totals of several runs, and a line of progress from time to time."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.done = 0
        self.faults: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.failed: list[Result] = []
        self.simulated_s = self.cpu_s = 0.0
        self.operations = self.succeeded = 0
        self._began = self._told = time.monotonic()

    def add(self, result: Result) -> None:
        self.done += 1
        self.faults += result.faults
        self.counters += result.counters
        self.simulated_s += result.simulated_s
        self.cpu_s += result.cpu_s
        self.operations += result.operations
        self.succeeded += result.succeeded
        if not result.ok:
            self.failed.append(result)
        if time.monotonic() - self._told >= PROGRESS_S and self.done < self.runs:
            self._told = time.monotonic()
            print(
                f"{self.done} of {self.runs} runs, {len(self.failed)} failed, "
                f"{self.per_minute():.0f} a minute",
                file=sys.stderr,
                flush=True,
            )

    def per_minute(self) -> float:
        return self.done / max(1e-9, time.monotonic() - self._began) * 60

    def lines(self) -> Iterator[str]:
        yield (
            f"{self.per_minute():.0f} seeds a minute ({self.cpu_s / self.runs:.2f} s of CPU a "
            f"seed), {self.simulated_s / 3600:.2f} hours simulated, {self.operations} operations, "
            f"{100 * self.succeeded / max(1, self.operations):.1f} % succeeded"
        )
        for title, counted in (("faults", self.faults), ("seen", self.counters)):
            yield f"{title}: " + ", ".join(
                f"{name} {count}" for name, count in sorted(counted.items())
            )


def run_many(args: argparse.Namespace) -> int:
    first = args.first if args.first is not None else random.SystemRandom().randrange(1 << 40)
    print(f"{args.runs} runs from seed {first}, revision {revision()}", flush=True)
    summary = Summary(args.runs)
    plans = [plan_of(first + number, args.steps, args.faults) for number in range(args.runs)]
    for result in many(plans, args.mutant):
        summary.add(result)
        if not result.ok:
            show(result, args.mutant)
    print("\n".join(summary.lines()))
    if not args.faults and (never := missing(summary.faults, summary.counters)):
        print("never reached: " + ", ".join(never))
    failed = summary.failed
    print(f"{len(failed)} of {args.runs} failed")
    if failed and args.shrink:
        show(shrink(min(failed, key=lambda one: one.plan.seed), args.mutant), args.mutant)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--first", type=int, help="the first seed of several runs; without it a fresh one"
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--faults", default="")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--mutant", default="", choices=["", *MUTANTS])
    parser.add_argument("--campaign", default="", choices=["", *campaigns.CAMPAIGNS])
    args = parser.parse_args()
    # A process of the simulation that is killed before one of its tasks takes the first step.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    if args.campaign:
        return campaigns.main(args.campaign, args.seed, args.runs, args.first, args.trace)
    if args.seed is None:
        return run_many(args)
    print(f"seed {args.seed}, revision {revision()}")
    result = one((plan_of(args.seed, args.steps, args.faults, args.trace), args.mutant))
    if not args.trace and not result.ok:
        print("\n".join(result.lines[-60:]))
    print(
        "faults: "
        + "; ".join(
            str(fault)
            for fault in result.schedule
            if result.plan.only is None or fault.number in result.plan.only
        )
    )
    show(result, args.mutant)
    if not result.ok and args.shrink:
        show(shrink(result, args.mutant), args.mutant)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
