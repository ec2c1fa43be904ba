"""A long command must not cost the primary its role.

The long commands are DEBUG SLEEP 5, and KEYS * over millions of keys.

Decides: what keeps the loop busy and what counts as a change of role.
Must not know: how leases are kept. The test asks the other engine nodes continuously which node is
the primary. Any moment in which another one says "master" counts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from tests.system import bulk
from tests.system.client import Blocking, ReplyError, ask, info
from tests.system.cluster import Cluster
from tests.system.results import Result


class RoleWatch:
    """Asks every engine node for its role every 50 ms in its own thread, and keeps the answers."""

    def __init__(self, cluster: Cluster) -> None:
        self.addresses = {p.name: p.address for p in cluster.engines()}
        self.masters: dict[str, int] = {}
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self._watch, args=(name,), daemon=True)
            for name in self.addresses
        ]

    def __enter__(self) -> RoleWatch:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _watch(self, name: str) -> None:
        while not self.stopping.wait(0.05):
            with contextlib.suppress(OSError):
                reply = ask(self.addresses[name], "ROLE", timeout=1.0)
                if isinstance(reply, list) and reply and reply[0] == b"master":
                    self.masters[name] = self.masters.get(name, 0) + 1


def term(cluster: Cluster, name: str) -> str:
    """The primary's term as its INFO states it; a role change and its reverse change it too."""
    return f"term {info(cluster.process(name).address, timeout=10)['log_term']}"


def _held(
    cluster: Cluster, what: str, act: Callable[[tuple[str, int]], object], result: Result
) -> None:
    primary = cluster.wait_primary()
    before = term(cluster, primary.name)
    with RoleWatch(cluster) as watch:
        begun = time.monotonic()
        answer = act(primary.address)
        took = time.monotonic() - begun
        time.sleep(2.0)
    after_primary = cluster.wait_primary()
    after = term(cluster, after_primary.name)
    written: object = None
    others = {name: count for name, count in watch.masters.items() if name != primary.name}
    with contextlib.suppress(OSError):
        written = ask(primary.address, "SET", "after the long command", "x", timeout=5)
    problems = []
    if after_primary.name != primary.name or others:
        problems.append(
            f"the role moved: {after_primary.name} is primary, others seen as master {others}"
        )
    if before != after:
        problems.append(f"the term changed from {before} to {after}")
    if isinstance(answer, ReplyError) or written != b"OK":
        problems.append(f"answers: {answer!r}, then {written!r}")
    result.add(
        {
            "command": what,
            "took s": took,
            "answer": str(answer)[:30],
            "term": f"{before} -> {after}",
            "others as master": len(others),
        },
        problems,
    )


def debug_sleep(cluster: Cluster, runs: int = 1, seconds: float = 5.0) -> Result:
    result = Result(f"DEBUG SLEEP {seconds:g} at lease {cluster.lease_ms} ms")
    for _ in range(runs):
        _held(
            cluster,
            f"DEBUG SLEEP {seconds:g}",
            lambda address: _ask_slowly(address, "DEBUG", "SLEEP", seconds),
            result,
        )
    return result


def _ask_slowly(address: tuple[str, int], *args: object) -> object:
    return ask(address, *args, timeout=60)


def keys_star(cluster: Cluster, count: int = 5_000_000, runs: int = 1) -> Result:
    result = Result(f"KEYS * over {count} keys at lease {cluster.lease_ms} ms")
    primary = cluster.wait_primary()
    took = bulk.load(primary.address, count, value_bytes=10)
    result.notes.append(f"loaded {count} keys in {took:.1f} s ({count / took:.0f} keys/s)")
    result.require(cluster.wait_primary().name == primary.name, "the role moved while loading")
    for _ in range(runs):
        _held(cluster, "KEYS *", lambda address: _count_keys(address, count), result)
    return result


def _count_keys(address: tuple[str, int], expected: int) -> object:
    """Read the reply without building it.
    It reads the head, then bytes until the PONG of a PING that was sent after the command.
    """
    with Blocking(address, timeout=120.0) as connection:
        connection.send("KEYS", "*")
        connection.send("PING")
        head = b""
        while b"\r\n" not in head:
            head += connection.sock.recv(1 << 16)
        if not head.startswith(b"*"):
            return ReplyError(head[:100].decode(errors="replace"))
        end, size = head, len(head)
        while not end.endswith(b"+PONG\r\n"):
            data = connection.sock.recv(1 << 20)
            if not data:
                return ReplyError("closed in the middle of the reply")
            size += len(data)
            end = (end + data)[-7:]
        number = int(head[1 : head.index(b"\r\n")])
        return (
            f"{number} keys, {size >> 20} MiB"
            if number >= expected
            else ReplyError(f"{number} keys of {expected}")
        )
