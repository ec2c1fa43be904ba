"""The log node as a process: exit codes, messages, kill -9 and restart, the command line."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.txlog.service.harness import Reader, committed, eventually, win
from txlog.client import LogAddress, LogClient

SETTINGS = "segment-bytes = 8388608\n"


def txlog(*arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "txlog", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "COLUMNS": "400"},  # `txlog status` shows every column
    )


class Servers:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "log.toml").write_text(SETTINGS)
        self.ports: list[int] = []
        self.processes: list[subprocess.Popen[str]] = []

    def command(self, index: int) -> list[str]:
        options = [
            "--az",
            "abc"[index],
            "--port",
            self.ports[index],
            "--data",
            self.folder / f"node{index}",
            "--config",
            self.folder / "log.toml",
            "--log-format",
            "json",
        ]
        return [sys.executable, "-m", "txlog", "server", *map(str, options)]

    def start(self, index: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(self.command(index), stderr=subprocess.PIPE, text=True)
        if index < len(self.processes):
            self.processes[index] = process
        else:
            self.processes.append(process)
        return process

    def listening(self, index: int) -> None:
        """Wait until it listens; the loop's `eventually` would do, but some tests have no loop."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.ports[index])) == 0:
                    return
            assert self.processes[index].poll() is None, self.processes[index].communicate()
            time.sleep(0.02)

    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path)
    yield servers
    servers.stop()


@pytest.mark.system
async def test_three_processes_kill_nine_and_back(servers: Servers) -> None:
    servers.ports = [free_port() for _ in range(3)]
    for index in range(3):
        servers.start(index)
    made = txlog("init", *servers.addresses())
    assert made.returncode == 0, made.stderr
    assert "made of 3 log nodes" in made.stdout
    again = txlog("init", *servers.addresses())
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)
    client = LogClient(
        LogAddress.parse(f"txlog://{','.join(servers.addresses())}/shard-0"),
        "a",
        random.Random(1),
        create=True,
    )
    await client.start()
    writer = await win(client, lease_ms=3000)
    lost: list[str] = []
    writer.on_lost = lost.append
    await committed(writer, [b"%d" % number for number in range(50)])
    servers.processes[1].send_signal(signal.SIGKILL)
    servers.processes[1].communicate()
    await committed(writer, [b"%d" % number for number in range(50, 100)])
    servers.start(1)
    await eventually(lambda: all(state.connected for state in client.node_states()), 60)
    await committed(writer, [b"last"])
    entries = await Reader().read(client).until(writer.committed)
    assert [entry.payload for entry in entries[1:]] == [b"%d" % number for number in range(100)] + [
        b"last"
    ]
    assert lost == []
    last = writer.committed
    await client.close()
    status = txlog("status", *servers.addresses())
    assert status.returncode == 0
    assert status.stdout.count(f"{last}@1") == 3, status.stdout
    assert status.stdout.count("good") == 3
    for process in servers.processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in servers.processes] == [0, 0, 0]
    down = txlog("status", *servers.addresses())
    assert down.returncode == 1
    assert "no majority" in down.stderr
    check_tools(servers.folder / "node0", last)


def check_tools(folder: Path, last: int) -> None:
    shown = txlog("inspect", folder)
    assert shown.returncode == 0
    assert shown.stdout.count(" DATA ") == last - 1
    assert shown.stdout.count(" LEADERSHIP ") == 1
    assert txlog("verify", folder).returncode == 0
    (segment,) = (folder / "logs" / "shard-0" / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    at = data.rindex(b"last")
    data[at] ^= 1
    segment.write_bytes(data)
    wrong = txlog("verify", folder)
    assert wrong.returncode == 1
    assert f"position {last}" in wrong.stdout
    assert segment.name in wrong.stdout


def one_line(process: subprocess.CompletedProcess[str]) -> str:
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1, process.stderr
    return lines[0]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        ended = txlog(
            "server", "--az", "a", "--port", sock.getsockname()[1], "--data", tmp_path / "n"
        )
    assert ended.returncode == 3
    assert "the port is taken" in one_line(ended)


def test_folders_that_cannot_be_used(tmp_path: Path, servers: Servers) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "precious").write_text("x")
    ended = txlog("server", "--az", "a", "--port", 0, "--data", foreign)
    assert ended.returncode == 4
    assert "not ours" in one_line(ended)
    (tmp_path / "file").write_text("x")
    ended = txlog("server", "--az", "a", "--port", 0, "--data", tmp_path / "file")
    assert ended.returncode == 4
    one_line(ended)
    servers.ports = [free_port()]
    servers.start(0)
    servers.listening(0)
    ended = txlog("server", "--az", "a", "--port", 0, "--data", tmp_path / "node0")
    assert ended.returncode == 4
    assert "in use" in one_line(ended)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    ended = txlog("server", "--az", "a", "--port", 0, "--data", tmp_path / "n")
    assert ended.returncode == 4
    one_line(ended)


def test_wrong_settings(tmp_path: Path) -> None:
    for arguments, words in (
        (("--port", 0, "--data", tmp_path / "n"), "'az' is not set"),
        (("--az", "a", "--data", tmp_path / "n", "--bind", "0.0.0.0"), "--secret-file"),
        (
            ("--az", "a", "--data", tmp_path / "n", "--secret-file", tmp_path / "none"),
            "cannot be read",
        ),
    ):
        ended = txlog("server", *arguments)
        assert ended.returncode == 2
        assert re.search(words, one_line(ended))
    assert not (tmp_path / "n").exists()
