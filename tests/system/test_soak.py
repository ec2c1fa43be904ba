"""A small soak, and proof that each of its parts can find the errors that it is for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    ExecAbortError,
    MasterDownError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from tests.sim.records import APPEND, OK, READ, REFUSED, STRONG, UNKNOWN, Part, Record
from tests.system.cluster import PlainRedis
from tests.system.proxy import FROM_TARGET, TO_TARGET, proxies
from tests.system.soak.clients import Client, Figures, classify
from tests.system.soak.network import CLIENTS, Namespaces, choose
from tests.system.soak.report import Report
from tests.system.soak.run import Plan, soak
from tests.system.soak.schedule import KINDS, QUIET_S, Fault, kinds_of, schedule
from tests.system.soak.windows import Window, Windows
from tests.system.workload import Finder

pytestmark = pytest.mark.system
needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)


# --------------------------------------------------------------------------- the schedule


def test_a_seed_gives_the_same_faults_again() -> None:
    one, again, other = schedule(7, 1800, KINDS), schedule(7, 1800, KINDS), schedule(8, 1800, KINDS)
    assert one == again != other
    assert {fault.kind for fault in one} == set(KINDS), "in half an hour every kind has its turn"


def test_every_fault_ends_before_the_run_and_before_the_next_of_its_lane() -> None:
    for seed in range(20):
        faults = schedule(seed, 300, KINDS)
        for lane in QUIET_S:
            free_at = 0.0
            for fault in (fault for fault in faults if fault.lane == lane):
                assert fault.at_s >= free_at
                free_at = fault.at_s + fault.lasts_s
                assert KINDS[fault.kind].shortest_s <= fault.lasts_s <= KINDS[fault.kind].longest_s
                assert free_at < 300


def test_a_lane_does_not_depend_on_the_others() -> None:
    everything = [
        (f.kind, f.at_s, f.draw) for f in schedule(3, 600, KINDS) if f.kind.startswith("cut")
    ]
    assert everything == [(f.kind, f.at_s, f.draw) for f in schedule(3, 600, kinds_of(["cut"]))]


def test_an_unknown_fault_is_named() -> None:
    with pytest.raises(ValueError, match="'flood'"):
        kinds_of(["kill", "flood"])


# --------------------------------------------------------------------------- outcomes


def record_of(*parts: Part) -> Record:
    return Record(1, 0, list(parts), 0)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            ReadOnlyError("You can't write against a read only replica. primary=127.0.0.1:6380"),
            REFUSED,
        ),
        (MasterDownError("no primary holds the lease"), REFUSED),
        (BusyLoadingError("1 of 2 entries"), REFUSED),
        (TryAgainError("demoted before the read could be confirmed"), REFUSED),
        (ExecAbortError("Transaction discarded"), REFUSED),
        (ResponseError("UNKNOWN outcome at position 7"), UNKNOWN),
        (ResponseError("ERR something"), UNKNOWN),
        (ConnectionError("Connection closed by server."), UNKNOWN),
        (TimeoutError("Timeout reading from socket"), UNKNOWN),
        (12, OK),
    ],
)
def test_outcomes_of_redis_py(answer: object, outcome: str) -> None:
    record = record_of(Part(APPEND, "k", "1.1,"))
    classify(record, [answer])
    assert record.outcome == outcome


def test_a_refusal_keeps_the_address_it_names() -> None:
    record = record_of(Part(APPEND, "k", "1.1,"))
    classify(
        record,
        [ReadOnlyError("You can't write against a read only replica. primary=127.0.0.1:6380")],
    )
    assert record.detail.startswith("READONLY") and record.detail.endswith("primary=127.0.0.1:6380")


# ------------------------------------------------------------- the judges, on a server that forgets


async def _windows_across_a_kill(folder: Path, *args: str) -> tuple[Windows, Figures, list[str]]:
    with PlainRedis(*args) as redis:
        finder, figures = Finder(redis.addresses()), Figures()
        windows = Windows(2, 3.0, folder, finder)
        over, judged = asyncio.Event(), asyncio.Event()
        clients = [
            Client(number, number % 2, windows, finder, figures, 1, STRONG, False)
            for number in range(8)
        ]
        asking = [asyncio.create_task(client.run(0.02, over)) for client in clients]
        judging = asyncio.create_task(windows.run(judged))
        await asyncio.sleep(4.5)
        assert redis.child is not None
        # so that a write is certainly outstanding at the kill
        redis.child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)
        redis.kill()
        redis.start()
        await asyncio.sleep(1.0)
        over.set()
        await asyncio.gather(*asking)
        judged.set()
        await judging
        return windows, figures, await windows.look_at_kept()


@needs_redis
async def test_a_durable_server_is_found_clean(tmp_path: Path) -> None:
    windows, figures, late = await _windows_across_a_kill(
        tmp_path, "--appendonly", "yes", "--appendfsync", "always"
    )
    assert windows.findings == late == []
    assert windows.judged["windows"] >= 2
    assert figures.outcomes[OK] > 500
    assert figures.outcomes[UNKNOWN] > 0, (
        "nothing was outstanding at the kill: the test shows nothing"
    )


@needs_redis
async def test_a_server_that_forgets_is_found_out(tmp_path: Path) -> None:
    windows, _, late = await _windows_across_a_kill(tmp_path, "--appendonly", "no")
    assert any("is lost" in finding for finding in windows.findings)
    assert any("is lost" in finding for finding in late), (
        "a loss after a window was judged is found at the end"
    )
    assert list(tmp_path.glob("history-*-BAD.jsonl.gz"))


async def test_a_window_is_judged_only_when_all_is_answered() -> None:
    window = Window(1, 1)
    with window.during(0, [record_of(Part(READ, "k"))]):
        window.close()
        assert not window.done.is_set()
    assert window.done.is_set()


@pytest.mark.parametrize(("succeeded", "passes"), [(59, False), (60, True)])
def test_too_few_successes_fail_a_run(succeeded: int, passes: bool) -> None:
    report = Report(
        "2026-01-01 00:00",
        1,
        "0",
        1.0,
        "none",
        "none",
        {},
        outcomes={OK: succeeded, UNKNOWN: 100 - succeeded},
    )
    report.demand_successes()
    assert report.passed == passes


# --------------------------------------------------------------------------- cuts


async def test_a_proxy_holds_one_direction() -> None:
    heard = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(line)
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with proxies([server.sockets[0].getsockname()[:2]], 0.0) as (proxy,):
        reader, writer = await asyncio.open_connection(*proxy.address)
        proxy.hold(FROM_TARGET)
        writer.write(b"1\n")
        answer = asyncio.create_task(reader.readline())
        await asyncio.sleep(0.2)
        assert heard == [b"1\n"] and not answer.done(), "it is heard, and not answered"
        proxy.let_go(FROM_TARGET)
        assert await asyncio.wait_for(answer, 5) == b"1\n"
        proxy.hold(TO_TARGET)
        writer.write(b"2\n")
        await asyncio.sleep(0.2)
        assert heard == [b"1\n"]
        proxy.let_go(TO_TARGET)
        assert await asyncio.wait_for(reader.readline(), 5) == b"2\n"
        writer.close()
    server.close()


# Answers each packet with a copy, and prints what it received.
_ECHO = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 7000))
print("up", flush=True)
while True:
    data, peer = sock.recvfrom(100)
    print(data.decode(), flush=True)
    sock.sendto(data, peer)
"""


