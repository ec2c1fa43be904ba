"""How much may be in flight, by a disk with a number of bytes a second.
The time of a small entry does not count, and the time of a large one does.
"""

from __future__ import annotations

from random import Random

import pytest

from memstore.commands import build_table
from memstore.engine.engine import Engine
from memstore.engine.settings import Settings
from memstore.replication.commit_rate import FIRST_BYTES, LEAST_BYTES, SHARE, CommitRate
from memstore.replication.control_entries import Leadership
from memstore.replication.follower import Follower
from memstore.replication.shard import PRIMARY, FixedLease, Shard
from tests.replication.test_shard import SECOND, Node
from txlog.entry import GENESIS_CHAIN, LEADERSHIP, Entry, make_entry

LEASE_MS = 1000
MIB = 1024 * 1024
MOST = 64 * MIB


class Disk:
    """A disk that writes one entry after the other."""

    def __init__(self, rate: CommitRate, bytes_per_s: int, sync_us: int) -> None:
        self.rate, self.bytes_per_s, self.sync_us = rate, bytes_per_s, sync_us
        self.now = self.free_at = SECOND
        self.queue: list[tuple[int, int, int]] = []  # position, appended, done
        self.position = 0
        self.oldest_us = 0  # the largest age of an entry

    def append(self, size: int) -> None:
        self.position += 1
        self.rate.on_appended(self.position, size, self.now)
        self.free_at = max(self.free_at, self.now) + size * SECOND // self.bytes_per_s
        self.queue.append((self.position, self.now, self.free_at + self.sync_us))

    def step(self) -> None:
        position, since, done = self.queue.pop(0)
        self.now = max(self.now, done)
        self.oldest_us = max(self.oldest_us, self.now - since)
        self.rate.on_committed(position, self.now)

    def write(self, total: int) -> None:
        """Write in pieces, as a primary does: as many as there is room for, and at least one."""
        while total > 0 or self.queue:
            while total > 0 and (not self.queue or self.rate.room >= min(self.rate.piece, 4 * MIB)):
                size = min(total, self.rate.piece, 4 * MIB)
                self.append(size)
                total -= size
            self.step()


@pytest.mark.parametrize("bytes_per_s", [1 * MIB, 3 * MIB, 20 * MIB, 100 * MIB, 1000 * MIB])
@pytest.mark.parametrize("sync_us", [100, 5000, 300_000])
def test_load_alone_never_makes_an_append_as_old_as_a_lease(bytes_per_s: int, sync_us: int) -> None:
    rate = CommitRate(LEASE_MS, MOST)
    disk = Disk(rate, bytes_per_s, sync_us)
    for _ in range(20):
        disk.append(100)
        disk.step()
    began = disk.now
    disk.write(200 * MIB)
    assert disk.oldest_us < LEASE_MS * 1000 + sync_us
    disk.oldest_us = 0
    disk.write(20 * MIB)
    assert disk.oldest_us < LEASE_MS * 1000 // SHARE * 3 + sync_us, (
        "and once it is measured, far from it"
    )
    assert rate.in_flight == 0
    if sync_us < 10_000:
        assert disk.now - began < 220 * MIB * SECOND // bytes_per_s * 2 + SECOND, (
            "the disk is kept busy"
        )


def test_a_disk_that_becomes_slow_lowers_the_limit_at_once_and_a_recovery_raises_it() -> None:
    rate = CommitRate(LEASE_MS, MOST)
    disk = Disk(rate, 400 * MIB, 200)
    disk.write(200 * MIB)
    high = rate.limit
    assert high > 8 * FIRST_BYTES
    disk.bytes_per_s = 4 * MIB
    disk.write(20 * MIB)
    assert LEAST_BYTES <= rate.limit <= MIB
    disk.bytes_per_s = 400 * MIB
    disk.write(400 * MIB)
    assert rate.limit > 8 * FIRST_BYTES


def test_slow_syncs_are_no_reason_to_send_less() -> None:
    rate = CommitRate(LEASE_MS, MOST)
    disk = Disk(rate, 1000 * MIB, 400_000)
    for _ in range(30):
        disk.append(100)
        disk.step()
    disk.write(40 * MIB)
    assert rate.limit >= FIRST_BYTES


