"""Directed schedules: faults at exact moments, for bugs that chance hardly finds. `stage` says how
one is written; the others hold them by theme.
"""

from __future__ import annotations

from tests.sim.directed import disk, engine, lease, log, paths, replacement, slow  # noqa: F401  fill the table
from tests.sim.directed.stage import SCHEDULES, play

__all__ = ["SCHEDULES", "play"]
