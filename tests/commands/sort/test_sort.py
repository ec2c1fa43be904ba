"""Sorting by example: orders, weights, what is fetched, what STORE leaves and logs."""

from __future__ import annotations

import pytest

from memstore.engine.settings import Settings
from tests.commands.typed_dump import parse
from tests.engine.harness import Harness

NO_DOUBLE = "ERR One or more scores can't be converted into double"


def sorted_by(h: Harness, text: str) -> list[str | None]:
    """SORT's answer to `text`, nil as None."""
    found = parse(h.line(text))
    assert isinstance(found, list), found
    return [item if item is None else item.decode() for item in found]


def words(h: Harness, text: str) -> str:
    return " ".join("-" if item is None else item for item in sorted_by(h, text))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("SORT l", "1 2 3 10"),
        ("SORT l DESC", "10 3 2 1"),
        ("SORT l desc asc", "1 2 3 10"),
        ("SORT l ALPHA", "1 10 2 3"),
        ("SORT l ALPHA DESC", "3 2 10 1"),
        ("SORT l LIMIT 1 2", "2 3"),
        ("SORT l LIMIT -5 2", "1 2"),
        ("SORT l LIMIT 1 -9", "2 3 10"),
        ("SORT l LIMIT 4 1", ""),
        ("SORT l LIMIT 0 0", ""),
        ("SORT l LIMIT 2 9223372036854775807", "3 10"),
        ("SORT l BY w_*", "1 2 10 3"),  # no weight is zero
        ("SORT l BY w_* DESC", "3 10 2 1"),
        ("SORT l BY w_* ALPHA", "1 2 10 3"),  # nothing comes before any text
        ("SORT l BY o_*->f", "3 2 1 10"),
        ("SORT l BY o_*->f GET # GET o_*->f", "3 - 2 1 1 2 10 3"),
        ("SORT l BY nosort", "3 1 2 10"),
        ("SORT l BY nosort DESC", "10 2 1 3"),
        ("SORT l BY nosort DESC LIMIT 1 2", "2 1"),
        ("SORT l BY nosort BY w_*", "3 1 2 10"),  # once said, it stays
        ("SORT l GET constant", "- - - -"),
        ("SORT l GET w_*", "- 10 30 20"),
        ("SORT l GET w_*-> GET l*", "- - - - - - - -"),
        ("SORT l LIMIT 0 1 GET # GET # GET w_*", "1 1 -"),
        ("SORT none BY w_* GET #", ""),
        ("SORT_RO l LIMIT 0 3", "1 2 3"),
    ],
)
def test_a_list(h: Harness, text: str, answer: str) -> None:
    h.lines(
        "RPUSH l 3 1 2 10",
        "MSET w_2 10 w_10 20 w_3 30",
        "HSET o_1 f 2",
        "HSET o_2 f 1",
        "HSET o_10 f 3",
        "SET o_3 text",
    )
    assert words(h, text) == answer
    assert h.effects == []


def test_equal_weights_are_ordered_by_the_elements(h: Harness) -> None:
    h.lines("RPUSH l b a c a", "MSET w_a 5 w_b 5.0 w_c 0x5")
    assert words(h, "SORT l BY w_*") == "a a b c"
    assert words(h, "SORT l BY w_* DESC") == "c b a a"


def test_equal_texts_keep_a_lists_order_in_both_directions(h: Harness) -> None:
    h.lines("RPUSH l b a c", "MSET w_a x w_b x w_c x")
    assert words(h, "SORT l BY w_* ALPHA") == "b a c"
    assert words(h, "SORT l BY w_* ALPHA DESC") == "b a c"


@pytest.mark.parametrize("size", [3, 700])
def test_equal_texts_put_a_set_into_one_order_whatever_its_past(size: int) -> None:
    one, two = Harness(), Harness(seed=2)
    for h, order in ((one, 1), (two, -1)):
        h.run(b"SADD", b"s", *[b"m%d" % n for n in range(size)][::order])
    assert one.line("SORT s BY w_* ALPHA") == two.line("SORT s BY w_* ALPHA")


@pytest.mark.parametrize(
    "element", ["1e-310", "1e-400", "1e400", "5x", "nan", "1_0", "--5", "1e", "."]
)
def test_what_is_no_double_is_refused_before_anything_changes(h: Harness, element: str) -> None:
    h.lines(f"RPUSH l 1 {element}", "RPUSH out x")
    assert parse(h.line("SORT l STORE out")) == NO_DOUBLE
    assert h.effects == [] and words(h, "SORT out ALPHA") == "x"
    assert parse(h.line("SORT l LIMIT 0 0")) == NO_DOUBLE
    assert words(h, "SORT l BY nosort") == f"1 {element}"


def test_doubles_as_c_reads_them(h: Harness) -> None:
    h.run(b"RPUSH", b"l", b"inf", b" 5", b"", b"0x10", b"-inf", b"7\x00x", b"+6", b"0x1p-1074")
    assert parse(h.line("SORT l")) == [
        b"-inf",
        b"",
        b"0x1p-1074",
        b" 5",
        b"+6",
        b"7\x00x",
        b"0x10",
        b"inf",
    ]
    h.run(b"RPUSH", b"l", b" ")
    assert parse(h.line("SORT l")) == NO_DOUBLE


