"""One process of a local cluster and what is known about it.

Decides: nothing; `memstore.ops.local_cluster` fills it, `memstore.ops.upgrade` reads it.
Must not know: how processes are started.
"""

from __future__ import annotations

from typing import Final

from memstore.ops.processes import Child
from memstore.ops.resp_client import RespClient
from memstore.ops.topology import Process

ANSWER_MS: Final = 2000  # after this time a line says that the node does not answer
RESTART_MS: Final = 500  # before a dead process is started again; doubled while it keeps dying


class Member:
    """One process of the cluster and what is known about it."""

    __slots__ = (
        "child",
        "client",
        "facts",
        "held",
        "note",
        "pause_ms",
        "process",
        "progress",
        "role",
        "silent",
        "started",
        "stopping",
    )

    def __init__(self, process: Process, password: str) -> None:
        self.process = process
        self.child: Child | None = None
        self.started = 0.0
        self.pause_ms = RESTART_MS
        self.stopping = False
        self.held = False  # stopped by hand: only a manual start starts it again
        # engine nodes only:
        self.role = ""
        self.facts: dict[str, str] = {}
        self.silent = False
        self.note = ""
        # restoring: the time of the last line, and how many entries were applied then
        self.progress = (0.0, 0)
        self.client = RespClient(process.host, process.port, password, ANSWER_MS)
