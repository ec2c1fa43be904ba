"""Every golden script of this folder; `runner` describes the language."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.txlog.scripts.runner import run_script

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    expected, happened = run_script(path)
    if os.environ.get("MEMSTORE_REWRITE"):
        path.write_text(happened)
    else:
        assert happened == expected


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 15
