"""The same random commands of sorted sets at a real redis-server and at the engine: the same
replies byte for byte, but for what is by chance.

MEMSTORE_AGAINST_REDIS sets the number of sequences a test tries (default 40).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from memstore.engine.command import FLAG_NAMES
from memstore.engine.settings import Settings
from memstore.engine.values.double import parse_bound, parse_double, show_double
from tests.commands.arguments import KEYS, Command
from tests.commands.realredis import RawClient, real_redis
from tests.commands.typed_dump import Run, parse, typed
from tests.commands.zsets.arguments import LEX_KEY, others, zsets
from tests.engine.harness import Harness

pytestmark = pytest.mark.redis

SEQUENCES = int(os.environ.get("MEMSTORE_AGAINST_REDIS", "40"))
relaxed = settings(
    max_examples=SEQUENCES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LIMITS = ((128, 64), (4, 8), (0, 64), (1000, 0), (500, 100))  # zset-max-listpack-entries and -value
CHANCE = {b"ZRANDMEMBER", b"ZSCAN"}
WRONG_SCORE = b"-ERR value is not a valid float\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with real_redis(folder) as found:
        yield found


def comparable(argv: Command, answer: bytes) -> object:
    """What of a reply can be the same on two servers with two chances."""
    if argv[0].upper() == b"ZRANDMEMBER" and answer[:1] not in b"-+":
        items = parse(answer)
        return (
            answer[:1],
            answer.count(b"\r\n*2\r\n"),
            len(items) if isinstance(items, list) else items is None,
        )
    return answer


def walked(run: Run, argv: Command) -> object:
    """All that a ZSCAN and those that go on from it return:
    calls of two servers end at different places.
    """
    found: list[tuple[object, object]] = []
    cursor, calls = argv[2], 0
    while cursor != b"0" or not calls:
        answer = run(*argv[:2], cursor, *argv[3:])
        items = parse(answer)
        if not isinstance(items, list):
            return answer
        cursor, calls = items[0], calls + 1
        found += zip(items[1][::2], items[1][1::2], strict=True)
    return set(found)


def check_chosen(h: Harness, argv: Command, answer: bytes) -> None:
    """ZRANDMEMBER's answer holds members of the sorted set,
    different ones unless repetition was asked for.
    """
    resp3, h.session.resp3 = h.session.resp3, False
    flat = parse(h.run(b"ZRANGE", argv[1], b"0", b"-1", b"WITHSCORES"))
    h.session.resp3 = resp3
    assert isinstance(flat, list)
    known = {name: float(text) for name, text in zip(flat[::2], flat[1::2], strict=True)}
    chosen = parse(answer)
    if not isinstance(chosen, list | bytes):
        return
    members = [chosen] if isinstance(chosen, bytes) else chosen
    if len(argv) == 4:
        taken = members if resp3 else list(zip(members[::2], members[1::2], strict=True))
        assert all(known[name] == float(text) for name, text in taken)
        members = [name for name, _ in taken]
    assert set(members) <= known.keys()
    assert (len(argv) > 2 and argv[2][:1] == b"-") or len(set(members)) == len(members)


def whole(run: Run, key: bytes) -> object:
    """`typed`, and of a sorted set the bytes too: parsed, a negative zero is a zero."""
    found = typed(run, key)
    return (
        (found, run(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES")) if found[0] == b"zset" else found
    )


def compare(port: int, sequence: list[Command], resp3: bool, limits: tuple[int, int]) -> None:
    chosen = Settings(zset_max_listpack_entries=limits[0], zset_max_listpack_value=limits[1])
    client, h = RawClient(port), Harness(wall_ms=time.time_ns() // 1_000_000, settings=chosen)
    try:
        client.run(b"FLUSHALL")
        client.run(
            b"CONFIG",
            b"SET",
            b"zset-max-listpack-entries",
            b"%d" % limits[0],
            b"zset-max-listpack-value",
            b"%d" % limits[1],
        )
        client.run(b"HELLO", b"3" if resp3 else b"2")
        h.session.resp3 = resp3
        queued: list[Command] = []
        for at, argv in enumerate(sequence):
            theirs, ours = client.run(*argv), h.run(*argv)
            assert ours is not None
            name = argv[0].upper()
            if name == b"EXEC" and any(one[0].upper() in CHANCE for one in queued):
                assert ours[:4] == theirs[:4], (at, argv, sequence[: at + 1])
            elif name == b"ZSCAN" and ours[:1] == theirs[:1] == b"*":
                assert walked(h.run, argv) == walked(client.run, argv), (
                    at,
                    argv,
                    sequence[: at + 1],
                )
            else:
                assert comparable(argv, ours) == comparable(argv, theirs), (
                    at,
                    argv,
                    sequence[: at + 1],
                )
            queued = [*queued, argv] if ours == b"+QUEUED\r\n" else []
            if name == b"ZRANDMEMBER" and ours[:1] not in b"-+":
                check_chosen(h, argv, ours)
        if h.session.multi is not None:
            client.run(b"DISCARD")
            h.run(b"DISCARD")
        for key in (*KEYS, LEX_KEY):
            assert whole(h.run, key) == whole(client.run, key)
        assert h.same(), "replaying the effects gives another state"
        h.check_keyspace()
    finally:
        client.close()


@relaxed
@given(
    st.lists(st.one_of(zsets, zsets, zsets, others), min_size=10, max_size=60),
    st.booleans(),
    st.sampled_from(LIMITS),
)
def test_zsets(port: int, sequence: list[Command], resp3: bool, limits: tuple[int, int]) -> None:
    compare(port, sequence, resp3, limits)


@pytest.mark.parametrize("resp3", [False, True])
def test_ends_of_ranges_that_meet(port: int, resp3: bool) -> None:
    ends = (b"-inf", b"(1", b"1", b"(2", b"2", b"(3", b"3", b"+inf", b"")
    sequence: list[Command] = [(b"ZADD", b"a", b"1", b"x", b"2", b"y", b"2", b"z", b"3", b"w")]
    sequence += [
        (b"ZRANGEBYSCORE", b"a", low, high, b"WITHSCORES", b"LIMIT", at, most)
        for low in ends
        for high in ends
        for at, most in ((b"0", b"-1"), (b"1", b"1"))
    ]
    sequence += [
        (b"ZREVRANGEBYSCORE", b"a", high, low, b"LIMIT", b"1", b"2")
        for low in ends
        for high in ends
    ]
    sequence += [(b"ZCOUNT", b"a", low, high) for low in ends for high in ends]
    members = (b"-", b"+", b"[a", b"(a", b"[b", b"(b", b"(", b"[", b"[c")
    sequence.append((b"ZADD", LEX_KEY, b"0", b"a", b"0", b"b", b"0", b"", b"0", b"bb"))
    sequence += [(b"ZLEXCOUNT", LEX_KEY, low, high) for low in members for high in members]
    sequence += [
        (b"ZRANGE", LEX_KEY, high, low, b"BYLEX", b"REV", b"LIMIT", b"1", b"-1")
        for low in members
        for high in members
    ]
    for limits in LIMITS:
        compare(port, sequence, resp3, limits)


def test_a_replica_keeps_the_sign_of_zero_that_its_primary_keeps(port: int) -> None:
    """A stored union of large sets has it from the first of its members on;
    packed ones never have it.
    """
    many = [part for n in range(300) for part in (b"-0", b"m%d" % n)]
    for limits in LIMITS:
        compare(
            port,
            [
                (b"ZADD", b"a", *many),
                (b"ZUNIONSTORE", b"b", b"1", b"a", b"WEIGHTS", b"-1"),
                (b"ZRANGESTORE", b"b", b"b", b"0", b"-1"),
            ],
            True,
            limits,
        )


@given(
    st.one_of(
        st.floats(allow_nan=False).map(show_double),
        st.floats().map(lambda x: x.hex().encode()),
        st.text("0123456789+-.eExXpPinfa _\x00", max_size=8).map(str.encode),
    )
)
@settings(
    max_examples=SEQUENCES * 10,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_doubles(port: int, text: bytes) -> None:
    client = RawClient(port)
    client.run(b"DEL", b"k")
    if text.partition(b"\x00")[0].upper() not in (b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"):
        assert (client.run(b"ZADD", b"k", text, b"m") == WRONG_SCORE) == (
            parse_double(text) is None
        )
        value = parse_double(text)
        if value is not None:
            shown = show_double(value or 0.0)
            assert client.run(b"ZSCORE", b"k", b"m") == b"$%d\r\n%b\r\n" % (len(shown), shown)
    assert (client.run(b"ZCOUNT", b"k", text, b"0")[:1] == b"-") == (
        text[:1] != b"(" and parse_bound(text) is None
    )
    client.close()


def test_table_rows_say_what_redis_says(port: int) -> None:
    client, h = RawClient(port), Harness()
    names = [name for name, row in h.engine.table.items() if row.group == "sorted-set"]
    assert len(names) == 32
    for name in sorted(names):
        row = h.engine.table[name]
        theirs = parse(client.run(b"COMMAND", b"INFO", name))
        assert isinstance(theirs, list) and isinstance(theirs[0], list)
        info = theirs[0]
        assert (info[1], tuple(info[3:6])) == (row.arity, (row.first, row.last, row.step)), name
        assert {flag.decode() for flag in info[2]} == {
            word for flag, word in FLAG_NAMES.items() if row.flags & flag
        }, name
    client.close()


def test_getkeys(port: int) -> None:
    client, h = RawClient(port), Harness()
    lines = (
        *(
            "ZADD a 1 b",
            "ZRANGESTORE a b 0 1",
            "ZUNION 2 a b",
            "ZUNION 3 a b",
            "ZUNION x a",
            "ZINTERSTORE d 2 a b WEIGHTS 1 2",
            "ZINTERSTORE d 0 a",
        ),
        *(
            "ZDIFF 1 a b",
            "ZINTERCARD 2 a b LIMIT 1",
            "ZMPOP 1 a MIN",
            "ZMPOP 0 a MIN",
            "ZDIFFSTORE d 1 a",
            "ZUNIONSTORE d 1 a",
            "ZPOPMIN a",
        ),
    )
    for line in lines:
        argv = (b"COMMAND", b"GETKEYS", *line.encode().split())
        assert h.run(*argv) == client.run(*argv), line
    client.close()
