"""`memstore local` where log nodes cannot start: a majority serves, missing nodes are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.ops.running import Local, wait_until
from tests.ports import free_ports

pytestmark = pytest.mark.system


def no_meta(node: Path) -> None:
    (meta,) = node.glob("logs/*/meta")
    meta.write_bytes(b"\xff" * meta.stat().st_size)


def no_log(node: Path) -> None:
    shutil.rmtree(node / "logs" / "shard-0")


def bad_identity(node: Path) -> None:
    (node / "node.json").write_text("{")


def no_folder(node: Path) -> None:
    shutil.rmtree(node)


def foreign(node: Path) -> None:
    (node / "node.json").unlink()


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "meta": (no_meta, "a lost disk"),
    "log folder": (no_log, "is gone"),
    "identity": (bad_identity, "node.json is unreadable"),
    "no identity": (foreign, "is not ours"),
    "data folder": (no_folder, "has lost its data folder"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stopped cluster with one key."""
    folder = tmp_path_factory.mktemp("damage") / "data"
    with Local(folder, "--lease-ms", "500", log_port=free_ports(3)) as local:
        assert local.wait_up().client("engine-a").set("k", "v")
        assert local.stop() == 0
    return folder


def data_of(folder: Path, name: str) -> Path:
    (found,) = [path for path in folder.rglob("node.json") if path.parent.name == name]
    return found.parent


CASES = [
    ("log-a", "meta"),
    ("log-b", "log folder"),
    ("log-c", "identity"),
    ("log-a", "no identity"),
    ("log-b", "data folder"),
]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("log-a", "meta"),
        ("log-b", "log folder"),
        ("log-c", "identity"),
        ("log-a", "no identity"),
        ("log-b", "data folder"),
    ],
)
def test_two_of_three_serve_and_the_third_is_named(
    home: Path, tmp_path: Path, name: str, kind: str
) -> None:
    """All processes are stopped first."""
    folder = tmp_path / "data"
    shutil.copytree(home, folder)
    damage, words = DAMAGE[kind]
    damage(data_of(folder, name))
    with Local(folder, "--lease-ms", "500") as local:
        local.wait_up()
        said = local.said()
        assert any(name in line and words in line for line in said.splitlines()), said
        if kind != "data folder":
            assert f"going on with 2 of 3 log nodes, without {name}" in said
        client = local.client("engine-a")
        wait_until(lambda: serves(client), lambda: local.said())
        assert client.get("k") == b"v"
        local.stop()


def test_one_of_three_is_not_enough_and_it_says_so(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(home, folder)
    no_meta(data_of(folder, "log-a"))
    bad_identity(data_of(folder, "log-c"))
    with Local(folder, "--lease-ms", "500") as local:
        assert local.process.wait(60) == 1
        assert (
            "only 1 of 3 log nodes are up, and 2 are needed: log-a, log-c cannot start"
            in local.said()
        )


def serves(client: redis.Redis) -> bool:
    try:
        return bool(client.set("again", "1"))
    except redis.RedisError:
        return False
