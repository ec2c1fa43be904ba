"""A real redis-server 7.0 beside the tests: started on a free port, spoken to in plain bytes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port


def encode(argv: tuple[bytes, ...]) -> bytes:
    return b"*%d\r\n%b" % (
        len(argv),
        b"".join([b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv]),
    )


class RawClient:
    """Commands in, encoded replies out."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._buffer = b""

    def run(self, *argv: bytes) -> bytes:
        self._socket.sendall(encode(argv))
        return self._reply()

    def pipeline(self, commands: list[tuple[bytes, ...]]) -> list[bytes]:
        self._socket.sendall(b"".join(map(encode, commands)))
        return [self._reply() for _ in commands]

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _more(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("redis-server closed the connection")
        self._buffer += data

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        return self._take(self._buffer.index(b"\r\n") + 2)

    def _reply(self) -> bytes:
        line = self._line()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=" and rest != b"-1":
            return line + self._take(int(rest) + 2)
        if kind in b"*~>%" and rest != b"-1":
            return line + b"".join(
                [self._reply() for _ in range(int(rest) * (2 if kind == b"%" else 1))]
            )
        return line

    def close(self) -> None:
        self._socket.close()


def _start(binary: str, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(5):  # between finding a free port and using it somebody else may take it
        port = free_port()
        options = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--enable-debug-command",
            "yes",
        ]
        process = subprocess.Popen(
            [binary, *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            if process.poll() is not None:
                break
            try:
                client = RawClient(port)
            except OSError:
                time.sleep(0.05)
                continue
            if client.run(b"PING") == b"+PONG\r\n":
                client.close()
                return process, port
        process.kill()
        process.wait()
    raise RuntimeError("redis-server does not start")


@contextmanager
def real_redis(folder: Path) -> Iterator[int]:
    """The port of a running server; without one: skips, or fails on the build server."""
    binary = shutil.which("redis-server")
    if binary is None:
        reason = "redis-server is not installed: comparing with the real one needs it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    version = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, check=True
    ).stdout
    if "v=7.0." not in version:
        pytest.skip(f"the redis-server installed is not a 7.0: {version.strip()}")
    process, port = _start(binary, folder)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)
