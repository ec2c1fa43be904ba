"""Doubles as Redis reads and prints them: the scores of sorted sets, their bounds, their weights.

Decides: which texts are doubles (C's strtod decides at Redis: hexadecimal, ``inf`` and ``infinity``
in any case), how one is printed.
Must not know: keys, replies, who asks. What Python's float takes beyond that (underscores, blanks
around, nan) is refused.
Invariant: `parse_double` of what `show_double` gives is the same double.
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
_FAR: Final = 20  # more digits of an exponent than this decide alone
# integers up to here are kept as integers in Redis' listpacks
_PACKED_INTEGER: Final = float(1 << 62)
_NO_DIGITS_LOST: Final = 15  # so many decimal digits are always exact


def parse_double(text: bytes) -> float | None:
    """The double that ``text`` as a whole spells; None:
    none, or one out of range (an underflow to zero too).
    """
    if text.isdigit() and len(text) <= _NO_DIGITS_LOST:
        return float(text)
    if _DECIMAL.fullmatch(text) and (value := float(text)) and value - value == 0:
        return value  # the ordinary case: neither nothing nor infinite
    found = _read(text)
    if found is None or (found in (INFINITY, -INFINITY) and not _INFINITE.fullmatch(text)):
        return None
    return None if found == 0 and not _ZERO.fullmatch(text) else found


def parse_bound(text: bytes) -> float | None:
    """As Redis reads the ends of score ranges, more freely: leading blanks, nothing at all (zero),
    what is out of range as infinity or zero.
    """
    text = text.partition(b"\x00")[0]
    return _read(text.lstrip(_BLANKS)) if text else 0.0


def _read(text: bytes) -> float | None:
    if _DECIMAL.fullmatch(text) or _INFINITE.fullmatch(text):
        return float(text)
    if not _HEX.fullmatch(text):
        return None
    head, mark, exponent = text.decode().lower().partition("p")
    if len(exponent) > _FAR:  # float.fromhex refuses what strtod takes for an infinity or nothing
        exponent = exponent[0] + "9" * _FAR if exponent[0] == "-" else "9" * _FAR
    try:
        return float.fromhex(head + mark + exponent)
    except OverflowError:
        return -INFINITY if head[0] == "-" else INFINITY


def show_double(value: float) -> bytes:
    """Seventeen significant digits, as much as it takes to give the same double again: the way of
    replies and of effects.
    """
    return b"%.17g" % value


def show_packed(value: float) -> bytes:
    """As a listpack of Redis keeps a score, which shows in ZSCAN:
    whole numbers without an exponent.
    """
    return (
        b"%d" % value
        if -_PACKED_INTEGER <= value <= _PACKED_INTEGER and value == int(value)
        else b"%.17g" % value
    )
