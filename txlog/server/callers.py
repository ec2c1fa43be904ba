"""The callers that are connected to a log node, and the limits for all of them together.

Decides: which callers the node refuses or drops because descriptors or memory run out.
Must not know: what callers say.
Invariants: descriptors remain for the node's own files and for the other log nodes; a caller that
has not finished the handshake gives way to a newer one, so idle connections keep no caller out.
"""

from __future__ import annotations

import os
import resource
from typing import Final, Protocol

import structlog

log = structlog.get_logger("txlog.callers")

# descriptors for new segments and for segments that are read; `storage.files` keeps others
_RESERVE: Final = 8
_RESERVE_A_LOG: Final = 3  # its next segment, and the other log nodes
_LEAST: Final = 2  # callers, however few descriptors there are


class Caller(Protocol):
    greeted: bool
    address: str

    @property
    def unread(self) -> int: ...  # bytes that it has not read yet
    def drop(self, reason: str) -> None: ...


class Callers:
    """All connections, in the order in which they came. A loop over all of them must not depend on
    addresses in memory.
    """

    def __init__(self, most: int, per_address: int, output_bytes: int, input_bytes: int) -> None:
        self.limit = most
        self._most = most
        self._per_address = per_address
        self._output_bytes = output_bytes
        self._input_bytes = input_bytes
        self._all: dict[Caller, None] = {}
        self._fresh: dict[Caller, None] = {}  # have not finished the handshake
        self._addresses: dict[str, int] = {}  # how many of `_fresh`, by address
        self._output: dict[Caller, int] = {}  # what each held at the last measurement
        self._input: dict[Caller, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def measure(self, logs: int) -> None:
        """Set the limit to the free descriptors. Call it when the node's own files are open."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = soft - open_descriptors() + len(self._all) - _RESERVE - _RESERVE_A_LOG * logs
        self.limit = max(_LEAST, min(self._most, spare))
        if self.limit < self._most:
            log.warning(
                "fewer connections than max-connections",
                limit=self.limit,
                descriptors=soft,
                wanted=self._most,
            )

    def add(self, caller: Caller) -> str:
        """The reason why the node cannot serve the caller, "" when it can."""
        fresh = self._fresh
        if self._addresses.get(caller.address, 0) >= self._per_address:
            self._evict(
                next(other for other in fresh if other.address == caller.address),
                "too many connections from its address, and it says nothing",
            )
        elif len(self._all) >= self.limit:
            if not fresh:
                return f"too many connections: {len(self._all)}, the limit is {self.limit}"
            self._evict(next(iter(fresh)), "too many connections, and it says nothing")
        self._all[caller] = None
        fresh[caller] = None
        self._addresses[caller.address] = self._addresses.get(caller.address, 0) + 1
        return ""

    def _evict(self, caller: Caller, reason: str) -> None:
        self.remove(caller)
        caller.drop(reason)

    def greeted(self, caller: Caller) -> None:
        if caller in self._fresh:
            del self._fresh[caller]
            left = self._addresses[caller.address] - 1
            if left:
                self._addresses[caller.address] = left
            else:
                del self._addresses[caller.address]

    def remove(self, caller: Caller) -> None:
        self.greeted(caller)
        self._all.pop(caller, None)
        self._output.pop(caller, None)
        self._input.pop(caller, None)

    def everyone(self) -> list[Caller]:
        return list(self._all)

    # ------------------------------------------------------------------ memory

    def on_output(self, caller: Caller, held: int) -> None:
        if caller not in self._all:
            return
        self._output[caller] = held
        if sum(self._output.values()) > self._output_bytes:
            self._output = {other: other.unread for other in self._output}  # some have read since
            self._evict_largest(
                self._output,
                self._output_bytes,
                "it does not read its answers, and all callers together hold too much memory",
            )

    def on_input(self, caller: Caller, held: int) -> None:
        if caller not in self._all:
            return
        if held:
            self._input[caller] = held
        else:
            self._input.pop(caller, None)
        self._evict_largest(
            self._input,
            self._input_bytes,
            "its message has come in part only, and all callers together hold too much memory",
        )

    def _evict_largest(self, held: dict[Caller, int], limit: int, reason: str) -> None:
        while held and sum(held.values()) > limit:
            self._evict(max(held, key=lambda caller: held[caller]), reason)


def open_descriptors() -> int:
    folder = next((name for name in ("/proc/self/fd", "/dev/fd") if os.path.isdir(name)), "")
    # The listing itself uses one descriptor. 64: the system has no such folder.
    return len(os.listdir(folder)) - 1 if folder else 64


def raise_descriptor_limit() -> None:
    """Raise the limit of descriptors to the maximum that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard or hard == resource.RLIM_INFINITY:
        wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 1 << 20)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            log.warning("the limit of descriptors stays", descriptors=soft, reason=str(error))
