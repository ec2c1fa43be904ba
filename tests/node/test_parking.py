"""Pipelines of several clients, drawn from a seed, while commands are delayed in every way.

Causes of delay are hand-overs, pauses, too much in flight, strong reads and WAIT. After every step
some component will resume each parked command. At the end every client has each of its answers
once, in order. No strong read is older than its arrival.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from memstore.engine.engine import PAUSE_ALL, PAUSE_NONE
from memstore.engine.requests import WaitForReplicas
from memstore.engine.session import SESSION, STRONG
from memstore.node.client_connection import ClientConnection
from memstore.replication.shard import PRIMARY, REPLICA
from tests.node.harness import Host, Socket, encoded
from tests.replication.test_shard import Node

READ_BYTES = 256_000  # one read of a socket
LARGE = b"v" * 600_000


class Desk(Host):
    """The part of a node that resumes clients."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.waits: list[WaitForReplicas] = []
        self.query = (0, 0)  # the question under way, and the tail when it was sent; 0: none
        self.tail = 0
        self._going = False

    def after_batch(self) -> None:
        requests, self.node.engine.requests = self.node.engine.requests, []
        self.waits += [request for request in requests if isinstance(request, WaitForReplicas)]
        self.go_on()

    def go_on(self) -> None:
        if not self._going and (self.shard.runnable or self.shard.reads.wanted):
            self._going = True
            self.later.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going = False
        for session in self.shard.take_runnable():
            if session.sink is not None:
                session.sink.run_parked()
        if self.shard.reads.wanted:
            self.query = (self.shard.reads.on_asked(), self.tail)
        self.go_on()

    def answer_query(self, fails: bool = False) -> None:
        number, tail = self.query
        if number:
            self.query = (0, 0)
            self.shard.on_tail(number, None if fails else (1, tail), self.node.now_us)
            self.go_on()

    def answer_waits(self) -> None:
        waits, self.waits = self.waits, []
        for request in waits:
            self.shard.finish(request.session, b":0\r\n")
        self.go_on()

    def commit(self) -> None:
        for session, data in self.shard.on_committed(self.node.append()):
            if session.sink is not None:
                session.sink.released(data)
        self.go_on()


@dataclass(eq=False)
class Client:
    connection: ClientConnection
    socket: Socket
    # answers; for a read, the oldest state that it may see
    wanted: list[bytes | int] = field(default_factory=list)
    unsent: bytes = b""

    @property
    def is_here(self) -> bool:
        return self.connection.transport is not None and not self.connection.session.closing


