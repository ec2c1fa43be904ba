"""What all tests share: the rule for tests that need a real redis-server, and the two builds.

Decides: which tests are skipped. Tests marked ``redis`` are skipped where there is no server, and
the summary says so. With CI set, a missing server fails the run, so that the build server can never
pass by skipping. Tests in `interpreted_only` are skipped on compiled modules, and counted.
With MEMSTORE_TEST_COMPILED set, the run fails unless every hot module is compiled. So a compiled
run can never pass on interpreted source.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys

import pytest

import memstore.engine.engine
from tests.compiled_rules import ROOT, hot_modules
from tests.interpreted_only import INTERPRETED_ONLY

MISSING = "redis-server is not installed: the comparison with it was not made"
INTERPRETED = "needs the interpreted build"
COMPILED = str(memstore.engine.engine.__file__).endswith(".so")


def not_compiled() -> list[str]:
    """The hot modules that this process does not import from the compiled tree."""
    found = {module: str(importlib.import_module(module).__file__) for module in hot_modules()}
    return [
        f"{module} comes from {file}"
        for module, file in found.items()
        if not (file.endswith(".so") and file.startswith(str(ROOT)))
    ]


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("MEMSTORE_TEST_COMPILED") and (wrong := not_compiled()):
        raise pytest.UsageError(
            f"the compiled build was asked for; {len(wrong)} modules are not compiled: "
            f"{'; '.join(wrong[:5])}"
        )


def pytest_report_header(config: pytest.Config) -> str:
    return f"memstore: {'compiled' if COMPILED else 'interpreted'}, from {ROOT}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if COMPILED:
        for item in items:
            reason = INTERPRETED_ONLY.get(item.nodeid.partition("[")[0])
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=f"{INTERPRETED}: {reason}"))
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
    skipped = terminalreporter.stats.get("skipped", [])
    if without := [report for report in skipped if MISSING in str(report.longrepr)]:
        terminalreporter.write_line(f"{len(without)} tests skipped: {MISSING}", yellow=True)
    if left := [report for report in skipped if INTERPRETED in str(report.longrepr)]:
        terminalreporter.write_line(
            f"{len(left)} tests skipped, each {INTERPRETED}; tests/interpreted_only.py says why",
            yellow=True,
        )
