"""Virtual time: one heap of events, one trace, and an event loop per process for the real drivers.

Decides: the order of events, what a process' clock shows, what happens to the events of a process
that is paused or dead. Events are in the order of their times, then of their requests.
Must not know: networks, disks, what a process does. Nothing here reads a real clock. Each generator
is seeded with the run's number and a name. So one more draw from one generator does not change the
draws of another.

`Loop` is what `asyncio` calls an event loop, as far as the drivers use one: tasks, futures and
timers are asyncio's own objects. So the drivers in `memstore/node`, `txlog/server` and
`txlog/client` run unchanged, and none of their code is written twice.

Invariant: the same seed gives the same events with every hash seed.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any
from zlib import crc32

_heappush = heapq.heappush

# turns of one loop at one point of time: more means that something waits for time to pass
TURNS_AT_ONCE = 50
TURN_US = 20
PPM = 1_000_000


class ProcessEnded(BaseException):
    """Raised through a process' code when it ends itself at once (`os._exit`)."""


class Violation(Exception):
    """A checker found a forbidden state."""


class Clock:
    """A machine's clocks. ``ppm``: how much faster than true time.
    Boot time starts at any value; wall time may be wrong and may jump.
    """

    __slots__ = ("base_us", "ppm", "stall_in", "stall_us", "wall_offset_ms", "world")

    def __init__(self, world: World, ppm: int, base_us: int, wall_offset_ms: int) -> None:
        self.world = world
        self.ppm = ppm
        self.base_us = base_us
        self.wall_offset_ms = wall_offset_ms
        # After this number of readings the process stands still for this time, in the middle of its
        # work.
        self.stall_in = 0
        self.stall_us = 0

    def now_us(self) -> int:
        if self.stall_in and self.world.current is not None and self.world.current.clock is self:
            self.stall_in -= 1
            if not self.stall_in:
                self.world.faults["held up inside a callback"] += 1
                self.world.pass_time(self.stall_us)
        now = self.world.now + self.world.inside_us
        return self.base_us + now + now * self.ppm // PPM

    def run_at(self, ppm: int) -> None:
        """Run at another rate from now on; the clock continues from its present value."""
        now = self.world.now
        self.base_us += now * self.ppm // PPM - now * ppm // PPM
        self.ppm = ppm

    def true_at(self, local_us: int) -> int:
        """The first true time at which this clock shows at least that."""
        since = local_us - self.base_us
        true = since * PPM // (PPM + self.ppm)
        while true + true * self.ppm // PPM < since:
            true += 1
        return true

    def wall_ms(self) -> int:
        return (
            1_700_000_000_000
            + (self.world.now + self.world.inside_us) // 1000
            + self.wall_offset_ms
        )


class Handle:
    """An event, in the heap or in a loop's queue; `asyncio` calls it a (timer) handle."""

    __slots__ = ("args", "callback", "loop", "time_s")

    def __init__(
        self,
        loop: Loop | None,
        callback: Callable[..., Any] | None,
        args: tuple[Any, ...],
        time_s: float = 0.0,
    ) -> None:
        self.loop = loop
        self.callback = callback
        self.args = args
        self.time_s = time_s

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.time_s


