"""All errors of a command line or a settings file: one line, and the exit code for it."""

from __future__ import annotations

import socket
import sys
import tomllib
from pathlib import Path

import pytest

from memstore import cli
from memstore.config import load
from tests.ops.running import memstore
from tests.ports import free_ports


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["memstore", *args])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


NODE = ("server", "--az", "a", "--log", "txlog://h1:7401,h2:7401,h3:7401/shard-0")

WRONG = [
    (("frobnicate",), "No such command 'frobnicate'"),
    (("server", "--nonsense"), "No such option"),
    (("server", "--az", "a"), "'log' is not set"),
    (("server", "--log", "embedded:x"), "'az' is not set"),
    ((*NODE, "--port", "many"), "port = 'many'"),
    ((*NODE, "--port", "70000"), "between 0 and 65535"),
    ((*NODE, "--lease-ms", "3"), "lease-ms (milliseconds) = '3'"),
    ((*NODE, "--set", "lease-ms"), "write --set name=value"),
    ((*NODE, "--set", "leese-ms=3"), "did you mean 'lease-ms'?"),
    (
        (*NODE, "--config", "missing.toml"),
        "missing.toml: cannot be read: No such file or directory",
    ),
    ((*NODE, "--password-file", "missing"), "secret file missing cannot be read"),
    (("local", "--port", "0"), "--port"),
    (("local", "--replicas", "-1"), "--replicas"),
    (("local", "--lease-ms", "soon"), "lease-ms"),
    (("local", "--port", "65534"), "would need port 65536"),
    (("local", "--port", "7400"), "both use port 7401"),
    (("status", "host:port:port"), "write an IPv6 address as [address]:port"),
    (("health", ":1"), "names no host"),
]


@pytest.mark.parametrize(
    ("args", "told"),
    WRONG,
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_a_wrong_setting(
    args: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *args) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("memstore: ")
    assert error.count("\n") == 1, "one line"


WRONG_FOR_THE_NODE = [
    ((*NODE, "--secret-file", "missing"), "missing"),
    (NODE, "log node h1 is not on a loopback address: that needs --secret-file"),
    (
        ("server", "--az", "a", "--log", "txlog://127.0.0.1,10.0.0.1/shard-0"),
        "log node 10.0.0.1 is not on a loopback address",
    ),
    (("server", "--az", "a", "--log", "redis://h1"), "is not the address of a log"),
    (("server", "--az", "a", "--log", "txlog://h1:x/shard-0"), "is not a port"),
]


@pytest.mark.system
@pytest.mark.parametrize(
    ("args", "told"),
    WRONG_FOR_THE_NODE,
    ids=["secret", "no secret", "one node elsewhere", "scheme", "port"],
)
def test_a_setting_that_the_node_refuses(args: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """Runs in a separate process: a node that starts sets up its trace for the whole process."""
    result = memstore(*args, cwd=tmp_path)
    assert result.returncode == 2
    assert told in result.stderr
    assert result.stderr.startswith("memstore: ")
    assert result.stderr.count("\n") == 1, "one line"


FILES = [
    ("port = ", "not valid TOML"),
    ("lease-ms = 'a while'", "lease-ms (milliseconds)"),
    ("lease-ms = 5", "between 100 and 60000"),
    ("cluster-enabled = 3", "cluster-enabled"),
    ("colour = 'red'", "unknown setting 'colour'"),
    ("max-entry-bytes = '64mb'\nmax-uncommitted-bytes = '1mb'", "max-entry-bytes"),
]


@pytest.mark.parametrize(("text", "told"), FILES)
def test_a_wrong_file(
    text: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "memstore.toml"
    path.write_text(text)
    assert run(monkeypatch, *NODE, "--config", str(path)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert str(path) in error or "max-entry-bytes" in told
    assert error.count("\n") == 1, "one line"


def test_a_secret_is_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "memstore.toml"
    path.write_text("requirepass = 123456")
    assert run(monkeypatch, *NODE, "--config", str(path)) == 2
    assert "123456" not in capsys.readouterr().err


@pytest.mark.system
def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = memstore(
            "server", "--port", str(port), "--az", "a", "--log", f"embedded:{tmp_path / 'data'}"
        )
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.system
def test_a_folder_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    result = memstore(
        "server", "--port", str(free_ports(1)), "--az", "a", "--log", f"embedded:{tmp_path}"
    )
    assert result.returncode == 1
    assert "not ours" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    assert run(monkeypatch, "local", "--dir", str(tmp_path), "--reset") == 1
    assert "not ours" in capsys.readouterr().err
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_folder_that_is_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_text("")
    for folder in (path, path / "below"):
        assert run(monkeypatch, "local", "--dir", str(folder)) == 1
        assert "is a file, or lies below one" in capsys.readouterr().err


def test_the_printed_settings_are_a_settings_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memstore", "settings"])
    cli.main()
    text = capsys.readouterr().out
    lines = [
        line.removeprefix("# ")
        for line in text.splitlines()
        if line.startswith("# ") and " = " in line and line[2].islower()
    ]
    settings = "\n".join(line for line in lines if line.split(" = ")[0].replace("-", "").isalnum())
    assert "lease-ms = 1000" in settings
    path = tmp_path / "memstore.toml"
    path.write_text(settings)
    assert tomllib.loads(settings)
    assert load(path).lease_ms == 1000


def test_secrets_are_made_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret"
    monkeypatch.setattr(sys, "argv", ["memstore", "secret", str(path)])
    cli.main()
    first = path.read_text()
    assert len(first.strip()) == 64
    assert path.stat().st_mode & 0o077 == 0
    cli.main()
    assert path.read_text() == first
    assert "is there already" in capsys.readouterr().out
    assert [*tmp_path.iterdir()] == [path]


def test_nothing_to_do_is_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch) == 2
    out = capsys.readouterr()
    assert "status" in out.out + out.err
