"""Strong reads at a replica: which sessions wait for the log's tail, and when they may go on (rule
R2).

Decides: which question covers which read, and when a read is as fresh as the answer.
Must not know: how the question is asked, what a command does. A question covers the commands that
were parked before it was asked; later ones share the next question. An answer is an entry id: the
reads may run when the newest applied entry's id is at or above it.
Invariant: an answer counts for a session only if nothing was taken of what its question covers
(`Session.question`): what came later would be read under a question older than itself.
"""

from __future__ import annotations

from collections import deque

from memstore.engine.session import Session
from txlog.entry import EntryId


class StrongReads:
    __slots__ = ("_asked", "_asking", "_behind", "_hurry", "_question", "_under_way", "_waiting")

    def __init__(self) -> None:
        self._asking: list[Session] = []  # parked, not covered by a question yet
        # (session, commands covered) of the question under way
        self._asked: list[tuple[Session, int]] = []
        # (bound, deadline_us, question, covered): answered, not applied yet
        self._waiting: deque[tuple[EntryId, int, int, list[tuple[Session, int]]]] = deque()
        self._question = 0  # number of the question under way or, when none is, of the last one
        # session reads: (position wanted, deadline_us, session)
        self._behind: list[tuple[int, int, Session]] = []
        self._hurry = False  # one of those came, and the log was not asked since
        self._under_way = False  # a question is, that may cover nobody

    @property
    def wanted(self) -> bool:
        """A question should be asked, and none is under way that covers reads,
        or that would do as well.
        """
        return not self._asked and (bool(self._asking) or (self._hurry and not self._under_way))

    def want(self, session: Session) -> None:
        self._asking.append(session)

    def want_position(self, session: Session, position: int, deadline_us: int) -> None:
        """A session read that waits for a position it has seen elsewhere. A question about the tail
        also tells the log that somebody waits.
        """
        self._behind.append((position, deadline_us, session))
        self._hurry = True

    def on_asked(self) -> int:
        """The question is being asked now: what is parked now is covered.
        Its number, for `on_tail`.
        """
        assert not self._asked, "one question at a time"
        self._under_way = True
        self._asked = [(session, len(session.parked)) for session in self._asking]
        self._question += 1
        for session in self._asking:
            session.question = self._question
        self._asking, self._hurry = [], False
        return self._question

    def on_tail(
        self, question: int, bound: EntryId | None, applied: EntryId, deadline_us: int, error: bytes
    ) -> list[Session]:
        """The answer (None: no majority). Sessions that may go on now."""
        if question != self._question:
            # asked before a change of role, or covered nobody and another was asked since
            return []
        self._under_way = False
        covered, self._asked = self._asked, []
        if bound is None:
            return grant(question, covered, error)
        if applied >= bound:
            return grant(question, covered, b"")
        self._waiting.append((bound, deadline_us, question, covered))
        return []

    def on_applied(self, applied: EntryId) -> list[Session]:
        ready: list[Session] = []
        while self._waiting and applied >= self._waiting[0][0]:
            _, _, question, covered = self._waiting.popleft()
            ready += grant(question, covered, b"")
        if self._behind:
            ready += [session for position, _, session in self._behind if position <= applied[1]]
            self._behind = [one for one in self._behind if one[0] > applied[1]]
        return ready

    def deadline(self) -> int:
        """When the oldest answered question, or a session read, has waited too long, us;
        0: none waits.
        """
        times = [until for _, until, _ in self._behind]
        if self._waiting:
            times.append(self._waiting[0][1])
        return min(times, default=0)

    def on_deadline(self, now_us: int, error: bytes) -> list[Session]:
        ready: list[Session] = []
        while self._waiting and self._waiting[0][1] <= now_us:
            _, _, question, covered = self._waiting.popleft()
            ready += grant(question, covered, error)
        late = [session for _, until, session in self._behind if until <= now_us]
        if late:
            self._behind = [one for one in self._behind if one[1] > now_us]
            for session in late:
                session.grant, session.verdict = len(session.parked), error
        return ready + late

    def forget(self, session: Session) -> None:
        """It is gone; nobody asks for it any more. (A question covers few, and is soon over.)"""
        if self._behind:
            self._behind = [one for one in self._behind if one[2] is not session]

    def restart(self) -> list[Session]:
        """The role changed: every read that waited begins again. The answer of a question under way
        will count for nothing.
        """
        self._question += 1
        sessions = self._asking + [session for session, _ in self._asked]
        sessions += [session for _, _, _, covered in self._waiting for session, _ in covered] + [
            session for _, _, session in self._behind
        ]
        self._asking, self._asked, self._behind, self._hurry, self._under_way = (
            [],
            [],
            [],
            False,
            False,
        )
        self._waiting.clear()
        for session in sessions:
            session.grant = session.question = 0
        return sessions


def grant(question: int, covered: list[tuple[Session, int]], verdict: bytes) -> list[Session]:
    """The sessions that may go on by the answer."""
    granted = []
    for session, count in covered:
        if session.question == question:
            session.grant, session.verdict, session.question = count, verdict, 0
            granted.append(session)
    return granted
