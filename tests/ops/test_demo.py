"""`memstore demo`: the verdict as a function, the meaning of a reply, and the demo as a process.

Decides: what a test plants in the verdict, and how the demo runs as a process.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hiredis
import pytest

from memstore.ops.demo_check import Record, Verdict, missing
from memstore.ops.demo_client import Means, Reading, read
from tests.ops.running import ROOT, wait_until

FIRST = ("127.0.0.1", 7001)


def record_of(acknowledged: int, unknown: int = 0) -> Record:
    record = Record()
    record.acknowledged = {b"a%d" % n: b"v%d" % n for n in range(acknowledged)}
    record.unknown = {b"u%d" % n: b"w%d" % n for n in range(unknown)}
    return record


# --------------------------------------------------------------------------- the verdict


def test_every_value_found() -> None:
    record = record_of(812, 3)
    values = {**record.acknowledged, b"u1": b"w1"}
    verdict = Verdict.of(record, {"engine-b": values, "engine-c": values})
    assert verdict.code == 0
    assert verdict.lines() == [
        "3 of unknown outcome: 1 took effect, 2 did not",
        "812 acknowledged, 812 found",
    ]


@pytest.mark.parametrize("found", [None, b"", b"v6"], ids=["nothing", "empty", "another value"])
def test_a_missing_value_fails(found: bytes | None) -> None:
    record = record_of(10)
    values: dict[bytes, bytes | None] = {**record.acknowledged, b"a7": found}
    assert missing(record.acknowledged, values) == [b"a7"]
    verdict = Verdict.of(record, {"engine-b": values})
    assert verdict.code == 1
    assert verdict.lines() == ["MISSING at engine-b: a7", "10 acknowledged, 9 found"]


def test_a_value_that_one_node_does_not_have_fails() -> None:
    record = record_of(10)
    values = {key: value for key, value in record.acknowledged.items() if key != b"a3"}
    verdict = Verdict.of(record, {"engine-b": record.acknowledged, "engine-c": values})
    assert verdict.code == 1
    assert verdict.lines() == ["MISSING at engine-c: a3", "10 acknowledged, 9 found"]


def test_many_missing_values_are_counted() -> None:
    verdict = Verdict.of(record_of(100), {"engine-b": {}, "engine-c": {}})
    lines = verdict.lines()
    assert len(lines) == 12
    assert lines[0] == "MISSING at engine-b and engine-c: a0"
    assert lines[-2:] == ["MISSING: 90 more", "100 acknowledged, 0 found"]


def test_a_demo_in_which_nothing_was_written_shows_nothing() -> None:
    assert Verdict.of(record_of(0, 5), {"engine-b": {}}).code == 1


# --------------------------------------------------------------------------- the meaning of a reply


READINGS = [
    ("READONLY You can't write against a read only replica. primary=127.0.0.1:7001",
     Reading(Means.ELSEWHERE, FIRST)),
    ("READONLY You can't write against a read only replica.", Reading(Means.ELSEWHERE)),
    ("MOVED 866 127.0.0.1:7001", Reading(Means.ELSEWHERE, FIRST)),
    ("MASTERDOWN no primary holds the lease", Reading(Means.LATER)),
    ("CLUSTERDOWN no primary holds the lease", Reading(Means.LATER)),
    ("LOADING memstore is restoring: 3 of 9 entries", Reading(Means.LATER)),
    ("TRYAGAIN demoted before the read could be confirmed", Reading(Means.LATER)),
    ("UNKNOWN outcome at position 7: the write may or may not take effect",
     Reading(Means.UNKNOWN)),
    ("ERR syntax error", Reading(Means.REFUSED)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reading"), READINGS, ids=lambda value: str(value)[:20])
def test_an_error_reply(text: str, reading: Reading) -> None:
    assert read(hiredis.ReplyError(text)) == reading


def test_only_ok_acknowledges() -> None:
    assert read(b"OK").means is Means.ACKNOWLEDGED
    assert read(b"QUEUED").means is Means.REFUSED
    assert read(None).means is Means.REFUSED


# --------------------------------------------------------------------------- the demo


class Running:
    """A demo whose folders for temporary files belong to the test."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "tmp"
        self.folder.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "memstore", "demo"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> list[int]:
        """The demo and all its children: they inherit its folder for temporary files."""
        wanted = b"TMPDIR=" + os.fsencode(self.folder)
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    environment = Path(f"/proc/{entry}/environ").read_bytes()
                except OSError:
                    continue  # it ended meanwhile, or it belongs to another user
                if wanted in environment.split(b"\0"):
                    found.append(int(entry))
        return found

    def assert_nothing_is_left(self) -> None:
        assert self.processes() == []
        assert list(self.folder.iterdir()) == []


@pytest.mark.system
def test_a_zone_dies_and_nothing_is_missing(tmp_path: Path) -> None:
    began = time.monotonic()
    demo = Running(tmp_path)
    output, _ = demo.process.communicate(timeout=90)
    assert demo.process.returncode == 0, output
    assert time.monotonic() - began < 60, output
    lines = output.splitlines()
    told = re.fullmatch(r"(\d+) acknowledged, (\d+) found", lines[-1])
    assert told, output
    assert told[1] == told[2]
    assert int(told[1]) >= 100
    killed = re.search(r"kill -9 engine-(\w) log-(\w)", output)
    assert killed, output
    assert killed[1] == killed[2], "one zone"
    leader = re.search(r"(engine-\w) is the primary: its first write", output)
    assert leader and leader[1] != f"engine-{killed[1]}", output
    assert "\x1b" not in output, "no terminal: plain lines"
    assert max(map(len, lines)) <= 80
    demo.assert_nothing_is_left()


@pytest.mark.system
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    demo = Running(tmp_path)
    try:
        wait_until(lambda: len(demo.processes()) >= 4, "the cluster is starting")
        demo.process.send_signal(signal.SIGINT)
        output, _ = demo.process.communicate(timeout=30)
    finally:
        demo.process.kill()
    assert demo.process.returncode == 130, output
    assert output.splitlines()[-1] == "interrupted: everything is stopped and removed"
    demo.assert_nothing_is_left()
