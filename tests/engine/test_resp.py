"""Where a command ends: the ordinary path and the exact one must agree on every split
of every stream.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.engine.resp import CommandReader, split_inline
from memstore.engine.settings import Settings


def encode(argv: list[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(argv), b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv))


def read(
    data: bytes, cuts: list[int] | None = None, **kwargs: object
) -> tuple[list[list[bytes]], str]:
    reader = CommandReader(**kwargs)  # type: ignore[arg-type]  # test helper
    out: list[list[bytes]] = []
    edges = sorted({0, len(data), *[c % (len(data) + 1) for c in cuts or []]})
    for a, b in pairwise(edges):
        out += reader.feed(data[a:b])
    return out, reader.error


awkward = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"",
            b"\r\n",
            b"\r\n$3\r\n",
            b"*0\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"$",
            b"*",
            b"*12345",
            b"x" * 5000,
        ]
    ),
)
commands = st.lists(st.lists(awkward, min_size=1, max_size=5), max_size=8)


@settings(max_examples=300, deadline=None)
@given(commands, st.lists(st.integers(0, 20000), max_size=6))
def test_any_stream_cut_anywhere_gives_the_same_commands(
    batch: list[list[bytes]], cuts: list[int]
) -> None:
    assert read(b"".join(map(encode, batch)), cuts) == (batch, "")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"*1\r\n",
                b"*2\r\n",
                b"$4\r\n",
                b"PING\r\n",
                b"PI",
                b"*0\r\n",
                b"*-1\r\n",
                b":5\r\n",
                b"+a\r\n",
                b"$-1\r\n",
                b"\r\n",
                b"$2\r\nab\r\n",
            ]
        ),
        max_size=8,
    ),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_rubbish_is_read_the_same_way_whole_and_byte_by_byte(
    pieces: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(pieces)
    assert read(data, cuts) == read(data, list(range(len(data))))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*2\r\n$3\r\nGET\r\n:5\r\n", "Protocol error: expected '$', got ':'"),
        (b"*2\r\n$3\r\nGET\r\n+x\r\n", "Protocol error: expected '$', got '+'"),
        (b"*1\r\n*1\r\n$1\r\na\r\n", "Protocol error: expected '$', got '*'"),
        (b"*2147483648\r\n", "Protocol error: invalid multibulk length"),
        (b"*abc\r\n", "Protocol error: invalid multibulk length"),
        (b"*01\r\n", "Protocol error: invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        (b'SET "a b\r\n', "Protocol error: unbalanced quotes in request"),
        (b"a" * 70000, "Protocol error: too big inline request"),
        (b"*" + b"1" * 70000, "Protocol error: too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 70000, "Protocol error: too big bulk count string"),
    ],
)
def test_protocol_errors_in_redis_words(data: bytes, error: str) -> None:
    good = encode([b"PING"])
    assert read(good + data) == ([[b"PING"]], error)


def test_before_authentication_limits_are_low() -> None:
    assert (
        read(b"*11\r\n", authenticated=False)[1]
        == "Protocol error: unauthenticated multibulk length"
    )
    assert (
        read(b"*1\r\n$16385\r\n", authenticated=False)[1]
        == "Protocol error: unauthenticated bulk length"
    )
    reader = CommandReader(authenticated=False)
    assert reader.feed(encode([b"AUTH", b"x"]) + encode([b"S"] * 11)) == [[b"AUTH", b"x"]]
    reader.authenticated = True
    assert reader.resume() == [[b"S"] * 11]


def test_a_huge_array_takes_no_memory() -> None:
    reader = CommandReader()
    assert reader.feed(b"*2147483647\r\n$3\r\nGET\r\n") == [] and reader.error == ""
    assert reader.pending < 100


def test_the_query_buffer_limit_ends_an_endless_command() -> None:
    settings = Settings()
    reader = CommandReader(settings)
    # what CONFIG SET does, on connections that are open too
    settings.client_query_buffer_limit = 1000
    reader.feed(b"*2\r\n$3\r\nSET\r\n$5000\r\n" + b"x" * 1100)
    assert reader.error == "query buffer limit reached"


def test_a_limit_of_bulk_strings_that_changes_holds_for_open_connections() -> None:
    settings = Settings()
    reader = CommandReader(settings)
    assert reader.feed(b"*2\r\n$3\r\nGET\r\n$2000000\r\n") == [] and reader.error == ""
    settings.proto_max_bulk_len = 1024 * 1024
    assert CommandReader(settings).feed(b"*1\r\n$2000000\r\n") == []
    reader.feed(b"x" * 2_000_000 + b"\r\n")
    reader.feed(b"*1\r\n$2000000\r\n")
    assert reader.error == "Protocol error: invalid bulk length"


def test_empty_commands_are_skipped() -> None:
    assert read(b"\r\n*0\r\n*-1\r\nPING\r\n*1\r\n$4\r\nPING\r\n") == ([[b"PING"], [b"PING"]], "")


@pytest.mark.parametrize(
    ("line", "args"),
    [
        (b"SET k 'a b' ", [b"SET", b"k", b"a b"]),
        (rb'"\x41\n\"" x', [b'A\n"', b"x"]),
        (rb"'it\'s'", [b"it's"]),
        (b'"a"b', None),
        (b"'a", None),
        (b"", []),
    ],
)
def test_inline_quoting(line: bytes, args: list[bytes] | None) -> None:
    assert split_inline(line) == args
