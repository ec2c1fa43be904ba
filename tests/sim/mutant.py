"""One deliberate bug: a piece of a function's text and what stands in its place.

Decides: the form of the tables `log_mutants` and `engine_mutants`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutant:
    what: str
    owner: Any  # a class or a module
    function: str
    old: str
    new: str
    schedule: str = ""  # the directed schedule that catches it; else the workload's seeds are tried
    # further pieces of the same owner: function, old, new
    more: tuple[tuple[str, str, str], ...] = ()

    @property
    def pieces(self) -> tuple[tuple[str, str, str], ...]:
        return ((self.function, self.old, self.new), *self.more)
