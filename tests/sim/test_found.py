"""Seeds of runs that once found a bug of the real code.
`docs/bugs.md` describes each bug. These seeds run on every change.
"""

from __future__ import annotations

import pytest

from tests.sim.run import Plan, run


@pytest.mark.parametrize("seed", [180, 843810007512], ids=lambda seed: f"seed-{seed}")
def test_a_run_that_once_found_a_bug_passes(seed: int) -> None:
    assert run(Plan(seed)).problems == []
