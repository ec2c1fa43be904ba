"""The same random commands at a real redis-server and at the engine: the same replies, byte for
byte, and the same data at the end.

Clocks: expiries are far away, replies that depend on the time now are compared by their error or
their sign only. MEMSTORE_AGAINST_REDIS sets the number of sequences a test tries (default 40).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hiredis
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.commands.arguments import FAR_MS, KEYS, Command, generic, strings, transactions
from tests.commands.realredis import RawClient, real_redis
from tests.engine.harness import Harness

pytestmark = pytest.mark.redis

SEQUENCES = int(os.environ.get("MEMSTORE_AGAINST_REDIS", "40"))
DATABASES = (0, 1, 2, 15)
_TIMED = {b"TTL", b"PTTL"}
_ABSOLUTE = {b"EXPIRETIME", b"PEXPIRETIME"}
_UNORDERED = {b"KEYS", b"SCAN"}
# Without shrinking: it takes minutes against a server, and a sequence that fails is shown up to the
# command that differs.
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


def parse(data: bytes) -> object:
    reader = hiredis.Reader()
    reader.feed(data)
    return reader.gets()


def comparable(argv: Command, answer: bytes) -> object:
    """What of a reply can be the same on two servers with two clocks and two orders of keys."""
    name = argv[0].upper()
    if name in _TIMED | _ABSOLUTE and answer[:1] == b":":
        number = int(answer[1:])
        far = FAR_MS if name == b"PEXPIRETIME" else FAR_MS // 1000
        if name in _ABSOLUTE and far <= number <= far + 1_000_000:
            return number
        return (number + 500_000_000) // 1_000_000_000 if number > 0 else number
    if name in _UNORDERED and answer[:1] == b"*":
        items = parse(answer)
        assert isinstance(items, list)
        return sorted(items) if name == b"KEYS" else (items[0], sorted(items[1]))
    return answer


def dump(run: RawClient | Harness) -> list[object]:
    found: list[object] = []
    for index in DATABASES:
        run.run(b"SELECT", b"%d" % index)
        for key in KEYS:
            at = run.run(b"PEXPIRETIME", key)
            assert at is not None
            found.append((index, key, run.run(b"GET", key), comparable((b"PEXPIRETIME",), at)))
        found.append(run.run(b"DBSIZE"))
    return found


def compare_queued(queued: list[Command], ours: bytes, theirs: bytes) -> None:
    """An EXEC's reply, command by command."""
    if not queued or ours[:1] != b"*" or theirs[:1] != b"*" or ours == theirs:
        assert ours == theirs
        return
    assert ours.split(b"\r\n", 1)[0] == theirs.split(b"\r\n", 1)[0]
    timed_or_unordered = {
        name
        for name in (argv[0].upper() for argv in queued)
        if name in _TIMED | _ABSOLUTE | _UNORDERED
    }
    assert timed_or_unordered, (queued, ours, theirs)


def compare(port: int, sequence: list[Command], resp3: bool) -> None:
    compare_by(dump, port, sequence, resp3)


