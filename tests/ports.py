"""Free TCP ports for tests.

Decides: which ports a test process uses. All are below the range from which the kernel takes the
ports of outgoing connections. So a connection of another test cannot take a port between the check
and its use. One process gives no port twice. The workers of pytest-xdist share no port.
Must not know: what listens there.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

FIRST, LAST = 12_000, 31_999
WORKERS = 8
BLOCK = 4


def _blocks() -> Iterator[int]:
    """Every block of this process once, in a random order.
    Two test runs at the same time then rarely try the same block.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    size = (LAST + 1 - FIRST) // WORKERS
    first = FIRST + worker * size
    bases = list(range(first, first + size - BLOCK + 1, BLOCK))
    random.Random(os.urandom(8)).shuffle(bases)
    yield from bases


_left = _blocks()
_given: set[int] = set()


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> int:
    """The first of `count` consecutive free ports. Raises `RuntimeError` when there are none."""
    for base in _left:
        ports = range(base, base + count)
        if ports.stop <= LAST + 1 and _given.isdisjoint(ports) and all(map(_is_free, ports)):
            _given.update(ports)
            return base
    raise RuntimeError(f"no {count} consecutive free ports")


def free_port() -> int:
    return free_ports(1)
