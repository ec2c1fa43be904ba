"""Following the log: which entries are applied, when, and where the follower stops."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

import txlog.entry
from memstore.commands import build_table
from memstore.engine.effects import encode
from memstore.replication.control_entries import Handover, Leadership, decode_leadership, mismatches
from memstore.replication.follower import Follower
from tests.sim.mutants import plant
from txlog.entry import (
    DATA,
    FORMAT_VERSION,
    GENESIS_CHAIN,
    HANDOVER,
    LEADERSHIP,
    MAY_IGNORE,
    Entry,
    make_entry,
)


class Notebook:
    """A memory that only records what was applied to it."""

    def __init__(self) -> None:
        self.applied: list[tuple[bytes, int]] = []

    def apply(self, payload: bytes, wall_ms: int, position: int) -> int:
        if payload == b"bad":
            raise ValueError("no such command")
        self.applied.append((payload, wall_ms))
        return 1


class Log:
    """Builds entries that continue one another."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.term = 1

    def add(
        self, payload: bytes, kind: int = DATA, wall_ms: int = 0, continued: bool = False
    ) -> Entry:
        chain = self.entries[-1].chain if self.entries else GENESIS_CHAIN
        entry = make_entry(
            len(self.entries) + 1,
            self.term,
            kind,
            wall_ms or 1000 + len(self.entries),
            chain,
            payload,
            continued,
        )
        self.entries.append(entry)
        return entry

    def lead(self, **fields: object) -> Entry:
        # a test's shorthand
        return self.add(Leadership(**fields).encode(), LEADERSHIP)  # type: ignore[arg-type]


def follower() -> tuple[Follower, Notebook, Log]:
    memory = Notebook()
    return Follower(memory, 0), memory, Log()


def follow(f: Follower, log: Log) -> None:
    f.feed(log.entries)
    while f.pending and not f.stuck:
        f.step(1)


def test_entries_are_applied_in_order_with_their_times() -> None:
    f, memory, log = follower()
    log.add(b"a", wall_ms=50)
    log.add(b"b", wall_ms=60)
    follow(f, log)
    assert memory.applied == [(b"a", 50), (b"b", 60)]
    assert f.followed == (1, 2) and f.chain == log.entries[1].chain and f.wall_ms == 60


def test_time_never_goes_back() -> None:
    f, memory, log = follower()
    log.add(b"a", wall_ms=50)
    log.add(b"b", wall_ms=40)
    follow(f, log)
    assert memory.applied == [(b"a", 50), (b"b", 50)] and f.wall_ms == 50


def test_entries_given_twice_are_taken_once() -> None:
    f, memory, log = follower()
    log.add(b"a")
    follow(f, log)
    log.add(b"b")
    f.feed(log.entries)
    f.feed(log.entries)
    follow(f, log)
    assert [payload for payload, _ in memory.applied] == [b"a", b"b"]


def test_a_run_is_applied_in_one_go_when_its_last_entry_is_there() -> None:
    f, memory, log = follower()
    log.add(b"one,", continued=True)
    log.add(b"two,", continued=True)
    follow(f, log)
    assert memory.applied == []
    log.add(b"three")
    follow(f, log)
    assert [payload for payload, _ in memory.applied] == [b"one,two,three"]


def test_leadership_cuts_an_unfinished_run_off() -> None:
    f, memory, log = follower()
    log.add(b"half,", continued=True)
    log.term = 2
    log.lead(node="n")
    log.add(b"whole")
    follow(f, log)
    assert [payload for payload, _ in memory.applied] == [b"whole"]
    assert f.leadership is not None and f.leadership.node == "n" and f.leadership_term == 2


def test_a_chunk_bounds_the_work_of_a_turn() -> None:
    f, memory, log = follower()
    for _ in range(10):
        log.add(b"x" * 100)
    f.feed(log.entries)
    f.step(300)
    assert len(memory.applied) == 2 and f.pending == 8 and f.pending_bytes == 800


def test_an_unknown_kind_stops_it_there_for_good() -> None:
    f, memory, log = follower()
    log.add(b"a")
    log.add(b"?", kind=77)
    log.add(b"b")
    follow(f, log)
    assert "kind 77" in f.stuck and f.followed[1] == 1
    f.step(100)
    assert [payload for payload, _ in memory.applied] == [b"a"]


def test_an_unknown_kind_that_may_be_ignored_is_passed_over() -> None:
    f, memory, log = follower()
    log.add(b"a")
    log.add(b"?", kind=MAY_IGNORE | 77)
    last = log.add(b"b")
    follow(f, log)
    assert f.stuck == "" and (f.followed, f.chain) == (last.id, last.chain)
    assert [payload for payload, _ in memory.applied] == [b"a", b"b"]


