"""The bench's own arithmetic, and one small run of redis-server against itself.
The report of the run must be complete, whatever the result.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import ab, micro, report
from bench.__main__ import named_tests
from bench.load import Cell, Sample, cpu_seconds, parse
from bench.prepare import COLLECTIONS, POPS, prepare
from bench.run import Options, Report, cells, measure
from bench.servers import Ours, Redis
from tests.system.client import ask

pytestmark = pytest.mark.system


class Mirror(Redis):
    """redis-server in the place of our server."""

    name = Ours.name

    def pids(self) -> dict[str, list[int]]:
        return {"primary": super().pids()["server"], "replicas": [], "log nodes": []}


def sample(rps: float, p50: float = 1.0) -> Sample:
    return Sample(
        rps,
        p50,
        2 * p50,
        3 * p50,
        1000,
        1000 / rps,
        10.0,
        {"primary": 4.0, "replicas": 2.0, "log nodes": 4.0},
    )


def made_up() -> Report:
    cells = {
        Cell("get", 50, 1): {
            Ours.name: [sample(80), sample(90), sample(50)],
            Redis.name: [sample(100), sample(100), sample(100)],
        },
        Cell("set", 1, 1): {Ours.name: [sample(10, 5.0)] * 3, Redis.name: [sample(50, 1.0)] * 3},
    }
    return Report(
        Options(runs=3),
        cells,
        {Ours.name: 0.05, Redis.name: 0.01},
        {"memstore": "0.1.0"},
        1_700_000_000.0,
        60.0,
    )


def test_ratios_are_taken_pair_by_pair() -> None:
    assert report.ratio([80, 90, 50], [100, 100, 100]) == (0.8, 0.5, 0.9)
    rows = {row["what"]: row for row in report.promises(made_up())}
    assert rows["GET, 50 clients, pipeline 1: throughput"]["holds"]
    assert not rows["durable SET, 1 client, pipeline 1: p50"]["holds"]
    assert "MISSED durable SET, 1 client" in report.text(made_up())


def test_figures_are_read_and_errors_are_not() -> None:
    text = (
        '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",'
        '"p99_latency_ms","max_latency_ms"\n'
    )
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


@pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="redis-server and its tools are not installed"
)
def test_a_small_run_fills_every_cell() -> None:
    options = Options(runs=1, seconds=0.05, tests=["get", "set"], clients=[2], pipelines=[1, 4])
    # it looks like Ours
    measured = measure(options, lambda line: None, ours=Mirror())  # type: ignore[arg-type]
    assert [cell.label for cell in measured.samples][
        -1
    ] == "GET at a replica, 2 clients, pipeline 4"
    for by_server in measured.samples.values():
        for found in by_server.values():
            assert (
                len(found) == 1 and found[0].rps > 0 and found[0].p50 > 0 and found[0].requests > 0
            )
    assert "CPU us" in report.text(measured)


@pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="redis-server and its tools are not installed"
)
def test_the_collections_run_and_no_pop_finds_an_empty_key() -> None:
    options = Options(runs=1, seconds=0.02, tests=list(COLLECTIONS), clients=[3], pipelines=[4])
    # it looks like Ours
    measured = measure(options, lambda line: None, ours=Mirror())  # type: ignore[arg-type]
    assert [cell.test for cell in measured.samples] == COLLECTIONS
    for by_server in measured.samples.values():
        assert all(found[0].rps > 0 for found in by_server.values())


@pytest.mark.parametrize(
    ("test", "count"), [("lpop", "LLEN"), ("rpop", "LLEN"), ("spop", "SCARD"), ("zpopmin", "ZCARD")]
)
def test_what_is_popped_is_there_before(test: str, count: str) -> None:
    with Redis() as server:
        address = ("127.0.0.1", server.port("primary"))
        ask(address, "LPUSH", "mylist", "left", "over")
        prepare(address[1], test, 1234)
        assert ask(address, count, POPS[test]) == 1234
        prepare(address[1], "lpush", 1234)
        assert ask(address, "DBSIZE") == 0


def test_groups_and_their_clients() -> None:
    assert named_tests("plain,lpush") == ["get", "set", "incr", "mset", "lpush"]
    with pytest.raises(ValueError, match="unknown tests: lpsh"):
        named_tests("collections,lpsh")
    labels = [cell.label for cell in cells(Options(tests=["incr", "lrange_100"], pipelines=[1]))]
    assert labels == [
        "INCR, 1 client, pipeline 1",
        "INCR, 50 clients, pipeline 1",
        "INCR, 200 clients, pipeline 1",
        "LRANGE_100, 50 clients, pipeline 1",
    ]


def test_targets_of_the_collections() -> None:
    lists = Report(
        Options(),
        {
            Cell("lpush", 50, 1): {Ours.name: [sample(39)], Redis.name: [sample(100)]},
            Cell("lpush", 50, 16): {Ours.name: [sample(1)], Redis.name: [sample(100)]},
            Cell("lrange_600", 50, 16): {Ours.name: [sample(71)], Redis.name: [sample(100)]},
        },
        {},
        {},
        1_700_000_000.0,
        60.0,
    )
    assert [(row["what"].split(",")[0], row["holds"]) for row in report.promises(lists)] == [
        ("durable LPUSH", False),
        ("LRANGE_600", True),
    ]


def test_an_interval_holds_its_median_as_often_as_it_says() -> None:
    middle, low, high, confidence = ab.interval([float(n) for n in range(1, 21)])
    # the table of the sign test for 20
    assert (middle, low, high) == (10.5, 6.0, 15.0) and abs(confidence - 0.9586) < 1e-4
    assert ab.interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])[1:3] == (1.0, 6.0)
    assert ab.interval([3.0, 1.0, 2.0])[1:] == (1.0, 3.0, 0.75), "what so few can say is said"


def compared(factor: float) -> ab.Comparison:
    pairs = [(sample(100 + n), sample((100 + n) * factor)) for n in range(20)]
    return ab.Comparison("A 1", "B 2", 20, 1_700_000_000.0, {Cell("get", 50, 1): pairs})


def test_a_loss_is_told_from_noise(tmp_path: Path) -> None:
    rows = {
        factor: {row["figure"]: row["loss"] for row in ab.summary(compared(factor))}["throughput"]
        for factor in (0.97, 1.0, 1.03)
    }
    assert rows == {0.97: True, 1.0: False, 1.03: False}
    page = ab.save(compared(0.97), tmp_path)
    assert (
        "| GET, 50 clients, pipeline 1 | throughput (higher is better) | 109.5 | 106.2 | 0.970 | "
        "0.970-0.970 | 95.9 % | LOSS |" in page.read_text()
    )
    assert len(json.loads(page.with_suffix(".json").read_text())["samples"][0]["b"]) == 20


def test_a_revision_is_found_by_name_and_by_folder() -> None:
    assert ab.resolve("HEAD") == ab.resolve(str(ab.REPOSITORY)).removesuffix("-dirty")
    with pytest.raises(ValueError, match="neither a revision nor a folder"):
        ab.resolve("no-such-revision")


@pytest.mark.parametrize("name", micro.BENCHMARKS)
def test_micro_benchmarks_do_what_they_time(name: str) -> None:
    micro.BENCHMARKS[name]()(32)


def test_a_micro_benchmark_is_timed() -> None:
    assert 0 < micro.timed(micro.entry(150), 0.01) < 1e9
