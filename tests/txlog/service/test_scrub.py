"""The scrubber under running log nodes, with real processes and real files.
It finds and repairs a byte that rots, without a restart.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.txlog.service.harness import Reader, committed, eventually, win
from tests.txlog.service.test_process import SETTINGS, Servers, servers, txlog
from txlog.address import parse_host_port
from txlog.client import LogAddress, LogClient
from txlog.tools.admin import ask_status

__all__ = ["servers"]  # the fixture


def rot(path: Path, text: bytes) -> None:
    """Flip one bit of the entry that holds ``text``."""
    with open(path, "r+b") as file:
        at = file.read().index(text)
        file.seek(at)
        file.write(bytes([text[0] ^ 1]))


@pytest.mark.system
async def test_a_byte_rots_under_a_running_node_and_is_repaired_without_a_restart(
    servers: Servers,
) -> None:
    (servers.folder / "log.toml").write_text(
        SETTINGS + "cache-bytes = 0\nscrub-bytes-per-s = 104857600\nscrub-pause-s = 1\n"
    )
    servers.ports = [free_port() for _ in range(3)]
    for index in range(3):
        servers.start(index)
    assert txlog("init", *servers.addresses()).returncode == 0
    client = LogClient(
        LogAddress.parse(f"txlog://{','.join(servers.addresses())}/shard-0"),
        "a",
        random.Random(1),
        create=True,
    )
    await client.start()
    writer = await win(client, lease_ms=3000)
    lost: list[str] = []
    writer.on_lost = lost.append
    payloads = [
        b"entry-%06d-" % number + random.Random(number).randbytes(20_000) for number in range(600)
    ]
    for at in range(0, 600, 50):
        await committed(writer, payloads[at : at + 50], 60)
    segments = sorted((servers.folder / "node0" / "logs" / "shard-0" / "segments").iterdir())
    assert len(segments) >= 2

    async def scrubbed() -> dict[str, Any]:
        (answer,) = await ask_status([parse_host_port(servers.addresses()[0])], None)
        assert answer.status is not None
        row: dict[str, Any] = answer.status["logs"][0]
        return row

    async def found(findings: int) -> None:
        async def reached() -> bool:
            row = await scrubbed()
            return bool(
                row["scrub"]["findings"] >= findings and not row["holes"] and row["suspect"] is None
            )

        passes = -1
        for _ in range(600):
            if await reached():
                row = await scrubbed()
                passes = row["scrub"]["passes"] if passes < 0 else passes
                if row["scrub"]["passes"] >= passes + 2:  # two more passes through all of it
                    assert row["scrub"]["findings"] == findings, row
                    return
            await writer_alive()
        raise AssertionError(await scrubbed())

    async def writer_alive() -> None:
        await committed(writer, [b"more"])

    await found(0)
    rot(segments[0], payloads[5])  # of an old segment, which is sealed
    await found(1)
    rot(segments[-1], payloads[590])  # of the segment that is being written
    await found(2)
    assert txlog("status", *servers.addresses()).stdout.count("2 found") == 1
    assert lost == [] and all(process.poll() is None for process in servers.processes)
    await eventually(lambda: all(state.connected for state in client.node_states()), 60)
    entries = await Reader().read(client).until(600)
    assert [entry.payload for entry in entries[1:601]] == payloads
    await client.close()
    for process in servers.processes:
        process.terminate()
    outputs = [process.communicate(timeout=60)[1] for process in servers.processes]
    assert (
        outputs[0].count("scrub found bytes that do not check") == 2
        and "entry put back from another log node" in outputs[0]
    )
    assert "scrub pass ended" in outputs[0]
    verified = txlog("verify", servers.folder / "node0")
    assert (verified.returncode, "no findings" in verified.stdout) == (0, True), verified.stdout
