"""A TCP proxy that delays every byte by `delay_s`, in both directions, in order.

Decides: when bytes are passed on.
Must not know: what they mean. The delay may change while connections are open. `cut` closes them
all and refuses new ones until `mend`. `hold` silently stops the bytes of one direction until
`let_go`, like a network that loses packets which are sent again later.
Invariant: bytes are neither lost nor reordered while the proxy is not cut.
"""

from __future__ import annotations

import asyncio
import contextlib

from tests.system.client import Address

CHUNK = 1 << 16
CHUNKS_IN_FLIGHT = 4096
TO_TARGET, FROM_TARGET = "to the target", "from the target"


class Proxy:
    """One listening port that leads to one target."""

    def __init__(self, target: Address, delay_s: float = 0.0) -> None:
        self.target = target
        self.delay_s = delay_s
        self.broken = False
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.address: Address = ("127.0.0.1", 0)
        self.free = {TO_TARGET: asyncio.Event(), FROM_TARGET: asyncio.Event()}
        for free in self.free.values():
            free.set()

    async def start(self) -> Proxy:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = self.server.sockets[0].getsockname()[:2]
        return self

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        self.cut()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def cut(self) -> None:
        self.broken = True
        for writer in list(self.writers):
            writer.transport.abort()

    def mend(self) -> None:
        self.broken = False

    def hold(self, direction: str) -> None:
        self.free[direction].clear()

    def let_go(self, direction: str) -> None:
        self.free[direction].set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.broken:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, far_writer}
        for source, sink, direction in (
            (reader, far_writer, TO_TARGET),
            (far_reader, writer, FROM_TARGET),
        ):
            for coroutine in self._pump(source, sink, self.free[direction]):
                task = asyncio.create_task(coroutine)
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    # two coroutines over one queue
    def _pump(  # type: ignore[no-untyped-def]
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, free: asyncio.Event
    ):
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_IN_FLIGHT)
        loop = asyncio.get_running_loop()

        async def take() -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(CHUNK):
                    await queue.put((loop.time() + self.delay_s, data))
            await queue.put((loop.time() + self.delay_s, b""))

        async def give() -> None:
            with contextlib.suppress(OSError):
                while True:
                    due, data = await queue.get()
                    if (wait := due - loop.time()) > 0:
                        await asyncio.sleep(wait)
                    await free.wait()
                    if not data:
                        break
                    sink.write(data)
                    await sink.drain()
            self.writers.discard(sink)
            sink.close()

        return take(), give()


@contextlib.asynccontextmanager
# an async generator of list[Proxy]
async def proxies(targets: list[Address], delay_s: float):  # type: ignore[no-untyped-def]
    """Open one proxy for each target."""
    made = [await Proxy(target, delay_s).start() for target in targets]
    try:
        yield made
    finally:
        for proxy in made:
            await proxy.stop()