def compare_by(
    dump: Callable[[RawClient | Harness], list[object]],
    port: int,
    sequence: list[Command],
    resp3: bool,
) -> None:
    """``dump``: what of the data is compared at the end."""
    client, h = RawClient(port), Harness(wall_ms=time.time_ns() // 1_000_000)
    try:
        client.run(b"FLUSHALL")
        client.run(b"HELLO", b"3" if resp3 else b"2")
        h.session.resp3 = resp3
        queued: list[Command] = []
        for at, argv in enumerate(sequence):
            theirs = client.run(*argv)
            ours = h.run(*argv)
            assert ours is not None
            if argv[0].upper() == b"EXEC":
                compare_queued(queued, ours, theirs)
            else:
                assert comparable(argv, ours) == comparable(argv, theirs), (
                    at,
                    argv,
                    sequence[: at + 1],
                )
            queued = [*queued, argv] if ours == b"+QUEUED\r\n" else []
        if h.session.multi is not None:
            client.run(b"DISCARD")
            h.run(b"DISCARD")
        assert dump(h) == dump(client)
        assert h.same(), "replaying the effects gives another state"
        h.check_keyspace()
    finally:
        client.close()


@relaxed
@given(st.lists(strings, min_size=10, max_size=60), st.booleans())
@example(
    [
        (b"SET", b"a", b"1", b"EX", b"10", b"EX", b"20"),
        (b"GETEX", b"a", b"PXAT", b"1"),
        (b"GET", b"a"),
    ],
    False,
)
@example(
    [
        (b"SET", b"a", b"-1e-20"),
        (b"INCRBYFLOAT", b"a", b"0"),
        (b"INCRBYFLOAT", b"a", b"1e4900"),
        (b"INCRBYFLOAT", b"a", b"1e4932"),
    ],
    False,
)
def test_strings(port: int, sequence: list[Command], resp3: bool) -> None:
    compare(port, sequence, resp3)


@relaxed
@given(st.lists(st.one_of(strings, generic, generic), min_size=10, max_size=60), st.booleans())
def test_keys_of_all_kinds(port: int, sequence: list[Command], resp3: bool) -> None:
    compare(port, sequence, resp3)


@relaxed
@given(
    st.lists(
        st.one_of(strings, generic, transactions, transactions, transactions),
        min_size=10,
        max_size=60,
    ),
    st.booleans(),
)
def test_transactions(port: int, sequence: list[Command], resp3: bool) -> None:
    compare(port, sequence, resp3)


@relaxed
@given(
    st.binary(max_size=60).map(lambda text: bytes(97 + byte % 3 for byte in text)),
    st.binary(max_size=60).map(lambda text: bytes(97 + byte % 3 for byte in text)),
)
def test_lcs_of_long_strings(port: int, one: bytes, two: bytes) -> None:
    compare(
        port,
        [
            (b"MSET", b"a", one, b"b", two),
            (b"LCS", b"a", b"b"),
            (b"LCS", b"a", b"b", b"IDX", b"MINMATCHLEN", b"2", b"WITHMATCHLEN"),
        ],
        False,
    )


def test_encodings_and_references(port: int) -> None:
    values = [
        b"",
        b"1",
        b"-5",
        b"9999",
        b"10000",
        b"01",
        b"9223372036854775807",
        b"9223372036854775808",
        b"x" * 44,
        b"x" * 45,
        b"1.5",
    ]
    for value in values:
        compare(
            port,
            [
                (b"SET", b"a", value),
                (b"OBJECT", b"ENCODING", b"a"),
                (b"OBJECT", b"refcount", b"a"),
                (b"OBJECT", b"ENCODING", b"b"),
            ],
            False,
        )


def test_table_rows_say_what_redis_says(port: int) -> None:
    """Arity, flags and keys of every row that Redis has too."""
    client, h = RawClient(port), Harness()
    groups = {"string", "transactions"}
    names = [
        name
        for name, row in h.engine.table.items()
        if row.group in groups
        or row.handler.__module__.rsplit(".", 1)[-1] in {"generic", "expires", "databases"}
    ]
    assert len(names) > 50
    for name in sorted(names):
        row = h.engine.table[name]
        for found in [row, *row.subcommands.values()] if row.subcommands else [row]:
            theirs = parse(client.run(b"COMMAND", b"INFO", found.name))
            assert isinstance(theirs, list) and theirs[0] is not None, found.name
            info = theirs[0]
            assert (info[1], tuple(info[3:6])) == (
                found.arity,
                (found.first, found.last, found.step),
            ), found.name
            if found.container:
                continue
            shown = {flag.decode() for flag in info[2]}
            assert shown == flag_names(found.flags), found.name
    client.close()


def flag_names(flags: int) -> set[str]:
    from memstore.engine.command import FLAG_NAMES

    return {name for flag, name in FLAG_NAMES.items() if flags & flag}
