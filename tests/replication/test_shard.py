"""The shard by example: what waits for a commit, what is refused, what a change of role does."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from memstore.commands import build_table
from memstore.engine.engine import Engine, HalfDone
from memstore.engine.keyspace import slot_of
from memstore.engine.session import EVENTUAL, SESSION, Session
from memstore.engine.settings import Settings
from memstore.replication.shard import PRIMARY, REPLICA, FixedLease, Shard

SECOND = 1_000_000


class Node:
    """A shard with a driver: runs commands, commits, and records what each session gets."""

    def __init__(self, role: str = PRIMARY, **settings: Any) -> None:
        self.engine = Engine(Settings(**settings), Random(1), build_table())
        self.shard = Shard(self.engine)
        self.now_us, self.wall_ms = SECOND, 1_700_000_000_000
        self.sent: dict[int, bytes] = {}
        self.closed: set[int] = set()
        self.log: list[tuple[int, bytes, int, bool]] = []
        if role == PRIMARY:
            self.shard.on_applied((1, 1), self.wall_ms)
            self.shard.become_primary(2, 1)
            self.shard.lease = FixedLease(1000 * SECOND)
        elif role == REPLICA:
            self.shard.become_replica()

    def session(self, **attributes: Any) -> Session:
        session = Session(len(self.engine.sessions) + 1)
        for name, value in attributes.items():
            setattr(session, name, value)
        session.restricted = not session.authenticated
        self.engine.sessions[session.id] = session
        return session

    def do(self, session: Session, *commands: str) -> bytes:
        """Run commands ("SET k v") as one batch; the bytes that were sent at once."""
        return self.run(session, [command.encode().split() for command in commands])

    def run(self, session: Session, batch: list[list[bytes]]) -> bytes:
        at = 0
        while at < len(batch):
            at = self.shard.run(session, batch, at, self.wall_ms, self.now_us)
        data = self.shard.take_reply(session, self.now_us)
        self.sent[session.id] = self.sent.get(session.id, b"") + data
        return data

    def append(self) -> int:
        """Take the gathered entries; the last position given."""
        self.log += self.shard.take_entries()
        return self.shard.next_position - 1

    def commit(self, position: int | None = None) -> dict[int, bytes]:
        position = self.append() if position is None else position
        released = {session.id: data for session, data in self.shard.on_committed(position)}
        for id, data in released.items():
            self.sent[id] = self.sent.get(id, b"") + data
        return released

    def go_on(self) -> bytes:
        """Run the commands that may continue now; all bytes that they sent."""
        out = b""
        while sessions := self.shard.take_runnable():
            for session in sessions:
                out += self.run(session, self.shard.take_parked(session, 1 << 20)[0])
        return out


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_write_is_answered_at_its_commit_and_not_before(node: Node) -> None:
    one = node.session()
    assert node.do(one, "SET k v") == b""
    assert node.commit() == {one.id: b"+OK\r\n"}
    assert node.do(one, "GET k") == b"$1\r\nv\r\n"


@pytest.mark.parametrize(
    ("before", "write", "read", "answer"),
    [
        ("", "SET k v", "GET k", b"$1\r\nv\r\n"),
        ("SET k v", "DEL k", "GET k", b"$-1\r\n"),  # absence is data
        ("SET k v", "DEL k", "EXISTS k", b":0\r\n"),
        ("SET k v", "DEL k", "TYPE k", b"+none\r\n"),
        ("SET k v", "DEL k", "TTL k", b":-2\r\n"),
        ("", "SET k v", "SETNX k w", b":0\r\n"),  # a write that changed nothing is a read
        ("", "SET k v", "SET k w NX", b"$-1\r\n"),
        ("SET k v", "DEL k", "PERSIST k", b":0\r\n"),
        # an error reveals state
        ("", "SET k v", "INCR k", b"-ERR value is not an integer or out of range\r\n"),
        ("", "SET k v", "RENAME nothing k", b""),
        ("SET a 1", "FLUSHALL", "GET a", b"$-1\r\n"),  # a whole database is dirty
        ("SET a 1", "FLUSHDB", "GET other", b"$-1\r\n"),
        ("", "SET k v", "KEYS *", b"*1\r\n$1\r\nk\r\n"),  # these read the whole database
        ("", "SET k v", "DBSIZE", b":1\r\n"),
        ("", "SET k v", "RANDOMKEY", b"$1\r\nk\r\n"),
        ("", "SET k v", "OBJECT ENCODING k", b"$6\r\nembstr\r\n"),
        ("", "MSET a 1 b 2", "MGET x b", b"*2\r\n$-1\r\n$1\r\n2\r\n"),
        ("SET a 1", "RENAME a b", "EXISTS b", b":1\r\n"),
        ("SET a 1", "COPY a b", "EXISTS b", b":1\r\n"),
    ],
)
def test_a_read_of_an_uncommitted_change_waits_for_it(
    node: Node, before: str, write: str, read: str, answer: bytes
) -> None:
    writer, reader = node.session(), node.session()
    if before:
        node.do(writer, before)
        node.commit()
    node.do(writer, write)
    if not answer:  # an error about another key depends on its own keys only: k is among them here
        assert node.do(reader, read) == b"" and node.commit()[reader.id].startswith(
            b"-ERR no such key"
        )
        return
    assert node.do(reader, read) == b"", "shown before its commit"
    assert node.commit()[reader.id] == answer


def test_a_read_of_another_key_does_not_wait(node: Node) -> None:
    writer, reader = node.session(), node.session()
    node.do(writer, "SET k v")
    assert node.do(reader, "GET other") == b"$-1\r\n"
    assert node.do(reader, "PING") == b"+PONG\r\n"


def test_databases_are_apart(node: Node) -> None:
    writer, reader = node.session(db=3), node.session()
    node.do(writer, "SET k v")
    assert node.do(reader, "GET k") == b"$-1\r\n"
    assert node.do(node.session(db=3), "GET k") == b""


def test_replies_of_one_session_leave_in_order(node: Node) -> None:
    one = node.session()
    assert node.do(one, "GET a", "SET k v", "GET a", "PING") == b"$-1\r\n"
    assert node.do(one, "GET a") == b""
    assert node.commit() == {one.id: b"+OK\r\n$-1\r\n+PONG\r\n$-1\r\n"}


def test_a_transaction_is_one_unit_and_its_reads_wait(node: Node) -> None:
    one, two = node.session(), node.session()
    node.do(one, "MULTI", "SET a 1", "SET b 2", "GET a")
    assert node.do(one, "EXEC") == b""
    assert node.do(two, "MULTI", "GET b") == b"+OK\r\n+QUEUED\r\n"
    assert node.do(two, "EXEC") == b""
    node.append()
    assert len(node.log) == 1 and node.log[0][1].startswith(b"*1\r\n$5\r\nMULTI\r\n")
    released = node.commit(node.shard.next_position - 1)
    assert released == {one.id: b"*3\r\n+OK\r\n+OK\r\n$1\r\n1\r\n", two.id: b"*1\r\n$1\r\n2\r\n"}


def test_an_exec_that_a_watch_aborted_waits_for_what_it_saw(node: Node) -> None:
    one, two = node.session(), node.session()
    node.do(one, "WATCH k", "MULTI", "GET x")
    node.do(two, "SET k v")
    assert node.do(one, "EXEC") == b""
    assert node.commit()[one.id] == b"*-1\r\n"


def test_an_expired_key_is_deleted_in_the_log_before_its_absence_is_shown(node: Node) -> None:
    one = node.session()
    node.do(one, "SET k v PX 100")
    node.commit()
    node.wall_ms += 100
    assert node.do(one, "GET k") == b""
    node.append()
    assert node.log[-1][1] == b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"
    assert node.commit(node.shard.next_position - 1) == {one.id: b"$-1\r\n"}


def test_a_read_is_good_only_under_a_lease_valid_after_it_ran(node: Node) -> None:
    one = node.session()
    node.do(one, "SET k v")
    node.commit()
    assert node.shard.run(one, [[b"GET", b"k"]], 0, node.wall_ms, node.now_us) == 1
    assert (
        node.shard.take_reply(one, node.shard.lease.lease_until_us) == b""
        and node.shard.lease_expired
    )
    assert node.shard.demote(2) == [
        (one, b"-TRYAGAIN demoted before the read could be confirmed\r\n", False)
    ]


def test_without_a_lease_nothing_begins(node: Node) -> None:
    one = node.session()
    node.now_us = node.shard.lease.lease_until_us
    assert node.shard.run(one, [[b"SET", b"k", b"v"]], 0, node.wall_ms, node.now_us) == 1
    assert node.shard.clean and node.shard.lease_expired


def test_a_read_that_was_ready_as_the_lease_ended_stays_before_what_came_later(node: Node) -> None:
    one = node.session()
    node.shard.run(
        one, [[b"GET", b"a"], [b"SET", b"k", b"v"], [b"GET", b"a"]], 0, node.wall_ms, node.now_us
    )
    assert node.shard.take_reply(one, node.shard.lease.lease_until_us) == b""
    node.append()
    assert node.shard.on_committed(2) == []
    (told,) = node.shard.demote(2)
    assert told == (
        one,
        b"-TRYAGAIN demoted before the read could be confirmed\r\n-UNKNOWN outcome at position 2: "
        b"the write may or may not take effect\r\n",
        True,
    )


def test_at_demotion_writes_are_unknown_and_reads_have_no_effect(node: Node) -> None:
    writer, reader, idle = node.session(), node.session(), node.session()
    node.do(writer, "SET k v")
    node.do(reader, "GET k", "GET k")
    node.do(idle, "MULTI", "SET a 1")
    node.do(idle, "WATCH a")
    assert not node.shard.clean
    told = {session.id: (data, close) for session, data, close in node.shard.demote(1)}
    assert told[writer.id] == (
        b"-UNKNOWN outcome at position 2: the write may or may not take effect\r\n",
        True,
    )
    assert told[reader.id] == (
        b"-TRYAGAIN demoted before the read could be confirmed\r\n" * 2,
        False,
    )
    assert node.shard.clean and node.shard.take_entries() == []
    node.shard.become_replica()
    node.engine.facts.primary_host, node.engine.facts.primary_port = "b", 6380
    assert node.do(idle, "EXEC").startswith(b"-EXECABORT")
    assert (
        node.do(reader, "SET k v")
        == b"-READONLY You can't write against a read only replica. primary=b:6380\r\n"
    )


def test_a_slipped_leadership_entry_moves_what_gathers(node: Node) -> None:
    one = node.session()
    node.do(one, "SET k v")
    node.shard.shift_positions(2)
    assert node.commit(2) == {}
    assert node.append() == 3 and node.commit(3) == {one.id: b"+OK\r\n"}


def test_a_turn_larger_than_an_entry_is_split_between_units() -> None:
    node = Node(max_entry_bytes=4096)
    one = node.session()
    node.run(one, [[b"SET", b"k%d" % i, b"x" * 1500] for i in range(5)])
    assert node.append() == 4
    assert [len(entry[1]) for entry in node.log] == [3060, 3060, 1530] and not any(
        entry[3] for entry in node.log
    )
    assert node.commit(3) == {one.id: b"+OK\r\n" * 4}
    assert node.commit(4) == {one.id: b"+OK\r\n"}


def test_a_unit_larger_than_an_entry_is_a_run_and_waits_for_its_last() -> None:
    node = Node(max_entry_bytes=4096)
    one = node.session()
    node.run(one, [[b"SET", b"k", b"x" * 10000], [b"SET", b"l", b"y"]])
    assert node.append() == 5
    assert [entry[3] for entry in node.log] == [True, True, False, False]
    assert node.commit(3) == {}
    assert node.commit(4) == {one.id: b"+OK\r\n"}
    replayed = Engine(Settings(), Random(2), build_table())
    replayed.apply(b"".join(entry[1] for entry in node.log[:3]), node.wall_ms)
    assert replayed.keyspace.database(0).get(b"k") == b"x" * 10000


def test_units_of_other_databases_replay_into_them_wherever_an_entry_begins() -> None:
    node = Node(max_entry_bytes=4096)
    three, zero = node.session(db=3), node.session()
    for i in range(6):
        node.run(three, [[b"SET", b"k%d" % i, b"x" * 1500]])
    node.run(zero, [[b"SET", b"z", b"1"]])
    node.commit()
    node.run(three, [[b"SET", b"late", b"1"]])
    node.commit()
    replayed = Engine(Settings(), Random(2), build_table())
    for _, payload, wall_ms, _ in node.log:
        replayed.apply(payload, wall_ms)
    assert len(replayed.keyspace.database(3)) == 7 and list(
        replayed.keyspace.database(0).slots[8157]
    ) == [b"z"]


def test_too_much_in_flight_stops_new_commands_and_loses_none() -> None:
    node = Node(max_uncommitted_bytes=65536)
    one, two = node.session(), node.session()
    node.run(one, [[b"SET", b"a", b"x" * 60000]])
    node.run(one, [[b"SET", b"b", b"x" * 60000]])
    node.append()
    assert node.do(two, "SET c 1", "GET c") == b"" and len(two.parked) == 2
    node.commit(2)
    node.go_on()
    assert node.commit()[two.id] == b"+OK\r\n$1\r\n1\r\n"


def test_a_unit_that_could_never_fit_is_refused_before_it_changes_memory() -> None:
    node = Node(max_uncommitted_bytes=65536)
    one = node.session(fast_path_ok=False)  # as the connection does for large commands
    assert node.run(one, [[b"SET", b"a", b"x" * 70000]]).startswith(b"-ERR the command is larger")
    assert node.shard.clean and len(node.engine.keyspace.database(0)) == 0


def test_held_commands_wait_and_then_run_in_order(node: Node) -> None:
    one = node.session()
    node.shard.begin_handover_pause()
    assert node.do(one, "SET k 1") == b"" and node.do(one, "GET k") == b"" and node.shard.drained
    node.shard.end_handover_pause()
    node.go_on()
    assert node.commit() == {one.id: b"+OK\r\n$1\r\n1\r\n"}


def replica() -> Node:
    node = Node(REPLICA)
    node.engine.apply(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", node.wall_ms)
    node.shard.on_applied((1, 5), node.wall_ms)
    return node


def test_a_strong_read_waits_for_the_tail_to_be_applied() -> None:
    node = replica()
    one = node.session()
    assert node.do(one, "GET k") == b"" and node.shard.reads.wanted
    query = node.shard.reads.on_asked()
    node.shard.on_tail(query, (1, 6), node.now_us)
    assert node.go_on() == b""
    node.shard.on_applied((1, 6), node.wall_ms)
    assert node.go_on() == b"$1\r\nv\r\n"


def test_a_read_that_arrives_during_a_question_shares_the_next_one() -> None:
    node = replica()
    one, two = node.session(), node.session()
    node.do(one, "GET k")
    query = node.shard.reads.on_asked()
    node.do(two, "GET k")
    node.do(one, "GET k")
    node.shard.on_tail(query, (1, 5), node.now_us)
    assert node.go_on() == b"$1\r\nv\r\n", (
        "the second read of the same session is not covered by the first question"
    )
    assert node.shard.reads.wanted
    node.shard.on_tail(node.shard.reads.on_asked(), (1, 5), node.now_us)
    assert node.go_on() == b"$1\r\nv\r\n" * 2


def test_a_dead_writers_longer_tail_does_not_make_a_read_wait() -> None:
    node = replica()
    node.shard.on_applied((2, 6), node.wall_ms)
    node.do(node.session(), "GET k")
    node.shard.on_tail(node.shard.reads.on_asked(), (1, 99), node.now_us)
    assert node.go_on() == b"$1\r\nv\r\n"


def test_no_majority_is_an_error_for_reads_and_not_for_ping() -> None:
    node = replica()
    node.do(node.session(), "GET k", "PING", "GET k")
    node.shard.on_tail(node.shard.reads.on_asked(), None, node.now_us)
    error = b"-TRYAGAIN no majority of log nodes answered within 1000 ms\r\n"
    assert node.go_on() == error + b"+PONG\r\n" + error


def test_a_tail_that_is_not_applied_in_time_is_an_error() -> None:
    node = replica()
    node.do(node.session(), "GET k")
    node.shard.on_tail(node.shard.reads.on_asked(), (1, 9), node.now_us)
    assert node.shard.deadline() == node.now_us + SECOND
    node.shard.on_deadline(node.now_us + SECOND)
    assert node.go_on().startswith(b"-TRYAGAIN")


def test_an_answer_from_before_a_role_change_counts_for_nothing() -> None:
    node = replica()
    node.do(node.session(), "GET k")
    query = node.shard.reads.on_asked()
    node.shard.become_restoring()
    node.shard.on_tail(query, (1, 1), node.now_us)
    assert node.go_on().startswith(b"-LOADING")


def test_parked_reads_start_again_at_a_new_primary() -> None:
    node = replica()
    node.do(node.session(), "GET k", "SET k w")
    node.shard.become_primary(6, 5)
    node.shard.lease = FixedLease(1000 * SECOND)
    assert node.go_on() == b"$1\r\nv\r\n"
    assert node.commit() == {1: b"+OK\r\n"}


def test_session_reads_one_after_the_other_hurry_the_log_with_one_question_at_a_time() -> None:
    node = replica()
    reads = node.shard.reads
    for seen in (6, 7, 8):
        session = node.session()
        session.reads, session.seen = SESSION, seen
        assert node.do(session, "GET k") == b""
        if seen == 6:
            assert reads.wanted
            query = reads.on_asked()
        assert not reads.wanted, "a question is under way"
    node.do(node.session(), "GET k")
    assert reads.wanted, "a strong read has a question of its own, since none under way covers it"
    later = reads.on_asked()
    node.shard.on_tail(query, (1, 5), node.now_us)
    assert node.go_on() == b""
    node.shard.on_tail(later, (1, 5), node.now_us)
    assert node.go_on() == b"$1\r\nv\r\n" and not reads.wanted
    session = node.session()
    session.reads, session.seen = SESSION, 9
    node.do(session, "GET k")
    assert reads.wanted


def test_eventual_and_session_reads() -> None:
    node = replica()
    assert node.do(node.session(reads=EVENTUAL), "GET k") == b"$1\r\nv\r\n"
    assert node.do(node.session(reads=SESSION, seen=5), "GET k") == b"$1\r\nv\r\n"
    ahead = node.session(reads=SESSION, seen=7)
    assert node.do(ahead, "GET k") == b""
    node.shard.on_applied((1, 7), node.wall_ms)
    assert node.go_on() == b"$1\r\nv\r\n"


def test_a_replica_judges_expiry_by_the_newest_entrys_time() -> None:
    node = replica()
    node.engine.apply(
        b"*5\r\n$3\r\nSET\r\n$1\r\nt\r\n$1\r\nv\r\n$4\r\nPXAT\r\n$13\r\n1700000000500\r\n",
        node.wall_ms,
    )
    one = node.session(reads=EVENTUAL)
    node.wall_ms += 10_000
    assert node.do(one, "GET t") == b"$1\r\nv\r\n"
    node.shard.on_applied((1, 6), 1_700_000_000_500)
    assert node.do(one, "GET t") == b"$-1\r\n"
    assert node.engine.keyspace.database(0).get(b"t") == b"v", "only the primary decides"


def test_a_replica_shows_its_own_time_and_judges_keys_by_the_logs() -> None:
    node = replica()
    node.engine.apply(
        b"*5\r\n$3\r\nSET\r\n$1\r\nt\r\n$1\r\nv\r\n$4\r\nPXAT\r\n$13\r\n1700000000500\r\n",
        node.wall_ms,
    )
    one = node.session(reads=EVENTUAL)
    node.wall_ms += 600_000
    assert node.do(one, "TIME") == b"*2\r\n$10\r\n1700000600\r\n$1\r\n0\r\n"
    assert node.do(one, "GET t", "PTTL t") == b"$1\r\nv\r\n:500\r\n"
    assert node.do(one, "MULTI", "SELECT 1", "SELECT 0", "GET t", "EXEC").endswith(
        b"*3\r\n+OK\r\n+OK\r\n$1\r\nv\r\n"
    )
    node.do(one, "CLIENT PAUSE 5000")
    assert node.engine.pause_until_ms == node.wall_ms + 5000


def test_a_former_primary_judges_expiry_by_the_logs_time_too() -> None:
    node = Node()
    one = node.session(reads=EVENTUAL)
    entry_ms = node.wall_ms
    node.do(one, "SET k v")
    node.commit()
    node.wall_ms += 5000  # by this node's clock, which no entry contains
    node.do(one, "GET k")
    node.shard.demote(node.shard.tracker.committed)
    node.shard.become_replica()
    node.engine.apply(
        b"*5\r\n$3\r\nSET\r\n$1\r\nt\r\n$1\r\nv\r\n$4\r\nPXAT\r\n$13\r\n1700000001500\r\n", entry_ms
    )
    node.shard.on_applied((2, 3), entry_ms)
    assert node.do(one, "GET t") == b"$1\r\nv\r\n", "the next primary shows it"


def test_a_key_that_was_hidden_when_it_was_watched_has_not_changed() -> None:
    node = replica()
    node.engine.apply(
        b"*5\r\n$3\r\nSET\r\n$1\r\nt\r\n$1\r\nv\r\n$4\r\nPXAT\r\n$13\r\n1700000000500\r\n",
        node.wall_ms,
    )
    one, two = node.session(reads=EVENTUAL), node.session(reads=EVENTUAL)
    node.do(two, "WATCH t", "MULTI", "GET t")
    node.shard.on_applied((1, 6), 1_700_000_000_500)
    assert (
        node.do(one, "WATCH t", "MULTI", "GET t", "EXEC")
        == b"+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n"
    )
    assert node.do(two, "EXEC") == b"*-1\r\n", "it was there when it was watched"
    node.do(one, "WATCH t", "WATCH t")
    assert len(one.watched_gone) == 1
    node.do(one, "UNWATCH")
    assert not one.watched_gone


def test_a_transaction_that_an_expiry_stopped_has_no_unknown_outcome() -> None:
    node = Node()
    one, two = node.session(), node.session()
    node.do(one, "SET t v PX 5", "SET u v PX 5")
    node.commit()
    node.do(one, "WATCH t", "MULTI", "SET k 1")
    node.wall_ms += 5
    assert (
        node.do(one, "EXEC") == b""
        and node.do(two, "MULTI", "GET u", "SET l 1") == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    )
    node.do(two, "EXEC")
    told = {
        session.id: (data[:9], close)
        for session, data, close in node.shard.demote(node.shard.tracker.committed)
    }
    assert told == {one.id: (b"-TRYAGAIN", False), two.id: (b"-UNKNOWN ", True)}


def test_the_keys_of_a_slot_are_those_that_may_be_shown() -> None:
    node = Node(cluster_enabled=True)
    one = node.session()
    node.do(one, "SET {s}1 v PX 5", "SET {s}2 v")
    node.commit()
    slot = slot_of(b"{s}")
    node.wall_ms += 5
    assert node.do(one, f"CLUSTER GETKEYSINSLOT {slot} 1", f"CLUSTER COUNTKEYSINSLOT {slot}") == b""
    assert node.commit() == {one.id: b"*1\r\n$4\r\n{s}2\r\n:1\r\n"}, (
        "shown when the log has the deletion"
    )


def test_before_authentication_only_a_few_commands_run() -> None:
    node = Node(requirepass="secret")
    one = node.session(authenticated=False)
    one.update_fast_path()
    assert node.do(one, "GET k") == b"-NOAUTH Authentication required.\r\n"
    assert node.do(one, "AUTH secret", "GET k") == b"+OK\r\n$-1\r\n"


def test_cluster_mode_names_the_node_that_serves_a_slot() -> None:
    node = Node(REPLICA, cluster_enabled=True)
    one = node.session(reads=EVENTUAL)
    assert node.do(one, "GET k") == b"-CLUSTERDOWN no primary holds the lease\r\n"
    node.engine.facts.primary_host, node.engine.facts.primary_port = "10.0.0.1", 6379
    assert node.do(one, "GET k") == b"-MOVED 7629 10.0.0.1:6379\r\n"
    one.readonly = True
    assert node.do(one, "GET k") == b"$-1\r\n"
    assert node.do(one, "SET k v") == b"-MOVED 7629 10.0.0.1:6379\r\n"
    assert node.do(one, "MGET a b") == b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
    primary = Node(cluster_enabled=True)
    assert (
        primary.do(primary.session(), "MSET a 1 b 2")
        == b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
    )
    assert primary.do(primary.session(), "MGET {a}1 {a}2") == b"*2\r\n$-1\r\n$-1\r\n"


def test_a_client_that_left_is_named_nowhere(node: Node) -> None:
    one, two = node.session(), node.session()
    node.do(one, "WATCH a b", "WATCH a", "SET k v", "MONITOR")
    assert node.engine.monitors == [one] and not node.shard.fast_path_open
    node.shard.forget(one)
    assert (
        not node.engine.watched.sessions and not node.engine.monitors and node.shard.fast_path_open
    )
    assert node.do(two, "SET a 1") == b"" and node.commit() == {two.id: b"+OK\r\n"}


def raising(context: Any, argv: list[bytes]) -> bytes:
    raise RuntimeError("a bug")


def test_an_error_of_the_program_in_a_write_ends_the_node_and_in_a_read_costs_the_client(
    node: Node,
) -> None:
    for name in (b"SET", b"GET"):
        node.engine.table[name].handler = raising
    one = node.session()
    with pytest.raises(RuntimeError, match="a bug"):
        node.do(one, "GET k")
    assert not node.shard.failed and node.shard.clean
    with pytest.raises(HalfDone, match="SET: RuntimeError: a bug"):
        node.do(one, "SET k v")
    assert node.shard.failed and not node.shard.clean


def test_an_error_of_the_program_in_exec_ends_the_node(node: Node) -> None:
    one = node.session()
    node.engine.table[b"GET"].handler = raising
    node.do(one, "MULTI", "GET k")
    with pytest.raises(HalfDone):
        node.do(one, "EXEC")
    assert node.shard.failed
