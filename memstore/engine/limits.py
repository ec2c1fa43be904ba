"""How large an execution unit may be: one that the log cannot take is refused before it changes
memory.

Decides: what is refused, and its text.
Must not know: the log, what any one command does. The limit is ``max-uncommitted-bytes``. Of nearly
every write the effect is as large as its arguments, or smaller: COPY, RENAME, MOVE, LMOVE, LTRIM
and removals by rank log the call and no content. Those are judged by their arguments before they
run, and a transaction by the arguments of all its writes before the first of them runs
(`replication.shard`). The others compute from stored values what they log, so their arguments say
nothing of the size: SORT with STORE, the STORE commands of sets and sorted sets, SPOP with a count.
They call `check_effects` when they know what they are going to log and have changed nothing. In a
transaction this counts beside what the transaction's arguments take; the command is refused, and
the commands behind it run, as after any other error of a command in EXEC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from memstore.engine.command import WRITE, Row
from memstore.engine.context import IGNORE_EXPIRED, Context
from memstore.engine.reply import CommandError

if TYPE_CHECKING:
    from memstore.engine.session import Session

FRAME: Final = 16  # bytes that RESP puts around an argument, at most for up to some GB
EFFECTS_TOO_LARGE: Final = (
    "ERR the effects of this command are larger than max-uncommitted-bytes allows"
)


def argument_bytes(argv: Sequence[bytes]) -> int:
    """What a command takes in the log if it is logged as it came."""
    return sum(map(len, argv)) + FRAME * len(argv)


def transaction_bytes(session: Session) -> int:
    """What the writes of the session's queue take in the log."""
    return sum(
        [
            argument_bytes(argv)
            for row, argv in session.multi or ()
            if isinstance(row, Row) and row.flags & WRITE
        ]
    )


def check_effects(ctx: Context, items: Sequence[bytes], beside: int = 0) -> None:
    """Raises `CommandError` if effects that hold these items, each with ``beside`` bytes more, are
    too large. To be called before memory changes.
    """
    if ctx.expiry == IGNORE_EXPIRED:
        return  # the primary let it pass, so it is applied everywhere
    session = ctx.session
    size = argument_bytes(items) + beside * len(items)
    if session.multi is not None:
        # in EXEC: the arguments of the queue and the effects noted so far
        size += session.multi_bytes
    if size > ctx.engine.settings.max_uncommitted_bytes:
        raise CommandError(EFFECTS_TOO_LARGE)
    if session.multi is not None:
        session.multi_bytes = size