@pytest.mark.parametrize("sync_ms", [60, 130, 200, 400])
def test_large_entries_alone_show_that_the_sync_is_what_takes_the_time(sync_ms: int) -> None:
    """No small commit is measured, or it was measured when the disk was quick."""
    for quick_before in (False, True):
        rate = CommitRate(LEASE_MS, MOST)
        disk = Disk(rate, 100_000 * MIB, 100 if quick_before else sync_ms * 1000)
        if quick_before:
            disk.append(100)
            disk.step()
            disk.write(40 * MIB)
            disk.sync_us = sync_ms * 1000
            disk.write(20 * MIB)
        disk.write(1000 * MIB)
        assert rate.limit >= 8 * MIB, quick_before
        assert disk.oldest_us <= LEASE_MS * 1000 // 2


def test_a_limit_that_trials_have_raised_falls_when_the_bytes_take_the_time() -> None:
    rate = CommitRate(LEASE_MS, MOST)
    disk = Disk(rate, 100_000 * MIB, 200_000)
    disk.write(1000 * MIB)
    assert rate.limit >= 8 * MIB
    disk.bytes_per_s = 20 * MIB
    disk.write(400 * MIB)
    disk.oldest_us = 0
    disk.write(200 * MIB)
    assert disk.oldest_us < LEASE_MS * 1000 * 3 // 4
    assert rate.limit <= 10 * MIB


@pytest.mark.parametrize("size", [64 * 1024, 100_000, 130_000, 300_000])
def test_entries_of_one_size_use_what_a_trial_allows(size: int) -> None:
    rate = CommitRate(LEASE_MS, MOST)
    disk = Disk(rate, 100_000 * MIB, 200_000)
    began = disk.now
    for _ in range(6000):
        left = size
        while left:
            piece = min(left, rate.piece)
            while disk.queue and rate.room < piece:
                disk.step()
            disk.append(piece)
            left -= piece
    assert rate.limit > 4 * MIB and disk.now - began < 60 * SECOND


