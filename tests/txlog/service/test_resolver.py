"""Names whose look-up is slow, fails or never ends.
No caller waits longer than it wants, and no error stays unhandled.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.txlog.service.harness import Group, committed, eventually, win
from txlog import resolver as module
from txlog.client import LogAddress, LogClient
from txlog.resolver import LOOKUPS, NoAddress, Resolver
from txlog.tools.admin import ask_status

HOME = "127.0.0.1"


class SlowResolver:
    """Answers on command."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {}
        self.slow = threading.Event()  # set: answers come at once
        self.slow.set()

    def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        assert self.slow.wait(30)
        answer = self.answers.get(
            name, socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        )
        if isinstance(answer, Exception):
            raise answer
        return list(answer)


@pytest.fixture
def resolver() -> Any:
    resolver = SlowResolver()
    yield resolver
    resolver.slow.set()


@pytest.fixture(autouse=True)
def nothing_forgotten() -> Any:
    """An error in a future that no code took is reported when the future is deleted."""
    yield
    gc.collect()


def age(names: Resolver) -> None:
    """Make the known answers old."""
    for name in names._names.values():
        name.looked_s = min(name.looked_s, time.monotonic() - 10)


async def test_an_address_is_not_looked_up(resolver: SlowResolver) -> None:
    names = Resolver(resolver)
    for address in ("127.0.0.1", "::1", "fe80::1%lo"):
        assert await names.find(address, 0.1) == [address]
    assert resolver.asked == []


async def test_all_who_ask_share_one_look_up(resolver: SlowResolver) -> None:
    resolver.answers["log-a"] = [HOME]
    resolver.slow.clear()
    names = Resolver(resolver)
    asking = [asyncio.create_task(names.find("log-a", 5)) for _ in range(20)]
    await eventually(lambda: resolver.asked)
    resolver.slow.set()
    assert await asyncio.gather(*asking) == [[HOME]] * 20
    assert await names.find("log-a", 5) == [HOME]
    assert resolver.asked == ["log-a"]
    age(names)
    resolver.answers["log-a"] = ["127.0.0.2"]
    assert await names.find("log-a", 5) == ["127.0.0.2"], "an old answer is not believed for ever"


async def test_a_slow_look_up_is_waited_for_as_long_as_the_caller_says(
    resolver: SlowResolver,
) -> None:
    resolver.slow.clear()
    names = Resolver(resolver)
    with pytest.raises(TimeoutError, match="log-b"):
        await names.find("log-b", 0.05)
    with pytest.raises(TimeoutError):
        await names.find("log-b", 0.05)
    assert resolver.asked == ["log-b"], "the first look-up is still under way"
    resolver.slow.set()
    with pytest.raises(NoAddress, match="not known"):
        await names.find("log-b", 5)


