"""What holds for every row of the command table, whoever's it is."""

from __future__ import annotations

import importlib
import pkgutil
from random import Random

import pytest

import tests.commands
from memstore.commands import build_table
from memstore.engine.command import READONLY, WRITE, Row
from memstore.engine.digest import digest, value_digest
from memstore.engine.engine import Engine
from memstore.engine.settings import Settings
from memstore.engine.state_digest import Walk
from memstore.replication.control_entries import Digest
from memstore.replication.follower import Follower
from tests.commands.samples import SAMPLES, SETTING, Sample
from tests.engine.harness import Harness
from tests.replication.test_recovery import Log
from txlog.entry import DIGEST


def all_rows() -> list[Row]:
    rows = []
    for row in Engine(Settings(), Random(1), build_table()).table.values():
        rows += [*row.subcommands.values()] if row.container else [row]
    return rows


def all_samples() -> dict[str, tuple[Sample, ...]]:
    found = dict(SAMPLES)
    for module in pkgutil.walk_packages(tests.commands.__path__, "tests.commands."):
        if module.name.endswith(".samples") and module.name != "tests.commands.samples":
            found.update(importlib.import_module(module.name).SAMPLES)
    return found


CHANGES_NOTHING = {"FUNCTION|FLUSH"}  # a write in Redis' table; there are no functions to flush
ROWS = {row.name.decode(): row for row in all_rows()}
SAMPLE = all_samples()
by_name = pytest.mark.parametrize("name", sorted(ROWS))
changing = pytest.mark.parametrize(
    "name", sorted(name for name, row in ROWS.items() if row.flags & WRITE)
)
reading = pytest.mark.parametrize(
    "name", sorted(name for name, row in ROWS.items() if row.flags & READONLY)
)


def call_parts(row: Row) -> list[bytes]:
    return row.name.split(b"|")


@by_name
def test_a_wrong_number_of_arguments_is_refused_in_the_words_of_redis(
    name: str, h: Harness
) -> None:
    row = ROWS[name]
    words = call_parts(row)
    error = b"-ERR wrong number of arguments for '%b' command\r\n" % row.name.lower()
    wrong = [abs(row.arity) - 1, row.arity + 1] if row.arity > 0 else [abs(row.arity) - 1]
    tried = 0
    for count in wrong:
        if count >= len(words):
            argv = words + [b"x"] * (count - len(words))
            assert h.engine.find(argv) == error, argv
            tried += 1
    assert tried or row.arity < 0 or len(words) == abs(row.arity)
    assert h.effects == [] and h.digest() == bytes(20)


@by_name
def test_a_row_is_whole(name: str) -> None:
    row = ROWS[name]
    assert row.summary and row.since and row.group and row.arity != 0
    assert not (row.flags & WRITE and row.flags & READONLY)
    assert abs(row.arity) >= len(call_parts(row))
    if row.first:
        assert (
            row.step >= 1
            and (row.last < 0 or row.last >= row.first)
            and row.first <= abs(row.arity)
        )


def prepared(sample: Sample) -> Harness:
    h = Harness()
    for line in (*SETTING, *sample[:-1]):
        answer = h.line(line)
        assert answer is not None and answer[:1] != b"-", (line, answer)
    return h


def samples_of(name: str) -> tuple[Sample, ...]:
    assert SAMPLE.get(name), (
        f"{name} reads or writes and has no sample: add one (tests/commands/samples.py says how)"
    )
    return SAMPLE[name]


@reading
def test_reading_changes_nothing(name: str) -> None:
    for sample in samples_of(name):
        h = prepared(sample)
        before = h.digest()
        answer = h.line(sample[-1])
        assert answer is not None and answer[:1] != b"-", (sample, answer)
        assert h.digest() == before and h.effects == [], sample


@changing
def test_replaying_the_effects_gives_the_same_state(name: str) -> None:
    changed = 0
    for sample in samples_of(name):
        h = prepared(sample)
        answer = h.line(sample[-1])
        assert answer is None or answer[:1] != b"-", (sample, answer)
        changed += bool(h.effects)
        copy = Engine(Settings(), Random(2), build_table())
        for unit in h.units:
            # whatever the time: only the primary decides what is gone
            copy.apply(unit, h.wall_ms + 10**9)
        assert digest(copy.keyspace) == h.digest(), sample
        h.check_keyspace()
    assert changed or name in CHANGES_NOTHING, f"no sample of {name} changes anything"


@changing
def test_whoever_follows_the_log_finds_the_digests_in_it_true(name: str) -> None:
    """A log of the sample's effects, with digests of all of the primary's state behind them,
    followed by a node that compares.
    """
    for sample in samples_of(name):
        h = prepared(sample)
        h.line(sample[-1])
        log, way = Log(), Walk()
        for unit in h.units:
            log.add(unit)
        while not way.rounds:
            piece = way.take(h.engine.keyspace, 4096, 1 << 20)
            log.add(Digest(piece, h.engine.digest(piece)).encode(), DIGEST)
        follower = Follower(Engine(Settings(), Random(2), build_table()), 0)
        follower.feed(log.entries)
        follower.step(1 << 30)
        assert follower.stuck == "" and follower.digests >= 1 and not follower.pending, sample


@changing
def test_a_changing_command_names_what_it_changed(name: str) -> None:
    """Every key that differs afterwards is among the changed ones (or its database is)."""
    for sample in samples_of(name):
        h = prepared(sample)
        before = contents(h)
        h.context.bind(h.session, h.wall_ms)
        argv = [part.encode() for part in sample[-1].split()]
        row = h.engine.find(argv)
        assert isinstance(row, Row)
        h.engine.call(row, argv)
        named = {key if isinstance(key, tuple) else (0, key) for key in h.context.changed}
        whole = set(h.context.changed_all)
        after = contents(h)
        differ = {
            place for place in before.keys() | after.keys() if before.get(place) != after.get(place)
        }
        assert {place for place in differ if place[0] not in whole} <= named, sample


def contents(h: Harness) -> dict[tuple[int, bytes], bytes]:
    """By digest: a collection is changed where it is."""
    return {
        (database.index, key): value_digest(value, database.expire_at(key))
        for database in h.engine.keyspace.existing()
        for items in database.slots
        for key, value in items.items()
    }
