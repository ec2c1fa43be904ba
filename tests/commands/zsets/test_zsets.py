"""Sorted sets as clients see them, what is logged of them, and what a reply waits for."""

from __future__ import annotations

from collections import Counter

import pytest

from memstore.commands.zsets import lookup_zset, pop, pop_first
from memstore.engine.settings import Settings
from memstore.engine.values.sorted import Large, SortedSet
from tests.engine.harness import Harness, decode
from tests.replication.test_shard import Node

WRONG = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


def stored(h: Harness, key: bytes) -> SortedSet:
    value = h.engine.keyspace.database(0).get(key)
    assert type(value) is SortedSet
    value.check()
    return value


def fill(h: Harness, key: str, count: int) -> None:
    assert (
        h.line(f"ZADD {key} " + " ".join(f"{n % 10} member{n}" for n in range(count)))
        == b":%d\r\n" % count
    )


# ----------------------------------------------------------------- what is logged


def test_scores_are_logged_as_they_came_out(h: Harness) -> None:
    assert h.line("ZADD z 0.1 a") == b":1\r\n" and h.effects == [[b"ZADD", b"z", b"0.1", b"a"]]
    assert h.line("ZINCRBY z 0.2 a") == b"$19\r\n0.30000000000000004\r\n" and h.effects == [
        [b"ZADD", b"z", b"0.30000000000000004", b"a"]
    ]
    assert h.line("ZADD z XX GT CH 5 a 5 none 7 a 6 a") == b":2\r\n"
    assert h.effects == [[b"ZADD", b"z", b"5", b"a", b"7", b"a"]], (
        "only what changed, in one effect"
    )
    assert h.line("ZADD z INCR inf a") == b"$3\r\ninf\r\n" and h.effects == [
        [b"ZADD", b"z", b"inf", b"a"]
    ]
    assert (
        h.line("ZINCRBY z -inf a") == b"-ERR resulting score is not a number (NaN)\r\n"
        and h.effects == []
    )
    assert h.line("ZADD z 0x1p-3 b") == b":1\r\n" and h.line("ZSCORE z b") == b"$5\r\n0.125\r\n"
    assert h.line("ZADD z 0." + "1" * 400 + " c") == b":1\r\n" and h.effects == [
        [b"ZADD", b"z", b"0.1111111111111111", b"c"]
    ], "a long text is not kept"
    assert h.same()


def test_what_changes_nothing_logs_nothing(h: Harness) -> None:
    h.line("ZADD z 1 a")
    lines = [
        *(
            "ZADD z 1 a",
            "ZADD z 1.0 a",
            "ZADD z NX 2 a",
            "ZADD z XX 1 b",
            "ZADD z GT 0 a",
            "ZADD z LT 2 a",
            "ZADD none XX 1 a",
            "ZADD z NX INCR 1 a",
        ),
        *(
            "ZINCRBY z 0 a",
            "ZREM z none",
            "ZREM none a",
            "ZPOPMIN none",
            "ZPOPMIN z 0",
            "ZMPOP 1 none MIN",
            "ZREMRANGEBYSCORE z 5 6",
            "ZREMRANGEBYRANK z 5 6",
        ),
        *("ZREMRANGEBYLEX z + -", "ZUNIONSTORE none 1 nothing", "ZRANGESTORE none z 5 6"),
    ]
    for line in lines:
        answer = h.line(line)
        assert (
            answer is not None and answer[:1] != b"-" and h.effects == [] and h.changed == set()
        ), line
    assert h.line("ZRANGE z 0 -1 WITHSCORES") == b"*2\r\n$1\r\na\r\n$1\r\n1\r\n"


def test_removals_are_logged_small(h: Harness) -> None:
    fill(h, "z", 1000)
    assert h.line("ZREMRANGEBYSCORE z (1 (4") == b":200\r\n" and h.effects == [
        [b"ZREMRANGEBYRANK", b"z", b"200", b"399"]
    ]
    h.line("ZPOPMIN z 3")
    assert h.effects == [[b"ZREM", b"z", b"member0", b"member10", b"member100"]]
    h.line("ZPOPMAX z 100")
    assert h.effects == [[b"ZREMRANGEBYRANK", b"z", b"697", b"796"]]
    h.line("ZMPOP 2 none z MAX COUNT 2")
    assert h.effects == [[b"ZREM", b"z", b"member988", b"member998"]], "by name in the set's order"
    assert h.same() and stored(h, b"z").count == 695


