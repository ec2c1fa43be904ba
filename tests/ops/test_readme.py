"""The pages are true: commands and options exist, and every block works in order.

Decides: how commands are found in the pages, which of them are not typed and why.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

import memstore.cli
import txlog.cli
from memstore.commands import build_table
from memstore.engine.settings import TABLE
from tests.ops import walk
from tests.ops.running import ROOT, Local
from tests.ops.walk import Block, Ports, Reader, blocks, shown

README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations"
PAGES = [
    README,
    ROOT / "docs" / "clients.md",
    ROOT / "docs" / "errors.md",
    *OPERATIONS.glob("*.md"),
]
MAKEFILE = (ROOT / "Makefile").read_text()
TOOLS = {"memstore": memstore.cli.app, "txlog": txlog.cli.app}
NOT_TYPED = {"make test": "it would run this test"}
README_LINES = 200


def lines() -> list[tuple[str, list[str]]]:
    """Every command of every page, with its words."""
    return [
        (line, shlex.split(line, comments=True))
        for page in PAGES
        for block in blocks(page)
        if block.language == "sh"
        for line in block.commands()
    ]


LINES = lines()


def command_lines(tool: str) -> list[list[str]]:
    found = []
    for _, words in LINES:
        for index, word in enumerate(words):
            first = index == 0 or words[0] in ("docker-compose", "until")
            if Path(word).name == tool and first and index + 1 < len(words):
                found.append([option.rstrip(";") for option in words[index + 1 :]])
    return found


def options(app: typer.Typer) -> dict[str, set[str]]:
    root: Any = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in root.commands.items()
    }


# --------------------------------------------------------------------------- names


def test_the_two_commands_come_first() -> None:
    first = [command for block in blocks(README) for command in block.commands()][:2]
    assert first[0].startswith("make run")
    assert first[1].startswith("make test")


@pytest.mark.parametrize("tool", TOOLS)
def test_commands_and_options_exist(tool: str) -> None:
    known, found = options(TOOLS[tool]), command_lines(tool)
    assert len(found) >= 4
    for name, *rest in found:
        assert name in known
        assert {word for word in rest if word.startswith("--")} <= known[name]


def test_options_of_make_run_exist() -> None:
    known = options(memstore.cli.app)["local"]
    given = re.findall(r"make run ARGS=('[^']*'|\S+)", README.read_text())
    assert len(given) >= 4
    for text in given:
        words = text.strip("'`").split()
        assert {word for word in words if word.startswith("--")} <= known


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", README.read_text(), re.MULTILINE))
    assert {"run", "test", "check", "system", "bench"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_commands_sent_to_a_node_exist() -> None:
    table = build_table()
    sent = [words[words.index("-p") + 2 :] for _, words in LINES if words[0] == "redis-cli"]
    assert sent
    for words in sent:
        row = table[words[0].upper().encode()]
        assert not row.container or words[1].upper().encode() in row.subcommands


def test_settings_named_exist_with_their_defaults() -> None:
    page = (OPERATIONS / "settings.md").read_text()
    rows = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*)[^|]* \| ([^|]*) \|", page, re.MULTILINE)
    assert len(rows) > 10
    for names, default in rows:
        for name in re.findall(r"`([\w-]+)`", names):
            setting = TABLE[name]
            if isinstance(setting.default, int) and not isinstance(setting.default, bool):
                number, _, unit = default.partition(" ")
                assert int(number) * (1024 * 1024 if unit == "MiB" else 1) == setting.default, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_a_page_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.text)


# --------------------------------------------------------------------------- form


def test_the_first_page_is_short() -> None:
    assert len(README.read_text().splitlines()) <= README_LINES


@pytest.mark.parametrize("target", ["help", "run", "test", "check", "system", "bench", "format"])
def test_make_knows_what_to_do(target: str) -> None:
    command = ["make", "--dry-run", target]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_build_servers_script_is_a_script() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert "make test" in script.read_text()


# --------------------------------------------------------------------------- every block in order


SHOWN = [
    ("engine-a is the primary now, term 1", "12:00 engine-b is the primary now, term 12\n", True),
    ("812 acknowledged, 812 found", "  1 unknown\n31415 acknowledged, 31415 found\n", True),
    ("812 acknowledged, 812 found", "812 acknowledged and 812 found\n", False),
    ("one\ntwo", "one\ntwo\n", True),
    ("one\ntwo", "two\none\n", False),
    ("data in .../.memstore; Ctrl-C", "data in /a/b/.memstore; Ctrl-C stops", True),
]


@pytest.mark.parametrize(("expected", "output", "same"), SHOWN)
def test_what_counts_as_shown(expected: str, output: str, same: bool) -> None:
    assert shown(expected, output) is same


def test_default_ports_are_replaced() -> None:
    ports = Ports()
    engine, log = ports.given[6379], ports.given[7401]
    assert ports.put_into("redis-cli -p 6380 get k") == f"redis-cli -p {engine + 1} get k"
    assert ports.put_into("make run") == f"make run ARGS='--port {engine} --log-port {log} '"
    assert ports.put_into("make run ARGS=--reset").endswith(f"--log-port {log} --reset'")
    assert ports.put_into("make run ARGS='--a 1 --b'").endswith(f"--log-port {log} --a 1 --b'")
    assert ports.put_into("make test") == "make test"


def test_a_long_command_is_one_command() -> None:
    block = Block("sh", "one \\\n    two\n\nthree\n")
    assert [shlex.split(line) for line in block.commands()] == [["one", "two"], ["three"]]


WRONG_PAGES = [
    ("```sh\nfalse\n```\n", "false"),
    ("```sh\nfalse\ntrue\n```\n", "false"),
    ("```sh\necho 'ERR no'\n```\n", "ERR no"),
    ("```sh\nsleep 1000\n```\n", "holds the terminal up"),
    ("```sh\ntouch left-over\n```\n", "leaves files"),
    ("```sh\necho no    # refused: READONLY\n```\n", "expected 'READONLY'"),
    ("```python\nimport no_such_module\n```\n", "no_such_module"),
    ("```python\nif True:\n    x = 1\n\n    x = 2\n```\n", "IndentationError"),
    ("```sh\necho one\n```\n```text\ntwo\n```\n", "expected:"),
]


@pytest.mark.system
@pytest.mark.parametrize(("text", "told"), WRONG_PAGES, ids=range(len(WRONG_PAGES)))
def test_a_wrong_page_is_found(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "COMMAND_S", 2.0)
    reader = Reader(tmp_path, NOT_TYPED)
    try:
        (reader.tree / "LICENSE").write_text(text)  # a file that already exists in the tree
        with pytest.raises(AssertionError, match=told):
            reader.read("LICENSE")
    finally:
        reader.close()


@pytest.mark.system
def test_every_block_works_after_the_one_before(tmp_path: Path) -> None:
    reader = Reader(tmp_path, NOT_TYPED)
    try:
        reader.read("README.md")
        reader.stop_make_run()
        reader.read("docs/operations/by-hand.md")
    finally:
        reader.close()


@pytest.mark.system
@pytest.mark.parametrize("cluster", [True, False], ids=["cluster", "plain"])
def test_the_python_of_the_clients_page(cluster: bool, tmp_path: Path) -> None:
    """The first block is for cluster mode, the second for plain mode."""
    begins = "client = RedisCluster(" if cluster else "client = redis.Redis("
    found = [block.text for block in blocks(ROOT / "docs" / "clients.md")]
    texts = [text for text in found if begins in text]
    assert len(texts) == 1
    with Local(tmp_path / "data", *(["--cluster"] if cluster else [])) as local:
        local.wait_up()
        text = texts[0].replace("6379", str(local.port))
        exec(compile(text, "clients.md", "exec"), {})
        client = local.client("engine-a")
        assert client.get("greeting" if cluster else "visits") == (b"hello" if cluster else b"1")
