"""The folder of a local cluster: its owner, its content, and the file that shows tools which
process is which.

Decides: the layout of the folder, when it may be used, each process's command.
Must not know: how processes are started or watched.

The folder: ``memstore-local.json`` (marks the folder as ours, and holds what a later run keeps),
``lock`` (flock: one `memstore local` at a time; it holds the pid), ``topology.json``,
``txlog.toml`` (the log nodes' settings), ``requests/`` (see `node_requests`), ``logs/<name>.log``
(the output of each process), ``data/<name>/`` (a log node's data; engine nodes have none).
Invariants: topology.json is replaced, never half written. A pid in it is a process that was alive
when the file was written; null means that there is none.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

HOST: Final = "127.0.0.1"
AZS: Final = ("a", "b", "c")
LOG_NAME: Final = "shard-0"

MARK: Final = "memstore-local.json"
FORMAT: Final = 1
TOPOLOGY: Final = "topology.json"
LOCK: Final = "lock"
LOG_SETTINGS: Final = "txlog.toml"
DEFAULT_FOLDER: Final = ".memstore"
# Each log node allocates two segments ahead: 96 MiB of disk for a fresh cluster. The default of a
# log node (64 MiB) would take 384 MiB.
SEGMENT_BYTES: Final = 16 << 20
TRACE_BYTES: Final = 8 * 1024 * 1024  # a trace file longer than this is set aside at the next start


class LocalError(Exception):
    """The cluster cannot be started; one line for the operator. ``code`` is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class Process:
    """One row of topology.json. ``data`` is null for engine nodes: they keep nothing on disk."""

    name: str
    kind: str  # "log" or "engine"
    az: str
    pid: int | None
    host: str
    port: int
    data: str | None
    command: list[str]
    cwd: str
    trace: str


@dataclass(slots=True)
class Plan:
    """The operator's options. ``log_port`` 0: the port that the folder was made with, else 7401."""

    folder: Path
    port: int = 6379
    log_port: int = 0
    replicas: int = 2
    lease_ms: int = 1000
    reset: bool = False
    restart: bool = False
    config: Path | None = None
    cluster: bool = False
    # makes the compiled tree while the cluster runs; empty: the build does not change
    compile_command: list[str] = field(default_factory=list)
    compiled_tree: Path | None = None


DEFAULT_LOG_PORT: Final = 7401


