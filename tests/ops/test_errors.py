"""docs/errors.md names every error reply that Redis does not give, and every exit code.

Decides: what counts as an error reply in the source, and which texts are Redis' own. The program
redis-server contains its own texts, so no list is needed here.
Must not know: when a reply is given.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.running import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text()
REPLY = re.compile(r"-?(?P<code>[A-Z]{3,}) (?P<text>[^\r\n]+)")
CALLS = ("CommandError", "error")  # calls that make an error from a text
SPAN_LENGTH = 15  # a shorter quotation on the page would match by chance
AS_REDIS = {"ERR", "WRONGTYPE", "NOPROTO", "EXECABORT"}  # codes with Redis' own meaning
ALSO_REDIS = {
    "ERR Unrecognized option '": "Redis says it in one place for CLIENT KILL, in other words here",
    "ERR wrong number of arguments for 'ping' command": "Redis puts the name in",
    "ERR wrong number of arguments for 'mset' command": "Redis puts the name in",
    "ERR wrong number of arguments for 'msetnx' command": "Redis puts the name in",
    "ERR value is out of range, must be between 0 and 1": "Redis puts the bounds in",
    "ERR \0 cannot contain spaces, newlines or special characters.": "Redis 7.2: CLIENT SETINFO",
}


def fixed_part(node: ast.expr) -> str:
    """The longest part of a text that is the same in every reply."""
    if isinstance(node, ast.JoinedStr):
        parts = [str(part.value) for part in node.values if isinstance(part, ast.Constant)]
        first = parts[0] if parts else ""
        longest = max(parts, key=len, default="")
        return first if len(first) > 20 or longest is first else f"{first}\0{longest}"
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return re.split(r"%[a-z]", node.value.decode("latin-1"))[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def is_reply(node: ast.AST) -> bool:
    """A call that makes an error of a text, or a constant with a text to answer."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return name in CALLS
    return isinstance(node, ast.AnnAssign | ast.Return)


def replies(text: str) -> Iterator[str]:
    """The error replies in a source: code and fixed text."""
    for node in ast.walk(ast.parse(text)):
        if not is_reply(node):
            continue
        values = node.args[:1] if isinstance(node, ast.Call) else [getattr(node, "value", None)]
        for value in values:
            if isinstance(value, ast.BinOp):  # bytes % number
                value = value.left
            part = fixed_part(value) if isinstance(value, ast.expr) else ""
            if (found := REPLY.match(part)) and (found[0].startswith("-") or is_str(value)):
                yield f"{found['code']} {found['text']}".strip()


def is_str(node: object) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


SOURCES = sorted((ROOT / "memstore").rglob("*.py"))
FOUND = {reply: path.name for path in SOURCES for reply in replies(path.read_text())}


def on_page(reply: str) -> bool:
    """Whether the page quotes the reply, or its beginning."""
    parts = [part.strip() for part in reply.split("\0")]
    if len(parts) > 1:
        return all(part in PAGE for part in parts)
    spans = [span for span in re.findall(r"`([^`]+)`", PAGE) if len(span) >= SPAN_LENGTH]
    return any(span.startswith(reply) or reply.startswith(span) for span in spans)


def test_replies_are_found_in_the_source() -> None:
    source = (
        'X: Final = b"-GONE away\\r\\n"\n'
        'raise CommandError("ERR never")\n'
        'return reply.error(f"LATE by {n} ms")\n'
        'return b"-UNSURE at %d" % n\n'
        'summary("GET the value")\n'
    )
    assert sorted(replies(source)) == ["ERR never", "GONE away", "LATE by", "UNSURE at"]


def test_every_code_stands_on_the_page() -> None:
    codes = {reply.split()[0] for reply in FOUND} - AS_REDIS
    assert {"UNKNOWN", "TRYAGAIN", "READONLY", "MASTERDOWN", "LOADING", "DENIED"} <= codes
    assert [code for code in sorted(codes) if f"`{code} " not in PAGE] == []


@pytest.mark.redis
def test_every_text_of_our_own_stands_on_the_page() -> None:
    program = Path(shutil.which("redis-server") or "").resolve().read_bytes().decode("latin-1")

    def has(reply: str) -> bool:
        return all(part.strip() in program for part in reply.split(" ", 1)[1].split("\0"))

    own = [reply for reply in FOUND if reply not in ALSO_REDIS and not has(reply)]
    assert len(own) > 20, "texts of our own are found"
    assert [reply for reply in own if not on_page(reply)] == []


# --------------------------------------------------------------------------- exit codes


def codes_on_page(process: str) -> set[int]:
    """The exit codes of a process: its row, and the rows below it without a name."""
    found: set[int] = set()
    name = ""
    for line in PAGE.partition("## Exit codes")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3:
            name = cells[0].strip("`") or name
            if name == process:
                found |= {int(number) for number in re.findall(r"\d+", cells[1])}
    return found


@pytest.mark.parametrize(
    ("process", "source", "pattern"),
    [
        ("txlog server", "txlog/server/node.py", r"^EXIT_\w+: Final = (\d+)"),
        ("lease keeper", "txlog/lease_keeper/process.py", r"^EXIT_\w+: Final = (\d+)"),
        ("memstore server", "memstore/cli.py", r"^(?:FAILED|WRONG_SETTING): Final = (\d+)"),
    ],
)
def test_every_exit_code_stands_on_the_page(process: str, source: str, pattern: str) -> None:
    codes = {int(code) for code in re.findall(pattern, (ROOT / source).read_text(), re.MULTILINE)}
    assert len(codes) >= 2
    assert codes <= codes_on_page(process)
