"""The tracker: it holds each reply until everything that the reply shows is committed.

Decides: which position a reply waits for, and which replies a commit releases.
Must not know: commands, roles, sockets, the log's entries.

For each key with an uncommitted change it knows the position of the last such change. Keys of
database 0 stand for themselves, others as (database, key). A reply is held at the highest position
among its own writes and the dirty keys that it looked at. Replies of one session leave in order.

Dirty keys are in two generations, so that forgetting them costs nothing for each key. When
everything in the old generation is committed, the young generation becomes the old one. A key found
with a committed position is clean.
Invariants: ``committed <= latest``; a session's held positions never go down; ``busy == (latest >
committed)``.
"""

from __future__ import annotations

from typing import Final

from memstore.engine.session import Held, Session

Key = bytes | tuple[int, bytes]
FAR: Final = 1 << 62  # the position of what must never be released: only a demotion ends that wait


class Tracker:
    __slots__ = (
        "_all",
        "_old",
        "_old_latest",
        "_waiting",
        "_young",
        "busy",
        "committed",
        "held_bytes",
        "latest",
    )

    def __init__(self, committed: int = 0) -> None:
        self.reset(committed)

    def reset(self, committed: int) -> None:
        """Nothing is in flight; everything up to ``committed`` is committed."""
        self.committed = committed
        self.latest = committed
        self.busy = False
        self.held_bytes = 0
        self._young: dict[Key, int] = {}
        self._old: dict[Key, int] = {}
        self._old_latest = committed
        self._all: dict[int, int] = {}  # database -> position of its last change as a whole
        self._waiting: dict[int, list[Session]] = {}  # position -> sessions with a reply held at it

    # ----------------------------------------------------------------- changes

    def mark(self, keys: list[Key], databases: list[int], position: int) -> None:
        """Record that these keys, and these databases as a whole, changed in the entry that will
        have ``position``.
        """
        assert position > self.committed and position >= self.latest, (
            "changes come in order, before their commit"
        )
        self.latest = position
        self.busy = True
        young = self._young
        for key in keys:
            young[key] = position
        for database in databases:
            self._all[database] = position

    # ----------------------------------------------------------------- questions

    def position_of(self, key: Key) -> int:
        """The position of the key's last uncommitted change; 0: none."""
        position = self._young.get(key) or self._old.get(key, 0)
        if self._all:
            position = max(position, self._all.get(key[0] if type(key) is tuple else 0, 0))
        return position if position > self.committed else 0

    def position_of_all(self, keys: list[Key]) -> int:
        return max(map(self.position_of, keys), default=0)

    # ----------------------------------------------------------------- replies

    def hold_reply(self, session: Session, held: Held) -> None:
        """Hold a reply until its position is committed. The session's positions never go down."""
        position = held[0]
        assert not session.held or session.held[-1][0] <= position
        session.held.append(held)
        self.held_bytes += len(held[1])
        waiting = self._waiting.get(position)
        if waiting is None:
            self._waiting[position] = [session]
        else:
            waiting.append(session)

    def hold_reply_in_front(self, session: Session, data: bytes, reads: int) -> None:
        """Hold replies that only a demotion may answer, before all that the session waits for. What
        the session waits for is then never released either.
        """
        held = session.held
        if not held:
            self.hold_reply(session, (FAR, data, reads, False))
            return
        held.appendleft((held[0][0], data, reads, False))
        self.held_bytes += len(data)
        items = [(FAR, kept, count, wrote) for _, kept, count, wrote in held]
        held.clear()
        held.extend(items)

    def commit(self, position: int) -> list[tuple[Session, bytes]]:
        """Everything up to ``position`` is committed. Returns what may be written now, one piece a
        session, in the order in which the replies were held.
        """
        if position <= self.committed:
            return []
        first, self.committed = self.committed + 1, position
        released: list[tuple[Session, bytes]] = []
        for at in range(first, min(position, self.latest) + 1):
            for session in self._waiting.pop(at, ()):
                held = session.held
                if len(held) == 1 and held[0][0] <= position:
                    data = held.popleft()[1]
                elif held and held[0][0] <= position:
                    parts = []
                    while held and held[0][0] <= position:
                        parts.append(held.popleft()[1])
                    data = b"".join(parts)
                else:
                    continue  # released already, or the client is gone
                self.held_bytes -= len(data)
                released.append((session, data))
        self._forget()
        return released

    def _forget(self) -> None:
        if self.committed >= self.latest:
            self.busy = False
            self.latest = self.committed
            self._young, self._old, self._all = {}, {}, {}
            self._old_latest = self.committed
        elif self.committed >= self._old_latest:
            self._old, self._young = self._young, {}
            self._old_latest = self.latest

    def shift_positions(self, position: int) -> None:
        """The entry that gathers at ``position``, and those after it, move up by one position. This
        is rare: it walks everything at or above ``position``.
        """
        for generation in (self._young, self._old):
            generation.update({key: at + 1 for key, at in generation.items() if at >= position})
        self._all.update({database: at + 1 for database, at in self._all.items() if at >= position})
        for at in sorted((p for p in self._waiting if position <= p < FAR), reverse=True):
            sessions = self._waiting.pop(at)
            self._waiting[at + 1] = sessions
        for session in {id(s): s for sessions in self._waiting.values() for s in sessions}.values():
            for i, (at, data, reads, wrote) in enumerate(session.held):
                if position <= at < FAR:
                    session.held[i] = (at + 1, data, reads, wrote)
        if self.latest >= position:
            self.latest += 1
        if self._old_latest >= position:
            self._old_latest += 1

    def drop(self, session: Session) -> None:
        """The client is gone: discard its replies."""
        for held in session.held:
            self.held_bytes -= len(held[1])
        session.held.clear()
