"""MONITOR: its lines, and what they do not show."""

from __future__ import annotations

import pytest

from memstore.engine import monitor
from tests.commands.node.harness import Client, Node


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ([b"AUTH", b"p"], [b"AUTH", b"(redacted)"]),
        ([b"auth", b"u", b"p"], [b"auth", b"(redacted)", b"(redacted)"]),
        (
            [b"HELLO", b"3", b"AUTH", b"u", b"p", b"SETNAME", b"n"],
            [b"HELLO", b"3", b"AUTH", b"(redacted)", b"(redacted)", b"SETNAME", b"n"],
        ),
        ([b"HELLO", b"3", b"SETNAME", b"n"], [b"HELLO", b"3", b"SETNAME", b"n"]),
        (
            [b"CONFIG", b"SET", b"hz", b"1", b"RequirePass", b"p"],
            [b"CONFIG", b"SET", b"hz", b"1", b"RequirePass", b"(redacted)"],
        ),
        ([b"CONFIG", b"GET", b"requirepass"], [b"CONFIG", b"GET", b"requirepass"]),
    ],
)
def test_passwords_are_never_shown(argv: list[bytes], shown: list[bytes]) -> None:
    assert monitor.redacted(argv) == shown
    assert b'"p"' not in monitor.line(0, 0, "x", argv)


def test_a_monitor_line_is_redis_line() -> None:
    argv = [b"SET", b'a b"\x00\x01\n', b"x\\y\xff"]
    line = monitor.line(1_795_354_645_833_228, 3, "127.0.0.1:54686", argv)
    assert (
        line
        == b'+1795354645.833228 [3 127.0.0.1:54686] "SET" "a b\\"\\x00\\x01\\n" "x\\\\y\\xff"\r\n'
    )


def test_monitor_registers_once(node: Node, client: Client) -> None:
    assert client.ask("MONITOR") == "OK"
    assert client.line("MONITOR") == b"", "as in Redis: a second one has no answer"
    assert node.engine.monitors == [client.session]
    assert not client.session.fast_path_ok
