"""Schedules about the named primary when paths are lost or everything starts again.

A living primary is named by each node that can see its window at any log node. A dead one is not
named for longer than its window. No node names itself.

Decides: the moments.
Must not know: which mutant each is for.
"""

from __future__ import annotations

from typing import Any

from tests.sim.directed.stage import Stage, schedule


def facts(stage: Stage, az: str) -> Any:
    node = stage.engines[az].node
    assert node is not None
    return node.facts


@schedule()
def primary_seen_through_other_log_nodes(stage: Stage) -> None:
    """A quiet shard: the primary loses its path to the one log node that a replica reads.
    The path is lost for six seconds; then the primary hands over to that replica.
    """
    engines, logs = stage.engines, stage.logs
    stage.let("b")
    client = stage.caller("a")
    stage.told(client.ask(("SET", "r:0", "1.1")))
    stage.part(engines["a"], logs["b"])
    campaigns = stage.world.counters["candidate"]
    for _ in range(60):
        stage.run_for(100)
        stage.expect(
            facts(stage, "b").primary_host == engines["a"].host,
            "a replica names the primary whose window other log nodes have open",
        )
    stage.expect(
        stage.world.counters["candidate"] - campaigns <= 2,
        "a replica that sees the primary's window does not campaign again and again",
    )
    stage.expect(stage.leads("a"), "the primary keeps its role")
    stage.told(client.ask(("SET", "r:0", "1.2")))
    stage.expect(
        stage.told(client.ask(("WAIT", "2", "3000"))) == 2,
        "a replica that reads another log node counts for WAIT",
    )
    successor = facts(stage, "b").node_id
    stage.ask("a", ("MEMSTORE", "HANDOVER", successor))
    stage.until(lambda: stage.leads("b"), "engine-b leads")


@schedule()
def dead_primary_behind_a_lost_path(stage: Stage) -> None:
    """The same, and the primary dies.
    It is named no longer than its window lasts, and the replica takes over.
    """
    engines, logs = stage.engines, stage.logs
    stage.let("b")
    stage.part(engines["a"], logs["b"])
    stage.run_for(3000)
    stage.power_off(engines["a"])
    stage.until(
        lambda: all(stage.window_left_ms(az) == 0 for az in "abc"), "all windows are closed"
    )
    stage.hold_back("b")
    stage.run_for(700)
    stage.expect(
        facts(stage, "b").primary_host != engines["a"].host,
        "a dead primary is not named when its windows have closed",
    )
    stage.let("b")
    for _ in range(40):
        if stage.leads("b"):
            return
        stage.run_for(50)
    stage.expect(False, "the replica takes over within two seconds")


@schedule()
def everything_starts_again(stage: Stage) -> None:
    """Every process starts again; the newest LEADERSHIP entry names a process that is gone.
    Its address now belongs to a node that follows.
    """
    for number in range(5):
        stage.told(stage.ask("a", ("SET", "r:0", f"1.{number}")))
    stage.run_for(500)  # the nodes record what is committed
    for member in stage.members:
        member.kill()
    stage.until(
        lambda: all(engine.node is not None and engine.alive for engine in stage.engines.values()),
        "the engines run again",
    )
    for _ in range(40):
        stage.run_for(25)
        if stage.cluster.primary is not None:
            break
        for az, engine in stage.engines.items():
            if engine.node is not None:
                named = facts(stage, az).primary_host
                stage.expect(
                    not named,
                    f"no primary is known while none leads, and engine-{az} names {named}",
                )
    for az in "abc":
        stage.let(az)
