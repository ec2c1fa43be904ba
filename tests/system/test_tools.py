"""The tools themselves, on a plain redis-server and on known good and known bad histories."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time

import pytest

from tests.ports import free_ports
from tests.system import checks
from tests.system.client import Blocking, Connection, ReplyError
from tests.system.cluster import NotInTime, PlainRedis, filesystem, scratch, wait_until
from tests.system.history import APPEND, OK, READ, REFUSED, UNKNOWN, WRITE, Operation, load, save
from tests.system.proxy import proxies
from tests.system.results import Result
from tests.system.workload import Load, Plan, classify

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)
pytestmark = pytest.mark.system


def op(
    kind: str, key: str, value: str | None, at: float, outcome: str = OK, client: int = 0
) -> Operation:
    return Operation(client, kind, key, value, at, at + 0.5, outcome)


async def _load_across_a_kill(*args: str) -> tuple[Load, checks.Judgement]:
    with PlainRedis(*args) as redis:
        load = Load(redis.addresses(), Plan(clients=10, timeout_s=2.0))
        await load.start()
        await load.wait_acknowledged(300, 10)
        assert redis.child is not None
        # so that a write is certainly outstanding at the kill, even if the server is quick
        redis.child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)
        redis.kill()
        redis.start()
        await load.wait_acknowledged(300, 10)
        await load.finish()
        return load, checks.judge_at(redis.addresses()[0], load.history)


@needs_redis
async def test_a_durable_server_is_found_clean() -> None:
    load, judgement = await _load_across_a_kill("--appendonly", "yes", "--appendfsync", "always")
    assert judgement.clean, judgement.problems()
    assert judgement.acknowledged > 600
    assert load.closed_outstanding > 0, (
        "nothing was outstanding at the kill: the test shows nothing"
    )
    gap, _ = checks.longest_gap(load.history, load.started, load.ended)
    assert 0 < gap < load.ended - load.started


@needs_redis
async def test_a_server_that_forgets_is_found_out() -> None:
    _, judgement = await _load_across_a_kill("--appendonly", "no")
    assert judgement.lost
    assert judgement.not_linearizable
    assert not judgement.clean


def test_lost_and_refused_and_twice_are_told_apart() -> None:
    history = [
        op(WRITE, "own:0", "0:1", 1),
        op(WRITE, "own:0", "0:2", 2, UNKNOWN),
        op(WRITE, "own:1", "1:1", 1, client=1),
        op(WRITE, "own:1", "1:2", 2, REFUSED, client=1),
        op(APPEND, "journal:0:0", "0:3", 3),
        op(APPEND, "journal:0:0", "0:4", 4, UNKNOWN),
        op(APPEND, "journal:0:0", "0:5", 5, REFUSED),
        op(APPEND, "journal:0:0", "0:6", 6),
    ]
    good = {"own:0": "0:2", "own:1": "1:1", "journal:0:0": "0:3,0:4,0:6,"}
    judgement = checks.judge(history, good, 10)
    assert judgement.clean, judgement.problems()
    assert (judgement.acknowledged, judgement.unknown, judgement.refused) == (4, 2, 2)
    assert checks.judge(history, {**good, "own:1": "1:2"}, 10).refused_present
    assert checks.judge(history, {**good, "own:0": None}, 10).lost
    assert checks.judge(history, {**good, "journal:0:0": "0:3,0:4,"}, 10).lost == [
        "journal:0:0 lacks 0:6"
    ]
    assert checks.judge(history, {**good, "journal:0:0": "0:3,0:5,0:6,"}, 10).refused_present == [
        "journal:0:0 has 0:5"
    ]
    assert checks.judge(history, {**good, "journal:0:0": "0:3,0:4,0:4,0:6,"}, 10).twice
    assert checks.judge(history, {**good, "journal:0:0": "0:3,0:6,9:9,"}, 10).from_nowhere
    assert checks.judge(history, {**good, "journal:0:0": "0:6,0:3,"}, 10).not_linearizable


def test_gaps_are_measured_between_acknowledgements() -> None:
    history = [
        op(WRITE, "own:0", f"0:{n}", t, outcome)
        for n, (t, outcome) in enumerate([(1, OK), (2, OK), (3, REFUSED), (7, OK)])
    ]
    assert checks.longest_gap(history, 1, 8) == (5.0, 2.5)
    assert checks.first_acknowledged_after(history, 2.6) == pytest.approx(4.9)


def test_replies_are_classed() -> None:
    for text, outcome in {
        "READONLY You can't write": REFUSED,
        "MOVED 1 127.0.0.1:7": REFUSED,
        "MASTERDOWN no primary": REFUSED,
        "UNKNOWN outcome at position 7": UNKNOWN,
        "ERR what": UNKNOWN,
    }.items():
        operation = op(WRITE, "k", "v", 0)
        classify(operation, ReplyError(text))
        assert operation.outcome == outcome, text


def test_history_survives_its_file() -> None:
    folder = scratch("history")
    history = [op(WRITE, "k", "ä", 1), op(READ, "k", None, 2, UNKNOWN)]
    save(folder / "history.jsonl", history)
    assert load(folder / "history.jsonl") == history
    shutil.rmtree(folder)


@needs_redis
async def test_proxy_delays_and_cuts() -> None:
    with PlainRedis() as redis:
        async with proxies(redis.addresses(), 0.05) as (proxy,):
            connection = await Connection.open(proxy.address)
            start = time.monotonic()
            assert await connection.call("SET", "k", "x" * 300_000) == b"OK"
            assert time.monotonic() - start >= 0.1
            proxy.delay_s = 0.0
            assert len(await connection.call("GET", "k")) == 300_000
            waiting = connection.send("BLPOP", "nothing", 0)
            await asyncio.sleep(0.05)
            proxy.cut()
            with pytest.raises(ConnectionError):
                await waiting
            with pytest.raises(ConnectionError):
                connection.send("PING")


def test_waits_are_bounded_and_say_why() -> None:
    with pytest.raises(NotInTime, match="the sea to part"):
        wait_until("the sea to part", lambda: False, 0.05)


def test_free_ports_are_free_and_the_disk_is_one() -> None:
    import socket

    base = free_ports(3)
    for port in range(base, base + 3):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
    folder = scratch("disk")
    assert filesystem(folder) not in ("tmpfs", "ramfs", "unknown")
    folder.rmdir()


@needs_redis
def test_blocking_client_pipelines() -> None:
    with PlainRedis() as redis, Blocking(redis.addresses()[0]) as connection:
        connection.send("SET", "k", "v")
        connection.send("GET", "k")
        connection.send("NOSUCH")
        assert (connection.receive(), connection.receive()) == (b"OK", b"v")
        assert isinstance(connection.receive(), ReplyError)


def test_a_result_without_runs_has_not_passed() -> None:
    result = Result("nothing")
    assert not result.passed
    result.add({"lost": 0, "gap s": 0.25})
    assert result.passed
    result.add({"lost": 2, "gap s": 0.75}, ["2 lost"])
    assert not result.passed
    assert "med 0.500 max 0.750" in str(result) and "FAILED run 2: 2 lost" in str(result)
