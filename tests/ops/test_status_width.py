"""`memstore status` on a narrow terminal: role and state stay readable, other columns go."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from memstore.ops.status import (
    ENGINE_OPTIONAL,
    LOG_OPTIONAL,
    EngineAnswer,
    engine_table,
    log_table,
    table_that_fits,
)
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


def printed(width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(
        table_that_fits(
            console, lambda left_out: engine_table(ENGINES, NAMES, left_out), ENGINE_OPTIONAL
        )
    )
    row = {"log": "shard-0", "last": [7, 123456], "committed": 123456, "window_left_ms": 900}
    nodes = [
        NodeStatus(
            f"127.0.0.1:{7401 + number}", {"az": f"az-{number}", "group": "g", "logs": [row]}, ""
        )
        for number in range(3)
    ]
    console.print(
        table_that_fits(
            console, lambda left_out: log_table(nodes, ENGINES, NAMES, left_out), LOG_OPTIONAL
        )
    )
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
