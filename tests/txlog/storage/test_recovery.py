"""The result of a scan after a segment's bytes were cut, flipped or zeroed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.txlog.storage.helpers import make_run
from txlog.entry import DATA, GENESIS_CHAIN, Entry, make_entry
from txlog.storage.recovery import SegmentScan, scan_segment
from txlog.storage.segment import (
    BLOCK_BYTES,
    FRAME_HEADER_BYTES,
    encode_frame,
    frame_bytes,
    log_id,
    segment_seed,
)

SEED = segment_seed(log_id(b"g", "log"), 1)
SIZE = BLOCK_BYTES + 8192


def segment(entries: list[Entry], seed: int = SEED) -> bytes:
    frames = b"".join(
        b"".join(encode_frame(entry, entry.position - 1, max(0, entry.position - 3), seed))
        for entry in entries
    )
    return (bytes(BLOCK_BYTES) + frames).ljust(SIZE, b"\0")


def offsets(entries: list[Entry]) -> list[int]:
    """The start of each frame, and the end of the last."""
    found = [BLOCK_BYTES]
    for entry in entries:
        found.append(found[-1] + frame_bytes(len(entry.encoded)))
    return found


def scan(data: bytes) -> SegmentScan:
    return scan_segment(data, 1, GENESIS_CHAIN, SEED)


RUN = make_run(12)
AT = offsets(RUN)
GOOD = segment(RUN)


def flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def test_a_whole_segment() -> None:
    found = scan(GOOD)
    assert (found.last, found.end, found.torn, found.gaps, found.repairs) == (
        12,
        AT[-1],
        False,
        [],
        [],
    )
    assert (found.synced, found.committed) == (11, 9)
    assert list(found.offsets) == AT[:-1]
    assert bytes(found.chains) == b"".join(entry.chain for entry in RUN)


def test_an_empty_segment_and_one_of_another_log() -> None:
    found = scan(bytes(SIZE))
    assert (found.last, found.end, found.torn) == (0, BLOCK_BYTES, False)
    found = scan(segment(RUN, seed=segment_seed(log_id(b"g", "other"), 1)))
    assert found.synced == 0
    assert found.committed == 0


def test_a_tail_torn_at_every_byte() -> None:
    """Any part of the last two frames may have reached the disk.
    Whole frames are kept; the rest is a tail that does not check.
    """
    for cut in range(AT[10], AT[12]):
        found = scan(GOOD[:cut].ljust(SIZE, b"\0"))
        whole = 11 if cut >= AT[11] else 10
        if not GOOD[cut : AT[12] if whole == 11 else AT[11]].strip(b"\0"):
            whole += 1  # only zeros were lost
        assert (found.last, found.end) == (whole, AT[whole])
        assert found.gaps == []
        assert found.torn == (cut > AT[whole])
        if cut >= AT[whole] + FRAME_HEADER_BYTES and whole < 12:
            assert found.tail_known == RUN[whole].id


def test_a_missing_piece_with_something_good_behind_it_is_a_gap() -> None:
    hole = GOOD[: AT[4]] + bytes(AT[7] - AT[4]) + GOOD[AT[7] :]
    found = scan(hole)
    (gap,) = found.gaps
    assert (gap.first, gap.last, gap.offset, gap.end, gap.known, gap.next_chain) == (
        5,
        7,
        AT[4],
        AT[7],
        None,
        RUN[6].chain,
    )
    assert (found.last, found.end, found.synced) == (12, AT[12], 11)


@settings(max_examples=300, deadline=None)
@given(st.integers(BLOCK_BYTES, AT[-1] - 1), st.integers(1, 255))
def test_a_flipped_byte_costs_at_most_its_own_entry(at: int, mask: int) -> None:
    found = scan(flipped(GOOD, at, mask))
    hit = max(index for index in range(12) if AT[index] <= at)
    entry = RUN[hit]
    if found.repairs:
        assert found.repairs == [(AT[hit], encode_frame(entry, 0, 0, SEED)[0])]
        assert at < AT[hit] + FRAME_HEADER_BYTES
        assert (found.last, found.gaps) == (12, [])
    elif hit == 11:
        assert (found.last, found.torn, found.gaps) == (11, True, [])
        assert found.tail_known == entry.id
    else:
        (gap,) = found.gaps
        assert (gap.first, gap.last, gap.offset, gap.end) == (
            hit + 1,
            hit + 1,
            AT[hit],
            AT[hit + 1],
        )
        assert gap.known == entry.id
        assert gap.next_chain == entry.chain
        assert found.last == 12
    for position in range(1, found.last + 1):
        index = position - 1
        if found.offsets[index]:
            assert found.offsets[index] == AT[index]
            assert bytes(found.chains[16 * index : 16 * index + 16]) == RUN[index].chain
        else:
            assert index == hit


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(BLOCK_BYTES, AT[-1] - 1), st.integers(1, 255)), min_size=2, max_size=8
    )
)
def test_many_flipped_bytes_never_give_a_wrong_entry_nor_hide_a_good_one(
    flips: list[tuple[int, int]],
) -> None:
    data = bytearray(GOOD)
    for at, mask in flips:
        data[at] ^= mask
    found = scan(bytes(data))
    lost = {position for gap in found.gaps for position in range(gap.first, gap.last + 1)}
    for index in range(12):
        untouched = data[AT[index] : AT[index + 1]] == GOOD[AT[index] : AT[index + 1]]
        good = index + 1 <= found.last and index + 1 not in lost
        assert good or not untouched
        if good:
            assert found.offsets[index] == AT[index]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=4000))
def test_any_bytes_at_all_are_survived(noise: bytes) -> None:
    found = scan((bytes(BLOCK_BYTES) + noise).ljust(SIZE, b"\0"))
    assert (found.last, found.end) == (0, BLOCK_BYTES)
    assert found.torn == bool(noise.strip(b"\0"))


def test_a_bad_header_and_a_bad_entry_of_one_frame() -> None:
    found = scan(flipped(flipped(GOOD, AT[3] + 5), AT[3] + FRAME_HEADER_BYTES + 60))
    (gap,) = found.gaps
    assert (gap.first, gap.last, gap.known, gap.end, gap.next_chain) == (
        4,
        4,
        None,
        AT[4],
        RUN[3].chain,
    )


def test_an_entry_that_does_not_continue_the_chain_is_damage() -> None:
    """The frame itself is whole: an entry of a dead writer that a lost write has left there."""
    stale = make_entry(6, 1, DATA, 0, b"c" * 16, RUN[5].payload)
    found = scan(segment([*RUN[:5], stale, *RUN[6:]]))
    assert [(gap.first, gap.last, gap.known) for gap in found.gaps] == [(6, 6, None)]
    assert found.last == 12


def test_a_segment_stored_as_a_value_gives_no_frames() -> None:
    """A client may store a copy of a segment of another log.
    Damage before it must not make frames of the value.
    """
    copied = segment(make_run(5), seed=segment_seed(log_id(b"h", "log"), 1))[
        BLOCK_BYTES : BLOCK_BYTES + 400
    ]
    run = [make_entry(1, 1, DATA, 0, GENESIS_CHAIN, copied)]
    run += make_run(2, start=2, previous=run[0].chain)
    found = scan(flipped(flipped(segment(run), BLOCK_BYTES + 6), BLOCK_BYTES + FRAME_HEADER_BYTES))
    assert [(gap.first, gap.last) for gap in found.gaps] == [(1, 1)]
    assert found.last == 3


def test_stale_frames_behind_zeros_are_a_gap_not_an_end() -> None:
    data = GOOD[: AT[9]] + bytes(AT[10] - AT[9]) + GOOD[AT[10] :]
    assert [(gap.first, gap.last) for gap in scan(data).gaps] == [(10, 10)]
