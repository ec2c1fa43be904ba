"""The logs that the conformance tests run on: one fixture parameter for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.log.conformance.harness import Backend, EmbeddedBackend, QuorumBackend


@pytest.fixture(params=[QuorumBackend, EmbeddedBackend], ids=["quorum", "embedded"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Started before the test and stopped behind it."""
    backend: Backend = request.param(tmp_path)
    await backend.start()
    yield backend
    await backend.stop()
