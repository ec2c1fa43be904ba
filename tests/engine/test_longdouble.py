"""Long double arithmetic: what is a number, how it is rounded, how it is shown."""

from __future__ import annotations

from fractions import Fraction

import pytest

from memstore.engine.values.longdouble import INFINITE, NotANumber, add, parse, rounded, show


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"0", b"0"),
        (b"-0", b"0"),
        (b"3.0", b"3"),
        (b"10.5", b"10.5"),
        (b"+.5", b"0.5"),
        (b"5.", b"5"),
        (b"1e3", b"1000"),
        (b"-1.5e-3", b"-0.0015"),
        (b"0x1p4", b"16"),
        (b"0x.8", b"0.5"),
        (b"0XA", b"10"),
        (b"0.1", b"0.1"),
        (b"1e-18", b"0"),
        (b"123456789012345678901", b"123456789012345678904"),
        (b"1e27", b"1" + b"0" * 27),
    ],
)
def test_reads_and_shows(text: bytes, shown: bytes) -> None:
    value = parse(text)
    assert value is not None
    assert show(value) == shown


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" 1",
        b"1 ",
        b"abc",
        b".",
        b"e5",
        b"1e",
        b"0x",
        b"nan",
        b"1_0",
        b"1e99999",
        b"-1e99999999999999999",
        b"1e-9999",
        b"1" * 6000,
        b"1\0",
        b"--1",
    ],
)
def test_refuses(text: bytes) -> None:
    with pytest.raises(NotANumber):
        parse(text)


def test_very_long_numbers_are_read_and_shown() -> None:
    value = parse(b"1" + b"0" * 4900)
    assert value is not None and len(show(value)) == 4901
    assert parse(b"0" * 5000 + b"7") == 7


def test_infinity_is_a_number_until_something_is_added() -> None:
    assert parse(b"-Infinity") is INFINITE and parse(b"inf") is INFINITE
    assert add(INFINITE, Fraction(1)) is INFINITE
    largest = parse(b"1.18e4932")
    assert largest is not None and add(largest, largest) is INFINITE


def test_rounds_halves_to_even() -> None:
    assert rounded(Fraction((1 << 64) + 1)) == 1 << 64
    assert rounded(Fraction((1 << 64) + 3)) == (1 << 64) + 4
    assert rounded(Fraction(1, 1 << 16446)) == 0
