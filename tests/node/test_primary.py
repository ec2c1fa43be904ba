"""Group commit: what goes into an entry, and when the entry leaves.
A stand-in for the loop lets the test run each turn and each timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from memstore.engine.session import Session
from memstore.node.primary import PrimaryDriver
from memstore.replication.digest_schedule import Digests
from memstore.replication.group_commit import MAX_SKIPPED_WAITS
from tests.replication.test_shard import Node
from txlog.entry import DATA, EntryId


class Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """The stand-in: it turns and fires timers when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []
        self.timers: list[Timer] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        self.timers.append(Timer(callback))
        return self.timers[-1]

    @property
    def waiting(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    def ring(self) -> None:
        (timer,) = self.waiting
        timer.cancelled = True
        timer.callback()


class Log:
    """The writer: it keeps the appended entries, and commits on command."""

    lease_until_us = 0
    leadership = b""
    on_reopened: Callable[[int], None] | None = None
    term = 2

    def __init__(self, next_position: int) -> None:
        self.next_position = next_position
        self.committed = next_position - 1
        self.on_committed: Callable[[int], None] = lambda position: None
        self.entries: list[bytes] = []
        self.times: list[int] = []

    @property
    def in_flight(self) -> int:
        return self.next_position - 1 - self.committed

    @property
    def last(self) -> tuple[EntryId, bytes]:
        return (self.term, self.next_position - 1), b""

    def append(self, kind: int, payload: bytes, wall_ms: int, continued: bool = False) -> int:
        self.entries.append(payload)
        self.times.append(wall_ms)
        self.next_position += 1
        return self.next_position - 1

    def flush(self) -> None: ...

    def renewed_until(self, now_us: int) -> int:
        return self.lease_until_us

    def start_handover(self) -> None: ...

    def stop(self) -> None: ...

    async def release(self, successor: bytes) -> None: ...

    def commit(self) -> None:
        self.committed = self.next_position - 1
        self.on_committed(self.committed)


class Primary:
    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        clients: int,
        on_client_error: Callable[[Any, Exception], None] | None = None,
    ) -> None:
        self.loop = Loop()
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self.loop)
        self.node = node = Node()
        self.log = Log(node.shard.next_position)
        digests = Digests(node.engine.settings, 0, 0, 0)
        self.driver = PrimaryDriver(
            node.shard,
            self.log,
            lambda: node.now_us,
            lambda: node.wall_ms,
            lambda position: None,
            digests,
            1000,
            on_client_error,
        )
        self.clients = [node.session() for _ in range(clients)]

    def write(self, *clients: Session) -> None:
        """Let the clients write in one turn of the loop."""
        for client in clients:
            self.node.do(client, f"SET k{client.id} v")
            self.driver.schedule_drain()
        self.loop.turn()

    def round(self) -> None:
        """Let all of them write in one entry, and commit it."""
        before = len(self.log.entries)
        self.write(*self.clients)
        while self.loop.soon:
            self.loop.turn()
        assert len(self.log.entries) == before + 1
        self.log.commit()

    def waits(self) -> bool:
        """Whether the entry of one client waits for the others.
        All clients write and are answered; then one of them writes again.
        """
        self.round()
        self.write(self.clients[0])
        self.loop.turn()
        return bool(self.loop.waiting)


@pytest.fixture
def primary(monkeypatch: pytest.MonkeyPatch) -> Primary:
    return Primary(monkeypatch, 4)


def sets(payload: bytes) -> int:
    return payload.count(b"SET")


def test_a_client_alone_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    primary = Primary(monkeypatch, 1)
    for count in range(1, 4):
        primary.write(primary.clients[0])
        assert len(primary.log.entries) == count and not primary.loop.waiting
        primary.log.commit()


def test_what_comes_while_an_entry_is_under_way_goes_into_the_next(primary: Primary) -> None:
    a, b, c, _ = primary.clients
    primary.write(a)
    primary.write(b)
    primary.write(c)
    assert len(primary.log.entries) == 1
    primary.log.commit()
    primary.loop.turn()  # a may write again
    primary.write(a)
    assert [sets(payload) for payload in primary.log.entries] == [1, 3]


def test_clients_that_were_answered_are_waited_for_though_a_turn_brings_none_of_them(
    primary: Primary,
) -> None:
    a, b, c, d = primary.clients
    primary.round()
    primary.write(a, b)
    primary.loop.turn()
    primary.loop.turn()
    assert len(primary.log.entries) == 1 and primary.loop.waiting, "two of four are late"
    primary.write(c)
    primary.loop.turn()
    assert len(primary.log.entries) == 1
    primary.write(d)
    assert [sets(payload) for payload in primary.log.entries] == [4, 4] and not primary.loop.waiting


