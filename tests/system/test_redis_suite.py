"""The list of tests of Redis' suite that are not run, and how the suite's output is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system import redis_suite
from tests.system.redis_suite import SKIPS, read_log, read_skips

LOG = """Starting test server at port 21079
[\x1b[0;32;49mok\x1b[0m]: GET (1 ms)
[\x1b[0;33;49mskip\x1b[0m]: SETBIT fuzzing
[\x1b[0;31;49merr\x1b[0m]: DEL in tests/unit/x.tcl
Expected 1
[\x1b[0;31;49mexception\x1b[0m]: Executing test client: ERR unknown command.
*** [\x1b[0;31;49merr\x1b[0m]: DEL in tests/unit/x.tcl
"""


def test_every_test_that_is_skipped_has_a_reason() -> None:
    skips = read_skips(SKIPS.read_text())
    assert len(skips) > 50
    assert [name for name, reason in skips.items() if len(reason) < 15] == []


def test_a_skip_without_a_reason_or_twice_is_found() -> None:
    assert read_skips("# why\na\nb\n\nc\n# more\nd\n") == {
        "a": "why",
        "b": "why",
        "c": "",
        "d": "more",
    }
    with pytest.raises(ValueError, match="twice: a"):
        read_skips("# why\na\n# other\na\n")


def test_the_suites_output_is_counted() -> None:
    found = read_log(LOG, 1)
    assert (found.ok, found.skipped) == (1, 1)
    assert found.failed == [
        "DEL in tests/unit/x.tcl",
        "Executing test client: ERR unknown command.",
    ]
    assert read_log("[ok]: GET (1 ms)\n", 0).failed == []
    assert read_log("[ok]: GET (1 ms)\nTimeout\n", 1).failed == [
        "ended with 1: [ok]: GET (1 ms) Timeout"
    ]


def test_without_the_source_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("REDIS_SUITE_HOME", str(tmp_path))
    assert redis_suite.main(["--port", "1"]) == 2
    assert "REDIS_SUITE_HOME names no folder" in capsys.readouterr().err