class Scene:
    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.is_replica = seed % 2 == 0
        role = REPLICA if self.is_replica else PRIMARY
        node = self.node = Node(
            role,
            max_held_bytes=rng.choice([1500, 30_000]),
            max_uncommitted_bytes=rng.choice([20_000, 3_000_000]),
        )
        node.engine.facts.role = "replica" if self.is_replica else "primary"
        self.desk, self.shard = Desk(node), node.shard
        self.clients: list[Client] = []
        self.applied = self.count = 0
        if self.is_replica:
            self.desk.tail = 1
            self.apply(1)
        for _ in range(3):
            self.connect()

    # ----------------------------------------------------------------- what happens

    def steps(self) -> list[Callable[[], None]]:
        common = (
            [self.turn] * 6
            + [self.send] * 8
            + [
                self.hold,
                self.pause,
                self.desk.answer_waits,
                self.stop_reading,
                self.connect,
                self.leave,
                self.name,
            ]
        )
        if self.is_replica:
            return [
                *common,
                self.grow,
                self.follow,
                self.follow,
                self.ask_answered,
                self.ask_answered,
                self.change_role,
                self.give_up,
                self.choose,
            ]
        return common + [self.desk.commit] * 3

    def connect(self) -> None:
        if len(self.clients) < 6:
            connection, socket = ClientConnection(self.desk, self.node.session()), Socket()
            transport: Any = socket
            connection.connection_made(transport)
            self.clients.append(Client(connection, socket))

    def leave(self) -> None:
        if len(self.clients) > 2:
            self.clients.pop(self.rng.randrange(len(self.clients))).connection.connection_lost(None)

    def send(self) -> None:
        client = self.rng.choice(self.clients)
        if not client.unsent:
            client.unsent = b"".join(
                [self._command(client) for _ in range(self.rng.choice([1, 3, 40, 300, 1500]))]
            )
        self.deliver(client)

    def _command(self, client: Client) -> bytes:
        self.count += 1
        number, draw = b"%d" % self.count, self.rng.random()
        if draw < 0.001:
            client.wanted.append(LARGE)
            return encoded(b"ECHO", LARGE)
        if draw < 0.5:
            client.wanted.append(number)
            return encoded(b"ECHO", number)
        if draw < 0.8 or self.is_replica:
            client.wanted.append(self.desk.tail if client.connection.session.reads == STRONG else 0)
            return encoded(b"GET", b"k")
        if draw < 0.99:
            client.wanted.append(b"+OK")
            return encoded(b"SET", b"k", number)
        client.wanted.append(b":0")
        return encoded(b"WAIT", b"1", b"0")

    def deliver(self, client: Client) -> None:
        """Deliver as much as one read of the socket gives, if the client's socket is read."""
        if client.unsent and client.socket.reading and client.is_here:
            data, client.unsent = client.unsent[:READ_BYTES], client.unsent[READ_BYTES:]
            client.connection.data_received(data)

    def turn(self) -> None:
        self.desk.later.turn()

    def hold(self) -> None:
        if self.shard.handover_pause:
            self.shard.end_handover_pause()
        else:
            self.shard.begin_handover_pause()
        self.desk.go_on()

    def pause(self) -> None:
        engine = self.node.engine
        engine.pause_mode = PAUSE_NONE if engine.pause_mode else PAUSE_ALL
        engine.pause_until_ms = self.node.wall_ms + 10**9
        self.shard.update_fast_path()
        if not engine.pause_mode:
            self.shard.resume()
        self.desk.go_on()

    def stop_reading(self) -> None:
        connection = self.rng.choice(self.clients).connection
        if connection.write_paused:
            connection.resume_writing()
        else:
            connection.pause_writing()

    def name(self) -> None:
        """Name a session that has nothing to continue with, or name it twice."""
        self.shard.runnable.append(self.rng.choice(self.clients).connection.session)
        self.desk.go_on()

    # ----------------------------------------------------------------- a replica

    def apply(self, position: int) -> None:
        self.node.engine.apply(encoded(b"SET", b"k", b"%d" % position), self.node.wall_ms)
        self.applied = position
        self.shard.on_applied((1, position), self.node.wall_ms)
        self.desk.go_on()

    def grow(self) -> None:
        self.desk.tail += self.rng.randint(1, 3)

    def follow(self) -> None:
        if self.applied < self.desk.tail:
            self.apply(self.rng.randint(self.applied + 1, self.desk.tail))

    def ask_answered(self) -> None:
        self.desk.answer_query(fails=self.rng.random() < 0.1)

    def change_role(self) -> None:
        self.shard.become_restoring()
        self.shard.become_replica()
        self.shard.on_applied((1, self.applied), self.node.wall_ms)
        self.desk.go_on()

    def give_up(self) -> None:
        if self.shard.deadline():
            self.shard.on_deadline(self.shard.deadline())
            self.desk.go_on()

    def choose(self) -> None:
        client = self.rng.choice(self.clients)
        session = client.connection.session
        if not (client.unsent or client.connection.deferred or session.parked):
            session.reads = self.rng.choice([STRONG, SESSION])

    # ----------------------------------------------------------------- what must hold

    def check(self) -> None:
        for client in self.clients:
            if client.is_here:
                self._check_connection(client)

    def _check_connection(self, client: Client) -> None:
        connection, session, shard = client.connection, client.connection.session, self.shard
        queue: Any = self.desk.budget
        assert [*queue._deferred, *queue._deferred_heavy].count(connection) == connection.queued, (
            "it stands in the queue once"
        )
        assert connection.deferred == connection.queued or (
            connection.deferred and connection.write_paused
        ), "while it waits, unless it waits for its client to read"
        assert connection.deferred or not (
            connection.pending_commands or connection.pending_bytes or connection.resumable
        )
        if session.parked:
            asked = session.tail_query and any(
                session is one for one, _ in self._covered(session.tail_query)
            )
            behind = any(session is one for _, _, one in shard.reads._behind)
            wanted = session in shard.reads._asking
            assert (
                connection.resumable
                or session.is_blocked
                or session in shard.runnable
                or session in shard._stopped
                or asked
                or behind
                or wanted
            ), "forgotten"
        else:
            assert not session.slow_path or connection.deferred
        assert not session.out or session in shard.runnable or connection.resumable, (
            "an answer that nobody gives"
        )
        assert (
            client.socket.reading
            or session.parked
            or connection.deferred
            or connection.write_paused
            or session.is_blocked
        ), "not read for nothing"

    def _covered(self, query: int) -> list[tuple[Any, int]]:
        reads = self.shard.reads
        found = list(reads._asked) if query == reads._query else []
        return found + [
            one for _, _, number, covered in reads._waiting if number == query for one in covered
        ]

    def come_to_an_end(self) -> None:
        """Remove all causes of delay."""
        if self.shard.handover_pause:
            self.hold()
        if self.node.engine.pause_mode:
            self.pause()
        for _ in range(3000):
            for client in self.clients:
                if client.connection.write_paused:
                    client.connection.resume_writing()
                self.deliver(client)
            self.desk.answer_waits()
            self.desk.answer_query()
            if self.is_replica:
                self.follow()
            else:
                self.desk.commit()
            self.turn()
            self.check()
            busy = (
                self.desk.later.calls
                or self.desk.waits
                or self.desk.query[0]
                or self.shard.has_entries
                or any(one.unsent for one in self.clients)
            )
            if not busy:
                return
        raise AssertionError("it never comes to an end")

    def check_answers(self) -> None:
        for client in self.clients:
            session = client.connection.session
            answers = parsed(client.socket.sent)
            assert len(answers) == len(client.wanted)
            for answer, wanted in zip(answers, client.wanted, strict=True):
                if isinstance(wanted, int):
                    assert (
                        not self.is_replica
                        or answer.startswith(b"-TRYAGAIN")
                        or int(answer) >= wanted
                    ), "older than its arrival"
                else:
                    assert answer == wanted
            assert client.socket.reading and session.fast_path_ok and not session.parked


def parsed(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        end = data.index(b"\r\n", at)
        line, at = data[at:end], end + 2
        if line[:1] == b"$" and line != b"$-1":
            size = int(line[1:])
            line, at = data[at : at + size], at + size + 2
        found.append(line)
    return found


@pytest.mark.parametrize("seed", range(60))
def test_every_command_is_answered_once_in_order_and_no_read_is_old(seed: int) -> None:
    scene = Scene(seed)
    for _ in range(scene.rng.choice([60, 200])):
        scene.rng.choice(scene.steps())()
        scene.check()
    scene.come_to_an_end()
    scene.check_answers()
    assert not scene.desk.failed
