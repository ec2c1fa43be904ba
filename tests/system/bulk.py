"""Loads millions of string keys fast: MSET in large pipelined batches over one socket.

Decides: names, values, batch sizes.
Must not know: which server. Names are `key:` and 16 digits (20 bytes). `redis-benchmark` makes the
same form from `key:0000__rand_int__`, so a benchmark's random keys hit the loaded ones.
Runs as a program too: `python -m tests.system.bulk HOST PORT COUNT`.
"""

from __future__ import annotations

import sys
import time

from tests.system.client import Address, Blocking, ReplyError

KEYS_A_COMMAND = 50
COMMANDS_IN_FLIGHT = 40


def name(number: int) -> str:
    return f"key:{number:016d}"


def load(address: Address, count: int, value_bytes: int = 100, start: int = 0) -> float:
    """Load `count` keys; the seconds until all are acknowledged. A refused batch raises."""
    begun = time.monotonic()
    value = b"$%d\r\n%b\r\n" % (value_bytes, b"x" * value_bytes)
    with Blocking(address, timeout=120.0) as connection:
        in_flight = 0
        for first in range(start, start + count, KEYS_A_COMMAND):
            numbers = range(first, min(first + KEYS_A_COMMAND, start + count))
            parts = [b"*%d\r\n$4\r\nMSET\r\n" % (1 + 2 * len(numbers))]
            parts += [b"$20\r\nkey:%016d\r\n%b" % (n, value) for n in numbers]
            connection.sock.sendall(b"".join(parts))
            in_flight += 1
            if in_flight >= COMMANDS_IN_FLIGHT:
                _accepted(connection)
                in_flight -= 1
        for _ in range(in_flight):
            _accepted(connection)
    return time.monotonic() - begun


def _accepted(connection: Blocking) -> None:
    reply = connection.receive()
    if isinstance(reply, ReplyError):
        raise reply


if __name__ == "__main__":
    host, port, count = sys.argv[1:4]
    took = load((host, int(port)), int(count))
    print(f"{count} keys in {took:.1f} s, {int(count) / took:.0f} keys/s")
