"""Events that others can cause do not fill the disk with lines; the lines left out are counted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from txlog.config import LogServerConfig
from txlog.server import connection
from txlog.server.identity import DataFolder
from txlog.server.node import LogNode
from txlog.throttle import LINES, PERIOD_S, ThrottledLog


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def warning(self, text: str, **facts: Any) -> None:
        self.lines.append((text, facts))


def test_a_few_lines_of_each_text_and_a_count_of_the_others() -> None:
    lines, now = Lines(), [0.0]
    log = ThrottledLog(lines, lambda: now[0])
    for number in range(LINES + 7):
        log.warning("refused", number=number)
    assert lines.lines == [("refused", {"number": number}) for number in range(LINES)]
    log.warning("another", number=1)
    assert lines.lines[-1] == ("another", {"number": 1})
    now[0] = PERIOD_S
    log.warning("refused", number=99)
    log.warning("refused", number=100)
    assert lines.lines[-2:] == [
        ("refused", {"number": 99, "left_out": 7}),
        ("refused", {"number": 100}),
    ]
    now[0] = 0.0  # a clock that starts again does not silence it
    log.warning("refused", number=101)
    assert lines.lines[-1] == ("refused", {"number": 101})


async def test_callers_that_are_refused_do_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines()
    monkeypatch.setattr(connection.log, "_log", lines)
    monkeypatch.setattr(connection.log, "_periods", {})
    node = LogNode(
        LogServerConfig("a", tmp_path, 0, segment_bytes=256 << 10), DataFolder.open(tmp_path)
    )
    await node.start()
    for _ in range(LINES + 20):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        while await reader.read(1 << 16):
            pass
        writer.close()
    assert len(lines.lines) == LINES
    await node.close()
