"""Random commands of the data families: few keys, many odd arguments, so that they meet each other
and their errors.
"""

from __future__ import annotations

from hypothesis import strategies as st

Command = tuple[bytes, ...]

FAR_MS = 4_000_000_000_000  # so far ahead that the two clocks do not matter
KEYS = (b"a", b"b", b"{a}c", b"", b"k\xff\r\n")

key = st.sampled_from(KEYS)
number = st.sampled_from(
    (
        *(
            b"0",
            b"1",
            b"-1",
            b"5",
            b"10",
            b"100",
            b"-100",
            b"007",
            b"+1",
            b"-0",
            b" 1",
            b"1 ",
            b"",
            b"x",
            b"1.5",
            b"1_0",
            b"0x10",
        ),
        *(
            b"9223372036854775807",
            b"-9223372036854775808",
            b"9223372036854775808",
            b"9223372036854775",
            b"99999999999999999999999",
            b"2147483648",
        ),
    )
)
decimal = st.one_of(
    number,
    st.sampled_from(
        [
            b"0.1",
            b"-0.1",
            b"3.0e3",
            b"1e400",
            b"1e5000",
            b"inf",
            b"-inf",
            b"nan",
            b".5",
            b"5.",
            b"1e-20",
            b"-1e-20",
            b"0x1p-3",
            b"1e17",
            b"0.30000000000000004",
        ]
    ),
    st.floats(-1e6, 1e6).map(lambda x: repr(x).encode()),
)
value = st.one_of(
    number,
    st.sampled_from(
        [b"hello world", b"ohmytext", b"mynewtext", b"\x00\xff\r\n", b"x" * 50, b"aXbXc"]
    ),
    st.binary(max_size=6),
    decimal,
)
offset = st.sampled_from(
    [
        b"0",
        b"1",
        b"-1",
        b"2",
        b"-3",
        b"10",
        b"-100",
        b"100",
        b"536870911",
        b"536870912",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"x",
        b"",
    ]
)
pattern = st.one_of(
    st.sampled_from(
        [
            b"*",
            b"a",
            b"?",
            b"[ab]",
            b"[^a]",
            b"{a}*",
            b"**",
            b"",
            b"[a-c]*",
            b"\\a",
            b"[",
            b"[^",
            b"*c",
            b"k*",
            b"[]a]",
            b"a\\",
            b"[a-]",
            b"[\\]",
            b"[c-a]",
            b"*?",
            b"?*",
        ]
    ),
    st.text(alphabet="abc{}*?[]^-\\", max_size=6).map(str.encode),
)
db = st.sampled_from([b"0", b"1", b"2", b"15", b"16", b"-1", b"x", b"3000000000", b""])
absolute_ms = st.sampled_from(
    [b"%d" % (FAR_MS + n) for n in (0, 1, 499, 500, 1000, 777_000)] + [b"1", b"1000"]
)
absolute_s = st.sampled_from([b"%d" % (FAR_MS // 1000 + n) for n in (0, 1, 777)] + [b"1"])
relative = st.sampled_from([b"1000000000", b"2000000000"])
odd_time = st.sampled_from(
    [
        b"0",
        b"-1",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"9223372036854775",
        b"9223372036854776",
        b"x",
        b"",
        b"-9223372036854776",
    ]
)


def cased(name: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from([name, name, name.lower(), name.title()])


def command(name: bytes, *parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[Command]:
    return st.tuples(cased(name), *parts)


def with_tail(
    base: st.SearchStrategy[Command], tail: st.SearchStrategy[Command], most: int = 3
) -> st.SearchStrategy[Command]:
    return st.tuples(base, st.lists(tail, max_size=most)).map(
        lambda drawn: drawn[0] + tuple(part for option in drawn[1] for part in option)
    )


def words(*names: bytes) -> st.SearchStrategy[Command]:
    return st.one_of([st.tuples(cased(name)) for name in names])


expiry_option = st.one_of(
    st.tuples(cased(b"PXAT"), absolute_ms),
    st.tuples(cased(b"EXAT"), absolute_s),
    st.tuples(st.sampled_from([b"EX", b"PX", b"EXAT", b"PXAT"]), odd_time),
    st.tuples(st.sampled_from([b"EX", b"px"]), relative),
)

STRINGS: list[st.SearchStrategy[Command]] = [
    command(b"GET", key),
    command(b"SET", key, value),
    with_tail(
        command(b"SET", key, value),
        st.one_of(
            expiry_option, words(b"NX", b"XX", b"GET", b"KEEPTTL", b"PERSIST", b"EX", b"bad")
        ),
    ),
    with_tail(
        command(b"GETEX", key),
        st.one_of(expiry_option, words(b"PERSIST", b"KEEPTTL", b"NX", b"PX")),
        2,
    ),
    command(b"GETSET", key, value),
    command(b"GETDEL", key),
    command(b"GETRANGE", key, offset, offset),
    command(b"SUBSTR", key, offset, offset),
    # the largest offsets that succeed would make both servers hold half a gigabyte
    command(b"SETRANGE", key, offset.filter(lambda at: at != b"536870911"), value),
    command(b"APPEND", key, value),
    command(b"STRLEN", key),
    command(b"INCR", key),
    command(b"DECR", key),
    command(b"INCRBY", key, number),
    command(b"DECRBY", key, number),
    command(b"INCRBYFLOAT", key, decimal),
    command(b"SETNX", key, value),
    command(b"SETEX", key, st.one_of(relative, odd_time), value),
    command(b"PSETEX", key, st.one_of(relative, odd_time), value),
    with_tail(command(b"MGET", key), st.tuples(key), 4),
    with_tail(command(b"MSET", key, value), st.tuples(key, value), 3),
    with_tail(command(b"MSET", key, value), st.tuples(key), 2),
    with_tail(command(b"MSETNX", key, value), st.tuples(key, value), 3),
    with_tail(
        command(b"LCS", key, key),
        st.one_of(
            words(b"LEN", b"IDX", b"WITHMATCHLEN", b"MINMATCHLEN", b"bad"),
            st.tuples(cased(b"MINMATCHLEN"), number),
        ),
    ),
]

GENERIC: list[st.SearchStrategy[Command]] = [
    with_tail(command(b"DEL", key), st.tuples(key), 3),
    with_tail(command(b"UNLINK", key), st.tuples(key), 2),
    with_tail(command(b"EXISTS", key), st.tuples(key), 3),
    with_tail(command(b"TOUCH", key), st.tuples(key), 3),
    command(b"TYPE", key),
    command(b"RENAME", key, key),
    command(b"RENAMENX", key, key),
    with_tail(
        command(b"COPY", key, key),
        st.one_of(words(b"REPLACE", b"DB", b"bad"), st.tuples(cased(b"DB"), db)),
    ),
    command(b"MOVE", key, db),
    with_tail(
        command(b"PEXPIREAT", key, st.one_of(absolute_ms, odd_time)),
        words(b"NX", b"XX", b"GT", b"LT", b"bad"),
    ),
    with_tail(
        command(b"EXPIREAT", key, st.one_of(absolute_s, odd_time)),
        words(b"NX", b"XX", b"GT", b"LT", b"bad"),
    ),
    # GT and LT only with absolute times:
    # two relative ones would be compared by when each server got them
    with_tail(command(b"EXPIRE", key, st.one_of(relative, odd_time)), words(b"NX", b"XX", b"bad")),
    with_tail(command(b"PEXPIRE", key, st.one_of(relative, odd_time)), words(b"NX", b"XX", b"bad")),
    command(b"TTL", key),
    command(b"PTTL", key),
    command(b"EXPIRETIME", key),
    command(b"PEXPIRETIME", key),
    command(b"PERSIST", key),
    command(b"KEYS", pattern),
    with_tail(
        command(
            b"SCAN",
            st.sampled_from([b"0", b"0", b"x", b"0x", b" 0", b"", b"99999999999999999999999"]),
        ),
        st.one_of(
            st.tuples(cased(b"MATCH"), pattern),
            st.tuples(cased(b"COUNT"), st.sampled_from([b"1000", b"100", b"0", b"-1", b"x"])),
            st.tuples(cased(b"TYPE"), st.sampled_from([b"string", b"STRING", b"list", b"nothing"])),
            words(b"COUNT", b"bad"),
        ),
    ),
    command(b"DBSIZE"),
    with_tail(
        command(b"OBJECT", st.sampled_from([b"FREQ", b"IDLETIME", b"freq", b"nothing"])),
        st.tuples(key),
        2,
    ),
    command(b"SELECT", st.one_of(st.just(b"0"), db)),
    command(b"SWAPDB", db, db),
    with_tail(command(b"FLUSHDB"), words(b"ASYNC", b"SYNC", b"bad"), 2),
    with_tail(command(b"FLUSHALL"), words(b"ASYNC", b"SYNC", b"bad"), 2),
    st.sampled_from(
        [
            (b"GET",),
            (b"nosuch", b"a\r\nb", b"x"),
            (b"RENAME", b"a"),
            (b"OBJECT",),
            (b"DBSIZE", b"x"),
            (b"LCS", b"a"),
        ]
    ),
]

TRANSACTIONS: list[st.SearchStrategy[Command]] = [
    command(b"MULTI"),
    command(b"MULTI"),
    command(b"EXEC"),
    command(b"EXEC"),
    command(b"DISCARD"),
    with_tail(command(b"WATCH", key), st.tuples(key), 2),
    command(b"UNWATCH"),
    st.sampled_from([(b"EXEC", b"x"), (b"MULTI", b"x"), (b"WATCH",), (b"DISCARD", b"x")]),
]

strings = st.one_of(STRINGS)
generic = st.one_of(GENERIC)
transactions = st.one_of(TRANSACTIONS)
