"""A lost log node is replaced with real processes and the real command (S8).
The replacement runs under load, with kill -9 at every step.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.txlog.service.harness import Reader, eventually, win
from tests.txlog.service.test_process import Servers, txlog
from tests.txlog.service.test_replace import Load
from txlog.client import LogAddress, LogClient


@pytest.mark.system
async def test_replace_under_load_with_kills_at_every_step(tmp_path: Path) -> None:
    servers = Servers(tmp_path)
    servers.ports = [free_port() for _ in range(3)]
    client: LogClient | None = None
    try:
        for index in range(3):
            servers.start(index)
        assert (await asyncio.to_thread(txlog, "init", *servers.addresses())).returncode == 0
        client = LogClient(
            LogAddress.parse(f"txlog://{','.join(servers.addresses())}/shard-0"),
            "a",
            random.Random(1),
            create=True,
        )
        await client.start()
        load = Load(await win(client, lease_ms=3000))
        await load.more(100)

        def kill(index: int) -> None:
            servers.processes[index].send_signal(signal.SIGKILL)
            servers.processes[index].wait()

        kill(2)
        shutil.rmtree(tmp_path / "node2")
        servers.start(2)
        await asyncio.to_thread(servers.listening, 2)
        where = servers.addresses()
        command = [
            sys.executable,
            "-m",
            "txlog",
            "replace-node",
            "--lost",
            where[2],
            "--new",
            where[2],
            where[0],
        ]
        for after_ms in (300, 450, 600):  # the command dies early, and during its work
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            await asyncio.sleep(after_ms / 1000)
            process.kill()
            process.communicate()
        again = subprocess.Popen(
            [*command, "--wait", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await asyncio.to_thread(again.communicate)
        for index in (2, 1):  # the learner dies during its work, then a node it copies from
            kill(index)
            servers.start(index)
            await asyncio.to_thread(servers.listening, index)
        done = await asyncio.to_thread(
            txlog, "replace-node", "--lost", where[2], "--new", where[2], where[0]
        )
        assert done.returncode == 0, done.stderr
        assert "is a member in full: membership version 2" in done.stdout
        repeated = await asyncio.to_thread(
            txlog, "replace-node", "--lost", where[2], "--new", where[2], where[0]
        )
        assert (repeated.returncode, repeated.stdout) == (0, done.stdout)
        await load.more(50)
        kill(0)
        await load.more(50)
        await load.stop()
        assert not load.writer.lost
        entries = {
            entry.position: entry.payload
            for entry in await Reader().read(client).until(max(load.acknowledged))
        }
        assert {position: entries[position] for position in load.acknowledged} == load.acknowledged
        status = await asyncio.to_thread(txlog, "status", *where)
        assert status.returncode == 0 and status.stdout.count("good") == 2, status.stdout
        assert f"membership version 2: a={where[0]}, b={where[1]}, c-" in status.stdout.replace(
            "\n", " "
        ), status.stdout
        wrong = await asyncio.to_thread(
            txlog, "replace-node", "--lost", where[1], "--new", where[1], where[2]
        )
        assert (wrong.returncode, "it is not lost either" in wrong.stderr) == (1, True), (
            wrong.stderr
        )
        unclear = await asyncio.to_thread(
            txlog, "replace-node", "--lost", "x:y", "--new", where[2], where[0]
        )
        assert unclear.returncode == 2
        await eventually(lambda: client is not None and client.membership == 2)
    finally:
        if client is not None:
            await client.close()
        servers.stop()
