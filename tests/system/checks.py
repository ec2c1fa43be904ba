"""Judges a recorded history against the final state.

No acknowledged write is lost, no refused write is present, and every gap is found.

Decides: what counts as lost, as present and as a gap.
Must not know: processes. The final state is read at the primary after the load ended. Those reads
join the history, so that the register check sees them too.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.system.client import Address, Blocking, ReplyError
from tests.system.history import APPEND, OK, READ, REFUSED, UNKNOWN, WRITE, Operation, by_key
from tests.system.linearizability import check_history


@dataclass
class Judgement:
    acknowledged: int = 0
    unknown: int = 0
    refused: int = 0
    reads: int = 0
    lost: list[str] = field(default_factory=list)
    refused_present: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    from_nowhere: list[str] = field(default_factory=list)
    not_linearizable: dict[str, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not (
            self.lost
            or self.refused_present
            or self.twice
            or self.from_nowhere
            or self.not_linearizable
        )

    def problems(self) -> list[str]:
        found = [f"lost: {x}" for x in self.lost[:5]] + [
            f"refused but present: {x}" for x in self.refused_present[:5]
        ]
        found += [f"twice: {x}" for x in self.twice[:5]] + [
            f"from nowhere: {x}" for x in self.from_nowhere[:5]
        ]
        return found + [
            f"not linearizable: {key}: {why}"
            for key, why in list(self.not_linearizable.items())[:5]
        ]

    def row(self) -> dict[str, object]:
        return {
            "acked": self.acknowledged,
            "unknown": self.unknown,
            "refused": self.refused,
            "reads": self.reads,
            "lost": len(self.lost),
            "refused present": len(self.refused_present),
            "twice": len(self.twice),
            "bad keys": len(self.not_linearizable) + len(self.from_nowhere),
        }


def final_state(address: Address, keys: Sequence[str], attempts: int = 50) -> dict[str, str | None]:
    """Every key's value, read at the primary in one pipeline."""
    for attempt in range(attempts):
        with Blocking(address, 20.0) as connection:
            replies = []
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                for key in part:
                    connection.send("GET", key)
                replies += [connection.receive() for _ in part]
        errors = [r for r in replies if isinstance(r, ReplyError)]
        if not errors:
            return {
                k: r.decode() if isinstance(r, bytes) else r
                for k, r in zip(keys, replies, strict=True)
            }
        if attempt + 1 == attempts:
            raise AssertionError(f"the final state cannot be read at {address}: {errors[0]}")
        time.sleep(0.1)
    raise AssertionError("unreachable")


def judge(history: list[Operation], final: dict[str, str | None], when: float) -> Judgement:
    """Judge the history; `when` is a time after the last completion."""
    result = Judgement()
    for op in history:
        if op.kind == READ:
            result.reads += op.outcome == OK
        else:
            result.acknowledged += op.outcome == OK
            result.unknown += op.outcome == UNKNOWN
            result.refused += op.outcome == REFUSED
    whole = [op for op in history if op.kind != APPEND]
    whole += [
        Operation(-1, READ, key, value, when, when + 1, OK)
        for key, value in final.items()
        if "journal:" not in key
    ]
    result.not_linearizable = {key: verdict.reason for key, verdict in check_history(whole).items()}
    _registers(whole, final, result)
    _journals([op for op in history if op.kind == APPEND], final, result)
    return result


def _registers(whole: list[Operation], final: dict[str, str | None], result: Judgement) -> None:
    """Keys with one writer end with the last acknowledged write or a later unknown one.
    No key ends with a refused value.
    """
    for key, ops in by_key(whole).items():
        writes = [op for op in ops if op.kind == WRITE]
        end = final.get(key)
        if any(op.value == end and op.outcome == REFUSED for op in writes):
            result.refused_present.append(f"{key}={end}")
        if len({op.client for op in writes}) != 1:
            continue
        last = max((i for i, op in enumerate(writes) if op.outcome == OK), default=-1)
        allowed = (
            {op.value for op in writes[last:] if op.outcome in (OK, UNKNOWN)}
            if last >= 0
            else {None, *(o.value for o in writes if o.outcome == UNKNOWN)}
        )
        if end not in allowed and key in final:
            result.lost.append(
                f"{key} ends as {end!r}, last acknowledged "
                f"{writes[last].value if last >= 0 else None!r}"
            )


def _journals(appends: list[Operation], final: dict[str, str | None], result: Judgement) -> None:
    """Every acknowledged entry is present once, in the order in which it was sent.
    Refused entries are never present; unknown ones at most once.
    """
    for key, ops in by_key(appends).items():
        if key not in final:
            continue
        entries = [part for part in (final[key] or "").split(",") if part]
        seen = Counter(entries)
        known = {op.value for op in ops}
        for op in ops:
            count = seen[op.value or ""]
            if op.outcome == OK and count == 0:
                result.lost.append(f"{key} lacks {op.value}")
            if op.outcome == REFUSED and count:
                result.refused_present.append(f"{key} has {op.value}")
            if count > 1:
                result.twice.append(f"{key} has {op.value} {count} times")
        result.from_nowhere += [f"{key} has {entry}" for entry in seen if entry not in known]
        sure = [op.value for op in ops if op.outcome == OK and seen[op.value or ""]]
        if sure != [e for e in entries if e in set(sure)]:
            result.not_linearizable[key] = (
                "acknowledged appends are not in the order in which they were sent"
            )


def judge_at(address: Address, history: list[Operation]) -> Judgement:
    """Read the final state at `address` (the primary) and judge."""
    keys = sorted({op.key for op in history})
    return judge(history, final_state(address, keys), time.monotonic())


def acknowledgements(history: list[Operation]) -> list[float]:
    return sorted(op.complete for op in history if op.changes and op.outcome == OK)


def longest_gap(history: list[Operation], start: float, end: float) -> tuple[float, float]:
    """(seconds, its start) of the longest gap between acknowledged writes from `start` to `end`."""
    times = [start, *(t for t in acknowledgements(history) if start < t < end), end]
    return max((b - a, a) for a, b in itertools.pairwise(times))


def first_acknowledged_after(
    history: list[Operation], when: float, node: int | None = None, not_node: int | None = None
) -> float | None:
    """Seconds from `when` to the first acknowledgement of a write that was sent after `when`."""
    times = [
        op.complete
        for op in history
        if op.changes
        and op.outcome == OK
        and op.invoke > when
        and (node is None or op.node == node)
        and (not_node is None or op.node != not_node)
    ]
    return min(times) - when if times else None