class World:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0  # true time, us
        # the time that has already passed inside the present event (a slow disk inside a callback)
        self.inside_us = 0
        self.events = 0
        self.digest = 0
        self.counters: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.tracing = False
        self.lines: list[str] = []  # the newest of the trace, for people
        self.current: Loop | None = None
        # the loop that asyncio considers running: it stays set between two events
        self.running: Loop | None = None
        # found inside a process, where an exception would only end its task
        self.violation: Violation | None = None
        self.after_event: Callable[[Loop], None] | None = None  # the checkers
        self._heap: list[tuple[int, int, Handle]] = []
        self._order = 0

    def rng(self, name: str) -> Random:
        return Random(f"{self.seed}/{name}")

    # ----------------------------------------------------------------- events

    def at(
        self, time_us: int, loop: Loop | None, callback: Callable[..., Any], *args: Any
    ) -> Handle:
        handle = Handle(loop, callback, args)
        self._push(time_us, handle)
        return handle

    def after(
        self, delay_us: int, loop: Loop | None, callback: Callable[..., Any], *args: Any
    ) -> Handle:
        return self.at(self.now + self.inside_us + delay_us, loop, callback, *args)

    def close(self) -> None:
        """No loop of this world is the running loop any more."""
        self.running = None
        events._set_running_loop(None)

    def _push(self, time_us: int, handle: Handle) -> None:
        self._order += 1
        _heappush(self._heap, (time_us if time_us > self.now else self.now, self._order, handle))

    def run(self, until_us: int) -> None:
        """Run all events up to that time."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until_us:
            time_us, _, handle = pop(heap)
            if handle.callback is None:
                continue
            self.now = time_us
            loop = handle.loop
            if loop is None:
                handle.callback(*handle.args)
                continue
            if not loop.alive:
                continue
            # the process is paused or inside one callback: its events wait, in order
            if loop.busy_until > time_us:
                self._push(loop.busy_until, handle)
                continue
            self.events += 1
            loop.run_event(handle)
            if self.violation is not None:
                raise self.violation
        self.now = max(self.now, until_us)

    def pass_time(self, us: int) -> None:
        """Let time pass inside the present event: its process stands still for so long."""
        self.inside_us += us

    def _turn(self, loop: Loop, handle: Handle) -> None:
        self.events += 1
        loop.run_event(handle)
        if self.violation is not None:
            raise self.violation

    def here(self, loop: Loop, callback: Callable[..., Any], *args: Any) -> None:
        """Run an event of that process now, from an event that belongs to no process."""
        assert self.current is None
        handle = Handle(loop, callback, args)
        if loop.busy_until > self.now:
            self._push(loop.busy_until, handle)
        else:
            self._turn(loop, handle)

    # ----------------------------------------------------------------- the trace

    def note(self, who: str, text: str) -> None:
        """Write a line of the trace. It goes into the digest.
        The same seed must give the same lines at the same times.
        """
        self.digest = crc32(f"{self.now} {who} {text}".encode(), self.digest)
        if self.tracing:
            print(f"{self.now / 1e6:11.6f}  {who:<9} {text}", flush=True)
        else:
            self.lines.append(f"{self.now / 1e6:11.6f}  {who:<9} {text}")
            if len(self.lines) > 400:
                del self.lines[:200]

    def fold(self, data: bytes) -> None:
        """Add bytes to the digest."""
        self.digest = crc32(data, self.digest ^ (self.now & 0xFFFFFFFF))


class Loop(asyncio.AbstractEventLoop):
    """One life of one process: its event loop, its clock. It stays dead after `kill`."""

    def __init__(self, world: World, name: str, host: str, clock: Clock) -> None:
        self.world = world
        self.name = name
        self.host = host
        self.clock = clock
        self.alive = True
        self.busy_until = 0  # true time until which nothing of this process runs
        self.network: Any = None
        self.transports: dict[int, Any] = {}  # open ones, by number
        self.listeners: dict[int, Callable[[], Any]] = {}
        self.on_error: Callable[[Loop, BaseException], None] | None = None
        self.on_end: Callable[[Loop, str], None] | None = None
        self._ready: deque[Handle] = deque()

    # ----------------------------------------------------------------- running

    def run_event(self, handle: Handle) -> None:
        """Run one event of the heap and all callbacks that become ready by it."""
        world = self.world
        world.current, world.inside_us = self, 0
        if world.running is not self:
            world.running = self
            events._set_running_loop(self)
        try:
            self._call(handle)
            ready, turns = self._ready, 0
            while ready and self.alive:
                turns += 1
                if turns > TURNS_AT_ONCE:
                    again = Handle(self, self._nothing, ())
                    world._push(world.now + world.inside_us + TURN_US, again)
                    break
                for _ in range(len(ready)):
                    self._call(ready.popleft())
                    if not self.alive:
                        return
        finally:
            if world.inside_us:
                self.busy_until = max(self.busy_until, world.now + world.inside_us)
                world.inside_us = 0
            world.current = None
            if world.after_event is not None:
                world.after_event(self)

    def _nothing(self) -> None:
        """Do nothing: this callback only lets the loop turn."""

    def _call(self, handle: Handle) -> None:
        callback = handle.callback
        if callback is None:
            return
        try:
            callback(*handle.args)
        except ProcessEnded:
            return
        except Violation:
            raise
        except Exception as error:
            self._failed(error, {"message": "an error in a callback", "exception": error})

    def _failed(self, error: BaseException, context: dict[str, Any]) -> None:
        if self.alive and self.on_error is not None:
            self.on_error(self, error)

    def end(self, reason: str) -> None:
        """The process ends itself at this moment."""
        self.kill(reason)
        raise ProcessEnded(reason)

    def kill(self, reason: str) -> None:
        if self.alive:
            self.alive = False
            self._ready.clear()
            if self.on_end is not None:
                self.on_end(self, reason)

    # ----------------------------------------------------------------- what asyncio calls

    # handles are ours
    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Handle:
        handle = Handle(self, callback, args)
        if not self._ready and self.world.current is not self:
            self.world._push(self.world.now, Handle(self, self._nothing, ()))
        self._ready.append(handle)
        return handle

    # as above
    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Handle:  # type: ignore[override]
        return self.call_soon(callback, *args)

    # as above
    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Handle:  # type: ignore[override]
        return self.call_at_us(self.clock.now_us() + max(0, round(delay * 1e6)), callback, args)

    # as above
    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Handle:  # type: ignore[override]
        return self.call_at_us(round(when * 1e6), callback, args)

    def call_at_us(
        self, local_us: int, callback: Callable[..., Any], args: tuple[Any, ...]
    ) -> Handle:
        handle = Handle(self, callback, args, local_us / 1e6)
        self.world._push(self.clock.true_at(local_us), handle)
        return handle

    def time(self) -> float:
        return self.clock.now_us() / 1e6

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name or "task")

    # no thread here
    def run_in_executor(
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run it on this loop after a moment: there are no threads."""
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.world.after(TURN_US, self, work)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.alive

    def is_closed(self) -> bool:
        return not self.alive

    def set_exception_handler(self, handler: Any) -> None:
        """Ignore the handler: every unexpected error is a finding, and goes to `on_error`."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, ProcessEnded):
            self._failed(error, context)

    # what is used
    async def create_connection(
        self, factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> Any:  # type: ignore[override]
        return await self.network.connect(self, factory, host, port)

    # what is used
    async def create_server(
        self, factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> Any:  # type: ignore[override]
        self.listeners[port] = factory
        return Server(host, port)


class Server:
    """A listening socket."""

    def __init__(self, host: str, port: int) -> None:
        self.sockets = [self]
        self._name = (host, port)

    def getsockname(self) -> tuple[str, int]:
        return self._name

    def close(self) -> None:
        """Do nothing: the server ends with its process."""
