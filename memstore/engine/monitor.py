"""The line that MONITOR shows for a command, and the arguments that it hides.

Decides: quoting and redaction.
Must not know: which clients monitor.
"""

from __future__ import annotations

import re
from typing import Final

_REDACTED: Final = b"(redacted)"
_ESCAPES: Final = {
    0x07: b"\\a",
    0x08: b"\\b",
    0x09: b"\\t",
    0x0A: b"\\n",
    0x0D: b"\\r",
    0x22: b'\\"',
    0x5C: b"\\\\",
}


def _escape(byte: int) -> bytes:
    short = _ESCAPES.get(byte)
    if short is not None:
        return short
    return b"%c" % byte if 0x20 <= byte < 0x7F else b"\\x%02x" % byte


_ESCAPED: Final = {byte: _escape(byte).decode() for byte in range(256)}
_PLAIN: Final = re.compile(rb"[ !#-\[\]-~]*").fullmatch


def quoted(value: bytes) -> bytes:
    """Return ``value`` between double quotes; every byte but printable ASCII is escaped."""
    return b'"%b"' % (
        value if _PLAIN(value) else value.decode("latin-1").translate(_ESCAPED).encode()
    )


def redacted(argv: list[bytes]) -> list[bytes]:
    """Return ``argv`` without passwords; the same list if it has none."""
    name = argv[0].upper()
    if name == b"AUTH":
        return [argv[0]] + [_REDACTED] * (len(argv) - 1)
    if name == b"HELLO":
        for i in range(2, len(argv)):
            if argv[i].upper() == b"AUTH":
                return argv[: i + 1] + [_REDACTED] * len(argv[i + 1 : i + 3]) + argv[i + 3 :]
    if name == b"CONFIG" and len(argv) > 3 and argv[1].upper() == b"SET":
        return [
            _REDACTED if i > 2 and i % 2 == 1 and argv[i - 1].lower() == b"requirepass" else arg
            for i, arg in enumerate(argv)
        ]
    return argv


def line(wall_us: int, db: int, address: str, argv: list[bytes]) -> bytes:
    """Return the RESP line for monitors about a command of the client at ``address``."""
    words = b" ".join([quoted(arg) for arg in redacted(argv)])
    return b"+%d.%06d [%d %b] %b\r\n" % (
        wall_us // 1_000_000,
        wall_us % 1_000_000,
        db,
        address.encode(),
        words,
    )
