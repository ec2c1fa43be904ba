"""Schedules about what clients may see: the tracker, time, demotion, reads at replicas.

Decides: the moments. What the history at the end does not judge, an explicit promise states.
Must not know: which mutant each is for.
"""

from __future__ import annotations

from tests.sim.directed.stage import NotStaged, Stage, schedule
from tests.sim.records import EVENTUAL, SESSION

Command = tuple[str, ...]

# The state before, a write that is not committed, and a command that reads it. Each such read must
# wait for the commit.
LOOKS: dict[str, tuple[list[Command], Command, list[Command]]] = {
    "a read": ([], ("SET", "f:0", "1"), [("GET", "f:0")]),
    "a read of what is deleted": ([("SET", "f:1", "1")], ("DEL", "f:1"), [("EXISTS", "f:1")]),
    "a write that changes nothing": ([], ("SET", "f:2", "1"), [("SETNX", "f:2", "2")]),
    "an error": ([], ("SADD", "f:3", "m"), [("INCR", "f:3")]),
    "a count of all keys": ([], ("SET", "f:4", "1"), [("DBSIZE",)]),
    "a key looked up by a pattern": (
        [("RPUSH", "f:5", "1"), ("SET", "g:1", "a")],
        ("SET", "g:1", "b"),
        [("SORT", "f:5", "BY", "nosort", "GET", "g:*")],
    ),
    "a transaction": ([], ("SET", "f:6", "1"), [("MULTI",), ("GET", "f:6"), ("EXEC",)]),
    "a read after FLUSHDB": ([("SET", "f:7", "1")], ("FLUSHDB",), [("GET", "f:7")]),
}


@schedule()
def looks_at_what_is_not_committed(stage: Stage) -> None:
    """The log nodes' answers do not arrive while commands see an uncommitted write.
    No such command gets its answer before theirs arrive.
    """
    logs, engine = stage.cluster.logs, stage.engines["a"]
    for name, (before, write, look) in LOOKS.items():
        for command in before:
            stage.told(stage.ask("a", command))
        stage.run_for(20)
        writer, reader = stage.caller("a"), stage.caller("a")
        stage.told(writer.ask(("PING",)))
        stage.told(reader.ask(("PING",)))
        for log in logs:
            stage.cut(log, engine)
        written = writer.ask(write)
        stage.run_for(10)
        seen = reader.ask(*look)
        stage.run_for(40)
        stage.expect(not written.done, "a write was answered that no log node has confirmed")
        stage.expect(
            not seen.done,
            f"{name} was answered before the write it shows was committed: {seen.answer!r}",
        )
        stage.heal(engine)
        stage.told(seen)


@schedule(walls={"engine-c": 5000})
def replica_whose_clock_is_ahead(stage: Stage) -> None:
    """A key with an expiry is read at a replica whose clock is five seconds ahead.
    Then it is read at the primary.
    """
    stage.told(stage.ask("a", ("SET", "e:0", "v", "PX", "3000")))
    stage.run_for(300)
    stage.told(stage.ask("c", ("GET", "e:0")))
    stage.told(stage.ask("a", ("GET", "e:0")))


@schedule(walls={"engine-a": 3000})
def successor_whose_clock_is_behind(stage: Stage) -> None:
    """A key has expired by the primary's clock, and a client saw that it is gone.
    The next primary's clock is three seconds behind.
    """
    logs, engines = stage.logs, stage.engines
    # a deletion of the key in the log would show that the key is gone
    stage.told(stage.ask("a", ("DEBUG", "SET-ACTIVE-EXPIRE", "0")))
    stage.told(stage.ask("a", ("SET", "e:0", "v", "PX", "500")))
    stage.run_for(503)
    stage.told(stage.ask("a", ("SET", "r:0", "later")))
    stage.until(
        lambda: stage.acceptor("c").committed == stage.last("a"), "log-c knows it committed"
    )
    stage.part(engines["a"], *logs.values())
    gone = stage.ask("c", ("GET", "e:0"))
    stage.told(gone)
    if gone.answer is not None:
        raise NotStaged(f"the replica shows {gone.answer!r}")
    engines["a"].kill()
    stage.elect("b")
    stage.told(stage.ask("b", ("GET", "e:0")))


def _start_again(stage: Stage, az: str) -> None:
    engine = stage.engines[az]
    life = engine.lives
    engine.kill()
    stage.until(
        lambda: engine.lives > life and stage.role(az) == "replica",
        f"engine-{az} starts again and follows",
    )


