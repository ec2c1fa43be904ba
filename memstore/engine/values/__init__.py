"""Integers as values and arguments spell them. `value_types` lists the types a key can hold.

Decides: which spelling is an integer's only one.
Must not know: keys, commands, types.
"""

from __future__ import annotations

from typing import Final

# integers below this are one shared object in Redis, with the greatest reference count
SHARED_INTEGERS: Final = 10_000
_LONGEST_INTEGER: Final = 20
_MIN: Final = -(1 << 63)
_MAX: Final = (1 << 63) - 1


def parse_integer(text: bytes) -> int | None:
    """The 64-bit signed integer that ``text`` is the one canonical spelling of, else None: no
    blanks, no plus, no leading zero, no ``-0``.
    """
    if len(text) > _LONGEST_INTEGER:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text and _MIN <= number <= _MAX else None
