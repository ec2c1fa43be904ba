"""LATENCY: events, the doctor and histograms."""

from __future__ import annotations

from memstore.engine.latency import BUCKETS, EVENTS, SAMPLES, Latency, cumulative, percentile
from tests.commands.node.harness import NOW_MS, Client, Node

NOW_S = NOW_MS // 1000


def test_latency_events(node: Node, client: Client) -> None:
    latency = node.engine.latency
    latency.note_event(b"command", 20, NOW_MS)
    latency.note_event(b"command", 15, NOW_MS + 10)  # the same second: the worse one stays
    latency.note_event(b"command", 120, NOW_MS + 2000)
    latency.note_event(b"command", 60, NOW_MS + 5000)
    latency.note_event(b"fsync", 300, NOW_MS)
    assert client.ask("LATENCY LATEST") == [
        ["command", NOW_S + 5, 60, 120],
        ["fsync", NOW_S, 300, 300],
    ]
    assert client.ask("LATENCY HISTORY command") == [[NOW_S, 20], [NOW_S + 2, 120], [NOW_S + 5, 60]]
    graph = client.ask("LATENCY GRAPH command")
    assert graph.startswith("command - high 120 ms, low 20 ms (all time high 120 ms)\n")
    assert client.ask("LATENCY RESET fsync nosuch") == 1
    assert client.ask("LATENCY RESET") == 1
    assert client.ask("LATENCY LATEST") == []


def test_latency_is_bounded() -> None:
    latency = Latency()
    for second in range(SAMPLES + 10):
        latency.note_event(b"command", 1, second * 1000)
    assert len(latency.events[b"command"].samples) == SAMPLES
    for i in range(EVENTS + 10):
        latency.note_event(b"event-%d" % i, 1, 0)
    assert len(latency.events) == EVENTS


def test_doctor(node: Node, client: Client) -> None:
    assert "CONFIG SET latency-monitor-threshold" in client.ask("LATENCY DOCTOR")
    client.line("CONFIG SET latency-monitor-threshold 10")
    assert client.ask("LATENCY DOCTOR") == "No spike has been seen.\n"
    node.engine.latency.note_event(b"command", 20, NOW_MS)
    assert client.ask("LATENCY DOCTOR").startswith(
        "command: 1 spikes, 20 ms on average, worst ever 20 ms.\n"
    )


def test_histogram(node: Node, client: Client) -> None:
    latency = node.engine.latency
    for us in (0, 1, 2, 3, 4, 100):
        latency.note_call(b"GET", us)
    latency.note_call(b"CONFIG|GET", 7, calls=3)
    assert client.ask("LATENCY HISTOGRAM get") == [
        "get",
        ["calls", 6, "histogram_usec", [1, 2, 2, 3, 4, 5, 128, 6]],
    ]
    client.line("HELLO 3")
    assert client.ask("LATENCY HISTOGRAM") == {
        "get": {"calls": 6, "histogram_usec": {1: 2, 2: 3, 4: 5, 128: 6}},
        "config|get": {"calls": 3, "histogram_usec": {8: 3}},
    }
    assert set(client.ask("LATENCY HISTOGRAM config nosuch")) == {"config|get"}


def test_percentiles_are_bounds_that_hold() -> None:
    latency = Latency()
    values = sorted([(i * 37) % 5000 for i in range(1000)] + [10**12])
    for us in values:
        latency.note_call(b"X", us)
    histogram = latency.histograms[b"X"]
    assert len(histogram) == BUCKETS
    assert cumulative(histogram)[-1][1] == len(values)
    for percent in (1.0, 50.0, 99.0):
        exact = values[int(len(values) * percent / 100)]
        assert exact <= percentile(histogram, percent) <= max(2 * exact, 1)
