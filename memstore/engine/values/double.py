"""Doubles as Redis reads and prints them: the scores of sorted sets, their bounds, their weights.

Decides: which texts are doubles (in Redis C's strtod decides: hexadecimal, ``inf`` and ``infinity``
in any case), how a double is printed.
Must not know: keys, replies, what needs the number. Python's float also accepts other texts
(underscores, surrounding blanks, nan); these are refused.
Invariant: `parse_double` of the result of `show_double` is the same double.
"""

from __future__ import annotations

import re
from typing import Final

INFINITY: Final = float("inf")
_DECIMAL: Final = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX: Final = re.compile(
    rb"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
)
_INFINITE: Final = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)
_ZERO: Final = re.compile(rb"[+-]?(?:[0.]+(?:[eE].*)?|0[xX][0.]+(?:[pP].*)?)")
_BLANKS: Final = b" \t\n\v\f\r"
_FAR: Final = 20  # an exponent with more digits than this decides alone
# Redis' listpacks keep integers up to here as integers.
_PACKED_INTEGER: Final = float(1 << 62)
_NO_DIGITS_LOST: Final = 15  # this many decimal digits are always exact


def parse_double(text: bytes) -> float | None:
    """Return the double that ``text`` as a whole spells.
    None: it spells none, or one out of range (an underflow to zero too).
    """
    if text.isdigit() and len(text) <= _NO_DIGITS_LOST:
        return float(text)
    if _DECIMAL.fullmatch(text) and (value := float(text)) and value - value == 0:
        return value  # the ordinary case: neither zero nor infinite
    found = _read(text)
    if found is None or (found in (INFINITY, -INFINITY) and not _INFINITE.fullmatch(text)):
        return None
    return None if found == 0 and not _ZERO.fullmatch(text) else found


def parse_bound(text: bytes) -> float | None:
    """Return a bound of a score range; Redis reads it more freely than other doubles.
    Leading blanks are allowed, the empty text is zero, a number out of range is infinity or zero.
    """
    text = text.partition(b"\x00")[0]
    return _read(text.lstrip(_BLANKS)) if text else 0.0


def _read(text: bytes) -> float | None:
    if _DECIMAL.fullmatch(text) or _INFINITE.fullmatch(text):
        return float(text)
    if not _HEX.fullmatch(text):
        return None
    head, mark, exponent = text.decode().lower().partition("p")
    if len(exponent) > _FAR:  # float.fromhex refuses what strtod reads as infinity or zero
        exponent = exponent[0] + "9" * _FAR if exponent[0] == "-" else "9" * _FAR
    try:
        return float.fromhex(head + mark + exponent)
    except OverflowError:
        return -INFINITY if head[0] == "-" else INFINITY


def show_double(value: float) -> bytes:
    """Return as many of seventeen significant digits as the same double needs.
    Replies and effects use this form.
    """
    return b"%.17g" % value


def show_packed(value: float) -> bytes:
    """Return a score as a Redis listpack keeps it, which ZSCAN shows.
    Whole numbers have no exponent.
    """
    return (
        b"%d" % value
        if -_PACKED_INTEGER <= value <= _PACKED_INTEGER and value == int(value)
        else b"%.17g" % value
    )
