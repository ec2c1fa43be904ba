"""The one access check: who asks it, and that nothing else reads the password."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import memstore
from memstore.engine import access
from memstore.engine.command import Row
from memstore.engine.session import Session
from memstore.engine.settings import Settings
from tests.engine.harness import Harness

SECRET = Settings(requirepass="secret", enable_debug_command="no")


def test_only_the_right_password_lets_in() -> None:
    session = Session(1, authenticated=not access.needs_password(SECRET))
    assert session.restricted and not session.fast_path_ok
    assert not access.authenticate(SECRET, session, b"default", b"wrong") and session.restricted
    assert not access.authenticate(SECRET, session, b"other", b"secret") and session.restricted
    assert access.authenticate(SECRET, session, b"default", b"secret")
    assert session.authenticated and not session.restricted and session.fast_path_ok
    access.reset(SECRET, session)
    assert session.restricted and not session.authenticated


def test_without_a_password_no_session_is_asked_about() -> None:
    session = Session(1, authenticated=not access.needs_password(Settings()))
    assert not session.restricted and session.fast_path_ok


def test_a_restricted_session_may_only_authenticate() -> None:
    h = Harness()
    unknown = Session(2, authenticated=False)
    for argv, refused in (([b"GET", b"k"], True), ([b"AUTH", b"p"], False), ([b"PING"], True)):
        row = h.engine.find(argv)
        assert isinstance(row, Row)
        assert (access.refusal(unknown, row, argv) == access.NOAUTH) is refused


def test_exec_asks_for_each_queued_command() -> None:
    """Rights can go while a transaction is queued."""
    h = Harness()
    h.lines("MULTI", "SET a 1", "RESET", "MULTI", "SET a 1", "GET a")
    h.session.authenticate(False)
    assert h.line("EXEC") == b"*2\r\n" + access.NOAUTH * 2
    assert h.effects == [] and h.engine.table[b"SET"].rejected == 1
    h.session.authenticate(True)
    h.lines("MULTI", "SET a 1")
    assert h.line("EXEC") == b"*1\r\n+OK\r\n"


@pytest.mark.parametrize(
    ("mode", "address", "may"),
    [("no", "127.0.0.1:1", False), ("local", "127.0.0.1:1", True), ("local", "10.0.0.1:1", False),
     ("yes", "10.0.0.1:1", True)],
)  # fmt: skip
def test_debug_is_for_whom_the_setting_names(mode: str, address: str, may: bool) -> None:
    settings = Settings(enable_debug_command=mode)
    assert access.may_debug(settings, Session(1, address)) is may


def readers(text: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr == "requirepass"
    ]


def test_nothing_else_reads_the_password() -> None:
    """The command line hands it to programs that it starts, which is no check."""
    assert readers("x = engine.settings.requirepass\n") == [1], "a planted reader"
    root = Path(memstore.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if readers(path.read_text(encoding="utf-8"))
    }
    assert found == {"engine/access.py", "cli.py"}
