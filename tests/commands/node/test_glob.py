"""Glob patterns: by example, and against the same rules as a regular expression."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.engine import glob
from memstore.engine.glob import is_literal, matches
from tests.commands.node.harness import Client
from tests.commands.realredis import RawClient
from tests.engine.harness import decode


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


pieces = st.one_of(
    st.sampled_from([b"*", b"?", b"a", b"b", b"[ab]", b"[^a]", b"[a-c]", b"\\a", b"\\*"])
)


def _expression(piece: bytes) -> bytes:
    table = {b"*": b".*", b"?": b".", b"\\a": b"a", b"\\*": b"\\*"}
    return table.get(piece, piece)


@given(
    st.lists(pieces, max_size=8),
    st.lists(st.sampled_from([b"a", b"b", b"c", b"*", b"\n"]), min_size=1, max_size=8),
)
def test_as_a_regular_expression_says(pattern: list[bytes], text: list[bytes]) -> None:
    expected = (
        re.fullmatch(b"".join(map(_expression, pattern)), b"".join(text), re.DOTALL) is not None
    )
    assert matches(b"".join(pattern), b"".join(text)) is expected


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_a_literal_matches_only_itself(pattern: bytes, text: bytes) -> None:
    if is_literal(pattern):
        assert matches(pattern, text) is (pattern == text)


def reference(pattern: bytes, text: bytes, nocase: bool = False) -> bool:
    """Redis' stringmatchlen, statement by statement, with its two special cases of the empty text:
    slow, and of no cleverness.
    """
    if not text:
        return pattern in (b"", b"*")
    return _reference(pattern, text, nocase)


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _low(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


def _reference(pattern: bytes, text: bytes, nocase: bool) -> bool:
    p = t = 0
    while p < len(pattern) and t < len(text):
        byte = pattern[p : p + 1]
        if byte == b"*":
            while pattern[p + 1 : p + 2] == b"*":
                p += 1
            return p + 1 == len(pattern) or any(
                _reference(pattern[p + 1 :], text[at:], nocase) for at in range(t, len(text))
            )
        if byte == b"[":
            p += 1
            negated = pattern[p : p + 1] == b"^"
            p += negated
            found = False
            while True:
                left = len(pattern) - p
                if left >= 2 and pattern[p : p + 1] == b"\\":
                    p += 1
                    found = found or pattern[p] == text[t]
                elif left == 0:
                    p -= 1
                    break
                elif pattern[p : p + 1] == b"]":
                    break
                elif left >= 3 and pattern[p + 1 : p + 2] == b"-":
                    start, end, c = _signed(pattern[p]), _signed(pattern[p + 2]), _signed(text[t])
                    start, end = min(start, end), max(start, end)
                    if nocase:
                        start, end, c = _low(start), _low(end), _low(c)
                    p += 2
                    found = found or start <= c <= end
                else:
                    one, other = pattern[p], text[t]
                    found = found or (_low(one) == _low(other) if nocase else one == other)
                p += 1
            if found == negated:
                return False
        elif byte != b"?":
            if byte == b"\\" and p + 1 < len(pattern):
                p += 1
            one, other = pattern[p], text[t]
            if (_low(one) != _low(other)) if nocase else (one != other):
                return False
        p, t = p + 1, t + 1
        if t == len(text):
            p = len(pattern) if not pattern[p:].strip(b"*") else p
    return p == len(pattern) and t == len(text)


SPECIAL = [b"*", b"?", b"[", b"]", b"^", b"-", b"\\"]
PLAIN = [b"a", b"b", b"c", b"\x00", b"\n", b"\x7f", b"\x80", b"\xff"]
ODD = st.lists(
    st.sampled_from([*SPECIAL, *PLAIN, b"Z", b"[^", b"[a-", b"**", b"[b-\xff]"]), max_size=9
).map(b"".join)
TEXT = st.lists(st.sampled_from([*SPECIAL, *PLAIN, b"A", b"z"]), max_size=7).map(b"".join)
many = settings(max_examples=1500, deadline=None)


@many
@given(ODD, TEXT, st.booleans())
def test_all_three_ways_do_what_redis_does(pattern: bytes, text: bytes, nocase: bool) -> None:
    wanted = reference(pattern, text, nocase)
    assert matches(pattern, text, nocase) is wanted
    if pattern not in (b"", b"*"):
        segments = glob._segments(pattern, nocase)
        assert glob._Long(segments).matches(text) is wanted
        assert (
            re.compile(glob._expression(segments), re.DOTALL).fullmatch(text) is not None
        ) is wanted


@many
@given(
    st.lists(st.sampled_from([b"*", b"?", b"a", b"b", b"[ab]", b"[^a]", b"aab"]), max_size=12).map(
        b"".join
    ),
    st.text("ab", max_size=40).map(str.encode),
)
def test_long_texts_of_few_letters(pattern: bytes, text: bytes) -> None:
    wanted = (
        re.fullmatch(pattern.replace(b"*", b".*").replace(b"?", b"."), text, re.DOTALL) is not None
        if text
        else pattern in (b"", b"*")
    )
    assert matches(pattern, text) is wanted
    if pattern not in (b"", b"*"):
        assert glob._Long(glob._segments(pattern, False)).matches(text) is wanted


@pytest.mark.redis
def test_a_real_server_says_the_same(redis_port: int) -> None:
    client = RawClient(redis_port)
    rng = random.Random(7)
    heads = [
        b"*",
        b"?",
        b"[",
        b"]",
        b"^",
        b"-",
        b"\\",
        b"a",
        b"b",
        b"\x00",
        b"\n",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"[^",
        b"[a-",
        b"[\x80-b]",
    ]
    for _ in range(60):
        texts = {
            b"".join(
                rng.choices(
                    [b"a", b"b", b"[", b"]", b"\\", b"*", b"-", b"\x00", b"\n", b"\x80", b"\xff"],
                    k=rng.randrange(6),
                )
            )
            for _ in range(20)
        }
        patterns = [b"".join(rng.choices(heads, k=rng.randrange(1, 9))) for _ in range(100)]
        client.run(b"FLUSHALL")
        client.run(b"MSET", *[part for text in texts for part in (text, b"1")])
        for pattern, answer in zip(
            patterns, client.pipeline([(b"KEYS", pattern) for pattern in patterns]), strict=True
        ):
            assert set(decode(answer)[0]) == {text for text in texts if matches(pattern, text)}, (
                pattern
            )
    client.close()


HOSTILE = [
    (b"*[" + b"z" * 3000 + b"]", b"a" * 3000),
    (b"*" + b"a" * 50_000 + b"b", b"a" * 100_000),
    (b"*" + b"a" * 50_000 + b"b*", b"a" * 100_000),
    (b"*" + b"[ab]" * 50_000 + b"c*", b"a" * 100_000),
    (b"*" + b"[ab][bac]" * 25_000 + b"c*", b"a" * 100_000),
    (b"*" + b"?a" * 25_000 + b"b*", b"a" * 100_000),
    (b"*" + b"a?" * 30 + b"b*", b"a" * 1_000_000),
    (b"*" + b"a" * 60 + b"b", b"a" * 1_000_000),
    (b"*a" * 250 + b"b", b"a" * 1_000_000),
    (b"*a" * 50_000 + b"b", b"a" * 200_000),
    (b"*" + b"[^a]?" * 100_000, b"a" * 400_000),
    (b"?" * 500_000 + b"*", b"a" * 500_000 + b"b"),
    (b"[a-z]" * 100_000, b"aaaa"),
]


@pytest.mark.parametrize(("pattern", "text"), HOSTILE, ids=[str(at) for at in range(len(HOSTILE))])
def test_a_hostile_pattern_takes_a_second_at_most(pattern: bytes, text: bytes) -> None:
    start = time.process_time()
    matches(pattern, text)
    # minutes, as each of them took; the bound is wide for busy machines
    assert time.process_time() - start < 5


def test_what_is_kept_of_patterns_is_bounded() -> None:
    for n in range(1000):
        matches(b"*%d?" % n, b"x")
        matches(b"*" * 513 + b"%d" % n, b"x")
    assert glob._cached.cache_info().currsize == glob._cached.cache_info().maxsize == 64


def test_a_command_reads_its_pattern_once(client: Client) -> None:
    start = time.process_time()
    for pattern in (b"[a-z]" * 50_000, b"*[a-z]?" * 50_000):
        for words in (
            (b"CONFIG", b"GET"),
            (b"COMMAND", b"LIST", b"FILTERBY", b"PATTERN"),
            (b"KEYS",),
            (b"SCAN", b"0", b"MATCH"),
        ):
            assert client.raw(*words, pattern)[:1] == b"*"
    assert time.process_time() - start < 5  # once for each name took 18 s
