"""Errors of the program in the client's own callbacks and tasks: they reach the event loop's
exception handler at once.

Decides: nothing.
Must not know: what the handler does; an engine node ends. A transport may drop an `OSError` from a
callback of its protocol. An error of a task that is kept shows only when the task is garbage
collected. So this module reports both, without a transport and without a future.
"""

from __future__ import annotations

import asyncio


def report(where: str, error: BaseException) -> None:
    """Report the error to the handler of the running loop."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": f"an error of the program in {where}", "exception": error}
    )


def report_end(task: asyncio.Task[None]) -> None:
    """A done-callback for a task that may end only by cancellation."""
    if not task.cancelled() and (error := task.exception()) is not None:
        report(task.get_name(), error)
