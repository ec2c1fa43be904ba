"""The waiting machine: which sessions wait for progress of the log, and which may go on now.

Decides: when a wait is over: by progress (of the commit, of this node, of replicas) or by time.
Must not know: commands, replies, sockets, clocks. It returns the waits that are over; the driver
answers them.

A wait has one of these reasons:

- COMMIT: the log has committed its position.
- HERE: this node has applied its position (at a primary: the log has committed it).
- REPLICAS: a given number of replicas have applied its position. If the wait asks for that too
  (``durable``), the log has committed it.

Waits with the same condition are in one queue, ordered by position. So progress examines only the
first wait of each queue and the waits that are over. Another queue orders the deadlines. Adding or
ending a wait costs O(log n). Forgetting one costs O(1); its places in the queues are removed later
(`_Queue`).

Invariants: a session has at most one wait. Each wait is returned once, or forgotten. No wait is
returned before its condition holds or its deadline has passed.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from memstore.engine.requests import WaitForReplicas
from memstore.engine.session import Session

COMMIT: Final = 0
HERE: Final = 1
REPLICAS: Final = 2

COMPACT_MIN: Final = 64  # places of waits that are over, before compacting a queue is worth it
_ANY: Final = 1 << 62  # no replica is asked for: every position is enough


class Wait:
    """One session's wait."""

    __slots__ = (
        "deadline_us", "durable", "is_over", "number", "position", "reason", "replicas", "request",
        "session",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        reason: int,
        position: int,
        deadline_us: int = 0,
        replicas: int = 0,
        durable: bool = False,
        request: WaitForReplicas | None = None,
    ) -> None:
        self.session = session
        self.reason = reason
        self.position = position
        self.deadline_us = deadline_us  # 0: none
        self.replicas = replicas
        self.durable = durable
        self.request = request  # what the driver answers; this machine does not read it
        self.number = 0  # in the order of arrival
        self.is_over = False


class _Queue:
    """A heap of waits, ordered by one number. A wait that is over stays in it until it comes to the
    front, or until half of the queue consists of such waits.
    """

    __slots__ = ("_dead", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Wait]] = []
        self._dead = 0

    def first(self) -> int:
        """The least number of a wait that is not over; -1: there is none."""
        heap = self._heap
        while heap and heap[0][2].is_over:
            heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else -1

    def add(self, at: int, wait: Wait) -> None:
        heappush(self._heap, (at, wait.number, wait))

    def take(self, upto: int) -> list[Wait]:
        """Remove and return the waits whose number is at most ``upto``."""
        heap, taken = self._heap, []
        while heap and (heap[0][2].is_over or heap[0][0] <= upto):
            wait = heappop(heap)[2]
            if wait.is_over:
                self._dead -= 1
            else:
                taken.append(wait)
        return taken

    def on_over(self) -> None:
        """One of its waits ended without being taken out of this queue."""
        self._dead += 1
        if self._dead >= COMPACT_MIN and self._dead * 2 >= len(self._heap):
            self._heap = [place for place in self._heap if not place[2].is_over]
            heapify(self._heap)
            self._dead = 0

    def shift(self, position: int) -> None:
        """Numbers from ``position`` grow by one. The order, and so the heap, does not change."""
        self._heap = [(at + (at >= position), number, wait) for at, number, wait in self._heap]

    def places(self) -> int:
        """How many places the queue takes; some may belong to waits that are over."""
        return len(self._heap)


