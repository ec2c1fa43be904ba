"""SLOWLOG: the newest slow commands.

Decides: how the records are shown.
Must not know: how time was measured; `memstore.engine.slowlog` keeps the records.
"""

from __future__ import annotations

from typing import Final

from memstore.commands.help import help_reply
from memstore.engine import reply
from memstore.engine.command import ADMIN, LOADING, LOCAL, STALE, command
from memstore.engine.context import Context
from memstore.engine.values import parse_integer

_FLAGS: Final = ADMIN | LOADING | STALE | LOCAL


@command(
    b"SLOWLOG|GET",
    arity=-2,
    flags=_FLAGS,
    since="2.2.12",
    group="server",
    summary="The newest slow commands",
    complexity="O(N), N entries",
)
def slowlog_get(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) > 3:
        raise reply.CommandError(
            f"ERR unknown subcommand or wrong number of arguments for '{reply.text(argv[1])}'. "
            "Try SLOWLOG HELP."
        )
    count: int | None = 10
    if len(argv) == 3:
        count = parse_integer(argv[2])
        if count is None or count < -1:
            raise reply.CommandError("ERR count should be greater than or equal to -1")
    entries = list(ctx.engine.slowlog.entries)
    shown = entries if count == -1 else entries[:count]
    bulk, integer = reply.bulk, reply.integer
    return reply.array(
        [
            reply.array(
                [
                    integer(e.id),
                    integer(e.wall_s),
                    integer(e.us),
                    reply.bulk_array(e.argv),
                    bulk(e.address.encode()),
                    bulk(e.name),
                ]
            )
            for e in shown
        ]
    )


@command(
    b"SLOWLOG|LEN",
    arity=2,
    flags=_FLAGS,
    since="2.2.12",
    group="server",
    summary="How many slow commands are kept",
)
def slowlog_len(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.integer(len(ctx.engine.slowlog.entries))


@command(
    b"SLOWLOG|RESET",
    arity=2,
    flags=_FLAGS,
    since="2.2.12",
    group="server",
    summary="Forget the slow commands",
    complexity="O(N), N entries",
)
def slowlog_reset(ctx: Context, argv: list[bytes]) -> bytes:
    ctx.engine.slowlog.clear()
    return reply.OK


@command(
    b"SLOWLOG|HELP",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="6.2.0",
    group="server",
    summary="Show SLOWLOG's subcommands",
)
def slowlog_help(ctx: Context, argv: list[bytes]) -> bytes:
    lines = [
        (
            "GET [<count>]",
            "The newest slow commands (10; -1: all): id, time, microseconds, arguments, client's "
            "address and name.",
        ),
        ("LEN", "How many are kept."),
        ("RESET", "Forget them."),
    ]
    return help_reply("SLOWLOG", lines)
