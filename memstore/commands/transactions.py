"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: transactions.

Decides: when a queue may be built, when it runs, when WATCH stops it.
Must not know: the log, roles, positions. A transaction's effects are one execution unit because
EXEC is one call. `engine.transaction` decides how a queue grows and ends, `engine.watched_keys`
what a change of a watched key does.
"""

from __future__ import annotations

from typing import Final, cast

from memstore.engine import reply
from memstore.engine.command import (
    ALL,
    ALLOW_BUSY,
    FAST,
    LOADING,
    LOCAL,
    NOSCRIPT,
    READONLY,
    SKIP_SLOWLOG,
    STALE,
    Row,
    command,
)
from memstore.engine.context import HIDE_EXPIRED, IGNORE_EXPIRED, Context
from memstore.engine.reply import CommandError
from memstore.engine.session import Session
from memstore.engine.transaction import end_transaction

TOO_MUCH: Final = (
    b"-ERR not run: the transaction's replies are larger than transaction-reply-limit allows\r\n"
)

_FLAGS: Final = NOSCRIPT | LOADING | STALE


def _watched_expired(ctx: Context, session: Session) -> bool:
    """Return True if a watched key has expired since WATCH, which is a change, deleted or not.

    The answer shows that the key is gone. So a primary deletes it here, and the log gets the DEL
    first.
    """
    here, expired = ctx.database, False
    for place in session.watched:
        if place in session.watched_gone:
            continue
        index, key = place
        ctx.database = ctx.keyspace.database(index)
        if 0 <= ctx.database.expire_at(key) <= ctx.due_ms:
            ctx.lookup(key)
            expired = True
    ctx.database = here
    return expired


@command(
    b"MULTI",
    arity=1,
    flags=_FLAGS | FAST | ALLOW_BUSY | LOCAL,
    since="1.2.0",
    group="transactions",
    summary="Begins a transaction",
)
def multi(ctx: Context, argv: list[bytes]) -> bytes:
    session = ctx.session
    if session.multi is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    session.multi = []
    session.multi_failed = False
    session.update_fast_path()
    return reply.OK


@command(
    b"EXEC",
    arity=1,
    flags=_FLAGS | SKIP_SLOWLOG,
    since="1.2.0",
    group="transactions",
    summary="Runs a transaction",
    complexity="That of its commands",
)
def exec_(ctx: Context, argv: list[bytes]) -> bytes:
    session, engine = ctx.session, ctx.engine
    if session.multi is None:
        raise CommandError("ERR EXEC without MULTI")
    queued, failed, queued_bytes = session.multi, session.multi_failed, session.multi_bytes
    stopped = not failed and (session.watch_failed or _watched_expired(ctx, session))
    end_transaction(engine, session)
    if failed:
        raise CommandError("EXECABORT Transaction discarded because of previous errors.")
    if stopped:
        return ctx.nil_array()
    replies = [b"*%d\r\n" % len(queued)]
    size, limit = 0, engine.settings.transaction_reply_limit
    session.multi = queued  # this shows a command that it must not block
    # and this shows how much of a unit's limit is used (`engine.limits`)
    session.multi_bytes = queued_bytes
    try:
        for row, arguments in queued:
            queued_row = cast(Row, row)
            if size > limit and queued_row.flags & READONLY:
                answer: bytes | None = TOO_MUCH
            else:
                answer = engine.call_queued(queued_row, arguments)
            # A command that answers later by other means cannot wait inside a transaction; its
            # reply is a null.
            replies.append(ctx.nil if answer is None else answer)
            size += len(replies[-1])
    finally:
        session.multi = None
        session.multi_bytes = 0
        session.update_fast_path()
    return b"".join(replies)


@command(
    b"DISCARD",
    arity=1,
    flags=_FLAGS | FAST | ALLOW_BUSY | LOCAL,
    since="2.0.0",
    group="transactions",
    summary="Drops a transaction",
)
def discard(ctx: Context, argv: list[bytes]) -> bytes:
    if ctx.session.multi is None:
        raise CommandError("ERR DISCARD without MULTI")
    end_transaction(ctx.engine, ctx.session)
    return reply.OK


@command(
    b"WATCH",
    arity=-2,
    flags=_FLAGS | FAST | ALLOW_BUSY,
    keys=ALL,
    since="2.2.0",
    group="transactions",
    summary="Makes the next EXEC depend on keys",
)
def watch(ctx: Context, argv: list[bytes]) -> bytes:
    session = ctx.session
    if session.multi is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    if ctx.expiry == IGNORE_EXPIRED:
        return reply.OK
    if session.watch_failed or _watched_expired(ctx, session):
        session.watch_failed = True
        return reply.OK  # a watched key has changed already: more keys cannot change the result
    watched = ctx.engine.watched
    for key in argv[1:]:
        place = (session.db, key)
        shown = ctx.lookup(key) is not None
        if place not in session.watched:
            if not shown and ctx.expiry == HIDE_EXPIRED:
                # a hidden key may still exist: its expiry is no change
                session.watched_gone.append(place)
            watched.watch(ctx.engine, session, place)
    if ctx.unit:
        watched.spared = session
    return reply.OK


@command(
    b"UNWATCH",
    arity=1,
    flags=_FLAGS | FAST | ALLOW_BUSY | LOCAL,
    since="2.2.0",
    group="transactions",
    summary="Forgets the watched keys",
)
def unwatch(ctx: Context, argv: list[bytes]) -> bytes:
    ctx.engine.watched.unwatch_all(ctx.engine, ctx.session)
    return reply.OK
