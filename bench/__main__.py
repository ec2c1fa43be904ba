"""`make bench`, `python -m bench [--quick] [--only get,set] [--runs N] [--clients 1,50,200]
[--pipelines 1,16] [--seconds S]`.

Decides: the options. `python -m bench micro` runs the micro-benchmarks of single machines instead,
`python -m bench ab REV_A REV_B` compares two revisions of ours, `python -m bench members` tells the
bytes a list's member takes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from bench import ab, members, micro, report
from bench.run import GROUPS, PIPELINES, TESTS, Options, measure

RESULTS = Path(__file__).resolve().parent / "results"


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def named_tests(text: str) -> list[str]:
    """Tests by name or by group. Raises ValueError with the names that are neither."""
    found = [test for part in _list(text) for test in GROUPS.get(part, [part])]
    known = [test for tests in GROUPS.values() for test in tests]
    if unknown := sorted(set(found) - set(known)):
        raise ValueError(f"unknown tests: {', '.join(unknown)}")
    return found


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="2 runs of half a second, 50 clients; saved only with --save",
    )
    parser.add_argument(
        "--only",
        default=",".join(TESTS),
        help="tests of redis-benchmark, or the groups plain and collections",
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--clients", default="", help="1,50,200 (the collections: 50) by default")
    parser.add_argument("--pipelines", default=",".join(map(str, PIPELINES)))
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="about so long for one measurement"
    )
    parser.add_argument(
        "--no-replica", action="store_true", help="without strong reads at a replica"
    )
    parser.add_argument("--save", action="store_true", help="save a --quick run too")
    return parser


def missing_program() -> str:
    """The first program that the bench needs and that is not installed."""
    programs = ("redis-server", "redis-benchmark")
    return next((program for program in programs if shutil.which(program) is None), "")


def main(argv: list[str]) -> int:
    if argv[:1] == ["micro"]:
        return micro.main(argv[1:])
    if argv[:1] == ["members"]:
        return members.main(argv[1:])
    if argv[:1] == ["ab"]:
        return ab.main(argv[1:], RESULTS)
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        tests = named_tests(args.only)
    except ValueError as error:
        parser.error(str(error))
    if program := missing_program():
        print(
            f"bench: {program} is not installed (Debian, Ubuntu: apt-get install redis-server "
            "redis-tools)",
            file=sys.stderr,
        )
        return 1
    clients = [int(c) for c in _list(args.clients)] or ([50] if args.quick else [])
    options = Options(
        runs=2 if args.quick else args.runs,
        seconds=0.5 if args.quick else args.seconds,
        tests=tests,
        clients=clients,
        pipelines=[int(p) for p in _list(args.pipelines)],
        replica=not args.no_replica,
    )
    measured = measure(options, lambda line: print(line, flush=True))
    print("\n" + report.text(measured))
    if args.save or not args.quick:
        note = (
            "quick"
            if args.quick
            else "collections"
            if set(tests) <= set(GROUPS["collections"])
            else ""
        )
        print(f"\nsaved: {report.save(measured, RESULTS, note)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
