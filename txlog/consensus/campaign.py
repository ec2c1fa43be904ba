"""Becoming the writer: what a candidate reads first, and how it counts answers (W1, W5).
The answers are to a Seal or to a probe.

Decides: from which log a candidate continues; whether a ballot is won, lost or open, and why it was
lost.
Must not know: timers, what a writer does once it is elected (`proposer`).

Invariants: a ballot counts only answers to its own term, ballot id and kind, one per node; a probe
never counts as a promise.
"""

from __future__ import annotations

from typing import Literal

from txlog.consensus.quorum import majority
from txlog.entry import FORMAT_VERSION, Entry, EntryError, EntryId, can_pass, decode_entry
from txlog.messages import Behind, Fetched, LeaseHeld, Message, Promised, Refused, Seal, Unavailable

Verdict = Literal["open", "won", "held", "behind", "refused"]
Standing = Literal["won", "fenced", "refused", "open"]


class Ballot:
    """The answers to one Seal, sent to every node."""

    __slots__ = (
        "behind",
        "held",
        "held_promised",
        "highest",
        "message",
        "nodes",
        "promised",
        "refused",
        "unavailable",
        "windows",
    )

    def __init__(self, nodes: int, message: Seal) -> None:
        self.nodes = nodes
        self.message = message
        self.promised: dict[int, Promised] = {}
        self.held: dict[int, int] = {}  # node -> ms left of another's window
        # node -> the term promised there, of the nodes in `held`
        self.held_promised: dict[int, int] = {}
        # writer -> the longest ms left of its window on any node
        self.windows: dict[bytes, int] = {}
        self.behind: dict[int, EntryId] = {}
        self.refused: dict[int, int] = {}
        self.unavailable: dict[int, str] = {}
        self.highest = 0  # greatest promised term in any answer

    def on_message(self, node: int, message: Message) -> bool:
        """False: the message is not an answer to this ballot."""
        seal = self.message
        if (
            not isinstance(message, Promised | Refused | LeaseHeld | Behind | Unavailable)
            or message.term != seal.term
            or message.ballot_id != seal.ballot_id
        ):
            return False
        if isinstance(message, Unavailable):
            if message.number:
                return False
            self.unavailable[node] = message.reason
            return True
        if isinstance(message, Promised):
            if message.probe != seal.probe:
                return False
            self._forget(node)
            self.promised[node] = message
        else:
            self.highest = max(self.highest, message.promised)
            if node in self.promised:
                # an older copy of the question got a different answer; the promise of this node
                # still counts
                return True
            self._forget(node)
            if isinstance(message, LeaseHeld):
                self.held[node] = message.left_ms
                if message.writer:
                    self.windows[message.writer] = max(
                        message.left_ms, self.windows.get(message.writer, 0)
                    )
                self.held_promised[node] = message.promised
            elif isinstance(message, Behind):
                self.behind[node] = message.last
            else:
                self.refused[node] = message.promised
        return True

    def _forget(self, node: int) -> None:
        self.held.pop(node, None)
        self.held_promised.pop(node, None)
        self.behind.pop(node, None)
        self.refused.pop(node, None)
        self.unavailable.pop(node, None)

    def may_be_won(self, working: set[int]) -> bool:
        """Can this ballot still get a majority?
        The nodes that have promised count, and those ``working`` on it. A node that has refused the
        ballot does not work on it.
        """
        down = {*self.held, *self.behind, *self.refused, *self.unavailable}
        return len((working - down).union(self.promised)) >= majority(self.nodes)

    def standing(self, term: int) -> tuple[Standing, str]:
        """W5: the result of a re-seal by the writer of ``term``, with the reason if it is fenced.
        "refused": a majority can promise only a higher term.
        """
        needed = majority(self.nodes)
        if len(self.promised) >= needed:
            return "won", ""
        if (
            len(self.refused) + sum(promised > term for promised in self.held_promised.values())
            >= needed
        ):
            # Another's window holds the node, under a promise higher than ours: that writer was
            # elected. With a window alone (L3, a restarted node) the writer waits.
            return "fenced", f"a majority has promised term {self.highest}"
        able = self.nodes - len(self.behind) - len(self.unavailable)
        if able < needed:
            return "fenced", "no majority is able to promise: " + self.describe()
        return ("refused" if self.refused and able - len(self.refused) < needed else "open"), ""

    def verdict(self, final: bool = False) -> Verdict:
        """``final``: no more answers will come.
        A lost ballot is named by the cause that may pass: windows close, logs can be read again.
        """
        needed = majority(self.nodes)
        if len(self.promised) >= needed:
            return "won"
        no = len(self.held) + len(self.behind) + len(self.refused) + len(self.unavailable)
        if not final and self.nodes - no >= needed:
            return "open"
        if self.held:
            return "held"
        return "behind" if self.behind else "refused"

    def wait_ms(self) -> int:
        """The time until enough windows are closed for a majority (LeaseHeld)."""
        missing = majority(self.nodes) - len(self.promised)
        waits = sorted(self.held.values())
        return waits[min(missing, len(waits)) - 1] if waits else 0

    def describe(self) -> str:
        parts = [
            f"{len(self.promised)} of {self.nodes} log nodes would promise"
            if self.message.probe
            else f"{len(self.promised)} of {self.nodes} log nodes promised"
        ]
        parts += [
            f"{len(group)} {name}"
            for group, name in (
                (self.held, "held by a lease"),
                (self.behind, "ahead of us"),
                (self.refused, "promised a higher term"),
            )
            if group
        ]
        parts += sorted(set(self.unavailable.values()))
        return ", ".join(parts)


