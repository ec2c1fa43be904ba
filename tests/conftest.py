"""What all tests share: the rule for tests that need a real redis-server.

Decides: marked ``redis``, they are skipped where there is none and the summary says so; with CI set a missing server fails the run instead, so that
the build server can never pass by skipping.
"""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from tests.compiled_rules import hot_modules

MISSING = "redis-server is not installed: the comparison with it was not made"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if shutil.which("redis-server"):
        return
    needing = [item for item in items if item.get_closest_marker("redis")]
    if needing and os.environ.get("CI"):
        raise pytest.UsageError(f"{MISSING} ({len(needing)} tests), and CI is set")
    for item in needing:
        item.add_marker(pytest.mark.skip(reason=MISSING))


def build_in_use() -> str:
    """Which build of the hot modules this process has imported; `.ci/run` reads the line."""
    loaded = [sys.modules[name] for name in hot_modules() if name in sys.modules]
    compiled = sum(not (module.__file__ or "").endswith(".py") for module in loaded)
    if not compiled:
        return "interpreted"
    return "compiled" if compiled == len(loaded) else f"mixed, {compiled} of {len(loaded)} compiled"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"hot modules in this process: {build_in_use()}")
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if MISSING in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {MISSING}", yellow=True)