@pytest.mark.parametrize("bytes_per_s", [MIB // 4, MIB, 20 * MIB])
def test_a_trial_on_a_slow_disk_fails_and_is_rare(bytes_per_s: int) -> None:
    rate = CommitRate(LEASE_MS, MOST)
    disk = Disk(rate, bytes_per_s, 100)
    disk.write(20 * bytes_per_s)
    raised, seen = 0, rate.limit
    fits = max(bytes_per_s // SHARE, LEAST_BYTES)
    began = disk.now
    while disk.now < began + 100 * SECOND:
        disk.write(rate.piece * 2)
        raised += rate.limit > seen
        seen = rate.limit
        assert rate.limit <= fits * 9 // 4 and rate.floor <= fits
    assert raised <= 30


def test_an_entry_without_payload_tells_what_a_small_commit_takes() -> None:
    rate = CommitRate(LEASE_MS, MOST)
    rate.on_appended(1, 0, SECOND)
    assert not rate.on_committed(1, SECOND + 200_000)
    assert rate.base_us == 200_000 and rate.in_flight == 0


def test_the_limit_stays_in_its_bounds() -> None:
    rate = CommitRate(100, 100_000)
    disk = Disk(rate, 1000, 100)
    disk.write(200_000)
    assert rate.limit == 100_000
    rate = CommitRate(100, MOST)
    Disk(rate, 1000, 100).write(MIB)
    assert rate.limit == LEAST_BYTES


# --------------------------------------------------- the shard gives no more than there is room for


def test_entries_are_taken_as_far_as_there_is_room_and_positions_stay_true() -> None:
    node = Node(max_entry_bytes=5000)
    one = node.session()
    for n in range(4):
        node.do(one, f"SET k{n} {'v' * 4000}")
    assert [len(entry[1]) > 4000 for entry in node.shard.take_entries(1)] == [True], (
        "one in any case"
    )
    assert (
        node.shard.next_position == 3
        and node.shard.has_entries
        and node.shard.waiting_bytes > 12_000
    )
    assert len(node.shard.take_entries(9000)) == 2
    node.do(one, "SET k4 x")
    assert (
        len(node.shard.take_entries(100_000)) == 1
        and not node.shard.has_entries
        and node.shard.waiting_bytes == 0
    )
    assert len(node.shard.on_committed(5)) == 1 and node.sent[one.id] == b""
    assert node.shard.uncommitted_bytes == 0 and node.shard.clean


def test_what_gathers_stays_open_while_it_has_to_wait() -> None:
    node = Node(max_entry_bytes=5000)
    one = node.session(db=3)
    node.do(one, f"SET k0 {'v' * 4000}", f"SET k1 {'v' * 4000}")
    node.shard.take_entries(1)
    node.do(one, "SET k2 x", "SET k3 x")
    ((_, payload, _, _),) = node.shard.take_entries(100_000)
    assert (
        payload.count(b"SET") == 3
        and payload.startswith(b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n")
        and payload.count(b"SELECT") == 1
    )
    node.do(one, "SET k4 x")
    ((_, payload, _, _),) = node.shard.take_entries()
    assert b"SELECT\r\n$1\r\n3" in payload


@pytest.mark.parametrize("taken", [0, 1, 2, 4, 5])
def test_a_run_that_a_new_term_cuts_is_written_once_more_and_replicas_have_it(taken: int) -> None:
    """A unit has five entries; ``taken`` of them are in the log when the term changes.
    The reason for the change is that a minority of log nodes must be sealed again.
    """
    node = Node(max_entry_bytes=4096)
    shard, one, two = node.shard, node.session(), node.session()
    term, log = 1, [make_entry(1, 1, LEADERSHIP, node.wall_ms, GENESIS_CHAIN, _leadership())]

    def append(room: int) -> None:
        for kind, payload, wall_ms, continued in shard.take_entries(room):
            log.append(
                make_entry(len(log) + 1, term, kind, wall_ms, log[-1].chain, payload, continued)
            )

    node.do(one, "SET before 1")
    append(1 << 30)
    node.do(one, f"SET large {'v' * 18_000}")
    node.do(two, "SET behind 1", "GET large")
    for _ in range(taken):
        append(1)
    term = 2
    log.append(
        make_entry(len(log) + 1, term, LEADERSHIP, node.wall_ms, log[-1].chain, _leadership())
    )
    shard.shift_positions(len(log))
    while shard.has_entries:
        append(1)
        assert shard.next_position == len(log) + 1
    assert one.seen <= len(log) and two.seen == len(log)
    for position in range(2, len(log)):
        assert two.id not in {session.id for session, _ in shard.on_committed(position)}, (
            "released before its commit"
        )
    told = {session.id: data for session, data in shard.on_committed(len(log))}
    assert (
        told[two.id].startswith(b"+OK\r\n$18000\r\n")
        and shard.clean
        and shard.uncommitted_bytes == 0
        and shard.waiting_bytes == 0
    )
    assert _replayed(log).digest() == _memory(node)


def _leadership() -> bytes:
    return Leadership("n" * 40, b"i" * 16, "a", "h", 1, 1000, "0", {}).encode()


class _Replica:
    def __init__(self, log: list[Entry]) -> None:
        self.engine = Engine(Settings(), Random(1), build_table())
        follower = Follower(self.engine, 0)
        follower.feed(log)
        while follower.pending_bytes or follower.received > follower.position:
            follower.step(1 << 30)
            assert not follower.stuck, follower.stuck

    def digest(self) -> dict[bytes, bytes]:
        return _strings(self.engine)


def _replayed(log: list[Entry]) -> _Replica:
    return _Replica(log)


def _memory(node: Node) -> dict[bytes, bytes]:
    return _strings(node.engine)


def _strings(engine: Engine) -> dict[bytes, bytes]:
    shard = Shard(engine)
    shard.role, shard.lease = PRIMARY, FixedLease(1 << 60)
    found = {}
    for key in (b"before", b"large", b"behind"):
        session = Node().session()
        shard.run(session, [[b"GET", key]], 0, 1_700_000_000_000, 1)
        found[key] = b"".join(session.out)
    return found
