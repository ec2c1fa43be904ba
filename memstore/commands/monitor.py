"""MONITOR: a client asks to see every command that this node runs.

Decides: which clients may ask.
Must not know: how a command is shown (`memstore.engine.monitor`), or when a line is sent.
"""

from __future__ import annotations

from memstore.engine import reply
from memstore.engine.command import ADMIN, LOADING, LOCAL, NOSCRIPT, STALE, command
from memstore.engine.context import Context


@command(
    b"MONITOR",
    arity=1,
    flags=ADMIN | NOSCRIPT | LOADING | STALE | LOCAL,
    group="server",
    summary="Be shown every command this node runs",
)
def monitor(ctx: Context, argv: list[bytes]) -> bytes | None:
    session = ctx.session
    if session.multi is not None:
        raise reply.CommandError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    if session.monitor:
        return None  # as in Redis: a second MONITOR gets no reply at all
    session.monitor = True
    session.update_fast_path()
    ctx.engine.monitors.append(session)
    return reply.OK
