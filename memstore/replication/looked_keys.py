"""The keys a command looked at, as the tracker names them.

Decides: which keys' uncommitted changes a reply waits for.
Must not know: positions, roles, what waits.
"""

from __future__ import annotations

from memstore.engine.command import EVERYWHERE, Row
from memstore.engine.context import Context
from memstore.engine.session import Session
from memstore.replication.tracker import Key


def keys_of(context: Context, row: Row, argv: list[bytes]) -> list[Key]:
    """The keys that its row names, and those that its handler noted."""
    keys = argv[1:2] if row.first == 1 == row.last and row.find_keys is None else row.keys(argv)
    index = context.session.db
    named: list[Key] = list(keys) if index == 0 else [(index, key) for key in keys]
    if context.looked:
        named += context.looked
        context.looked.clear()
    return named


def keys_of_exec(context: Context, session: Session, row: Row) -> list[Key]:
    """EXEC looks at every key of its queue and at every watched key. Its handler forgets both, so
    this must run before it. For another row the list is empty.
    """
    if row.name != b"EXEC" or session.multi is None:
        return []
    keys: list[Key] = [(db, key) if db else key for db, key in session.watched]
    for queued, argv in session.multi:
        assert isinstance(queued, Row)
        if queued.flags & EVERYWHERE or queued.name == b"SELECT":
            context.looked_everywhere = True
        keys += [key if session.db == 0 else (session.db, key) for key in queued.keys(argv)]
    return keys
