"""The two servers of the comparison, with their data on the same real disk: ours with three log
nodes and two replicas, and redis-server.

Decides: how they are started and with what settings.
Must not know: what is measured. redis-server syncs every write (`appendonly yes`, `appendfsync
always`, no snapshots, no rewrites during a measurement): one node, one disk.
"""

from __future__ import annotations

import subprocess
from typing import Self

from tests.system.client import info
from tests.system.cluster import Cluster, PlainRedis, filesystem, scratch

REDIS_SETTINGS = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--auto-aof-rewrite-percentage",
    "0",
]


class Ours:
    """A local three-AZ cluster."""

    name = "memstore"

    def __init__(self) -> None:
        self.cluster = Cluster()

    def __enter__(self) -> Self:
        self.cluster.__enter__()
        self.primary = self.cluster.wait_primary()
        self.replica = next(p for p in self.cluster.engines() if p.name != self.primary.name)
        return self

    def __exit__(self, *exc: object) -> None:
        self.cluster.__exit__(*exc)

    def port(self, where: str) -> int:
        return self.primary.port if where == "primary" else self.replica.port

    def pids(self) -> dict[str, list[int]]:
        engines = self.cluster.engines()
        return {
            "primary": [self.primary.pid],
            "replicas": [p.pid for p in engines if p.name != self.primary.name],
            "log nodes": [p.pid for p in self.cluster.log_nodes()],
        }

    def check(self) -> None:
        """Check that the primary is the same: a measurement across a failover does not count."""
        now = self.cluster.wait_primary()
        if now.name != self.primary.name:
            raise RuntimeError(
                f"the primary moved from {self.primary.name} to {now.name} during the "
                f"bench\n{self.cluster.tail('local')}"
            )

    def versions(self) -> dict[str, str]:
        server = info(self.primary.address, "server")
        return {
            "memstore": server.get("memstore_version", "?"),
            "compiled": {"1": "yes", "0": "no"}.get(str(server.get("memstore_compiled")), "?"),
            "python": server.get("python_version", "?"),
        }


class Redis:
    """Debian's redis-server."""

    name = "redis-server"

    def __init__(self) -> None:
        self.server = PlainRedis(*REDIS_SETTINGS)

    def __enter__(self) -> Redis:
        self.server.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.__exit__(*exc)

    def port(self, where: str) -> int:
        return self.server.port

    def pids(self) -> dict[str, list[int]]:
        assert self.server.child is not None
        return {"server": [self.server.child.pid]}

    def check(self) -> None:
        return

    def versions(self) -> dict[str, str]:
        text = subprocess.run(
            ["redis-server", "--version"], text=True, capture_output=True, check=False
        ).stdout
        return {"redis-server": text.split("v=")[-1].split(" ")[0]}


def disk() -> str:
    """The filesystem of both servers' data."""
    folder = scratch("disk")
    kind = filesystem(folder)
    folder.rmdir()
    return kind
