"""Packed collections: what goes in comes out,
and elements are found whatever their neighbours look like.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.engine.values.packed import CRLF, NEWLINE, end_of, find, mark_for, pack, unpack

# pieces of the packed form itself among the elements: what a search could stumble over
crafty = st.lists(
    st.sampled_from([b"$", b"0", b"1", b"2", b"\r", b"\n", b"a", b"$1\r", b"\n$", b"*1"]),
    max_size=6,
).map(b"".join)
elements = st.lists(st.one_of(crafty, st.binary(max_size=8)), max_size=20)


@given(st.lists(st.binary(max_size=40), max_size=50))
def test_what_was_packed_is_unpacked(items: list[bytes]) -> None:
    assert unpack(pack(items), len(items)) == items


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 16 * 1024, 300_000])
def test_elements_of_any_size(size: int) -> None:
    items = [b"x" * size, b"", b"y" * size]
    assert (
        unpack(pack(items), 3) == items
        and unpack(pack(items[:1]), 1) == items[:1]
        and unpack(pack([]), 0) == []
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_count_is_noticed_and_spoils_nothing(count: int) -> None:
    with pytest.raises(AssertionError):
        unpack(pack([b"a", b"b"]), count)
    assert unpack(pack([b"a", b"b"]), 2) == [b"a", b"b"]


def test_the_mark_is_in_no_element() -> None:
    assert mark_for([]) == mark_for([b"", b"\r"]) == NEWLINE
    assert mark_for([b"a", b"\n", b"\r"]) == CRLF
    assert mark_for([b"\n", b"a\r\nb", b""]) is None


@given(elements, crafty, st.integers(1, 3))
def test_an_element_is_found_where_it_is(items: list[bytes], wanted: bytes, step: int) -> None:
    items = [item for item in items if CRLF not in item]
    mark = mark_for(items)
    assert mark is not None
    blob = pack(items)
    for item in [wanted, *items]:
        places = [place for place in range(0, len(items), step) if items[place] == item]
        expected = len(pack(items[: places[0]])) if places else -1
        assert find(blob, pack([item]), step, mark) == expected
        if places:
            assert blob[expected : end_of(blob, expected, mark)] == pack([item])


def test_a_value_that_looks_like_a_field_is_passed_over() -> None:
    blob = pack([b"f", b"$1\r", b"x", b"b", b"b", b"c"])
    assert find(blob, pack([b"b"]), 2, NEWLINE) == len(pack([b"f", b"$1\r", b"x", b"b"]))
    assert find(blob, pack([b"c"]), 2, NEWLINE) == -1
