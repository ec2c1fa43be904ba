"""Narrow blobs: any blob comes back as it was, numbers' at half the size,
and what is looked for is found.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memstore.engine.values.nibble_packing import NARROW, may_hold, narrow, trace, wide
from memstore.engine.values.packed import pack

# What elements may be made of where framing could be mistaken: numbers, line breaks and their
# halves, heads, the letters that stand for them.
pieces = st.sampled_from(
    [
        b"0",
        b"12",
        b"-7",
        b"1.5",
        b"3:4,5",
        b"$",
        b"\r\n",
        b"\r",
        b"\n",
        b"$1",
        b"\r\n$1\r\n",
        b"a",
        b"b",
        b"f",
        b"\xa1",
        b"x",
    ]
)
number = st.integers(-(1 << 63), (1 << 63) - 1).map(lambda n: b"%d" % n)
element = st.one_of(number, st.lists(pieces, max_size=6).map(b"".join), st.binary(max_size=10))
elements = st.one_of(st.lists(number, min_size=1), st.lists(element, min_size=1))


@given(elements)
@example([b""])
@example([b"1", b""])
@example([b"12", b""])
@example([b"\r\n"])
@example([b"$"])
@example([b"1\r"])
def test_any_blob_comes_back_as_it_was(items: list[bytes]) -> None:
    blob = pack(items)
    short = narrow(blob)
    assert wide(short) == blob and narrow(short) == short and wide(blob) == blob
    assert short == blob or (short[0] >= NARROW and len(short) * 2 < len(blob))


@given(elements, element)
def test_an_element_that_is_there_is_found(items: list[bytes], other: bytes) -> None:
    short = narrow(pack(items))
    if short[0] < NARROW:
        return
    for item in items:
        sought = trace(pack([item]))
        assert sought is not None and may_hold(short, sought)
    if any(byte not in b"0123456789-.:,$\r\n" for byte in other):
        assert trace(pack([other])) is None


@pytest.mark.parametrize("digits", [1, 2, 3, 5, 7, 10, 19])
def test_numbers_take_half_a_byte_a_digit_and_little_more(digits: int) -> None:
    items = [b"%d" % (10 ** (digits - 1) + n % 9) for n in range(128)]
    assert len(narrow(pack(items))) <= 128 * (digits + 4) / 2 + 1


def test_a_spelling_is_kept() -> None:
    items = [b"007", b"-0", b"1.50", b"", b"+1"[1:], b"12:30", b"1,5"]
    assert narrow(pack(items))[0] >= NARROW and wide(narrow(pack(items))) == pack(items)
    assert narrow(pack([b"12e5"])) == pack([b"12e5"]), "letters are other blobs' matter"
    assert trace(pack([b"7"])) != trace(pack([b"07"]))


def test_absent_numbers_are_mostly_not_looked_for_any_further() -> None:
    short = narrow(pack([b"%d" % n for n in range(100, 200)]))
    held = [n for n in range(1000) if may_hold(short, trace(pack([b"%d" % n])) or b"")]
    assert set(range(100, 200)) <= set(held) and len(held) < 120
