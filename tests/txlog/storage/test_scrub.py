"""The scrubber (S6) reads the disk piece by piece, at its own pace.
It finds the same errors as `txlog verify`, and has them repaired.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.txlog.storage.helpers import (
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
from tests.txlog.storage.test_damage import FRAME, PER_SEGMENT, RUN, hurt
from txlog.storage import inspect, scrub
from txlog.storage.files import META_NAME, Files
from txlog.storage.meta import SLOT_BYTES
from txlog.storage.scrub import Pass, Scrubber
from txlog.storage.segment import BLOCK_BYTES, SEAL_AT
from txlog.storage.store import LogStore


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of four segments, everything synced, committed up to 98.
    It was opened once more, so that all old segments are sealed.
    """
    path = tmp_path_factory.mktemp("original") / "log"
    store = open_store(path)
    fill(store, RUN)
    store.write_evidence(98)
    store.sync()
    store.close()
    return path


def one_pass(store: LogStore, scrubber: Scrubber | None = None) -> Pass:
    """A whole pass: its findings as the driver gets them, not repaired yet."""
    scrubber = scrubber or Scrubber(1 << 20, 0, 0)
    passes = scrubber.passes
    while scrubber.passes == passes:
        piece = scrubber.next(store, 0)
        if piece is None:
            break
        store.read_piece(piece)
        scrubber.on_read(piece)
        check = piece.check
        if check.done and (check.frames_bad or check.block_bad or check.slack_bad):
            if store.still_so(check):
                scrubber.on_finding()
                store.on_scrubbed(check)
            else:
                scrubber.again()
    assert scrubber.last is not None
    return scrubber.last


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_a_whole_log_is_read_and_all_is_well(
    original: Path, tmp_path: Path, cache_bytes: int
) -> None:
    store = open_store(copy(original, tmp_path / "log"), cache_bytes=cache_bytes)
    ended = one_pass(store)
    newest = BLOCK_BYTES + (len(RUN) - 3 * PER_SEGMENT) * FRAME
    assert (ended.entries, ended.bytes, ended.total, ended.findings) == (
        len(RUN),
        3 * SEGMENT + newest,
        3 * SEGMENT + newest,
        0,
    )
    assert store.found_damage() is None and not store.queued


def test_every_piece_is_small_and_waits_its_time(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "PIECE_BYTES", 1000)
    store = open_store(copy(original, tmp_path / "log"))
    scrubber = Scrubber(10_000, 5_000_000, 7)
    assert scrubber.deadline() == 5_000_007
    now, total = scrubber.deadline(), 0
    while (piece := scrubber.next(store, now)) is not None:
        assert scrubber.deadline() == 0, "while a piece is read nothing is due"
        assert piece.length <= (1000 if piece.offset else BLOCK_BYTES)
        store.read_piece(piece)
        scrubber.on_read(piece)
        assert scrubber.deadline() == now + piece.length * 100
        now, total = scrubber.deadline(), total + piece.length
    assert scrubber.last is not None and (scrubber.last.entries, scrubber.last.bytes) == (
        len(RUN),
        total,
    )
    assert scrubber.deadline() == now + 5_000_000, "the pause"
    assert scrubber.status(now + 3_000_000)["last"] == {
        "bytes": total, "entries": len(RUN), "findings": 0,
        "seconds": (now - 5_000_007) // 1_000_000, "ago_s": 3
    }  # fmt: skip


def test_what_could_not_be_read_now_is_read_later_from_the_segments_start(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "PIECE_BYTES", 1000)
    store = open_store(copy(original, tmp_path / "log"))
    scrubber = Scrubber(1 << 20, 0, 0)
    for _ in range(10):
        piece = scrubber.next(store, 0)
        assert piece is not None
        store.read_piece(piece)
        scrubber.on_read(piece)
    piece = scrubber.next(store, 0)
    assert piece is not None and piece.offset and piece.check.span.first > 1
    scrubber.on_failed(5)
    assert scrubber.deadline() == 1_000_005
    again = scrubber.next(store, scrubber.deadline())
    assert again is not None and (again.check.span.first, again.offset) == (
        piece.check.span.first,
        0,
    )
    store.read_piece(again)
    scrubber.on_read(again)
    assert one_pass(store, scrubber).findings == 0


