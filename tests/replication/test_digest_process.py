"""A node as a process whose log contains a false digest.
It reports this, restores twice, and then believes the log, because no other node is left.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from memstore.engine.effects import encode
from memstore.engine.keyspace import SLOTS
from memstore.engine.state_digest import Slice
from memstore.replication.control_entries import Digest, Leadership
from tests.node.processes import Processes, until
from txlog.client import LogAddress
from txlog.embedded import make_client
from txlog.entry import DATA, DIGEST, GENESIS_CHAIN, NO_ENTRY

AUTHOR = b"\x07" * 16
WRONG_AT = 3


async def write_log(folder: Path) -> None:
    """The log of a primary with damaged memory.
    It has its leadership, a write, a digest of another state, another write.
    """
    client = make_client(LogAddress.parse(f"embedded:{folder}"), "a", Random(1), None)
    await client.start()
    leadership = Leadership("n" * 40, AUTHOR, "a", "127.0.0.1", 1, 200).encode()
    writer = await client.campaign(
        NO_ENTRY, GENESIS_CHAIN, 200, leadership, lambda: 1_700_000_000_000
    )
    for kind, payload in (
        (DATA, encode([b"SET", b"k", b"good"])),
        (DIGEST, Digest(Slice(0, SLOTS, 1), b"?" * 16).encode()),
        (DATA, encode([b"SET", b"later", b"1"])),
    ):
        position = writer.append(kind, payload, 1_700_000_000_000)
    writer.flush()
    while writer.committed < position:
        await asyncio.sleep(0.01)
    writer.stop()
    await client.close()


@pytest.fixture
def node(tmp_path: Path) -> object:
    asyncio.run(write_log(tmp_path / "embedded"))
    processes = Processes(tmp_path, 0, 1, "lease-ms=200", "digest-interval-ms=100")
    yield processes
    processes.stop()


def test_a_standalone_node_that_restarts_on_a_wrong_digest_serves_what_the_log_says(
    node: Processes,
) -> None:
    node.start_engine(0)
    until("the node leads", node.primary)
    client = node.client(0)
    assert client.mget("k", "later") == ["good", "1"]
    info = client.info("log")
    assert (
        info["log_digest_differences"],
        info["log_digest_differs_at"],
        info["log_digest_trouble"],
    ) == (2, WRONG_AT, "")
    trace = node.trace("engine-0")
    assert (
        trace.index("digest-differs") < trace.index("digest-ignored")
        and f"at position {WRONG_AT}" in trace
    )
    # Its own new log entries are true: its next life finds that one wrong digest and no other.
    assert client.set("k", "better")
    until("it has logged a digest of its own", lambda: client.info("log")["log_digests"] >= 1)
    node.stop()
    node.start_engine(0)
    until("the node leads again", node.primary)
    assert (
        client.mget("k", "later") == ["better", "1"]
        and client.info("log")["log_digest_differs_at"] == WRONG_AT
    )
    node.stop()
    listed = subprocess.run(
        [sys.executable, "-m", "txlog", "inspect", str(node.folder / "embedded")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert listed.count(" DIGEST at ") >= 2 and '"from": [0, 0]' in listed
