"""The times and kinds of faults, drawn from the seed before anything starts.

There are three lanes, engine nodes, log nodes and the network, which run in parallel. In a lane a
fault begins when the previous one has healed.

Decides: kinds, times, lengths, and the draw from which a fault takes its targets. The single lane
of log nodes stays within the log's promise: a bit is flipped or a node lost on one log node at a
time. Majorities are lost together only for moments, and only in ways that lose no disk.
Must not know: how a fault is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

ENGINES, LOGS, NETWORK = "engine nodes", "log nodes", "network"


@dataclass(frozen=True)
class Kind:
    lane: str
    group: str  # the group's name in FAULTS=
    weight: int
    shortest_s: float
    longest_s: float


KINDS: dict[str, Kind] = {
    "kill-primary": Kind(ENGINES, "kill", 4, 0.2, 4.0),
    "kill-engine": Kind(ENGINES, "kill", 4, 0.2, 4.0),
    "kill-all": Kind(ENGINES, "kill", 1, 0.2, 1.0),
    "pause-primary": Kind(ENGINES, "pause", 4, 0.3, 5.0),
    "pause-engine": Kind(ENGINES, "pause", 3, 0.3, 6.0),
    "hand-over": Kind(ENGINES, "handover", 3, 0.0, 0.0),
    "terminate": Kind(ENGINES, "kill", 1, 0.2, 2.0),
    "kill-log": Kind(LOGS, "kill", 4, 0.2, 5.0),
    "kill-two-logs": Kind(LOGS, "kill", 1, 0.2, 1.5),
    "pause-log": Kind(LOGS, "pause", 3, 0.5, 6.0),
    "pause-two-logs": Kind(LOGS, "pause", 1, 0.3, 2.5),
    "bit-stopped": Kind(LOGS, "bits", 3, 0.2, 2.0),
    "bit-running": Kind(LOGS, "bits", 3, 0.5, 4.0),
    "disk-full": Kind(LOGS, "disk", 3, 6.0, 10.0),
    "disk-full-two": Kind(LOGS, "disk", 1, 4.0, 6.0),
    "cut-zone": Kind(NETWORK, "cut", 3, 0.5, 6.0),
    "cut-zone-in": Kind(NETWORK, "cut", 3, 0.5, 6.0),
    "cut-zone-out": Kind(NETWORK, "cut", 3, 0.5, 6.0),
    "cut-primary": Kind(NETWORK, "cut", 3, 0.5, 5.0),
    "cut-link": Kind(NETWORK, "cut", 2, 0.5, 8.0),
    "cut-link-one-way": Kind(NETWORK, "cut", 3, 0.5, 8.0),
    "cut-clients": Kind(NETWORK, "cut", 2, 0.3, 4.0),
    "cut-clients-one-way": Kind(NETWORK, "cut", 2, 0.3, 4.0),
    "cut-all": Kind(NETWORK, "cut", 1, 0.3, 1.5),
}
GROUPS = sorted({kind.group for kind in KINDS.values()})
QUIET_S = {ENGINES: 4.0, LOGS: 3.0, NETWORK: 3.5}  # mean pause between two faults of a lane
SPARE_S = 3.0  # time without faults at the start and at the end


@dataclass(frozen=True)
class Fault:
    number: int
    kind: str
    at_s: float  # after the start; later if the previous fault in its lane has not healed
    lasts_s: float
    draw: int

    @property
    def lane(self) -> str:
        return KINDS[self.kind].lane

    def __str__(self) -> str:
        return f"#{self.number} {self.kind} at {self.at_s:.1f} for {self.lasts_s:.1f} s"


def kinds_of(names: Iterable[str]) -> list[str]:
    """Kinds by their own names or their group's name. Raises `ValueError` for an unknown name."""
    found: list[str] = []
    for name in names:
        of_name = [kind for kind, row in KINDS.items() if name in (kind, row.group)]
        if not of_name:
            raise ValueError(f"no fault is called {name!r}: {', '.join([*GROUPS, *KINDS])}")
        found += [kind for kind in of_name if kind not in found]
    return found


def schedule(seed: int, seconds: float, kinds: Iterable[str]) -> list[Fault]:
    """The faults in the order of their times.
    The same seed gives a lane the same faults, independent of the other lanes.
    """
    allowed = list(kinds)
    found: list[Fault] = []
    for lane, quiet_s in QUIET_S.items():
        rng = Random(f"{seed}/{lane}")
        mine = [kind for kind in allowed if KINDS[kind].lane == lane]
        at = SPARE_S
        while mine:
            at += rng.expovariate(1) * quiet_s
            kind = rng.choices(mine, [KINDS[kind].weight for kind in mine])[0]
            row = KINDS[kind]
            lasts = row.shortest_s + (row.longest_s - row.shortest_s) * rng.random() ** 2
            draw = rng.getrandbits(32)
            if at + lasts > seconds - SPARE_S:
                break
            found.append(Fault(0, kind, at, lasts, draw))
            at += lasts
    found.sort(key=lambda fault: fault.at_s)
    return [
        Fault(number + 1, fault.kind, fault.at_s, fault.lasts_s, fault.draw)
        for number, fault in enumerate(found)
    ]
