"""A local three-AZ cluster of real processes for tests.

A test starts it, injects faults and reads its state; the cluster always cleans up after itself.

Decides: folders, free ports, how a process is killed, paused and started again, which node is the
primary.
Must not know: the inside of the processes; it uses the commands, `DIR/topology.json` and RESP.
Invariants: data lies on a real disk (never tmpfs) under `build/` of the repository or
$MEMSTORE_TEST_DIR. Every process carries a random token in its environment. `stop` kills all
processes that carry it, also those started by others, and nothing else. Every wait has a bound and
reports what it waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_ports
from tests.system.client import Address, ReplyError, ask, info

REPOSITORY = Path(__file__).resolve().parents[2]
# the code that the processes run: the repository, or the compiled tree of `make compile`
TREE = Path(os.environ.get("MEMSTORE_TREE") or REPOSITORY).resolve()
TOKEN_NAME = "MEMSTORE_TEST_RUN"
START_BOUND_S = 30.0


class NotInTime(AssertionError):
    """A bounded wait reached its bound."""


def wait_until(what: str, ready: Callable[[], Any], bound_s: float, every_s: float = 0.02) -> Any:
    """The first true answer of `ready`; `NotInTime` names `what` after `bound_s`."""
    end = time.monotonic() + bound_s
    while True:
        answer = ready()
        if answer:
            return answer
        if time.monotonic() > end:
            raise NotInTime(f"not within {bound_s:g} s: {what}")
        time.sleep(every_s)


def scratch(prefix: str) -> Path:
    """A new folder on a real disk."""
    root = Path(os.environ.get("MEMSTORE_TEST_DIR") or REPOSITORY / "build" / "system")
    root.mkdir(parents=True, exist_ok=True)
    kind = filesystem(root)
    if kind in ("tmpfs", "ramfs"):
        raise RuntimeError(
            f"{root} is on {kind}: durability is tested on a real disk, set MEMSTORE_TEST_DIR"
        )
    folder = root / f"{prefix}-{os.getpid()}-{secrets.token_hex(3)}"
    folder.mkdir()
    return folder


def filesystem(path: Path) -> str:
    """The type of the filesystem that holds `path`."""
    best, kind = "", "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, fstype, *_ = line.split()
            if (str(path.resolve()).startswith(mount.rstrip("/") + "/") or mount == "/") and len(
                mount
            ) >= len(best):
                best, kind = mount, fstype
    return kind


def process_state(pid: int) -> str:
    """The kernel's letter for the process; "" when there is none.
    "R" runs, "S" sleeps, "T" is stopped, "Z" is dead and not reaped.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def alive(pid: int) -> bool:
    return process_state(pid) not in ("", "Z", "X")


def carriers(token: str) -> list[int]:
    """Every living process whose environment holds this run's token."""
    needle = f"{TOKEN_NAME}={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if needle in (entry / "environ").read_bytes().split(b"\0") and alive(
                    int(entry.name)
                ):
                    found.append(int(entry.name))
    return found


@dataclass
class Process:
    """One row of topology.json."""

    name: str
    kind: str  # "log" or "engine"
    az: str
    pid: int
    host: str
    port: int
    data: str | None
    command: list[str]
    cwd: str | None

    @property
    def address(self) -> Address:
        return (self.host, self.port)


