"""CLIENT: who is there, closing and pausing."""

from __future__ import annotations

import pytest

from memstore.engine.requests import (
    PAUSE_ALL,
    PAUSE_NONE,
    PAUSE_WRITE,
    CloseSession,
    Pause,
    Unpause,
)
from tests.commands.node.harness import NOW_MS, Client, Node


def fields(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.split())


def ids(text: str) -> list[int]:
    return [int(fields(line)["id"]) for line in text.splitlines()]


def test_list_shows_everyone_in_order(node: Node, client: Client) -> None:
    other, third = node.connect(), node.connect()
    other.line("CLIENT SETNAME other")
    third.line("HELLO 3")
    lines = client.ask("CLIENT LIST").splitlines()
    assert [fields(line)["id"] for line in lines] == ["1", "2", "3"]
    assert fields(lines[0])["cmd"] == "client|list"
    assert fields(lines[1])["name"] == "other"
    assert fields(lines[1])["cmd"] == "client|setname"
    assert (fields(lines[1])["resp"], fields(lines[2])["resp"]) == ("2", "3")
    assert ids(client.ask("CLIENT LIST ID 3 7 1")) == [3, 1]
    assert ids(client.ask("CLIENT LIST TYPE normal")) == [1, 2, 3]
    assert client.ask("CLIENT LIST TYPE pubsub") == ""


def test_info_tells_age_idle_and_state(node: Node, client: Client) -> None:
    node.wall_ms += 7_500
    client.session.last_ms = NOW_MS + 4_000
    line = fields(client.ask("CLIENT INFO"))
    assert (line["age"], line["idle"], line["flags"], line["multi"], line["db"]) == (
        "7",
        "3",
        "N",
        "-1",
        "0",
    )
    client.session.multi, client.session.no_evict, client.session.db = [], True, 3
    line = fields(client.ask("CLIENT INFO"))
    assert (line["flags"], line["multi"], line["db"]) == ("xe", "0", "3")


def test_held_replies_are_counted_as_output(node: Node, client: Client) -> None:
    client.session.held.append((5, b"+OK\r\n", 0, True))
    line = fields(client.ask("CLIENT INFO"))
    assert (line["oll"], line["omem"]) == ("1", "5")


def test_setinfo_names_the_library(client: Client) -> None:
    assert client.ask("CLIENT SETINFO LIB-NAME redis-py") == "OK"
    assert client.ask("CLIENT SETINFO lib-ver 5.0") == "OK"
    line = fields(client.ask("CLIENT INFO"))
    assert (line["lib-name"], line["lib-ver"]) == ("redis-py", "5.0")
    assert (
        client.ask("CLIENT SETINFO lib-name 'a b'")
        == "-ERR lib-name cannot contain spaces, newlines or special characters."
    )
    assert client.ask("CLIENT SETINFO foo bar") == "-ERR Unrecognized option 'foo'"


@pytest.mark.parametrize(
    ("filters", "killed"),
    [
        ("ID 2", [2]),
        ("ID 1", []),
        ("ID 1 SKIPME no", [1]),
        ("ADDR 10.0.0.3:7", [3]),
        ("LADDR 127.0.0.1:6379", [2, 3]),
        ("LADDR 127.0.0.1:6379 SKIPME no", [1, 2, 3]),
        ("TYPE normal", [2, 3]),
        ("TYPE pubsub", []),
        ("USER default", [2, 3]),
        ("USER default ADDR 10.0.0.3:7 ID 2", []),
        ("SKIPME yes", [2, 3]),
    ],
)
def test_kill_by_filters(node: Node, client: Client, filters: str, killed: list[int]) -> None:
    node.connect()
    node.connect("10.0.0.3:7")
    assert client.ask(f"CLIENT KILL {filters}") == len(killed)
    asked = [
        (request.session.id, request.after_replies)
        for request in node.engine.requests
        if isinstance(request, CloseSession)
    ]
    assert asked == [(id, id == 1) for id in killed]
    assert [id for id, session in node.engine.sessions.items() if session.closing] == killed


def test_kill_by_address_takes_oneself_too(node: Node, client: Client) -> None:
    assert client.ask(f"CLIENT KILL {client.session.address}") == "OK"
    assert node.engine.requests == [CloseSession(client.session, after_replies=True)]
    assert client.ask(f"CLIENT KILL {client.session.address}") == "-ERR No such client", (
        "it is closing already"
    )


def test_a_wrong_filter_kills_nobody(node: Node, client: Client) -> None:
    node.connect()
    assert client.ask("CLIENT KILL ID 2 FOO bar") == "-ERR syntax error"
    assert node.engine.requests == []


def test_pause_and_unpause(node: Node, client: Client) -> None:
    engine = node.engine
    assert client.ask("CLIENT PAUSE 1000 WRITE") == "OK"
    assert (engine.pause_mode, engine.pause_until_ms) == (PAUSE_WRITE, NOW_MS + 1000)
    assert engine.requests == [Pause(NOW_MS + 1000)]
    assert engine.paused(writes=True)
    assert not engine.paused(writes=False)
    assert client.ask("CLIENT UNPAUSE") == "OK"
    assert engine.pause_mode == PAUSE_NONE
    assert engine.requests[-1] == Unpause()


def test_a_second_pause_never_weakens_the_first(node: Node, client: Client) -> None:
    engine = node.engine
    client.line("CLIENT PAUSE 1000 ALL")
    client.line("CLIENT PAUSE 10 WRITE")
    assert (engine.pause_mode, engine.pause_until_ms) == (PAUSE_ALL, NOW_MS + 1000)
    client.line("CLIENT PAUSE 5000 WRITE")
    assert (engine.pause_mode, engine.pause_until_ms) == (PAUSE_ALL, NOW_MS + 5000)


def test_a_pause_that_is_over_is_forgotten(node: Node, client: Client) -> None:
    client.line("CLIENT PAUSE 1000 ALL")
    node.wall_ms += 1000
    client.line("CLIENT PAUSE 10 WRITE")
    assert (node.engine.pause_mode, node.engine.pause_until_ms) == (PAUSE_WRITE, NOW_MS + 1010)
