"""A test changes a node's memory in a whole cluster under load; the log's digests find the change.

The tests also check the consequences. The changed key is one that no client reads, so that the
histories stay judgeable. All checks of an ordinary run apply too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memstore.replication.follower import Follower
from tests.sim.cluster import EngineMember
from tests.sim.faults import SECOND
from tests.sim.mutant import Mutant
from tests.sim.mutants import rewritten
from tests.sim.run import Plan, Result, Run
from tests.sim.world import Loop

KEY = b"nobody:looks"
AT_US = 12 * SECOND
SETTINGS = {"digest_ms": 100, "digest_keys": 64, "broken_clocks": False, "drift_ppm": 0}


class Story:
    """A run without faults in which one thing happens; it records the roles of the engine nodes."""

    def __init__(self, seed: int) -> None:
        self.run = Run(Plan(seed, kinds=(), settings=dict(SETTINGS)))
        self.seen: dict[str, list[str]] = {member.name: [] for member in self.run.cluster.engines}
        self.answers: dict[str, bytes] = {}
        self.damaged: Any = None
        self.at(AT_US - SECOND, self._write)
        self.at(AT_US - SECOND // 2, self._watch)

    def at(self, time_us: int, work: Callable[[], object]) -> None:
        self.run.world.at(time_us, None, work)

    def primary(self) -> EngineMember:
        primary = self.run.cluster.primary
        assert primary is not None
        return primary

    def replica(self) -> EngineMember:
        return next(
            member for member in self.run.cluster.engines if member is not self.run.cluster.primary
        )

    def _write(self) -> None:
        """Write the key, so that it reaches all nodes through the log."""
        node: Any = self.primary().node
        loop: Any = self.primary().loop

        def work() -> None:
            def put(context: Any) -> None:
                context.database.put(KEY, b"good")
                context.effect(b"SET", KEY, b"good")

            node.shard.run_internal(put, node.wall_ms())
            node.schedule_drain()

        self.run.world.here(loop, work)

    def damage(self, member: EngineMember) -> None:
        node: Any = member.node
        database = node.engine.keyspace.database(0)
        assert database.get(KEY) == b"good"
        database.put(KEY, b"rotten")
        self.run.checkers.rotten.add(member.name)
        self.damaged = member

    def _watch(self) -> None:
        """Record the roles from now on, after every event."""
        world = self.run.world
        before = world.after_event
        assert before is not None

        def also_look(loop: Loop) -> None:
            before(loop)
            self._look()

        world.after_event = also_look

    def _look(self) -> None:
        for member in self.run.cluster.engines:
            node, seen = member.node, self.seen[member.name]
            role = "down" if node is None else node.shard.role
            if not seen or seen[-1] != role:
                seen.append(role)

    def values(self) -> list[bytes]:
        """The values that every node holds, and is ready to show, at the end."""
        nodes: list[Any] = [member.node for member in self.run.cluster.engines]
        assert all(node.shard.role in ("primary", "replica") for node in nodes)
        return [node.engine.keyspace.database(0).get(KEY) for node in nodes]


def damaged_replica(seed: int, healed: bool = True) -> tuple[Story, Result]:
    story = Story(seed)

    def rot() -> None:
        member = story.replica()
        story.run.checkers.differing.add(member.name)
        story.damage(member)
        story.at(AT_US + 20 * SECOND, compare_again)

    def compare_again() -> None:
        """From here on, the node's state must equal that of the others, also for the checkers."""
        if healed:
            story.run.checkers.rotten.clear()

    story.at(AT_US, rot)
    return story, story.run.run()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_replica_whose_memory_is_changed_is_found_stops_serving_and_restores(seed: int) -> None:
    story, result = damaged_replica(seed)
    assert result.ok, result.problems
    node = story.damaged.node
    assert story.seen[story.damaged.name] == ["replica", "restoring", "replica"]
    assert (
        node.facts.digest_differences == 1
        and node.facts.digest_differs_at > 0
        and node.facts.digest_trouble == ""
    )
    assert result.counters["digest-differs"] == 1 and result.counters["digest-ignored"] == 0
    assert story.values() == [b"good"] * 3
    others = [name for name in story.seen if name != story.damaged.name]
    assert all("restoring" not in story.seen[name] for name in others)


def test_without_the_comparison_nobody_would_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: they do when this line of the follower is changed."""
    [blind] = rewritten(
        Mutant(
            "digests are not compared", Follower, "_compare", "if mine == digest.sum:", "if True:"
        )
    )
    monkeypatch.setattr(Follower, "_compare", blind)
    story, result = damaged_replica(1, healed=False)
    assert story.seen[story.damaged.name] == ["replica"] and sorted(story.values()) == [
        b"good",
        b"good",
        b"rotten",
    ]
    assert result.counters["digest-differs"] == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_primary_whose_memory_is_changed_is_overruled_by_the_log_once_it_is_gone(
    seed: int,
) -> None:
    """Both replicas differ, and they differ in the same way after restoring.
    They do not serve while the primary leads. They serve again when it has ended and restarted.
    """
    story = Story(seed)
    during: list[tuple[str, str]] = []

    def rot() -> None:
        story.run.checkers.differing |= set(story.seen)
        story.damage(story.primary())

    def look() -> None:
        during.extend(
            (member.name, node.shard.role)
            for member in story.run.cluster.engines
            if (node := member.node) is not None
        )

    def end() -> None:
        story.damaged.kill()
        story.run.checkers.rotten.clear()

    story.at(AT_US, rot)
    story.at(AT_US + 10 * SECOND, look)
    story.at(AT_US + 10 * SECOND, end)
    result = story.run.run()
    assert result.ok, result.problems
    assert sorted(role for _, role in during) == ["primary", "restoring", "restoring"]
    assert dict(during)[story.damaged.name] == "primary"
    assert result.counters["digest-ignored"] >= 2 and story.values() == [b"good"] * 3
