"""Effects: what a command did, as RESP commands without chance and without time.

Decides: the bytes of an entry's payload: effects one after the other, database 0 at the start of an
entry, ``SELECT n`` where it changes, MULTI and EXEC around a unit of several effects.
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
    """An execution unit from its encoded effects."""
    return effects[0] if len(effects) == 1 else b"%b%b%b" % (MULTI, b"".join(effects), EXEC)


def select(index: int) -> bytes:
    return encode((b"SELECT", b"%d" % index))
