"""One deliberate bug: a piece of a function's text and its replacement.

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
    # the directed schedule that catches it; without one, the hunt tries the workload's seeds
    schedule: str = ""
    # further pieces of the same owner: function, old, new
    more: tuple[tuple[str, str, str], ...] = ()

    @property
    def pieces(self) -> tuple[tuple[str, str, str], ...]:
        return ((self.function, self.old, self.new), *self.more)
