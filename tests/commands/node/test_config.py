"""Settings: the table, the file, the command line, CONFIG."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from memstore.config import ConfigError, ServerConfig, example, load
from memstore.engine.settings import CHOICE, FLAG, MEMORY, NUMBER, TABLE, Settings, parse, shown
from tests.commands.node.harness import Client, Node


def test_no_more_clients_than_the_system_has_room_for(node: Node, client: Client) -> None:
    node.config.most_clients = 60
    assert client.ask("CONFIG SET maxclients 61").endswith(
        "The operating system is not able to handle the specified number of clients, try with 60"
    )
    assert client.ask("CONFIG SET maxclients 60") == "OK"


def test_every_row_has_a_field_a_text_and_a_default_in_its_range() -> None:
    defaults = Settings()
    for row in TABLE.values():
        assert row.doc, row.name
        assert getattr(defaults, row.attribute) == row.default
        if row.kind in (NUMBER, MEMORY):
            assert row.low <= row.default <= row.high, row.name
        if row.kind == CHOICE:
            assert row.default in row.choices, row.name
        assert parse(row, shown(row, defaults)) == row.default, row.name


def test_defaults_are_what_the_design_says() -> None:
    config = ServerConfig()
    assert (
        config.lease_ms,
        config.strong_read_timeout_ms,
        config.busy_limit_ms,
        config.busy_reply_threshold_ms,
    ) == (1000, 1000, 15_000, 5000)
    assert (config.max_uncommitted_bytes, config.max_entry_bytes, config.databases) == (
        64 << 20,
        4 << 20,
        16,
    )
    assert config.bind.split()[0] == "127.0.0.1"
    assert config.protected_mode


def test_a_file_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "memstore.toml"
    path.write_text(
        'port = 7000\nmax-entry-bytes = "1mb"\nprotected-mode = false\nbind = ["127.0.0.1", '
        '"10.0.0.1"]\nlease-ms = 500\nenable-debug-command = true\n'
    )
    config = load(path, {"port": 7001, "az": "b", "lease_ms": None})
    assert (
        config.port,
        config.az,
        config.max_entry_bytes,
        config.protected_mode,
        config.lease_ms,
    ) == (7001, "b", 1 << 20, False, 500)
    assert config.bind == "127.0.0.1 10.0.0.1"
    assert config.enable_debug_command == "yes"
    assert config.config_file == str(path)
    assert config.engine.port == 7001


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lease = 3", "unknown setting 'lease'"),
        ("leas-ms = 3", "unknown setting 'leas-ms'; did you mean 'lease-ms'?"),
        (
            "lease-ms = 3",
            "lease-ms (milliseconds) = 3: argument must be between 100 and 60000 inclusive",
        ),
        (
            'lease-ms = "soon"',
            "lease-ms (milliseconds) = 'soon': argument couldn't be parsed into an integer",
        ),
        ("lease-ms = true", "lease-ms (milliseconds) = True: must be an integer"),
        ("lease-ms = 1.5", "lease-ms (milliseconds) = 1.5: must be an integer"),
        ("az = 1", "az = 1: must be a text"),
        ("protected-mode = 1", "protected-mode = 1: must be true or false"),
        (
            'max-entry-bytes = "4 mb"',
            "max-entry-bytes (bytes) = '4 mb': argument must be a memory value",
        ),
        (
            'log-level = "loud"',
            "log-level = 'loud': argument(s) must be one of the following: debug, info, warning, "
            "error",
        ),
        ("requirepass = 12345", "requirepass = ...: must be a text"),
        ("port = ", "not valid TOML"),
        # a log node's segments and frames need not hold it
        ('max-entry-bytes = "8mb"', "max-entry-bytes"),
        (
            "max-uncommitted-bytes = 1048576",
            "max-entry-bytes (4194304) is larger than max-uncommitted-bytes (1048576)",
        ),
        ("cluster-enabled = true\ndatabases = 4", "databases cannot be set with cluster-enabled"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "memstore.toml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nosuch.toml: cannot be read: No such file"):
        load(tmp_path / "nosuch.toml")


def test_the_example_file_is_the_defaults(tmp_path: Path) -> None:
    settings = "\n".join(
        line.removeprefix("# ")
        for line in example().splitlines()
        if " = " in line and line.startswith("# ")
    )
    assert set(tomllib.loads(settings)) == set(TABLE)
    path = tmp_path / "memstore.toml"
    path.write_text(settings)
    loaded = load(path)
    loaded.config_file = ""
    assert loaded == ServerConfig()


# --------------------------------------------------------------------------- CONFIG


def test_get_by_patterns(client: Client) -> None:
    assert client.ask("CONFIG GET maxmemory*") == [
        "maxmemory",
        "0",
        "maxmemory-policy",
        "noeviction",
    ]
    assert client.ask("CONFIG GET save appendonly") == ["save", "", "appendonly", "yes"]
    assert client.ask("CONFIG GET hz HZ h?") == ["hz", "10"]
    every = client.ask("CONFIG GET *")
    assert set(TABLE) <= set(every[::2])
    assert {"lua-time-limit", "hash-max-ziplist-entries"} <= set(every[::2])


def test_get_is_a_map_in_resp3(client: Client) -> None:
    client.line("HELLO 3")
    assert client.ask("CONFIG GET appendfsync") == {"appendfsync": "always"}


def test_set_changes_all_or_nothing(node: Node, client: Client) -> None:
    assert client.ask("CONFIG SET hz 20 timeout 30") == "OK"
    assert (node.config.hz, node.config.timeout) == (20, 30)
    assert client.ask("CONFIG SET hz 40 timeout x").startswith(
        "-ERR CONFIG SET failed (possibly related to argument 'timeout')"
    )
    assert client.ask("CONFIG SET hz 40 port 1").endswith(
        "argument 'port') - can't set immutable config"
    )
    assert (
        client.ask("CONFIG SET hz 40 nosuch 1")
        == "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"
    )
    assert node.config.hz == 20


def test_set_by_an_alias_and_in_units(node: Node, client: Client) -> None:
    assert (
        client.ask("CONFIG SET lua-time-limit 77 PROTO-MAX-BULK-LEN 1gb latency-tracking no")
        == "OK"
    )
    assert node.config.busy_reply_threshold_ms == 77
    assert node.config.proto_max_bulk_len == 1 << 30
    assert node.config.latency_tracking is False
    assert client.ask(
        "CONFIG GET busy-reply-threshold lua-time-limit proto-max-bulk-len latency-tracking"
    ) == [
        *(
            "busy-reply-threshold",
            "77",
            "lua-time-limit",
            "77",
            "proto-max-bulk-len",
            "1073741824",
            "latency-tracking",
            "no",
        ),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "save ''",
        "appendonly yes",
        "appendfsync always",
        "maxmemory 0",
        "maxmemory-policy noeviction",
    ],
)
def test_what_is_always_so_may_be_set_to_what_it_is(client: Client, line: str) -> None:
    assert client.ask(f"CONFIG SET {line}") == "OK"


@pytest.mark.parametrize(
    "line",
    [
        "save '900 1'",
        "appendonly no",
        "appendfsync no",
        "maxmemory 1gb",
        "maxmemory-policy allkeys-lru",
    ],
)
def test_and_to_nothing_else(client: Client, line: str) -> None:
    assert client.ask(f"CONFIG SET {line}").startswith("-ERR CONFIG SET failed")


def test_only_run_time_settings_can_be_set(node: Node, client: Client) -> None:
    for row in TABLE.values():
        answer = client.raw(b"CONFIG", b"SET", row.name.encode(), shown(row, node.config).encode())
        assert (answer == b"+OK\r\n") is row.runtime, row.name


def test_resetstat(node: Node, client: Client) -> None:
    client.line("GET a")
    client.line("CONFIG SET hz x")
    node.engine.facts.connections_received = 5
    node.engine.latency.note_call(b"GET", 10)
    assert client.ask("CONFIG RESETSTAT") == "OK"
    stats = client.info("stats commandstats errorstats latencystats")
    assert "cmdstat_get" not in stats
    assert not [name for name in stats if name.startswith(("errorstat", "latency_percentiles"))]
    assert stats["total_connections_received"] == "0"


def test_rewrite_is_refused(node: Node, client: Client) -> None:
    assert client.ask("CONFIG REWRITE") == "-ERR The server is running without a config file"
    node.config.config_file = "memstore.toml"
    assert client.ask("CONFIG REWRITE").startswith("-ERR memstore does not write its settings file")


def test_flags_are_yes_or_no() -> None:
    for row in TABLE.values():
        if row.kind == FLAG:
            assert shown(row, Settings()) in ("yes", "no")
