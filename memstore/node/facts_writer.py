"""Copies the node's state to where commands read it (`Facts`).

Decides: nothing; it copies.
Must not know: which commands read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import structlog

from memstore.config import ServerConfig
from memstore.engine.facts import Facts, LogNodeFact, ReplicaFact
from memstore.log.interface import Log, Writer
from memstore.node.clocks import WallClock
from memstore.node.replica_link import ReplicaLink
from memstore.replication.control_entries import Leadership
from memstore.replication.follower import Follower
from memstore.replication.roles import PRIMARY, RESTORING, Roles
from memstore.replication.shard import Shard

# for this long after a take-over, cluster clients see the earlier nodes, even those that have not
# reported here
EXPECTED_MS: Final = 3000

log = structlog.get_logger("memstore.node")


class FactsSource(Protocol):
    """What `FactsWriter` reads of the node."""

    config: ServerConfig
    facts: Facts
    log: Log
    roles: Roles
    shard: Shard
    follower: Follower
    writer: Writer | None
    link: ReplicaLink
    wall: WallClock
    clock: Callable[[], int]

    def wall_ms(self) -> int: ...


class FactsWriter:
    def __init__(self, node: FactsSource) -> None:
        self.node = node
        self._quorum_message = ""  # the last message about the quorum
        self._last_primary: Leadership | None = None  # the newest primary other than this node
        self._jump_logged = False
        self._behind_logged = False

    def az_rank(self) -> int:
        """The rank of this node's AZ among the log nodes' AZs, sorted. It is the first where the
        log has no AZs (embedded). Until all AZs are known, no node has the first rank.
        """
        if self.node.log.embedded:
            return 0
        azs = [state.az for state in self.node.log.node_states()]
        place = sum(az < self.node.config.az for az in set(azs))
        return place if all(azs) else max(1, place)

    def update_role(self) -> None:
        """Call after each change: copies the role and the leader."""
        node, facts, roles = self.node, self.node.facts, self.node.roles
        facts.stuck = roles.stuck
        mismatches = roles.mismatches
        facts.digest_differences, facts.digest_differs_at, facts.digest_trouble = (
            mismatches.count,
            mismatches.position,
            mismatches.trouble,
        )
        if facts.role != roles.role:
            facts.role = roles.role
            facts.role_since_ms = node.wall_ms()
            facts.role_changes += 1
        if roles.role == PRIMARY:
            facts.primary_id, facts.primary_host, facts.primary_port, facts.primary_az = (
                facts.node_id,
                facts.host,
                facts.port,
                facts.az,
            )
            return
        facts.expected_replicas = []
        primary = roles.primary
        if primary is not None and (primary.host, primary.port) == (facts.host, facts.port):
            # another process leads, or led, under this node's address: do not redirect clients to
            # the node that they are connected to
            primary = None
        if primary is not None and primary.node != facts.node_id and primary.port > 0:
            self._last_primary = primary
        if primary is None:
            if facts.primary_port:
                facts.last_primary = ReplicaFact(
                    facts.primary_id,
                    facts.primary_host,
                    facts.primary_port,
                    facts.primary_az,
                    facts.committed,
                    node.wall_ms(),
                )
            facts.primary_id, facts.primary_host, facts.primary_port, facts.primary_az = (
                "",
                "",
                0,
                "",
            )
        else:
            facts.primary_id, facts.primary_host, facts.primary_port, facts.primary_az = (
                primary.node,
                primary.host,
                primary.port,
                primary.az,
            )
        others = (
            primary is not None
            and primary.node != facts.node_id
            and primary.port > 0
            and roles.role != RESTORING
        )
        node.link.aim((primary.host, primary.port) if others and primary is not None else None)

    def expect_replicas(self) -> None:
        """At a take-over: earlier replicas and the earlier primary will report, or are gone."""
        facts, now_ms = self.node.facts, self.node.wall_ms()
        facts.expected_replicas = [
            replica for replica in facts.replicas if replica.node != facts.node_id
        ]
        if self._last_primary is not None:
            facts.expected_replicas.append(
                ReplicaFact(
                    self._last_primary.node,
                    self._last_primary.host,
                    self._last_primary.port,
                    self._last_primary.az,
                    0,
                    now_ms,
                )
            )
        facts.replicas, self._last_primary = [], None

    def update_shard(self) -> None:
        node, facts, shard = self.node, self.node.facts, self.node.shard
        now_us = node.clock()
        facts.lease_left_ms = (
            max(0, (shard.lease.lease_until_us - now_us) // 1000) if node.writer is not None else 0
        )
        facts.uncommitted_bytes = shard.uncommitted_bytes
        facts.held_bytes = shard.tracker.held_bytes
        if node.writer is not None:
            now_ms = node.wall_ms()
            facts.replicas = [
                ReplicaFact(
                    p.node, p.host, p.port, p.az, p.applied, now_ms - (now_us - p.heard_us) // 1000
                )
                for p in node.roles.live_peers(now_us)
            ]
            if facts.expected_replicas and now_ms - facts.role_since_ms > EXPECTED_MS:
                facts.expected_replicas = []
            facts.applied = facts.committed
            facts.applied_ms = now_ms

    def update_log(self) -> None:
        """Copy how the log nodes look from here; log a warning when too few can be reached."""
        states = self.node.log.node_states()
        top = max((state.committed for state in states), default=0)
        facts = self.node.facts
        facts.log_nodes = [
            LogNodeFact(
                s.address,
                s.az,
                s.connected,
                s.last[1] if s.last else -1,
                s.committed,
                s.last is not None and s.last[1] < top,
                False,
                s.error,
            )
            for s in states
        ]
        facts.durable_nodes = sum(state.connected for state in states)
        if not self.node.log.embedded:
            self.update_quorum()

    def update_quorum(self) -> None:
        states = self.node.log.node_states()
        away = [
            f"{state.address} ({state.error or 'not connected'})"
            for state in states
            if not state.connected
        ]
        text = ""
        if len(states) - len(away) <= len(states) // 2:
            text = (
                f"only {len(states) - len(away)} of {len(states)} log nodes can be reached, "
                f"going on trying; not reached: {', '.join(away)}"
            )
        if text != self._quorum_message:
            if text:
                log.warning("no-quorum", text=text)
            else:
                log.info(
                    "quorum",
                    text=f"{len(states) - len(away)} of {len(states)} log nodes are connected",
                )
            self._quorum_message = text

    def update_progress(self) -> None:
        """Once a second: how far the restore is, and whether the machine's clock has jumped."""
        node = self.node
        jumped_ms = node.wall.jumped_ms
        if jumped_ms and not self._jump_logged:
            log.warning(
                "clock-jump",
                text=f"the machine's clock jumped {jumped_ms} ms ahead: it is followed slowly, "
                "so that keys do not expire early",
            )
        self._jump_logged = jumped_ms > 0
        behind_ms = node.wall.behind_ms
        if (behind_ms > 0) is not self._behind_logged:
            self._behind_logged = behind_ms > 0
            if behind_ms:
                text = (
                    f"the machine's clock is {behind_ms} ms behind the time told here: it was "
                    "set back, or the log is ahead; time goes on"
                )
                log.warning("clock-set-back", text=text, behind_ms=behind_ms)
            else:
                log.info(
                    "clock-in-step",
                    text="the machine's clock is no longer behind the time told here",
                )
        node.facts.clock_ahead_ms, node.facts.clock_behind_ms = jumped_ms, behind_ms
        now_us = node.clock()
        node.follower.measure(now_us)
        if (
            node.roles.role == RESTORING
            and node.roles.target > node.follower.position
            and not node.roles.stuck
        ):
            log.info("restoring", text=node.follower.progress(node.roles.target, now_us))
