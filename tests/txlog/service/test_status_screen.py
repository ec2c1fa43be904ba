"""`txlog status` at 80 columns and for programs, and its report of an empty log node."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from rich.console import Console
from typer.testing import CliRunner

import memstore.version
import txlog.version
from txlog.cli import app
from txlog.config import MEANINGS, example
from txlog.tools.admin import NodeStatus
from txlog.tools.status_screen import as_dict, draw

MEMBERS = ["a=10.0.0.1:7401", "b=10.0.0.2:7401", "c=10.0.0.3:7401"]
LOG: dict[str, Any] = {
    "log": "shard-0", "promised": 12, "last": [12, 123456789], "committed": 123456789,
    "window_left_ms": 1500, "window_writer": "0123456789abcdef", "broken": None, "newcomer": None,
    "learner": None, "suspect": None, "holes": [], "disk_full": False,
    "scrub": {"on": True, "passes": 3, "findings": 0, "done_percent": 50},
}  # fmt: skip


def answer(member: str, group: str = "9" * 32, **more: Any) -> NodeStatus:
    node, _, address = member.partition("=")
    status = {
        "node": node if group else "", "az": node, "group": group, "membership": 1 if group else 0,
        "members": MEMBERS if group else [], "replaced": False, "deleting": {}, "refused": {},
        "logs": [LOG] if group else [], **more,
    }  # fmt: skip
    return NodeStatus(address, status, "")


def printed(width: int, answers: list[NodeStatus]) -> str:
    out = StringIO()
    draw(Console(file=out, width=width), answers)
    return out.getvalue()


def test_at_80_columns_every_node_s_address_and_state_are_whole() -> None:
    text = printed(80, [answer(member) for member in MEMBERS])
    assert max(map(len, text.splitlines())) <= 80 or "membership version" in text
    for member in MEMBERS:
        assert member.partition("=")[2] in text
    assert text.count("good") == 3
    assert "scrub" not in text


def test_a_wide_terminal_shows_every_column() -> None:
    text = printed(160, [answer(member) for member in MEMBERS])
    assert "50 %" in text
    assert "1500 ms of 01234567" in text


def test_an_empty_node_at_a_member_s_address_gets_its_replace_node_line() -> None:
    answers = [answer(MEMBERS[0]), answer(MEMBERS[1]), answer(MEMBERS[2], "")]
    text = printed(80, answers)
    assert (
        "txlog replace-node --lost 10.0.0.3:7401 --new 10.0.0.3:7401 10.0.0.1:7401 10.0.0.2:7401"
        in text
    )


def test_empty_nodes_alone_get_no_such_line() -> None:
    assert "replace-node" not in printed(80, [answer(member, "") for member in MEMBERS])


def test_json_says_what_is_not_known_as_null() -> None:
    down = NodeStatus("10.0.0.9:7401", None, "connection refused")
    first, second = json.loads(json.dumps(as_dict([answer(MEMBERS[0]), down])))
    assert (first["error"], first["status"]["node"]) == (None, "a")
    assert second == {"address": "10.0.0.9:7401", "error": "connection refused", "status": None}


def test_a_name_that_leads_nowhere_and_a_port_without_a_node_are_said_in_words() -> None:
    ended = CliRunner().invoke(app, ["status", "127.0.0.1:1", "--json"])
    assert ended.exit_code == 1
    assert '"error": "connection refused"' in ended.stdout


def test_the_short_option_for_help_and_the_version() -> None:
    assert "replace-node" in CliRunner().invoke(app, ["-h"]).stdout
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == memstore.version.VERSION
    assert txlog.version.VERSION == memstore.version.VERSION


def test_settings_shows_each_setting_with_its_limits() -> None:
    text = CliRunner().invoke(app, ["settings"]).stdout
    assert text == example()
    assert all(name.replace("_", "-") in text for name in MEANINGS)
    assert "(1 to 4096)" in text
