"""When the lease keeper renews, and which answers count. It is a plain machine: readings, answers
and time are its inputs, a question is its output.

Decides: whether the loop is inside one long command, whether the lease may still be renewed, when
the next Renew is due.
Must not know: sockets, processes, the source of the readings.

Invariants (L2, L7): it asks a question only for the order read at that moment; only while the beat
has stopped for more than a quarter of the lease and less than the limit; only while the lease is
valid; never while the primary is stopped or has ended. An answer counts once a node, and only for
the term and ballot id of the present order. It counts from the clock reading that was taken before
its question was sent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from txlog.lease_keeper.board import Answers, RenewalOrder

# the kernel's letters for a process that is stopped, traced or dead
STOPPED: Final = frozenset("TtZXx")
WAITING: Final = "D"  # in the kernel, uninterruptible: it waits for a disk, or is frozen
FIRST_NUMBER: Final = 1 << 62  # differs from all of the proposer's numbers
_REMEMBERED: Final = 16  # questions that still accept an answer


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """A Renew to every log node."""

    order: RenewalOrder
    number: int
    sent_us: int  # clock reading before the first byte leaves


class Renewer:
    def __init__(self, nodes: int, limit_us: int) -> None:
        self.limit_us = limit_us
        self._nodes = nodes
        self._order: RenewalOrder | None = None
        self._sent_us = [0] * nodes
        self._requests: deque[RenewRequest] = deque(maxlen=_REMEMBERED)
        self._number = FIRST_NUMBER
        self._counted = 0  # questions that a majority has answered
        self._last_counted = 0  # the newest of them
        self._beat_us = 0
        self._asked_us = 0  # in the present stand-still, 0: nothing yet
        self._over = False  # no more renewals in this stand-still
        self._waits_since = 0  # since then every reading of the primary's state was D

    def on_tick(
        self, now_us: int, beat_us: int, lease_until_us: int, order: RenewalOrder | None, state: str
    ) -> RenewRequest | None:
        """Return a question that is to be sent now. ``now_us`` was read before everything else;
        ``state`` is the kernel's letter for the primary.
        """
        if (
            order is None
            or self._order is None
            or (order.term, order.ballot_id) != (self._order.term, self._order.ballot_id)
        ):
            self._begin(order)
        if beat_us != self._beat_us:
            self._beat_us = beat_us
            self._asked_us = self._waits_since = 0
            self._over = False
        if order is None or self._over:
            return None
        quarter_us = order.lease_ms * 250
        stood_us = now_us - beat_us
        if stood_us <= quarter_us:
            return None
        if stood_us >= self.limit_us or now_us >= max(lease_until_us, self.lease_until_us):
            self._over = True
            return None
        if (
            self._is_stopped(state, now_us, order.lease_ms * 1000)
            or now_us < self._asked_us + quarter_us
        ):
            return None
        self._asked_us = now_us
        self._number += 1
        question = RenewRequest(order, self._number, now_us)
        self._requests.append(question)
        return question

    def _begin(self, order: RenewalOrder | None) -> None:
        """A new order begins: answers of another term or ballot id do not count."""
        self._order = order
        self._sent_us = [0] * self._nodes
        self._requests.clear()
        self._counted = self._last_counted = 0
        self._asked_us = 0

    def _is_stopped(self, state: str, now_us: int, lease_us: int) -> bool:
        if state != WAITING:
            self._waits_since = 0
            return not state or state in STOPPED
        if not self._waits_since:
            self._waits_since = now_us
        return now_us - self._waits_since >= lease_us

    def on_renewed(self, node: int, term: int, ballot_id: bytes, number: int) -> bool:
        """A log node answered `Renewed`. True: `answers` has changed."""
        order = self._order
        if order is None or term != order.term or ballot_id != order.ballot_id:
            return False
        question = next(
            (question for question in self._requests if question.number == number), None
        )
        if question is None or question.sent_us <= self._sent_us[node]:
            return False
        self._sent_us[node] = question.sent_us
        if self._majority_sent_us() > self._last_counted:
            self._last_counted = self._majority_sent_us()
            self._counted += 1
        return True

    def _majority_sent_us(self) -> int:
        """The newest time at or after which a majority was sent what it has answered; 0: none."""
        return sorted(self._sent_us, reverse=True)[self._nodes // 2]

    @property
    def lease_until_us(self) -> int:
        """The lease's end by the answers counted here."""
        sent_us = self._majority_sent_us()
        return sent_us + self._order.lease_ms * 1000 if sent_us and self._order is not None else 0

    @property
    def answers(self) -> Answers | None:
        if self._order is None:
            return None
        return Answers(self._order.term, self._order.ballot_id, self._counted, tuple(self._sent_us))
