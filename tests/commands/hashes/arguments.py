"""Random hash commands: few keys and fields, odd ones among them,
and now and then very many fields at once.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.commands.arguments import (
    Command,
    absolute_ms,
    cased,
    command,
    decimal,
    key,
    number,
    value,
    with_tail,
    words,
)

field = st.one_of(
    st.sampled_from([b"f1", b"f2", b"f3", b"f4", b"f5", b"f6", b"field:1", b"field:20"]),
    st.sampled_from(
        [
            b"",
            b"\n",
            b"\r\n",
            b"$2\r",
            b"$1\r\na\r\n",
            b"1",
            b"-5",
            b"x" * 8,
            b"x" * 9,
            b"y" * 64,
            b"y" * 65,
            b"z" * 1100,
        ]
    ),
    st.binary(max_size=2),
)
stored = st.one_of(value, field, st.sampled_from([b"v" * 64, b"v" * 65, b"w" * 5000]), decimal)
many = st.tuples(st.integers(0, 30), st.sampled_from([1, 3, 20, 80, 300, 700])).map(
    lambda drawn: range(drawn[0], drawn[0] + drawn[1])
)
count = st.sampled_from(
    [
        *(
            b"0",
            b"1",
            b"2",
            b"3",
            b"-1",
            b"-3",
            b"10",
            b"-10",
            b"1000",
            b"-1000",
            b"x",
            b"",
            b"1.5",
        ),
        *(
            b"9223372036854775807",
            b"9223372036854775808",
            b"-9223372036854775808",
            b"4611686018427387903",
            b"4611686018427387904",
        ),
    ]
)
scan_option = st.one_of(
    st.tuples(
        st.sampled_from([b"COUNT", b"count"]),
        st.sampled_from([b"1000", b"5000", b"0", b"-1", b"x"]),
    ),
    st.tuples(
        st.sampled_from([b"MATCH", b"match"]),
        st.sampled_from([b"*", b"f*", b"f1", b"?", b"[^f]*", b"none"]),
    ),
    words(b"COUNT", b"TYPE", b"bad"),
)


def _sets_many(drawn: tuple[bytes, range]) -> Command:
    return (
        b"HSET",
        drawn[0],
        *[part for n in drawn[1] for part in (b"field:%d" % n, b"value %d" % n)],
    )


def _deletes_many(drawn: tuple[bytes, range]) -> Command:
    return (b"HDEL", drawn[0], *[b"field:%d" % n for n in drawn[1]])


HASHES: list[st.SearchStrategy[Command]] = [
    command(b"HSET", key, field, stored),
    command(b"HSET", key, field, stored),
    with_tail(command(b"HSET", key, field, stored), st.tuples(field, stored), 5),
    with_tail(command(b"HSET", key, field, stored), st.tuples(field), 2),
    st.tuples(key, many).map(_sets_many),
    with_tail(command(b"HMSET", key, field, stored), st.tuples(field, stored), 3),
    with_tail(command(b"HMSET", key, field, stored), st.tuples(field), 1),
    command(b"HSETNX", key, field, stored),
    command(b"HGET", key, field),
    command(b"HGET", key, field),
    with_tail(command(b"HMGET", key, field), st.tuples(field), 5),
    command(b"HGETALL", key),
    with_tail(command(b"HDEL", key, field), st.tuples(field), 4),
    st.tuples(key, many).map(_deletes_many),
    command(b"HEXISTS", key, field),
    command(b"HSTRLEN", key, field),
    command(b"HLEN", key),
    command(b"HKEYS", key),
    command(b"HVALS", key),
    command(b"HINCRBY", key, field, number),
    command(b"HINCRBYFLOAT", key, field, decimal),
    command(b"HRANDFIELD", key),
    command(b"HRANDFIELD", key, count),
    with_tail(command(b"HRANDFIELD", key, count), words(b"WITHVALUES", b"bad"), 2),
    with_tail(
        command(
            b"HSCAN", key, st.sampled_from([b"0", b"0", b"0", b"x", b"18446744073709551616", b" 0"])
        ),
        scan_option,
        2,
    ),
    st.sampled_from(
        [
            (b"HSET", b"a"),
            (b"HSET", b"a", b"f"),
            (b"HGET", b"a"),
            (b"HLEN",),
            (b"HSCAN", b"a"),
            (b"HRANDFIELD",),
            (b"HDEL", b"a"),
        ]
    ),
]

OTHERS: list[st.SearchStrategy[Command]] = [
    command(b"SET", key, value),
    with_tail(command(b"SET", key, value), st.tuples(cased(b"PXAT"), absolute_ms), 1),
    command(b"GET", key),
    command(b"DEL", key),
    command(b"TYPE", key),
    command(b"OBJECT", st.just(b"ENCODING"), key),
    command(b"RENAME", key, key),
    with_tail(command(b"COPY", key, key), words(b"REPLACE"), 1),
    command(b"PEXPIREAT", key, st.sampled_from([b"4000000000000", b"1"])),
    command(b"PERSIST", key),
    with_tail(
        command(b"SCAN", st.just(b"0")),
        st.tuples(st.just(b"TYPE"), st.sampled_from([b"hash", b"string", b"HASH"])),
        1,
    ),
    command(b"MULTI"),
    command(b"EXEC"),
    command(b"EXEC"),
]

hashes = st.one_of(HASHES)
others = st.one_of(OTHERS)
