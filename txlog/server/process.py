"""The process of `txlog server`: signals, errors that reach the event loop, and the exit code.

Decides: with which code and words the process ends.
Must not know: what the node does.
Invariant: a failed disk and a broken invariant end the process at once (A5).
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import structlog
import uvloop

from txlog.config import LogServerConfig
from txlog.server import node
from txlog.server.callers import raise_descriptor_limit
from txlog.server.identity import DataFolder, FolderError
from txlog.server.node import EXIT_DISK, EXIT_FOLDER, EXIT_OK, LogNode, LogNodeStartError
from txlog.storage.errors import StorageFatal
from txlog.storage.files import keep_descriptors

log = structlog.get_logger("txlog.node")


def _on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A broken invariant or a failed disk ends the process wherever it appears; an error of a
    connection does not.
    """
    error = context.get("exception")
    if isinstance(error, AssertionError | StorageFatal):
        log.error(
            "an invariant does not hold"
            if isinstance(error, AssertionError)
            else "the disk failed",
            exc_info=error,
        )
        node.halt(str(error) or repr(error))
    log.error(context.get("message", "error in the event loop"), exc_info=error)


async def serve(config: LogServerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises `LogNodeStartError`."""
    loop = asyncio.get_running_loop()
    raise_descriptor_limit()
    keep_descriptors()
    try:
        folder = await loop.run_in_executor(None, DataFolder.open, config.data)
    except FolderError as error:
        raise LogNodeStartError(str(error), EXIT_FOLDER) from error
    log_node = LogNode(config, folder)
    loop.set_exception_handler(_on_exception)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await log_node.start()
        await stopping.wait()
        log.info("stopping")
    finally:
        await log_node.close()


def run(config: LogServerConfig) -> int:
    """Run the process and return the exit code. If there is a reason, stderr has it in one line."""
    try:
        uvloop.run(serve(config))
    except LogNodeStartError as error:
        sys.stderr.write(f"txlog: {error}\n")
        return error.code
    except OSError as error:
        sys.stderr.write(f"txlog: {error.filename or config.data}: {error.strerror or error}\n")
        return EXIT_DISK
    return EXIT_OK
