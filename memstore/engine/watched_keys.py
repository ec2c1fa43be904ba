"""The keys that sessions watch, and what a change of one of them does.

Decides: which sessions fail their EXEC after a unit.
Must not know: how a transaction runs, which path executed the unit. A change of whole databases
names the watched keys that it changes, so a check of ``changed`` is enough.
Invariant: it is among the engine's observers if and only if some key is watched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memstore.engine.session import Session

if TYPE_CHECKING:
    from memstore.engine.engine import Engine

Place = tuple[int, bytes]  # (database, key)


class WatchedKeys:
    __slots__ = ("sessions", "spared")

    def __init__(self) -> None:
        self.sessions: dict[Place, list[Session]] = {}
        # The session whose WATCH is the current unit. That unit only deletes keys that had expired
        # before, which is no change for this session.
        self.spared: Session | None = None

    def watch(self, engine: Engine, session: Session, place: Place) -> None:
        if not self.sessions:
            engine.observers.append(self)
        session.watched.append(place)
        self.sessions.setdefault(place, []).append(session)

    def unwatch_all(self, engine: Engine, session: Session) -> None:
        """Forget which keys the session watches and whether they changed."""
        for place in session.watched:
            sessions = self.sessions[place]
            sessions.remove(session)
            if not sessions:
                del self.sessions[place]
        if session.watched and not self.sessions:
            engine.observers.remove(self)
        session.watched = []
        session.watched_gone.clear()
        session.watch_failed = False

    def after_unit(self, changed: list[bytes | Place], position: int) -> None:
        spared, self.spared = self.spared, None
        for key in changed:
            place = key if isinstance(key, tuple) else (0, key)
            for session in self.sessions.get(place, ()):
                if session is not spared:
                    session.watch_failed = True
