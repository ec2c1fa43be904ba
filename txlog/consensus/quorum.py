"""Counting: what a majority of log nodes has reported. Pure functions and two small counters.

Decides: how many nodes make a majority, what a majority holds, R2's bound, and whether a majority
would promise now (W1's last sentence).
Must not know: logs, leases, connections.
Invariant: any two majorities of one group share a node.
"""

from __future__ import annotations

from typing import Final

from txlog.entry import EntryId
from txlog.messages import LeaseHeld, Message, Promised, Refused, Seal, Tail

# term of a probe that asks about windows only: above every promise, and promises nothing
PROBE_TERM: Final = 1 << 62


def majority(nodes: int) -> int:
    return nodes // 2 + 1


def held_by_majority(values: list[int]) -> int:
    """The greatest value that a majority has reached; one value per node."""
    if len(values) == 3:  # the usual group: the middle one
        a, b, c = values
        if a > b:
            a, b = b, a
        return b if b <= c else (a if a >= c else c)
    return sorted(values)[(len(values) - 1) // 2]


class TailQuestion:
    """R2: ask every node for its last durable id.
    With a majority of answers the bound is the greatest id.
    """

    __slots__ = ("_answers", "_nodes", "bound", "token")

    def __init__(self, nodes: int, token: int) -> None:
        self.token = token
        self.bound: EntryId | None = None
        self._nodes = nodes
        self._answers: dict[int, EntryId] = {}

    def on_tail(self, node: int, answer: Tail) -> EntryId | None:
        """The bound, as soon as it is known.
        The first majority fixes it; later answers are not needed.
        """
        if answer.token == self.token and self.bound is None:
            self._answers[node] = answer.durable
            if len(self._answers) >= majority(self._nodes):
                self.bound = max(self._answers.values())
        return self.bound


class WindowQuestion:
    """Would a majority promise now, as far as lease windows and suspicion decide?
    A replica asks all nodes once per lease if its own log node shows an open window. Perhaps only
    that node still reaches the writer.
    """

    __slots__ = ("_free", "_held", "_nodes", "message", "refused")

    def __init__(self, nodes: int, incarnation: bytes, ballot_id: bytes, lease_ms: int) -> None:
        self.message = Seal(
            PROBE_TERM, incarnation, ballot_id, (PROBE_TERM, PROBE_TERM), lease_ms, True
        )
        self.refused = False
        self._nodes = nodes
        self._free: set[int] = set()
        self._held: dict[int, int] = {}

    def on_message(self, node: int, answer: Message) -> None:
        if (
            isinstance(answer, Promised | LeaseHeld | Refused)
            and answer.term == PROBE_TERM
            and answer.ballot_id == self.message.ballot_id
        ):
            if isinstance(answer, Promised):
                self._free.add(node)
            elif isinstance(answer, LeaseHeld):
                self._held[node] = answer.left_ms
            else:
                self.refused = True

    @property
    def would(self) -> bool:
        return len(self._free) >= majority(self._nodes)

    @property
    def held_ms(self) -> int:
        """With these answers, the time until enough windows are closed.
        0: a majority would promise, or waiting for windows would not help.
        """
        missing = majority(self._nodes) - len(self._free)
        if missing <= 0 or missing > len(self._held):
            return 0
        return sorted(self._held.values())[missing - 1]
