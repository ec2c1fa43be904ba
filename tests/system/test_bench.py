"""The bench's own arithmetic, and one small run of redis-server against itself: whatever it says, it must say it fully."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import micro, report
from bench.load import Cell, Sample, cpu_seconds, parse
from bench.run import Options, Report, measure
from bench.servers import Ours, Redis

pytestmark = pytest.mark.system


class Mirror(Redis):
    """redis-server in our place."""

    name = Ours.name

    def pids(self) -> dict[str, list[int]]:
        return {"primary": super().pids()["server"], "replicas": [], "log nodes": []}


def sample(rps: float, p50: float = 1.0) -> Sample:
    return Sample(rps, p50, 2 * p50, 3 * p50, 1000, 1000 / rps, 10.0, {"primary": 4.0, "replicas": 2.0, "log nodes": 4.0})


def made_up() -> Report:
    cells = {
        Cell("get", 50, 1): {Ours.name: [sample(80), sample(90), sample(50)], Redis.name: [sample(100), sample(100), sample(100)]},
        Cell("set", 1, 1): {Ours.name: [sample(10, 5.0)] * 3, Redis.name: [sample(50, 1.0)] * 3},
    }
    return Report(Options(runs=3), cells, {Ours.name: 0.05, Redis.name: 0.01}, {"memstore": "0.1.0"}, 1_700_000_000.0, 60.0)


def test_ratios_are_taken_pair_by_pair() -> None:
    assert report.ratio([80, 90, 50], [100, 100, 100]) == (0.8, 0.5, 0.9)
    rows = {row["what"]: row for row in report.promises(made_up())}
    assert rows["GET, 50 clients, pipeline 1: throughput"]["holds"]
    assert not rows["durable SET, 1 client, pipeline 1: p50"]["holds"]
    assert "MISSED durable SET, 1 client" in report.text(made_up())


def test_figures_are_read_and_errors_are_not() -> None:
    text = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"\n'
    row = parse(text + '"SET","53821.31","0.471","0.136","0.463","0.631","0.791","1.063"\n')
    assert row["rps"] == 53821.31 and row["p99_latency_ms"] == 0.791
    with pytest.raises(RuntimeError):
        parse("Error from server: ERR no")


def test_results_are_saved_whole(tmp_path: Path) -> None:
    page = report.save(made_up(), tmp_path)
    assert "| GET, 50 clients, pipeline 1 | 80 | 100 | 0.80 | 0.50-0.90 |" in page.read_text()
    data = json.loads(page.with_suffix(".json").read_text())
    assert data["machine"]["cores"] and data["revision"] and len(data["samples"]) == 2
    assert page.with_suffix(".png").stat().st_size > 5000


def test_cpu_of_a_busy_process_is_seen() -> None:
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        while cpu_seconds(busy.pid) < 0.05:
            assert busy.poll() is None
    finally:
        busy.kill()
        busy.wait()


@pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-server and its tools are not installed")
def test_a_small_run_fills_every_cell() -> None:
    options = Options(runs=1, seconds=0.05, tests=["get", "set"], clients=[2], pipelines=[1, 4])
    measured = measure(options, lambda line: None, ours=Mirror())  # type: ignore[arg-type]  # it looks like Ours
    assert [cell.label for cell in measured.samples][-1] == "GET at a replica, 2 clients, pipeline 4"
    for by_server in measured.samples.values():
        for found in by_server.values():
            assert len(found) == 1 and found[0].rps > 0 and found[0].p50 > 0 and found[0].requests > 0
    assert "CPU us" in report.text(measured)


@pytest.mark.parametrize("name", micro.BENCHMARKS)
def test_micro_benchmarks_do_what_they_time(name: str) -> None:
    micro.BENCHMARKS[name]()(32)


def test_a_micro_benchmark_is_timed() -> None:
    assert 0 < micro.timed(micro.entry(150), 0.01) < 1e9