def test_what_becomes_empty_is_no_key(h: Harness) -> None:
    for line in (
        "ZREM z a b c",
        "ZPOPMIN z 5",
        "ZPOPMAX z 3",
        "ZMPOP 1 z MIN COUNT 9",
        "ZREMRANGEBYRANK z 0 -1",
        "ZREMRANGEBYSCORE z -inf inf",
        "ZDIFFSTORE z 2 z z",
    ):
        h.lines("ZADD z 1 a 2 b 3 c", "PEXPIRE z 10000")
        h.line(line)
        assert len(h.effects) == 1 and h.lines("EXISTS z", "DBSIZE") == [b":0\r\n", b":0\r\n"], line
        assert h.same()
        h.check_keyspace()


def test_a_stored_result_replaces_whatever_was_there(h: Harness) -> None:
    h.lines("ZADD z 1 a 2 b", "SET s text PX 10000", "SADD set b c")
    assert h.line("ZUNIONSTORE s 2 z set WEIGHTS 10 1") == b":3\r\n"
    assert h.effects == [[b"DEL", b"s"], [b"ZADD", b"s", b"1", b"c", b"10", b"a", b"21", b"b"]]
    assert h.lines("PTTL s", "TYPE s") == [b":-1\r\n", b"+zset\r\n"]
    assert h.line("ZRANGESTORE s z 7 8") == b":0\r\n" and h.effects == [[b"DEL", b"s"]]
    assert (
        h.line("ZRANGESTORE z z 0 0 REV") == b":1\r\n"
        and h.line("ZRANGE z 0 -1") == b"*1\r\n$1\r\nb\r\n"
    )
    assert h.line("ZINTERSTORE z 2 z set") == b":1\r\n", "into one of its sources"
    assert h.same()


