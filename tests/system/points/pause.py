"""SIGSTOP of the primary with GETs unread in its sockets.
When it wakes, it must not answer any of them with an old value.

Decides: what lies in the sockets and what may come back.
Must not know: leases. While the primary sleeps, a new primary acknowledges newer values for every
key in those GETs. After SIGCONT every GET must be refused, or its connection closed. Any other
outcome is counted separately.
"""

from __future__ import annotations

import time
from collections import Counter

from tests.system.client import Blocking, Closed, ReplyError
from tests.system.cluster import Cluster, wait_until
from tests.system.results import Result

GETS = 50
PAUSE_S = 5.0


def stale_reads(cluster: Cluster, runs: int, pause_s: float = PAUSE_S) -> Result:
    result = Result(
        f"SIGSTOP of the primary for {pause_s:g} s with {GETS} GETs unread in its sockets"
    )
    for run in range(runs):
        row, problems = _one(cluster, run, pause_s)
        result.add(row, problems)
    return result


def _one(cluster: Cluster, run: int, pause_s: float) -> tuple[dict[str, object], list[str]]:
    old = cluster.wait_primary()
    keys = [f"stale:{run}:{n}" for n in range(GETS)]
    with Blocking(old.address) as connection:
        for key in keys:
            assert connection.call("SET", key, "old") == b"OK"
    sockets = [Blocking(old.address, timeout=5.0) for _ in keys]
    for sock, key in zip(sockets, keys, strict=True):
        assert sock.call("GET", key) == b"old"
    cluster.pause(old)
    stopped = time.monotonic()
    for sock, key in zip(sockets, keys, strict=True):
        sock.send("GET", key)
    new = cluster.wait_primary(15.0, other_than=old.name)
    newer = 0
    with Blocking(new.address, timeout=5.0) as connection:
        for key in keys:
            newer += connection.call("SET", key, "new") == b"OK"
    took = time.monotonic() - stopped
    time.sleep(max(0.0, pause_s - took))
    cluster.resume(old)
    seen: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for sock in sockets:
        outcome = _answer(sock, errors)
        seen[outcome] += 1
        sock.close()
    problems = []
    if newer != GETS:
        problems.append(f"only {newer} newer values were acknowledged")
    if seen["old"]:
        problems.append(f"{seen['old']} OLD VALUES were read")
    if seen["refused"] + seen["closed"] != GETS:
        problems.append(f"not every GET was refused or closed: {dict(seen)}")
    wait_until(
        f"{old.name} serves as a replica again", lambda: _reads_new(old.address, keys[0]), 30
    )
    row = {"paused": old.name, "new": new.name, "new primary s": took, "newer acked": newer}
    return {
        **row,
        **{name: seen[name] for name in ("old", "new value", "refused", "closed", "silent")},
        "errors": dict(errors),
    }, problems


def _answer(sock: Blocking, errors: Counter[str]) -> str:
    try:
        reply = sock.receive()
    except TimeoutError:
        return "silent"
    except (Closed, OSError):
        return "closed"
    if isinstance(reply, ReplyError):
        errors[str(reply).split(" ")[0]] += 1
        return "refused"
    return {b"old": "old", b"new": "new value"}.get(reply, f"unexpected {reply!r}")


def _reads_new(address: tuple[str, int], key: str) -> bool:
    try:
        with Blocking(address, 2.0) as connection:
            return bool(connection.call("GET", key) == b"new")
    except OSError:
        return False
