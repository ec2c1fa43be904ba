"""SLOWLOG, LATENCY, MONITOR and what feeds them."""

from __future__ import annotations

import pytest

from memstore.engine import monitor
from memstore.engine.latency import BUCKETS, EVENTS, SAMPLES, Latency, cumulative, percentile
from memstore.engine.slowlog import MAX_ARGUMENT_BYTES, MAX_ARGUMENTS
from tests.commands.node.harness import NOW_MS, Client, Node

NOW_S = NOW_MS // 1000


def note(client: Client, us: int, *argv: bytes) -> None:
    engine = client.node.engine
    engine.slowlog.note(list(argv), us, client.node.wall_ms, client.session, engine.settings)


def test_slow_commands_newest_first(client: Client) -> None:
    client.line("CLIENT SETNAME me")
    for i in range(12):
        note(client, 10_000 + i, b"GET", b"k%d" % i)
    assert client.ask("SLOWLOG LEN") == 12
    entries = client.ask("SLOWLOG GET")
    assert len(entries) == 10
    assert entries[0] == [11, NOW_S, 10_011, ["GET", "k11"], client.session.address, "me"]
    assert [entry[0] for entry in client.ask("SLOWLOG GET 3")] == [11, 10, 9]
    assert len(client.ask("SLOWLOG GET -1")) == 12
    assert client.ask("SLOWLOG RESET") == "OK"
    note(client, 10_000, b"PING")
    assert [entry[0] for entry in client.ask("SLOWLOG GET")] == [12], "numbers go on after a reset"


def test_quick_commands_are_not_kept(client: Client) -> None:
    note(client, 9_999, b"GET", b"k")
    client.line("CONFIG SET slowlog-log-slower-than -1")
    note(client, 10**9, b"GET", b"k")
    assert client.ask("SLOWLOG LEN") == 0
    client.line("CONFIG SET slowlog-log-slower-than 0")
    note(client, 0, b"GET", b"k")
    assert client.ask("SLOWLOG LEN") == 1


def test_slowlog_is_bounded(client: Client) -> None:
    client.line("CONFIG SET slowlog-max-len 2")
    for _ in range(5):
        note(client, 10_000, *[b"x" * 500] * 100)
    assert client.ask("SLOWLOG LEN") == 2
    argv = client.ask("SLOWLOG GET")[0][3]
    assert len(argv) == MAX_ARGUMENTS
    assert argv[0] == "x" * MAX_ARGUMENT_BYTES + "... (372 more bytes)"
    assert argv[-1] == "... (69 more arguments)"
    client.line("CONFIG SET slowlog-max-len 0")
    note(client, 10_000, b"GET")
    assert client.ask("SLOWLOG LEN") == 0


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ([b"AUTH", b"p"], [b"AUTH", b"(redacted)"]),
        ([b"auth", b"u", b"p"], [b"auth", b"(redacted)", b"(redacted)"]),
        (
            [b"HELLO", b"3", b"AUTH", b"u", b"p", b"SETNAME", b"n"],
            [b"HELLO", b"3", b"AUTH", b"(redacted)", b"(redacted)", b"SETNAME", b"n"],
        ),
        ([b"HELLO", b"3", b"SETNAME", b"n"], [b"HELLO", b"3", b"SETNAME", b"n"]),
        (
            [b"CONFIG", b"SET", b"hz", b"1", b"RequirePass", b"p"],
            [b"CONFIG", b"SET", b"hz", b"1", b"RequirePass", b"(redacted)"],
        ),
        ([b"CONFIG", b"GET", b"requirepass"], [b"CONFIG", b"GET", b"requirepass"]),
    ],
)
def test_passwords_are_never_shown(argv: list[bytes], shown: list[bytes]) -> None:
    assert monitor.redacted(argv) == shown
    assert b'"p"' not in monitor.line(0, 0, "x", argv)


def test_a_monitor_line_is_redis_line() -> None:
    argv = [b"SET", b'a b"\x00\x01\n', b"x\\y\xff"]
    line = monitor.line(1_795_354_645_833_228, 3, "127.0.0.1:54686", argv)
    assert (
        line
        == b'+1795354645.833228 [3 127.0.0.1:54686] "SET" "a b\\"\\x00\\x01\\n" "x\\\\y\\xff"\r\n'
    )


def test_monitor_registers_once(node: Node, client: Client) -> None:
    assert client.ask("MONITOR") == "OK"
    assert client.line("MONITOR") == b"", "as in Redis: a second one has no answer"
    assert node.engine.monitors == [client.session]
    assert not client.session.plain


# --------------------------------------------------------------------------- LATENCY


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
