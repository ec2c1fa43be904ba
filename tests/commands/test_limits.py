"""Units that the log could not take: refused with the reason, before memory changes."""

from __future__ import annotations

import time

import pytest

from memstore.engine.settings import Settings
from tests.engine.harness import Harness
from tests.replication.test_shard import Node

MIB = 1 << 20
REFUSED = b"-ERR the effects of this command are larger than max-uncommitted-bytes allows\r\n"


def filled() -> Harness:
    """Collections whose members fill the limit of one MiB together, and more."""
    h = Harness(settings=Settings(max_uncommitted_bytes=MIB))
    for n in range(16):
        item = b"%02d" % n + b"x" * 99_998
        h.run(b"RPUSH", b"l", item)
        h.run(b"SADD", b"s%d" % (n % 2), item)
        h.run(b"ZADD", b"z%d" % (n % 2), b"%d" % n, item)
    h.run(b"SET", b"d", b"what was there")
    return h


CALLS = [
    (b"SORT", b"l", b"ALPHA", b"STORE", b"d"),
    (
        b"SORT",
        b"l",
        b"BY",
        b"nosort",
        b"GET",
        b"#",
        b"GET",
        b"#",
        b"LIMIT",
        b"0",
        b"6",
        b"STORE",
        b"d",
    ),
    (b"SUNIONSTORE", b"d", b"s0", b"s1"),
    (b"ZUNIONSTORE", b"d", b"2", b"z0", b"z1"),
    (b"ZUNIONSTORE", b"d", b"2", b"s0", b"z1"),
]


@pytest.mark.parametrize("argv", CALLS, ids=[b" ".join(call).decode() for call in CALLS])
def test_effects_that_are_too_large_are_refused_before_memory_changes(
    argv: tuple[bytes, ...],
) -> None:
    h = filled()
    before = h.digest()
    assert h.run(*argv) == REFUSED
    assert h.effects == [] and h.digest() == before


def test_a_store_of_what_fits_is_done() -> None:
    h = filled()
    assert h.run(b"SINTERSTORE", b"d", b"s0", b"s0") == b":8\r\n"
    assert h.run(b"SDIFFSTORE", b"d", b"s0", b"s1") == b":8\r\n"
    assert h.run(b"ZDIFFSTORE", b"d", b"2", b"z0", b"z1") == b":8\r\n"
    assert h.run(b"ZRANGESTORE", b"d", b"z0", b"0", b"-1") == b":8\r\n"
    assert h.run(b"SORT", b"l", b"ALPHA", b"LIMIT", b"0", b"8", b"STORE", b"d") == b":8\r\n"


def test_popping_many_members_by_chance_is_refused_by_rank_it_is_not() -> None:
    h = filled()
    h.run(b"SUNION", b"s0", b"s1")
    for n in range(16):
        h.run(b"SADD", b"s", b"%02d" % n + b"y" * 99_998)
    before = h.digest()
    assert h.run(b"SPOP", b"s", b"15") == REFUSED and h.digest() == before
    answer = h.run(b"SPOP", b"s", b"16")  # that is a DEL
    assert answer is not None and answer.startswith(b"*16\r\n") and h.effects == [[b"DEL", b"s"]]
    for n in range(16):
        h.run(b"ZADD", b"z", b"%d" % n, b"%02d" % n + b"y" * 99_998)
    answer = h.run(b"ZPOPMIN", b"z", b"15")
    assert (
        answer is not None
        and answer.startswith(b"*30\r\n")
        and h.effects == [[b"ZREMRANGEBYRANK", b"z", b"0", b"14"]]
    )


def test_what_a_transaction_stores_counts_beside_its_arguments() -> None:
    h = filled()
    h.run(b"MULTI")
    h.run(b"SDIFFSTORE", b"d", b"s0", b"s1")  # 800 KB
    h.run(b"SET", b"a", b"x" * 200_000)
    h.run(b"SDIFFSTORE", b"e", b"s0", b"s1")
    h.run(b"SET", b"b", b"x")
    assert h.run(b"EXEC") == b"*4\r\n:8\r\n+OK\r\n" + REFUSED + b"+OK\r\n"
    assert h.run(b"EXISTS", b"e") == b":0\r\n" and h.run(b"EXISTS", b"b") == b":1\r\n"
    assert h.run(b"SDIFFSTORE", b"e", b"s0", b"s1") == b":8\r\n", "the next unit has its own room"


def test_a_replica_applies_what_its_own_limit_would_refuse() -> None:
    h = filled()
    one = Harness(settings=Settings(max_uncommitted_bytes=64 * MIB))
    for unit in h.units:
        one.engine.apply(unit, 0)
    one.engine.apply(b"*4\r\n$11\r\nSUNIONSTORE\r\n$1\r\nd\r\n$2\r\ns0\r\n$2\r\ns1\r\n", 0)
    h.engine.apply(b"*4\r\n$11\r\nSUNIONSTORE\r\n$1\r\nd\r\n$2\r\ns0\r\n$2\r\ns1\r\n", 0)
    assert h.digest() == one.digest()


def test_exec_says_that_the_transaction_is_too_large_and_runs_none_of_it() -> None:
    node = Node(max_uncommitted_bytes=MIB)
    one = node.session()
    queued = [[b"SET", b"k%d" % n, b"x" * 300_000] for n in range(4)]
    reason = (
        b"-EXECABORT Transaction discarded because of: the transaction is larger than "
        b"max-uncommitted-bytes allows\r\n"
    )
    assert (
        node.run(one, [[b"MULTI"], *queued, [b"EXEC"], [b"EXISTS", b"k0"]])
        == b"+OK\r\n" + b"+QUEUED\r\n" * 4 + reason + b":0\r\n"
    )
    assert node.shard.clean and one.multi is None
    reads = [[b"GET", b"x" * 300_000] for _ in range(4)]  # large, and nothing of it goes to the log
    assert (
        node.run(one, [[b"MULTI"], *reads, [b"EXEC"]])
        == b"+OK\r\n" + b"+QUEUED\r\n" * 4 + b"*4\r\n" + b"$-1\r\n" * 4
    )


def test_what_resp_puts_around_short_arguments_counts() -> None:
    node = Node(max_uncommitted_bytes=MIB)
    one = node.session(fast_path_ok=False)  # as the connection does for large commands
    assert (
        node.run(one, [[b"RPUSH", b"l", *[b"x"] * 100_000]])
        == b"-ERR the command is larger than max-uncommitted-bytes allows\r\n"
    )
    assert node.shard.clean


def test_naming_a_set_many_times_costs_a_lookup_each() -> None:
    h = Harness()
    h.run(b"SADD", b"s", *[b"m%d" % n for n in range(1000)])
    h.run(b"SADD", b"t", b"m1")
    start = time.process_time()
    for argv in (
        (b"SUNION", *[b"s"] * 20_000),
        (b"SINTER", *[b"s", b"t"] * 10_000),
        (b"SUNIONSTORE", b"d", *[b"s"] * 20_000),
        (b"SDIFF", b"s", *[b"t"] * 20_000),
    ):
        answer = h.run(*argv)
        assert answer is not None and answer[:1] in b"*:"
    assert (
        h.run(b"SDIFF", b"s", b"s") == b"*0\r\n" and h.run(b"SDIFF", b"s", b"t", b"s") == b"*0\r\n"
    )
    assert h.run(b"SINTERCARD", b"3", b"s", b"t", b"s") == b":1\r\n"
    assert time.process_time() - start < 2