class Reading:
    """W1's Fetch: the answers of a majority, then everything after the applied entry.
    The entries come from the node with the greatest last id.
    """

    __slots__ = (
        "answers",
        "applied",
        "chain",
        "committed",
        "expected",
        "highest",
        "nodes",
        "prefix",
        "source",
        "token",
    )

    def __init__(self, nodes: int, token: int, applied: EntryId, applied_chain: bytes) -> None:
        self.nodes = nodes
        self.token = token
        self.applied = applied
        self.chain = applied_chain
        self.answers: dict[int, Fetched] = {}
        self.highest = 0  # greatest term seen in a promise or an entry
        self.committed = 0
        self.source = -1  # the node that we read from, -1: not chosen yet
        self.expected = applied  # the id of the last entry that has been read
        self.prefix: list[Entry] = []

    def on_fetched(self, node: int, answer: Fetched) -> Literal["wait", "more", "done"] | str:
        """ "more": ask `source` for what follows `expected`.
        "wait": more answers are needed. "done": everything is read. Any other text is the reason
        why this reading failed.
        """
        self.highest = max(self.highest, answer.promised, answer.last[0])
        # a suspect node counts in no majority (S3)
        if answer.token != self.token or answer.suspect:
            return "wait"
        if self.source >= 0:
            return self._read(answer) if node == self.source else "wait"
        self.answers[node] = answer
        self.committed = max(self.committed, answer.committed)
        if len(self.answers) < majority(self.nodes):
            return "wait"
        best = max(sorted(self.answers), key=lambda index: self.answers[index].last)
        if self.answers[best].last <= self.applied:
            return "done"
        self.source = best
        return self._read(self.answers[best])

    def _read(self, answer: Fetched) -> str:
        if answer.last <= self.expected:
            return "done"
        if not answer.entries:
            return f"entry {self.expected[1] + 1} cannot be read"
        try:
            for encoded in answer.entries:
                entry = decode_entry(encoded)
                if entry.position <= self.expected[1]:
                    continue
                if (
                    entry.position != self.expected[1] + 1
                    or entry.previous_chain != self.chain
                    or entry.term < self.expected[0]
                ):
                    return f"the log changed at entry {entry.position} while it was read"
                if entry.format > FORMAT_VERSION or not can_pass(entry.kind):
                    return (
                        f"entry {entry.position} has kind {entry.kind} format {entry.format}, "
                        "which this version cannot read"
                    )
                self.prefix.append(entry)
                self.expected, self.chain = entry.id, entry.chain
        except EntryError as error:
            return f"unreadable entry: {error}"
        return "done" if self.expected >= answer.last else "more"