def test_they_are_not_waited_for_long_and_after_that_less_and_less(primary: Primary) -> None:
    unwaited: list[int] = []
    for _ in range(10):
        count = 0
        while not primary.waits():
            count += 1
            assert sets(primary.log.entries[-1]) == 1, "it went at once"
            primary.log.commit()
        primary.loop.ring()
        assert sets(primary.log.entries[-1]) == 1
        primary.log.commit()
        unwaited.append(count)
    assert unwaited == [0, 1, 3, 7, 15, 31, 63, 127, MAX_SKIPPED_WAITS, MAX_SKIPPED_WAITS]


def test_waiting_is_tried_again_as_before_once_it_was_worth_it(primary: Primary) -> None:
    others = primary.clients[1:]
    for _ in range(3):  # three waits without success: then 1, 3, 7 entries do not wait
        while not primary.waits():
            primary.log.commit()
        primary.loop.ring()
        primary.log.commit()
    while not primary.waits():
        primary.log.commit()
    primary.write(*others)
    assert sets(primary.log.entries[-1]) == 4, "all came"
    primary.log.commit()
    assert primary.waits()
    primary.loop.ring()
    primary.log.commit()
    assert not primary.waits(), "in vain once again: one entry is not waited with"
    primary.log.commit()
    assert primary.waits()


def test_an_end_leaves_no_timer(primary: Primary) -> None:
    primary.round()
    primary.write(primary.clients[0])
    primary.loop.turn()
    assert primary.loop.waiting
    primary.driver.end()
    assert not primary.loop.waiting
    assert len(primary.log.entries) == 1


def test_what_waits_goes_before_an_entry_of_the_nodes_own(primary: Primary) -> None:
    """A DIGEST covers memory after the entries before it.
    So the gathered units leave first, and no unit waits for other clients after it.
    """
    primary.round()
    primary.write(primary.clients[0])
    primary.loop.turn()
    assert primary.loop.waiting
    digest: Any = primary.driver
    digest._append_digest()
    assert (
        not primary.loop.waiting
        and sets(primary.log.entries[1]) == 1
        and b"blake2b" in primary.log.entries[2]
    )
    primary.log.commit()
    primary.loop.turn()
    assert len(primary.log.entries) == 3


def test_no_entry_is_later_than_a_unit_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica may have followed up to the LEADERSHIP of a term that was sealed again.
    By that entry's time it would hide keys that a PERSIST gathered before it has kept.
    """
    primary = Primary(monkeypatch, 2)
    node, driver = primary.node, primary.driver
    begun_ms = node.wall_ms
    assert driver.last_entry_ms == begun_ms, "the log's time at the take-over"
    node.wall_ms += 5
    primary.write(primary.clients[0])
    primary.loop.turn()
    node.wall_ms += 1
    primary.write(primary.clients[1])  # gathers with this time, after the entry under way
    node.wall_ms += 7
    driver._on_reopened(3)
    driver._append_gathered()
    assert primary.log.times == [begun_ms + 5, begun_ms + 5, begun_ms + 6]
    driver._on_reopened(4)
    assert primary.log.times[-1] == driver.last_entry_ms == begun_ms + 13, (
        "with nothing that gathers it tells the time"
    )


class Sink:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.told = b""

    def released(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.told += data


def test_an_error_while_one_client_is_given_its_reply_costs_no_other_client_its_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors: list[tuple[object, Exception]] = []
    primary = Primary(monkeypatch, 3, lambda sink, error: errors.append((sink, error)))
    sinks = [Sink(), Sink(KeyError("planted")), Sink()]
    for session, sink in zip(primary.clients, sinks, strict=True):
        session.sink = sink
    primary.round()
    assert [sink.told for sink in sinks] == [b"+OK\r\n", b"", b"+OK\r\n"]
    assert errors == [(sinks[1], sinks[1].error)]


def test_entries_of_the_nodes_own_are_measured(primary: Primary) -> None:
    rate = primary.driver.rate
    primary.driver._append_own(DATA, b"")
    assert rate.in_flight == 1
    primary.node.now_us += 200_000
    primary.log.commit()
    assert rate.in_flight == 0 and rate.base_us > 0
