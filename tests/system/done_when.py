"""`python -m tests.system.done_when POINT... [--runs N]`: the full counts of each promise, one
result table each.

Decides: which checks belong to a point and with what counts.
Must not know: how a check works. Exit code 0 when every table passes.

    1 clients (and `--clone`: make run in a fresh clone, `--clone-tests`: make test too)
    2 kill -9 of the primary, of a log node, of everything     3 strace: fsync before every reply
    4 SIGSTOP with unread GETs      5 hand-over under load      6 strong reads at replicas
    7 long commands keep the role   8 rot, loss and full disks  9 the four ratios of the bench
    10 memory, and a soak           11 the chapters of ARCHITECTURE.md
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.system.cluster import REPOSITORY, Cluster
from tests.system.points import (
    busy,
    clients,
    damage,
    diskfull,
    fsync,
    handover,
    kills,
    memory,
    pause,
    reads,
)
from tests.system.results import Result


def point_1(args: argparse.Namespace) -> Iterator[Result]:
    with Cluster() as cluster:
        yield clients.standalone(cluster, args.requests)
    with Cluster(extra=["--cluster"]) as cluster:
        yield clients.cluster_mode(cluster, min(args.runs, 5))
    if args.clone or args.clone_tests:
        yield clients.fresh_clone(args.clone_tests)


def point_2(args: argparse.Namespace) -> Iterator[Result]:
    for check in (kills.primary, kills.log_node, kills.everything):
        if args.only and args.only not in check.__name__:
            continue
        with Cluster() as cluster:
            yield asyncio.run(check(cluster, args.runs))


def point_3(args: argparse.Namespace) -> Iterator[Result]:
    # a traced process is slow; this test is not about a change of role
    with Cluster(lease_ms=5000) as cluster:
        yield fsync.traced_sets(cluster, args.sets)


def point_4(args: argparse.Namespace) -> Iterator[Result]:
    with Cluster() as cluster:
        yield pause.stale_reads(cluster, args.runs)


def point_5(args: argparse.Namespace) -> Iterator[Result]:
    with Cluster() as cluster:
        yield asyncio.run(handover.under_load(cluster, args.runs))
    if args.only != "standalone":
        with Cluster(extra=["--cluster"]) as cluster:
            yield asyncio.run(handover.under_load(cluster, args.runs))


def point_6(args: argparse.Namespace) -> Iterator[Result]:
    with Cluster() as cluster:
        yield asyncio.run(reads.strong(cluster, args.rounds))


def point_7(args: argparse.Namespace) -> Iterator[Result]:
    with Cluster() as cluster:
        yield busy.debug_sleep(cluster, min(args.runs, 3))
        yield busy.keys_star(cluster, args.keys)


def point_8(args: argparse.Namespace) -> Iterator[Result]:
    if args.only in (None, "flip"):
        with Cluster() as cluster:
            yield asyncio.run(damage.flipped_bytes(cluster, args.places, args.seed))
    for name, check in (("everywhere", damage.everywhere), ("empty", damage.empty_folder)):
        if args.only in (None, name):
            with Cluster() as cluster:
                yield check(cluster)
    if args.only in (None, "full"):
        with Cluster() as cluster:
            yield asyncio.run(diskfull.on_one_and_two(cluster))


def point_9(args: argparse.Namespace) -> Iterator[Result]:
    from bench.report import promises
    from bench.run import Options, measure

    report = measure(
        Options(
            runs=max(5, min(args.runs, 7)), tests=["get", "set"], clients=[1, 50], pipelines=[1, 16]
        )
    )
    result = Result("the bench's four promises, one run of the bench")
    for row in promises(report):
        result.add(
            row,
            [] if row["holds"] else [f"{row['what']}: {row['ratio']:.2f}, wanted {row['wanted']}"],
        )
    yield result


def point_10(args: argparse.Namespace) -> Iterator[Result]:
    if args.only in (None, "memory"):
        with Cluster() as cluster:
            yield memory.growth(cluster, args.memory_keys)
    if args.only in (None, "soak"):
        with Cluster() as cluster:
            yield memory.soak(cluster, args.seconds, args.keys)


CHAPTERS = {
    "map": r"map",
    "the write's journey": r"journey",
    "invariants": r"invariant",
    "glossary": r"glossary|words",
    "dependencies": r"dependenc",
    "not there yet": r"not (there )?yet|deliberately",
}


def point_11(_: argparse.Namespace) -> Iterator[Result]:
    """Every chapter has a heading, and every file that the text names exists."""
    result = Result("ARCHITECTURE.md")
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    for chapter, pattern in CHAPTERS.items():
        found = [h for h in headings if re.search(pattern, h, re.IGNORECASE)]
        result.add(
            {"chapter": chapter, "headings": len(found)},
            [] if found else [f"no chapter about: {chapter}"],
        )
    named = set(re.findall(r"`((?:memstore|txlog|tests|bench)/[\w/]+\.py)`", text))
    missing = [path for path in sorted(named) if not (REPOSITORY / path).exists()]
    result.add(
        {"chapter": "files named", "headings": len(named)},
        [f"{path} is named and does not exist" for path in missing],
    )
    yield result


POINTS: dict[int, Callable[[argparse.Namespace], Iterator[Result]]] = {
    1: point_1, 2: point_2, 3: point_3, 4: point_4, 5: point_5, 6: point_6, 7: point_7, 8: point_8,
    9: point_9, 10: point_10, 11: point_11
}  # fmt: skip


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.done_when",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("points", nargs="*", type=int, choices=sorted(POINTS), help="default: all")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument(
        "--only",
        help="one part of a point (2: primary, log_node, everything; 5: standalone; 8: flip, "
        "everywhere, empty, full; 10: memory, soak)",
    )
    parser.add_argument(
        "--requests", type=int, default=10_000, help="point 1: of each redis-benchmark test"
    )
    parser.add_argument("--clone", action="store_true", help="point 1: make run in a fresh clone")
    parser.add_argument(
        "--clone-tests", action="store_true", help="point 1: make test in a fresh clone too"
    )
    parser.add_argument("--sets", type=int, default=1000, help="point 3")
    parser.add_argument("--rounds", type=int, default=reads.ROUNDS, help="point 6")
    parser.add_argument("--keys", type=int, default=5_000_000, help="points 7 and 10")
    parser.add_argument("--places", type=int, default=50, help="point 8")
    parser.add_argument("--seed", type=int, default=1, help="point 8: of the places")
    parser.add_argument("--memory-keys", type=int, default=1_000_000, help="point 10")
    parser.add_argument("--seconds", type=float, default=600.0, help="point 10: the soak")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    args = arguments(argv)
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    ).stdout.strip()
    failed = []
    for number in args.points or sorted(POINTS):
        begun = time.monotonic()
        for result in POINTS[number](args):
            print(
                f"\n[{number}] {time.strftime('%Y-%m-%d %H:%M:%S')}, revision {revision}, "
                f"{time.monotonic() - begun:.0f} s\n{result}",
                flush=True,
            )
            if not result.passed:
                failed.append(f"{number}: {result.title}")
            begun = time.monotonic()
    for line in failed:
        print(f"FAILED {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
