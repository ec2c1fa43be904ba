"""The cluster of a soak: a log node and an engine node in each of three zones.

Every log node has its own small disk if the machine allows it.

Decides: commands, ports, folders, disks, and when a node is "whole".
Must not know: when a fault happens. Processes are started by their own commands (`txlog server`,
`memstore server`), inside their zone of the `Network`.
Invariants: a log node's data is never on tmpfs (a small disk is an ext4 image on the real one).
`stop` unmounts all mounted disks. `down` names the processes that a fault took away, so that any
other death is a finding.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.ports import free_ports
from tests.system.client import Address, ReplyError, ask
from tests.system.cluster import START_BOUND_S, TREE, Cluster, Process, alive, wait_until
from tests.system.soak.network import ZONES, Network

MIB = 1 << 20
SEGMENT_MIB = 8  # the minimum: segments change often
DISK_MIB = 4096  # of an image, which takes only the written bytes from the real disk
SHARD = "soak"


def disks_possible() -> str:
    """Empty if small disks can be made here, else the reason why not."""
    if os.geteuid() != 0:
        return "mounts need root"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices"


class Zones(Cluster):
    def __init__(
        self, network: Network, folder: Path, lease_ms: int = 1000, disks: bool = True
    ) -> None:
        super().__init__(lease_ms=lease_ms, folder=folder)
        self.network = network
        self.disks = disks
        self.down: set[str] = set()
        base = free_ports(6)
        self.log_ports = {zone: base + index for index, zone in enumerate(ZONES)}
        self.engine_ports = {zone: base + 3 + index for index, zone in enumerate(ZONES)}
        self.rows: list[Process] = []
        self.secret = self.root / "secret"

    # ------------------------------------------------------------------ start

    def start(self) -> None:
        """Start all processes, until engine-a is primary and all nodes answer.
        The network must be open before.
        """
        self.secret.touch(0o600)
        self.secret.write_text(secrets.token_hex(32) + "\n")
        settings = self.root / "log.toml"
        settings.write_text(f"segment-bytes = {SEGMENT_MIB * MIB}\nlog-format = 'console'\n")
        for zone in ZONES:
            self.rows.append(self._log_row(zone, settings))
        for zone in ZONES:
            self.rows.append(self._engine_row(zone))
        for row in self.rows[:3]:
            self.restart(row)
        for row in self.rows[:3]:
            wait_until(
                f"{row.name} listens\n{self.tail(row.name)}",
                lambda row=row: listens(row.address),
                START_BOUND_S,
            )
        done = self.txlog("init", *[f"{row.host}:{row.port}" for row in self.rows[:3]])
        if done.returncode:
            raise RuntimeError(f"`txlog init`: {done.stdout} {done.stderr}")
        for row in self.rows[3:]:
            self.restart(row)
            wait_until(f"a primary\n{self.tail(row.name)}", self.primary, START_BOUND_S)
        for row in self.rows[3:]:
            wait_until(
                f"{row.name} serves\n{self.tail(row.name)}",
                lambda row=row: self.serving(row),
                START_BOUND_S,
            )

    def _log_row(self, zone: str, settings: Path) -> Process:
        mount = self.root / "disks" / f"log-{zone}"
        mount.mkdir(parents=True)
        if self.disks:
            image = mount.with_suffix(".img")
            with image.open("wb") as file:
                file.truncate(DISK_MIB * MIB)
            subprocess.run(
                ["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True, capture_output=True
            )
            subprocess.run(
                ["mount", "-o", "loop,noatime", str(image), str(mount)],
                check=True,
                capture_output=True,
            )
            self.mounts.append(mount)
        host, port, data = self.network.host(zone), self.log_ports[zone], mount / "node"
        command = [
            "txlog",
            "server",
            "--az",
            zone,
            "--port",
            str(port),
            "--bind",
            host,
            "--data",
            str(data),
        ]
        command += ["--secret-file", str(self.secret), "--config", str(settings)]
        return Process(
            f"log-{zone}",
            "log",
            zone,
            0,
            host,
            port,
            str(data),
            self._inside(zone, command),
            str(TREE),
        )

    def _engine_row(self, zone: str) -> Process:
        logs = ",".join("{}:{}".format(*self.network.log_address(zone, other)) for other in ZONES)
        host, port = self.network.host(zone), self.engine_ports[zone]
        command = [
            "memstore",
            "server",
            "--az",
            zone,
            "--port",
            str(port),
            "--bind",
            host,
            "--log",
            f"txlog://{logs}/{SHARD}",
            "--create",
        ]
        command += [
            "--secret-file",
            str(self.secret),
            "--lease-ms",
            str(self.lease_ms),
            "--set",
            "protected-mode=no",
            "--set",
            "enable-debug-command=yes",
        ]
        return Process(
            f"engine-{zone}",
            "engine",
            zone,
            0,
            host,
            port,
            None,
            self._inside(zone, command),
            str(TREE),
        )

    def _inside(self, zone: str, command: list[str]) -> list[str]:
        return self.network.inside(zone, [sys.executable, "-m", *command])

    # ------------------------------------------------------------------ reading the state

    def processes(self) -> list[Process]:
        for row in self.rows:
            row.pid = self.restarted.get(row.name, row.pid)
        return list(self.rows)

    def txlog(self, *args: str, bound_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        secret = ["--secret-file", str(self.secret)] if args[0] in ("status", "init") else []
        return super().txlog(*args, *secret, bound_s=bound_s)

    def serving(self, process: Process) -> bool:
        """Whether it answers and has restored the data."""
        with contextlib.suppress(OSError, ReplyError):
            return self.info(process, "replication").get("memstore_role") in ("primary", "replica")
        return False

    def wait_serving(self, process: Process, bound_s: float) -> str:
        """Empty when it serves, else what is wrong after `bound_s`."""
        end = time.monotonic() + bound_s
        while time.monotonic() < end:
            if self.serving(process):
                return ""
            time.sleep(0.2)
        return (
            f"{process.name} does not serve {bound_s:g} s after its "
            f"fault\n{self.tail(process.name)}"
        )

    def wait_whole(self, process: Process, bound_s: float) -> str:
        """Empty when the log node has what the others have and reports itself good.
        Else what is wrong after `bound_s`.
        """
        end = time.monotonic() + bound_s
        said = "nothing"
        while time.monotonic() < end:
            try:
                rows = self.log_status()
            except (AssertionError, subprocess.TimeoutExpired) as error:
                said = str(error)  # no node answered: perhaps all are cut off at this moment
            else:
                furthest = max((row.last for row in rows.values()), default=0)
                mine = rows.get(process.name)
                said = f"{rows}"
                if mine is not None and mine.state == "good" and mine.last >= furthest - 200:
                    return ""
            time.sleep(0.5)
        return (
            f"{process.name} is not whole {bound_s:g} s after its fault: "
            f"{said}\n{self.tail(process.name)}"
        )

    def died(self) -> list[Process]:
        """The processes that ended although no fault ended them. Reaps children too."""
        for child in self.children:
            child.poll()
        self.children = [child for child in self.children if child.returncode is None]
        return [
            row
            for row in self.processes()
            if row.pid and row.name not in self.down and not alive(row.pid)
        ]

    # ------------------------------------------------------------------ disks

    def fill_disk(self, node: Process) -> Path:
        """Write a file beside the node's folder that leaves no free block."""
        filler = Path(str(node.data)).parent / "filler"
        step = 64 * MIB
        with filler.open("wb") as file:
            at = 0
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), at, step)
                    at += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2
        return filler

    def said(self, node: Process, word: str) -> int:
        return len(re.findall(word, self.output(node.name), re.IGNORECASE))

    def verify(self, node: Process) -> str:
        """The findings of `txlog verify` in a stopped node's folder; empty if there are none."""
        done = self.txlog("verify", str(node.data))
        return (
            ""
            if done.returncode == 0
            else f"`txlog verify` of {node.name}: exit {done.returncode}: "
            f"{(done.stdout + done.stderr).strip()[-600:]}"
        )

    def digest(self, process: Process) -> str:
        with contextlib.suppress(OSError):
            reply = ask(process.address, "DEBUG", "DIGEST", timeout=20)
            return reply.decode() if isinstance(reply, bytes) else str(reply)
        return ""


def listens(address: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, 0.3):
        return True
    return False
