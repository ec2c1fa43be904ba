"""What a set of runs must have reached to prove anything: states that only certain mixes of faults lead to.

Decides: the list. Must not know: how they are reached.
"""

from __future__ import annotations

from collections import Counter

from tests.sim.faults import KINDS

REACHED: tuple[str, ...] = ()


def missing(faults: Counter[str], counters: Counter[str]) -> list[str]:
    """Of faults and states, those that never were."""
    return [name for name in KINDS if not faults[name]] + [name for name in REACHED if not counters[name]]
