"""A session's transaction before it runs: the queue of MULTI and the watched keys.

Decides: what joins the queue, what makes the transaction fail, what its end clears.
Must not know: what EXEC does, what receives commands, roles. The receiver of a command calls
`queue` for a session in MULTI, except for commands in `IMMEDIATE`.
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


_ARGUMENT_BYTES: Final = 50  # what an argument costs in addition to its own bytes, about


def queue(engine: Engine, session: Session, row: Row, argv: list[bytes]) -> bytes:
    """Add a command, found and valid, to the session's transaction, or refuse it.
    A refusal makes the transaction fail.
    """
    assert session.multi is not None, "queuing outside MULTI"
    if row.flags & NO_MULTI:
        return refuse(
            engine, session, argv, reply.error("ERR Command not allowed inside a transaction")
        )
    session.multi_bytes += sum(map(len, argv)) + _ARGUMENT_BYTES * len(argv)
    if session.multi_bytes > engine.settings.client_query_buffer_limit:
        session.multi.clear()  # nothing of it will run; later commands are not kept either
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
    """Return the reply to a command that is refused before it runs (``error``, encoded).
    The refusal makes a transaction fail; a refused EXEC ends it.
    """
    if argv[0].upper() == b"EXEC":
        end_transaction(engine, session)
        return b"-EXECABORT Transaction discarded because of: " + error[1:].removeprefix(b"ERR ")
    if session.multi is not None:
        session.multi_failed = True
    return error


def writes(session: Session) -> bool:
    """Return True if the session's queue holds a write command."""
    return any(
        isinstance(queued, Row) and queued.flags & WRITE for queued, _ in session.multi or ()
    )


def looks(session: Session) -> bool:
    """Return True if the session's queue holds a command that reads data."""
    return any(
        isinstance(queued, Row) and not queued.flags & (LOCAL | LOADING)
        for queued, _ in session.multi or ()
    )


def end_transaction(engine: Engine, session: Session) -> None:
    """Leave MULTI and clear the queue and the watched keys.
    This serves DISCARD, RESET, a closed connection and a role change.
    """
    session.multi = None
    session.multi_bytes = 0
    session.multi_failed = False
    engine.watched.unwatch_all(engine, session)
    session.update_fast_path()