async def test_a_namespace_is_cut_one_way() -> None:
    network, reason = choose()
    if not isinstance(network, Namespaces):
        pytest.skip(reason)
    await network.open({})
    child = subprocess.Popen(
        network.inside("a", [sys.executable, "-c", _ECHO, network.host("a")]),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "up\n"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2.0)

            def answered(text: str) -> bool:
                sock.sendto(text.encode(), (network.host("a"), 7000))
                with contextlib.suppress(OSError):
                    return sock.recv(100) == text.encode()
                return False

            assert answered("whole")
            await network.cut(1, [("a", CLIENTS)])
            assert not answered("heard")
            await network.cut(2, [(CLIENTS, "a")])
            await network.mend(1)
            assert not answered("not heard")
            await network.mend(2)
            assert answered("mended")
        heard = [child.stdout.readline().strip() for _ in range(3)]
        assert heard == ["whole", "heard", "mended"]
    finally:
        child.kill()
        child.wait()
        await network.close()
    assert (
        network.tag
        not in subprocess.run(
            ["ip", "netns", "list"], capture_output=True, text=True, check=False
        ).stdout
    )


# --------------------------------------------------------------------------- the whole


def _faults(*rows: tuple[str, float, float]) -> tuple[Fault, ...]:
    return tuple(
        Fault(number + 1, kind, at, lasts, 17 * number)
        for number, (kind, at, lasts) in enumerate(rows)
    )


def _held(report: Report, plan: Plan) -> None:
    print(report.text())
    assert report.passed, f"\n{report.text()}"
    assert report.judged["windows"] >= 2
    assert plan.faults is None or sum(int(row["count"]) for row in report.faults.values()) == len(
        plan.faults
    )


async def test_a_tiny_soak() -> None:
    plan = Plan(
        seconds=13,
        rate=250,
        window_s=5,
        faults=_faults(("kill-primary", 2, 0.5), ("kill-log", 3, 0.5), ("cut-primary", 7, 2.5)),
    )
    _held(await soak(plan), plan)


@pytest.mark.long
async def test_a_short_soak_of_all_lanes() -> None:
    faults = _faults(
        ("kill-log", 3, 1.0), ("kill-primary", 5, 1.0), ("cut-zone-in", 8, 3.0),
        ("bit-stopped", 12, 1.0), ("pause-primary", 15, 4.0), ("cut-primary", 22, 4.0),
        ("kill-all", 30, 0.5), ("disk-full", 45, 8.0), ("hand-over", 50, 0.0),
        ("cut-clients-one-way", 55, 2.0), ("kill-primary", 60, 1.0), ("pause-two-logs", 60, 2.0),
        ("bit-running", 64, 1.0),
    )  # fmt: skip
    if os.geteuid() != 0:
        faults = tuple(
            fault for fault in faults if fault.kind not in ("disk-full", "cut-clients-one-way")
        )
    plan = Plan(seconds=75, faults=faults)
    report = await soak(plan)
    assert all(row["left out"] <= 1 for row in report.faults.values())
    # on a slow machine a fault may heal slowly; then the next one may be left out
    plan.faults = None
    _held(report, plan)


@pytest.mark.long
async def test_a_short_soak_with_proxies() -> None:
    plan = Plan(
        seconds=60,
        seed=int(time.time()),
        kinds=tuple(kinds_of(["cut", "pause", "kill"])),
        network="proxies",
    )
    report = await soak(plan)
    _held(report, plan)
    assert (
        sum(int(row["count"]) for kind, row in report.faults.items() if kind.startswith("cut")) > 0
    )
