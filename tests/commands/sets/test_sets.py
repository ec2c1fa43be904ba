"""Sets as clients see them, what is logged of them, how they are kept, what a reply waits for."""

from __future__ import annotations

import gc
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.engine.values import deferred_free
from memstore.engine.values.incremental_dict import IncrementalDict
from memstore.engine.values.set import Set, build
from tests.engine.harness import Harness, decode
from tests.replication.test_shard import Node

WRONG = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


def stored(h: Harness, key: bytes) -> Set:
    value = h.engine.keyspace.database(0).get(key)
    assert type(value) is Set
    return value


def encoding(h: Harness, key: str) -> object:
    return decode(h.line(f"OBJECT ENCODING {key}") or b"")[0]


def fill(h: Harness, key: str, count: int, word: str = "m") -> None:
    assert (
        h.line(f"SADD {key} " + " ".join(f"{word}{n}" for n in range(count))) == b":%d\r\n" % count
    )


# ----------------------------------------------------------------- what is logged


def test_only_what_changed_is_logged(h: Harness) -> None:
    assert h.line("SADD s 1 2 1") == b":2\r\n" and h.effects == [[b"SADD", b"s", b"1", b"2"]]
    assert h.line("sadd s 2 3 2") == b":1\r\n" and h.effects == [[b"SADD", b"s", b"3"]]
    assert h.line("SADD s x") == b":1\r\n" and h.effects == [[b"SADD", b"s", b"x"]]
    assert h.line("SADD s x 1") == b":0\r\n" and h.effects == [] and h.changed == set()
    assert h.line("SREM s none 1 1") == b":1\r\n" and h.effects == [[b"SREM", b"s", b"1"]]
    assert h.line("SREM s none") == h.line("SREM none a") == b":0\r\n" and h.effects == []
    assert h.same()


def test_in_another_database_the_effect_says_so(h: Harness) -> None:
    h.lines("SELECT 3", "SADD s a")
    assert h.effects == [[b"SELECT", b"3"], [b"SADD", b"s", b"a"]] and h.changed == {(3, b"s")}
    h.line("SPOP s")
    assert h.effects == [[b"SELECT", b"3"], [b"SREM", b"s", b"a"]] and h.same()


def test_long_members_and_keys_are_logged_whole(h: Harness) -> None:
    key, member = b"k" * 2000, b"m" * 3000
    h.run(b"SADD", key, member)
    assert h.effects == [[b"SADD", key, member]]
    assert (
        h.run(b"SREM", key, member) == b":1\r\n"
        and h.effects == [[b"SREM", key, member]]
        and h.same()
    )


def test_chance_is_logged_as_what_it_came_to(h: Harness) -> None:
    fill(h, "s", 50)
    answer = h.line("SPOP s")
    assert h.effects == [[b"SREM", b"s", decode(answer or b"")[0]]]
    taken = decode(h.line("SPOP s 3") or b"")[0]
    assert h.effects == [[b"SREM", b"s", *taken]] and len(set(taken)) == 3
    taken = decode(h.line("SPOP s 44") or b"")[0]  # leaves two, which make a set anew
    assert h.effects == [[b"SREM", b"s", *taken]] and h.line("SCARD s") == b":2\r\n"
    h.line("SPOP s 2")
    assert h.effects == [[b"DEL", b"s"]] and h.line("EXISTS s") == b":0\r\n"
    assert h.line("SPOP s") == b"$-1\r\n" and h.line("SPOP s 5") == b"*0\r\n" and h.effects == []
    assert h.same()


def test_a_set_that_became_empty_is_gone_with_its_expiry(h: Harness) -> None:
    for line in (
        "SREM s a",
        "SREM s a b",
        "SPOP s",
        "SPOP s 1",
        "SMOVE s t a",
        "SDIFFSTORE s s s",
        "SINTERSTORE s s none",
    ):
        h.lines("DEL t", "SADD s a", "PEXPIREAT s 4000000000000")
        h.line(line)
        assert h.line("EXISTS s") == b":0\r\n", line
        h.line("SADD s a")
        assert h.line("TTL s") == b":-1\r\n", line
        h.check_keyspace()
    assert h.same()


