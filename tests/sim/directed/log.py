"""Schedules about what counts as held and committed: W3, A1, A2, S2, S3.

Decides: the moments. ``base`` is the last position before a schedule begins.
Must not know: which mutant each is for (`tests.sim.mutants` names them).
"""

from __future__ import annotations

from tests.sim.directed.stage import Stage, schedule


def _sets(count: int, mark: str) -> list[tuple[str, str, str]]:
    return [("SET", f"r:{number}", f"{mark}.{number}") for number in range(count)]


@schedule(message_bytes=1, window_entries=1)
def older_entry_on_a_majority(stage: Stage) -> None:
    """Raft's figure 8: an entry of a dead writer's term reaches a majority under a later term.
    An entry of a term between the two replaces it.
    """
    logs, engines = stage.logs, stage.engines
    base = stage.last("a")
    stage.cut(engines["a"], logs["b"], logs["c"])
    stage.ask("a", ("SET", "r:0", "x"))
    stage.until(lambda: stage.acceptor("a").durable == base + 1, "log-a alone holds the entry")
    stage.power_off(engines["a"])
    stage.isolate(logs["a"])

    stage.keep_campaigning("b")
    stage.until(
        lambda: stage.proposer("b") and stage.proposer("b").state == "opening",
        "engine-b is promised",
    )
    stage.cut(engines["b"], logs["c"])
    stage.until(
        lambda: stage.acceptor("b").durable == base + 1, "log-b alone holds the second term's entry"
    )
    stage.power_off(engines["b"])
    stage.isolate(logs["b"])
    stage.heal(logs["a"], logs["c"], engines["c"])

    stage.keep_campaigning("c")
    stage.until(
        lambda: stage.last("c") == base + 1, "log-c takes the first term's entry from engine-c"
    )
    stage.cut(engines["c"], logs["c"])
    stage.run_for(20)
    stage.power_off(engines["c"])
    stage.isolate(logs["a"])
    stage.heal(logs["b"], logs["c"], engines["a"])
    stage.heal(engines["a"], logs["c"])

    stage.power_on(engines["a"])
    stage.elect("a", 10)


@schedule(message_bytes=1, window_entries=3, max_entry_bytes=32)
def longer_foreign_tail(stage: Stage) -> None:
    """A node that holds a dead writer's longer tail confirms the first shared entry of it.
    The rest of that tail is not the new writer's.
    """
    logs, engines = stage.logs, stage.engines
    base = stage.last("a")
    stage.cut(logs["a"], engines["a"])
    stage.cut(logs["b"], engines["a"])
    stage.cut(engines["a"], logs["c"])
    stage.pipeline("a", *_sets(6, "a"))
    stage.until(
        lambda: stage.last("a") == stage.last("b") == base + 3,
        "two nodes hold three entries, nobody knows them committed",
    )
    stage.heal(logs["a"], engines["a"])
    stage.until(lambda: stage.acceptor("a").durable == base + 6, "log-a holds three more")
    stage.power_off(engines["a"])
    stage.heal(engines["a"])
    stage.isolate(logs["a"])

    stage.elect("b")
    stage.part(logs["c"], engines["b"])
    stage.pipeline("b", *_sets(5, "b"))
    stage.until(
        lambda: stage.acceptor("b").durable == base + 9,
        "log-b holds more of engine-b than log-a of engine-a",
    )
    stage.network.reset_between(engines["b"].host, logs["a"].host, False)
    stage.heal(logs["a"])
    stage.until(lambda: stage.last("a") == base + 9, "log-a has followed")


@schedule(sync_us=15_000, clocks={"log-b": 9_000_000, "log-c": 9_000_000})
def sealed_over_what_is_on_its_way_to_disk(stage: Stage) -> None:
    """An entry is in a node's memory when a candidate that has not seen it asks for the promise.
    The node's disk takes the entry a moment later.
    """
    logs, engines = stage.logs, stage.engines
    stage.teach_slow_disks()
    stage.until(
        lambda: all(stage.window_left_ms(az) == 0 for az in "bc"),
        "the quick clocks' windows are closed",
    )
    base = stage.last("a")
    stage.campaign("b")
    stage.until(
        lambda: stage.proposer("b") and stage.proposer("b").state == "probing",
        "engine-b has read the log",
    )
    engines["b"].pause(125_000)
    stage.run_for(3)
    stage.cut(engines["a"], logs["c"])
    logs["b"].disk.sync_us = 180_000
    write = stage.ask("a", ("SET", "r:0", "x"))
    stage.until(lambda: stage.last("b") == base + 1, "log-b has the entry in memory")
    stage.expect(stage.acceptor("b").durable == base, "the disk is slow")
    stage.cut(engines["a"], logs["b"])
    stage.run_for(1)
    logs["b"].disk.sync_us = stage.cluster.settings.sync_us
    stage.keep_campaigning("b")
    stage.told(write)
    stage.run_for(500)
    stage.heal(engines["a"])


