"""Damage on disk (S1-S3): found at start or at a read, repaired with entries of other nodes.
The store never cuts on a guess.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.txlog.storage.helpers import (
    PROMISE,
    contents,
    copy,
    fill,
    flip,
    make_run,
    open_store,
    reopen,
    segment_files,
)
from txlog.consensus.outputs import Suspicion
from txlog.entry import Entry, make_entry
from txlog.storage import inspect
from txlog.storage.errors import StorageLost
from txlog.storage.files import Files
from txlog.storage.meta import SLOT_BYTES
from txlog.storage.segment import BLOCK_BYTES, EVIDENCE_AT, FRAME_HEADER_BYTES, frame_bytes
from txlog.storage.store import LogStore

RUN = make_run(100)
FRAME = frame_bytes(len(RUN[0].encoded))
PER_SEGMENT = 4096 // FRAME


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of four segments, everything synced, committed up to 98, evidence written."""
    path = tmp_path_factory.mktemp("original") / "log"
    store = open_store(path)
    fill(store, RUN, committed=0)
    store.write_evidence(98)
    store.sync()
    store.close()
    return path


def mend(store: LogStore, entries: list[Entry]) -> list[int]:
    """Put back all damaged entries, lowest first, as the acceptor does; the positions."""
    done: list[int] = []
    damage = store.recovered.damage
    while damage:
        position = damage[0].position
        assert position not in done
        assert position <= len(entries), "damage of an entry that never was"
        damage = store.put_back(entries[position - 1]).damage
        done.append(position)
    store.sync()
    return done


@settings(max_examples=60, deadline=None)
@example(which=3, place=EVIDENCE_AT[0], mask=1)
@example(which=3, place=EVIDENCE_AT[1] + 10, mask=1)
@given(
    which=st.integers(0, 3), place=st.integers(0, BLOCK_BYTES + 4096 - 1), mask=st.integers(1, 255)
)
def test_a_flipped_byte_anywhere_is_found_and_put_back(
    original: Path, tmp_path_factory: pytest.TempPathFactory, which: int, place: int, mask: int
) -> None:
    path = copy(original, tmp_path_factory.mktemp("hurt") / "log")
    flip(segment_files(path)[which], place, mask)
    findings = inspect.verify(path).findings
    assert findings
    assert {finding.file.name for finding in findings} <= {
        segment_files(path)[which].name,
        segment_files(path)[min(3, which + 1)].name,
    }
    store = open_store(path)
    found = store.recovered
    assert (found.committed, found.proven) == (98, 100)
    used = len(RUN) - which * PER_SEGMENT
    # after the end: no entry is damaged, and the store cannot know that
    if which == 3 and place >= BLOCK_BYTES + used * FRAME:
        assert [damage.position for damage in found.damage] == [101]
        assert found.last == RUN[-1].id
        store.truncate(101)
        store.sync()
    else:
        assert len(found.damage) <= 1
        assert all(
            damage.known == RUN[damage.position - 1].id or damage.next_chain is not None
            for damage in found.damage
            if damage.position < 100
        )
        mend(store, RUN)
    assert contents(store)[:100] == [entry.encoded for entry in RUN]
    store = reopen(store)
    assert store.recovered.damage == []
    assert (store.recovered.last, store.recovered.last_chain) == (RUN[-1].id, RUN[-1].chain)
    assert contents(store) == [entry.encoded for entry in RUN]
    store.close()
    assert inspect.verify(path).findings == []


def test_holes_below_committed_leave_the_log_going_on(original: Path, tmp_path: Path) -> None:
    path = copy(original, tmp_path / "log")
    for position in (1, 40, 41, 97):
        hurt(path, position)
    store = open_store(path)
    assert [damage.position for damage in store.recovered.damage] == [1, 40, 41, 97]
    assert store.recovered.last == RUN[-1].id
    assert store.entry_at(40) is None
    assert store.chain_at(41) == RUN[40].chain  # the next entry shows it
    assert store.read(35, 100, 1 << 20) == [entry.encoded for entry in RUN[34:39]]
    assert store.read(42, 100, 1 << 20)[0] == RUN[41].encoded
    more = make_run(50, start=101, previous=RUN[-1].chain)
    fill(store, more)
    store = reopen(store)
    assert [damage.position for damage in store.recovered.damage] == [1, 40, 41, 97]
    assert mend(store, RUN) == [1, 40, 41, 97]
    assert contents(store) == [entry.encoded for entry in RUN + more]


def hurt(path: Path, position: int, header: bool = False) -> None:
    """Flip a byte in an entry; with ``header`` also in its frame header.
    Then nothing in the frame is believed.
    """
    index, within = divmod(position - 1, PER_SEGMENT)
    at = BLOCK_BYTES + within * FRAME
    flip(segment_files(path)[index], at + FRAME_HEADER_BYTES + 70)
    if header:
        flip(segment_files(path)[index], at + 12)


