"""A replica's connection to its primary: it reports the replica's identity and applied position,
and learns of the shard's other replicas.

Decides: when to connect, when to report.
Must not know: the use of the reports; they serve display and WAIT, never safety. One report is in
flight at a time. The primary sets the pace: it answers after a while, or at once when a client
waits for replicas. In that case the next report leaves as soon as more entries are applied.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import hiredis

from memstore.engine.effects import encode
from memstore.engine.facts import Facts, ReplicaFact
from txlog.program_errors import report_end
from txlog.resolver import RESOLVER

EAGER_S: Final = 0.1  # longest time between two reports while a client waits
PACE_S: Final = 0.02  # shortest time between two reports while no client waits
ANSWER_S: Final = 2.0
RETRY_S: Final = 0.2
ANSWER_BYTES: Final = 1024 * 1024


class LinkError(Exception):
    """The link cannot be kept; the text is one line."""


class ReplicaLink:
    """``target``: the primary to connect to; None: none. ``nudge`` reports at once."""

    def __init__(
        self,
        facts: Facts,
        incarnation: bytes,
        applied: Callable[[], int],
        password: Callable[[], str],
        wall_ms: Callable[[], int],
    ) -> None:
        self._facts = facts
        self._incarnation = incarnation
        self._applied = applied
        self._password = password
        self._wall_ms = wall_ms
        self._target: tuple[str, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._nudged = asyncio.Event()
        self._orders: list[tuple[bytes, ...]] = []  # commands to send with the next report
        # the primary has a client that waits for replicas: report at once when entries are applied
        self.eager = False

    def aim(self, target: tuple[str, int] | None) -> None:
        """Connect to this primary from now on."""
        if target == self._target and (self._task is not None) == (target is not None):
            return
        self.stop()
        self._target = target
        if target is not None:
            self._task = asyncio.get_running_loop().create_task(
                self._keep(target), name="the link to the primary"
            )
            self._task.add_done_callback(report_end)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._target = None
        self._up(False)

    def nudge(self) -> None:
        self._nudged.set()

    def order(self, *command: bytes) -> None:
        """Send a command to the primary and ignore its answer."""
        self._orders.append(command)
        self._nudged.set()

    def _up(self, up: bool) -> None:
        facts = self._facts
        if up:
            facts.link_heard_ms = self._wall_ms()
        if facts.link_up != up:
            facts.link_up, facts.link_since_ms = up, self._wall_ms()
        if not up:
            self.eager = False

    async def _keep(self, target: tuple[str, int]) -> None:
        while True:
            try:
                await self._serve(*target)
            except (OSError, LinkError, EOFError, TimeoutError, hiredis.ProtocolError):
                # the primary is gone, or is no longer primary: the log will name the new one;
                # until then try again
                self._up(False)
            await asyncio.sleep(RETRY_S)

    async def _serve(self, host: str, port: int) -> None:
        reader, writer = await RESOLVER.open_streams(host, port, ANSWER_S)
        try:
            parser = hiredis.Reader()
            if password := self._password():
                await self._ask(reader, writer, parser, (b"AUTH", password.encode()))
            while True:
                self._nudged.clear()
                for command in self._take_orders():
                    await self._ask(reader, writer, parser, command, strict=False)
                answer = await self._ask(reader, writer, parser, self._report())
                self._learn(answer)
                self._up(True)
                await self._pause(EAGER_S if self.eager else PACE_S)
        finally:
            writer.close()

    async def _pause(self, seconds: float) -> None:
        """Wait until something was applied, at most this long."""
        try:
            await asyncio.wait_for(self._nudged.wait(), seconds)
        except TimeoutError:
            return

    def _take_orders(self) -> list[tuple[bytes, ...]]:
        orders, self._orders = self._orders, []
        return orders

    def _report(self) -> tuple[bytes, ...]:
        facts = self._facts
        me = (
            facts.node_id,
            facts.az,
            facts.host,
            str(facts.port),
            self._incarnation.hex(),
            str(self._applied()),
        )
        return (b"MEMSTORE", b"REPLICA", *(field.encode() for field in me))

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        parser: hiredis.Reader,
        command: tuple[bytes, ...],
        strict: bool = True,
    ) -> Any:
        writer.write(encode(command))
        received = 0
        async with asyncio.timeout(ANSWER_S if strict else None):
            while (answer := parser.gets()) is False:
                data = await reader.read(65536)
                received += len(data)
                if not data or received > ANSWER_BYTES:
                    raise LinkError("the primary closed the link")
                parser.feed(data)
        if isinstance(answer, hiredis.ReplyError) and strict:
            raise LinkError(str(answer))
        return answer

    def _learn(self, answer: Any) -> None:
        try:
            told = json.loads(answer)
            self.eager = bool(told["waiting"])
            self._facts.replicas = [ReplicaFact(**fields) for fields in told["replicas"]]
        except (ValueError, TypeError, KeyError) as error:
            raise LinkError(f"the primary's answer cannot be read: {error}") from None
