"""Errors that no code took: which of them end the node, as the event loop reports them."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from memstore.engine.facts import Facts
from memstore.node.errors import ends_the_node
from memstore.node.replica_link import ReplicaLink
from tests.node.harness import connected
from tests.replication.test_shard import Node as Hands
from tests.sim.mutants import plant
from txlog.link import SocketLink, _Connection
from txlog.messages import Hello, Tail
from txlog.wire import Decoder, encode


def reported(leave: Callable[[asyncio.AbstractEventLoop], Any]) -> dict[str, Any]:
    """The report that the loop gives its handler after ``leave`` left an error unhandled."""
    contexts: list[dict[str, Any]] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        left = leave(loop)
        await asyncio.sleep(0.01)
        del left
        gc.collect()

    asyncio.run(scene())
    (context,) = contexts
    return context


def future(error: Exception) -> Callable[[asyncio.AbstractEventLoop], Any]:
    def leave(loop: asyncio.AbstractEventLoop) -> Any:
        left = loop.create_future()
        left.set_exception(error)
        return left

    return leave


def task(error: Exception) -> Callable[[asyncio.AbstractEventLoop], Any]:
    async def work() -> None:
        raise error

    return lambda loop: loop.create_task(work())


def callback(error: Exception) -> Callable[[asyncio.AbstractEventLoop], Any]:
    def work() -> None:
        raise error

    return lambda loop: loop.call_soon(work)


UNKNOWN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize(
    ("leave", "ends"),
    [
        (future(UNKNOWN), False),
        (future(ValueError("a library's")), False),
        (future(AssertionError("an invariant")), True),
        (task(UNKNOWN), False),
        (task(ConnectionResetError()), False),
        (task(ValueError("a part of the node has stopped")), True),
        (callback(UNKNOWN), True),
        (callback(ValueError("half-way")), True),
    ],
)
def test_an_error_left_behind(
    leave: Callable[[asyncio.AbstractEventLoop], Any], ends: bool
) -> None:
    """A connect that was given up left its look-up's error in a future.
    Earlier, the node took that for a bug and ended.
    """
    assert ends_the_node(reported(leave)) is ends


def test_a_clients_callback_costs_that_client_its_connection() -> None:
    _, client, _ = connected(Hands())
    for mark in ({"protocol": client, "transport": None}, {"client": True}):
        assert not ends_the_node({"message": "", "exception": ValueError(), **mark})
        assert ends_the_node({"message": "", "exception": AssertionError(), **mark})
    assert not ends_the_node({"message": "a slow callback"})


# --------------------------------------------------------------------------- the node's own links


def socket_link(owner: Any, where: Callable[[], tuple[str, int]]) -> SocketLink:
    return SocketLink(
        0,
        *where(),
        owner,
        lambda: Hello(1, "log", bytes(16), "writer", 0, bytes(16)),
        None,
        random.Random(1),
        where=where,
    )


async def told_by(
    make: Callable[[asyncio.AbstractEventLoop], Any], times: int = 1
) -> list[dict[str, Any]]:
    """The reports that the loop's handler gets while the result of ``make`` is still referenced."""
    contexts: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    kept = make(loop)
    for _ in range(100):
        await asyncio.sleep(0.01)
        if len(contexts) >= times:
            break
    del kept
    return contexts


def raises(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


LINK_ERRORS = [
    KeyError("replies of other clients"),
    OSError("swallowed by a transport"),
    ConnectionResetError(),
]


def an_error_behind_a_log_nodes_answer_ends_the_node(error: Exception) -> None:
    """The bytes go through a real socket and the transport of either loop."""

    async def scene() -> None:
        downs: list[str] = []
        owner = SimpleNamespace(
            on_messages=raises(error), on_down=lambda index, reason: downs.append(reason)
        )
        left, right = socket.socketpair()
        link = socket_link(owner, lambda: ("127.0.0.1", 1))
        connection = link.connection = _Connection(link)
        connection.decoder = Decoder()
        link.up = True

        def make(loop: asyncio.AbstractEventLoop) -> Any:
            right.send(encode(Tail(1, (1, 1), 1)))
            factory: Any = lambda: connection  # noqa: E731  # the protocol in all but descent
            return loop.create_task(loop.create_connection(factory, sock=left))

        contexts = await told_by(make)
        right.close()
        assert [context["exception"] for context in contexts] == [error]
        assert ends_the_node(contexts[0])
        assert downs == ["an error of the program"] and link.connection is None

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(scene())


@pytest.mark.parametrize("error", LINK_ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_behind_a_log_nodes_answer_ends_the_node(error: Exception) -> None:
    """Earlier, the node took it for one client's error.
    The replies of other clients were lost, and later replies were read in their place.
    """
    an_error_behind_a_log_nodes_answer_ends_the_node(error)


async def test_the_task_of_a_link_to_a_log_node_does_not_end_unseen() -> None:
    link = socket_link(None, lambda: ("127.0.0.1", 1))
    link._where = raises(KeyError("where"))
    contexts = await told_by(lambda loop: link.start())
    assert [ends_the_node(context) for context in contexts] == [True]
    assert link._task is not None and link._task.done()


async def test_the_task_of_the_link_to_the_primary_does_not_end_unseen() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    link = ReplicaLink(Facts(), bytes(16), lambda: 0, raises(KeyError("password")), lambda: 0)
    contexts = await told_by(lambda loop: link.aim((host, port)))
    server.close()
    assert [ends_the_node(context) for context in contexts] == [True]


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("data_received", "report(f'the link to {self.link.address}', bug)", "raise"),
        ("data_received", "except Exception", "except WireError"),
    ],
)
def test_a_planted_bug_in_the_link_is_found(function: str, old: str, new: str) -> None:
    with ExitStack() as undo:
        plant(_Connection, function, old, new, undo)
        with pytest.raises(AssertionError):
            an_error_behind_a_log_nodes_answer_ends_the_node(LINK_ERRORS[1])