def test_the_log_ends_before_damage_above_what_is_known_committed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    fill(store, RUN[:20], committed=5)
    store.close()
    hurt(tmp_path / "log", 4)
    hurt(tmp_path / "log", 10)
    hurt(tmp_path / "log", 15)
    store = open_store(tmp_path / "log")
    found = store.recovered
    assert [damage.position for damage in found.damage] == [4, 10, 15]
    assert (found.last, found.last_chain) == (RUN[8].id, RUN[8].chain)
    scan = store.put_back(RUN[9])
    assert (scan.last, [damage.position for damage in scan.damage]) == (RUN[13].id, [4, 15])
    store.sync()
    store = reopen(store)
    assert store.recovered.last == RUN[13].id
    assert mend(store, RUN) == [4, 15]
    assert reopen(store).recovered.last == RUN[19].id


def test_what_is_behind_the_damage_stays_until_a_writer_overwrites_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    fill(store, RUN[:20], committed=5)
    store.close()
    hurt(tmp_path / "log", 10)
    store = reopen(open_store(tmp_path / "log"))
    assert store.recovered.last == RUN[8].id
    store.truncate(10)
    fresh = make_run(3, start=10, previous=RUN[8].chain, term=2)
    fill(store, fresh)
    store = reopen(store)
    assert (store.recovered.last, store.recovered.damage) == (fresh[-1].id, [])