def test_what_stays_keeps_its_expiry(h: Harness) -> None:
    for line in ("SADD s b", "SREM s 1", "SPOP s", "SPOP s 2", "SPOP s 17", "SMOVE s t 3"):
        h.lines("DEL s", "SADD s " + " ".join(map(str, range(20))), "PEXPIREAT s 4000000000000")
        h.line(line)
        assert h.line("PEXPIRETIME s") == b":4000000000000\r\n", line
    h.line("SUNIONSTORE s s")
    assert h.line("PEXPIRETIME s") == b":-1\r\n", "a STORE makes a new set"
    assert h.same()


def test_a_store_logs_what_was_there_and_the_result(h: Harness) -> None:
    h.lines("SADD a 1 2 3", "SADD b 2 3 4", "SET out x")
    assert h.line("SINTERSTORE out a b") == b":2\r\n" and h.effects == [
        [b"DEL", b"out"],
        [b"SADD", b"out", b"2", b"3"],
    ]
    assert h.line("SDIFFSTORE new a b") == b":1\r\n" and h.effects == [[b"SADD", b"new", b"1"]]
    assert h.line("SDIFFSTORE new a a") == b":0\r\n" and h.effects == [[b"DEL", b"new"]]
    assert h.line("SINTERSTORE new a none") == b":0\r\n" and h.effects == []
    assert h.line("SUNIONSTORE a a b") == b":4\r\n" and h.effects == [
        [b"DEL", b"a"],
        [b"SADD", b"a", b"1", b"2", b"3", b"4"],
    ]
    assert h.line("SINTERSTORE out a b new s") == b":0\r\n" and h.same()


def test_many_members_are_logged_in_pieces(h: Harness) -> None:
    fill(h, "s", 5000)
    assert [len(effect) - 2 for effect in h.effects] == [1024, 1024, 1024, 1024, 904]
    h.line("SUNIONSTORE out s")
    assert len(h.effects) == 5
    h.line("SPOP out 4000")
    assert [len(effect) - 2 for effect in h.effects] == [1024, 1024, 1024, 928]
    assert h.line("SCARD out") == b":1000\r\n" and h.same()


def test_a_move_is_one_effect_that_changes_two_keys(h: Harness) -> None:
    h.lines("SADD a 1 2 x", "SADD b 2")
    assert h.line("SMOVE a b 1") == b":1\r\n"
    assert h.effects == [[b"SMOVE", b"a", b"b", b"1"]] and h.changed == {(0, b"a"), (0, b"b")}
    assert h.line("SMOVE a b 2") == b":1\r\n" and h.changed == {(0, b"a")}, "it was there"
    assert h.line("SMOVE a b none") == h.line("SMOVE none b 1") == b":0\r\n" and h.effects == []
    assert (
        h.line("SMOVE a a x") == b":1\r\n"
        and h.line("SMOVE a a y") == b":0\r\n"
        and h.effects == []
    )
    assert h.line("SMOVE a new x") == b":1\r\n" and h.line("EXISTS a new") == b":1\r\n" and h.same()


def test_a_wrong_type_changes_nothing(h: Harness) -> None:
    h.lines("SET x 1", "SADD s 1 2")
    before = h.digest()
    for line in (
        *(
            "SADD x a",
            "SREM x a",
            "SISMEMBER x a",
            "SMISMEMBER x a",
            "SCARD x",
            "SMEMBERS x",
            "SPOP x",
            "SPOP x 0",
            "SRANDMEMBER x",
            "SRANDMEMBER x 0",
        ),
        *(
            "SMOVE x s 1",
            "SMOVE s x 1",
            "SINTER none x",
            "SUNION s x",
            "SDIFF none x",
            "SINTERSTORE s s x",
            "SUNIONSTORE s x",
            "SDIFFSTORE s s x",
        ),
        *("SINTERCARD 2 none x", "SSCAN x 0"),
    ):
        assert h.line(line) == WRONG and h.effects == [], line
    assert h.line("SMOVE none x 1") == b":0\r\n"
    assert h.digest() == before


# ------------------------------------------------- how it is kept, and how OBJECT ENCODING calls it


def test_integers_come_in_order(h: Harness) -> None:
    h.line("SADD s 10 -5 2 70000 -3000000000 2")
    assert (
        h.line("SMEMBERS s")
        == b"*5\r\n$11\r\n-3000000000\r\n$2\r\n-5\r\n$1\r\n2\r\n$2\r\n10\r\n$5\r\n70000\r\n"
    )
    h.line("SADD t 3 1")
    assert decode(h.line("SUNION s t") or b"")[0] == [
        b"-3000000000",
        b"-5",
        b"1",
        b"2",
        b"3",
        b"10",
        b"70000",
    ]
    assert decode(h.line("SSCAN s 0 COUNT 1") or b"")[0] == [
        b"0",
        [b"-3000000000", b"-5", b"2", b"10", b"70000"],
    ]