class Folder:
    """The locked folder of a running local cluster."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh = True  # it has no group of log nodes yet
        self.log_port = 0
        self._lock = -1

    @staticmethod
    def open(plan: Plan) -> Folder:
        """Make, lock and check it; with ``plan.reset`` empty it first. Raises `LocalError`."""
        folder = Folder(plan.folder.absolute())
        shown = plan.folder
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            names = set(os.listdir(folder.path))
            if MARK not in names and names - {LOCK}:
                raise LocalError(
                    f"folder {shown} is not ours: it holds files and no {MARK}; give another one "
                    "with --dir"
                )
            folder._take_lock(shown)
            if plan.reset:
                folder.empty()
            folder._read_mark(shown)
            folder.choose_log_port(plan, shown)
            (folder.path / "logs").mkdir(exist_ok=True)
            (folder.path / "data").mkdir(exist_ok=True)
            (folder.path / LOG_SETTINGS).write_text(
                f"# written by memstore local\nsegment-bytes = {SEGMENT_BYTES}\n"
            )
            folder.write_mark()
        except (FileExistsError, NotADirectoryError):
            raise LocalError(f"folder {shown} is a file, or lies below one") from None
        except OSError as error:
            raise LocalError(f"folder {shown} cannot be used: {error.strerror}") from None
        return folder

    def _take_lock(self, shown: Path) -> None:
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LocalError(f"folder {shown} is in use by another 'memstore local'") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def empty(self) -> None:
        """Remove what this program made, and nothing else."""
        for name in (TOPOLOGY, MARK, LOG_SETTINGS):
            (self.path / name).unlink(missing_ok=True)
        for name in ("data", "logs", "requests"):
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)

    def _read_mark(self, shown: Path) -> None:
        path = self.path / MARK
        if not path.exists():
            return
        try:
            mark = json.loads(path.read_text())
            version, self.log_port, self.fresh = (
                mark["format"],
                int(mark["log_port"]),
                not mark["group_made"],
            )
        except (ValueError, KeyError, TypeError):
            raise LocalError(
                f"folder {shown}: {MARK} is unreadable; --reset starts again without the old data"
            ) from None
        if version != FORMAT:
            raise LocalError(f"folder {shown} has format {version}, this program reads {FORMAT}")

    def choose_log_port(self, plan: Plan, shown: Path) -> None:
        """The log nodes' addresses belong to their group, so a group keeps its ports."""
        if not self.fresh and plan.log_port not in (0, self.log_port):
            raise LocalError(
                f"the log nodes in {shown} belong to ports from {self.log_port} on: leave "
                "--log-port out, or --reset to start again without the old data",
                2,
            )
        if self.fresh:
            self.log_port = plan.log_port or DEFAULT_LOG_PORT

    def write_mark(self) -> None:
        replace(
            self.path / MARK,
            {"format": FORMAT, "log_port": self.log_port, "group_made": not self.fresh},
        )

    def group_made(self) -> None:
        self.fresh = False
        self.write_mark()

    def write_topology(self, processes: list[Process]) -> None:
        replace(
            self.path / TOPOLOGY,
            {
                "log": log_address(self.log_port),
                "processes": [asdict(process) for process in processes],
            },
        )

    def open_trace(self, process: Process) -> int:
        """Open, for appending, the file that gets a process's standard output and errors."""
        path = Path(process.trace)
        path.parent.mkdir(exist_ok=True)
        if path.exists() and path.stat().st_size > TRACE_BYTES:
            path.replace(path.with_suffix(".log.old"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def close(self) -> None:
        if self._lock >= 0:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = -1


def replace(path: Path, content: dict[str, Any]) -> None:
    """Replace a file so that readers see either the whole old or the whole new content."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def log_address(log_port: int) -> str:
    return (
        f"txlog://{','.join(f'{HOST}:{log_port + index}' for index in range(len(AZS)))}/{LOG_NAME}"
    )


def plan_processes(plan: Plan, folder: Folder) -> list[Process]:
    """Log nodes first, then engine nodes; the first engine node is the one on ``plan.port``."""
    cwd = os.getcwd()

    def process(
        name: str, kind: str, az: str, port: int, data: Path | None, command: list[str]
    ) -> Process:
        trace = folder.path / "logs" / f"{name}.log"
        return Process(
            name,
            kind,
            az,
            None,
            HOST,
            port,
            str(data) if data else None,
            [sys.executable, "-m", *command],
            cwd,
            str(trace),
        )

    found = []
    for index, az in enumerate(AZS):
        port, data = folder.log_port + index, folder.path / "data" / f"log-{az}"
        found.append(
            process(
                f"log-{az}",
                "log",
                az,
                port,
                data,
                [
                    *("txlog", "server", "--config", str(folder.path / LOG_SETTINGS)),
                    *("--az", az, "--port", str(port), "--data", str(data)),
                ],
            )
        )
    for index in range(plan.replicas + 1):
        az, round_, port = AZS[index % len(AZS)], index // len(AZS), plan.port + index
        command = [
            "memstore",
            "server",
            "--port",
            str(port),
            "--az",
            az,
            "--log",
            log_address(folder.log_port),
            "--lease-ms",
            str(plan.lease_ms),
            "--create",
        ]
        if plan.config:
            command += ["--config", str(plan.config.absolute())]
        if plan.cluster:
            command += ["--set", "cluster-enabled=yes"]
        found.append(
            process(f"engine-{az}{round_ + 1 if round_ else ''}", "engine", az, port, None, command)
        )
    return found
