"""Reads a recording of system calls and checks each SET for a covering fdatasync.

For each SET it counts the log nodes where a covering fdatasync was over before the reply left.

Decides: which calls belong to one SET.
Must not know: file formats; it follows the value's own bytes. The recording is `strace -f -y -ttt
-T -s 4096 -e trace=...` (see `STRACE`) of the primary and the log nodes together, so that one clock
stamps all.

A log node covers a SET of a unique value when these events happen in this order. A write of that
value into a file begins and ends there. Then an fdatasync or fsync of the same file begins on any
thread of that node and returns 0. Then the primary's reply begins to leave: the first write of
`+OK` to the socket on which it had read that value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

CALLS = (
    "fdatasync,fsync,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,read,readv,recvfrom,"
    "recvmsg"
)
STRACE = [
    "strace",
    "-f",
    "-y",
    "-ttt",
    "-T",
    "-s",
    "4096",
    "-e",
    f"trace={CALLS}",
    "-e",
    "signal=none",
]

_LINE = re.compile(r"^(?:\[pid +)?(?P<tid>\d+)\]? +(?P<at>\d+\.\d+) (?P<rest>.*)$")
_CALL = re.compile(
    r"^(?P<name>\w+)\((?P<fd>\d+)(?:<(?P<path>[^>]*(?:->[^>]*)?)>)?(?P<args>.*)$", re.DOTALL
)
_RESUMED = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<args>.*)$", re.DOTALL)
_END = re.compile(r"= (?P<result>-?\d+|\?)(?: [^<]*)?(?:<(?P<took>\d+\.\d+)>)?\s*$")
_WRITES_FILE = {"write", "writev", "pwrite64", "pwritev", "pwritev2"}
_WRITES_SOCKET = {"write", "writev", "sendto", "sendmsg"}
_READS = {"read", "readv", "recvfrom", "recvmsg"}
_SYNCS = {"fdatasync", "fsync"}


@dataclass(slots=True)
class Call:
    tid: int
    name: str
    fd: int
    path: str
    args: str
    begin: float
    end: float
    result: int


@dataclass
class Journey:
    """The calls about one value."""

    value: str
    asked: float | None = None
    replied: float | None = None
    # node -> end of its first covering sync
    covered: dict[str, float] = field(default_factory=dict)


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """Give finished calls; join a call that was split by another thread's call."""
    open_calls: dict[int, tuple[float, str]] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        tid, at, rest = int(match["tid"]), float(match["at"]), match["rest"]
        if rest.endswith("<unfinished ...>"):
            open_calls[tid] = (at, rest.removesuffix("<unfinished ...>").rstrip())
            continue
        begin, end_known = at, None
        if (resumed := _RESUMED.match(rest)) is not None:
            if tid not in open_calls:
                continue
            begin, start = open_calls.pop(tid)
            rest, end_known = start + resumed["args"], at
        call, end = _CALL.match(rest), _END.search(rest)
        if call is None or end is None or end["result"] == "?":
            continue
        over = end_known if end_known is not None else begin + float(end["took"] or 0)
        yield Call(
            tid,
            call["name"],
            int(call["fd"]),
            call["path"] or "",
            call["args"],
            begin,
            over,
            int(end["result"]),
        )


def journeys(
    lines: Iterable[str], values: list[str], node_of: dict[int, str], primary: str = "primary"
) -> list[Journey]:
    """`node_of` maps thread ids to node names; other threads are ignored.
    Values must not contain one another.
    """
    all_calls = [call for call in calls(lines) if call.tid in node_of]
    found = {value: Journey(value) for value in values}
    pattern = re.compile(
        "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True))
    )
    syncs: dict[tuple[str, str], list[Call]] = {}
    for call in all_calls:
        if call.name in _SYNCS and call.result == 0:
            syncs.setdefault((node_of[call.tid], call.path), []).append(call)
    # the primary's socket -> values read on it and not yet answered
    waiting: dict[int, list[str]] = {}
    for call in sorted(all_calls, key=lambda c: c.begin):
        node = node_of[call.tid]
        if node == primary:
            _at_primary(call, found, pattern, waiting)
        elif call.name in _WRITES_FILE and call.result > 0 and call.path.startswith("/"):
            for value in pattern.findall(call.args):
                ends = [s.end for s in syncs.get((node, call.path), []) if s.begin >= call.end]
                if ends:
                    found[value].covered[node] = min(
                        [*ends, found[value].covered.get(node, ends[0])]
                    )
    return list(found.values())


def _at_primary(
    call: Call, found: dict[str, Journey], pattern: re.Pattern[str], waiting: dict[int, list[str]]
) -> None:
    if call.name in _READS and "SET" in call.args:
        for value in pattern.findall(call.args):
            if found[value].asked is None:
                found[value].asked = call.end
                waiting.setdefault(call.fd, []).append(value)
    elif call.name in _WRITES_SOCKET and "+OK" in call.args and waiting.get(call.fd):
        for _ in range(call.args.count("+OK")):
            if waiting[call.fd]:
                found[waiting[call.fd].pop(0)].replied = call.begin


@dataclass
class Verdict:
    total: int
    answered: int
    covered: dict[int, int]  # number of log nodes that had synced before the reply -> SETs
    early: list[str]

    @property
    def holds(self) -> bool:
        return self.answered == self.total and not self.early


def verdict(found: list[Journey], needed: int = 2) -> Verdict:
    """`early` are the values answered before `needed` log nodes had them on disk."""
    counts: dict[int, int] = {}
    early = []
    for journey in found:
        before = (
            0
            if journey.replied is None
            else sum(end <= journey.replied for end in journey.covered.values())
        )
        counts[before] = counts.get(before, 0) + 1
        if journey.replied is not None and before < needed:
            early.append(
                f"{journey.value}: replied at {journey.replied:.6f}, synced {journey.covered}"
            )
    return Verdict(len(found), sum(j.replied is not None for j in found), counts, early)
