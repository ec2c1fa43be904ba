"""Integers as values and arguments spell them. `value_types` lists the types a key can hold.

Decides: which spelling of an integer is the canonical one.
Must not know: keys, commands, types.
"""

from __future__ import annotations

from typing import Final

# Redis shares one object for each integer below this, with the greatest reference count.
SHARED_INTEGERS: Final = 10_000
_LONGEST_INTEGER: Final = 20
_MIN: Final = -(1 << 63)
_MAX: Final = (1 << 63) - 1


def parse_integer(text: bytes) -> int | None:
    """Return the 64-bit signed integer if ``text`` is its one canonical spelling, else None.
    Blanks, a plus, a leading zero and ``-0`` are not canonical.
    """
    if len(text) > _LONGEST_INTEGER:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text and _MIN <= number <= _MAX else None
