"""Random commands of sorted sets: few keys and members, odd scores, and now and then very many
members at once.

Ranges of members are asked of one key only, whose scores are all zero: with different scores what
they find is not specified.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.commands.arguments import (
    Command,
    absolute_ms,
    cased,
    command,
    key,
    number,
    value,
    with_tail,
    words,
)

LEX_KEY = b"lex"

member = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"ab", b"abc", b"member:1", b"member:20"]),
    st.sampled_from(
        [
            b"",
            b"\x00",
            b"\xff",
            b"1",
            b"-5",
            b"007",
            b"x" * 8,
            b"x" * 9,
            b"y" * 64,
            b"y" * 65,
            b"z" * 300,
        ]
    ),
    st.binary(max_size=2),
)
score = st.one_of(
    st.sampled_from(
        [
            b"0",
            b"1",
            b"2",
            b"3",
            b"-1",
            b"1.5",
            b"-0",
            b"0.1",
            b"0.2",
            b"inf",
            b"-inf",
            b"+INF",
            b"1e17",
            b"-1e300",
            b"5e-324",
            b"0x1p-3",
            b"3e0",
        ]
    ),
    st.floats(-1e6, 1e6).map(lambda x: repr(x).encode()),
    st.integers(-5, 5).map(lambda n: b"%d" % n),
    st.integers(-(1 << 70), 1 << 70).map(lambda n: b"%d" % n),
)
any_score = st.one_of(
    score,
    score,
    score,
    st.sampled_from([b"nan", b"", b"x", b" 1", b"1 ", b"1_0", b"1e400", b"1e-400", b"NX", b"incr"]),
)
bound = st.one_of(
    score,
    score.map(lambda text: b"(" + text),
    st.sampled_from(
        [b"-inf", b"+inf", b"(-inf", b"(inf", b"", b"(", b" 1", b"x", b"nan", b"((1", b"1e400"]
    ),
)
lex = st.one_of(
    st.sampled_from([b"-", b"+", b"-", b"+", b"(", b"["]),
    member.map(lambda text: b"[" + text),
    member.map(lambda text: b"(" + text),
    st.sampled_from([b"a", b"", b"-x", b"+1", b"-\x00x", b"1"]),
)
rank = st.sampled_from(
    [
        b"0",
        b"1",
        b"-1",
        b"2",
        b"-2",
        b"5",
        b"-5",
        b"100",
        b"-100",
        b"1000",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"x",
        b"",
    ]
)
small = st.sampled_from(
    [
        b"0",
        b"1",
        b"2",
        b"3",
        b"-1",
        b"10",
        b"-10",
        b"150",
        b"9223372036854775807",
        b"9223372036854775808",
        b"-9223372036854775808",
        b"x",
        b"",
    ]
)
many = st.tuples(st.integers(0, 30), st.sampled_from([1, 3, 20, 80, 150, 600, 1500])).map(
    lambda drawn: range(drawn[0], drawn[0] + drawn[1])
)
aggregate = st.sampled_from([b"SUM", b"MIN", b"MAX", b"min", b"bad"])
scan_option = st.one_of(
    st.tuples(
        st.sampled_from([b"COUNT", b"count"]),
        st.sampled_from([b"1000", b"5000", b"0", b"-1", b"x"]),
    ),
    st.tuples(
        st.sampled_from([b"MATCH", b"match"]),
        st.sampled_from([b"*", b"m*", b"a", b"?", b"[^m]*", b"none"]),
    ),
    words(b"COUNT", b"TYPE", b"bad"),
)
limit = st.tuples(cased(b"LIMIT"), small, small)
range_option = st.one_of(limit, words(b"WITHSCORES", b"BYSCORE", b"REV", b"LIMIT", b"bad"))
lex_option = st.one_of(limit, limit, words(b"WITHSCORES", b"bad"))
source = st.one_of(key, key, st.just(LEX_KEY))


def _adds_many(drawn: tuple[bytes, range, int]) -> Command:
    return (
        b"ZADD",
        drawn[0],
        *[part for n in drawn[1] for part in (b"%d" % (n * 7 % drawn[2]), b"member:%d" % n)],
    )


def _removes_many(drawn: tuple[bytes, range]) -> Command:
    return (b"ZREM", drawn[0], *[b"member:%d" % n for n in drawn[1]])


def _algebra(name: bytes, stores: bool) -> st.SearchStrategy[Command]:
    option = st.one_of(
        st.tuples(cased(b"AGGREGATE"), aggregate),
        st.lists(any_score, min_size=1, max_size=4).map(lambda weights: (b"WEIGHTS", *weights)),
        words(b"WITHSCORES", b"bad") if not stores else words(b"WITHSCORES", b"bad", b"weights"),
    )
    keys = st.lists(source, min_size=1, max_size=3)

    def put_together(
        drawn: tuple[bytes, list[bytes], bool, list[tuple[bytes, ...]], list[bytes], bytes],
    ) -> Command:
        target, found, fits, options, weights, odd = drawn
        named = b"%d" % len(found) if odd != b"odd" else b"0"
        if fits:
            options = [*options, (b"WEIGHTS", *(weights * 3)[: len(found)])]
        return (
            name,
            *([target] if stores else []),
            named,
            *found,
            *[part for one in options for part in one],
        )

    scores = st.lists(score, min_size=1, max_size=3)
    return st.tuples(
        key,
        keys,
        st.booleans(),
        st.lists(option, max_size=1),
        scores,
        st.sampled_from([b"", b"", b"", b"", b"", b"odd"]),
    ).map(put_together)


ZSETS: list[st.SearchStrategy[Command]] = [
    command(b"ZADD", key, any_score, member),
    command(b"ZADD", key, score, member),
    with_tail(command(b"ZADD", key, score, member), st.tuples(any_score, member), 4),
    st.tuples(
        key,
        st.lists(words(b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR", b"ch"), max_size=3),
        st.lists(st.tuples(score, member), min_size=1, max_size=3),
    ).map(
        lambda drawn: (
            b"ZADD",
            drawn[0],
            *[word for (word,) in drawn[1]],
            *[part for pair in drawn[2] for part in pair],
        )
    ),
    st.tuples(key, many, st.sampled_from([1, 10, 1000])).map(_adds_many),
    st.tuples(key, many).map(_removes_many),
    command(b"ZADD", st.just(LEX_KEY), st.just(b"0"), member),
    with_tail(
        command(b"ZADD", st.just(LEX_KEY), st.just(b"0"), member),
        st.tuples(st.just(b"0"), member),
        8,
    ),
    command(b"ZINCRBY", key, any_score, member),
    command(
        b"ZINCRBY",
        key,
        st.sampled_from([b"inf", b"-inf", b"0.1", b"-0", b"1"]),
        st.sampled_from([b"a", b"b"]),
    ),
    with_tail(command(b"ZREM", source, member), st.tuples(member), 3),
    command(b"ZCARD", source),
    command(b"ZSCORE", source, member),
    with_tail(command(b"ZMSCORE", source, member), st.tuples(member), 3),
    command(b"ZCOUNT", key, bound, bound),
    command(b"ZLEXCOUNT", st.just(LEX_KEY), lex, lex),
    command(b"ZRANK", source, member),
    command(b"ZREVRANK", source, member),
    with_tail(command(b"ZRANGE", key, rank, rank), range_option, 2),
    with_tail(
        command(b"ZRANGE", key, bound, bound).map(lambda argv: (*argv, b"BYSCORE")), range_option, 2
    ),
    with_tail(
        command(b"ZRANGE", st.just(LEX_KEY), lex, lex).map(lambda argv: (*argv, b"bylex")),
        st.one_of(lex_option, words(b"REV")),
        2,
    ),
    with_tail(command(b"ZREVRANGE", key, rank, rank), range_option, 1),
    with_tail(command(b"ZRANGEBYSCORE", key, bound, bound), range_option, 2),
    with_tail(command(b"ZREVRANGEBYSCORE", key, bound, bound), range_option, 2),
    with_tail(command(b"ZRANGEBYLEX", st.just(LEX_KEY), lex, lex), lex_option, 1),
    with_tail(command(b"ZREVRANGEBYLEX", st.just(LEX_KEY), lex, lex), lex_option, 1),
    with_tail(command(b"ZRANGESTORE", key, key, rank, rank), range_option, 1),
    with_tail(
        command(b"ZRANGESTORE", key, key, bound, bound).map(lambda argv: (*argv, b"BYSCORE")),
        range_option,
        2,
    ),
    with_tail(
        command(b"ZRANGESTORE", key, st.just(LEX_KEY), lex, lex).map(
            lambda argv: (*argv, b"BYLEX")
        ),
        lex_option,
        1,
    ),
    command(b"ZREMRANGEBYRANK", source, rank, rank),
    command(b"ZREMRANGEBYSCORE", key, bound, bound),
    command(b"ZREMRANGEBYLEX", st.just(LEX_KEY), lex, lex),
    *[_algebra(name, False) for name in (b"ZUNION", b"ZINTER", b"ZDIFF")],
    *[_algebra(name, True) for name in (b"ZUNIONSTORE", b"ZINTERSTORE", b"ZDIFFSTORE")],
    with_tail(
        command(b"ZINTERCARD", st.just(b"2"), source, source),
        st.one_of(st.tuples(cased(b"LIMIT"), small), words(b"WITHSCORES", b"LIMIT")),
        1,
    ),
    with_tail(command(b"ZPOPMIN", source), st.tuples(small), 2),
    with_tail(command(b"ZPOPMAX", source), st.tuples(small), 1),
    with_tail(
        st.tuples(
            st.lists(source, min_size=1, max_size=3),
            st.sampled_from([b"MIN", b"MAX", b"max", b"bad"]),
            st.sampled_from([b"", b"", b"", b"0", b"9"]),
        ).map(lambda drawn: (b"ZMPOP", drawn[2] or b"%d" % len(drawn[0]), *drawn[0], drawn[1])),
        st.one_of(st.tuples(cased(b"COUNT"), small), words(b"COUNT", b"bad")),
        1,
    ),
    with_tail(
        command(b"ZRANDMEMBER", key),
        st.one_of(st.tuples(small), st.tuples(small, cased(b"WITHSCORES")), words(b"bad")),
        1,
    ).filter(
        lambda argv: len(argv) < 3 or argv[2][:2] != b"-9"  # a server would build that many replies
    ),
    with_tail(
        command(b"ZSCAN", source, st.sampled_from([b"0", b"0", b"0", b"x", b"", b" 0"])),
        scan_option,
        2,
    ),
]

OTHERS: list[st.SearchStrategy[Command]] = [
    command(b"SET", key, value),
    with_tail(command(b"SADD", key, member), st.tuples(member), 4),
    with_tail(command(b"SADD", key, number), st.tuples(number), 4),
    command(b"DEL", key),
    command(b"DEL", key),
    command(b"COPY", key, key),
    command(b"RENAME", key, key),
    command(b"PEXPIREAT", key, absolute_ms),
    command(b"OBJECT", st.just(b"ENCODING"), source),
    command(b"TYPE", key),
    command(b"MULTI"),
    command(b"EXEC"),
    command(b"EXEC"),
    command(b"DISCARD"),
]

zsets = st.one_of(ZSETS)
others = st.one_of(OTHERS)
