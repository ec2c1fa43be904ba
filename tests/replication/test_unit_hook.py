"""Every path that changes memory notifies the engine's observers.

They learn which keys a unit changed, and its position in the log. The tests remove each call once,
and find each path that lacks it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from memstore.engine.effects import MULTI, encode, encode_unit
from memstore.engine.engine import APPLY_PIECE, Engine
from memstore.engine.expiry import ActiveExpiry
from memstore.replication.shard import REPLICA
from memstore.replication.units import EntryBuilder
from tests.replication.test_shard import Node
from tests.sim.mutants import plant

Key = bytes | tuple[int, bytes]
Told = list[tuple[list[Key], int]]


class Notes:
    """An observer that records its notifications."""

    def __init__(self) -> None:
        self.told: Told = []

    def after_unit(self, changed: list[Key], position: int) -> None:
        self.told.append((list(changed), position))


def observed(role: str = "primary") -> tuple[Node, Notes]:
    node, notes = Node(role), Notes()
    node.engine.observers.append(notes)
    return node, notes


def fast_loop() -> Told:
    node, notes = observed()
    session = node.session()
    assert node.shard.fast_path_open and session.fast_path_ok
    node.do(session, "SET a 1", "GET a", "MSET a 2 b 3")
    return notes.told


def slow_path() -> Told:
    node, notes = observed()
    node.do(node.session(db=3), "COPY a b", "SELECT 3")
    node.do(node.session(db=3), "SET a 1")
    node.do(node.session(db=3), "MOVE a 4")
    return notes.told


def transaction() -> Told:
    node, notes = observed()
    node.do(node.session(), "MULTI", "SET a 1", "INCR b", "GET a", "EXEC")
    return notes.told


def lazy_expiry() -> Told:
    node, notes = observed()
    session = node.session()
    node.do(session, "SET a 1 PX 1")
    node.wall_ms += 10
    node.do(session, "GET a")
    return notes.told[1:]


def active_expiry() -> Told:
    node, notes = observed()
    node.do(node.session(), "SET a 1 PX 1")
    node.shard.run_internal(ActiveExpiry().run, node.wall_ms + 10)
    return notes.told[1:]


def applying() -> Told:
    node, notes = observed(REPLICA)
    one = encode((b"SET", b"a", b"1"))
    other = encode_unit([encode((b"SELECT", b"2")), encode((b"SET", b"b", b"1")), one])
    node.engine.apply(one + other + encode((b"DEL", b"b")), node.wall_ms, 7)
    return notes.told


def applying_a_large_unit() -> Told:
    """Its effects do not fit into one piece that `apply` parses at a time."""
    node, notes = observed(REPLICA)
    large = encode((b"SET", b"large", bytes(2 * APPLY_PIECE)))
    first, last = encode((b"SET", b"a", b"1")), encode((b"SET", b"z", b"1"))
    node.engine.apply(encode_unit([first, large, last]) + first, node.wall_ms, 7)
    return notes.told


def changed_keys(told: Told) -> list[list[Key]]:
    return [sorted(set(changed), key=repr) for changed, _ in told]


PATHS: dict[str, tuple[Callable[[], Told], list[list[Key]], list[int]]] = {
    "fast loop": (fast_loop, [[b"a"], [b"a", b"b"]], [2, 2]),
    "slow path": (slow_path, [[(3, b"a")], [(3, b"a"), (4, b"a")]], [2, 2]),
    "transaction": (transaction, [[b"a", b"b"]], [2]),
    "lazy expiry": (lazy_expiry, [[b"a"]], [2]),
    "active expiry": (active_expiry, [[b"a"]], [2]),
    "applying": (applying, [[b"a"], [(2, b"a"), (2, b"b")], [(2, b"b")]], [7, 7, 7]),
    "applying a large unit": (applying_a_large_unit, [[b"a", b"large", b"z"], [b"a"]], [7, 7]),
}
# The calls, as `ast.unparse` writes them.
CALLS = {
    "_close_unit": (EntryBuilder, "self.engine.after_unit(observed, position)"),
    "apply": (Engine, "self.after_unit(context.changed, position)"),
}


@pytest.mark.parametrize("path", PATHS)
def test_each_path_that_changes_memory_tells_the_observers(path: str) -> None:
    walk, keys, positions = PATHS[path]
    told = walk()
    assert changed_keys(told) == keys
    assert [position for _, position in told] == positions


@pytest.mark.parametrize("function", CALLS)
def test_a_path_that_tells_nothing_is_found(function: str) -> None:
    owner, call = CALLS[function]
    silent = [name for name in PATHS if name.startswith("applying") == (function == "apply")]
    with ExitStack() as undo:
        plant(owner, function, call, "pass", undo)
        for name, (walk, keys, _) in PATHS.items():
            assert (changed_keys(walk()) != keys) == (name in silent), name


def test_half_a_unit_is_not_told() -> None:
    node, notes = observed(REPLICA)
    node.engine.apply(MULTI + encode((b"SET", b"a", b"1")), node.wall_ms, 7)
    assert notes.told == []


def test_nothing_observes_unless_a_key_is_watched() -> None:
    node = Node()
    one, two = node.session(), node.session()
    assert not node.engine.observers
    node.do(one, "WATCH a b")
    node.do(two, "WATCH a")
    assert node.engine.observers == [node.engine.watched]
    node.do(one, "UNWATCH")
    assert node.engine.observers == [node.engine.watched]
    node.do(two, "SET a 1")
    assert two.watch_failed and not one.watch_failed
    node.do(two, "UNWATCH")
    assert not node.engine.observers


class Broken:
    """An observer that fails."""

    def after_unit(self, changed: list[Key], position: int) -> None:
        raise RuntimeError("planted")


def test_an_observer_that_fails_puts_no_effect_into_the_log_twice() -> None:
    node = Node()
    session = node.session()
    node.engine.observers.append(Broken())
    with pytest.raises(RuntimeError, match="planted"):
        node.do(session, "INCR c")
    node.engine.observers.clear()
    node.do(node.session(), "SET other 1")
    payload = b"".join(entry[1] for entry in node.shard.take_entries())
    assert payload.count(b"c\r\n") == 1


def test_a_watched_key_fails_its_transaction_when_a_replica_becomes_the_primary() -> None:
    node = Node(REPLICA)
    session = node.session()
    node.do(session, "WATCH a")
    node.shard.become_primary(1, 0)
    assert session.watch_failed
