"""Scripts and functions. There are none yet: FUNCTION FLUSH empties an empty library.

Decides: FUNCTION FLUSH.
Must not know: the log, roles, clocks. Clients and test suites that need a clean server send
FLUSHALL and FUNCTION FLUSH together.
Invariant: there are no functions, so nothing changes and nothing is logged.
"""

from __future__ import annotations

from memstore.engine import reply
from memstore.engine.command import NOSCRIPT, WRITE, command
from memstore.engine.context import Context
from memstore.engine.reply import CommandError


@command(
    b"FUNCTION|FLUSH",
    arity=-2,
    flags=WRITE | NOSCRIPT,
    since="7.0.0",
    group="scripting",
    summary="Deletes all functions",
    complexity="O(N), N functions",
)
def function_flush(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) > 3:
        raise CommandError(
            "ERR unknown subcommand or wrong number of arguments for "
            f"'{reply.text(argv[1][:128])}'. Try FUNCTION HELP."
        )
    if len(argv) == 3 and argv[2].upper() not in (b"SYNC", b"ASYNC"):
        raise CommandError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    return reply.OK
