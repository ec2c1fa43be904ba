"""Reading arguments: numbers, options, times. All command families share it.

Decides: which texts are numbers and which error an invalid argument gets.
Must not know: keys, values, effects.
"""

from __future__ import annotations

from typing import Final

from memstore.engine import reply
from memstore.engine.reply import CommandError
from memstore.engine.values import parse_integer

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
_INT32_MIN: Final = -(1 << 31)
_INT32_MAX: Final = (1 << 31) - 1


def integer(arg: bytes, message: str = reply.NOT_AN_INTEGER) -> int:
    """Return a 64-bit signed integer."""
    number = parse_integer(arg)
    if number is None:
        raise CommandError(message)
    return number


def int32(arg: bytes, message: str | None = None) -> int:
    """Return a 32-bit signed integer; the default errors tell a too large number from no number."""
    number = integer(arg, message or reply.NOT_AN_INTEGER)
    if not _INT32_MIN <= number <= _INT32_MAX:
        raise CommandError(
            message
            or f"ERR value is out of range, value must between {_INT32_MIN} and {_INT32_MAX}"
        )
    return number


def invalid_expire(command: str) -> CommandError:
    return CommandError(f"ERR invalid expire time in '{command}' command")


def syntax_error() -> CommandError:
    return CommandError(reply.SYNTAX)


def expire_at(arg: bytes, unit_ms: int, relative: bool, wall_ms: int, command: str) -> int:
    """Return the absolute time of an EX, PX, EXAT or PXAT argument, in ms since 1970.
    It is positive and within 64 bits.
    """
    number = integer(arg)
    if number <= 0 or number > INT64_MAX // unit_ms:
        raise invalid_expire(command)
    at_ms = number * unit_ms + (wall_ms if relative else 0)
    if at_ms > INT64_MAX:
        raise invalid_expire(command)
    return at_ms


def counted_keys(argv: list[bytes], at: int) -> list[bytes]:
    """For a row's ``find_keys``: return the keys after their number at ``at``.
    If the number is wrong, there are none; the command itself reports the error.
    """
    count = parse_integer(argv[at]) if at < len(argv) else None
    return argv[at + 1 : at + 1 + count] if count is not None and 0 < count < len(argv) - at else []
