"""Directed schedules: faults at exact moments, for bugs that random runs hardly find.
`stage` says how to write one; the other modules hold the schedules by theme.
"""

from __future__ import annotations

from tests.sim.directed import (  # noqa: F401  they fill the table
    disk,
    engine,
    lease,
    log,
    paths,
    replacement,
    slow,
)
from tests.sim.directed.stage import SCHEDULES, play

__all__ = ["SCHEDULES", "play"]
