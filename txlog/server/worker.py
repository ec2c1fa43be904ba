"""The thread that syncs a slow disk.

Decides: nothing. It runs one job after the other, and notifies the loop of each.
Must not know: what the jobs do. It is not compiled, because the simulator replaces it with its own
worker, and it is used only where a sync takes milliseconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class Worker:
    """One thread that runs one job at a time and notifies the loop. For each job, `run_in_executor`
    would make three objects and two locks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[
            tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]] | None
        ] = SimpleQueue()
        self._runner = threading.Thread(target=self._run, name=name, daemon=True)
        self._runner.start()

    def submit(
        self, job: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        self._jobs.put((job, done))

    def stop(self) -> None:
        """End the thread after the jobs that already wait."""
        self._jobs.put(None)
        self._runner.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            result, error = None, None
            try:
                result = job()
            except BaseException as caught:
                error = caught  # the loop passes it to `done`
            try:
                self._loop.call_soon_threadsafe(done, result, error)
            except RuntimeError:
                return  # the loop is closed: the process is ending
