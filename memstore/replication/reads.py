"""Strong reads at a replica: which sessions wait for the log's tail, and when they may go on (rule
R2).

Decides: which query covers which read, and when the applied state is as fresh as the answer.
Must not know: how the query is sent, what a command does. A query covers the commands that were
parked before it was sent; later commands share the next query. An answer is an entry id: the reads
may run when the newest applied entry's id is at or above it.
Invariant: an answer counts for a session only if none of the commands that its query covers was
taken since (`Session.tail_query`). Otherwise a later command would run under a query older than
itself.
"""

from __future__ import annotations

from collections import deque

from memstore.engine.session import Session
from txlog.entry import EntryId


class StrongReads:
    __slots__ = ("_asked", "_asking", "_behind", "_hurry", "_query", "_under_way", "_waiting")

    def __init__(self) -> None:
        self._asking: list[Session] = []  # parked, not covered by a query yet
        # (session, commands covered) of the current query
        self._asked: list[tuple[Session, int]] = []
        # (bound, deadline_us, query, covered): answered, not applied yet
        self._waiting: deque[tuple[EntryId, int, int, list[tuple[Session, int]]]] = deque()
        self._query = 0  # number of the current query or, when there is none, of the last one
        # session reads: (position wanted, deadline_us, session)
        self._behind: list[tuple[int, int, Session]] = []
        self._hurry = False  # a session read came since the last query
        self._under_way = False  # a query is in flight; it may cover no read

    @property
    def wanted(self) -> bool:
        """Whether to send a query now: reads wait for one, and no query in flight covers reads or
        would serve as well.
        """
        return not self._asked and (bool(self._asking) or (self._hurry and not self._under_way))

    def want(self, session: Session) -> None:
        self._asking.append(session)

    def want_position(self, session: Session, position: int, deadline_us: int) -> None:
        """A session read waits for a position that it has seen elsewhere. A query about the tail
        also notifies the log that a read waits.
        """
        self._behind.append((position, deadline_us, session))
        self._hurry = True

    def on_asked(self) -> int:
        """A query is sent now and covers what is parked now. Returns its number, for `on_tail`."""
        assert not self._asked, "one query at a time"
        self._under_way = True
        self._asked = [(session, len(session.parked)) for session in self._asking]
        self._query += 1
        for session in self._asking:
            session.tail_query = self._query
        self._asking, self._hurry = [], False
        return self._query

    def on_tail(
        self, query: int, bound: EntryId | None, applied: EntryId, deadline_us: int, error: bytes
    ) -> list[Session]:
        """An answer (None: no majority). Returns the sessions that may go on now."""
        if query != self._query:
            # sent before a change of role, or it covered no read and a newer query was sent
            return []
        self._under_way = False
        covered, self._asked = self._asked, []
        if bound is None:
            return grant(query, covered, error)
        if applied >= bound:
            return grant(query, covered, b"")
        self._waiting.append((bound, deadline_us, query, covered))
        return []

    def on_applied(self, applied: EntryId) -> list[Session]:
        ready: list[Session] = []
        while self._waiting and applied >= self._waiting[0][0]:
            _, _, query, covered = self._waiting.popleft()
            ready += grant(query, covered, b"")
        if self._behind:
            ready += [session for position, _, session in self._behind if position <= applied[1]]
            self._behind = [one for one in self._behind if one[0] > applied[1]]
        return ready

    def deadline(self) -> int:
        """The earliest time (us) at which an answered query or a session read has waited too long;
        0: none waits.
        """
        times = [until for _, until, _ in self._behind]
        if self._waiting:
            times.append(self._waiting[0][1])
        return min(times, default=0)

    def on_deadline(self, now_us: int, error: bytes) -> list[Session]:
        ready: list[Session] = []
        while self._waiting and self._waiting[0][1] <= now_us:
            _, _, query, covered = self._waiting.popleft()
            ready += grant(query, covered, error)
        late = [session for _, until, session in self._behind if until <= now_us]
        if late:
            self._behind = [one for one in self._behind if one[1] > now_us]
            for session in late:
                session.reads_covered, session.read_error = len(session.parked), error
        return ready + late

    def forget(self, session: Session) -> None:
        """The session is gone. (A query covers few sessions and is soon over, so it stays.)"""
        if self._behind:
            self._behind = [one for one in self._behind if one[2] is not session]

    def restart(self) -> list[Session]:
        """The role changed: every waiting read begins again. The answer to a query in flight will
        be ignored.
        """
        self._query += 1
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
            session.reads_covered = session.tail_query = 0
        return sessions


def grant(query: int, covered: list[tuple[Session, int]], verdict: bytes) -> list[Session]:
    """Apply the verdict to the sessions that the query covers; return those that may go on."""
    granted = []
    for session, count in covered:
        if session.tail_query == query:
            session.reads_covered, session.read_error, session.tail_query = count, verdict, 0
            granted.append(session)
    return granted
