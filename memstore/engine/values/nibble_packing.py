"""Packed blobs of numbers at half their size: four bits a character.

Decides: which blobs can be narrow, how they look.
Must not know: elements, when a blob is worth narrowing. A blob (see `packed`) that consists of
digits, a little punctuation and its own framing needs no more than sixteen letters, a line break
and a head's beginning being one each. To and fro is a few passes in C, and a few narrow blobs' wide
forms are remembered, so that reading a place again and again costs what it does with any blob.
Invariants: ``wide(narrow(blob)) == blob`` for any blob whatsoever, byte by byte: a number's
spelling is kept. A narrow blob begins with a byte that no blob begins with.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from functools import lru_cache
from typing import Final

# a narrow blob's first byte is this or more (a head's beginning comes first),
# any other blob's is a dollar sign
NARROW: Final = 0xA0

_KEPT_WIDE: Final = 128  # blobs remembered; a list's node has some kilobytes at most
_LOOK: Final = 64  # bytes looked at before all are: most blobs that cannot be narrow tell it there
_CRLF: Final = b"\r\n"
_HEAD: Final = b"\r\n$"
_DOLLAR: Final = 0x24

_PUNCTUATION: Final = b"-.:,"
_ALPHABET: Final = b"0123456789$\r\n" + _PUNCTUATION
# "a" is a head's beginning, "b" any other line break
_TO_LETTERS: Final = bytes.maketrans(_PUNCTUATION, b"cdef")
_FROM_LETTERS: Final = bytes.maketrans(b"cdef", _PUNCTUATION)


def _letters(blob: bytes) -> bytes | None:
    """The blob in sixteen letters, beginning with a head's; None: it has others."""
    if blob[:_LOOK].translate(None, _ALPHABET) or blob.translate(None, _ALPHABET):
        return None
    letters = (_CRLF + blob).replace(_HEAD, b"a").replace(_CRLF, b"b").translate(_TO_LETTERS)
    # else a dollar sign or half a line break of an element's own
    return letters if letters.isalnum() else None


def narrow(blob: bytes) -> bytes:
    """Half as long if it can be, else as it is; what is narrow stays so."""
    letters = _letters(blob)
    if letters is None:
        return blob
    # a blob ends with a line break: one more head is none of its own
    return unhexlify(letters + b"a" if len(letters) & 1 else letters)


@lru_cache(maxsize=_KEPT_WIDE)
def _widened(blob: bytes) -> bytes:
    full = hexlify(blob).translate(_FROM_LETTERS).replace(b"b", _CRLF).replace(b"a", _HEAD)
    return full[2:-3] if full[-1] == _DOLLAR else full[2:]


def wide(blob: bytes) -> bytes:
    """The blob that was narrowed, or that was not."""
    return _widened(blob) if blob[0] >= NARROW else blob


def trace(packed: bytes) -> bytes | None:
    """What `may_hold` looks for to find one packed element; None: no narrow blob has it."""
    return _letters(packed[:-2])


def may_hold(blob: bytes, sought: bytes) -> bool:
    """False: the element is not in a narrow blob."""
    return sought in hexlify(blob)
