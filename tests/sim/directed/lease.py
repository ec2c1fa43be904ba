"""Schedules about the lease: L1, L2, L4.

Decides: the moments. The checkers verify after every event that two nodes never hold the lease at
one true time.
Must not know: which mutant each is for.
"""

from __future__ import annotations

from random import Random

from tests.sim.directed.stage import NotStaged, Stage, alone, schedule
from tests.sim.disk import Disk
from tests.sim.lone_store import open_store
from tests.sim.world import Violation, World
from txlog.consensus.acceptor import Acceptor
from txlog.consensus.outputs import Send
from txlog.entry import GENESIS_CHAIN, NO_ENTRY
from txlog.messages import Append, Promised, Renew, Renewed, Seal


@schedule(segment_bytes=32 * 1024)
def refused_by_full_disks(stage: Stage) -> None:
    """Two log nodes are full and refuse the writer's messages again and again.
    When their windows have closed they have room, and another node asks.
    """
    logs, engines = stage.logs, stage.engines
    for az in "bc":
        logs[az].disk.full = True
    for number in range(40):
        if not any(stage.acceptor(az).has_room for az in "bc"):
            break
        stage.told(stage.ask("a", ("SET", f"r:{number % 6}", f"{number}." + "x" * 3000)))
        stage.run_for(25)
    stage.until(lambda: not any(stage.acceptor(az).has_room for az in "bc"), "two nodes are full")
    stage.ask("a", ("SET", "r:0", "x"))
    stage.until(
        lambda: all(stage.window_left_ms(az) == 0 for az in "bc"), "the windows of both are closed"
    )
    stage.part(engines["a"], logs["b"], logs["c"])
    for az in "bc":
        logs[az].disk.full = False
    stage.keep_campaigning("b")
    stage.run_for(1500)
    stage.hold_back("b")


@schedule(clocks={"engine-a": -30_300, "log-b": 30_300, "log-c": 30_300})
def clocks_at_the_bound(stage: Stage) -> None:
    """The writer's clock is as slow as allowed and the clocks of two log nodes are as quick as
    allowed.
    The writer loses both nodes just after they renewed, and another node asks without pause.
    """
    logs, engines = stage.logs, stage.engines
    node = engines["a"].node
    assert node is not None
    before = node.shard.lease.lease_until_us
    stage.until(lambda: node.shard.lease.lease_until_us > before, "engine-a renews")
    stage.part(engines["a"], logs["b"], logs["c"])
    stage.run_for(930)
    stage.keep_campaigning("b", 1)
    stage.until(lambda: stage.leads("b"), "engine-b leads")


@schedule(sync_us=15_000)
def window_while_the_disk_works(stage: Stage) -> None:
    """A new writer's first entry is on its way to one node's disk; a candidate has read that entry.
    The candidate asks that node and one that lacks the entry.
    """
    logs, engines = stage.logs, stage.engines
    stage.teach_slow_disks()
    base = stage.last("a")
    stage.power_off(engines["a"])
    stage.until(
        lambda: all(stage.window_left_ms(az) == 0 for az in "abc"), "all windows are closed"
    )
    stage.part(engines["c"], logs["a"])
    stage.keep_campaigning("b")
    stage.until(
        lambda: stage.proposer("b") and stage.proposer("b").state == "opening",
        "engine-b is promised",
    )
    stage.cut(engines["b"], logs["c"])
    logs["b"].disk.slow_us = 60_000
    stage.until(lambda: stage.last("b") == base + 1, "log-b has its first entry in memory")
    stage.cut(engines["b"], logs["b"])  # its answers still arrive
    stage.campaign("c")
    stage.run_for(1)
    logs["b"].disk.slow_us = 0
    stage.run_for(400)
    stage.hold_back("c")


@schedule()
def release_names_one(stage: Stage) -> None:
    """The primary hands over to engine-b while engine-c campaigns without pause.
    For half a lease the log nodes admit only the named node.
    """
    # it runs
    stage.until(
        lambda: (
            len(stage.engines["a"].node.roles.live_peers(stage.engines["a"].clock.now_us())) == 2
        ),
        "both replicas report",
    )  # type: ignore[union-attr]
    stage.let("b")
    stage.ask("a", ("MEMSTORE", "HANDOVER", f"{stage.engines['b'].host}:6379"))
    stage.keep_campaigning("c", 0.5)
    stage.until(lambda: stage.leads("b") or stage.leads("c"), "somebody leads")
    stage.expect(stage.leads("b"), "engine-c leads, and the Release named engine-b")
    stage.hold_back("c")


@schedule()
def restarted_nodes_and_a_living_lease(stage: Stage) -> None:
    """Two log nodes start again while the writer's lease lives.
    Their promises and grants bind them although they do not remember them (L3).
    """
    logs, engines = stage.logs, stage.engines
    stage.told(stage.ask("a", ("SET", "r:0", "x")))
    stage.part(engines["a"], logs["b"], logs["c"])
    logs["b"].kill()
    logs["c"].kill()
    stage.keep_campaigning("b", 5)
    stage.until(lambda: stage.leads("b"), "engine-b leads")


