"""The network of a run: connections with delay, lost packets, partitions, slow links and resets.

Partitions cut one or both directions. Links may also be narrow.

Decides: when bytes arrive, when a connection is made, refused or given up.
Must not know: the meaning of the bytes. A connection is what TCP gives: bytes in order, each once,
or an end that each side learns by itself. Bytes that meet a cut link wait and arrive when it heals.
Otherwise the connection is given up after ``DEAD_PEER_US`` with bytes not acknowledged (the drivers
set TCP_USER_TIMEOUT). When a side resets a connection and makes a new one, bytes of the old one are
still on their way. In this way a message can arrive twice.

Invariant: nothing arrives at a process before it was sent, or out of order within a connection.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from tests.sim.world import Loop, World

DEAD_PEER_US = 5_000_000
RETRANSMIT_US = 200_000
SYN_AGAIN_US = 1_000_000
NARROW_BYTES = 1200  # a narrow link passes only smaller packets
HIGH_WATER = 64 * 1024


class Link:
    """One direction between two machines."""

    __slots__ = ("blocked", "delay_us", "jitter_us", "loss", "narrow")

    def __init__(self, delay_us: int, jitter_us: int) -> None:
        self.delay_us = delay_us
        self.jitter_us = jitter_us
        self.loss = 0.0
        self.blocked = 0  # number of faults that block it
        self.narrow = 0


class Network:
    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng("network")
        self.machines: dict[str, Loop] = {}  # by host: the process that listens there now
        # hosts without power: they answer nothing, not even with a refusal
        self.gone: set[str] = set()
        # connections with bytes that wait for a link to heal, closed ones too
        self.stuck: dict[int, Transport] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._connections = 0

    def link(self, source: str, target: str) -> Link:
        link = self._links.get((source, target))
        if link is None:
            link = self._links[source, target] = Link(100, 300)
        return link

    def delay(self, source: str, target: str) -> int:
        return self.delay_on(self.link(source, target))

    def delay_on(self, link: Link) -> int:
        delay = link.delay_us + int(self.rng.random() * link.jitter_us)
        if link.loss and self.rng.random() < link.loss:
            self.world.faults["packet lost"] += 1
            delay += RETRANSMIT_US * (1 + int(self.rng.random() * 3))
        return delay

    async def connect(self, loop: Loop, factory: Callable[[], Any], host: str, port: int) -> Any:
        while True:
            there, back = self.link(loop.host, host), self.link(host, loop.host)
            if not (there.blocked or back.blocked or host in self.gone):
                break
            await self._wait(loop, SYN_AGAIN_US)
        delay = self.delay(loop.host, host)
        await self._wait(loop, delay)
        server = self.machines.get(host)
        if server is None or not server.alive or port not in server.listeners:
            await self._wait(loop, self.delay(host, loop.host))
            raise ConnectionRefusedError(111, "Connection refused")
        self._connections += 1
        connection = Connection(self, self._connections, loop, server, port)
        near = connection.ends[0]
        self.world.at(self.world.now, server, connection.accepted, server.listeners[port])
        await self._wait(loop, self.delay(host, loop.host))
        if near.lost:
            raise ConnectionResetError(104, "Connection reset by peer")
        protocol = factory()
        near.protocol = protocol
        protocol.connection_made(near)
        near.flush_early()
        return near, protocol

    async def _wait(self, loop: Loop, us: int) -> None:
        future = loop.create_future()
        handle = self.world.after(us, loop, _resolve, future)
        try:
            await future
        finally:
            handle.cancel()

    # ----------------------------------------------------------------- what faults do

    def process_died(self, loop: Loop, powerless: bool) -> None:
        """The kernel closes a dead process' connections; a machine without power closes nothing."""
        for transport in list(loop.transports.values()):
            if powerless:
                transport.vanish()
            else:
                transport.reset_by_kernel()

    def healed(self, source: str, target: str) -> None:
        for transport in list(self.stuck.values()):
            if transport.loop.host == source and transport.peer_host == target:
                transport.resend()

    def reset_between(self, a: str, b: str, one_side: bool) -> int:
        count = 0
        loop = self.machines.get(a)
        for transport in list(loop.transports.values()) if loop is not None and loop.alive else ():
            if transport.peer_host == b:
                transport.cut(one_side)
                count += 1
        return count


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Connection:
    """Both ends. ``ends[0]`` is the end that connected."""

    __slots__ = ("ends", "number")

    def __init__(
        self, network: Network, number: int, client: Loop, server: Loop, port: int
    ) -> None:
        self.number = number
        near = Transport(
            network,
            self,
            client,
            server.host,
            (client.host, 40000 + number % 20000),
            (server.host, port),
        )
        far = Transport(
            network,
            self,
            server,
            client.host,
            (server.host, port),
            (client.host, 40000 + number % 20000),
        )
        near.other, far.other = far, near
        self.ends = (near, far)

    def accepted(self, factory: Callable[[], Any]) -> None:
        far = self.ends[1]
        if far.lost:
            return
        far.protocol = factory()
        far.protocol.connection_made(far)
        far.flush_early()