def test_at_rate_zero_nothing_is_ever_due() -> None:
    assert Scrubber(0, 1, 0).deadline() == 0


def test_an_entry_much_larger_than_a_piece(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log", segment_bytes=BLOCK_BYTES + (1 << 20), cache_bytes=0)
    entries = make_run(3, size=300_000)
    fill(store, entries, batch=1, committed=0)
    assert one_pass(store).entries == 3
    flip(segment_files(tmp_path / "log")[0], BLOCK_BYTES + 450_000)
    assert one_pass(store).findings == 1
    scan = store.found_damage(3)
    assert scan is not None and [damage.position for damage in scan.damage] == [2]


@pytest.mark.parametrize(
    "reopened", [False, True], ids=["written by this life", "read at the start"]
)
@pytest.mark.parametrize("position", [1, 20, PER_SEGMENT, PER_SEGMENT + 1, 97, 98])
@pytest.mark.parametrize("header", [False, True])
def test_a_flipped_byte_under_a_running_log_is_found_and_put_back(
    tmp_path: Path, position: int, header: bool, reopened: bool
) -> None:
    path = tmp_path / "log"
    store = open_store(path, cache_bytes=0)
    fill(store, RUN)
    store.write_evidence(98)
    store.sync()
    if reopened:
        store = reopen(store, cache_bytes=0)
    hurt(path, position, header)
    assert one_pass(store).findings == 1
    scan = store.found_damage(98)
    assert scan is not None
    assert [damage.position for damage in scan.damage] == [position]
    assert (
        scan.damage[0].known == RUN[position - 1].id
        or scan.damage[0].next_chain == RUN[position - 1].chain
    )
    assert scan.last == RUN[-1].id, "committed damage is a hole"
    assert one_pass(store).findings == 0, "what is known is not found again"
    assert store.put_back(RUN[position - 1]).damage == []
    store.sync()
    assert one_pass(store).findings == 0
    assert contents(store) == [entry.encoded for entry in RUN]
    assert inspect.verify(path).findings == []
    assert reopen(store).recovered.damage == []


@pytest.mark.parametrize("header", [False, True])
def test_the_newest_entry_of_all(original: Path, tmp_path: Path, header: bool) -> None:
    """No good entry follows it, but memory knows its place, id and chain.
    If it is committed, it is a hole; otherwise the log ends before it.
    """
    for committed, last in ((100, RUN[99].id), (99, RUN[98].id)):
        path = copy(original, tmp_path / f"log{committed}")
        store = open_store(path, cache_bytes=0)
        hurt(path, 100, header)
        one_pass(store)
        scan = store.found_damage(committed)
        assert scan is not None and [
            (damage.position, damage.known, damage.next_chain) for damage in scan.damage
        ] == [(100, RUN[99].id, RUN[99].chain)]
        assert scan.last == last
        assert (
            store.id_at(100) == RUN[99].id
            and store.chain_at(100) == RUN[99].chain
            and store.entry_at(100) is None
        )
        assert store.put_back(RUN[99]).last == RUN[99].id
        store.sync()
        assert inspect.verify(path).findings == []
        more = make_run(5, start=101, previous=RUN[99].chain)
        fill(store, more)
        assert contents(reopen(store)) == [entry.encoded for entry in RUN + more]


def test_neighbours_above_committed_are_known_one_by_one(original: Path, tmp_path: Path) -> None:
    path = copy(original, tmp_path / "log")
    store = open_store(path, cache_bytes=0)
    for position in (97, 98, 99):
        hurt(path, position, header=True)
    one_pass(store)
    scan = store.found_damage(0)
    assert scan is not None and [damage.known for damage in scan.damage] == [
        RUN[position - 1].id for position in (97, 98, 99)
    ]
    assert scan.last == RUN[97].id, (
        "97 and 98 are known committed and holes, in front of 99 the log ends"
    )


def test_what_memory_still_has_is_put_back_from_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    store = open_store(path)
    fill(store, RUN)
    hurt(path, 60, header=True)
    one_pass(store)
    look = store.begin_look()
    assert look is not None
    look.run()
    met = store.end_look(look, 100)
    assert (met.lost, met.restored, store.scan().damage) == ([60], [60], [])
    assert not store.repairs_done and store.begin_look() is None
    store.sync()
    assert store.repairs_done and inspect.verify(path).findings == []


def test_a_frame_header_is_made_again_from_its_entry(original: Path, tmp_path: Path) -> None:
    path = copy(original, tmp_path / "log")
    store = open_store(path, cache_bytes=0)
    flip(segment_files(path)[1], BLOCK_BYTES + 3 * FRAME + 12)
    assert store.read(PER_SEGMENT + 4, 100, 1) == []
    assert one_pass(store).findings == 1
    assert store.found_damage(98) is None and store.queued
    store.sync()
    assert store.read(PER_SEGMENT + 4, 100, 1) == [RUN[PER_SEGMENT + 3].encoded]
    assert one_pass(store).findings == 0
    assert inspect.verify(path).findings == []


@pytest.mark.parametrize("which", [0, 3])
@pytest.mark.parametrize(
    "place", [8, 40, 600, 1100, SEAL_AT + 10, SEAL_AT + 4000, BLOCK_BYTES - 1, SEGMENT - 1]
)
def test_a_header_block_and_what_is_behind_the_end(
    original: Path, tmp_path: Path, which: int, place: int
) -> None:
    if which == 3 and place == SEGMENT - 1:
        pytest.skip("behind the end of the newest segment anything may be under way")
    path = copy(original, tmp_path / "log")
    store = open_store(path)
    flip(segment_files(path)[which], place)
    assert one_pass(store).findings == 1
    assert store.found_damage() is None and store.queued
    store.sync()
    assert one_pass(store).findings == 0
    assert inspect.verify(path).findings == []
    assert contents(reopen(store)) == [entry.encoded for entry in RUN]


@pytest.mark.parametrize("slot", [0, 1])
def test_a_slot_of_meta(original: Path, tmp_path: Path, slot: int) -> None:
    path = copy(original, tmp_path / "log")
    store = open_store(path)
    assert not store.meta_rots()
    flip(path / META_NAME, slot * SLOT_BYTES + 60)
    assert store.meta_rots()
    store.write_meta_again()
    store.sync()
    assert not store.meta_rots()
    assert inspect.verify(path).findings == []


def test_only_what_a_sync_has_covered_is_judged(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    fill(store, RUN[:10])
    store.write_entries(RUN[10:90], 0)  # into the next segments too, none of it on disk
    ended = one_pass(store)
    assert (ended.entries, ended.findings) == (10, 0)
    store.sync()
    assert one_pass(store).entries == 90


def test_a_truncation_under_the_scrubber_is_no_finding(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "PIECE_BYTES", 1000)
    store = open_store(copy(original, tmp_path / "log"))
    scrubber = Scrubber(1 << 20, 0, 0)
    while (
        piece := scrubber.next(store, 0)
    ) is not None and piece.check.span.first < 2 * PER_SEGMENT:
        store.read_piece(piece)
        scrubber.on_read(piece)
    assert piece is not None
    store.truncate(2 * PER_SEGMENT + 2)
    store.sync()
    fill(
        store, make_run(30, start=2 * PER_SEGMENT + 2, previous=RUN[2 * PER_SEGMENT].chain, term=2)
    )
    store.read_piece(piece)
    scrubber.on_read(piece)
    ended = one_pass(store, scrubber)
    assert (ended.findings, store.found_damage()) == (0, None)


def test_a_look_that_a_truncation_overtook_is_made_again(original: Path, tmp_path: Path) -> None:
    path = copy(original, tmp_path / "log")
    store = open_store(path, cache_bytes=0)
    hurt(path, 90)
    one_pass(store)
    look = store.begin_look()
    assert look is not None
    store.truncate(95)
    store.sync()
    look.run()
    assert store.end_look(look, 50).lost == []
    scan = store.found_damage(50)
    assert scan is not None and [damage.position for damage in scan.damage] == [90]


class Counting(Files):
    def __init__(self) -> None:
        self.forgotten = 0

    def forget(self, fd: int, offset: int, length: int) -> None:
        self.forgotten += length
        super().forget(fd, offset, length)


def test_the_page_cache_is_asked_to_forget_every_byte(original: Path, tmp_path: Path) -> None:
    files = Counting()
    store = open_store(copy(original, tmp_path / "log"), files=files)
    assert files.forgotten == 0
    ended = one_pass(store)
    assert files.forgotten == ended.bytes
