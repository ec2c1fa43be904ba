"""The reply of a HELP subcommand, the same for all containers.

Decides: how help looks.
Must not know: any one command.
"""

from __future__ import annotations

from memstore.engine import reply


def help_reply(container: str, lines: list[tuple[str, str]]) -> bytes:
    """``lines``: (subcommand and its arguments, what it does)."""
    shown = [f"{container} <subcommand> [<arg> ...]. Subcommands are:"]
    for usage, text in [*lines, ("HELP", "Show this list.")]:
        shown += [usage, "    " + text]
    return reply.array([reply.simple(line.encode()) for line in shown])
