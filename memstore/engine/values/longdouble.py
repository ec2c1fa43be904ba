"""Long double arithmetic as Redis does it on x86.

The mantissa has 64 bits, results are exactly rounded and printed with seventeen decimals.

Decides: what INCRBYFLOAT and similar commands accept, add and print.
Must not know: keys, replies.

Python's floats have 53 bits and would print other digits. Results must be the same on every
machine, so everything here is integer arithmetic.

Invariant: a Fraction that `parse` or `add` returns is a number that an 80-bit long double can hold.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_MANTISSA_BITS: Final = 64
_SMALLEST_QUANTUM: Final = -16445  # exponent of the last bit of the smallest denormal
_OVERFLOW: Final = Fraction(1 << 16384)
_LONGEST: Final = 5 * 1024 - 1
_DECIMAL: Final = re.compile(rb"([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?")
_HEX: Final = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)\.?([0-9a-fA-F]*)(?:[pP]([+-]?\d+))?")
_INFINITY: Final = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)
# A larger exponent alone decides the result. This keeps a short hostile text from asking for a huge
# power.
_FAR: Final = 100_000
_CHUNK: Final = 4000  # Python refuses to convert more decimal digits at once
_CHUNK_POWER: Final[int] = 10**_CHUNK
_DECIMALS: Final = 17

# the result of `parse` for a spelled-out infinity, and of `add` for a sum that is too large
INFINITE: Final = None
Number = Fraction | None


class NotANumber(ValueError):
    """strtold would not read the whole text, or the number is out of range."""


def parse(text: bytes) -> Number:
    """Raises `NotANumber`."""
    if 0 < len(text) <= _LONGEST:
        for pattern, base, digit_power in ((_DECIMAL, 10, 10), (_HEX, 16, 2)):
            match = pattern.fullmatch(text)
            if match is not None and (match[2] or match[3]):
                return _assemble(match[1] == b"-", match[2], match[3], match[4], base, digit_power)
        if _INFINITY.fullmatch(text):
            return INFINITE
    raise NotANumber


def _assemble(
    negative: bool, whole: bytes, part: bytes, exponent: bytes | None, base: int, power: int
) -> Fraction:
    digits = (whole + part).lstrip(b"0")
    if not digits:
        return Fraction(0)
    shift = (
        0
        if exponent is None
        else (
            int(exponent) if len(exponent) < 12 else (-_FAR if exponent[:1] == b"-" else _FAR) * 10
        )
    )
    per_digit = 4 if base == 16 else 1
    magnitude = shift + (len(digits) - len(part)) * per_digit
    if not -_FAR < magnitude < _FAR:
        raise NotANumber
    mantissa: int = int(digits, 16) if base == 16 else _to_int(digits)
    shift -= len(part) * per_digit
    value = rounded(
        Fraction(mantissa * int(power**shift))
        if shift >= 0
        else Fraction(mantissa, int(power**-shift))
    )
    if not value:  # too large, or so small that it becomes zero
        raise NotANumber
    return -value if negative else value


def _to_int(digits: bytes) -> int:
    if len(digits) <= _CHUNK:
        return int(digits)
    return int(digits[:-_CHUNK]) * _CHUNK_POWER + int(digits[-_CHUNK:])


def _to_digits(number: int) -> bytes:
    if number < _CHUNK_POWER:
        return b"%d" % number
    high, low = divmod(number, _CHUNK_POWER)
    return b"%d%b" % (high, (b"%d" % low).rjust(_CHUNK, b"0"))


def rounded(value: Fraction) -> Number:
    """Return the nearest long double; ties go to even."""
    if not value:
        return value
    top, bottom = abs(value.numerator), value.denominator
    exponent = top.bit_length() - bottom.bit_length()
    if (top < bottom << exponent) if exponent >= 0 else (top << -exponent < bottom):
        exponent -= 1
    quantum = max(exponent - _MANTISSA_BITS + 1, _SMALLEST_QUANTUM)
    unit = Fraction(1 << quantum) if quantum >= 0 else Fraction(1, 1 << -quantum)
    result = round(value / unit) * unit
    return result if abs(result) < _OVERFLOW else INFINITE


def add(one: Number, two: Number) -> Number:
    return INFINITE if one is None or two is None else rounded(one + two)


def show(value: Fraction) -> bytes:
    """Return seventeen decimals without trailing zeros, never with an exponent."""
    scaled = round(abs(value) * 10**_DECIMALS)
    whole, part = divmod(scaled, 10**_DECIMALS)
    text = _to_digits(whole)
    if part:
        text += b"." + (b"%017d" % part).rstrip(b"0")
    return b"-" + text if value < 0 and text != b"0" else text
