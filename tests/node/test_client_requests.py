"""What commands request from the node, without a node.
The tests use a shard, a loop that only records calls, and the role machine.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

import memstore.commands.shard
from memstore.engine.session import Session
from memstore.node.client_requests import ClientRequests
from memstore.node.errors import ErrorContainment
from memstore.replication.roles import DRAINING, Roles
from memstore.replication.shard import Shard
from tests.replication.test_shard import Node as Hands
from tests.sim.mutants import plant

INCARNATION = "05" * 16


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Sink:
    def __init__(self) -> None:
        self.sent = b""

    def released(self, data: bytes) -> None:
        self.sent += data


class Desk:
    """The part of a node that `ClientRequests` uses."""

    def __init__(self) -> None:
        self.hands = Hands()
        self.shard, self.engine, self.facts = (
            self.hands.shard,
            self.hands.engine,
            self.hands.engine.facts,
        )
        self.facts.role, self.facts.committed = "primary", 1
        self.roles = Roles("a" * 40, bytes(16), 1000, Random(1), 0)
        self.facts_writer = SimpleNamespace(update_shard=lambda: None)
        self.timers: list[Timer] = []
        self.soon: list[tuple[Callable[..., None], Any]] = []
        self.loop = SimpleNamespace(
            call_later=self._call_later,
            call_soon=lambda call, *args: self.soon.append((call, args)),
        )
        node: Any = self
        self.errors = ErrorContainment(node)
        self.client_requests = ClientRequests(node)

    def clock(self) -> int:
        return self.hands.now_us

    def resume_sessions(self) -> None:
        """Do nothing: the tests themselves run the next turn of the loop."""

    def _call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer())
        return self.timers[-1]

    def session(self) -> tuple[Session, Sink]:
        sink = Sink()
        return self.hands.session(sink=sink), sink

    def do(self, session: Session, *commands: str) -> bytes:
        """Run the commands and carry out their requests, as a connection does."""
        at, batch = 0, [command.encode().split() for command in commands]
        while at < len(batch):
            at = self.shard.run(session, batch, at, self.hands.wall_ms, self.hands.now_us)
        self.client_requests.run()
        data = self.shard.take_reply(session, self.hands.now_us)
        session.sink.sent += data
        return data


def test_a_handover_that_is_refused_at_once_is_answered_behind_what_came_before() -> None:
    desk = Desk()
    first, _ = desk.session()
    second, sink = desk.session()
    desk.do(first, "MEMSTORE HANDOVER")
    # in the same turn of the loop: nothing is held back yet
    desk.do(second, "SET k v", "MEMSTORE HANDOVER")
    assert sink.sent == b"", "told of the hand-over before the write"
    ((session, data),) = desk.shard.on_committed(desk.hands.append())
    assert session is second and data == b"+OK\r\n-ERR a hand-over is under way\r\n"
    third, sink = desk.session()
    desk.do(third, "PING", "MEMSTORE HANDOVER")
    assert sink.sent == b"+PONG\r\n-ERR a hand-over is under way\r\n"


def test_a_handover_to_nobody_is_answered_behind_a_write_that_waits() -> None:
    desk = Desk()
    session, sink = desk.session()
    desk.do(session, "SET k v", "MEMSTORE HANDOVER nobody")
    desk.client_requests.on_handover_over("no replica nobody is connected", "")
    assert sink.sent == b"" and not session.is_blocked
    assert desk.shard.on_committed(desk.hands.append()) == [
        (session, b"+OK\r\n-ERR no replica nobody is connected\r\n")
    ]


def test_a_wait_that_is_over_leaves_no_timer_behind() -> None:
    desk = Desk()
    session, _ = desk.session()
    desk.do(session, "WAITAOF 0 1 3600000")
    (timer,) = desk.timers
    # only the fields that are read
    desk.facts.replicas = [SimpleNamespace(applied=1)]  # type: ignore[list-item]
    desk.client_requests.on_progress()
    assert timer.cancelled and not session.is_blocked
    desk.facts.replicas = []
    desk.do(session, "WAIT 1 3600000")
    desk.client_requests.on_step_down()
    assert [timer.cancelled for timer in desk.timers] == [True, True]


def test_a_connection_speaks_for_one_replica_however_many_it_names() -> None:
    desk = Desk()
    session, _ = desk.session()
    for name in ("b" * 40, "c" * 40, "d" * 40):
        desk.do(session, f"MEMSTORE REPLICA {name} az h 1 {INCARNATION} 0")
        session.is_blocked = False
    assert list(desk.roles.peers) == ["d" * 40]


def test_a_handover_that_a_step_down_has_answered_is_not_answered_again() -> None:
    desk = Desk()
    session, sink = desk.session()
    desk.do(session, "MEMSTORE HANDOVER", "GET k")
    assert session.is_blocked
    # before the role machine ran: another client's command found that the lease is over
    desk.client_requests.on_step_down()
    for told, data, _ in desk.shard.demote(desk.shard.tracker.committed):
        told.sink.released(data)
    desk.client_requests.on_handover_over("this node is not the primary", "")
    assert sink.sent.count(b"\r\n") == 1 and sink.sent.startswith(b"-UNBLOCKED")


def test_a_failover_asked_for_during_a_handover_is_no_answer_to_it() -> None:
    desk = Desk()
    session, sink = desk.session()
    desk.do(session, "MEMSTORE HANDOVER")
    desk.roles.phase = DRAINING
    desk.client_requests._ask_roles("", None)
    assert session.is_blocked and not sink.sent
    desk.client_requests.on_handover_over("", "b:6379")
    assert sink.sent == b"+OK\r\n"


def test_who_was_answered_late_goes_on() -> None:
    desk = Desk()
    session, _ = desk.session()
    desk.do(session, "MEMSTORE HANDOVER")
    desk.client_requests.on_handover_over("no replica is connected", "")
    assert desk.shard.runnable == [session], (
        "there may be more behind it than parked commands: a protocol error, the end"
    )


# --------------------------------------------------------------------------- the token of a state


def _position_of_a_write_that_moves() -> None:
    """The write is a run of entries, and a new term begins when one of them is taken.
    So the run is written once more after LEADERSHIP.
    """
    desk = Desk()
    desk.shard.entry_bytes = 100
    session, sink = desk.session()
    desk.do(session, f"SET k {'v' * 350}", "MEMSTORE POSITION", "ECHO behind")
    desk.shard.take_entries(1)
    desk.shard.shift_positions(desk.shard.next_position)
    while desk.shard.has_entries:
        desk.shard.take_entries(1)
    last = desk.shard.next_position - 1
    for position in range(2, last + 1):
        assert sink.sent == b"", "answered before the write is committed"
        desk.facts.committed = position
        for _, data in desk.shard.on_committed(position):
            sink.released(data)
        desk.client_requests.on_progress()
        for runnable in desk.shard.take_runnable():
            sink.released(b"".join(runnable.out))
            runnable.out = []
            desk.do(
                runnable,
                *[b" ".join(argv).decode() for argv in desk.shard.take_parked(runnable, 100)[0]],
            )
    assert sink.sent == b"+OK\r\n:%d\r\n$6\r\nbehind\r\n" % last


def test_a_position_is_given_when_all_that_the_session_has_seen_is_committed() -> None:
    _position_of_a_write_that_moves()


def _position_of_a_write_without_a_reply_that_moves() -> None:
    desk = Desk()
    session, sink = desk.session()
    desk.do(session, "CLIENT REPLY OFF", "SET k v", "CLIENT REPLY ON", "MEMSTORE POSITION")
    desk.shard.shift_positions(2)
    desk.facts.committed = 2
    desk.shard.on_committed(2)
    desk.client_requests.on_progress()
    assert session.is_blocked and sink.sent == b"+OK\r\n", "the write is at position 3 now"
    desk.hands.append()
    desk.facts.committed = 3
    desk.shard.on_committed(3)
    desk.client_requests.on_progress()
    assert not session.is_blocked and session.out == [b":3\r\n"]


def test_a_position_is_given_when_the_write_has_moved_and_is_committed() -> None:
    _position_of_a_write_without_a_reply_that_moves()


@pytest.mark.parametrize(
    ("story", "owner", "function", "before", "after"),
    [
        (
            _position_of_a_write_that_moves,
            memstore.commands.shard,
            "is_reached",
            "return facts.committed >= position",
            "return True",
        ),
        (
            _position_of_a_write_without_a_reply_that_moves,
            Shard,
            "shift_positions",
            "self.waiting.shift_positions(position)",
            "pass",
        ),
    ],
    ids=["at-once", "for-the-position-before-it-moved"],
)
def test_a_position_that_is_given_too_early_is_noticed(
    story: Callable[[], None], owner: Any, function: str, before: str, after: str
) -> None:
    story()
    with ExitStack() as undo:
        plant(owner, function, before, after, undo)
        with pytest.raises(AssertionError):
            story()


def test_a_position_that_waits_is_answered_by_a_demotion() -> None:
    desk = Desk()
    session, _ = desk.session()
    desk.do(session, "CLIENT REPLY OFF", "SET k v", "CLIENT REPLY ON", "MEMSTORE POSITION")
    assert session.is_blocked, "no reply is held, and the write is not committed"
    told = desk.shard.demote(1)
    desk.client_requests.on_step_down()
    assert not session.is_blocked and b"UNBLOCKED" in b"".join(data for _, data, _ in told)
    assert desk.facts.blocked_clients == 0


def test_a_position_that_does_not_exist_keeps_nothing_waiting() -> None:
    desk = Desk()
    session, sink = desk.session()
    desk.do(session, "MEMSTORE WAITFOR 1000 1")
    desk.hands.now_us += 2000
    desk.client_requests.on_progress()
    session.out = []
    desk.do(session, "MEMSTORE POSITION")
    assert sink.sent == b":1\r\n"
    lease = desk.shard.lease
    desk.shard.demote(1)
    desk.shard.become_replica()
    session.seen = 1000  # from a WAITFOR at a replica
    desk.shard.become_primary(2, 1)
    desk.shard.lease = lease
    desk.do(session, "MEMSTORE POSITION")
    assert sink.sent == b":1\r\n:1\r\n"


def test_a_transaction_has_no_position_before_it_ends() -> None:
    desk = Desk()
    session, sink = desk.session()
    desk.do(session, "MULTI", "SET k v", "MEMSTORE POSITION", "EXEC")
    assert (
        b"-ERR Command not allowed inside a transaction" in sink.sent and b"-EXECABORT" in sink.sent
    )
