"""Small logs on disk, and ways to read and damage them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from txlog.consensus.outputs import Promise
from txlog.entry import DATA, GENESIS_CHAIN, Entry, make_entry
from txlog.storage.segment import BLOCK_BYTES
from txlog.storage.store import LogStore

GROUP = b"g" * 16
SEGMENT = BLOCK_BYTES + 4096


def make_run(
    count: int,
    size: int = 30,
    start: int = 1,
    previous: bytes = GENESIS_CHAIN,
    term: int = 1,
    mark: bytes = b"",
) -> list[Entry]:
    entries = []
    for position in range(start, start + count):
        payload = (mark + b"%d-" % position).ljust(size, b"x")
        entries.append(make_entry(position, term, DATA, 1000 + position, previous, payload))
        previous = entries[-1].chain
    return entries


def open_store(path: Path, **options: Any) -> LogStore:
    options.setdefault("segment_bytes", SEGMENT)
    options.setdefault("threaded", False)
    return LogStore.open(path, "shard-0", GROUP, "n1", **options)


def fill(store: LogStore, entries: list[Entry], batch: int = 7, committed: int = 0) -> None:
    for at in range(0, len(entries), batch):
        store.write_entries(entries[at : at + batch], committed)
        store.sync()


def contents(store: LogStore) -> list[bytes]:
    """Every readable entry, without holes."""
    found: list[bytes] = []
    last = store.recovered.last[1]
    position = 1
    while position <= max(last, store._written):
        part = store.read(position, max(last, store._written), 500)
        found += part
        position += len(part) or 1
    return found


def reopen(store: LogStore, **options: Any) -> LogStore:
    path = store.path
    store.close()
    return open_store(path, **options)


def copy(path: Path, to: Path) -> Path:
    shutil.copytree(path, to)
    return to


def segment_files(path: Path) -> list[Path]:
    return sorted((path / "segments").iterdir())


def flip(path: Path, at: int, mask: int = 1) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


PROMISE = Promise(7, b"i" * 16, b"r" * 16, 1000)
