"""Entries and segments of different sizes: `segment-bytes` may change between two starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.txlog.storage.helpers import SEGMENT, contents, fill, make_run, open_store, reopen
from txlog.storage.segment import BLOCK_BYTES


def test_the_largest_entry_said_is_the_largest_there_is(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log")
    largest = store.recovered.largest_entry
    (small,) = make_run(1)
    (fits,) = make_run(1, largest - len(small.encoded) + small.payload_bytes, 2, small.chain)
    assert len(fits.encoded) == largest
    (over,) = make_run(1, fits.payload_bytes + 1, 3, fits.chain)
    fill(store, [small, fits])
    with pytest.raises(ValueError, match="does not fit"):
        store.write_entries([over], 0)
    assert contents(reopen(store)) == [small.encoded, fits.encoded]


def test_smaller_segments_than_before(tmp_path: Path) -> None:
    """Earlier, the old segment's size was taken for the size of the next one.
    Entries were written after the end of the file that was reserved for them.
    """
    store = reopen(open_store(tmp_path / "log"), segment_bytes=BLOCK_BYTES + 1024)
    fill(store, make_run(1, SEGMENT - BLOCK_BYTES - 1000))
    first = store.read(1, 1, 1)
    assert store.recovered.largest_entry < len(first[0])
    with pytest.raises(ValueError, match="does not fit"):
        store.write_entries(make_run(1, 2000, 2), 0)
