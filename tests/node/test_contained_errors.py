"""An error of the program in a command.

Nothing of the command's unit reaches the log. Everything before it is answered. The node ends where
memory and log could differ. The errors are planted in rows of the command table, so they work on
interpreted and on compiled modules.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Any

import pytest
from _pytest.outcomes import Failed

from memstore.commands import build_table
from memstore.engine.command import Handler
from memstore.engine.engine import Engine, HalfDone
from memstore.engine.settings import Settings
from memstore.node.client_connection import ClientConnection
from memstore.replication.dispatch import Dispatcher
from memstore.replication.follower import Follower
from memstore.replication.shard import Shard
from memstore.replication.units import EntryBuilder
from tests.node.harness import Host, Socket, another, connected, encoded, turns
from tests.replication.test_recovery import Log
from tests.replication.test_shard import Node
from tests.sim.mutant import Mutant
from tests.sim.mutants import plant as plant_mutant

ERRORS = [
    RuntimeError("a bug"),
    TypeError("a bug"),
    SystemError("a bug"),
    KeyError("a bug"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a bug"),
]
COMMANDS = [(b"SET", b"a", b"1"), (b"GET", b"a")]
ANSWERS = b"+OK\r\n$1\r\n1\r\n"


def plant(engine: Engine, name: bytes, error: Exception, after: Handler | None = None) -> None:
    """From now on the command first does what ``after`` does, and then raises ``error``."""

    def broken(context: Any, argv: list[bytes]) -> bytes:
        if after is not None:
            after(context, argv)
        raise error

    engine.table[name].handler = broken


def half_a_write(context: Any, argv: list[bytes]) -> bytes:
    """Change memory twice, and note only one of the changes."""
    context.database.put(argv[1], b"half")
    context.effect(b"SET", argv[1], b"half")
    context.database.put(argv[1] + b"2", b"half")
    return b""


def payloads(node: Node) -> bytes:
    return b"".join([payload for _, payload, _, _ in node.log])


def commit(host: Host) -> None:
    host.node.append()
    for session, data in host.shard.on_committed(host.shard.next_position - 1):
        session.sink.released(data)
    turns(host)


def send(connection: Any, *commands: tuple[bytes, ...]) -> None:
    connection.data_received(b"".join([encoded(*command) for command in commands]))


@pytest.fixture
def host() -> Host:
    return Host(Node())


def client(host: Host) -> tuple[Any, Socket]:
    return another(host)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_read_costs_its_client_the_connection_and_nothing_else(
    host: Host, error: Exception
) -> None:
    (one, socket), (other, other_socket) = client(host), client(host)
    plant(host.node.engine, b"STRLEN", error)
    send(one, *COMMANDS, (b"STRLEN", b"a"), (b"SET", b"b", b"2"))
    assert [type(bug) for bug in host.bugs] == [type(error)] and not host.shard.failed
    assert one.session.closing and socket.reading, "it is closed when what came before is answered"
    commit(host)
    assert socket.sent == ANSWERS and not socket.reading
    one.connection_lost(None)
    send(other, (b"GET", b"a"), (b"EXISTS", b"b"))
    turns(host)
    assert other_socket.sent == b"$1\r\n1\r\n:0\r\n" and payloads(host.node) == encoded(
        b"SET", b"a", b"1"
    )


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_write_ends_the_node_and_nothing_of_it_reaches_the_log(
    host: Host, error: Exception
) -> None:
    (one, socket), (other, other_socket) = client(host), client(host)
    plant(host.node.engine, b"APPEND", error, half_a_write)
    send(one, *COMMANDS, (b"APPEND", b"a", b"x"), (b"SET", b"b", b"2"))
    assert [type(bug) for bug in host.bugs] == [HalfDone] and host.bugs[0].__cause__ is error
    nothing_more_runs(host, one, other, other_socket)
    assert socket.sent == ANSWERS and not socket.reading


def test_a_write_that_has_noted_nothing_yet_ends_the_node_too(host: Host) -> None:
    (one, _), (other, other_socket) = client(host), client(host)
    plant(
        host.node.engine,
        b"APPEND",
        ERRORS[0],
        lambda context, argv: context.database.put(argv[1], b"half"),
    )
    send(one, *COMMANDS, (b"APPEND", b"a", b"x"))
    assert [type(bug) for bug in host.bugs] == [HalfDone]
    nothing_more_runs(host, one, other, other_socket)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", [b"APPEND", b"STRLEN"])
def test_exec_ends_the_node_and_nothing_of_it_reaches_the_log(
    host: Host, name: bytes, error: Exception
) -> None:
    (one, socket), (other, other_socket) = client(host), client(host)
    plant(host.node.engine, name, error, half_a_write if name == b"APPEND" else None)
    command = (b"APPEND", b"a", b"x") if name == b"APPEND" else (b"STRLEN", b"a")
    send(
        one,
        *COMMANDS,
        (b"MULTI",),
        (b"INCRBY", b"acct", b"100"),
        command,
        (b"DECRBY", b"acct2", b"100"),
        (b"EXEC",),
        (b"SET", b"b", b"2"),
    )
    assert [type(bug) for bug in host.bugs] == [HalfDone]
    nothing_more_runs(host, one, other, other_socket)
    assert socket.sent == ANSWERS + b"+OK\r\n" + 3 * b"+QUEUED\r\n" and not socket.reading


def nothing_more_runs(host: Host, one: Any, other: Any, other_socket: Socket) -> None:
    """Clients send more, and any client may leave: the log gets only what came before the error.
    No answer shows memory.
    """
    shard = host.shard
    assert shard.failed and not shard.fast_path_open and not shard.clean and not shard.drained
    assert not shard.context.unit and not shard.context.changed, (
        "half a unit is there, to be appended with the next one"
    )
    send(other, (b"GET", b"a"), (b"INCR", b"n"), (b"MULTI",), (b"EXEC",))
    send(other, (b"PING",))
    commit(host)
    assert shard.drained and not shard.clean
    one.connection_lost(None)
    shard.end_handover_pause()
    shard.resume()
    turns(host)
    commit(host)
    assert not other_socket.sent and len(other.session.parked) == 5
    assert payloads(host.node) == encoded(b"SET", b"a", b"1")


def test_memory_made_again_from_the_log_serves_again(host: Host) -> None:
    one, _ = client(host)
    plant(host.node.engine, b"APPEND", ERRORS[0], half_a_write)
    send(one, (b"APPEND", b"a", b"x"))
    assert host.shard.failed
    host.shard.demote(1)
    host.shard.on_rebuild()
    assert not host.shard.failed and host.shard.clean


def test_an_error_in_the_nodes_own_work_keeps_what_it_gathered_from_the_log(node: Node) -> None:
    def work(context: Any) -> None:
        half_a_write(context, [b"", b"a"])
        raise RuntimeError("a bug")

    one = node.session()
    with pytest.raises(RuntimeError):
        node.shard.run_internal(work, node.wall_ms)
    assert node.do(one, "GET a") == b"" and node.shard.failed
    node.append()
    assert not node.log


@pytest.fixture
def node() -> Node:
    return Node()


def apply(engine: Engine, payload: bytes) -> Follower:
    follower, log = Follower(engine, 0), Log()
    log.add(payload)
    log.add(encoded(b"SET", b"later", b"1"))
    follower.feed(log.entries)
    while follower.pending and not follower.stuck:
        follower.step(1 << 20)
    return follower


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_replica_stops_in_front_of_an_entry_that_it_cannot_apply(error: Exception) -> None:
    engine = Engine(Settings(), Random(1), build_table())
    plant(engine, b"APPEND", error, half_a_write)
    follower = apply(engine, encoded(b"SET", b"a", b"1") + encoded(b"APPEND", b"a", b"x"))
    assert follower.followed[1] == 0 and "position 1 cannot be applied" in follower.stuck
    assert follower.broke is not isinstance(error, ValueError), (
        "what the log says and an error of the program are told apart"
    )
    assert engine.keyspace.database(0).get(b"later") is None and not engine.context.unit


def test_what_the_log_says_wrongly_is_no_error_of_the_program() -> None:
    follower = apply(Engine(Settings(), Random(1), build_table()), encoded(b"NOTHING", b"a"))
    assert "NOTHING is no effect" in follower.stuck and not follower.broke


def test_a_read_that_fails_is_closed_at_once_when_nothing_is_held() -> None:
    _, connection, socket = connected(Node())
    plant(connection.engine, b"GET", ERRORS[0])
    send(connection, (b"EXISTS", b"a"), (b"GET", b"a"))
    connection.budget.flush()
    assert socket.sent == b":0\r\n" and not socket.reading


# ------------------------------ each guard is needed: deliberate bugs, and the test that finds each

E = ERRORS[0]
GUARDS: dict[str, tuple[Mutant, Callable[[], None]]] = {
    "half-a-unit-stays": (
        Mutant(
            "the failed unit is not dropped",
            EntryBuilder,
            "_drop_unit",
            "context.unit.clear()",
            "pass",
        ),
        lambda: test_a_write_ends_the_node_and_nothing_of_it_reaches_the_log(Host(Node()), E),
    ),
    "half-a-transaction-stays": (
        Mutant(
            "the failed transaction is not dropped",
            EntryBuilder,
            "_drop_unit",
            "context.unit.clear()",
            "pass",
        ),
        lambda: test_exec_ends_the_node_and_nothing_of_it_reaches_the_log(
            Host(Node()), b"APPEND", E
        ),
    ),
    "commands-go-on": (
        Mutant("commands run after half a write", Dispatcher, "fail", "self.failed = True", "pass"),
        lambda: test_a_write_ends_the_node_and_nothing_of_it_reaches_the_log(Host(Node()), E),
    ),
    "fast-loop-goes-on": (
        Mutant(
            "the fast loop stays open after half a write",
            Dispatcher,
            "update_fast_path",
            "self.handover_pause or self.congested or self.failed",
            "self.handover_pause or self.congested",
        ),
        lambda: test_a_write_ends_the_node_and_nothing_of_it_reaches_the_log(Host(Node()), E),
    ),
    "error-in-a-write-costs-the-client": (
        Mutant(
            "an error in a write costs the client only",
            Engine,
            "broken",
            "row.flags & WRITE or ",
            "",
        ),
        lambda: test_a_write_that_has_noted_nothing_yet_ends_the_node_too(Host(Node())),
    ),
    "earlier-answers-lost": (
        Mutant(
            "what came before in the pipeline is not answered",
            Dispatcher,
            "run",
            "session.out = parts",
            "session.out = parts if bug is None else []",
        ),
        test_a_read_that_fails_is_closed_at_once_when_nothing_is_held,
    ),
    "later-commands-run": (
        Mutant(
            "what came behind in the pipeline runs",
            ClientConnection,
            "_on_bug",
            "self.session.closing = True",
            "pass",
        ),
        lambda: test_a_read_costs_its_client_the_connection_and_nothing_else(Host(Node()), E),
    ),
    "own-work-is-logged-in-halves": (
        Mutant(
            "the node's own failed work is logged", Shard, "run_internal", "self.fail()", "pass"
        ),
        lambda: test_an_error_in_the_nodes_own_work_keeps_what_it_gathered_from_the_log(Node()),
    ),
    "failed-memory-is-clean": (
        Mutant(
            "memory with half a write counts as committed",
            Shard,
            "clean",
            " and (not self.failed)",
            "",
        ),
        lambda: test_a_write_ends_the_node_and_nothing_of_it_reaches_the_log(Host(Node()), E),
    ),
    "entry-passed-over": (
        Mutant(
            "a replica passes over an entry that it cannot apply",
            Follower,
            "_take_data",
            "self.broke = not isinstance(error, ApplyError)",
            "return ''",
        ),
        lambda: test_a_replica_stops_in_front_of_an_entry_that_it_cannot_apply(E),
    ),
    "replica-goes-on-after-an-error": (
        Mutant(
            "a replica takes an error of the program for what the log says",
            Follower,
            "_take_data",
            "self.broke = not isinstance(error, ApplyError)",
            "pass",
        ),
        lambda: test_a_replica_stops_in_front_of_an_entry_that_it_cannot_apply(E),
    ),
}


@pytest.mark.parametrize("name", GUARDS)
def test_each_guard_is_needed(name: str) -> None:
    mutant, story = GUARDS[name]
    story()
    with ExitStack() as undo:
        for piece in mutant.pieces:
            plant_mutant(mutant.owner, *piece, undo)
        with pytest.raises((AssertionError, Failed)):
            story()
