"""The outcome of a check: rows of counts and a list of what went wrong, printed as one table.

Decides: how a result looks.
Must not know: what was checked.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class Result:
    """Rows are runs (or variants); `failures` is empty exactly when the point holds."""

    title: str
    rows: list[dict[str, object]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, object], problems: Iterable[str] = ()) -> None:
        self.rows.append(dict(row))
        self.failures += [f"run {len(self.rows)}: {problem}" for problem in problems]

    def require(self, holds: bool, problem: str) -> None:
        if not holds:
            self.failures.append(problem)

    @property
    def passed(self) -> bool:
        return not self.failures and bool(self.rows)

    def table(self) -> str:
        columns: list[str] = []
        for row in self.rows:
            columns += [name for name in row if name not in columns]
        numbered = [{"#": i + 1, **row} for i, row in enumerate(self.rows)]
        lines = [["#", *columns]] + [
            [shown(row.get(name, "")) for name in ["#", *columns]] for row in numbered
        ]
        if len(self.rows) > 1:
            lines.append(
                ["all", *(_total([row.get(name) for row in self.rows]) for name in columns)]
            )
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        text = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        ]
        text.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(text)

    def __str__(self) -> str:
        parts = [f"== {self.title}", self.table() if self.rows else "(no runs)"]
        parts += [f"   note: {note}" for note in self.notes]
        parts += [f"   FAILED {failure}" for failure in self.failures]
        parts.append(
            f"   {'PASS' if self.passed else 'FAIL'} ({len(self.rows)} runs, {len(self.failures)} "
            "failures)"
        )
        return "\n".join(parts)


def shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _total(values: list[object]) -> str:
    """Sum whole numbers; show fractions as median and maximum."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not numbers or len(numbers) != len(values):
        return ""
    if all(isinstance(v, int) for v in numbers):
        return str(sum(numbers))
    return f"med {statistics.median(numbers):.3f} max {max(numbers):.3f}"
