"""Questions to all log nodes at once: the tail (R2), and whether a majority would promise (W1's
probe).

Decides: when the answers suffice.
Must not know: sockets, time.
Invariants: an answer counts once a node and only for the question it names; the tail's bound is the
greatest *id* among a majority of the answers given after the question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from txlog.entry import NO_ENTRY, EntryId
from txlog.messages import Behind, LeaseHeld, Promised, Refused, Tail, Unavailable

# A probe promises nothing. So it may use a term and an expectation above all others: then the
# answer depends on the lease alone.
PROBE_TERM: Final = (1 << 63) - 1
PROBE_EXPECTED: Final[EntryId] = (PROBE_TERM, PROBE_TERM)


def majority_of(nodes: int) -> int:
    return nodes // 2 + 1


class TailQuorum:
    """R2, from the question (`ask`) to the bound."""

    __slots__ = ("_answers", "_nodes", "token")

    def __init__(self, token: int, nodes: int) -> None:
        self.token = token
        self._nodes = nodes
        self._answers: dict[int, EntryId] = {}

    def on_tail(self, index: int, tail: Tail) -> EntryId | None:
        """The bound, once it is known."""
        if tail.token != self.token:
            return None
        self._answers[index] = max(tail.durable, self._answers.get(index, NO_ENTRY))
        if len(self._answers) < majority_of(self._nodes):
            return None
        return max(self._answers.values())

    @property
    def answered(self) -> int:
        return len(self._answers)

    def reset(self) -> None:
        """S8: answers under an older membership no longer count."""
        self._answers.clear()


@dataclass(slots=True)
class ProbeResult:
    """``would_promise``: a majority would, now. ``held_ms``: the longest window that any node
    reported, 0 if none did. ``wait_ms``: the time until enough windows are closed for a majority.
    ``windows``: the writers with open windows, and for how many ms.
    """

    would_promise: bool
    answers: int
    held: int
    held_ms: int
    wait_ms: int = 0
    windows: tuple[tuple[bytes, int], ...] = ()


class ProbeQuorum:
    """W1's last sentence: whether a majority would promise."""

    __slots__ = ("_held", "_nodes", "_unable", "_willing", "_windows", "ballot_id")

    def __init__(self, ballot_id: bytes, nodes: int) -> None:
        self.ballot_id = ballot_id
        self._nodes = nodes
        self._willing: set[int] = set()
        self._held: dict[int, int] = {}
        self._unable: set[int] = set()  # for example with a full disk
        self._windows: dict[bytes, int] = {}

    def on_answer(
        self, index: int, answer: Promised | LeaseHeld | Refused | Behind | Unavailable
    ) -> bool:
        """True once no further answer can change the result."""
        if isinstance(answer, Promised):
            self._willing.add(index)
        elif isinstance(answer, LeaseHeld):
            self._held[index] = answer.left_ms
            if answer.writer:
                self._windows[answer.writer] = max(
                    answer.left_ms, self._windows.get(answer.writer, 0)
                )
        else:
            self._unable.add(index)
        needed, no = majority_of(self._nodes), len(self._held) + len(self._unable)
        return (
            len(self._willing) >= needed
            or no > self._nodes - needed
            or len(self._willing) + no == self._nodes
        )

    def reset(self) -> None:
        """S8: answers under an older membership no longer count."""
        self._willing.clear()
        self._held.clear()
        self._unable.clear()
        self._windows.clear()

    def result(self) -> ProbeResult:
        willing, waits = len(self._willing), sorted(self._held.values())
        missing = majority_of(self._nodes) - willing
        return ProbeResult(
            missing <= 0, willing + len(waits), len(waits), max(waits, default=0),
            waits[min(missing, len(waits)) - 1] if waits and missing > 0 else 0,
            tuple(self._windows.items()),
        )  # fmt: skip
