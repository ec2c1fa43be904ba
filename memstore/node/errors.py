"""What an uncaught error costs: one client its connection, or the node its process.

Decides: which errors end the node (`ends_the_node`), and that a client which missed a reply never
reads a later reply in its place.
Must not know: what commands mean, roles, the log.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import structlog

from memstore.engine.engine import Engine, HalfDone
from memstore.engine.session import Session
from memstore.node.client_connection import ClientConnection
from memstore.node.loop_budget import Client

log = structlog.get_logger("memstore.node")


class NodeToEnd(Protocol):
    """What `ErrorContainment` uses of the node."""

    engine: Engine
    loop: asyncio.AbstractEventLoop

    def terminate(self, reason: str, code: int = 0) -> None:
        """Commit and answer what was executed, then end."""

    def end(self, reason: str, code: int) -> None:
        """End now."""


class ErrorContainment:
    """The error handlers of one node."""

    def __init__(self, node: NodeToEnd) -> None:
        self._node = node

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler: it gets every error that no code caught."""
        error = context.get("exception")
        ends = ends_the_node(context)
        text = f"{context.get('message')}: {type(error).__name__}: {error}"
        if ends or "future" not in context:
            log.error("bug", text=text, exc_info=error)
        else:
            log.warning("forgotten-error", text=text)
        if isinstance(error, HalfDone):
            # no command runs any more (`Shard.failed`): what ran before is committed and answered
            self._node.terminate("an error of the program", 1)
        elif ends:
            if not is_a_clients(context):
                self._abort_clients()
            self._node.end("an error of the program", 1)

    def on_bug(self, error: Exception) -> None:
        """A client's command ended in an error of the program. Its connection closes itself after
        the commands before it are answered.
        """
        self._on_client("a command failed", error)

    def on_client_error(self, client: Client, error: Exception) -> None:
        """An error in our own callback for one client, as in a socket's callback: others go on."""
        self._on_client("a command that waited failed", error)
        client.close()

    def on_release_error(self, client: Client, error: Exception) -> None:
        """A client missed a reply that was due. It must not read a later reply in its place."""
        self._on_client("a reply was not released", error)
        client.abort()

    def _on_client(self, message: str, error: Exception) -> None:
        self.on_loop_error(
            self._node.loop, {"message": message, "exception": error, "client": True}
        )

    def release(self, session: Session, data: bytes) -> bool:
        """Write replies that waited. False: the client is gone. An error here costs only this
        client its connection.
        """
        sink = session.sink
        if sink is None:
            return False
        try:
            sink.released(data)
        except Exception as error:
            self.on_release_error(sink, error)
            return False
        return True

    def _abort_clients(self) -> None:
        """A part of the node has stopped halfway. Replies may be lost there, and a client must not
        read a later reply in place of a lost one.
        """
        for session in list(self._node.engine.sessions.values()):
            if session.sink is not None:
                session.sink.abort()


def is_a_clients(context: dict[str, Any]) -> bool:
    """Whether the error occurred in work for one client alone."""
    return "client" in context or isinstance(context.get("protocol"), ClientConnection)


def ends_the_node(context: dict[str, Any]) -> bool:
    """Whether the node can no longer be trusted after an uncaught error.

    A broken invariant or a half-done unit ends the node, wherever it shows. An error in a callback
    or timer ends it: these are the node's own and may have stopped halfway. An error of a task ends
    it, unless it is the operating system's: a part of the node has stopped. The node goes on after
    an error in one client's callback, which costs that client its connection. A callback of a link
    to a log node or another node is the node's own: its unfinished work may belong to any client.
    The node goes on after an error in a future that nothing waits for. A library leaves one when a
    connection or a look-up is given up, and none of our code ran.
    """
    error, future = context.get("exception"), context.get("future")
    if error is None:
        return False
    if isinstance(error, AssertionError | HalfDone):
        return True
    if is_a_clients(context):
        return False
    return future is None or (isinstance(future, asyncio.Task) and not isinstance(error, OSError))
