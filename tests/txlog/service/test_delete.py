"""A log is made only on request, and `txlog delete-log` removes it from every node of its group."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crc32c import crc32c

from tests.ports import free_port
from tests.txlog.service.harness import Group, committed, eventually, win
from tests.txlog.service.test_process import Servers, txlog
from txlog.client import LogAddress, LogClient, LogRefused
from txlog.entry import GENESIS_CHAIN, NO_ENTRY
from txlog.messages import DeleteLog, LogDeletion
from txlog.server.identity import DataFolder, read_identity
from txlog.tool_connection import AdminError, ToolConnection
from txlog.tools.admin import node_status
from txlog.tools.delete import delete_log

NAME = "shard-0"


def quiet(text: str) -> None:
    """Ignore the progress."""


async def without_create(group: Group, name: str = NAME) -> LogClient:
    client = LogClient(LogAddress(group.address().nodes, name), "a", random.Random(7))
    await client.start()
    group.clients.append(client)
    return client


async def delete(group: Group, name: str = NAME, wait_s: float = 5) -> str:
    return await delete_log(name, [("127.0.0.1", group.ports[0])], None, wait_s, quiet)


def folders(group: Group) -> list[bool]:
    return [(group.folder / f"node{index}" / "logs" / NAME).exists() for index in range(3)]


async def written(group: Group, payloads: list[bytes]) -> None:
    client = await group.client()
    await committed(await win(client), payloads)
    await group.close(client)


async def test_a_log_that_no_node_knows_is_refused_with_the_names_there_are(group: Group) -> None:
    await written(group, [b"x"])
    with pytest.raises(
        LogRefused,
        match=r"no log 'shard-1' on log node [abc], which has shard-0: --create makes a new log",
    ):
        await without_create(group, "shard-1")
    assert [node.identity.logs for node in group.running.values()] == [[NAME]] * 3
    client = await without_create(group)
    await win(client)


async def test_two_nodes_that_do_not_know_the_log_are_enough_for_a_refusal(group: Group) -> None:
    await group.down(2)
    with pytest.raises(LogRefused, match="no log 'shard-0'"):
        await without_create(group)


async def test_a_node_that_was_down_gets_the_log_later_without_create(group: Group) -> None:
    await group.down(2)
    await written(group, [b"x"])
    client = await without_create(group)
    writer = await win(client)
    await group.up(2)
    await eventually(lambda: group.running[2].identity.logs == [NAME])
    await group.down(0)
    await committed(writer, [b"y"])  # with the node that came later
    assert not writer.lost


async def test_delete_and_make_again(group: Group) -> None:
    await written(group, [b"old"])
    line = await delete(group)
    assert line == f"log '{NAME}' is deleted on a, b, c; its last position was 2"
    assert folders(group) == [False] * 3
    with pytest.raises(LogRefused, match="which has no logs yet"):
        await without_create(group)
    await group.restart()
    with pytest.raises(AdminError, match=f"there is no log '{NAME}' in this group; it has no logs"):
        await delete(group)
    client = await group.client()
    writer = await win(client)
    assert await committed(writer, [b"new"]) == [2]
    assert [node.identity.deleting for node in group.running.values()] == [{}] * 3


async def test_nothing_is_deleted_while_a_node_is_down_or_the_log_in_use(group: Group) -> None:
    client = await group.client()
    await committed(await win(client), [b"x"])
    with pytest.raises(AdminError, match=r"connections of engine nodes.*nothing was changed"):
        await delete(group, wait_s=0.3)
    await group.close(client)
    await group.down(2)
    with pytest.raises(AdminError, match=r"log node c at .* does not answer.*nothing was changed"):
        await delete(group)
    assert [group.running[index].identity.logs for index in (0, 1)] == [[NAME]] * 2
    await win(await group.client())


async def steps(group: Group, index: int, names: list[str]) -> LogDeletion:
    tool = ToolConnection(("127.0.0.1", group.ports[index]), None)
    try:
        welcome = await tool.open()
        for name in names:
            answer = await tool.ask(DeleteLog(welcome.group, welcome.membership, NAME, name))
            assert isinstance(answer, LogDeletion)
        return answer
    finally:
        tool.close()


CUTS = [
    [["mark"], [], []],
    [["mark"], ["mark"], []],
    [["mark"], ["mark"], ["mark"]],
    [["mark", "remove"], ["mark"], ["mark"]],
    [["mark", "remove"], ["mark", "remove"], ["mark", "remove"]],
    [["mark", "remove", "clear"], ["mark", "remove"], ["mark", "remove"]],
]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_deletion_that_was_cut_short_is_finished_by_the_next_run(
    group: Group, cut: list[list[str]]
) -> None:
    """After each cut and a restart of all nodes, no empty log votes beside a copy with entries."""
    await written(group, [b"old"])
    await asyncio.sleep(0.6)  # the lease
    for index, names in enumerate(cut):
        if names:
            await steps(group, index, names)
    await group.restart()
    votes = [index for index, names in enumerate(cut) if not names]
    client = await group.client()  # it may create the log: only cleared nodes take it
    assert [node.identity.logs for node in group.running.values()] == [
        [NAME] if not names or names[-1] == "clear" else [] for names in cut
    ]
    if len(votes) < 2:
        await asyncio.sleep(0.3)
        assert sum(state.connected for state in client.node_states()) < 2
    else:
        await win(client)
    await group.close(client)
    kept = group.running[0].identity.logs == [NAME] and cut[0][-1:] == ["clear"]
    line = await delete(group)
    assert (
        line == f"log '{NAME}' is deleted; the log '{NAME}' of a was made later and stays"
        if kept
        else "is deleted" in line
    )
    assert folders(group) == [kept, False, False]
    client = await group.client()
    assert await committed(await win(client, NO_ENTRY, GENESIS_CHAIN), [b"new"]) == [2]


async def test_steps_out_of_order_are_refused(group: Group) -> None:
    await written(group, [b"x"])
    await asyncio.sleep(0.6)
    for names, words in (
        (["remove"], "too early to remove"),
        (["clear"], None),
        (["mark", "clear"], "too early to clear"),
        (["burn"], "no step"),
    ):
        if words is None:
            assert (await steps(group, 0, names)).state == "kept"
            continue
        with pytest.raises(AdminError, match=words):
            await steps(group, 0, names)
    assert (await steps(group, 0, ["mark"])).state == "marked"
    tool = ToolConnection(("127.0.0.1", group.ports[0]), None)
    await tool.open()
    assert (await node_status(tool))["deleting"] == {NAME: "marked"}
    with pytest.raises(AdminError, match="version 7"):
        await tool.ask(DeleteLog(group.running[0].identity.group_id, 7, NAME, "look"))
    tool.close()


def test_an_identity_of_the_former_format_is_read(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    folder.close()
    path = tmp_path / "node.json"
    inner = json.loads(json.loads(path.read_text())["identity"])
    del inner["deleting"]
    body = json.dumps({**inner, "format": 2}, sort_keys=True)
    path.write_text(json.dumps({"crc32c": crc32c(body.encode()), "identity": body}))
    assert read_identity(tmp_path).deleting == {}


def memstore(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memstore", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=30,
    )


@contextlib.contextmanager
def engine(address: str, port: int, *options: str) -> Iterator[Callable[..., str]]:
    """An engine node that serves; gives its answer to a command."""
    command = [
        sys.executable,
        "-m",
        "memstore",
        "server",
        "--az",
        "a",
        "--port",
        str(port),
        "--log",
        address,
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(*words: str) -> str:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as sock,
            sock.makefile("rwb") as file,
        ):
            file.write(" ".join(words).encode() + b"\r\n")
            file.flush()
            line = file.readline().decode().strip()
            return file.readline().decode().strip() if line[:1] == "$" and line != "$-1" else line

    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if ask("SET", "up", "1") == "+OK":
                    break
            assert process.poll() is None and time.monotonic() < end, (
                "the engine node does not serve"
            )
            time.sleep(0.05)
        yield ask
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.system
def test_the_commands(tmp_path: Path) -> None:
    """Create, a typo, delete, create again, and a restart of all nodes in between."""
    servers = Servers(tmp_path)
    servers.ports = [free_port() for _ in range(3)]
    port = free_port()
    address = f"txlog://{','.join(servers.addresses())}/"

    def start() -> None:
        for index in range(3):
            servers.start(index)
        for index in range(3):
            servers.listening(index)

    try:
        start()
        assert txlog("init", *servers.addresses()).returncode == 0
        with engine(address + NAME, port, "--create") as ask:
            assert ask("SET", "k", "old") == "+OK"
            refused = txlog(
                "delete-log", NAME, servers.addresses()[0], "--confirm", NAME, "--wait", "0"
            )
            assert (
                refused.returncode == 1
                and "stop those engine nodes first; nothing was changed" in refused.stderr
            )
        typo = memstore("server", "--az", "a", "--port", port, "--log", address + "shard-1")
        assert typo.returncode == 1
        assert (
            "there is no log 'shard-1'" in typo.stderr.splitlines()[-1]
            and "has shard-0: --create makes a new log" in typo.stderr.splitlines()[-1]
        )
        with engine(address + NAME, port) as ask:
            assert ask("GET", "k") == "old"
        unsure = txlog("delete-log", NAME, servers.addresses()[0])
        assert unsure.returncode == 2 and f"give --confirm {NAME}" in unsure.stderr
        done = txlog("delete-log", NAME, servers.addresses()[0], "--confirm", NAME)
        assert (done.returncode, f"log '{NAME}' is deleted on a, b, c" in done.stdout) == (
            0,
            True,
        ), done.stderr
        assert [list((tmp_path / f"node{index}" / "logs").iterdir()) for index in range(3)] == [
            [],
            [],
            [],
        ]
        servers.stop()
        start()
        assert (
            memstore("server", "--az", "a", "--port", port, "--log", address + NAME).returncode == 1
        )
        with engine(address + NAME, port, "--create") as ask:
            assert ask("GET", "k") == "$-1"
            assert ask("SET", "k", "new") == "+OK"
        servers.stop()
        start()
        with engine(address + NAME, port) as ask:
            assert ask("GET", "k") == "new"
        servers.processes[2].kill()
        servers.processes[2].wait()
        down = txlog("delete-log", NAME, servers.addresses()[0], "--confirm", NAME)
        assert (
            down.returncode == 1
            and "log node c" in down.stderr
            and "nothing was changed" in down.stderr
        )
    finally:
        servers.stop()
