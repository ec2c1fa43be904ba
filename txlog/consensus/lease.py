"""Both ends of the lease: the log node's window and the writer's lease.
A log node keeps a window for a writer (L1, L3, L4). The writer may rely on its lease until a given
time (L2).

Decides: which writers a log node must turn away and for how long; until when a writer may serve
reads.
Must not know: the log, messages, the meaning of terms. All times are CLOCK_BOOTTIME microseconds of
one process; a window's times never leave its node.

Why it is safe: a window lasts 17/16 of the lease by the node's clock, from a reading *after* the
message came. The writer's lease counts from a reading *before* the message was sent. The majority
that renewed and the majority that a candidate needs share a node. So, while the rates of no two
clocks differ by more than 17/16, the writer has stopped before that node promises anything.
"""

from __future__ import annotations

from txlog.consensus.quorum import held_by_majority


def window_us(lease_ms: int) -> int:
    """A lease's window, rounded up."""
    return (lease_ms * 17_000 + 15) // 16


class Window:
    """A log node's side.
    ``hold_until``: L3, a restarted node does not remember which windows it granted.
    """

    __slots__ = ("_closed_term", "_hold_until", "_reserved_until", "_successor", "_until", "writer")

    def __init__(self, hold_until: int) -> None:
        # the writer that holds the window; empty: none opened in this process life, or it was
        # released
        self.writer = b""
        self._until = 0
        self._hold_until = hold_until
        self._successor = b""
        self._reserved_until = 0
        self._closed_term = 0

    def open(self, writer: bytes, term: int, lease_ms: int, now_us: int) -> bool:
        """L1: an accepted Append or Renew of ``term``.
        It replaces a window of another incarnation. False: released in this term (L4).
        """
        if term <= self._closed_term:
            return False
        until = now_us + window_us(lease_ms)
        if writer != self.writer:
            self.writer = writer
            self._until = until
        elif until > self._until:
            self._until = until
        if self._successor:  # a writer writes again: the reservation is no longer needed
            self._successor = b""
        return True

    def release(self, term: int, successor: bytes, lease_ms: int, now_us: int) -> None:
        """L4: the window stays closed in that term.
        For half a lease the node accepts only the successor.
        """
        self.writer = b""
        self._until = 0
        self._closed_term = term
        self._successor = successor
        self._reserved_until = now_us + lease_ms * 500

    def held_us(self, incarnation: bytes, promised_incarnation: bytes, now_us: int) -> int:
        """How long this incarnation must wait; 0: not at all.
        A writer's own window never makes it wait.
        """
        left = 0
        if self._hold_until > now_us and incarnation != promised_incarnation:
            left = self._hold_until - now_us
        if self._successor and self._reserved_until > now_us:
            return (
                left if incarnation == self._successor else max(left, self._reserved_until - now_us)
            )
        if self._until > now_us and self.writer != incarnation:
            left = max(left, self._until - now_us)
        return left

    def living(self, now_us: int) -> bytes:
        """The writer whose window is open.
        Empty: none is open, or only the hold of a restarted node is left (L3).
        """
        return self.writer if self._until > now_us else b""

    def left_us(self, now_us: int) -> int:
        """The time left of the writer's window, or of the hold that replaces it."""
        return max(self._until, self._hold_until, now_us) - now_us

    def successor(self, now_us: int) -> bytes:
        return self._successor if self._reserved_until > now_us else b""


class WriterLease:
    """L2, the writer's side.
    For each node it keeps when the newest message that the node answered (`Appended`, `Renewed`)
    was created.
    """

    __slots__ = ("_answered", "_lease_us", "over", "until_us")

    def __init__(self, nodes: int, lease_ms: int) -> None:
        self._answered = [0] * nodes
        self._lease_us = lease_ms * 1000
        self.until_us = 0
        self.over = False  # L4: true from the decision to hand over

    def credit(self, node: int, sent_us: int, frozen: bool = False) -> bool:
        """True: the lease now runs longer.
        ``sent_us`` is the clock before the message's first byte left, never that of a resend.
        ``frozen``: L8, the answer is noted and does not extend the lease now.
        """
        answered = self._answered
        if sent_us <= answered[node]:
            return False
        answered[node] = sent_us
        if self.over or frozen:
            return False
        newest = held_by_majority(answered)
        if newest == 0 or newest + self._lease_us <= self.until_us:
            return False
        self.until_us = newest + self._lease_us
        return True

    def new_term(self) -> None:
        """W5: answers of another term do not count; the lease already granted stays."""
        self._answered = [0] * len(self._answered)

    def end(self) -> None:
        self.over = True
        self.until_us = 0
