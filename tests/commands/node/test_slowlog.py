"""SLOWLOG: what is kept of slow commands."""

from __future__ import annotations

from memstore.engine.slowlog import MAX_ARGUMENT_BYTES, MAX_ARGUMENTS
from tests.commands.node.harness import NOW_MS, Client

NOW_S = NOW_MS // 1000


def note(client: Client, us: int, *argv: bytes) -> None:
    engine = client.node.engine
    engine.slowlog.note(list(argv), us, client.node.wall_ms, client.session, engine.settings)


def test_slow_commands_newest_first(client: Client) -> None:
    client.line("CLIENT SETNAME me")
    for i in range(12):
        note(client, 10_000 + i, b"GET", b"k%d" % i)
    assert client.ask("SLOWLOG LEN") == 12
    entries = client.ask("SLOWLOG GET")
    assert len(entries) == 10
    assert entries[0] == [11, NOW_S, 10_011, ["GET", "k11"], client.session.address, "me"]
    assert [entry[0] for entry in client.ask("SLOWLOG GET 3")] == [11, 10, 9]
    assert len(client.ask("SLOWLOG GET -1")) == 12
    assert client.ask("SLOWLOG RESET") == "OK"
    note(client, 10_000, b"PING")
    assert [entry[0] for entry in client.ask("SLOWLOG GET")] == [12], "numbers go on after a reset"


def test_quick_commands_are_not_kept(client: Client) -> None:
    note(client, 9_999, b"GET", b"k")
    client.line("CONFIG SET slowlog-log-slower-than -1")
    note(client, 10**9, b"GET", b"k")
    assert client.ask("SLOWLOG LEN") == 0
    client.line("CONFIG SET slowlog-log-slower-than 0")
    note(client, 0, b"GET", b"k")
    assert client.ask("SLOWLOG LEN") == 1


def test_slowlog_is_bounded(client: Client) -> None:
    client.line("CONFIG SET slowlog-max-len 2")
    for _ in range(5):
        note(client, 10_000, *[b"x" * 500] * 100)
    assert client.ask("SLOWLOG LEN") == 2
    argv = client.ask("SLOWLOG GET")[0][3]
    assert len(argv) == MAX_ARGUMENTS
    assert argv[0] == "x" * MAX_ARGUMENT_BYTES + "... (372 more bytes)"
    assert argv[-1] == "... (69 more arguments)"
    client.line("CONFIG SET slowlog-max-len 0")
    note(client, 10_000, b"GET")
    assert client.ask("SLOWLOG LEN") == 0
