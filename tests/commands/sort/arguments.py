"""Random sorting: few elements, keys and weights, so that patterns meet what is there, values of
the wrong type, and equal weights.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.commands.arguments import Command, cased, command, with_tail

LISTS = (b"l", b"m", b"{a}n")
SETS = (b"s", b"t")
ZSETS = (b"z",)
OUTS = (b"out", b"l", b"w_1", b"s")
ALL_KEYS = tuple(sorted({*LISTS, *SETS, *ZSETS, *OUTS}))

number = st.sampled_from([b"1", b"2", b"3", b"10", b"-1", b"007", b"1.5", b"1e2"])
text = st.sampled_from(
    [b"a", b"b", b"ab", b"B", b"", b" 5", b"5 ", b"inf", b"nan", b"0x10", b"*", b"->f", b"\xff"]
)
with_zero = st.sampled_from([b"a\x00x", b"a\x00b", b"1\x00"])
element = st.one_of(number, number, number, text)
in_list = st.one_of(element, element, element, with_zero)
value = st.one_of(number, number, text, with_zero)
weight_key = st.builds(lambda prefix, part: prefix + part, st.sampled_from([b"w_", b"x_"]), element)
hash_key = st.builds(lambda part: b"o_" + part, element)
source = st.sampled_from([*LISTS, *SETS, *ZSETS, b"l", b"m", b"none", b"w_1", b"o_1"])
pattern = st.sampled_from(
    [
        b"w_*",
        b"w_*",
        b"x_*",
        b"o_*->f",
        b"o_*->g",
        b"*",
        b"nosort",
        b"w_*->f",
        b"o_*->",
        b"o_*",
        b"#",
        b"*->f->g",
        b"w_1",
        b"",
        b"w_\x00*",
    ]
)
get_pattern = st.one_of(pattern, st.just(b"#"))
amount = st.sampled_from(
    [b"0", b"1", b"2", b"3", b"-1", b"-7", b"100", b"9223372036854775807", b"-9223372036854775808"]
)
odd_amount = st.one_of(
    amount, amount, amount, st.sampled_from([b"x", b"", b"1.5", b"9223372036854775808"])
)

order = st.one_of(
    st.tuples(cased(b"ASC")),
    st.tuples(cased(b"DESC")),
    st.tuples(cased(b"ALPHA")),
    st.tuples(cased(b"ALPHA")),
    st.tuples(cased(b"BY"), pattern),
    st.tuples(cased(b"BY"), pattern),
    st.tuples(cased(b"GET"), get_pattern),
    st.tuples(cased(b"GET"), get_pattern),
    st.tuples(cased(b"LIMIT"), amount, amount),
)
odd = st.one_of(
    st.tuples(cased(b"LIMIT"), odd_amount, odd_amount),
    st.sampled_from([(b"LIMIT",), (b"LIMIT", b"1"), (b"BY",), (b"GET",), (b"STORE",), (b"bad",)]),
)
storing = st.tuples(cased(b"STORE"), st.sampled_from(OUTS))

SORTS: list[st.SearchStrategy[Command]] = [
    with_tail(command(b"SORT", source), order, 4),
    with_tail(command(b"SORT", source), order, 4),
    with_tail(command(b"SORT_RO", source), order, 4),
    with_tail(command(b"SORT", source), st.one_of(order, order, storing), 4),
    with_tail(command(b"SORT", source), st.one_of(order, order, order, odd), 4),
    with_tail(command(b"SORT_RO", source), st.one_of(order, order, storing, odd), 3),
]
DATA: list[st.SearchStrategy[Command]] = [
    with_tail(command(b"RPUSH", st.sampled_from(LISTS), in_list), st.tuples(in_list), 4),
    with_tail(command(b"RPUSH", st.sampled_from(LISTS), number), st.tuples(number), 4),
    with_tail(command(b"SADD", st.sampled_from(SETS), number), st.tuples(number), 4),
    with_tail(command(b"SADD", st.sampled_from(SETS), element), st.tuples(element), 4),
    with_tail(
        command(b"ZADD", st.sampled_from(ZSETS), number, element), st.tuples(number, element), 4
    ),
    with_tail(command(b"SET", weight_key, value), st.tuples(st.just(b"KEEPTTL")), 1),
    with_tail(command(b"MSET", weight_key, number), st.tuples(weight_key, number), 4),
    with_tail(
        command(b"HSET", hash_key, st.sampled_from([b"f", b"g", b"f->g"]), value),
        st.tuples(st.sampled_from([b"f", b"g"]), value),
        3,
    ),
    command(b"DEL", st.one_of(source, weight_key, hash_key)),
    command(b"RPUSH", st.one_of(weight_key, hash_key), number),
    command(b"PEXPIRE", st.one_of(weight_key, hash_key), st.just(b"-1")),
]
sorts = st.one_of(SORTS)
data = st.one_of(DATA)
