"""Settings, addresses and the data folder: which values are refused, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from memstore.config import load as load_engine
from memstore.node.process import NodeStartError, read_addresses
from tests.ports import free_port
from txlog.cli import app
from txlog.client import AddressError, LogAddress
from txlog.config import ConfigError, load
from txlog.server.identity import DataFolder, FolderError, Identity, read_identity
from txlog.server.logs import StoreRefused, open_store
from txlog.trust import check_callee


@pytest.mark.parametrize(
    ("text", "nodes", "log"),
    [
        ("txlog://b:2,a:1/shard-7", (("a", 1), ("b", 2)), "shard-7"),
        ("txlog://a", (("a", 7401),), "shard-0"),
        ("txlog://[::1]:9,b:2/x", (("::1", 9), ("b", 2)), "x"),
    ],
)
def test_addresses(text: str, nodes: tuple[tuple[str, int], ...], log: str) -> None:
    address = LogAddress.parse(text)
    assert (address.nodes, address.log, address.embedded) == (nodes, log, False)
    assert LogAddress.parse(str(address)) == address


def test_an_embedded_address() -> None:
    address = LogAddress.parse("embedded:/var/lib/x")
    assert address.embedded
    assert address.folder == Path("/var/lib/x")
    assert LogAddress.parse("embedded:rel/ative").folder == Path("rel/ative")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "redis://a",
        "embedded:",
        "txlog://",
        "txlog://a:x/y",
        "txlog://a:99999/y",
        "txlog://a/../../etc",
        "txlog://a/A",
        "txlog://a,a/x",
        "txlog://::1/x",
    ],
)
def test_addresses_that_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        LogAddress.parse(text)


def test_settings_from_a_file_and_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    file.write_text('az = "b"\nport = 9000\nsegment-bytes = 16777216\n')
    config = load(file, {"data": tmp_path / "data", "port": 9001, "bind": None})
    assert (config.az, config.port, config.segment_bytes, config.bind) == (
        "b",
        9001,
        16 << 20,
        "127.0.0.1",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('az = "a"\nport = "x"', "'port' must be a whole number"),
        ('az = "a"\nport = true', "'port' must be a whole number"),
        ('az = "a"\nporrt = 1', "there is no setting 'porrt'"),
        (
            'az = "a"\nsegment-bytes = 4194304',
            "'segment-bytes' must be a whole number from 8388608",
        ),
        ('az = "a=b"', "'az'"),
        ("az = ", "is not TOML"),
        ("", "'az' is not set"),
        ('az = "a"\nbind = "0.0.0.0"', "--secret-file"),
        ('az = "a"\nsecret-file = "/nonexistent"', "cannot be read"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "log.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(file, {"data": tmp_path / "data"})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wider_door_needs_a_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("short")
    with pytest.raises(ConfigError, match="at least"):
        load(None, {"az": "a", "data": tmp_path, "bind": "0.0.0.0", "secret_file": secret})
    secret.write_text("long enough to be a secret\n")
    config = load(None, {"az": "a", "data": tmp_path, "bind": "0.0.0.0", "secret_file": secret})
    assert config.secret == b"long enough to be a secret"
    assert "long enough" not in repr(config)


def test_a_folder_keeps_its_identity_and_is_locked(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path / "data")
    folder.write(Identity("00" * 16, "a", 1, ["a=h:1"], []))
    folder.make_log_folder("shard-0")
    folder.add_log("shard-0")
    with pytest.raises(FolderError, match="in use"):
        DataFolder.open(tmp_path / "data")
    folder.close()
    again = DataFolder.open(tmp_path / "data")
    assert again.identity == Identity("00" * 16, "a", 1, ["a=h:1"], ["shard-0"])
    again.close()


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match="not ours"):
        DataFolder.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_flipped_bit_in_the_identity_is_a_lost_disk(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    folder.write(Identity("ab" * 16, "a", 1, ["a=h:1"], []))
    folder.close()
    file = tmp_path / "node.json"
    file.write_text(file.read_text().replace("ab" * 16, "ac" + "ab" * 15))
    with pytest.raises(FolderError, match="checksum"):
        read_identity(tmp_path)


def test_a_log_whose_folder_is_gone_is_not_a_new_log(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    folder.make_log_folder("shard-0")
    folder.add_log("shard-0")
    folder.log_folder("shard-0").rmdir()
    folder.close()
    again = DataFolder.open(tmp_path)
    with pytest.raises(StoreRefused, match="is gone"):
        open_store(again, "shard-0", 64 << 10, 0)
    assert not again.log_folder("shard-0").exists()
    again.close()


REMOTE = ("10.0.0.1:7401", "log-a:7401", "[fe80::1]:7401", "0.0.0.0:7401")
COMMANDS = (
    ("init",),
    ("status",),
    ("health",),
    ("replace-node", "--lost", "127.0.0.1:1", "--new", "127.0.0.1:2"),
)


@pytest.mark.parametrize("remote", REMOTE)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_tool_without_a_secret_calls_this_machine_only(
    command: tuple[str, ...], remote: str
) -> None:
    """Otherwise the tool would believe any process that answers there."""
    result = CliRunner().invoke(app, [*command, remote])
    assert result.exit_code == 2
    assert "is not on a loopback address: that needs --secret-file" in result.output


@pytest.mark.parametrize("option", ["--lost", "--new"])
def test_both_ends_of_a_replacement_are_looked_at(option: str) -> None:
    words = [
        "replace-node",
        "--lost",
        "127.0.0.1:1",
        "--new",
        "127.0.0.1:2",
        "127.0.0.1:3",
        option,
        "10.0.0.1:1",
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "log node 10.0.0.1 is not on a loopback address" in result.output


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_trusted_without_a_secret(host: str) -> None:
    check_callee([host], None, False, "--without-secret")


def test_an_operator_can_trust_a_network() -> None:
    check_callee(["10.0.0.1"], None, True, "--without-secret")
    check_callee(["10.0.0.1"], b"a secret of some length", False, "--without-secret")
    result = CliRunner().invoke(app, ["status", "--without-secret", f"localhost:{free_port()}"])
    assert result.exit_code == 1
    assert "no majority" in result.output


@pytest.mark.parametrize(
    ("settings", "refused"), [({}, True), ({"log-without-secret": True}, False)]
)
def test_an_engine_node_without_a_secret_uses_this_machine_only(
    settings: dict[str, bool], refused: bool
) -> None:
    config = load_engine(
        None, {"log": "txlog://127.0.0.1:1,10.0.0.1:1,localhost:1/shard-0", **settings}
    )
    if refused:
        with pytest.raises(
            NodeStartError,
            match=r"log node 10\.0\.0\.1 is not on a loopback address.*log-without-secret = yes "
            r"allows it",
        ):
            read_addresses(config)
    else:
        assert read_addresses(config)[1] is None
