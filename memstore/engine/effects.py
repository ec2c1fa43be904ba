"""Effects: what a command changed, as RESP commands that use no randomness and no clock.

Decides: the bytes of an entry's payload. Effects follow one another; an entry starts in database 0.
``SELECT n`` marks a change of database. MULTI and EXEC enclose a unit of several effects.
Must not know: the log, the tracker.
"""

from __future__ import annotations

from typing import Final

from memstore.engine.reply import bulk

MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
EXEC: Final = b"*1\r\n$4\r\nEXEC\r\n"


def encode(args: tuple[bytes, ...] | list[bytes]) -> bytes:
    """One effect as a RESP array of bulk strings."""
    return b"*%d\r\n%b" % (len(args), b"".join([bulk(arg) for arg in args]))


def encode_unit(effects: list[bytes]) -> bytes:
    """Return the bytes of an execution unit made of these encoded effects."""
    return effects[0] if len(effects) == 1 else b"%b%b%b" % (MULTI, b"".join(effects), EXEC)


def select(index: int) -> bytes:
    return encode((b"SELECT", b"%d" % index))
