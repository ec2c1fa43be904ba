"""COMMAND: the table as clients read it."""

from __future__ import annotations

import pytest

from tests.commands.node.harness import Client, Node


def test_every_row_is_told_and_documented(node: Node, client: Client) -> None:
    table = node.engine.table
    told = client.ask("COMMAND")
    assert len(told) == client.ask("COMMAND COUNT") == len(table)
    assert told == client.ask("COMMAND INFO")
    names = {row[0] for row in told} | {sub[0] for row in told for sub in row[9]}
    listed = client.ask("COMMAND LIST")
    assert names == set(listed)
    assert len(listed) == len(names)
    client.line("HELLO 3")
    docs = client.ask("COMMAND DOCS")
    assert set(docs) == {row[0] for row in told}
    for name, doc in docs.items():
        assert doc["summary"] and doc["since"] and doc["group"], name
        for sub, about in doc.get("subcommands", {}).items():
            assert about["summary"], sub


def test_info_of_one(client: Client) -> None:
    assert client.ask("COMMAND INFO get")[0][:6] == ["get", 2, ["readonly", "fast"], 1, 1, 1]
    assert client.ask("COMMAND INFO get")[0][6] == ["@read", "@string", "@fast"]
    assert client.ask("COMMAND INFO config|GET")[0][0] == "config|get"
    assert client.ask("COMMAND INFO nosuch get|x config|x") == [None, None, None]


def test_docs_leave_out_what_is_not_there(client: Client) -> None:
    assert client.ask("COMMAND DOCS ping nosuch config|get")[::2] == ["ping", "config|get"]


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("get a", ["a"]),
        ("memory usage k", ["k"]),
        ("debug object k", ["k"]),
        ("mset a 1 b 2", ["a", "b"]),
        ("MEMORY USAGE k SAMPLES 5", ["k"]),
    ],
)
def test_getkeys(client: Client, line: str, keys: list[str]) -> None:
    assert client.ask(f"COMMAND GETKEYS {line}") == keys
    assert [key for key, _ in client.ask(f"COMMAND GETKEYSANDFLAGS {line}")] == keys


def test_getkeys_errors(client: Client) -> None:
    assert client.ask("COMMAND GETKEYS ping x") == "-ERR The command has no key arguments"
    assert (
        client.ask("COMMAND GETKEYS get a b")
        == "-ERR Invalid number of arguments specified for command"
    )
    assert client.ask("COMMAND GETKEYS nosuch x") == "-ERR Invalid command specified"


def test_list_filters(client: Client) -> None:
    assert set(client.ask("COMMAND LIST FILTERBY PATTERN slowlog*")) == {
        "slowlog",
        "slowlog|get",
        "slowlog|len",
        "slowlog|reset",
        "slowlog|help",
    }
    dangerous = client.ask("COMMAND LIST FILTERBY ACLCAT dangerous")
    assert {"config|set", "debug|sleep", "info", "keys"} <= set(dangerous)
    assert "get" not in dangerous
    assert client.ask("COMMAND LIST FILTERBY MODULE json") == []


def test_resp3_uses_sets_and_maps(client: Client) -> None:
    client.line("HELLO 3")
    answer = client.line("COMMAND INFO get")
    assert answer.startswith(
        b"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
        b"~3\r\n+@read\r\n+@string\r\n+@fast\r\n~0\r\n~1\r\n%3\r\n"
    )


def test_help_of_every_container(node: Node, client: Client) -> None:
    for name in ("CLIENT", "COMMAND", "CONFIG", "DEBUG", "LATENCY", "MEMORY", "SLOWLOG"):
        lines = client.ask(f"{name} HELP")
        assert lines[0].startswith(f"{name} <subcommand>")
        told = {line.split()[0] for line in lines[1:] if line and not line.startswith(" ")}
        assert {sub.decode() for sub in node.engine.table[name.encode()].subcommands} <= told | {
            "HELP"
        }, name
