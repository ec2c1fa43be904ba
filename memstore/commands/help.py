"""Small things that container commands share: the reply of a HELP subcommand, and reading a whole number.

Decides: how help looks. Must not know: any one command.
"""

from __future__ import annotations

from typing import Final

from memstore.engine import reply

LONG_MAX: Final = 2**63 - 1
LONG_MIN: Final = -(2**63)


def help_reply(container: str, lines: list[tuple[str, str]]) -> bytes:
    """``lines``: (subcommand and its arguments, what it does)."""
    shown = [f"{container} <subcommand> [<arg> ...]. Subcommands are:"]
    for usage, text in [*lines, ("HELP", "Show this list.")]:
        shown += [usage, "    " + text]
    return reply.array([reply.simple(line.encode()) for line in shown])


def whole_number(text: bytes) -> int | None:
    """The number as Redis reads one: decimal digits and perhaps a minus, nothing else, 64 bits; None: it is not one."""
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 19 or (digits[:1] == b"0" and text != b"0"):
        return None
    number = int(text)
    return number if LONG_MIN <= number <= LONG_MAX else None
