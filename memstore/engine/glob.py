"""Glob patterns as in Redis: ``*``, ``?``, ``[a-z]``, ``[^a]``, and a backslash that quotes a byte.

Decides: whether a pattern matches a text.
Must not know: what the texts are.

`compiled` reads a pattern once and turns it into segments, the parts between its stars. Each byte
of a segment is an atom: the set of the bytes that it matches. There are three ways to match:

- A pattern without special bytes is compared directly.
- A short pattern becomes a regular expression that never backtracks over more than one segment. The
  segments between two stars are in atomic groups, because the first place of such a segment is as
  good as any later one.
- A long pattern is matched segment by segment. `bytes.find` searches a segment of plain bytes in
  linear time. Any other segment is searched with one big integer for each different atom. Bit p of
  it is set where the atom matches the byte at p, so 64 places are compared at a time.

Time of a match: in the second way at most the text's length times `_LONGEST_STEP`. In the third way
it is the length times the longest segment's length divided by 64.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from typing import Final

Matcher = Callable[[bytes], object]  # its result is true for a text that matches
_Atom = bytes  # the sorted bytes that match one byte of the pattern

_BACKSLASH: Final = 0x5C
_STAR: Final = 0x2A
_QUESTION: Final = 0x3F
_OPEN: Final = 0x5B
_DASH: Final = 0x2D

# bytes of a pattern that becomes a regular expression; each byte takes some us to compile
_LONGEST_COMPILED: Final = 512
# atoms between two stars of such a pattern; it may compare this many at every place of the text
_LONGEST_STEP: Final = 64
_CACHED: Final = 64  # how many patterns of at most _LONGEST_COMPILED bytes stay compiled
_SINGLE: Final = [bytes((byte,)) for byte in range(256)]
_ANY: Final[_Atom] = bytes(range(256))
_EVERY: Final = frozenset(range(256))
# A class up to its closing bracket or the pattern's end. A bracket after a backslash or at the end
# of a range does not close it.
_BODY: Final = re.compile(rb"\^?+(?:\\.|[^\]]-.|[^\]])*+", re.DOTALL).match


def is_literal(pattern: bytes) -> bool:
    """Return True if the pattern can match only itself."""
    return not any(special in pattern for special in b"*?[\\")


def matches(pattern: bytes, text: bytes, nocase: bool = False) -> bool:
    return bool(compiled(pattern, nocase)(text))


def compiled(pattern: bytes, nocase: bool = False) -> Matcher:
    """Return a matcher to use for many texts.
    ``nocase``: ASCII letters match in either case.
    """
    return (
        _cached(pattern, nocase) if len(pattern) <= _LONGEST_COMPILED else _compile(pattern, nocase)
    )


@lru_cache(maxsize=_CACHED)
def _cached(pattern: bytes, nocase: bool) -> Matcher:
    return _compile(pattern, nocase)


def _compile(pattern: bytes, nocase: bool) -> Matcher:
    if pattern == b"*":
        return _anything
    if not pattern or (not nocase and is_literal(pattern)):
        return pattern.__eq__
    segments = _segments(pattern, nocase)
    if len(pattern) <= _LONGEST_COMPILED and all(
        len(segment) <= _LONGEST_STEP for segment in segments[1:-1]
    ):
        return re.compile(_expression(segments), re.DOTALL).fullmatch
    return _Long(segments).matches


def _anything(_: bytes) -> bool:
    return True


# ----------------------------------------------------------------- reading a pattern


def _segments(pattern: bytes, nocase: bool) -> list[list[_Atom]]:
    segments: list[list[_Atom]] = [[]]
    classes: dict[bytes, _Atom] = {}
    at, size = 0, len(pattern)
    while at < size:
        byte = pattern[at]
        if byte == _STAR:
            segments.append([])
            at += 1
        elif byte == _QUESTION:
            segments[-1].append(_ANY)
            at += 1
        elif byte == _OPEN:
            found = _BODY(pattern, at + 1)
            assert found is not None, "the empty body always matches"
            body, at = found[0], min(found.end() + 1, size)
            atom = classes.get(body)
            if atom is None:
                atom = classes[body] = _class(body, nocase)
            segments[-1].append(atom)
        else:
            if byte == _BACKSLASH and at + 1 < size:
                at += 1
                byte = pattern[at]
            segments[-1].append(_both_cases(byte) if nocase else _SINGLE[byte])
            at += 1
    return (
        [segments[0], *[segment for segment in segments[1:-1] if segment], segments[-1]]
        if len(segments) > 1
        else segments
    )


def _both_cases(byte: int) -> _Atom:
    single = _SINGLE[byte]
    return bytes(sorted({single.lower()[0], single.upper()[0]}))


def _class(body: bytes, nocase: bool) -> _Atom:
    """``body`` is the text between the brackets."""
    at, size = 0, len(body)
    negated = body[:1] == b"^"
    at += negated
    members: set[int] = set()
    while at < size:
        if body[at] == _BACKSLASH and at + 1 < size:
            members.add(body[at + 1])  # only in its own case, as Redis compares it
            at += 2
        elif at + 2 < size and body[at + 1] == _DASH:
            members |= _range(body[at], body[at + 2], nocase)
            at += 3
        else:
            members.update(_both_cases(body[at]) if nocase else (body[at],))
            at += 1
    return bytes(sorted(_EVERY - members if negated else members))


def _range(one: int, other: int, nocase: bool) -> set[int]:
    """Return the bytes of a range, in the order of C's signed char, as Redis compares them.
    In this order 128 to 255 come before 0.
    """
    low, high = sorted((_signed(one), _signed(other)))
    if not nocase:
        return {value & 255 for value in range(low, high + 1)}
    low, high = _lower(low), _lower(high)
    return {byte for byte in range(256) if low <= _lower(_signed(byte)) <= high}


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _lower(value: int) -> int:
    return value + 32 if 65 <= value <= 90 else value


# ----------------------------------------------------------------- short patterns


def _expression(segments: list[list[_Atom]]) -> bytes:
    """Return the regular expression for these segments.
    As in Redis, the empty text matches only the empty pattern and "*". All other patterns need at
    least one byte.
    """
    parts = [b"".join(map(_atom_expression, segment)) for segment in segments]
    if len(parts) == 1:
        return b"(?=.)" + parts[0]
    middle = b"".join([b"(?>.*?%b)" % part for part in parts[1:-1]])
    # The last segment is searched only at the end of the text: the part after the star cannot match
    # at another place.
    last = b"(?=.{%d}).*+(?<=%b)" % (len(segments[-1]), parts[-1]) if parts[-1] else b".*+"
    return b"(?=.)%b%b%b" % (parts[0], middle, last)


def _atom_expression(atom: _Atom) -> bytes:
    if len(atom) == 1:
        return re.escape(atom)
    if not atom:
        return b"(?!)."
    if len(atom) == 256:
        return b"."
    # Runs of consecutive bytes become ranges, so a class is no longer than in the pattern.
    runs = [
        [byte for _, byte in run]
        for _, run in groupby(enumerate(atom), lambda pair: pair[1] - pair[0])
    ]
    return b"[%b]" % b"".join([b"\\x%02x-\\x%02x" % (run[0], run[-1]) for run in runs])


# ----------------------------------------------------------------- long patterns


class _Segment:
    """A part between two stars; it finds its place in a text."""

    __slots__ = ("atoms", "length", "plain")

    def __init__(self, atoms: list[_Atom]) -> None:
        self.length = len(atoms)
        self.plain = b"".join(atoms) if all(len(atom) == 1 for atom in atoms) else None
        self.atoms = (
            []
            if self.plain is not None
            else [(atom, len(list(run))) for atom, run in groupby(atoms)]
        )

    def stands_at(self, text: bytes, at: int) -> bool:
        """``text`` must have at least ``length`` bytes from ``at`` on."""
        if self.plain is not None:
            return text.startswith(self.plain, at)
        for atom, count in self.atoms:
            if len(atom) < 256 and text[at : at + count].translate(None, atom):
                return False
            at += count
        return True

    def find(self, text: bytes, start: int, end: int) -> int:
        """Return its first place in ``text[start:end]``; -1: none."""
        if self.plain is not None:
            return text.find(self.plain, start, end)
        places = end - start - self.length + 1
        if places <= 0:
            return -1
        backwards = text[start:end][::-1]
        masks: dict[_Atom, int] = {}
        left, at = (1 << places) - 1, 0  # bit p: a match at start + p is still possible
        for atom, count in self.atoms:
            if len(atom) < 256:
                mask = masks.get(atom)
                if mask is None:
                    mask = masks[atom] = _mask(backwards, atom)
                left &= _runs(mask, count) >> at
                if not left:
                    return -1
            at += count
        return start + (left & -left).bit_length() - 1


def _mask(backwards: bytes, atom: _Atom) -> int:
    """Set bit p where the atom matches the byte at p; the last byte of ``backwards`` is p = 0."""
    table = bytearray(b"0" * 256)
    for byte in atom:
        table[byte] = 0x31
    return int(backwards.translate(table), 2)


def _runs(mask: int, count: int) -> int:
    """Set bit p where ``count`` bits of the mask are set from p on."""
    have = 1
    while have < count:
        step = min(have, count - have)
        mask &= mask >> step
        have += step
    return mask


class _Long:
    __slots__ = ("first", "last", "least", "middle", "starred")

    def __init__(self, segments: list[list[_Atom]]) -> None:
        self.least = sum(map(len, segments))
        self.starred = len(segments) > 1
        self.first = _Segment(segments[0])
        self.middle = [_Segment(atoms) for atoms in segments[1:-1]]
        self.last = _Segment(segments[-1]) if self.starred else _Segment([])

    def matches(self, text: bytes) -> bool:
        size = len(text)
        if size < self.least or not size or (not self.starred and size > self.least):
            return False
        end = size - self.last.length
        if not self.first.stands_at(text, 0) or not self.last.stands_at(text, end):
            return False
        at = self.first.length
        for segment in self.middle:
            at = segment.find(text, at, end)
            if at < 0:
                return False
            at += segment.length
        return at <= end
