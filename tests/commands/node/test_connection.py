"""HELLO, AUTH, RESET, QUIT and CLIENT REPLY: what they make of the session."""

from __future__ import annotations

import pytest

from memstore.engine.requests import CloseSession
from memstore.engine.session import EVENTUAL, REPLY_OFF, REPLY_ON, REPLY_SKIP_NEXT, STRONG
from tests.commands.node.harness import Client, Node

WRONGPASS = "-WRONGPASS invalid username-password pair or user is disabled."


def test_hello_tells_the_node_and_switches_the_protocol(node: Node, client: Client) -> None:
    assert client.line("HELLO 3").startswith(
        b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n"
        b"$5\r\nproto\r\n:3\r\n"
    )
    assert client.session.resp3
    assert client.line("CLIENT GETNAME") == b"_\r\n"
    assert client.ask("HELLO")["proto"] == 3
    assert client.line("HELLO 2").startswith(b"*14\r\n")
    assert not client.session.resp3


@pytest.mark.parametrize(
    ("role", "word"),
    [
        ("primary", "master"),
        ("replica", "replica"),
        ("candidate", "replica"),
        ("restoring", "replica"),
    ],
)
def test_hello_tells_the_role(node: Node, client: Client, role: str, word: str) -> None:
    node.engine.facts.role = role
    assert client.ask("HELLO 3")["role"] == word


def test_hello_that_fails_changes_nothing() -> None:
    node = Node(requirepass="secret")
    client = node.connect()
    assert client.ask("HELLO 3 SETNAME me").startswith(
        "-NOAUTH HELLO must be called with the client already authenticated"
    )
    assert client.ask("HELLO 3 AUTH default wrong SETNAME me") == WRONGPASS
    assert not client.session.resp3
    assert client.session.name == b""
    assert client.ask("HELLO 3 SETNAME me AUTH default secret")["proto"] == 3
    assert client.session.name == b"me"
    assert client.session.fast_path_ok


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("AUTH secret", "OK"),
        ("AUTH default secret", "OK"),
        ("AUTH wrong", WRONGPASS),
        ("AUTH default wrong", WRONGPASS),
        ("AUTH somebody secret", WRONGPASS),
        ("AUTH ''", WRONGPASS),
    ],
)
def test_auth_with_a_password(line: str, answer: str) -> None:
    client = Node(requirepass="secret").connect()
    assert not client.session.fast_path_ok
    assert client.ask(line) == answer
    assert client.session.authenticated is (answer == "OK")
    assert client.session.fast_path_ok is (answer == "OK")


def test_a_password_set_later_leaves_those_who_are_in(node: Node, client: Client) -> None:
    assert client.ask("CONFIG SET requirepass later") == "OK"
    assert client.session.authenticated
    assert not node.connect().session.authenticated


def test_reset_makes_the_connection_new(node: Node, client: Client) -> None:
    session = client.session
    client.line("HELLO 3 SETNAME me")
    client.line("WATCH a b")
    client.line("MONITOR")
    session.multi, session.db, session.reads, session.readonly, session.reply_mode = (
        [],
        5,
        EVENTUAL,
        True,
        REPLY_OFF,
    )
    assert client.line("RESET") == b"+RESET\r\n"
    assert (session.multi, session.db, session.reads, session.readonly, session.reply_mode) == (
        None,
        0,
        STRONG,
        False,
        REPLY_ON,
    )
    assert (session.name, session.resp3, session.watched, session.monitor) == (
        b"",
        False,
        [],
        False,
    )
    assert node.engine.watched.sessions == {}
    assert node.engine.monitors == []
    assert session.fast_path_ok


def test_reset_asks_for_the_password_again() -> None:
    client = Node(requirepass="secret").connect()
    client.line("AUTH secret")
    client.line("RESET")
    assert not client.session.authenticated


def test_quit_closes_after_what_is_held(node: Node, client: Client) -> None:
    assert client.line("QUIT") == b"+OK\r\n"
    assert node.engine.requests == [CloseSession(client.session, after_replies=True)]
    assert client.session.closing
    assert not client.session.fast_path_ok


def test_client_reply_modes(client: Client) -> None:
    session = client.session
    client.line("CLIENT REPLY SKIP")
    assert session.reply_mode == REPLY_SKIP_NEXT
    client.line("CLIENT REPLY OFF")
    assert session.reply_mode == REPLY_OFF
    assert not session.fast_path_ok
    client.line("CLIENT REPLY SKIP")
    assert session.reply_mode == REPLY_OFF, "SKIP within OFF leaves it off"
    assert client.line("CLIENT REPLY ON") == b"+OK\r\n"
    assert session.fast_path_ok