class Waiting:
    __slots__ = ("_commit", "_deadlines", "_here", "_next", "_replicas", "_waits", "for_replicas")

    def __init__(self) -> None:
        self._waits: dict[Session, Wait] = {}
        self._next = 1
        self._commit = _Queue()
        self._here = _Queue()
        self._replicas: dict[tuple[int, bool], _Queue] = {}  # by (replicas, durable)
        self._deadlines = _Queue()
        self.for_replicas = 0  # waits with the reason REPLICAS

    def __len__(self) -> int:
        return len(self._waits)

    def __bool__(self) -> bool:
        return bool(self._waits)

    def places(self) -> int:
        """How many places all queues take, including those of waits that are over."""
        queues = [self._commit, self._here, self._deadlines, *self._replicas.values()]
        return sum([queue.places() for queue in queues])

    def add(self, wait: Wait) -> None:
        """Even if its condition already holds, only the next `on_progress` returns it."""
        assert wait.session not in self._waits, "a session waits for one thing at a time"
        wait.number, self._next = self._next, self._next + 1
        self._waits[wait.session] = wait
        self._queue_of(wait).add(wait.position, wait)
        if wait.deadline_us:
            self._deadlines.add(wait.deadline_us, wait)
        if wait.reason == REPLICAS:
            self.for_replicas += 1

    def _queue_of(self, wait: Wait) -> _Queue:
        if wait.reason == COMMIT:
            return self._commit
        if wait.reason == HERE:
            return self._here
        key = (wait.replicas, wait.durable)
        queue = self._replicas.get(key)
        if queue is None:
            queue = self._replicas[key] = _Queue()
        return queue

    # ----------------------------------------------------------------- what ends a wait

    def on_progress(self, committed: int, here: int, applied: list[int]) -> list[Wait]:
        """The waits that are over. ``here``: what this node serves; ``applied``: the positions that
        the replicas have applied, in any order.
        """
        if not self._waits:
            return []
        over = self._commit.take(committed) + self._here.take(here)
        if self._replicas:
            over += self._take_replicated(committed, applied)
        for wait in over:
            self._end(wait)
            if wait.deadline_us:
                self._deadlines.on_over()
        return over

    def _take_replicated(self, committed: int, applied: list[int]) -> list[Wait]:
        ranked = sorted(applied, reverse=True)
        over: list[Wait] = []
        for count in range(len(ranked) + 1):
            for durable in (False, True):
                queue = self._replicas.get((count, durable))
                if queue is None:
                    continue
                # ``count`` replicas have applied this position
                upto = ranked[count - 1] if count else _ANY
                over += queue.take(min(upto, committed) if durable else upto)
                if queue.first() < 0:
                    del self._replicas[(count, durable)]
        return over

    def deadline(self) -> int:
        """When to call `on_deadline`; 0: no need."""
        return max(0, self._deadlines.first())

    def on_deadline(self, now_us: int) -> list[Wait]:
        """The waits whose time is over."""
        over = self._deadlines.take(now_us)
        for wait in over:
            self._end(wait)
            self._leave_queue(wait)
        return over

    def forget(self, session: Session) -> None:
        """The client is gone, or something else has answered it."""
        wait = self._waits.get(session)
        if wait is not None:
            self._end(wait)
            self._leave_queue(wait)
            if wait.deadline_us:
                self._deadlines.on_over()

    def clear(self) -> None:
        """Something else answers all of them (a demotion)."""
        self._waits.clear()
        self._commit, self._here, self._deadlines = _Queue(), _Queue(), _Queue()
        self._replicas.clear()
        self.for_replicas = 0

    def _end(self, wait: Wait) -> None:
        wait.is_over = True
        del self._waits[wait.session]
        if wait.reason == REPLICAS:
            self.for_replicas -= 1

    def _leave_queue(self, wait: Wait) -> None:
        queue = self._queue_of(wait)
        queue.on_over()
        if wait.reason == REPLICAS and queue.first() < 0:
            del self._replicas[(wait.replicas, wait.durable)]

    # ----------------------------------------------------------------- positions that move

    def shift_positions(self, position: int) -> None:
        """Uncommitted positions at or above ``position`` move up by one. A HERE wait names a
        position that its client already has, so it does not move.
        """
        for queue in (self._commit, *self._replicas.values()):
            queue.shift(position)
        for wait in self._waits.values():
            if wait.reason != HERE and wait.position >= position:
                wait.position += 1


def wait_of(request: WaitForReplicas, now_us: int) -> Wait:
    """The wait for what a command asked for."""
    deadline_us = now_us + request.timeout_ms * 1000 if request.timeout_ms else 0
    session = request.session
    if request.form == "waitfor":
        return Wait(session, HERE, request.position, deadline_us, request=request)
    # An entry that is not committed can move up, and the session's position moves with it.
    if request.form == "position":
        return Wait(session, COMMIT, session.seen, deadline_us, request=request)
    return Wait(
        session,
        REPLICAS,
        session.seen,
        deadline_us,
        max(0, request.replicas),
        bool(request.local),
        request,
    )