@schedule(walls={"engine-a": 5000})
def predecessor_whose_clock_is_ahead(stage: Stage) -> None:
    """An idle primary whose clock is five seconds ahead is cut off and keeps its memory.
    Its lease ends seconds after its last entry. Its successor has just started: its time begins at
    the time of that entry. The successor sets a key with an expiry shorter than the difference. The
    key is read at both.
    """
    logs, engines = stage.logs, stage.engines
    stage.told(stage.ask("a", ("SET", "r:0", "1")))
    stage.run_for(2000)
    _start_again(stage, "b")
    stage.part(engines["a"], *logs.values())
    stage.until(lambda: stage.role("a") == "restoring", "engine-a is demoted")
    stage.elect("b")
    stage.heal(engines["a"])
    stage.until(lambda: stage.role("a") == "replica", "engine-a follows")
    stage.told(stage.ask("b", ("SET", "e:0", "v", "PX", "1500")))
    stage.told(stage.ask("a", ("GET", "e:0")))
    stage.told(stage.ask("b", ("GET", "e:0")))


@schedule(walls={"engine-a": 3000})
def watched_key_that_expires(stage: Stage) -> None:
    """A transaction does not run because a watched key has expired by the primary's clock.
    The primary dies, and the next one starts when the lease is over. Its own clock is three seconds
    behind, and its time begins at the time of the newest entry.
    """
    stage.power_off(stage.engines["b"])
    # a deletion of the key in the log would show that the key is gone
    stage.told(stage.ask("a", ("DEBUG", "SET-ACTIVE-EXPIRE", "0")))
    # an idle primary writes its time after a second
    stage.told(stage.ask("a", ("SET", "e:0", "v", "PX", "900")))
    watcher = stage.caller("a")
    stage.told(watcher.ask(("WATCH", "e:0")))
    stage.run_for(903)
    if stage.told(watcher.ask(("MULTI",), ("GET", "r:0"), ("EXEC",))) is not None:
        raise NotStaged("the transaction ran")
    stage.run_for(20)
    stage.engines["a"].kill()
    stage.run_for(1500)
    stage.power_on(stage.engines["b"])
    stage.elect("b")
    shown = stage.told(stage.ask("b", ("GET", "e:0")))
    stage.expect(
        shown is None, f"a key whose expiry has stopped a transaction is there again: {shown!r}"
    )


@schedule()
def primary_that_wakes(stage: Stage) -> None:
    """A primary without anything under way is stopped for three leases; another leads and writes.
    When the first one wakes, it answers a read that lies in its socket. It may keep its memory, but
    may show it only after it has followed the log to its end.
    """
    engines = stage.engines
    stage.told(stage.ask("a", ("SET", "r:0", "old")))
    reader = stage.caller("a", EVENTUAL)
    stage.told(reader.ask(("GET", "r:0")))
    stage.run_for(100)
    engines["a"].pause(4_000_000)
    stage.elect("b")
    stage.told(stage.ask("b", ("SET", "r:0", "new")))
    stage.run_for(1000)
    lain = reader.ask(("GET", "r:0"))
    stage.expect(
        stage.told(lain) != b"old",
        "a node that was no primary for seconds showed what it held when it still was",
    )


@schedule()
def session_on_a_node_that_starts_again(stage: Stage) -> None:
    """A primary is demoted with a write under way, and follows the log from a lagging log node.
    A session's reads must not go back.
    """
    logs, engines = stage.logs, stage.engines
    stage.cut(engines["a"], logs["a"])
    session = stage.caller("a", SESSION)
    stage.told(session.ask(("APPEND", "{j}:0", "1.1,")))
    stage.told(session.ask(("GET", "{j}:0")))
    stage.part(engines["a"], logs["b"], logs["c"])
    stage.part(logs["a"], logs["b"], logs["c"])
    stage.ask("a", ("SET", "r:0", "x"))
    stage.until(lambda: stage.role("a") == "restoring", "engine-a is demoted")
    stage.network.reset_between(engines["a"].host, logs["a"].host, False)
    stage.heal(engines["a"], logs["a"])
    stage.until(lambda: stage.role("a") == "replica", "engine-a follows log-a")
    session.ask(("GET", "{j}:0"))
    stage.run_for(300)


@schedule()
def one_of_many_members(stage: Stage) -> None:
    """Random members are removed from a set; every node must have lost the same members."""
    stage.told(stage.ask("a", ("SADD", "f:0", *[f"member-{number}" for number in range(100)])))
    for _ in range(20):
        stage.told(stage.ask("a", ("SPOP", "f:0")))
    stage.run_for(50)
