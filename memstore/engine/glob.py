"""Glob patterns as Redis has them: ``*``, ``?``, ``[a-z]``, ``[^a]``, and a backslash that takes the next byte as it is.

Decides: whether a pattern matches. Must not know: what is matched. At most pattern length times text length steps: only the newest ``*`` is ever
gone back to, so a hostile pattern cannot hold the node for long.
"""

from __future__ import annotations

from typing import Final

_BACKSLASH: Final = 0x5C
_STAR: Final = 0x2A
_QUESTION: Final = 0x3F
_OPEN: Final = 0x5B
_CLOSE: Final = 0x5D
_CARET: Final = 0x5E
_DASH: Final = 0x2D


def matches(pattern: bytes, text: bytes, nocase: bool = False) -> bool:
    if nocase:
        pattern, text = pattern.lower(), text.lower()
    if not text:  # Redis looks at stars only while there is text left to look at: ``**`` does not match the empty one
        return pattern in (b"", b"*")
    p = t = 0
    star, mark = -1, 0  # where the newest * is, and how much of the text it covers up to
    while t < len(text):
        if p < len(pattern):
            if pattern[p] == _STAR:
                star, mark = p, t
                p += 1
                continue
            step = _one(pattern, p, text[t])
            if step:
                p, t = p + step, t + 1
                continue
        if star < 0:
            return False
        mark += 1
        p, t = star + 1, mark
    return not pattern[p:].strip(b"*")


def is_literal(pattern: bytes) -> bool:
    """Whether the pattern can match nothing but itself."""
    return not any(special in pattern for special in b"*?[\\")


def _one(pattern: bytes, p: int, byte: int) -> int:
    """How much of the pattern, from ``p``, matches this one byte; 0: it does not match."""
    head = pattern[p]
    if head == _QUESTION:
        return 1
    if head == _OPEN:
        return _class(pattern, p, byte)
    if head == _BACKSLASH and p + 1 < len(pattern):
        return 2 if pattern[p + 1] == byte else 0
    return 1 if head == byte else 0


def _class(pattern: bytes, p: int, byte: int) -> int:
    """As `_one` for a class in brackets. One that is not closed goes to the pattern's end."""
    i = p + 1
    negated = i < len(pattern) and pattern[i] == _CARET
    if negated:
        i += 1
    found = False
    while i < len(pattern) and pattern[i] != _CLOSE:
        if pattern[i] == _BACKSLASH and i + 1 < len(pattern):
            found = found or pattern[i + 1] == byte
            i += 2
        elif i + 2 < len(pattern) and pattern[i + 1] == _DASH:
            low, high = sorted((pattern[i], pattern[i + 2]))
            found = found or low <= byte <= high
            i += 3
        else:
            found = found or pattern[i] == byte
            i += 1
    end = min(i + 1, len(pattern))
    return end - p if found != negated else 0
