"""Schedules about a log node that replaces a lost one: S8.

The lost node is log-a. Either its disk is empty when it comes back, or another machine takes its
place while it continues, cut off together with the writer (``old``). The operator is `txlog
replace-node` itself.

Decides: the moments.
Must not know: which mutant each is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from random import Random
from typing import Any

from tests.sim.cluster import CLIENTS, LOG_PORT, LogMember
from tests.sim.directed.stage import NotStaged, Stage, schedule
from tests.sim.records import OK
from txlog.messages import Membership, Message, Reject
from txlog.server.identity import Identity
from txlog.tool_connection import AdminError, ToolConnection
from txlog.tools.replace import replace_node


def _empty(stage: Stage) -> None:
    """End log-a, and start it again at once on an empty disk."""
    log = stage.logs["a"]
    stage.run.faults.replacement._empty(log, Random(log.lives))
    stage.until(lambda: not log.alive, "log-a is killed")
    log.start()


def _elsewhere(stage: Stage) -> LogMember:
    """Start a new machine in log-a's place, and give the old one.
    The old one continues and reaches engine-a only.
    """
    cluster, old = stage.cluster, stage.logs["a"]
    stage.part(old, stage.logs["b"], stage.logs["c"], stage.engines["b"], stage.engines["c"])
    for pair in ((CLIENTS, old.host), (old.host, CLIENTS)):
        stage.network.link(*pair).blocked += 1
    fresh = LogMember(cluster, "log-a-new", "127.0.1.9", "a")
    fresh.identity = Identity(folder=f"{7:016x}")
    cluster.logs[cluster.logs.index(old)] = cluster.by_name[fresh.name] = stage.logs["a"] = fresh
    cluster.place(fresh)
    stage.part(fresh, stage.engines["a"])
    fresh.start()
    return old


def _operator(stage: Stage, old: LogMember | None = None) -> asyncio.Task[None]:
    """Run `txlog replace-node` again until it succeeds."""
    new = (stage.logs["a"].host, LOG_PORT)
    lost = (old.host, LOG_PORT) if old is not None else new
    named = [(stage.logs[az].host, LOG_PORT) for az in "bc"]

    async def operate() -> None:
        while True:
            try:
                await replace_node(
                    lost, new, named, None, 60, lambda text: stage.world.note("operator", text)
                )
                return
            except (AdminError, OSError, TimeoutError) as error:
                stage.world.note("operator", f"again: {error}")
                await asyncio.sleep(0.01)

    return _task(stage, operate())


def _task(stage: Stage, work: Awaitable[Any]) -> asyncio.Task[Any]:
    """Start a task on the machine of the clients."""
    made: list[asyncio.Task[Any]] = []
    loop = stage.cluster.clients
    stage.world.at(stage.world.now, loop, lambda: made.append(loop.create_task(work)))
    stage.until(lambda: made, "it begins")
    return made[0]


def _counts(stage: Stage) -> bool:
    acceptor = stage.acceptor("a")
    return acceptor is not None and acceptor.counts


async def _tell(log: LogMember, message: Message) -> Message:
    tool = ToolConnection((log.host, LOG_PORT), None)
    await tool.open()
    try:
        return await tool.ask(message)
    finally:
        tool.close()


@schedule()
def learner_that_hears_only_who_lacks_the_write(stage: Stage) -> None:
    """A write is on log-a and log-b when log-a loses its disk.
    While log-a is replaced, log-b is cut off, and a candidate asks the learner and log-c.
    """
    logs, engines = stage.logs, stage.engines
    stage.cut(engines["a"], logs["c"])
    stage.part(engines["c"], logs["a"], logs["b"])
    stage.told(stage.ask("a", ("SET", "r:0", "x")))
    stage.power_off(engines["a"])
    _empty(stage)
    _operator(stage)
    stage.until(lambda: stage.acceptor("a"), "the learner has made its log")
    stage.isolate(logs["b"])
    stage.heal(engines["c"], logs["a"])
    stage.keep_campaigning("c")
    stage.run_for(4000)
    stage.hold_back("c")
    stage.heal(logs["b"])
    stage.until(lambda: _counts(stage), "the learner counts")


@schedule()
def lease_that_the_lost_node_granted(stage: Stage) -> None:
    """The writer's lease is from log-a and log-b when log-a loses its disk and is replaced.
    Another candidate asks the learner and log-c without pause.
    """
    logs, engines = stage.logs, stage.engines
    node = engines["a"].node
    assert node is not None
    stage.part(engines["a"], logs["c"])
    stage.until(lambda: stage.window_left_ms("c") == 0, "log-c's window is closed")
    before = node.shard.lease.lease_until_us
    stage.until(lambda: node.shard.lease.lease_until_us > before, "engine-a renews")
    stage.part(engines["a"], logs["a"])
    stage.part(engines["c"], logs["b"])
    _empty(stage)
    _operator(stage)
    stage.keep_campaigning("c", 5)
    stage.until(lambda: stage.leads("c"), "engine-c leads")
    stage.expect(_counts(stage), "engine-c leads with a learner that does not count")


@schedule()
def writer_whom_the_lost_node_had_promised(stage: Stage) -> None:
    """log-a and log-b have promised engine-b, which has written nothing yet, when log-a is lost.
    Then engine-c asks the learner and log-c.
    """
    logs, engines = stage.logs, stage.engines
    stage.power_off(engines["a"])
    stage.part(engines["b"], logs["c"])
    stage.part(engines["c"], logs["a"], logs["b"])
    stage.keep_campaigning("b")
    stage.until(
        lambda: stage.proposer("b") and stage.proposer("b").state == "opening",
        "engine-b is promised",
    )
    stage.part(engines["b"], logs["a"], logs["b"])
    _empty(stage)
    _operator(stage)
    stage.heal(engines["c"], logs["a"])
    stage.elect("c")
    stage.expect(_counts(stage), "engine-c leads with a learner that does not count")


@schedule()
def operator_who_comes_late(stage: Stage) -> None:
    """A run of `replace-node` stands still before it gives log-b the second version.
    When it continues, the group is at its third version.
    """
    log = stage.logs["b"]
    for version in (2, 3):
        stale = Membership(log.identity.group_id, log.identity.membership, log.identity.members)
        _empty(stage)
        done = _operator(stage)
        # bound now
        stage.until(lambda done=done: done.done(), "the node is replaced")  # type: ignore[misc]
        stage.expect(
            log.identity.membership == version and _counts(stage),
            f"the group is at version {version}",
        )

    told = _task(stage, _tell(log, stale))
    stage.until(told.done, "log-b answers")
    stage.expect(
        log.identity.membership == 3,
        f"log-b went back to membership version {log.identity.membership}",
    )
    stage.expect(
        isinstance(told.exception(), AdminError) or isinstance(told.result(), Reject),
        "log-b took a lower version",
    )


@schedule()
def power_lost_behind_a_new_membership(stage: Stage) -> None:
    """log-b takes a new membership, answers the learner under it, and loses power.
    When it is back it meets the old writer, which still has the lost node.
    """
    logs, engines = stage.logs, stage.engines
    # log-b has no other node there that it could notify
    stage.network.reset_between(engines["a"].host, logs["b"].host, False)
    stage.part(engines["a"], logs["b"], logs["c"])
    old = _elsewhere(stage)
    _operator(stage, old)
    stage.until(
        lambda: stage.acceptor("a") and stage.acceptor("a").learner.state == "waiting",
        "the learner has copied all",
    )
    stage.power_off(logs["b"])
    stage.isolate(logs["b"])
    stage.run_for(20)
    stage.power_on(logs["b"])
    stage.heal(logs["b"], engines["a"])
    stage.keep_campaigning("a")
    stage.elect("c")
    stage.run_for(3000)
    stage.hold_back("a")
    stage.heal(old)
    stage.heal_all()


@schedule()
def writer_who_still_has_the_lost_node(stage: Stage) -> None:
    """The writer reaches log-b and the lost node while that node is replaced.
    When the learner counts, the writer writes, and another node asks the learner and log-c.
    """
    logs, engines = stage.logs, stage.engines
    stage.part(engines["a"], logs["c"])
    old = _elsewhere(stage)
    _operator(stage, old)
    stage.until(lambda: _counts(stage), "the learner counts")
    stage.ask("a", ("SET", "r:0", "x"))
    stage.run_for(50)
    stage.part(logs["b"], logs["a"], logs["c"], engines["b"], engines["c"])
    # it now gets all that it has not got yet
    stage.network.reset_between(engines["c"].host, logs["c"].host, False)
    stage.elect("c")
    stage.run_for(500)
    stage.heal(old)
    stage.heal_all()


@schedule(sync_us=15_000)
def ack_on_its_way_when_the_membership_changes(stage: Stage) -> None:
    """A write is on the lost node's disk and on its way to log-b's when log-b takes the new
    membership.
    The two acks are a majority of neither membership.
    """
    logs, engines = stage.logs, stage.engines
    stage.teach_slow_disks()
    stage.part(engines["a"], logs["c"])
    base, old = stage.last("a"), _elsewhere(stage)
    logs["b"].disk.slow_us = 400_000
    write = stage.ask("a", ("SET", "r:0", "x"))
    stage.until(
        lambda: stage.last("b") == old.driver._acceptor.durable == base + 1,
        "log-b has the write in memory and the lost node on disk",
    )
    before = logs["b"].identity
    fresh = stage.logs["a"]
    others = [member for member in before.members if not member.startswith(old.name)]
    members = sorted([f"a-{fresh.identity.folder[:8]}={fresh.host}:{LOG_PORT}", *others])
    # the operator's first step
    _task(stage, _tell(logs["b"], Membership(before.group_id, 2, members)))
    stage.until(lambda: logs["b"].identity.membership == 2, "log-b has the new membership")
    if stage.acceptor("b").durable != base:
        raise NotStaged("log-b's disk is slow")
    logs["b"].disk.slow_us = 0
    stage.until(lambda: stage.acceptor("b").durable == base + 1, "log-b has the write on disk")
    stage.run_for(100)
    stage.expect(
        write.records[0].outcome != OK,
        "a write was acknowledged by one node of the old membership and one of the new one",
    )
    _operator(stage, old)
    stage.until(lambda: _counts(stage), "the learner counts", 10)
    stage.heal(old)
    stage.heal_all()


@schedule()
def sealed_again_while_a_unit_gathers(stage: Stage) -> None:
    """A log node is replaced, so the term is sealed again; a write is under way and a unit gathers.
    The unit keeps a key that is about to expire, and comes after the write. The new term's
    LEADERSHIP goes between the two. A replica that has the log only up to there must not say that
    the key is gone.
    """
    one, two, reader = stage.caller("a"), stage.caller("a"), stage.caller("b")
    for caller in (one, two, reader):
        stage.told(caller.ask(("PING",)))
    stage.told(stage.ask("a", ("SET", "e:0", "v", "PX", "20")))
    _empty(stage)
    _operator(stage)
    stage.until(lambda: stage.proposer("a")._reseal is not None, "the term is being sealed again")
    one.ask(("SET", "r:0", "1"))
    stage.run_for(1)
    persisted = two.ask(("PERSIST", "e:0"))
    stage.run_for(1)
    if persisted.done:
        raise NotStaged("nothing gathers")
    term = stage.proposer("a").term
    stage.until(lambda: stage.proposer("a").term != term, "sealed again")
    stage.run_for(0.1)
    while not persisted.done:
        stage.told(reader.ask(("GET", "e:0")))
    stage.told(reader.ask(("GET", "e:0")))
