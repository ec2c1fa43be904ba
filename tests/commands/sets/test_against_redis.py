"""The same random set commands at a real redis-server and at the engine: the same replies, but for
what is by chance or has no order.

What SPOP takes is by chance: the real server pops from a copy, so that the replies' shapes can be
compared, and then is made to hold what the engine holds. MEMSTORE_AGAINST_REDIS sets the number of
sequences a test tries (default 40).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from memstore.engine.command import FLAG_NAMES
from memstore.engine.settings import Settings
from memstore.engine.values import parse_integer
from memstore.engine.values.set import Set
from tests.commands.arguments import KEYS, Command
from tests.commands.realredis import RawClient, real_redis
from tests.commands.sets.arguments import others, sets
from tests.commands.typed_dump import parse, typed
from tests.engine.harness import Harness

pytestmark = pytest.mark.redis

SEQUENCES = int(os.environ.get("MEMSTORE_AGAINST_REDIS", "40"))
relaxed = settings(
    max_examples=SEQUENCES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LIMITS = (512, 0, 3, 8)  # set-max-intset-entries
_LISTING = {b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF"}
_COPY = b"a copy to pop from"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with real_redis(folder) as found:
        yield found


def listed(answer: bytes) -> list[bytes]:
    items = parse(answer)
    assert isinstance(items, list), answer
    return items


def ordered(h: Harness, argv: Command, answer: bytes) -> bool:
    """Whether both servers list integers in order, so that the order can be compared."""
    items, limit, name = listed(answer), h.engine.settings.set_max_intset_entries, argv[0].upper()
    if name == b"SUNION":
        return len(items) <= limit and all(parse_integer(item) is not None for item in items)
    database = h.engine.keyspace.database(0)
    held = [value for key in argv[1:] if (value := database.get(key)) is not None]
    return all(
        type(value) is Set and value.is_packed for value in (held[:1] if name == b"SDIFF" else held)
    )


def comparable(h: Harness, argv: Command, answer: bytes) -> object:
    name = argv[0].upper()
    if answer[:1] in b"-+$_:":
        return (
            (answer[:1], len(argv) > 2) if name == b"SRANDMEMBER" and answer[:1] == b"$" else answer
        )
    if name in _LISTING and not ordered(h, argv, answer):
        return answer[:1], sorted(listed(answer))
    if name in (b"SSCAN", b"SCAN"):
        cursor, items = listed(answer)
        # the members, which a reply's type does not say
        return cursor, sorted(items)  # type: ignore[type-var]
    if name in (b"SRANDMEMBER", b"SPOP"):
        return answer[:1], len(listed(answer))
    return answer


def check_drawn(h: Harness, argv: Command, answer: bytes, before: set[bytes]) -> None:
    """What was drawn was in the set, and once unless repetition was asked for; what SPOP took is
    gone, and nothing else is.
    """
    found = parse(answer)
    drawn = [found] if isinstance(found, bytes) else listed(answer)
    assert set(drawn) <= before
    if argv[0].upper() == b"SPOP" or argv[2:3] == () or argv[2][:1] != b"-":
        assert len(set(drawn)) == len(drawn)
    after = members(h, argv[1])
    assert after == (before - set(drawn) if argv[0].upper() == b"SPOP" else before)


def members(h: Harness, key: bytes) -> set[bytes]:
    value = h.engine.keyspace.database(0).get(key)
    return set(value) if type(value) is Set else set()


def pop_there(
    client: RawClient, h: Harness, argv: Command, ours: bytes, before: set[bytes]
) -> bytes:
    """The real server's answer to the SPOP, and the same state there as here."""
    if ours[:1] in b"-_" or ours in (b"$-1\r\n", b"*0\r\n", b"~0\r\n"):
        return client.run(*argv)
    _, key, *rest = argv
    client.run(b"COPY", key, _COPY)
    theirs = client.run(argv[0], _COPY, *rest)
    client.run(b"DEL", _COPY)
    drawn = parse(ours)
    taken = [drawn] if isinstance(drawn, bytes) else listed(ours)
    left = before - set(taken)
    at = client.run(b"PEXPIRETIME", key)
    client.run(b"SREM", key, *taken)
    if left and rest and len(left) * 5 <= len(taken):  # the few that were left made a new set
        client.run(b"DEL", key)
        client.run(b"SADD", key, *left)
        if at[:2] != b":-":
            client.run(b"PEXPIREAT", key, at[1:-2])
    assert client.run(b"OBJECT", b"ENCODING", key) == h.run(b"OBJECT", b"ENCODING", key), argv
    return theirs


