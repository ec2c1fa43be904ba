"""`memstore status` on a narrow terminal: role and state stay readable, other columns go."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from memstore.ops.status_screen import EngineAnswer, Screen, draw
from txlog.tools.admin import NodeStatus

ENGINES = [
    EngineAnswer(
        ("127.0.0.1", 6379 + number),
        {
            "memstore_role": role,
            "availability_zone": f"az-{number}",
            "log_applied": "123456",
            "log_committed": "123456",
            "lease_left_ms": "900",
            "connected_clients": "50",
            "used_memory_human": "512.00M",
        },
    )
    for number, role in enumerate(("primary", "replica", "candidate", "restoring"))
]
NAMES = {engine.address: f"engine-{number}" for number, engine in enumerate(ENGINES)}


LOG_ROW = {"log": "shard-0", "last": [7, 123456], "committed": 123456, "window_left_ms": 900}
NODES = [
    NodeStatus(
        f"127.0.0.1:{7401 + number}", {"az": f"az-{number}", "group": "g", "logs": [LOG_ROW]}, ""
    )
    for number in range(3)
]


def printed(width: int, screen: Screen | None = None) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    draw(console, screen or Screen(ENGINES, NODES, NAMES))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_roles_states_and_ports_are_whole(width: int) -> None:
    text = printed(width)
    for word in (
        "primary",
        "replica",
        "candidate",
        "restoring",
        "good",
        *[f"127.0.0.1:{port}" for port in (6379, 6380, 6381, 7401, 7402, 7403)],
    ):
        assert word in text, text


def test_columns_go_one_after_the_other() -> None:
    assert "memory" in printed(140) and "clients" in printed(140)
    narrow = printed(80)
    assert "memory" not in narrow and "lag" in narrow


def test_a_long_reason_wraps_before_a_column_goes() -> None:
    """Earlier, a long reason removed every other column, although it wraps."""
    down = NodeStatus("127.0.0.1:7404", None, "[Errno 111] Connect call failed " + "and more " * 9)
    text = printed(100, Screen(ENGINES, [*NODES, down], NAMES))
    assert "last id" in text and "Connection refused" in " ".join(text.split())


def test_a_long_name_keeps_its_port() -> None:
    host = "engine-with-a-very-long-name.storage.example.internal.example.org"
    far = EngineAnswer((host, 6379), {"memstore_role": "replica"})
    text = "".join(word.strip() for word in printed(80, Screen([far], [], {})).split("│"))
    assert "6379" in text and "replica" in text
