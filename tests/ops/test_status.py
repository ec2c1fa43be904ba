"""`memstore status` where there is nothing to show, or only a part; its JSON form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from memstore import cli
from memstore.ops import status
from memstore.ops.status import PASSWORD_NEEDED, NothingAnswers, Targets, find_targets, why_nothing
from memstore.ops.status_screen import EngineAnswer, Screen, headline
from memstore.ops.topology import TOPOLOGY
from tests.ports import free_ports
from txlog.tools.admin import NodeStatus

LOCAL = ("127.0.0.1", 6379)


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["memstore", *args])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_name_that_does_not_exist_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Earlier, the message was "Unknown error -2"."""
    for command in ("status", "health"):
        assert run(monkeypatch, command, "nonsense.invalid") == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.startswith("memstore: nonsense.invalid:6379 ")
        assert "Unknown error" not in error and error.count("nonsense.invalid") == 1


def test_nothing_at_an_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_ports(1)
    assert run(monkeypatch, "status", f"127.0.0.1:{port}") == 1
    assert (
        capsys.readouterr().err
        == f"memstore: 127.0.0.1:{port} cannot be reached: Connection refused\n"
    )


def topology(folder: Path, pid: int | None) -> None:
    row = {"name": "engine-a", "kind": "engine", "host": "127.0.0.1", "port": 7000, "pid": pid}
    row["command"] = ["a-program", "that", "does", "not", "run"]
    (folder / TOPOLOGY).write_text(json.dumps({"processes": [row]}))


def test_an_old_topology_names_no_running_cluster(tmp_path: Path) -> None:
    """Earlier, it gave six rows of errors."""
    assert find_targets([], tmp_path).assumed, "no cluster ever ran here"
    for pid in (None, 2**22 - 1, 1):  # stopped, killed, and now the number of another program
        topology(tmp_path, pid)
        assert find_targets([], tmp_path) == Targets([LOCAL], [], {}, assumed=True)


def test_no_cluster_runs_here(tmp_path: Path) -> None:
    refused = [EngineAnswer(LOCAL, error="127.0.0.1:6379 cannot be reached: Connection refused")]
    text = why_nothing(refused, True, tmp_path)
    assert text.startswith("no cluster runs here") and "\n" not in text
    assert "no cluster" not in why_nothing(refused, False, tmp_path), "the address was given"
    other = [EngineAnswer(LOCAL, error="not a memstore node")]
    assert why_nothing(other, True, tmp_path) == "not a memstore node"


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    locked = [EngineAnswer(LOCAL, error=PASSWORD_NEEDED)]
    assert why_nothing(locked, True, tmp_path).startswith("password needed: give --password-file")
    assert str(headline([], locked, {})).startswith("password needed: give --password-file"), (
        "log nodes answer without it"
    )


SCREEN = Screen(
    [
        EngineAnswer(
            LOCAL, {"memstore_role": "primary", "log_committed": "9", "lease_left_ms": "700"}
        ),
        EngineAnswer(("127.0.0.1", 6380), {"memstore_role": "replica", "log_applied": "7"}),
        EngineAnswer(("127.0.0.1", 6381), error="127.0.0.1:6381 does not answer"),
    ],
    [NodeStatus("127.0.0.1:7401", None, "no answer")],
    {LOCAL: "engine-a"},
)


@pytest.mark.parametrize(("screen", "code"), [(SCREEN, 0), (Screen(SCREEN.engines[1:], [], {}), 1)])
def test_json(
    screen: Screen,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def look(*_: object) -> Screen:
        return screen

    monkeypatch.setattr(status, "look", look)
    assert run(monkeypatch, "status", "--json") == code
    shown = json.loads(capsys.readouterr().out)
    assert shown["primary"] == (None if code else "127.0.0.1:6379")
    *_, replica, silent = shown["engine_nodes"]
    assert (replica["role"], replica["lag"]) == ("replica", 0 if code else 2)
    assert silent["error"] == "127.0.0.1:6381 does not answer" and "role" not in silent


def test_watch_shows_a_screen_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = []

    async def look(*_: object) -> Screen:
        looks.append(1)
        if len(looks) == 3:
            raise NothingAnswers("gone")
        return SCREEN

    monkeypatch.setattr(status, "look", look)
    monkeypatch.setattr(status, "WATCH_S", 0)
    assert run(monkeypatch, "status", "--watch", "--json") == 1
    out = capsys.readouterr()
    assert len(out.out.splitlines()) == 2, "one line a look, for programs"
    assert out.err == "memstore: gone\n"
