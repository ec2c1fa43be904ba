"""A log on disk: synced entries are there again for every shape of its segments.
Memory stays bounded; a full disk is noticed in time.
"""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.txlog.storage.helpers import (
    PROMISE,
    SEGMENT,
    contents,
    copy,
    fill,
    flip,
    make_run,
    open_store,
    reopen,
    segment_files,
)
from txlog.consensus.outputs import Promise, Suspicion
from txlog.entry import GENESIS_CHAIN, NO_ENTRY
from txlog.storage.errors import StorageError, StorageFatal, StorageInUse, StorageLost
from txlog.storage.files import Files
from txlog.storage.opening import check_log_name
from txlog.storage.segment import BLOCK_BYTES, EVIDENCE_AT
from txlog.storage.store import LogStore


def test_a_new_log_is_empty_and_remembers_that_it_never_promised(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    for _ in range(2):
        found = store.recovered
        assert (found.last, found.last_chain, found.promise, found.damage) == (
            NO_ENTRY,
            GENESIS_CHAIN,
            Promise(),
            [],
        )
        assert (found.committed, found.proven, found.suspicion) == (0, 0, None)
        store = reopen(store)


@pytest.mark.parametrize("count", [1, 7, 40, 400])
def test_what_was_synced_is_there_again(tmp_path: Path, count: int) -> None:
    store = open_store(tmp_path / "log")
    entries = make_run(count)
    fill(store, entries, committed=0)
    store = reopen(store)
    assert store.recovered.last == entries[-1].id
    assert store.recovered.last_chain == entries[-1].chain
    assert store.recovered.damage == []
    assert contents(store) == [entry.encoded for entry in entries]
    for entry in entries:
        assert store.id_at(entry.position) == entry.id
        assert store.chain_at(entry.position) == entry.chain
        found = store.entry_at(entry.position)
        assert found is not None and found.encoded == entry.encoded
    assert store.entry_at(count + 1) is None
    assert store.id_at(0) is None


def test_an_old_segment_is_read_without_its_positions_in_memory(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    entries = make_run(500)
    fill(store, entries)
    store = reopen(store, cache_bytes=0)
    assert 1 not in store._positions
    assert store.segments_sealed() >= 3
    for position in (1, 2, 63, 64, 65, 130, 300):
        assert store.read(position, 500, 1) == [entries[position - 1].encoded]
        assert store.chain_at(position) == entries[position - 1].chain
    more = make_run(200, start=501, previous=entries[-1].chain)
    fill(store, more)
    assert contents(store) == [entry.encoded for entry in entries + more]


def test_unwritten_and_unsynced_entries_can_be_read(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log", cache_bytes=0)
    entries = make_run(300)
    store.write_entries(entries, 0)
    assert store.recent(1, 300, 1 << 20) == [entry.encoded for entry in entries]
    store.sync()
    store.write_entries(make_run(1, start=301, previous=entries[-1].chain), 0)
    assert store.recent(1, 300, 1 << 20) == []
    assert store.read(1, 1, 1) == [entries[0].encoded]


def test_the_cache_is_bounded_and_positions_are_too(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log", cache_bytes=20_000)
    store._positions.kept = 50
    entries = make_run(600)
    fill(store, entries, batch=3)
    assert store._cache_size <= 20_000
    assert len(store._cache) < 200
    assert len(store._positions.terms) <= 100
    assert contents(store) == [entry.encoded for entry in entries]


def test_max_bytes_bounds_a_read_but_never_to_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    entries = make_run(20)
    size = len(entries[5].encoded)
    fill(store, entries)
    for source in (store, reopen(store, cache_bytes=0)):
        assert len(source.read(6, 20, 1)) == 1
        assert len(source.read(6, 20, 3 * size)) == 3
        assert len(source.read(6, 8, 1 << 20)) == 3
        assert source.read(21, 30, 100) == []


def test_entries_that_do_not_fit_roll_over_and_too_large_ones_are_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    entries = [*make_run(1, size=3000)]
    entries += make_run(1, size=3000, start=2, previous=entries[-1].chain)
    entries += make_run(1, size=3900, start=3, previous=entries[-1].chain)
    store.write_entries(entries, 0)
    store.sync()
    assert [path.name for path in segment_files(store.path)] == [
        f"{first:020d}.seg" for first in (1, 2, 3)
    ]
    with pytest.raises(ValueError, match="does not fit"):
        store.write_entries(make_run(1, size=5000, start=4, previous=entries[-1].chain), 0)
    store = reopen(store)
    assert contents(store) == [entry.encoded for entry in entries]


def test_promise_and_suspicion_are_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    store.write_meta(PROMISE, Suspicion(4, b"e" * 16, "torn tail", True))
    store.sync()
    store = reopen(store)
    assert store.recovered.promise == PROMISE
    assert store.recovered.suspicion == Suspicion(4, b"e" * 16, "torn tail", True)
    store.write_meta(PROMISE, None)
    store.sync()
    assert reopen(store).recovered.suspicion is None


@pytest.mark.parametrize("position", [1, 2, 31, 33, 34, 60, 99, 100, 101])
def test_truncation_and_writing_on(tmp_path: Path, position: int) -> None:
    store = open_store(tmp_path / "log", cache_bytes=2000)
    entries = make_run(100)
    fill(store, entries)
    store.truncate(position)
    keep = entries[: position - 1]
    fresh = make_run(
        70, start=position, previous=keep[-1].chain if keep else GENESIS_CHAIN, term=2, mark=b"new"
    )
    assert store.id_at(position) is None
    fill(store, fresh)
    assert contents(store) == [entry.encoded for entry in keep + fresh]
    store = reopen(store)
    assert contents(store) == [entry.encoded for entry in keep + fresh]
    assert (store.recovered.last, store.recovered.damage) == (fresh[-1].id, [])


def test_truncation_of_old_history_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    entries = make_run(300)
    fill(store, entries)
    store = reopen(store)
    store.truncate(40)
    store.sync()
    assert contents(store) == [entry.encoded for entry in entries[:39]]
    store = reopen(store)
    assert (store.recovered.last, store.recovered.damage, store.recovered.proven) == (
        entries[38].id,
        [],
        store.recovered.proven,
    )
    assert store.recovered.proven <= 39


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "sync", "cut", "restart", "evidence"]), st.integers(1, 40)
        ),
        max_size=25,
    )
)
def test_any_sequence_equals_a_list(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    store = open_store(tmp_path_factory.mktemp("log") / "log", cache_bytes=1000)
    model: list[bytes] = []
    chains = [GENESIS_CHAIN]
    term = 1
    for step, amount in steps:
        if step == "write":
            run = make_run(amount, start=len(model) + 1, previous=chains[-1], term=term)
            store.write_entries(run, 0)
            model += [entry.encoded for entry in run]
            chains += [entry.chain for entry in run]
        elif step == "sync":
            store.sync()
        elif step == "cut" and model:
            position = max(1, len(model) + 1 - amount)
            term += 1
            store.truncate(position)
            del model[position - 1 :], chains[position:]
        elif step == "evidence" and store.evidence_due:
            store.write_evidence(0)
        elif step == "restart":
            store.sync()
            store = reopen(store, cache_bytes=1000)
            assert store.recovered.last[1] == len(model)
            assert store.recovered.last_chain == chains[-1]
            assert store.recovered.damage == []
    store.sync()
    assert contents(store) == model
    store.close()


# --------------------------------------------------------------------------- evidence


def test_the_last_sync_is_proven_once_evidence_is_written(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    entries = make_run(10)
    assert not store.evidence_due
    store.write_entries(entries[:4], 0)
    store.sync()
    assert store.evidence_due
    store.write_entries(entries[4:], 3)
    assert not store.evidence_due  # the frames carry it
    store.sync()
    store = reopen(store)
    assert (store.recovered.proven, store.recovered.committed) == (4, 3)
    store = reopen(store)
    assert not store.evidence_due or store.recovered.proven == 4
    store.write_evidence(9)
    store.sync()
    assert not store.evidence_due
    store = reopen(store)
    assert (store.recovered.proven, store.recovered.committed) == (10, 9)


def test_evidence_does_not_outlive_a_truncation(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    fill(store, make_run(10))
    store.write_evidence(2)
    store.sync()
    store.truncate(6)
    store.sync()
    path = store.path
    store.close()
    for rotten in (None, *EVIDENCE_AT):
        hurt = copy(path, tmp_path / f"hurt{rotten}")
        if rotten is not None:
            flip(segment_files(hurt)[0], rotten + 10)
        store = open_store(hurt)
        assert (store.recovered.last[1], store.recovered.proven, store.recovered.damage) == (
            5,
            5,
            [],
        )
        store.close()


def test_a_sync_begun_before_a_truncation_proves_nothing_after_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    entries = make_run(10)
    store.write_entries(entries, 0)
    running = store.begin_sync()
    store.truncate(5)
    fresh = make_run(6, start=5, previous=entries[3].chain, term=2)
    store.write_entries(fresh, 0)
    running()
    assert not store.evidence_due
    store.write_entries(make_run(1, start=11, previous=fresh[-1].chain, term=2), 0)
    store.sync()
    assert reopen(store).recovered.proven <= 4


# -------------------------------------------------------------------------- the owner of the folder


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    with pytest.raises(StorageInUse, match="in use"):
        open_store(tmp_path / "log")
    reopen(store).close()


def test_a_folder_of_another_node_or_log_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path / "log").close()
    for log, group, node in (
        ("shard-1", b"g" * 16, "n1"),
        ("shard-0", b"h" * 16, "n1"),
        ("shard-0", b"g" * 16, "n2"),
    ):
        with pytest.raises(StorageError, match="belongs to"):
            LogStore.open(tmp_path / "log", log, group, node)
    open_store(tmp_path / "log").close()  # the refusals left no lock behind


@pytest.mark.parametrize(
    "name", ["", "..", ".", ".x", "a/b", "a\\b", "a\0", "x" * 65, "é", "a b", "a\n"]
)
def test_names_that_are_no_log_names(name: str) -> None:
    with pytest.raises(StorageError):
        check_log_name(name)


@pytest.mark.parametrize("name", ["shard-0", "a", "A_b.c-1", "x" * 64])
def test_names_that_are(name: str) -> None:
    check_log_name(name)


def test_lost_disks(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    fill(store, make_run(100))
    store.close()
    newest = segment_files(tmp_path / "log")[-1]
    saved = newest.read_bytes()
    newest.unlink()
    with pytest.raises(StorageLost, match="newest segment is missing"):
        open_store(tmp_path / "log")
    newest.write_bytes(saved)
    middle = segment_files(tmp_path / "log")[1]
    saved = middle.read_bytes()
    middle.unlink()
    store = open_store(tmp_path / "log")  # as damage: other nodes have it
    assert store.recovered.damage
    store.close()
    middle.write_bytes(saved)
    (tmp_path / "log" / "meta").unlink()
    with pytest.raises(StorageLost, match="no meta"):
        open_store(tmp_path / "log")


# ----------------------------------------------------------------------- a full disk, a broken disk


class FullDisk(Files):
    """``left`` bytes may be reserved, then no more."""

    def __init__(self, left: int) -> None:
        self.left = left

    def reserve(self, fd: int, length: int) -> None:
        if length > self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= length
        super().reserve(fd, length)


def test_a_full_disk_is_found_before_an_append_and_recovered_from(tmp_path: Path) -> None:
    disk = FullDisk(2 * SEGMENT)
    store = open_store(tmp_path / "log", files=disk)
    position, chain = 1, GENESIS_CHAIN
    written = []
    while store.has_room:
        entries = make_run(1, start=position, previous=chain)
        store.write_entries(entries, 0)
        store.sync()
        written += entries
        position, chain = position + 1, entries[-1].chain
        assert position < 1000
    assert len(segment_files(store.path)) == 2
    assert contents(store) == [entry.encoded for entry in written]
    disk.left = SEGMENT
    assert store.has_room
    fill(store, make_run(50, start=position, previous=chain), batch=1)
    assert len(segment_files(store.path)) == 3
    store = reopen(store, files=disk)
    assert store.recovered.damage == []
    assert len(contents(store)) == position + 49


def test_a_full_disk_in_the_thread_is_asked_again(tmp_path: Path) -> None:
    disk = FullDisk(SEGMENT)
    store = open_store(tmp_path / "log", files=disk, threaded=True)
    store._spare._retry_s = 0.01
    entries = make_run(28)
    fill(store, entries)
    wait_until(lambda: not store.has_room)
    disk.left = 10 * SEGMENT
    wait_until(lambda: store.has_room)
    fill(store, make_run(20, start=29, previous=entries[-1].chain))
    store.close()


@pytest.mark.parametrize("size", [1, 30, 900, 3000])
def test_what_is_said_to_have_room_has_it(tmp_path: Path, size: int) -> None:
    """The store has the room that it reports, for all divisions of the entries into segments.
    Some of the entries accepted before may wait in the queue, or may just have been cut away.
    """
    disk = FullDisk(3 * SEGMENT)
    store = open_store(tmp_path / "log", files=disk)
    overhead = store.recovered.entry_overhead
    chains = [GENESIS_CHAIN]
    written = 0
    for step in range(60):
        left, run = store.room_bytes, []
        entry = make_run(1, size + step, len(chains), chains[-1])[0]
        while (left := left - len(entry.encoded) - overhead) >= 0:
            run.append(entry)
            chains.append(entry.chain)
            entry = make_run(1, size + step, len(chains), chains[-1])[0]
        store.write_entries(run, 0)
        written += len(run)
        if step % 3 == 2:
            store.sync()
        if step % 7 == 6 and len(chains) > 3:
            store.truncate(len(chains) - 2)
            del chains[len(chains) - 2 :]
    store.sync()
    assert written and not store.has_room
    assert len(contents(store)) == len(chains) - 1


def test_a_put_back_that_has_no_room_waits_for_some(tmp_path: Path) -> None:
    """S2 at the end of the log: the old entry there was the first of another segment.
    That segment is gone; only a piece of a smaller one remains.
    """
    disk = FullDisk(SEGMENT)
    store = open_store(tmp_path / "log", files=disk)
    first = make_run(1, 3000)[0]
    second = make_run(1, 2000, 2, first.chain)[0]
    fill(store, [first])
    offset = store._segments[-1].used
    store.close()
    flip(segment_files(store.path)[0], offset + 20, 0xFF)
    store = open_store(store.path, files=disk)
    assert [damage.position for damage in store.recovered.damage] == [2]
    assert [damage.position for damage in store.put_back(second).damage] == [2]
    store.sync()
    disk.left = SEGMENT
    assert store.has_room
    assert store.put_back(second).damage == []
    store.sync()
    assert contents(reopen(store)) == [first.encoded, second.encoded]


def test_room_found_missing_too_late_is_fatal(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log", files=FullDisk(SEGMENT))
    store.write_entries(make_run(60), 0)
    with pytest.raises(StorageFatal, match="no space left"):
        store.sync()


class BrokenDisk(Files):
    broken = False

    def sync(self, fd: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        super().sync(fd)


def test_an_error_of_the_disk_is_fatal_with_its_reason(tmp_path: Path) -> None:
    disk = BrokenDisk()
    store = open_store(tmp_path / "log", files=disk)
    store.write_entries(make_run(1), 0)
    disk.broken = True
    with pytest.raises(StorageFatal, match="Input/output error"):
        store.sync()


# --------------------------------------------------------------------------- threads


def wait_until(condition: object) -> None:
    for _ in range(2000):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.005)
    raise AssertionError("never came true")


def test_readers_in_threads_while_the_log_grows(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log", cache_bytes=1000, threaded=True)
    entries = make_run(1500)
    fill(store, entries[:300])
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        position = 1
        while not done.is_set():
            found = store.read(position, 300, 2000)
            if not found or found != [
                entry.encoded for entry in entries[position - 1 : position - 1 + len(found)]
            ]:
                wrong.append((position, found))
                return
            position = 1 if position + len(found) > 300 else position + len(found)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for at in range(300, 1500, 20):
        store.write_entries(entries[at : at + 20], 300)
        syncer = threading.Thread(target=store.begin_sync())
        syncer.start()
        syncer.join()
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.found_damage() is None
    store.close()
    store = open_store(tmp_path / "log")
    assert contents(store) == [entry.encoded for entry in entries]


def test_the_spare_is_used_again_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    before = (store.path / "next").stat().st_ino
    store = reopen(store)
    assert (store.path / "next").stat().st_ino == before
    store = reopen(store, segment_bytes=SEGMENT + BLOCK_BYTES)
    assert (store.path / "next").stat().st_size == SEGMENT + BLOCK_BYTES
    fill(store, make_run(100))
    assert contents(reopen(store)) == [entry.encoded for entry in make_run(100)]
