"""Random set commands: few keys and members, so that they meet each other, the widths of integers,
and their errors.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.commands.arguments import (
    KEYS,
    Command,
    absolute_ms,
    cased,
    command,
    number,
    pattern,
    with_tail,
    words,
)

key = st.sampled_from(KEYS)
integer = st.sampled_from(
    [
        b"%d" % n
        for n in (
            0,
            1,
            2,
            3,
            5,
            -1,
            32767,
            32768,
            -32768,
            -32769,
            2**31 - 1,
            2**31,
            -(2**31) - 1,
            2**63 - 1,
            -(2**63),
        )
    ]
    + [b"7", b"8", b"9", b"10"]
)
member = st.one_of(
    integer,
    integer,
    st.sampled_from(
        [
            b"a",
            b"b",
            b"c",
            b"",
            b"01",
            b"-0",
            b"+1",
            b"1.0",
            b"9223372036854775808",
            b"\xff\r\n",
            b"x" * 70,
        ]
    ),
)
count = st.sampled_from(
    [
        b"0",
        b"1",
        b"2",
        b"3",
        b"5",
        b"8",
        b"100",
        b"-1",
        b"-4",
        b"-20",
        b"x",
        b"",
        b"9223372036854775807",
        b"9223372036854775808",
    ]
)
limit = st.sampled_from([b"0", b"1", b"2", b"100", b"-1", b"x"])

_adding = with_tail(command(b"SADD", key, member), st.tuples(member), 9)
_adding_integers = with_tail(command(b"SADD", key, integer), st.tuples(integer), 9)


def _over(name: bytes) -> st.SearchStrategy[Command]:
    return with_tail(command(name, key), st.tuples(key), 3)


def _intercard(keys: list[bytes]) -> st.SearchStrategy[Command]:
    head = st.tuples(cased(b"SINTERCARD"), st.one_of(st.just(b"%d" % len(keys)), number)).map(
        lambda drawn: drawn + tuple(keys)
    )
    return with_tail(head, st.one_of(st.tuples(cased(b"LIMIT"), limit), words(b"LIMIT", b"bad")), 2)


SETS: list[st.SearchStrategy[Command]] = [
    *[_adding] * 4,
    *[_adding_integers] * 4,
    with_tail(command(b"SREM", key, member), st.tuples(member), 5),
    with_tail(command(b"SREM", key, integer), st.tuples(integer), 5),
    command(b"SISMEMBER", key, member),
    with_tail(command(b"SMISMEMBER", key, member), st.tuples(member), 20),
    command(b"SCARD", key),
    command(b"SMEMBERS", key),
    command(b"SMOVE", key, key, member),
    command(b"SMOVE", key, key, integer),
    with_tail(command(b"SPOP", key), st.tuples(count), 2),
    with_tail(
        command(b"SPOP", key, st.sampled_from([b"2", b"4", b"6", b"7", b"8", b"9"])),
        st.nothing(),
        0,
    ),
    with_tail(command(b"SRANDMEMBER", key), st.tuples(count), 2),
    *[
        _over(name)
        for name in (
            b"SINTER",
            b"SUNION",
            b"SDIFF",
            b"SINTERSTORE",
            b"SUNIONSTORE",
            b"SDIFFSTORE",
            b"SDIFFSTORE",
            b"SDIFF",
        )
    ],
    st.lists(key, min_size=1, max_size=3).flatmap(_intercard),
    with_tail(
        command(b"SSCAN", key, st.sampled_from([b"0", b"0", b"x", b""])).map(
            lambda argv: (*argv, b"COUNT", b"1000")
        ),
        st.one_of(
            st.tuples(cased(b"MATCH"), pattern),
            st.tuples(cased(b"COUNT"), st.sampled_from([b"0", b"-1", b"x", b"500"])),
            words(b"COUNT", b"bad", b"TYPE"),
        ),
    ),
    command(b"OBJECT", st.just(b"ENCODING"), key),
    st.sampled_from(
        [
            (b"SADD", b"a"),
            (b"SINTERCARD", b"1"),
            (b"SPOP",),
            (b"SMOVE", b"a", b"b"),
            (b"SINTERSTORE", b"a"),
            (b"SSCAN", b"a"),
        ]
    ),
]

OTHERS: list[st.SearchStrategy[Command]] = [
    command(b"SET", key, member),
    command(b"GET", key),
    command(b"TYPE", key),
    command(b"EXISTS", key),
    command(b"INCR", key),
    with_tail(command(b"DEL", key), st.tuples(key), 2),
    command(b"RENAME", key, key),
    command(b"COPY", key, key),
    command(b"COPY", key, key).map(lambda argv: (*argv, b"REPLACE")),
    command(b"PEXPIREAT", key, absolute_ms),
    command(b"PERSIST", key),
    with_tail(
        command(b"SCAN", st.just(b"0")),
        st.sampled_from([(b"TYPE", b"set"), (b"TYPE", b"string")]),
        1,
    ).map(lambda argv: (*argv, b"COUNT", b"1000")),
]

sets = st.one_of(SETS)
others = st.one_of(OTHERS)