class Transport(asyncio.Transport):
    """One end of a connection, as its process sees it."""

    def __init__(
        self,
        network: Network,
        connection: Connection,
        loop: Loop,
        peer_host: str,
        sock: tuple[str, int],
        peer: tuple[str, int],
    ) -> None:
        self.network = network
        self.world = network.world
        self.loop = loop
        self.peer_host = peer_host
        self.number = connection.number
        self.other: Transport = self
        self.link = network.link(loop.host, peer_host)  # the way out
        self.protocol: Any = None
        self.lost = False  # this side knows that the connection is over
        self.vanished = False  # its machine lost power and could not close the connection
        self.closing = False
        self.reading = True
        self._names = {"peername": peer, "sockname": sock}
        self._arrival = 0  # when the newest bytes arrive
        self._sent = 0  # number of pieces sent
        # (number, bytes; None: the end) that met a cut link, in order
        self._stuck: list[tuple[int, bytes | None]] = []
        self._stuck_timer = False
        # bytes that arrived before the protocol was there, or while it does not read
        self._early: list[bytes] = []
        self._unread = 0  # bytes sent and not taken by the other side's protocol
        self._high = HIGH_WATER
        self._paused = False
        # why it ended; the protocol gets this after the early bytes
        self._end: BaseException | str | None = "none"
        loop.transports[self.number] = self

    # ----------------------------------------------------------------- asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._names.get(name, default)

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return self.reading and not self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or HIGH_WATER

    def get_write_buffer_size(self) -> int:
        return self._unread

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self.reading:
            self.reading = True
            self.world.after(0, self.loop, self.flush_early)

    def can_write_eof(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        if self.closing or not data:
            return
        data = bytes(data)
        self._unread += len(data)
        self._send(data)
        if self._unread > self._high and not self._paused:
            self._paused = True
            self.world.counters["a sender waited for its reader"] += 1
            self.protocol.pause_writing()

    def writelines(self, lines: Any) -> None:
        self.write(b"".join(lines))

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._send(None)
            self.loop.call_soon(self._over, None)

    def abort(self) -> None:
        """Close; bytes on their way still arrive."""
        if not self.closing:
            self.closing = True
            self._send(None)
            self.loop.call_soon(self._over, None)

    # ----------------------------------------------------------------- bytes on their way

    def _send(self, data: bytes | None) -> None:
        self._sent += 1
        self._put(self._sent, data)

    def _put(self, number: int, data: bytes | None) -> None:
        link = self.link
        if (
            self._stuck
            or link.blocked
            or (link.narrow and data is not None and len(data) > NARROW_BYTES)
        ):
            self._stick(number, data)
            return
        world = self.world
        arrival = world.now + world.inside_us + self.network.delay_on(link)
        if arrival > self._arrival:
            self._arrival = arrival
        world.at(self._arrival, None, self._arrive, number, data)

    def _stick(self, number: int, data: bytes | None) -> None:
        insort(self._stuck, (number, data), key=itemgetter(0))
        if not self._stuck_timer:
            self._stuck_timer = True
            self.network.stuck[id(self)] = self
            self.world.after(DEAD_PEER_US, None, self._give_up)

    def _give_up(self) -> None:
        self._stuck_timer = False
        self.network.stuck.pop(id(self), None)
        if self._stuck:
            self.world.counters["connection given up"] += 1
            self._stuck.clear()
            self.lose(TimeoutError(110, "Connection timed out"))

    def resend(self) -> None:
        """Send the waiting bytes again: the link is whole again."""
        self.world.after(int(self.network.rng.random() * RETRANSMIT_US), None, self._resend)

    def _resend(self) -> None:
        link = self.link
        if link.blocked or link.narrow or (self._stuck and self.vanished):
            return
        stuck, self._stuck = self._stuck, []
        for number, data in stuck:
            self._put(number, data)

    def _arrive(self, number: int, data: bytes | None) -> None:
        """The bytes reach the other side's machine."""
        other = self.other
        unreachable = self.link.blocked or (other.vanished and self.peer_host in self.network.gone)
        if unreachable or (self._stuck and self._stuck[0][0] < number):
            self._stick(number, data)
        elif other.lost or not other.loop.alive:
            # the machine does not know this connection, or no longer
            if data is not None:
                delay = self.network.delay(self.peer_host, self.loop.host)
                self.world.after(
                    delay, None, self.lose, ConnectionResetError(104, "Connection reset by peer")
                )
        elif data is None:
            self.world.here(other.loop, other.ended, None)
        else:
            self.world.here(other.loop, other.deliver, data)

    # ----------------------------------------------------------------- in the process of this side

    def deliver(self, data: bytes) -> None:
        if self.closing or self.lost:
            return
        if self.protocol is None or not self.reading or self._early:
            self._early.append(data)
            return
        self._hand_on(data)

    def _hand_on(self, data: bytes) -> None:
        self.world.fold(data)
        if self.world.tracing:
            self.world.note(
                self.loop.name, f"<- {self.other.loop.name} #{self.number} {data[:70]!r}"
            )
        self.other.taken(len(data))
        self.protocol.data_received(data)

    def flush_early(self) -> None:
        while self._early and self.reading and not self.closing and not self.lost:
            self._hand_on(self._early.pop(0))
        if not self._early and self._end != "none" and not self.lost:
            self._over(self._end)  # type: ignore[arg-type]  # the line above excludes the text

    def taken(self, size: int) -> None:
        self._unread -= size
        if self._paused and self._unread <= self._high // 4:
            self._paused = False
            if self.loop.alive and not self.closing:
                self.world.after(0, self.loop, self._resume_writing)

    def _resume_writing(self) -> None:
        if not self.closing and not self.lost:
            self.protocol.resume_writing()

    def ended(self, error: BaseException | None) -> None:
        """The other side has closed, or the connection failed."""
        if self.lost:
            return
        if self._early and error is None:
            self._end = error
            return
        if self.protocol is None:
            self.lost = self.closing = True
            self.loop.transports.pop(self.number, None)
            return
        if error is None and not self.closing and self.protocol.eof_received():
            # It has something left to do, and closes by itself. If the other process is gone, its
            # bytes are lost.
            return
        self._over(error)

    def _over(self, error: BaseException | None) -> None:
        if self.lost:
            return
        self.lost = self.closing = True
        self.loop.transports.pop(self.number, None)
        if self.protocol is not None:
            self.protocol.connection_lost(error)

    # ----------------------------------------------------------------- faults

    def lose(self, error: BaseException) -> None:
        """This side's kernel reports that the connection is over."""
        if not self.lost and not self.vanished and self.loop.alive:
            self.world.at(self.world.now, self.loop, self.ended, error)

    def vanish(self) -> None:
        self.vanished = self.lost = self.closing = True
        self._stuck.clear()

    def reset_by_kernel(self) -> None:
        """The process is dead. The bytes that it had written still leave."""
        self.lost = self.closing = True
        self.loop.transports.pop(self.number, None)
        self._send(None)

    def cut(self, one_side: bool) -> None:
        """Reset the connection without a reason: this side learns of it now.
        The other side learns of it later, because the bytes on their way arrive first; or both
        learn of it now.
        """
        self.world.faults["connection reset"] += 1
        self.lose(ConnectionResetError(104, "Connection reset by peer"))
        if one_side:
            self._send(None)
        else:
            self.other.lose(ConnectionResetError(104, "Connection reset by peer"))
