"""A fresh engine for each test."""

from __future__ import annotations

import pytest

from tests.engine.harness import Harness


@pytest.fixture
def h() -> Harness:
    return Harness()
