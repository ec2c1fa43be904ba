"""Doubles as redis-server 7.0.15 reads and prints them; what it said stands in the tables."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.engine.values.double import parse_bound, parse_double, show_double, show_packed

READ = [
    *(
        (b"0", 0.0),
        (b"1.", 1.0),
        (b".5", 0.5),
        (b"+5", 5.0),
        (b"00012", 12.0),
        (b"1e5", 1e5),
        (b"0e999999999999999999999999", 0.0),
        (b"1e-320", 1e-320),
    ),
    *((b"inf", float("inf")), (b"+INF", float("inf")), (b"-Infinity", -float("inf"))),
    *(
        (b"0x10", 16.0),
        (b"0X1F", 31.0),
        (b"0x1p-2", 0.25),
        (b"-0x.8", -0.5),
        (b"0x1.8P3", 12.0),
        (b"0x0p99999999999999999999999999", 0.0),
    ),
]
NOT_READ = [
    *(
        b"",
        b" 1",
        b"1 ",
        b"\t1",
        b"1\n",
        b"nan",
        b"-NaN",
        b"nan(1)",
        b"1_0",
        b".",
        b"+",
        b"1e",
        b"1e+",
        b"0x",
        b"0x.p1",
        b"in",
        b"i",
        b"1\x00",
        b"--1",
    ),
    *(
        b"1e400",
        b"-1e400",
        b"1e-400",
        b"0x1p5000",
        b"0x1p-5000",
        b"1e99999999999999999999999999",
        b"0x1p99999999999999999999999999",
    ),
    *(b"0xe756885adf65bdf2b.3875ep-1158", b"0x1p-99999999999999999999999999", b"1,5", b"\xd9\xa1"),
]
BOUNDS = [
    *(
        (b"", 0.0),
        (b" 1", 1.0),
        (b"\t\v1", 1.0),
        (b"1\x00x", 1.0),
        (b"\x00", 0.0),
        (b"1e400", float("inf")),
        (b"-0x1p5000", -float("inf")),
        (b"1e-400", 0.0),
    ),
    *((b"0x1p-99999999999999999999999999", 0.0), (b"-inf", -float("inf"))),
]
SHOWN = [
    *(
        (0.0, b"0"),
        (-0.0, b"-0"),
        (5.0, b"5"),
        (0.1, b"0.10000000000000001"),
        (1e17, b"1e+17"),
        (123456789012345678.0, b"1.2345678901234568e+17"),
    ),
    *(
        (1e300, b"1.0000000000000001e+300"),
        (5e-324, b"4.9406564584124654e-324"),
        (float("inf"), b"inf"),
        (-float("inf"), b"-inf"),
        (1e16, b"10000000000000000"),
    ),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_what_is_a_double(text: bytes, value: float) -> None:
    assert parse_double(text) == value


@pytest.mark.parametrize("text", NOT_READ)
def test_what_is_none(text: bytes) -> None:
    assert parse_double(text) is None


def test_the_sign_of_zero_is_read() -> None:
    found = [parse_double(text) for text in (b"-0", b"-0.0", b"-0x0")]
    assert [show_double(value) for value in found if value is not None] == [b"-0"] * 3


@pytest.mark.parametrize(("text", "value"), BOUNDS)
def test_ends_of_ranges_are_read_more_freely(text: bytes, value: float) -> None:
    assert parse_bound(text) == value


@pytest.mark.parametrize("text", [b"nan", b" ", b"1 ", b"x", b"(1", b"0x", b"1e"])
def test_what_is_no_end_of_a_range(text: bytes) -> None:
    assert parse_bound(text) is None


@pytest.mark.parametrize(("value", "text"), SHOWN)
def test_how_a_double_is_printed(value: float, text: bytes) -> None:
    assert show_double(value) == text


def test_how_a_listpack_shows_one() -> None:
    values = (1e17, 1e18, 4611686018427387904.0, 4611686018427388928.0, -7.0, 0.5, float("inf"))
    shown = [
        b"100000000000000000",
        b"1000000000000000000",
        b"4611686018427387904",
        b"4.6116860184273889e+18",
        b"-7",
        b"0.5",
        b"inf",
    ]
    assert [show_packed(value) for value in values] == shown


@given(st.floats(allow_nan=False))
def test_what_is_printed_reads_back(value: float) -> None:
    back = parse_double(show_double(value))
    assert back is not None and struct.pack("d", back) == struct.pack("d", value)