@schedule(message_bytes=1, window_entries=1)
def bad_sector_over_several_entries(stage: Stage) -> None:
    """Four acknowledged entries rot on one node; their writer gives it two of them back and dies.
    The other node that has the entries is away.
    """
    logs, engines = stage.logs, stage.engines
    base = stage.last("a")
    stage.cut(engines["a"], logs["c"])
    for command in _sets(4, "a"):
        stage.told(stage.ask("a", command))
    stage.part(logs["a"], logs["b"], logs["c"], engines["b"], engines["c"])
    stage.rot(logs["b"], base + 1, base + 2, base + 3, base + 4)
    logs["b"].kill()
    stage.until(lambda: stage.last("b") == base + 2, "log-b has two of them again")
    stage.cut(engines["a"], logs["b"])
    stage.power_off(engines["a"])
    stage.isolate(logs["a"])
    stage.keep_campaigning("c")
    stage.run_for(3000)
    stage.hold_back("c")


@schedule()
def rotten_entry_that_others_lack(stage: Stage) -> None:
    """The only node that acknowledged an entry loses it to a bad sector while the others lack it.
    Then one of the others takes the entry, which makes it committed.
    """
    logs, engines = stage.logs, stage.engines
    base = stage.last("a")
    stage.cut(engines["a"], logs["a"], logs["c"])
    write = stage.ask("a", ("SET", "r:0", "x"))
    stage.until(
        lambda: stage.proposer("a")._progress[1].match == base + 1, "log-b has acknowledged it"
    )
    stage.part(engines["a"], logs["b"])
    stage.rot(logs["b"], base + 1)
    logs["b"].kill()
    stage.until(lambda: not logs["b"].alive, "log-b is killed")
    stage.until(lambda: stage.acceptor("b") is not None, "log-b is back")
    stage.run_for(30)  # it has asked the others
    stage.heal(engines["a"], logs["a"])
    stage.told(write)
    stage.power_off(engines["a"])
    stage.isolate(logs["a"])
    stage.keep_campaigning("c")
    stage.run_for(3000)
    stage.hold_back("c")


@schedule()
def stale_copy_for_a_rotten_entry(stage: Stage) -> None:
    """A committed entry rots on a node.
    The only node that it can ask holds another writer's entry of that position.
    """
    logs, engines = stage.logs, stage.engines
    base = stage.last("a")
    # longer than the entry that will rot: nothing of that entry remains after it
    stage.cut(engines["a"], logs["a"], logs["b"])
    stage.ask("a", ("SET", "r:0", "x" * 1000))
    stage.until(lambda: stage.acceptor("c").durable == base + 1, "log-c alone holds the entry")
    stage.power_off(engines["a"])
    stage.isolate(logs["c"])
    stage.elect("b")
    stage.expect(stage.last("b") == base + 1, "one entry was written")
    stage.isolate(logs["a"])
    stage.power_off(engines["b"])
    stage.rot(logs["b"], base + 1)
    logs["b"].kill()
    stage.heal(logs["c"], logs["b"], engines["c"])
    stage.keep_campaigning("c")
    stage.run_for(3000)
    stage.hold_back("c")


@schedule()
def tail_asked_of_a_suspect_node(stage: Stage) -> None:
    """A strong read at a replica while two nodes hold the newest write.
    One of the two is away, and the other has lost the write to a bad sector.
    """
    logs, engines = stage.logs, stage.engines
    base = stage.last("a")
    stage.cut(engines["a"], logs["c"])
    stage.told(stage.ask("a", ("SET", "r:0", "x")))
    stage.part(logs["a"], logs["b"], logs["c"], engines["b"], engines["c"])
    stage.part(engines["a"], logs["b"])
    stage.rot(logs["b"], base + 1)
    logs["b"].kill()
    stage.until(lambda: not logs["b"].alive, "log-b is killed")
    stage.until(lambda: stage.acceptor("b") is not None, "log-b is back")
    stage.run_for(300)
    stage.told(stage.ask("c", ("GET", "r:0")))
