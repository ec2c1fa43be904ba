"""Two revisions of ours against one another: `python -m bench ab REV_A REV_B [--pairs N] [--only
get,set] [--clients 50] [--pipelines 1,16] [--seconds S]`.

Decides: how a revision becomes a running cluster, the order of the runs, and the statistic.
Must not know: what differs between the two. A revision is compiled by its own `make compile` unless
--interpreted is given; a folder is taken as it is. Each revision (or folder that holds one) runs as
a `memstore local` of its own, started from its own tree; both live through the whole comparison. A
pair is one run on each, one directly after the other. The first one changes from pair to pair. A
ratio is B / A of one pair. The result is the median of the pairs and its interval by order
statistics: the true median lies between two of the sorted ratios with at least the confidence
shown, whatever their distribution.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import load
from bench.load import KEYS, VALUE_BYTES, Cell, Sample
from bench.report import machine
from bench.run import fill
from bench.servers import Ours
from tests.system.cluster import REPOSITORY, Cluster, scratch

CONFIDENCE = 0.95
FEWEST_PAIRS = 6  # with fewer, not even the extremes give the interval that confidence
FIGURES = (
    ("rps", "throughput", "higher is better"),
    ("cpu", "primary's CPU a command", "lower is better"),
)


class TreeCluster(Cluster):
    """A cluster whose programs come from another tree than this one."""

    def __init__(self, tree: Path) -> None:
        super().__init__()
        self.tree = tree

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(self.tree)}

    def spawn(
        self, command: list[str], name: str, cwd: str | Path | None = None
    ) -> subprocess.Popen[bytes]:
        return super().spawn(command, name, cwd or self.tree)

    def start(self) -> None:
        where = [sys.executable, "-c", "import memstore; print(memstore.__path__[0])"]
        found = subprocess.run(
            where, cwd=self.tree, env=self.environment(), text=True, capture_output=True, check=True
        ).stdout.strip()
        if Path(found).resolve() != (self.tree / "memstore").resolve():
            raise RuntimeError(f"{self.tree} would run {found}")
        super().start()


class Revision(Ours):
    """One side of the comparison."""

    def __init__(self, name: str, tree: Path) -> None:
        self.name = name
        self.cluster = TreeCluster(tree)


def resolve(revision: str) -> str:
    """The commit that a revision means, or the one that its folder has checked out."""
    folder = Path(revision) if is_tree(revision) else REPOSITORY
    name = "HEAD" if is_tree(revision) else f"{revision}^{{commit}}"
    found = subprocess.run(
        ["git", "rev-parse", "--short=12", "--verify", name],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )
    if found.returncode:
        raise ValueError(f"{revision} is neither a revision nor a folder that holds one")
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "memstore", "txlog"],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )
    return found.stdout.strip() + ("-dirty" if is_tree(revision) and changed.stdout.strip() else "")


def is_tree(revision: str) -> bool:
    return (Path(revision) / "memstore" / "__init__.py").exists()


@contextlib.contextmanager
def tree_of(revision: str, compiled: bool) -> Iterator[Path]:
    """A folder with the revision's files. It is removed afterwards, unless the revision was given
    as a folder: that one is used as it is.
    """
    if is_tree(revision):
        yield Path(revision).resolve()
        return
    folder = scratch("revision")
    subprocess.run(
        ["git", "worktree", "add", "--detach", "--force", str(folder), revision],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    try:
        if compiled:
            print(f"compiling {revision} ...", flush=True)
            # The revision's own Makefile may compile in another way than ours. It uses an
            # environment of its own.
            done = subprocess.run(
                ["make", "compile"],
                cwd=folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{revision} does not compile:\n{done.stdout[-2000:]}")
        yield folder / "build" / "compiled" if compiled else folder
    finally:
        subprocess.run(
            ["git", "worktree", "remove", "--force", str(folder)],
            cwd=REPOSITORY,
            check=False,
            capture_output=True,
        )
        shutil.rmtree(folder, ignore_errors=True)


def interval(
    ratios: list[float], confidence: float = CONFIDENCE
) -> tuple[float, float, float, float]:
    """The median, both ends of its interval, and the real confidence of those ends.

    With enough values it is at least the confidence wanted.
    """
    ordered = sorted(ratios)
    count = len(ordered)
    outside, rank = 0.0, 0  # `rank` values may be cut off on each side
    for below in range(count // 2):
        more = outside + 2 * math.comb(count, below) / 2**count
        if more > 1 - confidence:
            break
        outside, rank = more, below + 1
    low, high = (ordered[rank - 1], ordered[count - rank]) if rank else (ordered[0], ordered[-1])
    return statistics.median(ordered), low, high, 1 - outside if rank else 1 - 2 / 2**count


@dataclass
class Comparison:
    a: str
    b: str
    pairs: int
    began: float
    samples: dict[Cell, list[tuple[Sample, Sample]]]


def figure(sample: Sample, name: str) -> float:
    return sample.rps if name == "rps" else sample.cpu_parts["primary"]


def compare(a: Revision, b: Revision, cells: list[Cell], pairs: int, seconds: float) -> Comparison:
    """Both must be running."""
    result = Comparison(a.name, b.name, pairs, time.time(), {cell: [] for cell in cells})
    for side in (a, b):
        fill(side)
    requests = {cell: load.calibrate(a.port("primary"), cell, seconds) for cell in cells}
    for pair in range(pairs):
        for number, cell in enumerate(cells):
            order = (a, b) if (pair + number) % 2 == 0 else (b, a)
            found = {
                side.name: load.measure(side.port("primary"), cell, requests[cell], side.pids())
                for side in order
            }
            result.samples[cell].append((found[a.name], found[b.name]))
            print(
                f"pair {pair + 1}/{pairs}  {cell.label:<32} {found[b.name].rps:>9.0f} / "
                f"{found[a.name].rps:>9.0f} rps = "
                f"{found[b.name].rps / found[a.name].rps:.3f}",
                flush=True,
            )
    for side in (a, b):
        side.check()
    return result


def summary(result: Comparison) -> list[dict[str, Any]]:
    rows = []
    for cell, samples in result.samples.items():
        for name, title, better in FIGURES:
            pairs = [(figure(one, name), figure(two, name)) for one, two in samples]
            ratios = [two / one for one, two in pairs if one > 0]
            if len(ratios) < FEWEST_PAIRS:
                continue
            middle, low, high, confidence = interval(ratios)
            loss = high < 1 if name == "rps" else low > 1
            a, b = (
                statistics.median(one for one, _ in pairs),
                statistics.median(two for _, two in pairs),
            )
            row = {
                "cell": cell.label,
                "figure": title,
                "better": better,
                "a": a,
                "b": b,
                "ratio": middle,
                "low": low,
                "high": high,
            }
            rows.append({**row, "confidence": confidence, "pairs": len(ratios), "loss": loss})
    return rows


def text(result: Comparison) -> str:
    lines = [
        f"B = {result.b} beside A = {result.a}; ratios are B / A, medians of {result.pairs} pairs "
        "with their interval"
    ]
    for row in summary(result):
        verdict = "LOSS" if row["loss"] else "no loss beyond the interval"
        lines.append(
            f"{row['cell']:<32} {row['figure']:<24} {row['a']:>10.1f} -> {row['b']:>10.1f}   "
            f"{row['ratio']:.3f} "
            f"[{row['low']:.3f}, {row['high']:.3f}] at {row['confidence'] * 100:.1f} %  {verdict}"
        )
    return "\n".join(lines)


def save(result: Comparison, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem = time.strftime("%Y-%m-%d-%H%M", time.gmtime(result.began)) + "-ab"
    rows = summary(result)
    samples = [
        {
            **asdict(cell),
            "a": [asdict(one) for one, _ in found],
            "b": [asdict(two) for _, two in found],
        }
        for cell, found in result.samples.items()
    ]
    data = {
        "a": result.a,
        "b": result.b,
        "pairs": result.pairs,
        "machine": machine(),
        "summary": rows,
        "samples": samples,
    }
    (folder / f"{stem}.json").write_text(json.dumps(data, indent=1) + "\n")
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    page = [
        f"# {result.b} beside {result.a}",
        "",
        f"- machine: {about}",
        f"- {result.pairs} interleaved pairs a row, {VALUE_BYTES}-byte values, {KEYS} keys",
        "",
    ]
    page += [
        "| what | figure | A | B | B / A | interval | confidence | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    page += [
        f"| {r['cell']} | {r['figure']} ({r['better']}) | {r['a']:.1f} | {r['b']:.1f} | "
        f"{r['ratio']:.3f} | {r['low']:.3f}-{r['high']:.3f} | "
        f"{r['confidence'] * 100:.1f} % | "
        f"{'LOSS' if r['loss'] else 'no loss beyond the interval'} |"
        for r in rows
    ]
    (folder / f"{stem}.md").write_text("\n".join([*page, ""]))
    return folder / f"{stem}.md"


def main(argv: list[str], results: Path) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench ab",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", help="a git revision, or a folder that holds one")
    parser.add_argument("b")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--only", default="get,set")
    parser.add_argument("--clients", default="50")
    parser.add_argument("--pipelines", default="1,16")
    parser.add_argument(
        "--interpreted", action="store_true", help="compare revisions without compiling them"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of one run, about")
    args = parser.parse_args(argv)
    if args.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs must be at least {FEWEST_PAIRS}")
    cells = [
        Cell(test, int(c), int(p))
        for test in args.only.split(",")
        for c in args.clients.split(",")
        for p in args.pipelines.split(",")
    ]
    try:
        names = resolve(args.a), resolve(args.b)
    except ValueError as error:
        parser.error(str(error))
    with (
        tree_of(args.a, not args.interpreted) as tree_a,
        tree_of(args.b, not args.interpreted) as tree_b,
        Revision(f"A {names[0]}", tree_a) as a,
        Revision(f"B {names[1]}", tree_b) as b,
    ):
        result = compare(a, b, cells, args.pairs, args.seconds)
    print("\n" + text(result))
    print(f"\nsaved: {save(result, results)}")
    return 0
