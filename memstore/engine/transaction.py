"""A session's transaction before it runs: the queue of MULTI and the keys it watches.

Decides: what joins the queue, what spoils it, what is forgotten at its end.
Must not know: what EXEC does, who receives commands, roles. Whoever receives commands calls `queue`
for a session in MULTI, except for those in `IMMEDIATE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memstore.engine import reply
from memstore.engine.command import LOADING, LOCAL, NO_MULTI, WRITE, Row
from memstore.engine.session import Session

if TYPE_CHECKING:
    from memstore.engine.engine import Engine

# run at once even in MULTI
IMMEDIATE: Final = frozenset({b"EXEC", b"DISCARD", b"MULTI", b"WATCH", b"QUIT", b"RESET"})


_ARGUMENT_BYTES: Final = 50  # what an argument costs beside its own bytes, about


def queue(engine: Engine, session: Session, row: Row, argv: list[bytes]) -> bytes:
    """Take a command, found and fit, into the session's transaction, or refuse it,
    which spoils the transaction.
    """
    assert session.multi is not None, "queuing outside MULTI"
    if row.flags & NO_MULTI:
        return refuse(
            engine, session, argv, reply.error("ERR Command not allowed inside a transaction")
        )
    session.multi_bytes += sum(map(len, argv)) + _ARGUMENT_BYTES * len(argv)
    if session.multi_bytes > engine.settings.client_query_buffer_limit:
        session.multi.clear()  # nothing of it will run; what follows is not kept either
        return refuse(
            engine,
            session,
            argv,
            reply.error("ERR the transaction's queue is larger than client-query-buffer-limit"),
        )
    if not session.multi_failed:
        session.multi.append((row, argv))
    return reply.QUEUED


def refuse(engine: Engine, session: Session, argv: list[bytes], error: bytes) -> bytes:
    """What a command is told that is refused before it runs (``error``, encoded): it spoils a
    transaction, and an EXEC refused ends it.
    """
    if argv[0].upper() == b"EXEC":
        end_transaction(engine, session)
        return b"-EXECABORT Transaction discarded because of: " + error[1:].removeprefix(b"ERR ")
    if session.multi is not None:
        session.multi_failed = True
    return error


def writes(session: Session) -> bool:
    """Whether the session's transaction queue holds a write command."""
    return any(
        isinstance(queued, Row) and queued.flags & WRITE for queued, _ in session.multi or ()
    )


def looks(session: Session) -> bool:
    """Whether the session's transaction queue holds a command that looks at data."""
    return any(
        isinstance(queued, Row) and not queued.flags & (LOCAL | LOADING)
        for queued, _ in session.multi or ()
    )


def end_transaction(engine: Engine, session: Session) -> None:
    """Leave MULTI and forget the queue and the watched keys:
    DISCARD, RESET, a closed connection, a role change.
    """
    session.multi = None
    session.multi_bytes = 0
    session.multi_failed = False
    engine.watched.unwatch_all(engine, session)
    session.update_fast_path()
