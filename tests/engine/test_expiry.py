"""The active cycle: what it finds, what it leaves, how much it does in one call."""

from __future__ import annotations

from random import Random

from memstore.engine.expiry import ActiveExpiry
from tests.engine.harness import Harness


def cycle(h: Harness, active: ActiveExpiry, limit: int = 500) -> bool:
    h.context.bind(h.session, h.wall_ms)
    more = active.run(h.context, limit)
    h.close_unit()
    return more


def test_deletes_due_keys_of_every_database_and_says_so() -> None:
    h, active = Harness(), ActiveExpiry()
    h.lines("SET a 1 PX 5", "SET b 1 PX 5000", "SELECT 3", "SET c 1 PX 5")
    h.wall_ms += 6
    assert not cycle(h, active)
    assert h.effects == [[b"DEL", b"a"], [b"SELECT", b"3"], [b"DEL", b"c"]]
    assert h.changed == {(0, b"a"), (3, b"c")} and h.engine.expired_keys == 2
    assert h.same()
    h.check_keyspace()


def test_does_nothing_when_nothing_is_due() -> None:
    h, active = Harness(), ActiveExpiry()
    h.lines("SET a 1 PX 5000", "SET b 1")
    assert not cycle(h, active) and h.effects == []


def test_a_call_is_bounded_and_the_next_goes_on() -> None:
    h, active = Harness(), ActiveExpiry()
    for n in range(100):
        h.run(b"SET", b"{t}%d" % n if n % 2 else b"k%d" % n, b"v", b"PX", b"5")
    h.wall_ms += 5
    calls = 0
    while cycle(h, active, 7):
        calls += 1
        assert 0 < len(h.effects) <= 7
        h.check_keyspace()
    assert calls >= 14 and len(h.engine.keyspace.database(0)) == 0 and h.same()


def test_collections_count_by_their_members() -> None:
    h, active = Harness(), ActiveExpiry()
    for n in range(20):
        h.run(b"SADD", b"s%d" % n, *[b"member-%d" % m for m in range(320)])
        h.run(b"PEXPIRE", b"s%d" % n, b"5")
    h.wall_ms += 5
    calls = 0
    while cycle(h, active, 22):
        calls += 1
        assert 1 <= len(h.effects) <= 2, "each counts for eleven"
    assert calls >= 10 and len(h.engine.keyspace.database(0)) == 0 and h.same()


def test_a_large_slot_is_visited_rarely_and_still_emptied() -> None:
    h, active = Harness(), ActiveExpiry()
    for n in range(5000):
        h.run(b"SET", b"{t}%d" % n, b"v", b"PX", b"%d" % (5 + n // 1000))
    h.wall_ms += 6
    assert not cycle(h, active, 5000) and len(h.effects) == 2000
    h.wall_ms += 1
    for n in range(2000):
        h.run(b"SET", b"{t}more%d" % n, b"v", b"PX", b"5000")
    assert not cycle(h, active, 5000) and h.effects == [], "rests"
    assert h.line("GET {t}2000") == b"$-1\r\n", "what rests is not shown"
    h.wall_ms += 1000
    cycle(h, active, 5000)
    assert len(h.engine.keyspace.database(0)) == 2000
    h.check_keyspace()


def test_floors_stay_true_under_any_order_of_changes() -> None:
    h, active, rng = Harness(), ActiveExpiry(), Random(5)
    for step in range(3000):
        key = b"%d" % rng.randrange(50)
        argv = rng.choice(
            [
                [b"SET", key, b"v", b"PX", b"%d" % rng.randrange(1, 40)],
                [b"SET", key, b"v"],
                [b"DEL", key],
                [b"PERSIST", key],
                [b"RENAME", key, b"%d" % rng.randrange(50)],
                [b"SWAPDB", b"0", b"1"],
                [b"PEXPIRE", key, b"%d" % rng.randrange(1, 40)],
            ]
        )
        h.run(*argv)
        h.wall_ms += rng.randrange(3)
        if rng.random() < 0.1:
            cycle(h, active, 3)
        if step % 100 == 0:
            h.check_keyspace()
    h.wall_ms += 100
    while cycle(h, active, 3):
        pass
    assert all(not database.volatile for database in h.engine.keyspace.existing()) and h.same()
