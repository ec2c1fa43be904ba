"""`memstore local`: three log nodes, and an engine node in each zone, on this machine as separate
processes, watched from the foreground.

Decides: what must be right before any process starts (folder, ports, data).
Must not know: how the processes are started and watched (`local_cluster`). It starts ordinary
commands; topology.json lists them.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from memstore.ops.local_cluster import LocalCluster
from memstore.ops.topology import Folder, LocalError, Plan, Process, plan_processes

Say = Callable[[str], None]


def check_ports(processes: list[Process]) -> None:
    """Check that every port is free before any process starts. Raises `LocalError`."""
    owners: dict[int, str] = {}
    for process in processes:
        if not 0 < process.port < 65536:
            raise LocalError(
                f"{process.name} would need port {process.port}, which does not exist: choose a "
                "lower --port or --log-port",
                2,
            )
        if process.port in owners:
            raise LocalError(
                f"{process.name} and {owners[process.port]} would both use port {process.port}: "
                "choose --port and --log-port further apart",
                2,
            )
        owners[process.port] = process.name
    for process in processes:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((process.host, process.port))
            except OSError as error:
                option = "--log-port" if process.kind == "log" else "--port"
                raise LocalError(
                    f"port {process.port} for {process.name} is taken "
                    f"({os.strerror(error.errno or 0)}): stop what uses it, or choose {option}"
                ) from None


def check_data(folder: Folder, processes: list[Process], say: Say) -> None:
    for process in processes:
        if not folder.fresh and process.data and not Path(process.data).exists():
            say(
                f"{process.name} has lost its data folder: it starts empty, belongs to no group "
                "and does not vote"
            )


def run(plan: Plan, say: Say, password: str = "") -> int:
    """Start the cluster and stay until Ctrl-C. Returns the exit code; raises `LocalError` if no
    process was started.
    """
    folder = Folder.open(plan)
    try:
        processes = plan_processes(plan, folder)
        check_ports(processes)
        check_data(folder, processes, say)
        return asyncio.run(LocalCluster(plan, folder, processes, say, password).run())
    finally:
        folder.close()
