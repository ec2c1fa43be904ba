"""LCS: against the table of Redis, cell by cell, and with long strings."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.commands.lcs import Range, common, length_of
from tests.engine.harness import Harness, decode


def reference(a: bytes, b: bytes) -> tuple[bytes, list[Range]]:
    """Redis' own way: the whole table, then back from its end."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = (
                table[i - 1][j - 1] + 1
                if a[i - 1] == b[j - 1]
                else max(table[i - 1][j], table[i][j - 1])
            )
    i, j, length = len(a), len(b), 0
    found, ranges = b"", []
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j, length = i - 1, j - 1, length + 1
            found = a[i : i + 1] + found
            continue
        if length:
            ranges.append((i, j, length))
            length = 0
        if table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found, ranges + [(i, j, length)] * bool(length)


text = st.one_of(st.text("ab", max_size=14), st.text("abcd", max_size=30)).map(str.encode)


@settings(max_examples=600, deadline=None)
@given(text, text)
def test_the_same_way_as_redis_goes(a: bytes, b: bytes) -> None:
    assert common(a, b) == reference(a, b)
    assert length_of(a, b) == len(common(a, b)[0])


def test_long_strings_take_the_time_of_their_table_in_either_order() -> None:
    h = Harness()
    h.run(b"SETRANGE", b"long", b"19999999", b"b")
    h.run(b"SET", b"one", b"b")
    start = time.process_time()
    for pair in ((b"long", b"one"), (b"one", b"long")):
        assert h.run(b"LCS", *pair, b"LEN") == b":1\r\n"
        assert h.run(b"LCS", *pair) == b"$1\r\nb\r\n"
        answer = h.run(b"LCS", *pair, b"IDX", b"WITHMATCHLEN")
        assert answer is not None
        places = [[19_999_999] * 2, [0, 0]]
        assert decode(answer) == [
            [b"matches", [[*(places if pair[0] == b"long" else places[::-1]), 1]], b"len", 1]
        ]
    h.run(b"SETRANGE", b"zeros", b"19999999", b"\x00")
    assert h.run(b"LCS", b"zeros", b"one") == h.run(b"LCS", b"one", b"zeros") == b"$0\r\n\r\n"
    h.run(b"SET", b"ab", b"ab" * 5000)
    h.run(b"SET", b"ba", b"bbaab" * 2300)
    assert h.run(b"LCS", b"ab", b"ba", b"LEN") == h.run(b"LCS", b"ba", b"ab", b"LEN")
    h.run(b"LCS", b"ab", b"ba", b"IDX")
    assert time.process_time() - start < 15  # one of them took 18 s alone, and 1.2 GB


def test_the_limit_of_redis() -> None:
    h = Harness()
    h.run(b"SET", b"a", b"x" * 12_000)
    assert (
        h.run(b"LCS", b"a", b"a")
        == b"-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n"
    )