def test_a_large_result_is_logged_in_chunks(h: Harness) -> None:
    fill(h, "z", 1300)
    assert h.line("ZUNIONSTORE other 1 z") == b":1300\r\n"
    assert [(effect[0], len(effect) // 2 - 1) for effect in h.effects] == [
        (b"ZADD", 512),
        (b"ZADD", 512),
        (b"ZADD", 276),
    ]
    assert h.same() and h.lines("OBJECT ENCODING other") == [b"$8\r\nskiplist\r\n"]


def test_an_expired_one_is_gone_before_it_is_written(h: Harness) -> None:
    h.lines("ZADD z 1 a 2 b", "PEXPIRE z 10")
    h.wall_ms += 10
    assert h.line("ZADD z 3 c") == b":1\r\n" and h.effects == [
        [b"DEL", b"z"],
        [b"ZADD", b"z", b"3", b"c"],
    ]
    assert h.line("ZCARD z") == b":1\r\n" and h.same()
    h.line("PEXPIRE z 10")
    h.wall_ms += 10
    assert h.line("ZPOPMIN z") == b"*0\r\n" and h.effects == [[b"DEL", b"z"]]


def test_another_database_and_long_arguments(h: Harness) -> None:
    key, member = "k" * 2000, "m" * 2000
    assert h.lines("SELECT 3", f"ZADD {key} 1 {member}")[1] == b":1\r\n"
    assert h.effects == [
        [b"SELECT", b"3"],
        [b"ZADD", key.encode(), b"1", member.encode()],
    ] and h.changed == {(3, key.encode())}
    assert (
        h.line("ZADD {a}b 1 m") == b":1\r\n"
        and h.line("ZSCORE {a}b m") == b"$1\r\n1\r\n"
        and h.same()
    )


# ----------------------------------------------------------------- what is told of how it is kept


def test_the_encoding_told_follows_the_limits_and_never_goes_back(h: Harness) -> None:
    fill(h, "z", 128)
    assert (
        h.line("OBJECT ENCODING z") == b"$8\r\nlistpack\r\n" and type(stored(h, b"z").body) is bytes
    )
    h.line("ZADD z 0 member0")  # it is there already
    assert h.line("OBJECT ENCODING z") == b"$8\r\nlistpack\r\n"
    h.line("ZADD z 5 onemore")
    assert (
        h.line("OBJECT ENCODING z") == b"$8\r\nskiplist\r\n" and type(stored(h, b"z").body) is Large
    )
    h.line("ZREMRANGEBYRANK z 1 -1")
    assert h.line("OBJECT ENCODING z") == b"$8\r\nskiplist\r\n" and h.line("COPY z y") == b":1\r\n"
    assert h.line("OBJECT ENCODING y") == b"$8\r\nskiplist\r\n"
    h.lines("ZADD long 1 " + "x" * 64, "ZADD longer 1 " + "x" * 65)
    assert h.lines("OBJECT ENCODING long", "OBJECT ENCODING longer") == [
        b"$8\r\nlistpack\r\n",
        b"$8\r\nskiplist\r\n",
    ]
    assert h.same()


@pytest.mark.parametrize(
    "lines",
    [
        ("ZADD z 1 a", "ZADD z 2 b", "ZADD z 3 c"),
        ("ZINCRBY z 1 a", "ZINCRBY z 2 b", "ZINCRBY z 3 c"),
        ("ZADD z 0 a 0 b", "ZADD z 0 c"),
    ],
)
def test_the_limit_counts_whichever_way_members_come(lines: tuple[str, ...]) -> None:
    for most, encoding in ((3, b"listpack"), (2, b"skiplist")):
        h = Harness(settings=Settings(zset_max_listpack_entries=most))
        h.lines(*lines)
        assert h.line("OBJECT ENCODING z") == b"$8\r\n%b\r\n" % encoding
    h = Harness(settings=Settings(zset_max_listpack_value=3))
    for score in ("0", "1"):
        h.lines("ZADD y 1 abc", f"ZADD y {score} abcd", f"ZADD x {score} abcd")
        assert h.lines("OBJECT ENCODING y", "OBJECT ENCODING x") == [b"$8\r\nskiplist\r\n"] * 2
        h.line("DEL x y")


def test_how_it_is_kept_has_limits_of_its_own() -> None:
    h = Harness(settings=Settings(zset_max_listpack_entries=100_000, zset_max_listpack_value=1000))
    fill(h, "z", 500)
    assert (
        h.line("OBJECT ENCODING z") == b"$8\r\nlistpack\r\n" and type(stored(h, b"z").body) is Large
    )
    h.line("ZADD y 1 " + "x" * 300)
    assert (
        h.line("OBJECT ENCODING y") == b"$8\r\nlistpack\r\n" and type(stored(h, b"y").body) is Large
    )
    answer = h.line("ZSCAN z 0 COUNT 100000")
    assert answer is not None and len(decode(answer)[0][1]) == 1000
    few = Harness(settings=Settings(zset_max_listpack_entries=0))
    few.line("ZADD z 1 a")
    assert (
        few.line("OBJECT ENCODING z") == b"$8\r\nskiplist\r\n"
        and type(stored(few, b"z").body) is bytes
    )


def test_the_sign_of_zero_is_what_redis_keeps_and_a_replica_keeps_what_its_primary_does(
    h: Harness,
) -> None:
    """A listpack has no negative zero, a skiplist has. The first chunk of a stored result is small
    at the replica though not at the primary.
    """
    h.line("ZADD z -0 a")
    assert h.effects == [[b"ZADD", b"z", b"0", b"a"]] and h.line("ZSCORE z a") == b"$1\r\n0\r\n"
    assert h.line("ZINCRBY z -0 b") == b"$2\r\n-0\r\n" and h.line("ZSCORE z b") == b"$1\r\n0\r\n", (
        "so does Redis"
    )
    h.line("ZADD big -0 " + "x" * 65 + " -0 a")
    assert h.line("ZSCORE big a") == b"$2\r\n-0\r\n" and h.same()
    h.line("ZADD many " + " ".join(f"-0 m{n}" for n in range(700)))
    h.line("ZUNIONSTORE out 1 many WEIGHTS 1")
    for key in (b"many", b"out", b"big", b"z"):
        ours, theirs = stored(h, key), h.mirror.keyspace.database(0).get(key)
        assert [str(score) for _, score in ours.items()] == [
            str(score) for _, score in theirs.items()
        ]


# ----------------------------------------------------------------- replies that differ


def test_replies_of_both_protocols(h: Harness) -> None:
    h.lines("ZADD z 1 a 2.5 b", "ZADD y 1 a")
    flat = b"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n2.5\r\n"
    nested = b"*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2.5\r\n"
    lines = (
        "ZRANGE z 0 -1 WITHSCORES",
        "ZUNION 1 z WITHSCORES",
        "ZDIFF 1 z WITHSCORES",
        "ZRANGEBYSCORE z 0 9 WITHSCORES",
    )
    assert h.lines(*lines) == [flat] * 4
    h.session.resp3 = True
    assert h.lines(*lines) == [nested] * 4
    assert (
        h.line("ZMSCORE z a none") == b"*2\r\n,1\r\n_\r\n"
        and h.line("ZADD z NX INCR 1 a") == b"_\r\n"
    )
    assert (
        h.line("ZMPOP 1 none MIN") == b"_\r\n"
        and h.line("ZMPOP 1 y MIN") == b"*2\r\n$1\r\ny\r\n*1\r\n*2\r\n$1\r\na\r\n,1\r\n"
    )
    assert (
        h.line("ZPOPMIN z 1") == b"*1\r\n*2\r\n$1\r\na\r\n,1\r\n"
        and h.line("ZPOPMIN z") == b"*2\r\n$1\r\nb\r\n,2.5\r\n"
    )


@pytest.mark.parametrize("size", [100, 200])
def test_members_by_chance_are_evenly_chosen(h: Harness, size: int) -> None:
    fill(h, "z", size)
    for line, times in (
        ("ZRANDMEMBER z -100", 60),
        ("ZRANDMEMBER z 10", 600),
        ("ZRANDMEMBER z 50", 120),
        ("ZRANDMEMBER z 1", 6000),
    ):
        counts: Counter[bytes] = Counter()
        for _ in range(times):
            answer = h.line(line)
            assert answer is not None
            counts.update(decode(answer)[0])
        share = 6000 / size
        assert (
            len(counts) == size
            and share / 3 < min(counts.values())
            and max(counts.values()) < share * 3
        )


def test_a_walk_of_a_large_one_meets_everybody_while_others_come_and_go(h: Harness) -> None:
    fill(h, "z", 3000)
    seen: set[bytes] = set()
    cursor, calls = b"0", 0
    while cursor != b"0" or not calls:
        answer = h.run(b"ZSCAN", b"z", cursor, b"COUNT", b"100")
        assert answer is not None
        # two elements, which its type does not say
        cursor, flat = decode(answer)[0]  # type: ignore[misc]
        seen.update(flat[::2])
        h.lines(f"ZADD z 5 new{calls}", f"ZREM z new{calls - 3}", f"ZADD z {calls} member7")
        calls += 1
    assert seen >= {b"member%d" % n for n in range(3000)} and 10 < calls < 100


# ----------------------------------------------------------------- types, ties to other commands


COMMANDS = [
    *(
        "ZADD s 1 a",
        "ZADD s XX 1 a",
        "ZINCRBY s 1 a",
        "ZREM s a",
        "ZCARD s",
        "ZSCORE s a",
        "ZMSCORE s a",
        "ZCOUNT s 0 1",
        "ZLEXCOUNT s - +",
        "ZRANK s a",
    ),
    *(
        "ZREVRANK s a",
        "ZRANGE s 0 1",
        "ZREVRANGE s 0 1",
        "ZRANGEBYSCORE s 0 1",
        "ZREVRANGEBYSCORE s 1 0",
        "ZRANGEBYLEX s - +",
        "ZREVRANGEBYLEX s + -",
    ),
    *(
        "ZRANGESTORE d s 0 1",
        "ZREMRANGEBYRANK s 0 1",
        "ZREMRANGEBYSCORE s 0 1",
        "ZREMRANGEBYLEX s - +",
        "ZUNION 2 z s",
        "ZINTER 2 none s",
        "ZDIFF 2 z s",
    ),
    *(
        "ZINTERCARD 2 z s",
        "ZUNIONSTORE d 2 z s",
        "ZINTERSTORE d 2 z s",
        "ZDIFFSTORE d 2 z s",
        "ZPOPMIN s",
        "ZPOPMAX s 1",
        "ZMPOP 3 none s z MIN",
    ),
    *("ZRANDMEMBER s", "ZRANDMEMBER s 2", "ZSCAN s 0"),
]


@pytest.mark.parametrize("line", COMMANDS)
def test_another_type_is_refused(h: Harness, line: str) -> None:
    h.lines("SET s x", "ZADD z 1 a", "SET d x")
    assert h.line(line) == WRONG and h.effects == []


def test_ranks_scores_and_members_agree_on_a_large_one(h: Harness) -> None:
    fill(h, "z", 2000)
    order = sorted((n % 10, b"member%d" % n) for n in range(2000))
    assert h.line("ZRANGE z 0 -1") == b"*2000\r\n" + b"".join(
        [b"$%d\r\n%b\r\n" % (len(member), member) for _, member in order]
    )
    for at in (0, 1, 777, 1999):
        assert h.run(b"ZRANK", b"z", order[at][1]) == b":%d\r\n" % at and h.run(
            b"ZREVRANK", b"z", order[at][1]
        ) == b":%d\r\n" % (1999 - at)
        assert (
            h.line(f"ZRANGE z {at} {at}")
            == h.line(f"ZRANGE z -inf +inf BYSCORE LIMIT {at} 1")
            == h.line(f"ZREVRANGE z {1999 - at} {1999 - at}")
        )
    assert h.lines("ZCOUNT z 3 (5", "ZCOUNT z (3 5", "ZCOUNT z 5 3", "ZCOUNT z -inf +inf") == [
        b":400\r\n",
        b":400\r\n",
        b":0\r\n",
        b":2000\r\n",
    ]


def test_what_blocking_commands_will_call(h: Harness) -> None:
    h.lines("ZADD z 1 a 2 b 3 c", "ZADD y 9 x")
    value = lookup_zset(h.context, b"z")
    assert value is not None and pop(h.context, b"z", value, 1, True) == ([b"c"], [3.0])
    assert (
        pop_first(h.context, [b"none", b"z", b"y"], 9, True)
        == b"*2\r\n$1\r\nz\r\n*2\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"
    )
    h.close_unit()
    assert h.same() and pop_first(h.context, [b"z"], 1, False) is None


# ----------------------------------------------------------------- what a reply waits for


@pytest.mark.parametrize(
    ("change", "command"),
    [
        ("ZADD z 5 a", "ZSCORE z a"),
        ("ZADD z 5 a", "ZADD z 5 a"),  # a write that changed nothing is a read
        ("ZADD z 5 a", "ZADD z NX 7 a"),
        ("ZADD z 5 a", "ZREM z none"),
        ("ZREM z a b", "ZPOPMIN z"),  # absence is data
        ("ZREM z a b", "ZADD z XX 1 a"),
        ("ZREM z a b", "ZMPOP 2 none z MIN"),
        ("ZADD none 1 x", "ZMPOP 2 none z MIN"),
        ("ZADD z 5 a", "ZUNION 2 y z"),
        ("ZADD z 5 a", "ZINTERCARD 2 y z"),
        ("ZADD z 5 a", "ZUNIONSTORE out 2 y z"),
        ("SADD set 1", "ZDIFF 2 y set"),
        ("DEL out", "ZRANGESTORE out nothing 0 -1"),
        ("ZADD z 5 a", "SADD z a"),  # WRONGTYPE reveals state
        ("SET y x", "ZINTER 2 none y"),
        ("ZADD z 5 a", "OBJECT ENCODING z"),
        ("ZADD z 5 a", "ZREMRANGEBYSCORE z 100 200"),
        ("ZADD z 5 a", "ZRANDMEMBER z"),
        ("ZADD z 5 a", "ZSCAN z 0"),
    ],
)
def test_a_reply_waits_for_what_it_saw(change: str, command: str) -> None:
    node = Node()
    writer, reader = node.session(), node.session()
    node.do(writer, "ZADD z 1 a 2 b", "ZADD y 1 a", "SET out x")
    node.commit()
    assert node.do(writer, change) == b""
    assert node.do(reader, command) == b"", "shown before its commit"
    assert node.commit()[reader.id]


@pytest.mark.parametrize(
    "command", ["ZSCORE y a", "ZUNION 1 y", "ZMPOP 2 none nothing MIN", "ZINTERCARD 2 y none"]
)
def test_a_reply_waits_for_nothing_else(command: str) -> None:
    node = Node()
    writer, reader = node.session(), node.session()
    node.do(writer, "ZADD z 1 a", "ZADD y 1 a")
    node.commit()
    assert node.do(writer, "ZADD z 5 a") == b""
    assert node.do(reader, command)
