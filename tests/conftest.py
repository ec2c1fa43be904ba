"""What all tests share: the rule for tests that need a real redis-server.

Decides: marked ``redis``, they are skipped where there is none and the summary says so; with CI set a missing server fails the run instead, so that
the build server can never pass by skipping.
"""

from __future__ import annotations

import os
import shutil

import pytest

MISSING = "redis-server is not installed: the comparison with it was not made"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if shutil.which("redis-server"):
        return
    needing = [item for item in items if item.get_closest_marker("redis")]
    if needing and os.environ.get("CI"):
        raise pytest.UsageError(f"{MISSING} ({len(needing)} tests), and CI is set")
    for item in needing:
        item.add_marker(pytest.mark.skip(reason=MISSING))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if MISSING in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {MISSING}", yellow=True)
