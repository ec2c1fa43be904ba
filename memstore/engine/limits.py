"""How large an execution unit may be: the node refuses a larger one before it changes memory.

Decides: what is refused, and its text.
Must not know: the log, what any one command does.

The limit is ``max-uncommitted-bytes``: the log cannot take more. For nearly every write the effect
is as large as its arguments, or smaller. COPY, RENAME, MOVE, LMOVE, LTRIM and removals by rank log
the call and no content. The arguments of these writes are checked before the write runs. In a
transaction the arguments of all writes are checked before the first write runs
(`replication.shard`).

Other commands compute from stored values what they log, so their arguments do not show the size:
SORT with STORE, the STORE commands of sets and sorted sets, SPOP with a count. They call
`check_effects` when they know what they will log and have changed nothing yet. In a transaction
this size is added to the size of the transaction's arguments. If the sum is too large, only this
command is refused. The commands after it still run, as after any other error of a command in EXEC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from memstore.engine.command import WRITE, Row
from memstore.engine.context import IGNORE_EXPIRED, Context
from memstore.engine.reply import CommandError

if TYPE_CHECKING:
    from memstore.engine.session import Session

FRAME: Final = 16  # bytes that RESP puts around an argument, at most, up to some GB
EFFECTS_TOO_LARGE: Final = (
    "ERR the effects of this command are larger than max-uncommitted-bytes allows"
)


def argument_bytes(argv: Sequence[bytes]) -> int:
    """Return the size of a command in the log if it is logged unchanged."""
    return sum(map(len, argv)) + FRAME * len(argv)


def transaction_bytes(session: Session) -> int:
    """Return the size of the queued writes of the session in the log."""
    return sum(
        [
            argument_bytes(argv)
            for row, argv in session.multi or ()
            if isinstance(row, Row) and row.flags & WRITE
        ]
    )


def check_effects(ctx: Context, items: Sequence[bytes], beside: int = 0) -> None:
    """Raises `CommandError` if effects that hold these items are too large.
    Each item takes ``beside`` bytes more in the log. The caller calls this before it changes
    memory.
    """
    if ctx.expiry == IGNORE_EXPIRED:
        return  # the primary accepted it, so every node applies it
    session = ctx.session
    size = argument_bytes(items) + beside * len(items)
    if session.multi is not None:
        # in EXEC: the arguments of the queue and the effects noted so far
        size += session.multi_bytes
    if size > ctx.engine.settings.max_uncommitted_bytes:
        raise CommandError(EFFECTS_TOO_LARGE)
    if session.multi is not None:
        session.multi_bytes = size
