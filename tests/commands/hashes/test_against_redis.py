"""The same random hash commands at a real redis-server and at the engine: the same replies byte for
byte, but for what is by chance or has no order.

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
from tests.commands.arguments import KEYS, Command
from tests.commands.hashes.arguments import hashes, others
from tests.commands.realredis import RawClient, real_redis
from tests.commands.typed_dump import Run, pairs, parse, typed
from tests.engine.harness import Harness

pytestmark = pytest.mark.redis

SEQUENCES = int(os.environ.get("MEMSTORE_AGAINST_REDIS", "40"))
relaxed = settings(
    max_examples=SEQUENCES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LIMITS = ((512, 64), (4, 8), (0, 64), (100, 0))  # hash-max-listpack-entries and -value


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with real_redis(folder) as found:
        yield found


def comparable(argv: Command, answer: bytes) -> object:
    """What of a reply can be the same on two servers with two orders of fields and two chances."""
    name = argv[0].upper()
    if answer[:1] in b"-+":
        return answer
    if name in (b"HKEYS", b"HVALS"):
        items = parse(answer)
        assert isinstance(items, list)
        return answer[:1], sorted(items)
    if name == b"HGETALL":
        return answer[:1], pairs(parse(answer))
    if name == b"SCAN":
        items = parse(answer)
        assert isinstance(items, list)
        return items[0], sorted(items[1])
    if name == b"HRANDFIELD":
        return (
            answer[:1],
            answer.count(b"\r\n*2\r\n"),
            len(items) if isinstance(items := parse(answer), list) else items is None,
        )
    return answer


def walked(run: Run, argv: Command) -> object:
    """All that an HSCAN and those that go on from it return:
    calls of two servers end at different places.
    """
    found, cursor, calls = [], argv[2], 0
    while cursor != b"0" or not calls:
        answer = run(*argv[:2], cursor, *argv[3:])
        items = parse(answer)
        if not isinstance(items, list):
            return answer
        cursor, calls = items[0], calls + 1
        found += pairs(items[1])
    return sorted(set(found))


def check_chosen(h: Harness, argv: Command, answer: bytes) -> None:
    """HRANDFIELD's answer holds pairs of the hash, different ones unless repetition is allowed."""
    flat = parse(h.run(b"HGETALL", argv[1]))
    assert isinstance(flat, list | dict)
    # pairs of bytes, which its type does not say
    known = dict(pairs(flat))  # type: ignore[call-overload]
    chosen = parse(answer)
    if chosen is None or not isinstance(chosen, list | bytes) or answer[:1] == b"-":
        return
    fields = [chosen] if isinstance(chosen, bytes) else chosen
    if len(argv) == 4:
        taken = (
            fields
            if h.session.resp3
            else [list(pair) for pair in zip(fields[::2], fields[1::2], strict=True)]
        )
        assert all(known[field] == value for field, value in taken)
        fields = [field for field, _ in taken]
    assert set(fields) <= known.keys()
    assert (len(argv) > 2 and argv[2][:1] == b"-") or len(set(fields)) == len(fields)


def compare(port: int, sequence: list[Command], resp3: bool, limits: tuple[int, int]) -> None:
    chosen = Settings(hash_max_listpack_entries=limits[0], hash_max_listpack_value=limits[1])
    client, h = RawClient(port), Harness(wall_ms=time.time_ns() // 1_000_000, settings=chosen)
    try:
        client.run(b"FLUSHALL")
        client.run(
            b"CONFIG",
            b"SET",
            b"hash-max-listpack-entries",
            b"%d" % limits[0],
            b"hash-max-listpack-value",
            b"%d" % limits[1],
        )
        client.run(b"HELLO", b"3" if resp3 else b"2")
        h.session.resp3 = resp3
        queued: list[Command] = []
        for at, argv in enumerate(sequence):
            theirs = client.run(*argv)
            ours = h.run(*argv)
            assert ours is not None
            if argv[0].upper() == b"EXEC" and any(one[0].upper() in UNORDERED for one in queued):
                assert ours[:4] == theirs[:4], (at, argv, sequence[: at + 1])
            elif argv[0].upper() == b"HSCAN" and ours[:1] == theirs[:1] == b"*":
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
            if argv[0].upper() == b"HRANDFIELD" and ours[:1] not in b"-+":
                check_chosen(h, argv, ours)
        if h.session.multi is not None:
            client.run(b"DISCARD")
            h.run(b"DISCARD")
        for key in KEYS:
            assert typed(h.run, key) == typed(client.run, key)
        assert h.same(), "replaying the effects gives another state"
        h.check_keyspace()
    finally:
        client.close()


UNORDERED = {b"HKEYS", b"HVALS", b"HGETALL", b"HSCAN", b"SCAN", b"HRANDFIELD"}


@relaxed
@given(st.lists(hashes, min_size=10, max_size=80), st.booleans(), st.sampled_from(LIMITS))
def test_hashes(port: int, sequence: list[Command], resp3: bool, limits: tuple[int, int]) -> None:
    compare(port, sequence, resp3, limits)


@relaxed
@given(
    st.lists(st.one_of(hashes, hashes, others), min_size=10, max_size=80),
    st.booleans(),
    st.sampled_from(LIMITS),
)
def test_hashes_among_others(
    port: int, sequence: list[Command], resp3: bool, limits: tuple[int, int]
) -> None:
    compare(port, sequence, resp3, limits)


def test_table_rows_say_what_redis_says(port: int) -> None:
    client, h = RawClient(port), Harness()
    rows = [row for row in h.engine.table.values() if row.group == "hash"]
    assert len(rows) == 16
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
        assert h.run(b"COMMAND", b"GETKEYS", *filler(row.name, row.arity)) == client.run(
            b"COMMAND", b"GETKEYS", *filler(row.name, row.arity)
        )
    client.close()


def filler(name: bytes, arity: int) -> list[bytes]:
    return [name, *[b"%d" % n for n in range(1, abs(arity))]]