def compare(port: int, sequence: list[Command], resp3: bool, limit: int) -> None:
    client, h = (
        RawClient(port),
        Harness(
            wall_ms=time.time_ns() // 1_000_000, settings=Settings(set_max_intset_entries=limit)
        ),
    )
    try:
        client.run(b"FLUSHALL")
        client.run(b"CONFIG", b"SET", b"set-max-intset-entries", b"%d" % limit)
        client.run(b"HELLO", b"3" if resp3 else b"2")
        h.session.resp3 = resp3
        for at, argv in enumerate(sequence):
            name = argv[0].upper()
            before = (
                members(h, argv[1])
                if name in (b"SPOP", b"SRANDMEMBER") and len(argv) > 1
                else set()
            )
            ours = h.run(*argv)
            assert ours is not None
            theirs = (
                pop_there(client, h, argv, ours, before) if name == b"SPOP" else client.run(*argv)
            )
            context = (at, argv, sequence[: at + 1])
            if name == b"SPOP" and ours[:1] == theirs[:1] == b"$":
                assert len(argv) == 2, context
            else:
                assert comparable(h, argv, ours) == comparable(h, argv, theirs), context
            if before and ours[:1] != b"-":
                check_drawn(h, argv, ours, before)
        for key in KEYS:
            assert typed(h.run, key) == typed(client.run, key), sequence
        assert h.same(), "replaying the effects gives another state"
        h.check_keyspace()
    finally:
        client.close()


@relaxed
@given(st.lists(sets, min_size=20, max_size=80), st.booleans(), st.sampled_from(LIMITS))
@example(
    [
        (b"SADD", b"a", b"1", b"2", b"x"),
        (b"SREM", b"a", b"x"),
        (b"SADD", b"b", b"1"),
        (b"SDIFFSTORE", b"a", b"a", b"b"),
    ],
    False,
    512,
)
def test_sets(port: int, sequence: list[Command], resp3: bool, limit: int) -> None:
    compare(port, sequence, resp3, limit)


@relaxed
@given(
    st.lists(st.one_of(sets, sets, sets, others), min_size=20, max_size=80),
    st.booleans(),
    st.sampled_from(LIMITS),
)
def test_sets_among_others(port: int, sequence: list[Command], resp3: bool, limit: int) -> None:
    compare(port, sequence, resp3, limit)


@settings(
    max_examples=max(1, SEQUENCES // 4),
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(st.lists(st.integers(-50, 1500), min_size=1, max_size=900), min_size=2, max_size=4),
    st.lists(sets, min_size=10, max_size=30),
    st.booleans(),
)
def test_large_sets(
    port: int, contents: list[list[int]], sequence: list[Command], words: bool
) -> None:
    """Around 512 members, where integers become a table, and beyond,
    where a table becomes several dicts.
    """
    filling = [
        (b"SADD", key, *[b"%d" % n if n % 7 or not words else b"w%d" % n for n in numbers])
        for key, numbers in zip(KEYS, contents, strict=False)
    ]
    compare(port, [*filling, *sequence], False, 512)


def test_table_rows_say_what_redis_says(port: int) -> None:
    client, h = RawClient(port), Harness()
    rows = [row for row in h.engine.table.values() if row.group == "set"]
    assert len(rows) == 17
    for row in rows:
        theirs = parse(client.run(b"COMMAND", b"INFO", row.name))
        assert isinstance(theirs, list) and theirs[0] is not None, row.name
        info = theirs[0]
        assert (info[1], tuple(info[3:6])) == (row.arity, (row.first, row.last, row.step)), row.name
        assert {flag.decode() for flag in info[2]} == {
            name for flag, name in FLAG_NAMES.items() if row.flags & flag
        }, row.name
        docs = parse(client.run(b"COMMAND", b"DOCS", row.name))
        assert isinstance(docs, list)
        told = dict(zip(docs[1][::2], docs[1][1::2], strict=True))
        assert (told[b"since"].decode(), told[b"group"].decode()) == (row.since, row.group), (
            row.name
        )
        line = (
            (row.name, b"2", b"a", b"b")
            if row.name == b"SINTERCARD"
            else (row.name, *[b"%d" % n for n in range(1, abs(row.arity))])
        )
        assert h.run(b"COMMAND", b"GETKEYS", *line) == client.run(b"COMMAND", b"GETKEYS", *line)
    client.close()