class Cluster:
    """A running cluster; a context manager. `extra` are more arguments for `memstore local`."""

    def __init__(
        self,
        lease_ms: int = 1000,
        replicas: int = 2,
        extra: list[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.lease_ms = lease_ms
        self.replicas = replicas
        self.extra = extra or []
        self.own_folder = folder is None
        self.root = folder or scratch("cluster")
        self.dir = self.root / "data"
        self.logs = self.root / "logs"
        self.token = secrets.token_hex(12)
        self.local: subprocess.Popen[bytes] | None = None
        self.children: list[subprocess.Popen[bytes]] = []
        self.restarted: dict[str, int] = {}
        self.added: dict[str, Process] = {}
        self.mounts: list[Path] = []
        self.keep = bool(os.environ.get("MEMSTORE_TEST_KEEP"))

    # ------------------------------------------------------------------ life

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.keep = True
            self.stop()
            raise
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self.keep = self.keep or kind is not None
        self.stop()

    def environment(self) -> dict[str, str]:
        # a wide screen: `txlog status` shows every column, and its texts in one line
        return {**os.environ, TOKEN_NAME: self.token, "PYTHONPATH": str(TREE), "COLUMNS": "400"}

    def spawn(
        self, command: list[str], name: str, cwd: str | Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process of this run; its output goes to logs/NAME.log."""
        self.logs.mkdir(exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as out:
            child = subprocess.Popen(
                command,
                cwd=cwd or TREE,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.children.append(child)
        return child

    def start(self) -> None:
        """Run `memstore local` until its first engine node is primary and all nodes answer."""
        port, log_port = free_ports(1 + self.replicas), free_ports(3)
        command = [
            sys.executable,
            "-m",
            "memstore",
            "local",
            "--dir",
            str(self.dir),
            "--port",
            str(port),
            "--log-port",
            str(log_port),
        ]
        command += ["--replicas", str(self.replicas), "--lease-ms", str(self.lease_ms), *self.extra]
        if "--config" not in self.extra:
            path = self.root / "memstore.toml"
            path.write_text('enable-debug-command = "yes"\n')
            command += ["--config", str(path)]
        self.local = self.spawn(command, "local")
        wait_until(
            f"topology.json of `memstore local`\n{self.tail('local')}",
            lambda: self._local_up() and self.topology_complete(),
            START_BOUND_S,
        )
        self.wait_primary(START_BOUND_S)
        for process in self.engines():
            wait_until(
                f"{process.name} answers", lambda process=process: self.role(process), START_BOUND_S
            )

    def _local_up(self) -> bool:
        assert self.local is not None
        if self.local.poll() is not None:
            raise RuntimeError(
                f"`memstore local` ended with {self.local.returncode}:\n{self.tail('local')}"
            )
        return True

    def topology_complete(self) -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return len(self.processes()) >= 4 + self.replicas and all(
                p.pid for p in self.processes()
            )
        return False

    def stop(self) -> None:
        """End all processes of this run: SIGINT and SIGTERM first, SIGKILL last.
        The folder is removed unless something failed or MEMSTORE_TEST_KEEP is set.
        """
        if self.local is not None and self.local.poll() is None:
            self.local.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.local.wait(8)
        for signum in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(60):
                rest = carriers(self.token)
                for pid in rest:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signum)
                        os.kill(pid, signal.SIGCONT)
                for child in self.children:
                    child.poll()
                if not rest:
                    break
                time.sleep(0.05)
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(2)
        for mount in self.mounts:
            subprocess.run(["umount", "-l", str(mount)], check=False)
        self.mounts.clear()
        if self.own_folder and not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)

    # ------------------------------------------------------------------ reading the state

    def processes(self) -> list[Process]:
        rows = json.loads((self.dir / "topology.json").read_text())["processes"]
        found = [
            Process(
                r["name"],
                r["kind"],
                r.get("az", ""),
                r.get("pid") or 0,
                r.get("host", "127.0.0.1"),
                r["port"],
                r.get("data"),
                r["command"],
                r.get("cwd"),
            )
            for r in rows
        ]
        for process in found:
            process.pid = self.restarted.get(process.name, process.pid)
        return found + list(self.added.values())

    def process(self, name: str) -> Process:
        return next(p for p in self.processes() if p.name == name)

    def engines(self) -> list[Process]:
        return [p for p in self.processes() if p.kind == "engine"]

    def log_nodes(self) -> list[Process]:
        return [p for p in self.processes() if p.kind == "log"]

    def addresses(self) -> list[Address]:
        return [p.address for p in self.engines()]

    def role(self, process: Process, timeout: float = 0.5) -> str:
        """ "master", "slave", or "" when the node does not say it."""
        try:
            reply = ask(process.address, "ROLE", timeout=timeout)
        except (OSError, ReplyError):
            return ""
        return reply[0].decode() if isinstance(reply, list) and reply else ""

    def primary(self) -> Process | None:
        for process in self.engines():
            if process_state(process.pid) not in ("", "Z", "T") and self.role(process) == "master":
                return process
        return None

    def wait_primary(self, bound_s: float = 15.0, other_than: str | None = None) -> Process:
        def found() -> Process | None:
            process = self.primary()
            return process if process is not None and process.name != other_than else None

        result: Process = wait_until(
            f"a primary{f' other than {other_than}' if other_than else ''}\n{self.tail('local')}",
            found,
            bound_s,
        )
        return result

    def replicas_now(self) -> list[Process]:
        primary = self.primary()
        return [
            p
            for p in self.engines()
            if alive(p.pid) and (primary is None or p.name != primary.name)
        ]

    def info(self, process: Process, section: str = "") -> dict[str, str]:
        return info(process.address, section)

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines of a process' output, from every place that holds it."""
        for path in (self.logs / f"{name}.log", *sorted(self.dir.glob(f"**/*{name}*.log"))):
            with contextlib.suppress(OSError):
                return f"--- {path.name}\n" + "\n".join(
                    path.read_text(errors="replace").splitlines()[-lines:]
                )
        return f"--- no output of {name}"

    def output(self, name: str) -> str:
        """Everything a process has printed, over its restarts."""
        paths = {self.logs / f"{name}.log", *self.dir.glob(f"**/*{name}*.log")}
        return "".join(path.read_text(errors="replace") for path in sorted(paths) if path.exists())

    # ------------------------------------------------------------------ injecting faults

    def now(self, process: Process) -> int:
        """The present process id of this name.
        The process may have been started again since `process` was looked up.
        """
        return self.process(process.name).pid

    def kill(self, *processes: Process) -> None:
        """kill -9: send it to all before waiting for any."""
        pids = {process.name: self.now(process) for process in processes}
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        for name, pid in pids.items():
            wait_until(f"{name} is dead", lambda pid=pid: not alive(pid), 10)

    def terminate(self, process: Process, bound_s: float = 10.0) -> None:
        """Send SIGTERM, and wait for the end."""
        pid = self.now(process)
        os.kill(pid, signal.SIGTERM)
        wait_until(f"{process.name} ends after SIGTERM", lambda: not alive(pid), bound_s)

    def pause(self, process: Process) -> None:
        pid = self.now(process)
        os.kill(pid, signal.SIGSTOP)
        wait_until(
            f"{process.name} is stopped", lambda: process_state(pid) == "T", 5, every_s=0.001
        )

    def resume(self, process: Process) -> None:
        os.kill(self.now(process), signal.SIGCONT)

    def restart(self, process: Process) -> Process:
        """Run the process' own command again."""
        child = self.spawn(process.command, process.name, process.cwd)
        self.restarted[process.name] = child.pid
        if process.name in self.added:
            self.added[process.name].pid = child.pid
        return self.process(process.name)

    def wait_answers(self, process: Process, bound_s: float = START_BOUND_S) -> None:
        wait_until(
            f"{process.name} answers\n{self.tail(process.name)}",
            lambda: self.role(process),
            bound_s,
        )

    def wait_applied(
        self, process: Process, key: str, value: str, bound_s: float = START_BOUND_S
    ) -> None:
        """Wait until a strong read at the node gives `value`."""

        def same() -> bool:
            with contextlib.suppress(OSError):
                return bool(ask(process.address, "GET", key) == value.encode())
            return False

        wait_until(f"{process.name} gives {key}={value}\n{self.tail(process.name)}", same, bound_s)

    def add_engine(
        self, name: str, log_addresses: list[Address], az: str = "a", extra: list[str] | None = None
    ) -> Process:
        """Add an engine node that reaches its log nodes at `log_addresses`, such as a proxy's."""
        model = self.engines()[0].command
        shard = next(
            (part.rsplit("/", 1)[1] for part in model if part.startswith("txlog://")), "shard-0"
        )
        port = free_ports(1)
        log = "txlog://" + ",".join(f"{host}:{p}" for host, p in log_addresses) + f"/{shard}"
        command = [
            sys.executable,
            "-m",
            "memstore",
            "server",
            "--port",
            str(port),
            "--az",
            az,
            "--log",
            log,
        ]
        command += ["--set", "enable-debug-command=yes", *(extra or [])]
        child = self.spawn(command, name)
        process = Process(
            name, "engine", az, child.pid, "127.0.0.1", port, None, command, str(REPOSITORY)
        )
        self.added[name] = process
        self.wait_answers(process)
        return process

    def log_status(self) -> dict[str, LogStatus]:
        """The output of `txlog status` for every living log node, by name."""
        nodes = {f"{p.host}:{p.port}": p.name for p in self.log_nodes() if alive(p.pid)}
        done = self.txlog("status", *nodes, bound_s=20)
        rows = log_status(done.stdout)
        if not rows:
            raise AssertionError(
                f"`txlog status` gave no rows: {done.stdout[:500]} {done.stderr[:500]}"
            )
        return {nodes[row.address]: row for row in rows if row.address in nodes}

    def txlog(self, *args: str, bound_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `txlog ...` and capture its output."""
        command = [sys.executable, "-m", "txlog", *args]
        return subprocess.run(
            command,
            cwd=TREE,
            env=self.environment(),
            text=True,
            capture_output=True,
            timeout=bound_s,
            check=False,
        )


@dataclass
class LogStatus:
    """One row of `txlog status`."""

    address: str
    last: int  # position; -1 when the node does not state it
    committed: int
    state: str  # "good", or what is wrong


def log_status(text: str) -> list[LogStatus]:
    """The rows of `txlog status`' table, by the names of its columns."""
    found: list[LogStatus] = []
    names: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃|]", line)[1:-1]]
        if "address" in cells and "state" in cells:
            names = cells
        elif names and len(cells) == len(names):
            row = dict(zip(names, cells, strict=True))
            last, committed = row["last"].partition("@")[0], row.get("committed", "")
            if ":" in row["address"]:
                found.append(
                    LogStatus(
                        row["address"],
                        int(last) if last.isdigit() else -1,
                        int(committed) if committed.isdigit() else -1,
                        row["state"],
                    )
                )
            elif row["state"] and found:
                found[-1].state += " " + row["state"]  # a long text continues in the next line
    return found


class PlainRedis:
    """A plain redis-server with the few methods that the workload needs, to test the tools."""

    def __init__(self, *args: str) -> None:
        self.root = scratch("redis")
        self.port = free_ports(1)
        self.args = list(args)
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            "redis-server",
            "--port",
            str(self.port),
            "--dir",
            str(self.root),
            "--save",
            "",
            *self.args,
        ]
        self.child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
        )
        wait_until("redis-server answers", lambda: _pong(("127.0.0.1", self.port)), 10)

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def __enter__(self) -> PlainRedis:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def addresses(self) -> list[Address]:
        return [("127.0.0.1", self.port)]


def _pong(address: Address) -> bool:
    with contextlib.suppress(OSError):
        return bool(ask(address, "PING") == b"PONG")
    return False
