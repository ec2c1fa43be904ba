"""Replies as bytes. Handlers return encoded RESP, so the hot path builds nothing twice.

Decides: how a value looks on the wire in RESP2 and RESP3.
Must not know: sessions, keys, commands.

A reply that differs between the protocols is a method of `Context`, which knows the session's
protocol. A reply that does not differ is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

OK: Final = b"+OK\r\n"
PONG: Final = b"+PONG\r\n"
QUEUED: Final = b"+QUEUED\r\n"
ZERO: Final = b":0\r\n"
ONE: Final = b":1\r\n"
MINUS_ONE: Final = b":-1\r\n"
MINUS_TWO: Final = b":-2\r\n"
EMPTY_BULK: Final = b"$0\r\n\r\n"
EMPTY_ARRAY: Final = b"*0\r\n"
NIL2: Final = b"$-1\r\n"
NIL_ARRAY2: Final = b"*-1\r\n"
NIL3: Final = b"_\r\n"

WRONGTYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
SYNTAX: Final = "ERR syntax error"
NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
NOT_A_FLOAT: Final = "ERR value is not a valid float"
NO_SUCH_KEY: Final = "ERR no such key"
OUT_OF_RANGE: Final = "ERR index out of range"

_SMALL: Final = [b":%d\r\n" % n for n in range(1024)]
# heads of bulk strings; joining a prepared head is cheaper than formatting one
HEADS: Final = [b"$%d\r\n" % n for n in range(1024)]


class CommandError(Exception):
    """Ends a command with an error reply; nothing may have changed before.
    The message is the whole line with its code ("ERR ...", "WRONGTYPE ...").
    """


def integer(n: int) -> bytes:
    return _SMALL[n] if 0 <= n < 1024 else b":%d\r\n" % n


def bulk(value: bytes) -> bytes:
    length = len(value)
    return HEADS[length] + value + b"\r\n" if length < 1024 else b"$%d\r\n%b\r\n" % (length, value)


def simple(text: bytes) -> bytes:
    return b"+%b\r\n" % text


def error(text: str) -> bytes:
    """Return one line whatever the text holds: as in Redis, blanks replace line breaks."""
    return b"-%b\r\n" % text.replace("\r", " ").replace("\n", " ").encode(
        "utf-8", "surrogateescape"
    )


def array(parts: Sequence[bytes]) -> bytes:
    """``parts`` are encoded replies."""
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def bulks(values: Sequence[bytes]) -> bytes:
    """Return consecutive bulk strings: a piece of an array."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(v), v) for v in values])


def bulk_array(values: Sequence[bytes]) -> bytes:
    """An array of bulk strings from raw values."""
    return b"*%d\r\n%b" % (len(values), bulks(values))


def text(value: bytes) -> str:
    """Return text for error messages that quote what a client sent."""
    return value.decode("utf-8", "surrogateescape")
