"""Resolver of machines and their addresses: at most one look-up a name, with a time limit for each
caller.

Decides: what a name's addresses are now; when a look-up is repeated.
Must not know: what connects to the addresses. An address instead of a name costs nothing.

A resolver may need ten seconds to answer that it does not know a name. In Docker this happens for
each container that is stopped. So a look-up runs in a thread of its own. It leaves its answer or
its error here, and a caller waits for it no longer than its own time limit. While a look-up is
slow, callers get the earlier addresses. If the resolver answers that the name does not exist, these
are forgotten; if the look-up only fails, they stay.

Invariants: a name has at most one look-up under way, and all names together have `LOOKUPS`; each
error is taken, so no forgotten future holds one; no thread keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

LOOKUPS: Final = 32  # under way at once
FRESH_S: Final = 1.0  # an answer or an error is valid for this time
PATIENCE_S: Final = 0.25  # how long to wait for a look-up while earlier addresses are known
KEPT_NAMES: Final = 1024

_UNKNOWN: Final = frozenset((socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)))

T = TypeVar("T")


class NoAddress(OSError):
    """The name has no address, or the resolver gave none; the text is one line."""


class _Name:
    __slots__ = ("addresses", "error", "looked_s", "under_way", "waiting")

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.error = ""  # of the newest look-up
        self.looked_s = 0.0  # when it ended, 0: none has
        self.under_way = False
        self.waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []


def resolve(name: str) -> list[str]:
    """Ask the system, without a time limit. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for _, _, _, _, where in found))


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class Resolver:
    """One a process. It is thread-safe: everything in a `_Name` is changed under the lock."""

    def __init__(self, ask: Callable[[str], list[str]] = resolve) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._names: dict[str, _Name] = {}
        self._under_way = 0

    async def find(self, host: str, timeout_s: float) -> list[str]:
        """The addresses of ``host``, at least one. Raises `NoAddress`. Raises TimeoutError when no
        address is known in time.
        """
        if is_address(host):
            return [host]
        with self._lock:
            name = self._name(host)
            if name.looked_s and time.monotonic() - name.looked_s < FRESH_S:
                return self._answer(host, name)
            if not name.under_way:
                self._start(host, name)
            if not name.under_way:
                return self._answer(host, name)
            loop = asyncio.get_running_loop()
            waiting = (loop, loop.create_future())
            name.waiting.append(waiting)
            patience_s = min(timeout_s, PATIENCE_S) if name.addresses else timeout_s
        try:
            await asyncio.wait_for(waiting[1], patience_s)
        except TimeoutError:
            with self._lock:
                if not name.addresses:
                    raise TimeoutError(f"the resolver has not answered for {host}") from None
        finally:
            with self._lock:
                if waiting in name.waiting:
                    name.waiting.remove(waiting)
        with self._lock:
            return self._answer(host, name)

    def _name(self, host: str) -> _Name:
        name = self._names.get(host)
        if name is None:
            if len(self._names) >= KEPT_NAMES:
                for old in [old for old, kept in self._names.items() if not kept.under_way][
                    : KEPT_NAMES // 2
                ]:
                    del self._names[old]
            name = self._names[host] = _Name()
        return name

    def _answer(self, host: str, name: _Name) -> list[str]:
        if name.addresses:
            return list(name.addresses)
        raise NoAddress(f"{host}: {name.error}")

    def _start(self, host: str, name: _Name) -> None:
        """Start a look-up, under the lock. If that fails, the name has an error."""
        if self._under_way >= LOOKUPS:
            name.error = f"{LOOKUPS} look-ups of names are under way"
            return
        try:
            threading.Thread(
                target=self._look_up, args=(host, name), name=f"look-up of {host}"[:60], daemon=True
            ).start()
        except RuntimeError as error:  # no more threads
            name.error = str(error)
            return
        name.under_way = True
        self._under_way += 1

    def _look_up(self, host: str, name: _Name) -> None:
        """Run one look-up, in its thread."""
        addresses: list[str] = []
        unknown = False
        try:
            addresses = self._ask(host)
            error = "the name has no address"
        except OSError as failed:
            error = failed.strerror or str(failed)
            unknown = isinstance(failed, socket.gaierror) and failed.errno in _UNKNOWN
        except Exception as failed:  # for example a name that cannot be encoded
            error, unknown = str(failed) or type(failed).__name__, True
        with self._lock:
            if addresses or unknown:
                name.addresses = addresses
            name.error = error
            name.looked_s = time.monotonic()
            name.under_way = False
            self._under_way -= 1
            waiting, name.waiting = name.waiting, []
        for loop, future in waiting:
            with contextlib.suppress(RuntimeError):  # that loop is closed: nothing waits there
                loop.call_soon_threadsafe(_wake, future)

    async def _each(self, host: str, timeout_s: float, attempt: Callable[[str], Awaitable[T]]) -> T:
        """Try the addresses in order until ``attempt`` succeeds, ``timeout_s`` in total."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        addresses = await self.find(host, timeout_s)
        for number, address in enumerate(addresses, 1):
            left_s = (until - loop.time()) / (len(addresses) - number + 1)
            try:
                return await asyncio.wait_for(attempt(address), max(left_s, 0.001))
            except (OSError, TimeoutError):
                if number == len(addresses):
                    raise
        raise AssertionError("a name without an address was found")

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int, timeout_s: float
    ) -> None:
        """Like the loop's ``create_connection``. Raises OSError and TimeoutError."""
        loop = asyncio.get_running_loop()
        await self._each(
            host, timeout_s, lambda address: loop.create_connection(factory, address, port)
        )

    async def open_streams(
        self, host: str, port: int, timeout_s: float
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Like ``asyncio.open_connection``. Raises OSError and TimeoutError."""
        return await self._each(
            host, timeout_s, lambda address: asyncio.open_connection(address, port)
        )


def _wake(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)


RESOLVER: Final = Resolver()  # of the process: all connections by name use it
