"""Log nodes and engine nodes as processes, for tests."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tests.ports import free_ports

WAIT_S = 30.0


def until(what: str, ready: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if answer := ready():
                return answer
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.03)


class Processes:
    """Log nodes and engine nodes of one shard, each a separate process."""

    def __init__(self, folder: Path, log_nodes: int, engines: int, *settings: str) -> None:
        self.folder = folder
        self.settings = settings
        self.password = next(
            (
                setting.partition("=")[2]
                for setting in settings
                if setting.startswith("requirepass=")
            ),
            None,
        )
        base = free_ports(log_nodes + engines)
        ports = list(range(base, base + log_nodes + engines))
        self.log_ports, self.ports = ports[:log_nodes], ports[log_nodes:]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "log.toml").write_text("segment-bytes = 8388608\n")

    def start(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.txt", "ab") as trace:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=trace, stderr=trace
            )

    def start_log_servers(self) -> None:
        for az, port in zip("abc", self.log_ports, strict=False):
            data, config = str(self.folder / f"log-{az}"), str(self.folder / "log.toml")
            self.start(
                f"log-{az}",
                "txlog",
                "server",
                "--az",
                az,
                "--port",
                str(port),
                "--data",
                data,
                "--config",
                config,
            )

    def start_log(self) -> None:
        self.start_log_servers()
        for port in self.log_ports:
            until(
                "a log node listens",
                lambda port=port: socket.create_connection(("127.0.0.1", port), 1).close() is None,
            )
        addresses = [f"127.0.0.1:{port}" for port in self.log_ports]
        subprocess.run(
            [sys.executable, "-m", "txlog", "init", *addresses],
            check=True,
            capture_output=True,
            timeout=WAIT_S,
        )

    def start_engine(self, place: int) -> None:
        address = ",".join(f"127.0.0.1:{port}" for port in self.log_ports)
        log = (
            f"txlog://{address}/shard-0"
            if self.log_ports
            else f"embedded:{self.folder / 'embedded'}"
        )
        options = [part for setting in self.settings for part in ("--set", setting)]
        self.start(
            f"engine-{place}",
            "memstore",
            "server",
            "--az",
            "abc"[place],
            "--port",
            str(self.ports[place]),
            "--log",
            log,
            "--create",
            *options,
        )

    def start_all(self) -> None:
        if self.log_ports:
            self.start_log()
        for place in range(len(self.ports)):
            self.start_engine(place)
        until("a primary", self.primary)
        for place in range(len(self.ports)):
            until(
                f"engine {place} serves",
                lambda place=place: (
                    self.client(place).info("replication")["memstore_role"]
                    in ("primary", "replica")
                ),
            )

    def client(self, place: int) -> Any:
        return redis.Redis(
            port=self.ports[place], password=self.password, socket_timeout=10, decode_responses=True
        )

    def primary(self) -> str:
        """The place of the primary as a text, so that the first place is true; empty: none."""
        for place in range(len(self.ports)):
            with contextlib.suppress(redis.RedisError, OSError):
                if self.client(place).role()[0] == "master":
                    return str(place)
        return ""

    def leader(self) -> int:
        return int(until("a primary", self.primary))

    def other(self, place: int) -> int:
        return (place + 1) % len(self.ports)

    def signal(self, name: str, number: int) -> None:
        self.running[name].send_signal(number)
        if number == signal.SIGKILL:
            self.running.pop(name).wait(WAIT_S)

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait(WAIT_S)

    def trace(self, name: str) -> str:
        return (self.folder / f"{name}.txt").read_text()
