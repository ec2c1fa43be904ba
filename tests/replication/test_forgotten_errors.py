"""Which errors that nothing took end the node, as the event loop reports them."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from typing import Any

import pytest

from memstore.server.node import ends_the_node


def reported(leave: Callable[[asyncio.AbstractEventLoop], Any]) -> dict[str, Any]:
    """What the loop tells its handler when ``leave`` has left an error behind."""
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
def test_an_error_left_behind(leave: Callable[[asyncio.AbstractEventLoop], Any], ends: bool) -> None:
    """A connect that was given up left its look-up's error in a future; the node took that for a bug and ended."""
    assert ends_the_node(reported(leave)) is ends


def test_a_clients_callback_costs_that_client_its_connection() -> None:
    assert not ends_the_node({"message": "", "exception": ValueError(), "transport": None})
    assert ends_the_node({"message": "", "exception": AssertionError(), "transport": None})
    assert not ends_the_node({"message": "a slow callback"})
