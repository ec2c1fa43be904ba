"""The same random sorting at a real redis-server and at the engine: the same replies byte for byte,
but for the order of what compares as equal.

Where Redis' order of equals is that of its memory (sets, sorted sets not sorted by themselves,
LIMIT with BY, which sorts by parts), rows are compared as a multiset, with LIMIT by their number
only, and what such a SORT stored is taken away at both. The encoding of sorted sets is not
compared: SORT changes it in Redis, and no read does here. MEMSTORE_AGAINST_REDIS sets the number of
sequences a test tries (default 40).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from memstore.engine.command import FLAG_NAMES
from tests.commands.arguments import Command
from tests.commands.realredis import RawClient, real_redis
from tests.commands.sort.arguments import ALL_KEYS, data, sorts
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


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with real_redis(folder) as found:
        yield found


class Read:
    """A SORT's options, as far as they decide what can be compared."""

    def __init__(self, argv: Command) -> None:
        self.by: list[bytes] = []
        self.gets, self.limit, self.alpha, self.store = 0, False, False, b""
        at = 2
        while at < len(argv):
            name = argv[at].upper()
            if name == b"BY":
                self.by.append(argv[at + 1])
            self.gets += name == b"GET"
            self.limit |= name == b"LIMIT"
            self.alpha |= name == b"ALPHA"
            if name == b"STORE":
                self.store = argv[at + 1]
            at += 3 if name == b"LIMIT" else 2 if name in (b"BY", b"GET", b"STORE") else 1

    def is_loose(self, kind: bytes, texts: str) -> bool:
        """Whether the order of equals may differ. `texts`: the elements, where zero bytes make
        different ones equal.
        """
        native = any(b"*" not in pattern.partition(b"\x00")[0] for pattern in self.by)
        if native:
            return kind == b"+set\r\n" and not self.store
        if not self.alpha:
            return False
        if self.by:
            return self.limit or kind != b"+list\r\n"
        return kind != b"+list\r\n" and "\\x00" in texts


def same(argv: Command, read: Read, loose: bool, ours: bytes, theirs: bytes) -> bool:
    if not loose or ours[:1] != b"*" or theirs[:1] != b"*":
        return ours == theirs
    one, two = parse(ours), parse(theirs)
    assert isinstance(one, list) and isinstance(two, list)
    if read.limit:
        return len(one) == len(two)
    width = read.gets or 1
    rows = [
        Counter(tuple(items[at : at + width]) for at in range(0, len(items), width))
        for items in (one, two)
    ]
    return rows[0] == rows[1]


def dump(run: Harness | RawClient, key: bytes) -> tuple[object, ...]:
    kind, *rest = typed(run.run, key)
    return (kind, *rest[1:]) if kind == b"zset" else (kind, *rest)


def step(client: RawClient, h: Harness, argv: Command, trace: object) -> None:
    is_sort = argv[0].upper() in (b"SORT", b"SORT_RO") and len(argv) > 1
    kind = client.run(b"TYPE", argv[1]) if is_sort else b""
    texts = (
        repr(h.run(b"SMEMBERS", argv[1])) + repr(h.run(b"ZRANGE", argv[1], b"0", b"-1"))
        if is_sort
        else ""
    )
    theirs, ours = client.run(*argv), h.run(*argv)
    assert ours is not None
    read = Read(argv if is_sort and theirs[:1] != b"-" else argv[:2])
    loose = is_sort and read.is_loose(kind, texts)
    assert same(argv, read, loose, ours, theirs), (argv, ours, theirs, trace)
    if loose and read.store and theirs[:1] == b":":
        client.run(b"DEL", read.store)
        h.run(b"DEL", read.store)