def test_what_is_no_integer_or_one_too_many_makes_a_table_for_good(h: Harness) -> None:
    h.line("CONFIG SET set-max-intset-entries 4")
    for line in ("SADD s 1 2 3 4 5", "SADD s x", "SADD s 01", "SADD s 1 9223372036854775808"):
        h.line(line)
        assert encoding(h, "s") == b"hashtable", line
        h.line("SADD s 1")
        h.line("SREM s 5 x 01 9223372036854775808")
        assert encoding(h, "s") == b"hashtable", line
        h.line("DEL s")
    h.line("SADD s 1 2 3 4")
    assert (
        encoding(h, "s") == b"intset"
        and h.line("COPY s t") == b":1\r\n"
        and encoding(h, "t") == b"intset"
    )
    h.line("SADD s 4 3")
    assert encoding(h, "s") == b"intset", "nothing new came"
    h.line("SADD s 5")
    assert encoding(h, "s") == b"hashtable" and encoding(h, "t") == b"intset"


def test_a_lower_limit_is_met_at_the_next_integer(h: Harness) -> None:
    h.lines("SADD s 1 2 3 4", "CONFIG SET set-max-intset-entries 2", "SREM s 1")
    assert encoding(h, "s") == b"intset"
    h.line("SADD s 9")
    assert encoding(h, "s") == b"hashtable"
    h.lines("CONFIG SET set-max-intset-entries 0", "SADD t 1")
    assert encoding(h, "t") == b"hashtable"


def test_few_that_a_large_spop_leaves_may_be_integers_again(h: Harness) -> None:
    """As in Redis, which makes a new set of them."""
    h.line("SADD s " + " ".join(map(str, range(600))))
    assert encoding(h, "s") == b"hashtable"
    h.line("SPOP s 300")
    assert encoding(h, "s") == b"hashtable"
    h.line("SPOP s 290")
    assert encoding(h, "s") == b"intset" and h.line("SCARD s") == b":10\r\n" and h.same()


