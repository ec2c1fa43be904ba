"""Is a recorded history of one register linearizable? Two deciders must agree.

Decides: yes or no for one key, and why not.
Must not know: sockets, servers, how the history was made.

`search` is the Wing-Gong algorithm with Lowe's memory of (set of operations placed, value). It
tries to place the operations one by one, each between its invoke and its completion, and goes back
when it is stuck. It is exponential at worst, so it has a step budget. Beyond the budget the answer
is None (undecided), never a guess.

`zones` uses that every write's value is unique: all operations on one value form a cluster. A
cluster needs the register from its earliest completion to its latest invoke (Gibbons and Korach).
Clusters with such a need ("forward") must not overlap. A cluster without it ("backward") must not
be completely inside another cluster's need. O(n log n), exact.

Unknown writes: a write whose value no operation read is left out (it may never have happened). A
write whose value was read happened before the first completion of such a read. This bounds it
without excluding any valid order. Refused writes are left out: a read of their value is a read from
nowhere.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from tests.system.history import OK, READ, REFUSED, UNKNOWN, WRITE, Operation, by_key

DEFAULT_STEPS = 400_000


@dataclass(slots=True)
class Verdict:
    ok: bool | None  # None: the search gave up within its budget
    reason: str = ""


@dataclass(slots=True)
class _Op:
    invoke: float
    complete: float
    write: bool
    value: str | None


def check_register(
    operations: Iterable[Operation], initial: str | None = None, steps: int = DEFAULT_STEPS
) -> Verdict:
    """Ask both deciders about one key's history.
    They disagree only if one of them is wrong; then this raises.
    """
    ops, trouble = _prepare(list(operations), initial)
    if trouble:
        return Verdict(False, trouble)
    quick = _zones(ops, initial)
    searched = _search(ops, initial, steps)
    if searched.ok is not None and searched.ok != quick.ok:
        raise AssertionError(f"the two deciders disagree: search {searched}, zones {quick}")
    return quick


def zones(operations: Iterable[Operation], initial: str | None = None) -> Verdict:
    ops, trouble = _prepare(list(operations), initial)
    return Verdict(False, trouble) if trouble else _zones(ops, initial)


def search(
    operations: Iterable[Operation], initial: str | None = None, steps: int = DEFAULT_STEPS
) -> Verdict:
    ops, trouble = _prepare(list(operations), initial)
    return Verdict(False, trouble) if trouble else _search(ops, initial, steps)


def check_history(operations: Iterable[Operation], steps: int = 50_000) -> dict[str, Verdict]:
    """Check every key with whole-value writes and reads, and give only the bad ones."""
    bad: dict[str, Verdict] = {}
    for key, ops in by_key(operations).items():
        if any(op.kind not in (WRITE, READ) for op in ops):
            continue
        verdict = check_register(ops, steps=steps)
        if not verdict.ok:
            bad[key] = verdict
    return bad


def _prepare(operations: list[Operation], initial: str | None) -> tuple[list[_Op], str]:
    """The operations that certainly happened, with their intervals.
    Otherwise, the error that is visible without a search.
    """
    first_read: dict[str | None, float] = {}
    for op in operations:
        if op.kind == READ and op.outcome == OK:
            first_read[op.value] = min(first_read.get(op.value, math.inf), op.complete)
    ops: list[_Op] = []
    writers: dict[str | None, float] = {initial: -math.inf}
    refused: set[str | None] = set()
    for op in operations:
        if op.kind == READ:
            if op.outcome == OK:
                ops.append(_Op(op.invoke, op.complete, False, op.value))
            continue
        assert op.kind == WRITE, f"not a register operation: {op}"
        if op.outcome == REFUSED:
            refused.add(op.value)
            continue
        assert op.value not in writers, f"written twice, values must be unique: {op}"
        writers[op.value] = op.invoke
        if op.outcome == UNKNOWN:
            if op.value in first_read:
                ops.append(_Op(op.invoke, max(op.invoke, first_read[op.value]), True, op.value))
        else:
            ops.append(_Op(op.invoke, op.complete, True, op.value))
    for value, complete in first_read.items():
        if value not in writers:
            why = "was refused" if value in refused else "was never written"
            return ops, f"read {value!r}, which {why}"
        if complete < writers[value]:
            return ops, f"read {value!r} before its write was sent"
    return ops, ""


def _zones(ops: list[_Op], initial: str | None) -> Verdict:
    low: dict[str | None, float] = {}  # earliest completion of a cluster
    high: dict[str | None, float] = {}  # latest invoke
    for op in ops:
        low[op.value] = min(low.get(op.value, math.inf), op.complete)
        high[op.value] = max(high.get(op.value, -math.inf), op.invoke)
    if initial in low:
        low[initial] = -math.inf
    forward = sorted(
        ((low[v], high[v], v) for v in low if low[v] < high[v]), key=lambda zone: zone[:2]
    )
    for (_, end, a), (start, _, b) in itertools.pairwise(forward):
        if start < end:
            return Verdict(False, f"{a!r} and {b!r} were each seen before and after the other")
    starts = [zone[0] for zone in forward]
    for value in low:
        if low[value] < high[value]:
            continue
        index = bisect.bisect_left(starts, high[value]) - 1
        if index >= 0 and forward[index][2] != value and low[value] < forward[index][1]:
            return Verdict(
                False,
                f"{value!r} came and went while {forward[index][2]!r} was seen on both sides of it",
            )
    return Verdict(True)


class _Entry:
    """A call or a return in the time-ordered, doubly linked list of the search."""

    __slots__ = ("bit", "match", "next", "op", "previous")

    def __init__(self, op: _Op | None, bit: int) -> None:
        self.op = op  # None: a return
        self.bit = bit
        self.match: _Entry | None = None
        self.previous: _Entry | None = None
        self.next: _Entry | None = None


def _linked(ops: list[_Op]) -> _Entry:
    events: list[tuple[float, int, _Entry]] = []
    for number, op in enumerate(ops):
        call, back = _Entry(op, 1 << number), _Entry(None, 1 << number)
        call.match = back
        # a call at the same time as a return counts as concurrent
        events.append((op.invoke, 0, call))
        events.append((op.complete, 1, back))
    events.sort(key=lambda event: event[:2])
    head = _Entry(None, 0)
    last = head
    for _, _, entry in events:
        last.next, entry.previous = entry, last
        last = entry
    return head


def _lift(call: _Entry) -> None:
    for entry in (call, call.match):
        assert entry is not None and entry.previous is not None
        entry.previous.next = entry.next
        if entry.next is not None:
            entry.next.previous = entry.previous


def _unlift(call: _Entry) -> None:
    for entry in (call.match, call):
        assert entry is not None and entry.previous is not None
        entry.previous.next = entry
        if entry.next is not None:
            entry.next.previous = entry


def _search(ops: list[_Op], initial: str | None, steps: int) -> Verdict:
    head = _linked(ops)
    placed, state = 0, initial
    seen: set[tuple[int, str | None]] = set()
    stack: list[tuple[_Entry, str | None]] = []
    entry = head.next
    while head.next is not None:
        steps -= 1
        if steps < 0:
            return Verdict(None, "undecided within the step budget")
        assert entry is not None, "a return always stands behind its call"
        if entry.op is not None:
            op = entry.op
            if op.write or op.value == state:
                after = op.value if op.write else state
                mark = (placed | entry.bit, after)
                if mark not in seen:
                    seen.add(mark)
                    stack.append((entry, state))
                    placed, state = mark
                    _lift(entry)
                    entry = head.next
                    continue
            entry = entry.next
            continue
        if not stack:
            return Verdict(False, "no order of the operations explains what was read")
        entry, state = stack.pop()
        placed &= ~entry.bit
        _unlift(entry)
        entry = entry.next
    return Verdict(True)
