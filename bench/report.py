"""The results as ratios: text, markdown, JSON and a picture.

Decides: which statistic is shown.
Must not know: how the results were measured. A ratio is the median over the runs of (ours / theirs)
of the same run, with the smallest and the largest. Above 1 is better for throughput, and worse for
latencies and CPU.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.load import KEYS, VALUE_BYTES, Cell
from bench.prepare import COLLECTIONS, RANGES
from bench.run import Report, cores_used
from bench.servers import Ours, Redis, disk

REPOSITORY = Path(__file__).resolve().parents[1]


def machine() -> dict[str, Any]:
    """The facts about this machine that a reader needs to compare the figures."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in _lines("/proc/cpuinfo")
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = next(
        (
            int(line.split()[1]) // 1024
            for line in _lines("/proc/meminfo")
            if line.startswith("MemTotal")
        ),
        0,
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory MiB": memory,
        "kernel": platform.release(),
        "filesystem": disk(),
        "python": platform.python_version(),
        "load at the end": round(os.getloadavg()[0], 2),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def revision() -> str:
    """The git revision, with `-dirty` when the code has uncommitted changes (such results do not
    count).
    """
    found = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    ).stdout.strip()
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "memstore", "txlog", "bench/*.py", "pyproject.toml"],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    )
    return (found or "unknown") + ("-dirty" if changed.stdout.strip() else "")


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, smallest and largest of the pairwise ratios."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True) if b > 0]
    return (statistics.median(pairs), min(pairs), max(pairs)) if pairs else (float("nan"),) * 3


def summary(report: Report) -> list[dict[str, Any]]:
    """One row a cell."""
    rows = []
    for cell, by_server in report.samples.items():
        ours, theirs = by_server[Ours.name], by_server[Redis.name]
        row: dict[str, Any] = {"cell": cell.label, **asdict(cell)}
        for figure in ("rps", "p50", "p99", "cpu_us"):
            a, b = [getattr(s, figure) for s in ours], [getattr(s, figure) for s in theirs]
            middle, low, high = ratio(a, b)
            row[figure] = {
                "ours": statistics.median(a),
                "theirs": statistics.median(b),
                "ratio": middle,
                "min": low,
                "max": high,
            }
        row["cpu_parts"] = {
            kind: statistics.median(s.cpu_parts[kind] for s in ours) for kind in ours[0].cpu_parts
        }
        rows.append(row)
    return rows


COLUMNS = [
    "",
    "ours /s",
    "redis /s",
    "ratio",
    "min-max",
    "p50 ms",
    "redis",
    "ratio",
    "p99 ms",
    "redis",
    "CPU us",
    "redis",
    "of it primary",
]


def table(report: Report) -> list[list[str]]:
    lines = []
    for row in summary(report):
        rps, p50, p99, cpu = row["rps"], row["p50"], row["p99"], row["cpu_us"]
        lines.append(
            [
                row["cell"],
                f"{rps['ours']:.0f}",
                f"{rps['theirs']:.0f}",
                f"{rps['ratio']:.2f}",
                f"{rps['min']:.2f}-{rps['max']:.2f}",
                f"{p50['ours']:.3f}",
                f"{p50['theirs']:.3f}",
                f"{p50['ratio']:.2f}",
                f"{p99['ours']:.3f}",
                f"{p99['theirs']:.3f}",
                f"{cpu['ours']:.1f}",
                f"{cpu['theirs']:.1f}",
                f"{row['cpu_parts'].get('primary', 0.0):.1f}",
            ]
        )
    return lines


