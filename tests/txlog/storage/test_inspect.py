"""A log's folder as text, and the errors in it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.txlog.storage.helpers import fill, flip, make_run, open_store, segment_files
from txlog.entry import DATA, GENESIS_CHAIN, LEADERSHIP, make_entry
from txlog.storage import inspect
from txlog.storage.segment import BLOCK_BYTES, FRAME_HEADER_BYTES, frame_bytes


def resp(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(
        b"$%d\r\n%s\r\n" % (len(argument), argument) for argument in argv
    )


def test_an_entry_as_text() -> None:
    payload = (
        resp(b"SET", b"k", b"a b\n\x1b[2J") + resp(b"DEL", b"") + resp(b"SET", b"x", b"y" * 300)
    )
    entry = make_entry(5, 2, DATA, 77, GENESIS_CHAIN, payload, continued=True)
    head, *lines = inspect.describe(entry).split("\n")
    assert (
        head == f"5 term 2 DATA continued at 77 ms, {len(payload)} bytes, chain {entry.chain.hex()}"
    )
    assert lines == ['  SET k "a b\\n\\x1b[2J"', '  DEL ""', f"  SET x {'y' * 200}...(300 bytes)"]


def test_other_kinds_and_broken_payloads() -> None:
    assert inspect.describe(
        make_entry(1, 1, LEADERSHIP, 0, GENESIS_CHAIN, b'{"az": "a"}')
    ).endswith(
        "LEADERSHIP at 0 ms, 11 bytes, chain "
        + make_entry(1, 1, LEADERSHIP, 0, GENESIS_CHAIN, b'{"az": "a"}').chain.hex()
        + '\n  {"az": "a"}'
    )
    assert inspect.effects(resp(b"SET", b"a", b"b") + b"*1\r\n$9\r\nab\r\n") == [
        [b"SET", b"a", b"b"],
        [b"(not RESP from byte 27 on)", b"*1\r\n$9\r\nab\r\n"],
    ]
    assert "kind 99" in inspect.describe(make_entry(1, 1, 99, 0, GENESIS_CHAIN, b"\xff"))


@given(st.binary(max_size=50))
def test_nothing_in_a_log_steers_a_terminal(noise: bytes) -> None:
    for text in (
        inspect.quote(noise),
        inspect.describe(make_entry(1, 1, DATA, 0, GENESIS_CHAIN, noise)),
    ):
        assert all(32 <= ord(character) < 127 or character == "\n" for character in text)
    assert "\n" not in inspect.quote(noise)


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=4), max_size=5))
def test_effects_round_trip(units: list[list[bytes]]) -> None:
    assert inspect.effects(b"".join(resp(*argv) for argv in units)) == units


def test_a_whole_log_is_verified_and_listed(tmp_path: Path) -> None:
    run = make_run(100)
    store = open_store(tmp_path / "data" / "logs" / "shard-0")
    fill(store, run)
    assert inspect.find_logs(tmp_path / "data") == [store.path]
    assert inspect.find_logs(store.path) == [store.path]
    summary = inspect.verify(store.path)  # of a log in use
    assert (summary.entries, summary.last, summary.findings) == (100, 100, [])
    assert [getattr(found, "encoded", found) for found in inspect.entries(store.path)] == [
        entry.encoded for entry in run
    ]
    assert [getattr(found, "position", 0) for found in inspect.entries(store.path, 50, 60)] == list(
        range(50, 61)
    )


def test_findings_name_position_and_file(tmp_path: Path) -> None:
    run = make_run(60)
    store = open_store(tmp_path / "log")
    fill(store, run)
    store.write_evidence(60)
    store.sync()
    store.close()
    size = frame_bytes(len(run[0].encoded))
    second = segment_files(store.path)[1]
    first = int(second.name[:20])
    flip(second, BLOCK_BYTES + 3 * size + FRAME_HEADER_BYTES + 60)
    flip(second, BLOCK_BYTES + 5 * size + 9)
    summary = inspect.verify(store.path)
    assert [(finding.file, finding.position) for finding in summary.findings] == [
        (second, first + 5),
        (second, first + 3),
    ]
    assert str(summary.findings[1]).startswith(f"{second}: position {first + 3}: ")
    listed = list(inspect.entries(store.path))
    assert [found.position for found in listed if isinstance(found, inspect.Finding)] == [first + 3]
    assert len(listed) == 60
    with open(second, "r+b") as file:
        file.seek(BLOCK_BYTES + 10 * size)
        file.write(bytes(4096 - 10 * size))
    assert [finding.position for finding in inspect.verify(store.path).findings][-1] == 60 + 1 - (
        60 - (first + 9)
    )
