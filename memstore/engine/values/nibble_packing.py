"""Packed blobs of numbers at half their size: four bits for each character.

Decides: which blobs can be narrow, how they look.
Must not know: elements, when a blob is worth narrowing.

Some blobs (see `packed`) consist of digits, a little punctuation and their own framing. Such a blob
needs at most sixteen letters; a line break and the beginning of a head are one letter each. A
conversion is a few passes in C. The wide forms of a few narrow blobs are cached, so repeated reads
of a place take the same time as with any blob.

Invariants: ``wide(narrow(blob)) == blob`` for every blob, byte by byte: a number's spelling is
kept. A narrow blob starts with a byte that no other blob starts with.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from functools import lru_cache
from typing import Final

# A narrow blob's first byte is this or more (a head's beginning comes first). The first byte of any
# other blob is a dollar sign.
NARROW: Final = 0xA0

_KEPT_WIDE: Final = 128  # blobs cached; a list's node has some kilobytes at most
_LOOK: Final = 64  # bytes checked first: they show of most blobs that they cannot be narrow
_CRLF: Final = b"\r\n"
_HEAD: Final = b"\r\n$"
_DOLLAR: Final = 0x24

_PUNCTUATION: Final = b"-.:,"
_ALPHABET: Final = b"0123456789$\r\n" + _PUNCTUATION
# "a" is a head's beginning, "b" any other line break
_TO_LETTERS: Final = bytes.maketrans(_PUNCTUATION, b"cdef")
_FROM_LETTERS: Final = bytes.maketrans(b"cdef", _PUNCTUATION)


def _letters(blob: bytes) -> bytes | None:
    """Return the blob in sixteen letters, from a head's beginning on; None: it has others."""
    if blob[:_LOOK].translate(None, _ALPHABET) or blob.translate(None, _ALPHABET):
        return None
    letters = (_CRLF + blob).replace(_HEAD, b"a").replace(_CRLF, b"b").translate(_TO_LETTERS)
    # else an element contains a dollar sign or half a line break
    return letters if letters.isalnum() else None


def narrow(blob: bytes) -> bytes:
    """Return a blob of half the length if possible, else (and if it is narrow) the same blob."""
    letters = _letters(blob)
    if letters is None:
        return blob
    # a blob ends with a line break: the extra head is not its own
    return unhexlify(letters + b"a" if len(letters) & 1 else letters)


@lru_cache(maxsize=_KEPT_WIDE)
def _widened(blob: bytes) -> bytes:
    full = hexlify(blob).translate(_FROM_LETTERS).replace(b"b", _CRLF).replace(b"a", _HEAD)
    return full[2:-3] if full[-1] == _DOLLAR else full[2:]


def wide(blob: bytes) -> bytes:
    """Return the wide form of a blob, narrow or not."""
    return _widened(blob) if blob[0] >= NARROW else blob


def trace(packed: bytes) -> bytes | None:
    """Return what `may_hold` searches for to find one packed element.
    None: no narrow blob has the element.
    """
    return _letters(packed[:-2])


def may_hold(blob: bytes, sought: bytes) -> bool:
    """Return False if the element is not in a narrow blob."""
    return sought in hexlify(blob)
