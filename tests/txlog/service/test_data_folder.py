"""A node's list of logs distinguishes a lost disk from a new log (S7)."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from txlog.server.identity import DataFolder, Identity, read_identity
from txlog.server.logs import StoreRefused, open_store


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder.open(tmp_path / "node")
    folder.write(Identity("ab" * 16, "a", 1, ["a=h:1"], []))
    return folder


def test_logs_made_at_once_are_all_on_the_list(folder: DataFolder) -> None:
    """Earlier, each thread wrote the list that it had read, and into the same file.
    A log was then missing from the list, or the rename found no file and the node halted.
    """
    names = [f"shard-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda name: open_store(folder, name, 64 << 10, 0), names))
    for store in stores:
        store.close()
    assert read_identity(folder.path).logs == names
    folder.close()


def test_an_empty_folder_of_a_known_log_is_a_lost_disk(folder: DataFolder) -> None:
    """For example, a log's folder is a mount that did not come up.
    Earlier, the node made a new log in it, without its promises and acknowledged entries.
    """
    open_store(folder, "shard-0", 64 << 10, 0).close()
    path = folder.log_folder("shard-0")
    shutil.rmtree(path)
    path.mkdir()
    with pytest.raises(StoreRefused, match="lost disk"):
        open_store(folder, "shard-0", 64 << 10, 0)
    folder.close()
