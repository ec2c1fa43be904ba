"""The temporary cluster of `memstore demo`: its own `memstore local` in a temporary folder.

Decides: folder, ports, how the cluster is started, killed in part, and removed.
Must not know: what is written to it, and which result is right.
Invariant: after `stop` no process of the cluster is left, and the folder is gone. If the demo dies,
the kernel kills `memstore local`; if that dies, the kernel kills its processes (Linux; see
`processes`).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from memstore.ops.demo_check import HostPort
from memstore.ops.demo_client import DemoError
from memstore.ops.processes import alive, last_line, make_die_with_parent
from memstore.ops.resp_client import NoAnswer, RespClient, parse_info
from memstore.ops.topology import AZS, HOST, TOPOLOGY

PORTS: Final = (8000, 11_999)  # below the ports that the kernel assigns to outgoing connections
PORT_TRIES: Final = 200
STARTS: Final = 3  # tries, each with other ports
START_S: Final = 25.0
HURRY_S: Final = 0.2  # between "stop" and "stop at once"
STOP_S: Final = 10.0  # after this time a process that does not stop is killed
POLL_S: Final = 0.05
ENGINES: Final = 3


class PortTaken(Exception):
    """Another process took a port after it was found free."""


def free_ports(count: int, rng: random.Random) -> int:
    """Returns the first of ``count`` consecutive free ports. Raises `DemoError`."""
    for _ in range(PORT_TRIES):
        base = rng.randint(PORTS[0], PORTS[1] - count + 1)
        if all(is_free(port) for port in range(base, base + count)):
            return base
    raise DemoError(f"no {count} free ports in a row between {PORTS[0]} and {PORTS[1]}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class ThrowAwayCluster:
    """Three log nodes, a primary and two replicas, as real processes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="memstore-demo-"))
        self.nodes: list[HostPort] = []  # engine nodes
        self.names: dict[HostPort, str] = {}
        self.roles: dict[HostPort, str] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._local: subprocess.Popen[bytes] | None = None

    # ----------------------------------------------------------------- start

    async def start(self) -> None:
        """Start it and wait until all nodes serve and one is primary. Raises `DemoError`."""
        rng = random.Random(int.from_bytes(os.urandom(8), "big"))
        for _ in range(STARTS):
            try:
                await self._start_once(rng)
            except PortTaken:
                continue  # another process was faster: try other ports
            return
        raise DemoError(f"ports were taken in each of {STARTS} starts")

    async def _start_once(self, rng: random.Random) -> None:
        base = free_ports(ENGINES + len(AZS), rng)
        command = [sys.executable, "-m", "memstore", "local", "--dir", str(self.folder / "cluster")]
        command += ["--port", str(base), "--log-port", str(base + ENGINES)]
        with open(self._trace, "wb") as trace:
            self._local = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=trace,
                stderr=trace,
                start_new_session=True,
                preexec_fn=make_die_with_parent(),
            )
        self.nodes = [(HOST, base + index) for index in range(ENGINES)]
        end = time.monotonic() + START_S
        while not await self._is_up():
            code = self._local.poll()
            if code is not None:
                words = await last_line(self._trace)
                if " is taken " in words:
                    raise PortTaken
                raise DemoError(f"the cluster did not start (exit code {code}): {words}")
            if time.monotonic() > end:
                raise DemoError(f"the cluster was not up within {START_S:.0f} s")
            await asyncio.sleep(POLL_S)

    @property
    def _trace(self) -> Path:
        return self.folder / "local.log"

    async def _is_up(self) -> bool:
        """Whether every process runs, one node is the primary, and the others are its replicas."""
        rows = self._read_topology()
        if len(rows) < ENGINES + len(AZS) or not all(row["pid"] for row in rows.values()):
            return False
        self._rows = rows
        self.names = {(row["host"], row["port"]): name for name, row in rows.items()}
        self.roles = {node: await ask_role(node) for node in self.nodes}
        return sorted(self.roles.values()) == ["primary"] + ["replica"] * (ENGINES - 1)

    def _read_topology(self) -> dict[str, dict[str, Any]]:
        try:
            text = (self.folder / "cluster" / TOPOLOGY).read_text()
        except FileNotFoundError:
            return {}  # not written yet
        return {row["name"]: row for row in json.loads(text)["processes"]}

    # ----------------------------------------------------------------- faults

    def zone_mate(self, node: HostPort) -> str:
        """The log node in the zone of an engine node."""
        az = self._rows[self.names[node]]["az"]
        return next(
            name for name, row in self._rows.items() if row["kind"] == "log" and row["az"] == az
        )

    def kill(self, *names: str) -> None:
        for name in names:
            os.kill(self._rows[name]["pid"], signal.SIGKILL)

    # ----------------------------------------------------------------- stop

    async def stop(self) -> None:
        """End every process and remove the folder. Safe to call in any state."""
        local = self._local
        if local is not None:
            # The first signal stops the cluster in order. The second one kills what is left: its
            # data is not needed.
            for pause in (HURRY_S, STOP_S):
                if local.poll() is None:
                    local.terminate()
                    await self._ended(local, pause)
            if local.poll() is None:
                local.kill()
                await self._ended(local, STOP_S)
            self._kill_orphans()
        shutil.rmtree(self.folder)

    async def _ended(self, local: subprocess.Popen[bytes], within_s: float) -> None:
        end = time.monotonic() + within_s
        while local.poll() is None and time.monotonic() < end:
            await asyncio.sleep(POLL_S)

    def _kill_orphans(self) -> None:
        """Kill what is left. After an orderly end nothing is: `memstore local` empties the pids."""
        for row in self._read_topology().values():
            if row["pid"] and alive(row["pid"]):
                with suppress(ProcessLookupError):  # the kernel was faster
                    os.kill(row["pid"], signal.SIGKILL)


async def ask_role(node: HostPort) -> str:
    """The role that the node reports; empty if it does not answer."""
    client = RespClient(*node)
    try:
        (answer,) = await client.ask(("INFO", "replication"))
    except NoAnswer:
        return ""
    finally:
        client.close()
    return parse_info(answer).get("memstore_role", "") if isinstance(answer, bytes) else ""