def test_texts_end_at_a_zero_byte_unless_they_are_stored(h: Harness) -> None:
    h.run(b"RPUSH", b"l", b"a\x00z", b"a\x00b", b"a")
    assert parse(h.line("SORT l ALPHA")) == [b"a\x00z", b"a\x00b", b"a"]
    h.line("SORT l ALPHA STORE out")
    assert parse(h.line("LRANGE out 0 -1")) == [b"a", b"a\x00b", b"a\x00z"]


def test_sets_and_sorted_sets(h: Harness) -> None:
    h.lines("SADD s c a b", "ZADD z 3 a 1 b 2 c", "SADD n 10 9 -1")
    assert words(h, "SORT s ALPHA DESC") == "c b a"
    assert sorted(words(h, "SORT s BY nosort").split()) == ["a", "b", "c"]
    assert words(h, "SORT n") == "-1 9 10"
    assert words(h, "SORT z BY nosort") == "b c a"
    assert words(h, "SORT z BY nosort DESC LIMIT 1 2") == "c b"
    assert words(h, "SORT z ALPHA") == "a b c"
    h.line("SORT s BY nosort STORE out")
    assert h.effects == [[b"RPUSH", b"out", b"a", b"b", b"c"]], (
        "what is stored has an order that means something"
    )


def test_store_replaces_whatever_was_there(h: Harness) -> None:
    h.lines("RPUSH l 3 1 2", "SET out text PXAT 4000000000000")
    assert h.line("SORT l STORE out") == b":3\r\n"
    assert h.effects == [[b"DEL", b"out"], [b"RPUSH", b"out", b"1", b"2", b"3"]]
    assert (
        h.line("TTL out") == b":-1\r\n" and h.line("OBJECT ENCODING out") == b"$9\r\nquicklist\r\n"
    )
    assert h.line("SORT l BY nosort LIMIT 5 5 STORE out") == b":0\r\n"
    assert h.effects == [[b"DEL", b"out"]] and h.line("EXISTS out") == b":0\r\n"
    assert h.line("SORT l BY nosort LIMIT 5 5 STORE out") == b":0\r\n"
    assert h.effects == []
    assert h.line("SORT l GET w_* GET # STORE l") == b":6\r\n"
    assert parse(h.line("LRANGE l 0 -1")) == [b"", b"1", b"", b"2", b"", b"3"]
    assert h.same()


def test_a_large_result_is_logged_in_pieces(h: Harness) -> None:
    h.run(b"RPUSH", b"l", *[b"%d" % (n * 7919 % 2003) for n in range(2003)])
    h.line("SORT l STORE out")
    assert [len(effect) for effect in h.effects] == [514, 514, 514, 469]
    assert sorted_by(h, "SORT out BY nosort") == [str(n) for n in range(2003)]
    assert h.same()


def test_an_expired_weight_is_no_weight_and_its_end_is_logged(h: Harness) -> None:
    h.lines("RPUSH l 1 2", "SET w_1 9 PX 50", "SET w_2 5")
    assert words(h, "SORT l BY w_*") == "2 1"
    h.wall_ms += 50
    assert words(h, "SORT_RO l BY w_*") == "1 2"
    assert h.effects == [[b"DEL", b"w_1"]] and h.same()


@pytest.mark.parametrize(
    "text",
    [
        "SORT l LIMIT 0",
        "SORT l STORE",
        "SORT l BY",
        "SORT l GET",
        "SORT l NOSORT",
        "SORT_RO l STORE out",
        "SORT_RO l STORE",
    ],
)
def test_what_is_no_option(h: Harness, text: str) -> None:
    h.line("RPUSH l 3 1 2")
    assert parse(h.line(text)) == "ERR syntax error"


def test_errors_in_their_order(h: Harness) -> None:
    h.line("HSET h f v")
    assert parse(h.line("SORT h LIMIT 0 x")) == "ERR value is not an integer or out of range"
    assert (
        parse(h.line("SORT h LIMIT 0 9223372036854775808"))
        == "ERR value is not an integer or out of range"
    )
    assert parse(h.line("SORT h BAD")) == "ERR syntax error"
    assert (
        parse(h.line("SORT h"))
        == "WRONGTYPE Operation against a key holding the wrong kind of value"
    )


def test_cluster_mode_knows_no_keys_that_are_not_named() -> None:
    h = Harness(settings=Settings(cluster_enabled=True))
    h.line("RPUSH {a}l 2 1")
    assert parse(h.line("SORT {a}l BY {a}w_*")) == "ERR BY option of SORT denied in Cluster mode."
    assert parse(h.line("SORT {a}l GET #")) == "ERR GET option of SORT denied in Cluster mode."
    assert words(h, "SORT {a}l BY nosort") == "2 1"
    assert h.line("SORT {a}l STORE {a}out") == b":2\r\n"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("SORT l", "l"),
        ("SORT l BY store GET store LIMIT store store STORE out ALPHA", "l out"),
        ("SORT l STORE a STORE b", "l b"),
        ("SORT l STORE get STORE b", "l b"),
        ("SORT l STORE", "l"),
        ("SORT_RO l BY w_*", "l"),
    ],
)
def test_the_keys_named(h: Harness, text: str, keys: str) -> None:
    assert parse(h.line(f"COMMAND GETKEYS {text}")) == keys.encode().split()


def test_nil_in_the_words_of_the_protocol(h: Harness) -> None:
    h.line("RPUSH l 1")
    assert h.line("SORT l GET w_*") == b"*1\r\n$-1\r\n"
    h.session.resp3 = True
    assert h.line("SORT l GET w_*") == b"*1\r\n_\r\n"