members = st.one_of(
    st.integers(-5, 40).map(lambda n: b"%d" % n),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: b"%d" % n),
    st.sampled_from(
        [
            b"32767",
            b"32768",
            b"-32768",
            b"-32769",
            b"2147483647",
            b"2147483648",
            b"-2147483648",
            b"-2147483649",
        ]
    ),
    st.sampled_from(
        [b"x", b"", b"007", b"-0", b"9223372036854775808", b"-9223372036854775809", b"1.0", b" 1"]
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "many", "remove"]),
            st.lists(members, min_size=1, max_size=8),
        )
    ),
    st.sampled_from([0, 1, 5, 512]),
)
def test_a_set_holds_what_a_set_holds(steps: list[tuple[str, list[bytes]]], limit: int) -> None:
    ours, model, packed = Set(), set[bytes](), True
    for step, drawn in steps:
        if step == "many":
            added = ours.add_many(drawn, limit)
            assert added == [member for member in dict.fromkeys(drawn) if member not in model]
            model.update(drawn)
        else:
            change = ours.remove if step == "remove" else lambda member: ours.add(member, limit)
            for member in drawn:
                assert change(member) is ((member in model) is (step == "remove"))
                (model.discard if step == "remove" else model.add)(member)
        assert len(ours) == len(model) and set(ours) == model and len(list(ours)) == len(model)
        assert (
            ours.which(drawn)
            == [member in model for member in drawn]
            == [member in ours for member in drawn]
        )
        assert packed or not ours.is_packed, "a table is for good"
        packed = ours.is_packed
        if packed:
            assert list(ours) == sorted(model, key=int) and len(model) <= limit
        if model:
            assert ours.random(Random(3)) in model
            assert set(ours.sample(Random(3), len(model) // 2)) <= model
        twin = build(sorted(model), limit)
        assert ours.span(0, 0) == twin.span(0, 0) == ours.copy().span(0, 0)
        assert ours.size() > 40
        assert sorted(ours.scan(0, 1000)[1]) == sorted(model)


def test_one_at_a_time_or_many_at_once_is_kept_the_same() -> None:
    for limit in (0, 3, 512):
        for drawn in (
            [b"1", b"2", b"3"],
            [b"1", b"2", b"3", b"4"],
            [b"1", b"x", b"2"],
            [b"70000", b"1"],
            [b"x"],
            [b"3", b"3", b"3", b"3", b"2"],
        ):
            one, many = Set(), Set()
            for member in drawn:
                one.add(member, limit)
            many.add_many(drawn, limit)
            assert (set(one), one.is_packed) == (set(many), many.is_packed), (limit, drawn)


def test_a_copy_shares_nothing() -> None:
    for first in (b"1", b"x"):
        one = Set()
        one.add(first, 512)
        other = one.copy()
        other.add(b"2", 512)
        other.remove(first)
        assert (set(one), set(other)) == ({first}, {b"2"})


# ----------------------------------------------------------------- chance


def test_every_member_is_drawn_as_often_as_any_other(h: Harness) -> None:
    """Chi square at one in ten thousand, by its normal approximation; the seed is fixed."""
    for key, count, word in (("i", 100, ""), ("s", 100, "m"), ("big", 1000, "m")):
        fill(h, key, count, word)
        drawn: Counter[bytes] = Counter()
        for _ in range(60):
            drawn.update(decode(h.line(f"SRANDMEMBER {key} {count // 5}") or b"")[0])
            drawn.update(decode(h.line(f"SRANDMEMBER {key} -{count // 5}") or b"")[0])
            drawn.update(decode(h.line(f"SRANDMEMBER {key} -{count}") or b"")[0])
        each = 60 * 1.4
        chi = sum((drawn[member] - each) ** 2 / each for member in stored(h, key.encode()))
        assert chi < count - 1 + 4 * (2 * count) ** 0.5, (key, chi)


def test_spop_leaves_each_as_often(h: Harness) -> None:
    left: Counter[bytes] = Counter()
    for turn in range(400):
        h.line("SADD s 0 1 2 3 4 5 6 7 8 9")
        h.line("SPOP s 9" if turn % 2 else "SPOP s 5")
        left.update(stored(h, b"s"))
        h.line("DEL s")
    chi = sum((left[b"%d" % n] - 120) ** 2 / 120 for n in range(10))
    assert sum(left.values()) == 1200 and chi < 9 + 4 * 18**0.5


def test_srandmember_has_a_bound_on_repeats(h: Harness) -> None:
    h.line("SADD s 1 2")
    assert (h.line("SRANDMEMBER s -16777217") or b"").startswith(
        b"-ERR value is out of range, value must between -16777216 and "
    )
    assert h.line("SRANDMEMBER none -1000") == b"*0\r\n"
    assert h.line("SRANDMEMBER s 9223372036854775807") == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"


# ----------------------------------------------------------------- reply types


def test_resp3_has_sets_where_redis_has_them(h: Harness) -> None:
    h.session.resp3 = True
    h.line("SADD s 1")
    for line in ("SMEMBERS s", "SINTER s", "SUNION s", "SDIFF s"):
        assert h.line(line) == b"~1\r\n$1\r\n1\r\n", line
    for line in (
        "SMEMBERS none",
        "SINTER s none",
        "SUNION none",
        "SDIFF none",
        "SPOP none 1",
        "SPOP s 0",
    ):
        assert h.line(line) == b"~0\r\n", line
    assert h.line("SRANDMEMBER s 1") == h.line("SRANDMEMBER s -1") == b"*1\r\n$1\r\n1\r\n"
    assert (
        h.line("SRANDMEMBER none") == h.line("SPOP none") == b"_\r\n"
        and h.line("SRANDMEMBER none 1") == b"*0\r\n"
    )
    assert (
        h.line("SMISMEMBER s 1 2") == b"*2\r\n:1\r\n:0\r\n"
        and h.line("SSCAN s 0") == b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\n1\r\n"
    )
    assert h.line("SPOP s 1") == b"~1\r\n$1\r\n1\r\n"


def test_the_count_of_what_is_common_stops_at_its_limit(h: Harness) -> None:
    fill(h, "a", 5000)
    fill(h, "b", 4000)
    for limit, count in ((0, 4000), (1, 1), (1500, 1500), (4000, 4000), (9000, 4000)):
        assert h.line(f"SINTERCARD 2 a b LIMIT {limit}") == b":%d\r\n" % count
    assert h.line("SINTERCARD 3 a none b LIMIT 3") == b":0\r\n"


def test_a_walk_returns_what_stays_while_others_come_and_go(h: Harness) -> None:
    fill(h, "s", 2000, "stay")
    found: set[bytes] = set()
    cursor, turn = b"0", 0
    while True:
        cursor, items = decode(
            h.run(b"SSCAN", b"s", cursor, b"MATCH", b"stay*", b"COUNT", b"20") or b""
        )[0]
        found.update(items)
        turn += 1
        h.line("SADD s " + " ".join(f"other{turn}-{n}" for n in range(100)))
        if cursor == b"0":
            break
    assert found == {b"stay%d" % n for n in range(2000)} and turn > 20


# ----------------------------------------------------------------- large sets go away in pieces


@pytest.mark.parametrize(
    "line",
    [
        "DEL s",
        "UNLINK s",
        "SET s x",
        "RENAME other s",
        "FLUSHALL",
        "FLUSHDB",
        "SUNIONSTORE s other",
        "SPOP s 20000",
        "COPY other s REPLACE",
        "PEXPIREAT s 1",
    ],
)
def test_however_it_goes_a_large_set_is_freed_in_pieces(line: str) -> None:
    h = Harness()
    fill(h, "s", 20_000)
    h.line("SADD other a")
    held = stored(h, b"s").held
    assert isinstance(held, IncrementalDict)
    buckets = held._buckets
    count = len(buckets)
    del held
    gc.collect()  # other tests' large values must not go away among ours
    while deferred_free.waiting():
        deferred_free.free_some(1_000_000)
    h.line(line)
    assert h.same() and sum(map(len, buckets)) == 20_000, (
        "still there when the command is over, on both nodes"
    )
    turns = 0
    while h.engine.keyspace.free_some(2000) or h.mirror.keyspace.free_some(2000):
        turns += 1
        assert turns < 200
    assert not any(buckets) and len(buckets) < count and turns >= 15


# ----------------------------------------------------------------- what a reply waits for


@pytest.mark.parametrize(
    ("change", "command"),
    [
        ("SADD s c", "SISMEMBER s c"),
        ("SADD s c", "SADD s c"),  # a write that changed nothing is a read
        ("SREM s a", "SREM s a"),
        ("SADD s c", "SMOVE s t none"),
        ("SADD s c", "SMOVE s s c"),
        ("SADD t a", "SMOVE none t a"),
        ("SREM s a b", "SPOP s"),  # absence is data
        ("SREM s a b", "SPOP s 3"),
        ("SREM s a b", "SRANDMEMBER s"),
        ("SREM s a b", "SMEMBERS s"),
        ("SADD s c", "SMISMEMBER s x"),
        ("SADD s c", "SINTER t s"),
        ("SADD s c", "SUNION t s"),
        ("SADD s c", "SDIFF t s"),
        ("SADD s c", "SINTERCARD 2 t s LIMIT 1"),
        ("DEL out", "SINTERSTORE out s none"),
        ("SADD none x", "SINTERSTORE nothing none t"),
        ("SADD s c", "GET s"),  # WRONGTYPE reveals state
        ("DEL out", "SADD out x"),
        ("SET out y", "SADD out x"),
        ("SET out y", "SINTER none out"),
        ("SADD s c", "SSCAN s 0"),
        ("SADD s c", "SCARD s"),
        ("SADD s c", "OBJECT ENCODING s"),
    ],
)
def test_a_reply_waits_for_what_it_saw(change: str, command: str) -> None:
    node = Node()
    writer, reader = node.session(), node.session()
    node.do(writer, "SADD s a b", "SADD t z", "SET out x")
    node.commit()
    assert node.do(writer, change) == b""
    assert node.do(reader, command) == b"", "shown before its commit"
    assert node.commit()[reader.id]


@pytest.mark.parametrize(
    "command", ["SISMEMBER t a", "SINTER t none", "SINTERCARD 1 t", "SRANDMEMBER t 5", "SSCAN t 0"]
)
def test_a_reply_waits_for_nothing_else(command: str) -> None:
    node = Node()
    writer, reader = node.session(), node.session()
    node.do(writer, "SADD s a", "SADD t z")
    node.commit()
    assert node.do(writer, "SADD s b") == b""
    assert node.do(reader, command)


def test_a_move_onto_what_is_there_does_not_fail_who_watches_it(h: Harness) -> None:
    other = h.new_session()
    h.lines("SADD a 1 2", "SADD b 1")
    for moved, spared in (("1", True), ("2", False)):
        h.line("WATCH b", session=other)
        h.line(f"SMOVE a b {moved}")
        h.line("MULTI", session=other)
        h.line("PING", session=other)
        assert (h.line("EXEC", session=other) != b"*-1\r\n") is spared