def text(report: Report) -> str:
    lines = [COLUMNS, *table(report)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    shown = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    shown.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join([*shown, "", *promise_lines(report)])


def promises(report: Report) -> list[dict[str, Any]]:
    """The product's promises that were measured: shown, not asserted."""
    wanted = [
        ("GET, 50 clients, pipeline 1: throughput", Cell("get", 50, 1), "rps", ">=", 0.8),
        ("GET, 50 clients, pipeline 16: throughput", Cell("get", 50, 16), "rps", ">=", 0.5),
        ("durable SET, 50 clients, pipeline 1: throughput", Cell("set", 50, 1), "rps", ">=", 0.45),
        ("durable SET, 1 client, pipeline 1: p50", Cell("set", 1, 1), "p50", "<=", 4.0),
    ]
    for test in COLLECTIONS:
        for pipeline in (1, 16) if test in RANGES else (1,):
            what = (
                f"{'' if test in RANGES else 'durable '}{test.upper()}, 50 clients, pipeline "
                f"{pipeline}: throughput"
            )
            wanted.append(
                (what, Cell(test, 50, pipeline), "rps", ">=", 0.7 if test in RANGES else 0.4)
            )
    rows = []
    for what, cell, figure, sign, bound in wanted:
        if cell not in report.samples:
            continue
        ours, theirs = (
            [getattr(s, figure) for s in report.samples[cell][name]]
            for name in (Ours.name, Redis.name)
        )
        middle, low, high = ratio(ours, theirs)
        holds = middle >= bound if sign == ">=" else middle <= bound
        rows.append(
            {
                "what": what,
                "ratio": middle,
                "min": low,
                "max": high,
                "wanted": f"{sign} {bound}",
                "holds": holds,
            }
        )
    return rows


def promise_lines(report: Report) -> list[str]:
    return [
        f"{'met ' if row['holds'] else 'MISSED'} {row['what']}: {row['ratio']:.2f} of "
        f"redis-server ({row['min']:.2f}-{row['max']:.2f}), wanted {row['wanted']}"
        for row in promises(report)
    ]


def _conditions(report: Report) -> list[str]:
    about = machine()
    return [
        f"- date: {time.strftime('%Y-%m-%d %H:%M', time.gmtime(report.began))} UTC; revision "
        f"{revision()}; "
        f"{', '.join(f'{k} {v}' for k, v in report.versions.items())}",
        f"- machine: {', '.join(f'{k} {v}' for k, v in about.items())}",
        f"- {VALUE_BYTES}-byte values, {KEYS} keys, {report.options.runs} runs of about "
        f"{report.options.seconds:g} s a cell, servers alternating; "
        f"the whole took {report.seconds / 60:.1f} min",
        "- ours: three log nodes, a primary and two replicas, a majority of log nodes syncs every "
        "write; redis-server: one node, `appendonly yes`, "
        "`appendfsync always`; both on the same disk, the load generator on the same cores",
        f"- idle: {cores_used(report.idle_cpu)}",
        "- CPU is user and system time a command of all the server's processes; MSET sets ten "
        "keys a command",
    ]


def markdown(report: Report, picture: str) -> str:
    head = "| " + " | ".join(["what", *COLUMNS[1:]]) + " |"
    rule = "| --- |" + " ---: |" * (len(COLUMNS) - 1)
    body = ["| " + " | ".join(line) + " |" for line in table(report)]
    promised = [f"- {line}" for line in promise_lines(report)]
    return "\n".join(
        [
            "# Beside redis-server",
            "",
            *_conditions(report),
            "",
            head,
            rule,
            *body,
            "",
            *promised,
            "",
            f"![ratios]({picture})",
            "",
        ]
    )


def save(report: Report, folder: Path, note: str = "") -> Path:
    """JSON (every sample), a markdown table and a plot under one name."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = time.strftime("%Y-%m-%d-%H%M", time.gmtime(report.began)) + (f"-{note}" if note else "")
    data = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(report.began)),
        "revision": revision(),
        "machine": machine(),
        "versions": report.versions,
        "options": asdict(report.options),
        "idle_cpu": report.idle_cpu,
        "promises": promises(report),
        "summary": summary(report),
        "samples": [
            {**asdict(cell), **{name: [asdict(s) for s in found] for name, found in by.items()}}
            for cell, by in report.samples.items()
        ],
    }
    (folder / f"{stem}.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / f"{stem}.md").write_text(markdown(report, f"{stem}.png"))
    plot(report, folder / f"{stem}.png")
    return folder / f"{stem}.md"


def plot(report: Report, path: Path) -> None:
    """Throughput as a ratio, with the range of the runs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    rows = summary(report)[::-1]
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 0.28 * len(rows) + 1.6), sharey=True)
    places = range(len(rows))
    for axis, name, title in (
        (axes[0], "rps", "throughput, ours / redis-server (higher is better)"),
        (axes[1], "p50", "p50 latency, ours / redis-server (lower is better)"),
    ):
        middles = [row[name]["ratio"] for row in rows]
        spread = [
            [m - row[name]["min"] for m, row in zip(middles, rows, strict=True)],
            [row[name]["max"] - m for m, row in zip(middles, rows, strict=True)],
        ]
        colours = [
            "#4a7fb5" if row["test"] == "get" or row["test"] in RANGES else "#b5764a"
            for row in rows
        ]
        axis.barh(
            places,
            middles,
            xerr=spread,
            color=colours,
            error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
        )
        axis.axvline(1.0, color="#333333", linewidth=0.8)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", linewidth=0.3)
    axes[0].set_yticks(list(places), [row["cell"] for row in rows])
    figure.suptitle(
        f"{time.strftime('%Y-%m-%d', time.gmtime(report.began))}, revision {revision()}, "
        f"{os.cpu_count()} cores",
        fontsize=9,
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