def test_a_torn_tail_is_one_damage_and_is_put_back(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    fill(store, RUN[:20])
    store.close()
    hurt(tmp_path / "log", 19)
    hurt(tmp_path / "log", 20)
    store = open_store(tmp_path / "log")
    (damage,) = store.recovered.damage
    assert (damage.position, damage.known) == (19, RUN[18].id)
    scan = store.put_back(RUN[18])
    assert (scan.last, [damage.position for damage in scan.damage]) == (RUN[18].id, [20])
    scan = store.put_back(RUN[19])
    assert (scan.last, scan.damage) == (RUN[19].id, [])
    store.sync()
    assert reopen(store).recovered.damage == []


def test_a_proven_entry_that_vanished_is_missed(tmp_path: Path) -> None:
    """Zeros in place of a header are the end, but not below the position that `synced` proves."""
    store = open_store(tmp_path / "log")
    fill(store, RUN[:20])
    store.write_evidence(0)
    store.sync()
    store.close()
    with open(segment_files(tmp_path / "log")[0], "r+b") as file:
        file.seek(BLOCK_BYTES + 17 * FRAME)
        file.write(bytes(3 * FRAME))
    store = open_store(tmp_path / "log")
    assert (store.recovered.last, store.recovered.proven) == (RUN[16].id, 20)
    assert [damage.position for damage in store.recovered.damage] == [18]
    assert mend(store, RUN) == [18, 19, 20]
    assert reopen(store).recovered.damage == []


def test_neighbours_of_unknown_size_are_put_back_in_any_order(
    original: Path, tmp_path: Path
) -> None:
    for order in ([10, 11, 12], [12, 10, 11], [12, 11, 10]):
        path = copy(original, tmp_path / f"log{order}")
        for position in order:
            hurt(path, position, header=True)
        store = open_store(path)
        assert [(damage.position, damage.known) for damage in store.recovered.damage] == [
            (10, None),
            (11, None),
            (12, None),
        ]
        assert store.recovered.damage[2].next_chain == RUN[11].chain
        for position in order:
            scan = store.put_back(RUN[position - 1])
        assert scan.damage == []
        store.sync()
        store = reopen(store)
        assert (contents(store), store.recovered.damage) == ([entry.encoded for entry in RUN], [])
        store.close()


def test_an_entry_that_cannot_stand_there_changes_nothing(original: Path, tmp_path: Path) -> None:
    path = copy(original, tmp_path / "log")
    hurt(path, 10)
    store = open_store(path)
    other = make_entry(10, 1, 1, 0, RUN[8].chain, b"another size")
    stale = make_entry(10, 1, 1, 0, b"c" * 16, RUN[9].payload)
    stranger = RUN[20]
    for wrong in (other, stale, stranger):
        assert [damage.position for damage in store.put_back(wrong).damage] == [10]
    store.sync()
    store = reopen(store)
    assert mend(store, RUN) == [10]


def test_the_last_frames_of_an_old_segment_lost(original: Path, tmp_path: Path) -> None:
    path = copy(original, tmp_path / "log")
    hurt(path, PER_SEGMENT, header=True)
    hurt(path, PER_SEGMENT - 1, header=True)
    store = open_store(path)
    assert [damage.position for damage in store.recovered.damage] == [PER_SEGMENT - 1, PER_SEGMENT]
    assert store.recovered.damage[-1].next_chain == RUN[PER_SEGMENT - 1].chain
    mend(store, RUN)
    store = reopen(store)
    assert (contents(store), store.recovered.damage) == ([entry.encoded for entry in RUN], [])


def test_a_put_back_can_be_read_before_it_is_on_disk(original: Path, tmp_path: Path) -> None:
    path = copy(original, tmp_path / "log")
    hurt(path, 10)
    store = open_store(path)
    store.put_back(RUN[9])
    assert store.read(10, 10, 1) == [RUN[9].encoded]
    assert store.found_damage() is None
    store.sync()
    assert store.read(10, 10, 1) == [RUN[9].encoded]


def test_damage_that_comes_while_running_is_met_by_reads(original: Path, tmp_path: Path) -> None:
    path = copy(original, tmp_path / "log")
    store = open_store(path, cache_bytes=0)
    for position in (20, 70, 99):
        hurt(path, position)
        assert store.read(position, 100, 1 << 20) == []
    scan = store.found_damage()
    assert scan is not None
    assert [damage.position for damage in scan.damage] == [20, 70, 99]
    assert scan.damage[0].known == RUN[19].id
    assert store.found_damage() is None
    for position in (20, 70, 99):
        scan = store.put_back(RUN[position - 1])
    assert scan.damage == []
    store.sync()
    assert contents(store) == [entry.encoded for entry in RUN]
    assert reopen(store).recovered.damage == []


@pytest.mark.parametrize("change", ["truncate", "put back"])
def test_no_seal_vouches_for_what_rotted_in_a_segment_that_was_changed(
    tmp_path: Path, change: str
) -> None:
    """A segment that was cut or repaired has no running checksum.
    A checksum computed from the disk when the segment is full would cover the rot, and no start
    would ever check the frames again.
    """
    entries = make_run(60)
    store = open_store(tmp_path)
    fill(store, entries[:20], committed=10)
    if change == "truncate":
        store.truncate(20)
        store.sync()
    else:
        hurt(tmp_path, 10)
        store = reopen(store)
        store.put_back(entries[9])
        store.sync()
    assert len(segment_files(tmp_path)) == 1
    hurt(tmp_path, 5)
    fill(store, entries[19 if change == "truncate" else 20 :], committed=10)
    assert len(segment_files(tmp_path)) > 1
    store = reopen(store)
    assert [damage.position for damage in store.recovered.damage] == [5]
    assert mend(store, entries) == [5]
    store = reopen(store)
    assert not store.recovered.damage and contents(store) == [entry.encoded for entry in entries]
    store.close()


def test_a_lost_header_block_is_made_again(original: Path, tmp_path: Path) -> None:
    for index in range(4):
        path = copy(original, tmp_path / f"log{index}")
        with open(segment_files(path)[index], "r+b") as file:
            file.write(random.Random(index).randbytes(BLOCK_BYTES))
        assert inspect.verify(path).findings
        store = open_store(path)
        assert (contents(store), store.recovered.damage) == ([entry.encoded for entry in RUN], [])
        store.close()
        assert inspect.verify(path).findings == []


class BadSector(Files):
    """A disk on which the second segment's third block cannot be read until it is written."""

    bad = True

    def _read(self, fd: int, offset: int, length: int) -> bytes:
        hit = offset < BLOCK_BYTES + 600 and offset + length > BLOCK_BYTES + 500
        if (
            self.bad
            and hit
            and os.readlink(f"/proc/self/fd/{fd}").endswith(f"{PER_SEGMENT + 1:020d}.seg")
        ):
            raise OSError(errno.EIO, "Input/output error")
        return super()._read(fd, offset, length)


def test_a_sector_that_cannot_be_read_is_damage(original: Path, tmp_path: Path) -> None:
    files = BadSector()
    store = open_store(copy(original, tmp_path / "log"), files=files)
    assert store.recovered.last == RUN[-1].id
    positions = [damage.position for damage in store.recovered.damage]
    # the block is the whole small segment
    assert positions == list(range(PER_SEGMENT + 1, 2 * PER_SEGMENT + 1))
    assert mend(store, RUN) == positions
    files.bad = False
    assert reopen(store).recovered.damage == []


@pytest.mark.parametrize("slot", [0, 1])
def test_one_rotten_slot_of_meta_takes_nothing_back(tmp_path: Path, slot: int) -> None:
    store = open_store(tmp_path / "log")
    store.write_meta(PROMISE, Suspicion(1, b"e" * 16, "why"))
    store.sync()
    store.close()
    for _ in range(2):
        flip(tmp_path / "log" / "meta", slot * SLOT_BYTES + 40)
        assert inspect.verify(tmp_path / "log").findings
        store = open_store(tmp_path / "log")
        assert store.recovered.promise == PROMISE
        store.close()
        assert inspect.verify(tmp_path / "log").findings == []  # written again
        slot = 1 - slot


def test_both_slots_rotten_is_a_lost_disk(tmp_path: Path) -> None:
    open_store(tmp_path / "log").close()
    for slot in (0, 1):
        flip(tmp_path / "log" / "meta", slot * SLOT_BYTES + 40)
    with pytest.raises(StorageLost, match="neither slot"):
        open_store(tmp_path / "log")
