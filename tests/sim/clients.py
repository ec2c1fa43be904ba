"""The clients of a run: each sends one command (or one MULTI...EXEC) at a time.

Decides: which node a client asks next, how an answer is classed, when a client gives up.
Must not know: which answer is right. A client never sends a command again whose outcome is unknown.
It believes a refusal.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import hiredis

from memstore.engine.effects import encode
from tests.sim.cluster import PORT, Cluster
from tests.sim.records import ANY, OK, REFUSED, STRONG, UNKNOWN, Part, Record
from tests.sim.workload import Anything, Workload

REFUSALS = ("READONLY", "MASTERDOWN", "LOADING", "TRYAGAIN")
TIMEOUT_S = 4.0


class Wire(asyncio.Protocol):
    """A client's connection."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.transport: Any = None
        self.answers: list[Any] = []
        self.wanted = 0
        self.waiting: asyncio.Future[None] | None = None
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (answer := self.reader.gets()) is not False:
            self.answers.append(answer)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        if (
            self.waiting is not None
            and not self.waiting.done()
            and (self.closed or len(self.answers) >= self.wanted)
        ):
            self.waiting.set_result(None)

    async def ask(
        self, commands: list[tuple[bytes, ...]], timeout_s: float = TIMEOUT_S
    ) -> list[Any]:
        """All answers, or those that came before the connection ended or timed out.
        The time-out ends the connection.
        """
        loop = asyncio.get_running_loop()
        self.answers, self.wanted = [], len(commands)
        self.waiting = loop.create_future()
        timer = loop.call_later(timeout_s, self._late)
        self.transport.write(b"".join([encode(command) for command in commands]))
        await self.waiting
        timer.cancel()
        return self.answers

    def _late(self) -> None:
        self.transport.abort()
        self.closed = True
        self._wake()


class Finder:
    """The node that clients believe to be the primary."""

    def __init__(self, cluster: Cluster, rng: Random) -> None:
        self.hosts = [member.host for member in cluster.engines]
        self.rng = rng
        self.host = ""

    def choose(self) -> str:
        return self.host or self.rng.choice(self.hosts)

    def told(self, answer: str, asked: str) -> None:
        _, found, named = answer.partition("primary=")
        host = named.split(":")[0] if found else ""
        self.host = host if host != asked else ""


class Client:
    def __init__(
        self,
        number: int,
        cluster: Cluster,
        finder: Finder,
        history: list[Record],
        level: str,
        reads_only: bool,
        anything: bool = False,
    ) -> None:
        self.number = number
        self.cluster = cluster
        self.world = cluster.world
        self.finder = finder
        self.history = history
        self.level = level
        self.reads_only = reads_only
        self.rng = cluster.world.rng(f"client {number}")
        keeps = cluster.world.rng(f"keeps {number}") if cluster.settings.keeps else None
        self.work: Workload | Anything = (
            Anything(number, self.rng)
            if anything
            else Workload(number, self.rng, reads_only, keeps=keeps)
        )
        self.database = 1 if anything else 0
        self.wire: Wire | None = None
        self.host = ""
        self.connections = 0
        self.asked = 0
        self.mean_pause_s = 0.3

    async def run(self, operations: int, until_us: int) -> None:
        for _ in range(operations):
            if self.world.now >= until_us:
                break
            # Clients send in bursts: a fault should find many operations under way, or none.
            await asyncio.sleep(
                0.004 * self.rng.random()
                if self.rng.random() < 0.75
                else self.rng.random() * 7 * self.mean_pause_s
            )
            await self._one()
        self._leave()

    async def _one(self) -> None:
        if (self.wire is None or self.wire.closed) and not await self._connect():
            await asyncio.sleep(0.05)
            if not await self._connect():
                return
        commands, parts = self.work.next()
        if len(commands) > 1 and commands[0] != (b"MULTI",):
            records = [
                self._record([command], [part])
                for command, part in zip(commands, parts, strict=True)
            ]
        else:
            records = [self._record(commands, parts)]
        await self._ask(records)
        refused = next((record for record in records if record.outcome == REFUSED), None)
        if refused is not None:
            self._refused(refused.detail)
            await asyncio.sleep(0.05 + 0.1 * self.rng.random())

    def _record(self, commands: list[tuple[bytes, ...]], parts: list[Part]) -> Record:
        record = Record(
            self.number,
            self.asked,
            parts,
            self.world.now,
            level=self.level,
            connection=self.number * 1000 + self.connections,
            node=self.host,
        )
        record.commands = commands
        return record

    def _refused(self, answer: str) -> None:
        if self.reads_only and answer.startswith("TRYAGAIN"):
            return
        if not self.reads_only:
            self.finder.told(answer, self.host)
        self._leave()

    async def _ask(self, records: list[Record]) -> None:
        """Send all records at once; several records are a pipeline."""
        assert self.wire is not None
        self.asked += 1
        self.history += records
        answers = await self.wire.ask(
            [command for record in records for command in record.commands]
        )
        for record in records:
            record.complete = self.world.now
            mine, answers = answers[: len(record.commands)], answers[len(record.commands) :]
            classify(record, mine)
            self.world.fold(record.outcome.encode())
        if any(record.outcome == UNKNOWN for record in records):
            if not self.reads_only:
                self.finder.host = ""
            self._leave()

    def _leave(self) -> None:
        if self.wire is not None:
            self.wire.transport.abort()
            self.wire = None

    async def _connect(self) -> bool:
        host = self.rng.choice(self.finder.hosts) if self.reads_only else self.finder.choose()
        loop = asyncio.get_running_loop()
        try:
            _, wire = await asyncio.wait_for(loop.create_connection(Wire, host, PORT), 0.5)
        except (OSError, TimeoutError):
            if not self.reads_only:
                self.finder.host = ""
            return False
        self.wire, self.host = wire, host
        self.connections += 1
        first: list[tuple[bytes, ...]] = []
        if self.level != STRONG:
            first.append((b"MEMSTORE", b"READS", self.level.encode()))
        if self.database:
            first.append((b"SELECT", b"%d" % self.database))
        if first and len(await wire.ask(first, 1.0)) < len(first):
            self._leave()
            return False
        return True


def classify(record: Record, answers: list[Any]) -> None:
    """The outcome that the answers state."""
    if len(answers) < len(record.commands):
        error = next((answer for answer in answers if isinstance(answer, hiredis.ReplyError)), None)
        record.detail = str(error) if error is not None else "no answer"
        return
    results = answers
    if len(record.commands) > 1:  # MULTI: the answer of EXEC decides
        last = answers[-1]
        if isinstance(last, hiredis.ReplyError):
            _class_of_error(record, str(last))
            return
        if not isinstance(last, list):
            record.detail = f"EXEC answered {last!r}"
            return
        results = last
    record.outcome = OK
    for part, answer in zip(record.parts, results, strict=True):
        if part.kind == ANY:
            part.answer = str(answer)[:40]
        elif isinstance(answer, hiredis.ReplyError):
            _class_of_error(record, str(answer))
            return
        else:
            part.answer = answer.decode() if isinstance(answer, bytes) else answer
    if record.parts[0].kind == ANY and isinstance(answers[0], hiredis.ReplyError):
        _class_of_error(record, str(answers[0]))
        if record.outcome == UNKNOWN and not str(answers[0]).startswith("UNKNOWN"):
            record.outcome = OK  # an ordinary error is an answer


def _class_of_error(record: Record, text: str) -> None:
    record.detail = text
    word = text.split(" ")[0]
    record.outcome = REFUSED if word in (*REFUSALS, "EXECABORT") else UNKNOWN
