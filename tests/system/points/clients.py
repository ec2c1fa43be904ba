"""The usual clients: redis-cli, redis-benchmark, redis-py, and RedisCluster through a failover.

RedisCluster is a class of redis-py. The file also tests the quick start, `make run`.

Decides: what is called and what must come back.
Must not know: anything on the other side of the socket.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import ConstantBackoff
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster
from redis.retry import Retry

from tests.ports import free_ports
from tests.system.client import ask
from tests.system.cluster import REPOSITORY, Cluster, scratch, wait_until
from tests.system.results import Result


def _cli(port: int, *args: str) -> str:
    done = subprocess.run(
        ["redis-cli", "-p", str(port), *args],
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return (done.stdout + done.stderr).strip()


DEFAULT_TESTS = frozenset((
    "PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD",
    "HSET", "SPOP", "ZADD", "ZPOPMIN", "LRANGE_100", "LRANGE_300", "LRANGE_500", "LRANGE_600",
    "MSET",
))  # fmt: skip


def standalone(cluster: Cluster, requests: int = 10_000) -> Result:
    result = Result("redis-cli, redis-benchmark and redis-py against the primary and a replica")
    primary = cluster.wait_primary()
    replica = next(p for p in cluster.engines() if p.name != primary.name)

    said = [
        _cli(primary.port, "SET", "cli", "hello"),
        _cli(primary.port, "GET", "cli"),
        _cli(replica.port, "GET", "cli"),
        _cli(replica.port, "SET", "cli", "x"),
    ]
    fine = said[:3] == ["OK", "hello", "hello"] and said[3].startswith("READONLY")
    result.add(
        {"client": "redis-cli", "calls": len(said), "errors": 0 if fine else 1},
        [] if fine else [f"redis-cli said {said}"],
    )

    args = [
        "redis-benchmark",
        "-p",
        str(primary.port),
        "-t",
        "get,set,incr,mset",
        "-n",
        str(requests),
        "-r",
        "1000",
        "--csv",
    ]
    done = subprocess.run(args, text=True, capture_output=True, timeout=300, check=False)
    lines = [
        line
        for line in done.stdout.splitlines()
        if line.startswith('"') and not line.startswith('"test"')
    ]
    names = {line.split('"')[1].split(" ")[0] for line in lines}
    fine = (
        done.returncode == 0
        and names == {"SET", "GET", "INCR", "MSET"}
        and "rror" not in done.stdout + done.stderr
    )
    result.add(
        {"client": "redis-benchmark", "calls": 4 * requests, "errors": 0 if fine else 1},
        [] if fine else [f"{done.stdout[-400:]} {done.stderr[-400:]}"],
    )

    done = subprocess.run(
        ["redis-benchmark", "-p", str(primary.port), "-n", str(requests), "--csv"],
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )
    ran = {
        line.split('"')[1].split(" ")[0]
        for line in done.stdout.splitlines()
        if line.startswith('"')
    } - {"test"}
    fine = done.returncode == 0 and ran == DEFAULT_TESTS and "rror" not in done.stdout + done.stderr
    problems = (
        []
        if fine
        else [f"not run: {sorted(DEFAULT_TESTS - ran)}; {done.stdout[-400:]} {done.stderr[-400:]}"]
    )
    result.add(
        {
            "client": "redis-benchmark, its default tests",
            "calls": len(ran) * requests,
            "errors": len(problems),
        },
        problems,
    )

    for protocol in (2, 3):
        calls, problems = _redis_py(primary.port, replica.port, protocol)
        result.add(
            {"client": f"redis-py, RESP{protocol}", "calls": calls, "errors": len(problems)},
            problems,
        )
    return result


def _redis_py(port: int, replica_port: int, protocol: int) -> tuple[int, list[str]]:
    problems = []
    calls = 0
    with (
        redis.Redis(port=port, protocol=protocol, decode_responses=True) as r,
        redis.Redis(port=replica_port, protocol=protocol, decode_responses=True) as reader,
    ):
        r.delete("py", "py:n")
        with r.pipeline(transaction=True) as pipe:
            expected = [True, "1", 1, 3]
            got = pipe.set("py", "1").get("py").incr("py:n").incrby("py:n", 2).execute()
        checks = [
            ("MULTI pipeline", got, expected),
            ("mget", r.mget("py", "py:n", "none"), ["1", "3", None]),
        ]
        checks += [
            ("set with options", r.set("py", "2", ex=100, xx=True, get=True), "1"),
            ("ttl", 0 < r.ttl("py") <= 100, True),
        ]
        checks += [
            ("scan", "py:n" in list(r.scan_iter("py*")), True),
            ("strong read at the replica", reader.get("py"), "2"),
        ]
        checks += [
            ("info", r.info("replication")["role"], "master"),
            ("role at the replica", reader.info("replication")["role"], "slave"),
        ]
        with contextlib.suppress(redis.exceptions.ReadOnlyError):
            reader.set("py", "3")
            checks.append(("a write at the replica", "accepted", "refused"))
        for what, seen, wanted in checks:
            calls += 1
            if seen != wanted:
                problems.append(f"redis-py RESP{protocol}: {what}: {seen!r}, wanted {wanted!r}")
    return calls, problems


def cluster_mode(cluster: Cluster, failovers: int = 1, bound_s: float = 15.0) -> Result:
    """RedisCluster continues to work through kill -9 of the primary.
    `cluster` was started with --cluster.
    """
    result = Result("RedisCluster of redis-py through a failover")
    nodes = [ClusterNode(p.host, p.port) for p in cluster.engines()]
    # redis-py continues to ask the nodes named here. Otherwise it would keep only the nodes of its
    # newest answer. An answer from before the replicas had reported to the primary names only the
    # node that is killed.
    client = RedisCluster(
        startup_nodes=nodes,
        dynamic_startup_nodes=False,
        decode_responses=True,
        retry=Retry(ConstantBackoff(0.1), 60),
        socket_timeout=3,
    )
    replicas = RedisCluster(
        startup_nodes=nodes,
        dynamic_startup_nodes=False,
        decode_responses=True,
        load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN_REPLICAS,
        retry=Retry(ConstantBackoff(0.1), 60),
        socket_timeout=3,
    )
    with contextlib.closing(client), contextlib.closing(replicas):
        for run in range(failovers):
            acknowledged = {}
            for n in range(200):
                if client.set(f"rc:{run}:{n}", n):
                    acknowledged[f"rc:{run}:{n}"] = str(n)
            old = cluster.wait_primary()
            cluster.kill(old)
            killed = time.monotonic()
            errors = 0
            while True:
                try:
                    client.set(f"rc:{run}:after", "yes")
                    break
                except (
                    redis.exceptions.RedisError,
                    redis.exceptions.RedisClusterException,
                ) as error:
                    # RedisClusterException: no node answered at that moment
                    errors += 1
                    if time.monotonic() - killed > bound_s:
                        raise AssertionError(
                            f"RedisCluster found no new primary: {error!r}"
                        ) from error
            took = time.monotonic() - killed
            lost = sum(client.get(key) != value for key, value in acknowledged.items())
            from_replicas = sum(replicas.get(key) != value for key, value in acknowledged.items())
            new = cluster.wait_primary()
            problems = [f"{lost} acknowledged writes lost"] if lost else []
            if from_replicas:
                problems.append(
                    f"{from_replicas} reads with read_from_replicas gave something else"
                )
            row = {
                "killed": old.name,
                "new": new.name,
                "next write s": took,
                "errors raised": errors,
                "acked": len(acknowledged),
                "lost": lost,
            }
            result.add({**row, "wrong from replicas": from_replicas}, problems)
            cluster.wait_answers(cluster.restart(old))
    return result


def fresh_clone(with_tests: bool = False, bound_s: float = 600.0) -> Result:
    """`git clone`, `make run`, a write, Ctrl-C; and `make test` on request.
    Needs the package index or a warm cache.
    """
    result = Result("a fresh clone: make run" + (", make test" if with_tests else ""))
    root = scratch("clone")
    port, log_port = free_ports(3), free_ports(3)
    try:
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(root / "memstore")], check=True)
        begun = time.monotonic()
        with (root / "run.log").open("wb") as out:
            run = subprocess.Popen(
                ["make", "run", f"ARGS=--port {port} --log-port {log_port}"],
                cwd=root / "memstore",
                env=_plain(),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            wait_until(
                f"a write through `make run`, see {root}/run.log",
                lambda: _writes(port) or run.poll() is not None,
                bound_s,
                0.5,
            )
            took = time.monotonic() - begun
            wrote = _writes(port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(30)
        ended = run.poll()
        still = _writes(port)
        problems = [] if wrote else [f"`make run` does not serve: {_end(root / 'run.log')}"]
        if ended is None or still:
            problems.append("Ctrl-C did not stop it")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
        result.add(
            {
                "step": "make run",
                "seconds": took,
                "served": wrote,
                "stopped by Ctrl-C": ended is not None and not still,
            },
            problems,
        )
        if with_tests:
            begun = time.monotonic()
            done = subprocess.run(
                ["make", "test"],
                cwd=root / "memstore",
                env=_plain(),
                text=True,
                capture_output=True,
                timeout=1800,
                check=False,
            )
            summary = (done.stdout.strip().splitlines() or [""])[-1]
            result.notes.append(f"make test: {summary}")
            row = {
                "step": "make test",
                "seconds": time.monotonic() - begun,
                "served": done.returncode == 0,
                "stopped by Ctrl-C": "",
            }
            result.add(row, [] if done.returncode == 0 else [f"`make test`: {done.stdout[-1500:]}"])
    finally:
        if result.passed:
            shutil.rmtree(root, ignore_errors=True)
        else:
            result.notes.append(f"kept: {root}")
    return result


def _plain() -> dict[str, str]:
    """The environment without a virtual environment or a path of the project."""
    return {
        k: v
        for k, v in os.environ.items()
        if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MAKELEVEL")
    }


def _writes(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(ask(("127.0.0.1", port), "SET", "fresh", "clone") == b"OK")
    return False


def _end(path: Path) -> str:
    return path.read_text(errors="replace")[-800:]
