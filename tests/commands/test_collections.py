"""What every command about keys of any type owes to the collections: kinds, copies, moves, digests,
sizes, and that large ones go away bit by bit.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from memstore.engine.expiry import ActiveExpiry
from memstore.engine.values import deferred_free
from memstore.node.upkeep import FREE_UNITS
from tests.commands.typed_dump import parse, typed
from tests.engine.harness import Harness, decode

# how a collection of n members is made, and one member more, one less
KINDS: Final = ("hash", "list", "set", "zset")
ADD: Final = {"hash": b"HSET", "list": b"RPUSH", "set": b"SADD", "zset": b"ZADD"}
REMOVE: Final = {"hash": b"HDEL", "list": b"LREM", "set": b"SREM", "zset": b"ZREM"}
SIZE: Final = {"hash": b"HLEN", "list": b"LLEN", "set": b"SCARD", "zset": b"ZCARD"}
ENCODINGS: Final = {
    "hash": (b"listpack", b"hashtable"),
    "list": (b"quicklist", b"quicklist"),
    "set": (b"hashtable", b"hashtable"),
    "zset": (b"listpack", b"skiplist"),
}
SMALL, MIDDLING, LARGE = 3, 400, 5000
sizes = pytest.mark.parametrize("size", [SMALL, MIDDLING, LARGE])
kinds = pytest.mark.parametrize("kind", KINDS)


def members(kind: str, start: int, end: int) -> list[bytes]:
    if kind == "hash":
        return [part for n in range(start, end) for part in (b"field:%d" % n, b"value:%d" % n)]
    if kind == "zset":
        return [
            part for n in range(start, end) for part in (b"%d.5" % (n % 1000), b"member:%d" % n)
        ]
    return [b"member:%d" % n for n in range(start, end)]


def fill(h: Harness, kind: str, key: bytes, size: int, start: int = 0) -> None:
    for at in range(start, start + size, 1000):
        answer = h.run(ADD[kind], key, *members(kind, at, min(start + size, at + 1000)))
        assert answer is not None and answer[:1] == b":", answer


def remove(h: Harness, kind: str, key: bytes, n: int) -> bytes | None:
    if kind == "list":
        return h.run(b"LREM", key, b"0", b"member:%d" % n)
    return h.run(REMOVE[kind], key, (b"field:%d" if kind == "hash" else b"member:%d") % n)


def size_of(h: Harness, kind: str, key: bytes) -> int:
    found = parse(h.run(SIZE[kind], key))
    assert isinstance(found, int)
    return found


@kinds
@sizes
def test_type_and_encoding(h: Harness, kind: str, size: int) -> None:
    fill(h, kind, b"k", size)
    assert parse(h.line("TYPE k")) == kind.encode()
    assert (
        parse(h.line("OBJECT ENCODING k"))
        == ENCODINGS[kind][size == LARGE or (kind == "zset" and size > SMALL)]
    )
    shown = h.line("DEBUG OBJECT k") or b""
    assert (
        b"encoding:" + ENCODINGS[kind][size == LARGE or (kind == "zset" and size > SMALL)] in shown
        and b"serializedlength:" in shown
    )
    assert h.lines("OBJECT REFCOUNT k", "OBJECT IDLETIME k") == [b":1\r\n", b":0\r\n"]


def test_scan_tells_types_apart(h: Harness) -> None:
    h.line("SET string x")
    for kind in KINDS:
        fill(h, kind, kind.encode(), SMALL)
        fill(h, kind, b"the large " + kind.encode(), LARGE)
    for kind in KINDS:
        cursor, keys = decode(
            h.run(b"SCAN", b"0", b"COUNT", b"100000", b"TYPE", kind.upper().encode()) or b""
        )[0]
        assert cursor == b"0" and sorted(keys) == sorted(
            [kind.encode(), b"the large " + kind.encode()]
        )
    assert decode(h.run(b"SCAN", b"0", b"COUNT", b"100000", b"TYPE", b"string") or b"")[0][1] == [
        b"string"
    ]


@kinds
@sizes
def test_a_copy_shares_nothing_that_changes(h: Harness, kind: str, size: int) -> None:
    fill(h, kind, b"k", size)
    h.lines("PEXPIREAT k 4000000000000", "COPY k other", "COPY k far DB 3")
    original = typed(h.run, b"k")
    assert typed(h.run, b"other") == original and original[2] == 4000000000000
    assert remove(h, kind, b"other", 1) == b":1\r\n"
    fill(h, kind, b"other", 2, start=10**6)
    assert typed(h.run, b"k") == original and size_of(h, kind, b"other") == size + 1
    assert remove(h, kind, b"k", 0) == b":1\r\n"
    fill(h, kind, b"k", size, start=2 * 10**6)
    h.line("SELECT 3")
    assert typed(h.run, b"far") == original and h.line("PEXPIRETIME far") == b":4000000000000\r\n"
    h.line("SELECT 0")
    assert size_of(h, kind, b"other") == size + 1
    assert h.line("COPY other k") == b":0\r\n" and h.line("COPY other k REPLACE") == b":1\r\n"
    assert typed(h.run, b"k") == typed(h.run, b"other") and h.same()
    h.check_keyspace()


@kinds
@sizes
def test_renaming_and_moving_keep_value_and_expiry(h: Harness, kind: str, size: int) -> None:
    fill(h, kind, b"k", size)
    h.lines("PEXPIREAT k 4000000000000", "SET taken x")
    original = typed(h.run, b"k")
    assert (
        h.line("RENAMENX k taken") == b":0\r\n"
        and h.line("RENAME k taken") == b"+OK\r\n"
        and h.effects == [[b"RENAME", b"k", b"taken"]]
    )
    assert typed(h.run, b"taken") == original and typed(h.run, b"k") == (b"none",)
    assert h.line("MOVE taken 2") == b":1\r\n" and h.effects == [[b"MOVE", b"taken", b"2"]]
    assert typed(h.run, b"taken") == (b"none",)
    h.line("SELECT 2")
    assert typed(h.run, b"taken") == original
    assert remove(h, kind, b"taken", 2) == b":1\r\n" and size_of(h, kind, b"taken") == size - 1
    h.line("SELECT 0")
    assert h.same()
    h.check_keyspace()


@kinds
def test_the_digest_tells_the_content_and_nothing_else(h: Harness, kind: str) -> None:
    """Not the order members came in (but for lists),
    not the form that a past of more members left behind.
    """
    fill(h, kind, b"grown", SMALL)
    fill(h, kind, b"past", SMALL)
    fill(h, kind, b"past", LARGE, start=SMALL)
    for n in range(SMALL, SMALL + LARGE):
        remove(h, kind, b"past", n)
    if kind != "list":
        for n in reversed(range(SMALL)):
            fill(h, kind, b"backwards", 1, start=n)
    keys = [b"grown", b"past"] if kind == "list" else [b"grown", b"past", b"backwards"]
    digests = parse(h.run(b"DEBUG", b"DIGEST-VALUE", *keys))
    assert isinstance(digests, list) and len(set(digests)) == 1
    before = parse(h.line("DEBUG DIGEST"))
    h.line("DEL past")
    h.line("COPY grown past")
    assert parse(h.line("DEBUG DIGEST")) == before
    remove(h, kind, b"past", 1)
    assert (
        parse(h.line("DEBUG DIGEST")) != before
        and parse(h.run(b"DEBUG", b"DIGEST-VALUE", b"past")) != digests[:1]
    )
    assert h.same()


def test_equal_members_in_other_kinds_have_other_digests(h: Harness) -> None:
    h.lines(
        "HSET h a 1",
        "RPUSH l a 1",
        "SADD s a 1",
        "ZADD z 1 a",
        "SADD i 1",
        "RPUSH l1 1",
        "SET t 1",
        "RPUSH swapped 1 a",
    )
    digests = parse(h.line("DEBUG DIGEST-VALUE h l s z i l1 t swapped"))
    assert isinstance(digests, list) and len(set(digests)) == 8


@kinds
def test_memory_usage_grows_with_the_members(h: Harness, kind: str) -> None:
    seen = []
    for size in (10, 100, 1000, 20_000):
        h.line("DEL k")
        fill(h, kind, b"k", size)
        seen.append(parse(h.line("MEMORY USAGE k")))
        assert seen[-1] == parse(h.line("MEMORY USAGE k SAMPLES 0"))
    small, hundred, thousand, large = seen
    assert (
        isinstance(small, int)
        and isinstance(hundred, int)
        and isinstance(thousand, int)
        and isinstance(large, int)
    )
    assert 100 < small < 2500 and small < hundred < thousand < large
    assert 20_000 * 8 < large < 20_000 * 400 and large > 10 * thousand


@kinds
def test_memory_usage_is_about_what_the_process_takes(h: Harness, kind: str) -> None:
    """Of what the allocator of Python gives out, by tracemalloc, within a third."""
    import tracemalloc

    h.mirror = Harness().mirror
    h.line("SET warm up")
    lists = [
        [bytes(bytearray(arg)) for arg in members(kind, at, at + 1000)]
        for at in range(0, 20_000, 1000)
    ]
    run = h.engine.table[ADD[kind]].handler
    h.context.bind(h.session, h.wall_ms)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for arguments in lists:
            run(h.context, [ADD[kind], b"k", *[bytes(bytearray(arg)) for arg in arguments]])
            h.context.unit.clear()
            h.context.changed.clear()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    told = parse(h.line("MEMORY USAGE k"))
    assert isinstance(told, int) and taken * 2 / 3 < told < taken * 4 / 3, (told, taken)


# ----------------------------------------------------------------- large ones go away bit by bit

MANY: Final = 60_000
# objects let go of by a command; far below what MANY members are,
# for the primary and its replica together
AT_ONCE: Final = 12_000
Way = Callable[[Harness], bytes | None]


def _expired_on_access(h: Harness) -> bytes | None:
    h.line("PEXPIRE big 10")
    h.wall_ms += 11
    return h.line("GET big")


def _expired_by_the_cycle(h: Harness) -> bytes | None:
    h.line("PEXPIRE big 10")
    h.wall_ms += 11
    h.context.bind(h.session, h.wall_ms)
    ActiveExpiry().run(h.context, 500)
    h.close_unit()
    return h.line("EXISTS big")


def _in_a_transaction(h: Harness) -> bytes | None:
    h.lines("MULTI", "DEL big")
    return h.line("EXEC")


WAYS: Final[dict[str, Way]] = {
    "DEL": lambda h: h.line("DEL big"),
    "UNLINK": lambda h: h.line("UNLINK big"),
    "SET": lambda h: h.line("SET big x"),
    "MSET": lambda h: h.line("MSET big x"),
    "RENAME": lambda h: h.line("RENAME small big"),
    "COPY": lambda h: h.line("COPY small big REPLACE"),
    "SUNIONSTORE": lambda h: h.line("SUNIONSTORE big set"),
    "ZUNIONSTORE": lambda h: h.line("ZUNIONSTORE big 1 set"),
    "SORT": lambda h: h.line("SORT set ALPHA STORE big"),
    "expired on access": _expired_on_access,
    "expired by the cycle": _expired_by_the_cycle,
    "EXEC": _in_a_transaction,
    "FLUSHDB": lambda h: h.line("FLUSHDB"),
    "FLUSHALL": lambda h: h.line("FLUSHALL"),
}


def settle() -> None:
    while deferred_free.waiting():
        deferred_free.free_some(1 << 20)


def freed(before: int) -> int:
    """Objects that the allocator got back since it counted ``before``."""
    return before - sys.getallocatedblocks()


@pytest.fixture
def counted() -> Iterator[None]:
    """Counts of objects mean something: nothing is left over from other tests, and the collector
    does not come in between.
    """
    settle()
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    settle()


@kinds
@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("way", WAYS)
def test_a_large_collection_goes_away_bit_by_bit(h: Harness, kind: str, way: str) -> None:
    """Counted in objects, not in time. Whatever takes the last reference away, at the primary and
    at the replica, lets go of few; the rest follows in turns.
    """
    h.lines("SADD set a b c", "SET small x")
    empty = sys.getallocatedblocks()
    fill(h, kind, b"big", MANY)
    h.units.clear()
    full = sys.getallocatedblocks()
    answer = WAYS[way](h)
    assert answer is not None and answer[:1] != b"-", answer
    assert freed(full) < AT_ONCE, f"{way} let go of {freed(full)} objects at once"
    for keyspace in (h.engine.keyspace, h.mirror.keyspace):
        more = True
        while more:
            now = sys.getallocatedblocks()
            more = keyspace.free_some(1000)
            assert freed(now) < AT_ONCE
    assert sys.getallocatedblocks() - empty < AT_ONCE, "all of it is gone"
    assert h.same()


@kinds
@pytest.mark.long
@pytest.mark.usefixtures("counted")
def test_a_million_members_go_away_bit_by_bit(kind: str) -> None:
    h = Harness()
    h.context.bind(h.session, h.wall_ms)
    add = h.engine.table[ADD[kind]].handler
    empty = sys.getallocatedblocks()
    for at in range(0, 1_000_000, 10_000):
        add(h.context, [ADD[kind], b"big", *members(kind, at, at + 10_000)])
        h.context.unit.clear()
        h.context.changed.clear()
    full = sys.getallocatedblocks()
    h.context.database.remove(b"big")
    assert freed(full) < AT_ONCE
    turns, more = 0, True
    while more:
        now = sys.getallocatedblocks()
        more = h.engine.keyspace.free_some(FREE_UNITS)
        turns += 1
        # a member is at most a name, a value and a few shared pieces
        assert freed(now) < 3 * FREE_UNITS + AT_ONCE
    assert sys.getallocatedblocks() - empty < AT_ONCE
    assert turns > 1 or full - empty < AT_ONCE
