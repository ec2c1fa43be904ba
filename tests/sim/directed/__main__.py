"""`python -m tests.sim.directed`: lists the schedules, or plays the named one.

It plays a schedule on the right code or under a mutant.

Decides: what is printed.
Must not know: what a schedule does.

    python -m tests.sim.directed                            what there is
    python -m tests.sim.directed longer-foreign-tail        one played; --trace prints every event
    python -m tests.sim.directed all --seeds 20             each with so many seeds: other delays
    python -m tests.sim.directed NAME --mutant MUTANT       under a planted bug
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext

from tests.sim.directed import SCHEDULES, play
from tests.sim.directed.stage import NOT_STAGED
from tests.sim.mutants import MUTANTS, planted


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.directed")
    parser.add_argument("name", nargs="?", default="", choices=["", "all", *SCHEDULES])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--mutant", default="", choices=["", *MUTANTS])
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args()
    if not args.name:
        print(
            "\n".join(
                f"{name}: {' '.join(chosen.what.split())}" for name, chosen in SCHEDULES.items()
            )
        )
        return 0
    failed = missed = 0
    for name in SCHEDULES if args.name == "all" else [args.name]:
        for seed in range(1, args.seeds + 1):
            with planted(args.mutant) if args.mutant else nullcontext():
                problems = play(name, seed, args.trace)
            if problems:
                missed += problems[0].startswith(NOT_STAGED)
                failed += not problems[0].startswith(NOT_STAGED)
                print(f"{name}, seed {seed}: {problems[0]}")
    print(f"{failed} failed, {missed} did not come to their moments")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