@schedule()
def answers_that_take_half_a_lease(stage: Stage) -> None:
    """A renewal reaches two log nodes at once, and their answers take half a lease.
    No other message arrives, and another node asks when the windows close.
    """
    logs, engines = stage.logs, stage.engines
    for az in "bc":
        stage.network.link(logs[az].host, engines["a"].host).delay_us += 500_000
    stage.run_for(1)
    before = {az: stage.window_left_ms(az) for az in "bc"}
    stage.until(
        lambda: all(stage.window_left_ms(az) > before[az] for az in "bc"), "both have renewed"
    )
    stage.cut(engines["a"], logs["b"], logs["c"])
    stage.run_for(950)
    stage.keep_campaigning("b", 5)
    stage.until(lambda: stage.leads("b"), "engine-b leads")
    for az in "bc":
        stage.network.link(logs[az].host, engines["a"].host).delay_us -= 500_000


@schedule()
def hand_over_while_writes_are_under_way(stage: Stage) -> None:
    """The primary must hand over while one write is on its way to the log nodes.
    The next write is executed and waits for the first.
    """
    engine = stage.engines["a"]
    # it runs
    stage.until(
        lambda: len(engine.node.roles.live_peers(engine.clock.now_us())) == 2,
        "both replicas report",
    )  # type: ignore[union-attr]
    stage.let("b")
    callers = [stage.caller("a") for _ in range(3)]
    for caller in callers:
        stage.told(caller.ask(("PING",)))
    for log in stage.cluster.logs:
        stage.network.link(log.host, engine.host).delay_us += 60_000
    writes = [callers[0].ask(("SET", "r:0", "1"))]
    stage.run_for(5)
    writes.append(callers[1].ask(("SET", "r:1", "2")))
    stage.run_for(5)
    stage.expect(
        not writes[0].done and not writes[1].done,
        "a write was answered that no log node has confirmed",
    )
    callers[2].ask(("MEMSTORE", "HANDOVER"))
    for write in writes:
        stage.told(write)
    stage.until(lambda: stage.leads("b") or stage.leads("c"), "another leads")
    for log in stage.cluster.logs:
        stage.network.link(log.host, engine.host).delay_us -= 60_000


@alone
def renewed_before_the_promise_is_on_disk() -> None:
    """A new node gets its first writer's Append and a Renew before its disk has the promise.
    The Renew comes from the writer's helper thread (L7), which the simulator's cluster lacks. Then
    the power fails. An answer `Renewed` would be a window that no node remembers: a node that never
    promised does not wait (L3).
    """
    disk = Disk(World(1), "h")
    disk._keep_some = lambda inode: None  # type: ignore[method-assign]  # what survives here

    def life(now_us: int) -> Acceptor:
        store = open_store(disk)
        return Acceptor(store.recovered, store, ["b", "c"], Random(1), now_us)

    acceptor = life(1_000_000)
    acceptor.on_message(1, Seal(1, b"w", b"r", NO_ENTRY, 1000, False), 1_000_000)
    acceptor.on_message(
        1, Append(1, b"w", b"r", 1000, 1, NO_ENTRY, GENESIS_CHAIN, 0, [], b"", 0), 1_000_000
    )
    acceptor.on_message(1, Renew(1, b"w", b"r", 1000, 2), 1_001_000)
    renewed = any(
        isinstance(output, Send) and isinstance(output.message, Renewed)
        for output in acceptor.take_outputs()
    )
    disk.lose_power()
    acceptor = life(1_100_000)
    acceptor.on_message(1, Seal(2, b"other", b"s", NO_ENTRY, 1000, True), 1_200_000)
    promised = any(
        isinstance(output, Send) and isinstance(output.message, Promised)
        for output in acceptor.take_outputs()
    )
    if not promised:
        raise NotStaged("a node that never promised makes another wait")
    if renewed:
        raise Violation("a node renewed a lease and would promise another writer while it runs")


@alone
def append_without_a_seal() -> None:
    """A session without a promise from any log node appends in a higher term.
    Meanwhile the elected writer's lease runs on two nodes.
    """
    disk = Disk(World(1), "h")
    store = open_store(disk)
    acceptor = Acceptor(store.recovered, store, ["b", "c"], Random(1), 1_000_000)
    acceptor.on_message(1, Seal(1, b"w", b"r", NO_ENTRY, 1000, False), 1_000_000)
    acceptor.on_message(
        1, Append(1, b"w", b"r", 1000, 1, NO_ENTRY, GENESIS_CHAIN, 0, [], b"", 0), 1_000_000
    )
    if acceptor.window_writer != b"w":
        raise NotStaged("the elected writer has no window")
    acceptor.on_message(
        2, Append(2, b"foreign", b"s", 1000, 1, NO_ENTRY, GENESIS_CHAIN, 0, [], b"", 0), 1_100_000
    )
    if acceptor.window_writer != b"w" or acceptor.promise.term != 1:
        raise Violation(
            "an Append of a session that never sealed fenced the writer and took its window, "
            "while its lease runs"
        )
