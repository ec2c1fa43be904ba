"""Errors of the program in a real process.

The tests check the answer to the client, the end of the process, and what a restarted process finds
in the log. The child process plants the errors in its own command table, in the build that this
process runs.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node.harness import encoded
from tests.node.processes import until
from tests.ports import free_port

PLANT = """
import memstore.node.process as process
from memstore.cli import main

def append(context, argv):
    context.database.put(argv[1], b"half")
    context.effect(b"SET", argv[1], b"half")
    raise RuntimeError("planted")

def strlen(context, argv):
    raise RuntimeError("planted")

made = process.EngineNode

def planted(*args):
    node = made(*args)
    node.engine.table[b"APPEND"].handler, node.engine.table[b"STRLEN"].handler = append, strlen
    return node

process.EngineNode = planted
main()
"""


class Server:
    """A node with the embedded log and the planted errors."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = [
            sys.executable,
            "-c",
            PLANT,
            "server",
            "--az",
            "a",
            "--port",
            str(self.port),
            "--log",
            f"embedded:{folder / 'log'}",
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until("the node leads", lambda: self.ask((b"SET", b"ready", b"1")) == b"+OK\r\n")

    def ask(self, *commands: tuple[bytes, ...]) -> bytes:
        """All answers until the node, or QUIT, closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.sendall(b"".join([encoded(*command) for command in commands]))
            sock.shutdown(socket.SHUT_WR)
            found = b""
            while data := sock.recv(65536):
                found += data
            return found


def end(server: Server) -> None:
    server.process.terminate()
    assert server.process.wait(20) == 0


@pytest.mark.system
def test_an_error_in_a_read_costs_the_client_and_one_in_a_write_or_in_exec_ends_the_process(
    tmp_path: Path,
) -> None:
    before = ((b"SET", b"a", b"1"), (b"GET", b"a"))
    server = Server(tmp_path)
    assert server.ask(*before, (b"STRLEN", b"a"), (b"SET", b"b", b"2")) == b"+OK\r\n$1\r\n1\r\n"
    assert server.ask((b"EXISTS", b"b")) == b":0\r\n" and server.process.poll() is None
    assert (
        server.ask(*before, (b"APPEND", b"a", b"x"), (b"SET", b"b", b"2")) == b"+OK\r\n$1\r\n1\r\n"
    )
    assert server.process.wait(20) == 1
    server = Server(tmp_path)
    transaction = ((b"MULTI",), (b"DECRBY", b"c", b"100"), (b"APPEND", b"a", b"x"), (b"EXEC",))
    assert (
        server.ask((b"SET", b"c", b"1000"), *transaction) == b"+OK\r\n+OK\r\n" + 2 * b"+QUEUED\r\n"
    )
    assert server.process.wait(20) == 1
    server = Server(tmp_path)
    assert server.ask((b"MGET", b"a", b"b", b"c")) == b"*3\r\n$1\r\n1\r\n$-1\r\n$4\r\n1000\r\n"
    end(server)