def compare(port: int, sequence: list[Command], resp3: bool) -> None:
    client, h = RawClient(port), Harness(wall_ms=time.time_ns() // 1_000_000)
    try:
        client.run(b"FLUSHALL")
        client.run(b"HELLO", b"3" if resp3 else b"2")
        h.session.resp3 = resp3
        for at, argv in enumerate(sequence):
            step(client, h, argv, sequence[: at + 1])
        for key in ALL_KEYS:
            assert dump(h, key) == dump(client, key), (key, sequence)
        assert h.same(), "replaying the effects gives another state"
        h.check_keyspace()
    finally:
        client.close()


@relaxed
@given(
    st.lists(data, min_size=6, max_size=20),
    st.lists(st.one_of(sorts, sorts, sorts, data), min_size=30, max_size=80),
    st.booleans(),
)
def test_sorting(port: int, before: list[Command], sequence: list[Command], resp3: bool) -> None:
    compare(port, [*before, *sequence], resp3)


@pytest.mark.parametrize("size", [100, 3000])
def test_many_elements_with_few_weights(port: int, size: int) -> None:
    numbers = [b"%d" % (n * 7919 % 1009) for n in range(size)]
    weights = [part for n in set(numbers) for part in (b"w_" + n, b"%d" % (int(n) % 7))]
    before: list[Command] = [
        (b"RPUSH", b"l", *numbers),
        (b"SADD", b"s", *numbers),
        (b"MSET", *weights),
    ]
    orders: list[Command] = [
        (b"SORT", key, *options, *order, *tail)
        for key in (b"l", b"s")
        for options in ((), (b"ALPHA",), (b"BY", b"w_*"))
        for order in ((), (b"DESC",))
        for tail in (
            (),
            (b"LIMIT", b"10", b"50"),
            (b"GET", b"w_*", b"GET", b"#"),
            (b"STORE", b"out"),
        )
    ]
    compare(port, [*before, *orders], False)


@pytest.mark.parametrize(
    "element",
    [
        b"1e-310",
        b"4.9406564584124654e-324",
        b"0x1p-1074",
        b"1e-400",
        b"1e400",
        b"0x1p2000",
        b"-1e400",
        b"infinity",
        b"nan(1)",
    ],
)
def test_doubles_at_their_ends(port: int, element: bytes) -> None:
    compare(
        port,
        [(b"RPUSH", b"l", element, b"1", b"-1"), (b"SORT", b"l"), (b"SORT", b"l", b"DESC")],
        False,
    )


def test_table_rows_say_what_redis_says(port: int) -> None:
    client, h = RawClient(port), Harness()
    for name in (b"SORT", b"SORT_RO"):
        row = h.engine.table[name]
        theirs = parse(client.run(b"COMMAND", b"INFO", name))
        assert isinstance(theirs, list)
        info = theirs[0]
        assert (info[1], tuple(info[3:6])) == (row.arity, (row.first, row.last, row.step)), name
        assert {flag.decode() for flag in info[2]} == {
            text for flag, text in FLAG_NAMES.items() if row.flags & flag
        }, name
        docs = parse(client.run(b"COMMAND", b"DOCS", name))
        assert isinstance(docs, list)
        told = dict(zip(docs[1][::2], docs[1][1::2], strict=True))
        assert (told[b"since"].decode(), told[b"group"].decode()) == (row.since, row.group), name
        for tail in (
            (b"l",),
            (b"l", b"STORE", b"out"),
            (
                b"l",
                b"BY",
                b"store",
                b"LIMIT",
                b"1",
                b"2",
                b"GET",
                b"x",
                b"STORE",
                b"a",
                b"STORE",
                b"b",
            ),
        ):
            assert h.run(b"COMMAND", b"GETKEYS", name, *tail) == client.run(
                b"COMMAND", b"GETKEYS", name, *tail
            )
    client.close()


@pytest.mark.parametrize(
    "tail", [(), (b"l",), (b"l", b"LIMIT", b"1"), (b"l", b"STORE"), (b"l", b"LIMIT", b"x", b"1")]
)
def test_errors_word_for_word(port: int, tail: Command) -> None:
    compare(
        port,
        [(b"RPUSH", b"l", b"x"), (b"SORT", *tail), (b"SORT_RO", *tail), (b"SORT", b"w", *tail[1:])],
        False,
    )