def test_each_kind_of_this_version_is_acted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that has a name and no branch in the follower stops it, like an unknown kind."""
    monkeypatch.setitem(txlog.entry.KIND_NAMES, 77, "NAMED")
    test_an_unknown_kind_stops_it_there_for_good()


@pytest.mark.parametrize("bit", ["0", "0xFF"], ids=["the bit is ignored", "every kind may be"])
def test_a_reader_that_gets_the_bit_wrong_is_found(bit: str) -> None:
    """The mutants: one stops at an entry it may ignore, one skips an entry it must read."""
    with ExitStack() as undo:
        plant(txlog.entry, "may_ignore", "kind & MAY_IGNORE", f"kind & {bit}", undo)
        with pytest.raises(AssertionError):
            test_an_unknown_kind_that_may_be_ignored_is_passed_over()
            test_an_unknown_kind_stops_it_there_for_good()


def test_an_ignorable_entry_inside_a_unit_stops_it() -> None:
    f, memory, log = follower()
    log.add(b"a", continued=True)
    log.add(b"?", kind=MAY_IGNORE | 77)
    follow(f, log)
    assert "interrupts a unit" in f.stuck and memory.applied == []


def test_an_unknown_format_stops_it() -> None:
    f, memory, log = follower()
    entry = log.add(b"a")
    entry.format = FORMAT_VERSION + 1
    follow(f, log)
    assert "format" in f.stuck and memory.applied == []


def test_an_effect_that_does_not_apply_stops_it() -> None:
    f, memory, log = follower()
    log.add(b"bad")
    log.add(b"b")
    follow(f, log)
    assert (
        "position 1 cannot be applied: ValueError: no such command" in f.stuck
        and memory.applied == []
    )


def test_a_hole_and_another_history_stop_it() -> None:
    f, _, log = follower()
    log.add(b"a")
    log.add(b"b")
    log.add(b"c")
    f.feed([log.entries[0], log.entries[2]])
    f.step(1000)
    assert "hole" in f.stuck
    g, _, _ = follower()
    g.feed([log.entries[0], make_entry(2, 1, DATA, 5, b"\x07" * 16, b"x")])
    g.step(1000)
    assert "another history" in g.stuck


def test_something_else_inside_a_run_stops_it() -> None:
    f, _, log = follower()
    log.add(b"half,", continued=True)
    log.add(Handover("n").encode(), HANDOVER)
    follow(f, log)
    assert "interrupts a unit" in f.stuck


def test_after_a_clean_demotion_following_goes_on_behind_what_memory_holds() -> None:
    f, memory, log = follower()
    log.add(b"a")
    follow(f, log)
    mine = log.add(b"written as primary")
    f.adopt(mine.id, mine.chain, mine.wall_ms)
    log.term = 2
    log.lead(node="other")
    log.add(b"c")
    follow(f, log)
    assert [payload for payload, _ in memory.applied] == [b"a", b"c"] and not f.stuck


def test_a_handover_is_remembered_until_somebody_leads() -> None:
    f, _, log = follower()
    log.add(Handover("next", b"\x05" * 16, "b", "h", 9).encode(), HANDOVER)
    follow(f, log)
    assert f.handover is not None and f.handover.port == 9
    log.lead(node="next")
    follow(f, log)
    assert f.handover is None


def test_progress_tells_entries_rate_and_time_left() -> None:
    f, _, log = follower()
    for _ in range(500):
        log.add(b"x")
    follow(f, log)
    assert f.progress(1500, 1_000_000) == "500 of 1500 entries, 500 entries/s, about 2 s left"


def test_leadership_survives_the_trip_and_disagreeing_limits_are_named() -> None:
    mine = Leadership("n", b"\x01" * 16, "a", "h", 1, 1000, "0.1.0", {"max-entry-bytes": 4})
    assert decode_leadership(mine.encode()) == mine
    theirs = Leadership(lease_ms=2000, limits={"max-entry-bytes": 5, "new-one": 1})
    assert mismatches(mine, theirs) == [
        "lease_ms: 1000 here, 2000 at the primary",
        "max-entry-bytes: 4 here, 5 at the primary",
    ]


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'{"port": "x"}', b'{"incarnation": "zz"}', b'{"limits": 3}']
)
def test_a_control_entry_that_cannot_be_read_stops_it(payload: bytes) -> None:
    f, _, log = follower()
    log.add(payload, LEADERSHIP)
    follow(f, log)
    assert "cannot be read" in f.stuck


def test_effects_reach_a_real_engine() -> None:
    from random import Random

    from memstore.engine.engine import Engine
    from memstore.engine.settings import Settings

    engine = Engine(Settings(), Random(1), build_table())
    if b"SET" not in engine.table:
        pytest.skip("no SET in the table yet")
    f, log = Follower(engine, 0), Log()
    log.add(encode((b"SET", b"k", b"v")))
    follow(f, log)
    assert not f.stuck and engine.keyspace.database(0).get(b"k") == b"v"
