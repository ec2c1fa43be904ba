"""The report at the end of a soak: figures, faults, and a verdict for each check.

It is printed as text and saved as a file.

Decides: its form, and that at least 60 % of the operations must have succeeded.
Must not know: how anything was checked.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

SUCCEED_AT_LEAST = 0.60


@dataclass
class Report:
    begun: str
    seed: int
    revision: str
    minutes: float
    network: str
    disks: str
    clients: dict[str, int]
    outcomes: dict[str, int] = field(default_factory=dict)
    succeeded: dict[str, dict[str, int]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    faults: dict[str, dict[str, float]] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    judged: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, list[str]] = field(default_factory=dict)  # check -> its findings
    kept: str = ""

    @property
    def share(self) -> float:
        return self.outcomes.get("ok", 0) / max(1, sum(self.outcomes.values()))

    @property
    def passed(self) -> bool:
        return bool(self.verdicts) and not any(self.verdicts.values())

    def verdict(self, check: str, found: list[str]) -> None:
        self.verdicts.setdefault(check, []).extend(found)

    def demand_successes(self) -> None:
        enough = self.share >= SUCCEED_AT_LEAST
        self.verdict(
            f"at least {SUCCEED_AT_LEAST:.0%} of the operations succeeded",
            [] if enough else [f"{self.share:.1%} did"],
        )

    def text(self) -> str:
        lines = [
            f"== soak, {self.begun}: {self.minutes:.1f} minutes, seed {self.seed}, revision "
            f"{self.revision}"
        ]
        lines += [
            f"   network: {self.network}",
            f"   disks: {self.disks}",
            f"   clients: {_listed(self.clients)}",
        ]
        lines += [
            f"   operations: {sum(self.outcomes.values())}, of which succeeded {self.share:.1%} "
            f"({_listed(self.outcomes)})"
        ]
        lines += [
            f"   succeeded by {name}: {_listed(counts)}" for name, counts in self.succeeded.items()
        ]
        lines += [f"   not succeeded: {_listed(self.errors)}", "   faults:"]
        for kind, row in self.faults.items():
            mean = row["seconds"] / max(1, row["count"])
            lines.append(
                f"     {kind:<22}{row['count']:>5.0f}   {mean:6.1f} s each until well again"
                + (f", {row['left out']:.0f} left out" if row["left out"] else "")
            )
        lines += [f"     {'all':<22}{sum(row['count'] for row in self.faults.values()):>5.0f}"]
        lines += [f"   {name}: {value:g}" for name, value in self.seen.items()]
        lines += [f"   judged: {_listed(self.judged)}"]
        for check, found in self.verdicts.items():
            lines.append(f"   {'ok    ' if not found else 'FAILED'} {check}")
            lines += [f"          {text}" for text in found[:8]]
            lines += [f"          ... and {len(found) - 8} more"] if len(found) > 8 else []
        lines += [f"   kept: {self.kept}"] if self.kept else []
        lines.append(f"   {'PASS' if self.passed else 'FAIL'}")
        return "\n".join(lines)

    def save(self, folder: Path) -> Path:
        """Write two files of one name, the text and the figures; give the path of the text."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.begun.replace(' ', '-').replace(':', '')}-seed-{self.seed}.txt"
        path.write_text(self.text() + "\n")
        path.with_suffix(".json").write_text(
            json.dumps({**asdict(self), "share": self.share, "passed": self.passed}, indent=2)
            + "\n"
        )
        return path


def _listed(counts: dict[str, int] | Counter[str]) -> str:
    return (
        ", ".join(
            f"{name} {count}" for name, count in sorted(counts.items(), key=lambda row: -row[1])
        )
        or "none"
    )
