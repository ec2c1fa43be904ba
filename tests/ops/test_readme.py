"""What the README and the Makefile tell a stranger to type exists.

Decides: how commands are found in the README's code blocks. Commands are taken apart and looked up;
they are run by the other tests of this folder.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

import memstore.cli
import memstore.commands  # fills the table
import txlog.cli
from memstore.engine.command import build_table
from memstore.engine.settings import TABLE
from tests.ops.running import ROOT

README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""
MAKEFILE = (ROOT / "Makefile").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
LINES = [
    line
    for language, text in BLOCKS
    if language == "sh"
    for line in text.splitlines()
    if line.strip()
]
WORDS = [(line, shlex.split(line, comments=True)) for line in LINES]
TOOLS = {"memstore": memstore.cli.app, "txlog": txlog.cli.app}


def command_lines(tool: str) -> list[list[str]]:
    found = []
    for _, words in WORDS:
        for index, word in enumerate(words):
            if Path(word).name == tool and (index == 0 or words[0] == "docker-compose"):
                found.append(words[index + 1 :])
    return found


def options(app: typer.Typer) -> dict[str, set[str]]:
    root: Any = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in root.commands.items()
    }


def test_the_two_commands_come_first() -> None:
    assert LINES[0].startswith("make run")
    assert LINES[1].startswith("make test")


@pytest.mark.parametrize("tool", TOOLS)
def test_commands_and_options_exist(tool: str) -> None:
    known, lines = options(TOOLS[tool]), command_lines(tool)
    assert lines
    for name, *rest in lines:
        assert name in known
        assert {word for word in rest if word.startswith("--")} <= known[name]


def test_options_of_make_run_exist() -> None:
    known = options(memstore.cli.app)["local"]
    given = [word for _, words in WORDS if words[:2] == ["make", "run"] for word in words[2:]]
    assert given
    for text in given:
        assert {
            word for word in text.removeprefix("ARGS=").split() if word.startswith("--")
        } <= known


def test_make_targets_exist() -> None:
    targets = {words[1] for _, words in WORDS if words[0] == "make"}
    assert {"run", "test", "check", "system", "bench"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_commands_sent_to_a_node_exist() -> None:
    table = build_table()
    sent = [
        words[3:] if words[1] == "-p" else words[4:]
        for _, words in WORDS
        if words[0] == "redis-cli"
    ]
    assert sent
    for words in sent:
        row = table[words[0].upper().encode()]
        assert not row.container or words[1].upper().encode() in row.subcommands


def test_settings_named_exist_with_their_defaults() -> None:
    rows = re.findall(
        r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \| ([^|]*) \|",
        README.partition("## Settings")[2].partition("\n## ")[0],
        re.MULTILINE,
    )
    assert len(rows) > 10
    for names, default in rows:
        for name in re.findall(r"`([\w-]+)`", names):
            setting = TABLE[name]
            if isinstance(setting.default, int) and not isinstance(setting.default, bool):
                number, _, unit = default.partition(" ")
                assert int(number) * (1024 * 1024 if unit == "MiB" else 1) == setting.default, name


def test_python_in_the_readme_compiles() -> None:
    blocks = [text for language, text in BLOCKS if language == "python"]
    assert blocks
    for text in blocks:
        compile(text, "README.md", "exec")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize(
    "target", ["help", "run", "test", "check", "system", "bench", "format", "clean"]
)
def test_make_knows_what_to_do(target: str) -> None:
    result = subprocess.run(
        ["make", "--dry-run", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_build_servers_script_is_a_script() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert "make test" in script.read_text()
