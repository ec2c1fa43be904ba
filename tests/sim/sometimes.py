"""The states that a set of runs must reach to prove anything.
Only certain mixes of faults lead to them.

Decides: the list.
Must not know: how a run reaches them.
"""

from __future__ import annotations

from collections import Counter

from tests.sim.faults import KINDS

REACHED: tuple[str, ...] = (
    "a learner counts",
    "a process ended itself",
    "a sender waited for its reader",
    "a slow disk was synced in a thread",
    "a term was sealed again",
    "an incarnation opened another term",
    "campaign-lost",
    "clock-jump",
    "connection given up",
    "damage met while reading",
    "demoted",
    "digests compared",
    "entry put back from another log node",
    "hand-over done",
    "hand-over not done",
    "handover-failed",
    "no longer suspect",
    "no-majority",
    "no-quorum",
    "restoring",
    "run with broken clocks",
    "scrub found bytes that do not check",
    "scrub pass ended",
    "states compared",
    "step-down",
    "suspect from position N",
    "the disk has room again",
    "the disk is full",
    "truncate from N, last was N",
)


def missing(faults: Counter[str], counters: Counter[str]) -> list[str]:
    """The faults and states of the list that never occurred."""
    return [name for name in KINDS if not faults[name]] + [
        name for name in REACHED if not counters[name]
    ]
