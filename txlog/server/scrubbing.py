"""The scrubber's driver: its timer, its reads in a thread, and its reports.

Decides: that a piece waits while the log syncs. It has the lowest priority, but it does not wait
without limit.
Must not know: what to read or when (`storage.scrub` decides); what a finding means (the store
checks it again, the acceptor has it put back).

Invariants: the scrubber reads one piece of one log at a time; it blocks the loop only while it
starts a job in a thread.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from txlog.clock import timer_s
from txlog.config import DEFAULT_SCRUB_BYTES_PER_S, DEFAULT_SCRUB_PAUSE_S
from txlog.storage.scrub import Piece, Scrubber
from txlog.storage.store import LogStore

log = structlog.get_logger("txlog.scrub")

YIELD_S: Final = 0.002
# a process without free descriptors or memory skips this piece and goes on
_PASSING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
MAX_YIELDS: Final = 50  # under constant load the scrubber still reads a piece after so many


@dataclass(frozen=True, slots=True)
class ScrubLimits:
    bytes_per_s: int = DEFAULT_SCRUB_BYTES_PER_S  # 0: no scrubbing
    pause_s: int = DEFAULT_SCRUB_PAUSE_S  # between two passes


DEFAULTS: Final = ScrubLimits()


class ScrubbedLog(Protocol):
    """The log's driver."""

    def disk_busy(self) -> bool: ...  # something waits for a sync
    def sync_queued(self) -> None: ...  # carry out what was asked of the store
    def unexpected(self, error: Exception) -> None: ...  # ends the process


class Scrubbing:
    def __init__(
        self,
        name: str,
        store: LogStore,
        host: ScrubbedLog,
        limits: ScrubLimits,
        clock: Callable[[], int],
        readers: ThreadPoolExecutor,
    ) -> None:
        self._name = name
        self._store = store
        self._host = host
        self._clock = clock
        self._readers = readers
        self._loop = asyncio.get_running_loop()
        self._scrubber = Scrubber(limits.bytes_per_s, limits.pause_s * 1_000_000, clock())
        self._timer: asyncio.TimerHandle | None = None
        self._yields = 0
        self._closed = False

    def start(self) -> None:
        deadline = self._scrubber.deadline()
        if deadline and not self._closed:
            self._timer = self._loop.call_later(
                timer_s(deadline - self._clock()), self._guarded, self._on_timer
            )

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def status(self) -> dict[str, object]:
        return self._scrubber.status(self._clock())

    def _guarded(self, step: Callable[..., None], *arguments: Any) -> None:
        """An unexpected error ends the process, as everywhere in a log."""
        if self._closed:
            return
        try:
            step(*arguments)
        except Exception as error:
            self._host.unexpected(error)

    def _on_timer(self) -> None:
        busy = self._host.disk_busy() or not self._store.repairs_done
        if busy and self._yields < MAX_YIELDS:
            self._yields += 1
            self._timer = self._loop.call_later(YIELD_S, self._guarded, self._on_timer)
            return
        self._yields = 0
        piece = self._scrubber.next(self._store, self._clock())
        if piece is None:
            self._pass_ended()
            return
        self._in_thread(self._store.read_piece, (piece,), lambda _: self._read(piece))

    def _in_thread(
        self, job: Callable[..., Any], arguments: tuple[Any, ...], then: Callable[[Any], None]
    ) -> None:
        def done(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if isinstance(error, OSError) and error.errno in _PASSING:
                self._guarded(self._failed, error)
            else:
                self._guarded(lambda: then(future.result()))

        self._loop.run_in_executor(self._readers, job, *arguments).add_done_callback(done)

    def _failed(self, error: OSError) -> None:
        log.warning("scrub could not read", log=self._name, reason=error.strerror)
        self._scrubber.on_failed(self._clock())
        self.start()

    def _read(self, piece: Piece) -> None:
        check, scrubber, store = piece.check, self._scrubber, self._store
        scrubber.on_read(piece)
        if check.done and (check.frames_bad or check.block_bad or check.slack_bad):
            if store.still_so(check):
                scrubber.on_finding()
                log.error(
                    "scrub found bytes that do not check", log=self._name, file=check.span.where,
                    position=check.position if check.frames_bad else 0,
                    header_block=check.block_bad, behind_the_end=check.slack_bad,
                )  # fmt: skip
                store.on_scrubbed(check)
                self._host.sync_queued()
            else:
                scrubber.again()
        self.start()

    def _pass_ended(self) -> None:
        self._in_thread(self._store.meta_rots, (), self._meta_read)

    def _meta_read(self, rots: bool) -> None:
        ended = self._scrubber.last
        assert ended is not None
        if rots:
            self._scrubber.findings += 1
            ended.findings += 1
            log.error("scrub found a slot of meta that does not check", log=self._name)
            self._store.write_meta_again()
            self._host.sync_queued()
        log.info(
            "scrub pass ended", log=self._name, bytes=ended.bytes, entries=ended.entries,
            seconds=round((ended.ended_us - ended.began_us) / 1e6, 3), findings=ended.findings,
        )  # fmt: skip
        self.start()
