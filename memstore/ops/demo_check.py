"""The verdict of `memstore demo`: is every acknowledged value still there?

Decides: when a value counts as found, what the last lines say, the exit code.
Must not know: how values are written and read.
Invariant: a write of unknown outcome never counts as acknowledged, and never as missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SHOWN: Final = 10  # of the missing keys, listed by name

HostPort = tuple[str, int]
Values = Mapping[bytes, bytes | None]


@dataclass(slots=True)
class Record:
    """The replies that the clients got. Each key is written once, with a value of its own."""

    acknowledged: dict[bytes, bytes] = field(default_factory=dict)
    unknown: dict[bytes, bytes] = field(default_factory=dict)
    by_node: Counter[HostPort] = field(default_factory=Counter)  # acknowledgements


def missing(acknowledged: Mapping[bytes, bytes], found: Values) -> list[bytes]:
    """The acknowledged keys that do not have their value."""
    return [key for key, value in acknowledged.items() if found.get(key) != value]


@dataclass(slots=True)
class Verdict:
    """The verdict on the record and the values found at each node (by the node's name)."""

    acknowledged: int
    unknown: int
    took_effect: int  # how many writes of unknown outcome took effect
    missing: dict[bytes, list[str]]  # key -> the nodes that do not have its value

    @staticmethod
    def of(record: Record, found: Mapping[str, Values]) -> Verdict:
        lost: dict[bytes, list[str]] = {}
        for node, values in found.items():
            for key in missing(record.acknowledged, values):
                lost.setdefault(key, []).append(node)
        first: Values = next(iter(found.values()), {})
        done = len(record.unknown) - len(missing(record.unknown, first))
        return Verdict(len(record.acknowledged), len(record.unknown), done, lost)

    @property
    def code(self) -> int:
        """0 only if something was acknowledged and all of it was found."""
        return 0 if self.acknowledged and not self.missing else 1

    def lines(self) -> list[str]:
        keys = sorted(self.missing)
        lines = [
            f"MISSING at {' and '.join(self.missing[key])}: {key.decode('utf-8', 'replace')}"
            for key in keys[:SHOWN]
        ]
        if len(keys) > SHOWN:
            lines.append(f"MISSING: {len(keys) - SHOWN} more")
        if self.unknown:
            lines.append(
                f"{self.unknown} of unknown outcome: {self.took_effect} took effect, "
                f"{self.unknown - self.took_effect} did not"
            )
        lines.append(f"{self.acknowledged} acknowledged, {self.acknowledged - len(keys)} found")
        return lines
