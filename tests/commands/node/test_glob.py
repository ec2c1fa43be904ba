"""Glob patterns: by example, and against the same rules as a regular expression."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.engine.glob import is_literal, matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (b"", b"", True),
        (b"", b"a", False),
        (b"*", b"", True),
        (b"*", b"anything", True),
        (b"a*c", b"abbc", True),
        (b"a*c", b"abbd", False),
        (b"a**c", b"ac", True),
        (b"h?llo", b"hello", True),
        (b"h?llo", b"hllo", False),
        (b"h[ae]llo", b"hallo", True),
        (b"h[ae]llo", b"hillo", False),
        (b"h[^e]llo", b"hello", False),
        (b"h[^e]llo", b"hallo", True),
        (b"h[a-c]llo", b"hbllo", True),
        (b"h[c-a]llo", b"hbllo", True),
        (b"[a", b"a", True),
        (b"\\*", b"*", True),
        (b"\\*", b"a", False),
        (b"[\\]]", b"]", True),
        (b"a\\", b"a\\", True),
        (b"*ab*ab", b"xabyabzab", True),
        (b"*", b"", True),
        (b"**", b"", False),  # as a real redis-server says of KEYS **
        (b"", b"", True),
    ],
)
def test_by_example(pattern: bytes, text: bytes, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_case_counts_unless_it_does_not() -> None:
    assert not matches(b"MAX*", b"maxclients")
    assert matches(b"MAX[C]*", b"maxclients", nocase=True)


def test_a_hostile_pattern_ends_soon() -> None:
    assert not matches(b"*a" * 200 + b"b", b"a" * 5000)


pieces = st.one_of(st.sampled_from([b"*", b"?", b"a", b"b", b"[ab]", b"[^a]", b"[a-c]", b"\\a", b"\\*"]))


def _expression(piece: bytes) -> bytes:
    table = {b"*": b".*", b"?": b".", b"\\a": b"a", b"\\*": b"\\*"}
    return table.get(piece, piece)


@given(st.lists(pieces, max_size=8), st.lists(st.sampled_from([b"a", b"b", b"c", b"*", b"\n"]), min_size=1, max_size=8))
def test_as_a_regular_expression_says(pattern: list[bytes], text: list[bytes]) -> None:
    expected = re.fullmatch(b"".join(map(_expression, pattern)), b"".join(text), re.DOTALL) is not None
    assert matches(b"".join(pattern), b"".join(text)) is expected


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_a_literal_matches_only_itself(pattern: bytes, text: bytes) -> None:
    if is_literal(pattern):
        assert matches(pattern, text) is (pattern == text)