async def test_while_a_look_up_is_slow_or_fails_the_earlier_addresses_are_used(
    resolver: SlowResolver,
) -> None:
    resolver.answers["log-c"] = [HOME]
    names = Resolver(resolver)
    assert await names.find("log-c", 5) == [HOME]
    age(names)
    resolver.slow.clear()
    assert await names.find("log-c", 20) == [HOME], "not after 20 s"
    resolver.answers["log-c"] = socket.gaierror(
        socket.EAI_AGAIN, "Temporary failure in name resolution"
    )
    resolver.slow.set()
    await eventually(lambda: names._under_way == 0)
    age(names)
    assert await names.find("log-c", 5) == [HOME], "the resolver is ill"
    resolver.answers["log-c"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    age(names)
    with pytest.raises(NoAddress):
        await names.find("log-c", 5)


async def test_a_caller_that_gives_up_leaves_nothing_behind(
    resolver: SlowResolver, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    resolver.slow.clear()
    names = Resolver(resolver)
    tasks = [asyncio.create_task(names.connect(asyncio.Protocol, "log-d", 1, 5)) for _ in range(3)]
    await eventually(lambda: resolver.asked)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    resolver.slow.set()
    await eventually(lambda: names._under_way == 0)
    gc.collect()
    await asyncio.sleep(0.05)
    assert errors == [] and not names._names["log-d"].waiting


async def test_look_ups_have_a_bound(resolver: SlowResolver) -> None:
    resolver.slow.clear()
    names = Resolver(resolver)
    asking = [asyncio.create_task(names.find(f"log-{number}", 5)) for number in range(LOOKUPS)]
    await eventually(lambda: len(resolver.asked) == LOOKUPS)
    with pytest.raises(NoAddress, match="under way"):
        await names.find("one-more", 5)
    resolver.slow.set()
    await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.parametrize("name", ["x" * 300, "a..b", "\ud800", ""])
async def test_a_name_that_is_none_is_an_error_of_the_system(name: str) -> None:
    with pytest.raises((OSError, TimeoutError)):
        await Resolver().connect(asyncio.Protocol, name, 1, 5)


async def test_every_address_of_a_name_is_tried(group: Group, resolver: SlowResolver) -> None:
    resolver.answers["twice"] = ["127.0.0.9", HOME]
    reader, writer = await Resolver(resolver).open_streams("twice", group.ports[0], 5)
    assert await reader.read(1)
    writer.close()


# --------------------------------------------------------------------------- the client


@pytest.fixture
def shared(resolver: SlowResolver, monkeypatch: pytest.MonkeyPatch) -> SlowResolver:
    """The resolver that all connecting code uses."""
    for name in "abc":
        resolver.answers[f"log-{name}"] = [HOME]
    monkeypatch.setattr(module.RESOLVER, "_ask", resolver)
    monkeypatch.setattr(module.RESOLVER, "_names", {})
    return resolver


def named(group: Group) -> LogAddress:
    return LogAddress.parse(
        "txlog://"
        + ",".join(f"log-{name}:{port}" for name, port in zip("abc", group.ports, strict=True))
        + "/shard-0"
    )


async def test_a_writer_goes_on_without_a_node_whose_name_the_resolver_is_slow_to_deny(
    group: Group, shared: SlowResolver
) -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    client = LogClient(named(group), "a", random.Random(1), create=True)
    await client.start()
    writer = await win(client)
    await committed(writer, [b"before"])
    lost: list[str] = []
    writer.on_lost = lost.append
    await group.down(0)
    age(module.RESOLVER)
    shared.answers["log-a"] = socket.gaierror(
        socket.EAI_AGAIN, "Temporary failure in name resolution"
    )
    shared.slow.clear()
    for number in range(8):
        await committed(writer, [b"entry %d" % number], 2)
        await asyncio.sleep(0.2)
    shared.slow.set()
    await asyncio.sleep(0.2)
    assert lost == [] and errors == []
    await group.up(0)
    shared.answers["log-a"] = [HOME]
    age(module.RESOLVER)
    await eventually(lambda: all(state.connected for state in client.node_states()))
    await client.close()
    gc.collect()
    assert errors == []


async def test_a_client_starts_although_the_resolver_does_not_answer_for_one_node(
    group: Group, shared: SlowResolver
) -> None:
    """Only the look-up of that node is slow: the other two make a majority."""
    shared.answers.pop("log-a")
    answer = shared.__call__

    def ask(name: str) -> list[str]:
        if name == "log-a":
            time.sleep(3)
        return answer(name)

    module.RESOLVER._ask = ask  # the fixture puts the old one back
    begun = time.monotonic()
    client = LogClient(named(group), "a", random.Random(1), create=True)
    await client.start()
    assert time.monotonic() - begun < 2.5
    await committed(await win(client), [b"one"])
    await client.close()


async def test_status_says_which_name_the_resolver_does_not_answer_for(
    shared: SlowResolver,
) -> None:
    shared.slow.clear()
    (status,) = await ask_status([("log-a", 7401)])
    assert status.status is None and "resolver" in status.error
    shared.slow.set()


SLOW_EXIT = """
import asyncio, socket, sys, time
from txlog.resolver import RESOLVER
socket.getaddrinfo = lambda *_, **__: time.sleep(30)
async def main():
    try:
        await RESOLVER.find("log-a", 0.1)
    except TimeoutError:
        raise SystemExit(7)
asyncio.run(main())
"""


def test_a_process_ends_although_a_look_up_is_under_way() -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SLOW_EXIT],
        cwd=Path(__file__).parents[3],
        env=dict(os.environ),
        timeout=25,
        check=False,
    )
    assert done.returncode == 7 and time.monotonic() - begun < 20
