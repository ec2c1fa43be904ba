"""The next segment's file, made before it is needed.

Decides: when there is room for another segment (A5: "disk full" is detected here, before an append
is taken).
Must not know: entries, positions. It uses one thread per log. The thread reserves the blocks first;
from then on there is room. Then it fills them with zeros, because to overwrite written blocks makes
fdatasync cheaper than to write into fresh ones. It limits its rate, so that the log's own fdatasync
does not wait for it.

Invariants: the file `next` is complete or absent (`next.new` is the one being made); a full disk is
asked again every ``retry_s``; any other error of the disk is kept and raised in the thread that
uses the log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from txlog.storage.errors import FULL, StorageFatal
from txlog.storage.files import Files

NEXT_NAME: Final = "next"
NEXT_NEW_NAME: Final = "next.new"

_CHUNK: Final = 1 << 20
_SYNC_EVERY: Final = 4
_PAUSE_S: Final = 0.005


def make_zeroed(
    files: Files,
    path: Path,
    size: int,
    reserved: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
) -> bool:
    """A durable file of zeros whose blocks are written. False: stopped before it was complete."""
    fd = files.open(path, create=True)
    try:
        files.reserve(fd, size)
        reserved()
        zeros = bytes(_CHUNK)
        for index, at in enumerate(range(0, size, _CHUNK)):
            files.write(fd, at, zeros[: min(_CHUNK, size - at)])
            if stop is not None and index % _SYNC_EVERY == _SYNC_EVERY - 1:
                files.sync(fd)
                if stop.wait(_PAUSE_S):
                    return False
        files.sync(fd)
    finally:
        files.close(fd)
    return True


class Spare:
    """``threaded`` False: `start` and `take` do all work, for a world without threads."""

    def __init__(
        self, files: Files, folder: Path, size: int, retry_s: float = 1.0, threaded: bool = True
    ) -> None:
        self._files = files
        self._folder = folder
        self.size = size
        self._retry_s = retry_s
        self._threaded = threaded
        self._wanted = threading.Event()
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._full = False
        self._failure: OSError | None = None
        self._maker: threading.Thread | None = None
        # the blocks of one more segment are reserved, or a `Roll` in the store's queue is about to
        # take them
        self.has_segment = False

    def start(self, complete: bool) -> None:
        """``complete``: the file `next` was found."""
        if complete:
            self.has_segment = True
            self._ready.set()
        else:
            self._wanted.set()
        if self._threaded:
            self._maker = threading.Thread(
                target=self._run, name=f"spare {self._folder.name}", daemon=True
            )
            self._maker.start()
        elif not complete:
            self._prepare()

    @property
    def full(self) -> bool:
        """The disk had no room for another segment."""
        return self._full

    def check(self) -> None:
        """Raise the error that the thread met."""
        if self._failure is not None:
            raise StorageFatal(
                f"{self._folder}: the next segment could not be made: "
                f"{self._failure.strerror or self._failure}"
            )

    def take(self, path: Path) -> None:
        """Rename the complete file to ``path`` and begin the next one.
        The caller syncs its content and the folder. Waits while the file is being filled.
        """
        while not self._ready.wait(0.05):
            self.check()
            if self._full:
                raise StorageFatal(f"{self._folder}: no space left for the next segment")
        self._files.rename(self._folder / NEXT_NAME, path)
        self.has_segment = False
        self._ready.clear()
        self._wanted.set()
        if not self._threaded:
            self.retry()

    def retry(self) -> None:
        """Without a thread: ask a full disk again."""
        if not self._threaded and self._wanted.is_set():
            self._prepare()

    def close(self) -> None:
        self._stop.set()
        self._wanted.set()
        if self._maker is not None:
            self._maker.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._stop.is_set():
                return
            try:
                self._prepare()
            except OSError as error:
                self._failure = error
                return
            if self._stop.is_set():
                return  # `close` may have set `_wanted` before `_prepare` cleared it
            if self._full:
                self._stop.wait(self._retry_s)

    def _prepare(self) -> None:
        path = self._folder / NEXT_NEW_NAME
        try:
            done = make_zeroed(self._files, path, self.size, self._on_reserved, self._stop)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self.has_segment = False
            self._full = True
            if self._files.exists(path):
                self._files.unlink(path)
            return
        if done:
            self._files.rename(path, self._folder / NEXT_NAME)
            self._files.sync_folder(self._folder)
            self._wanted.clear()
            self._ready.set()

    def _on_reserved(self) -> None:
        self._full = False
        self.has_segment = True
