"""The clients: redis-py, asyncio, one connection each, without redis-py's retries.

Every operation and its outcome goes into the history of the open window.

Decides: what a client asks next (the simulator's workload), which node it asks, how it classes what
redis-py returns or raises.
Must not know: faults, which answer is right.
Invariants: nothing is sent twice. A typed refusal is believed, so that the judges require the
server to keep it. Any other failure after the command may have left is UNKNOWN. After any failure
the client gives up the connection, so that "a session" is one connection. An operation for which no
node could be reached is counted as not sent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)

from tests.sim.records import OK, REFUSED, STRONG, UNKNOWN, Part, Record
from tests.sim.workload import Workload
from tests.system.client import Address
from tests.system.soak.redispy import CONNECT_S, closed, now_us, redis_client
from tests.system.soak.windows import Windows
from tests.system.workload import Finder

LARGE = (300, 1500)  # bytes of some tokens

# These errors say that the command was not executed. redis-py removes the code from the text, so
# only the class remains.
REFUSING: dict[type[RedisError], str] = {
    ReadOnlyError: "READONLY",
    MasterDownError: "MASTERDOWN",
    BusyLoadingError: "LOADING",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
    ExecAbortError: "EXECABORT",
}


@dataclass
class Figures:
    """Figures over all windows. Times in seconds of the monotonic clock."""

    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)  # levels of the operations that succeeded
    kinds: Counter[str] = field(default_factory=Counter)  # kinds of the operations that succeeded
    connections: int = 0
    last_acknowledged: float = 0.0
    longest_without: float = 0.0  # longest time without an acknowledged write

    def acknowledged(self, now: float) -> None:
        self.longest_without = max(self.longest_without, now - (self.last_acknowledged or now))
        self.last_acknowledged = now


class Client:
    def __init__(
        self,
        number: int,
        group: int,
        windows: Windows,
        finder: Finder,
        figures: Figures,
        seed: int,
        level: str,
        reads_only: bool,
    ) -> None:
        self.number = number
        self.group = group
        self.windows = windows
        self.finder = finder
        self.figures = figures
        self.level = level
        self.reads_only = reads_only
        self.rng = Random(f"{seed}/client {number}")
        self.work = Workload(number, self.rng, reads_only, large=LARGE, keeps=self.rng)
        self.redis: Redis | None = None
        self.address: Address = ("", 0)
        self.connection = 0

    async def run(self, pause_s: float, over: asyncio.Event) -> None:
        while not over.is_set():
            # Clients send in bursts: a fault should find many operations under way, or none. The
            # mean pause is `pause_s`.
            await asyncio.sleep(
                0.2 * pause_s * self.rng.random()
                if self.rng.random() < 0.75
                else self.rng.random() * 7.4 * pause_s
            )
            await self.windows.admitted()
            await self._one()
        await self._leave()

    async def _one(self) -> None:
        if self.redis is None and not await self._connect():
            self.figures.outcomes["not sent"] += 1
            return
        window = self.windows.current
        self.work.prefix = window.prefix(self.group)
        commands, parts = self.work.next()
        transaction = commands[0] == (b"MULTI",)
        if transaction:
            commands = commands[1:-1]
        records = [self._record(parts)] if transaction else [self._record([part]) for part in parts]
        with window.during(self.group, records):
            await self._ask(commands, records, transaction)
        for record in records:
            self._count(record)
        if any(record.outcome != OK for record in records):
            await self._trouble(records)

    def _record(self, parts: list[Part]) -> Record:
        node = f"{self.address[0]}:{self.address[1]}"
        return Record(
            self.number, 0, parts, now_us(), level=self.level, connection=self.connection, node=node
        )

    def _count(self, record: Record) -> None:
        self.figures.outcomes[record.outcome] += 1
        if record.outcome == OK:
            self.figures.levels[record.level] += 1
            self.figures.kinds["multi" if len(record.parts) > 1 else record.parts[0].kind] += 1
            if not self.reads_only and any(
                part.value is not None or part.kind == "increase" for part in record.parts
            ):
                self.figures.acknowledged(record.complete / 1e6)
        else:
            self.figures.errors[record.detail.split(" ")[0].rstrip(":")] += 1

    async def _trouble(self, records: list[Record]) -> None:
        refused = next((record.detail for record in records if record.outcome == REFUSED), "")
        if not self.reads_only:
            self.finder.lost(self.address)
            host, _, port = refused.partition("primary=")[2].split(" ")[0].rpartition(":")
            if port.isdigit() and port != "0" and (host, int(port)) != self.address:
                self.finder.told((host, int(port)))
        elif refused.startswith("TRYAGAIN") and all(
            record.outcome != UNKNOWN for record in records
        ):
            await asyncio.sleep(0.02)
            return
        await self._leave()
        await asyncio.sleep(0.05 + 0.1 * self.rng.random())

    # ------------------------------------------------------------------ redis-py

    async def _connect(self) -> bool:
        try:
            if self.reads_only:
                choice = [
                    address for address in self.finder.addresses if address != self.finder.current
                ]
                self.address = self.rng.choice(choice or self.finder.addresses)
            else:
                self.address = await asyncio.wait_for(self.finder.find(), CONNECT_S)
            made = redis_client(self.address)
            try:
                await made.initialize()
                if self.level != STRONG:
                    await made.execute_command("MEMSTORE", "READS", self.level)
            except BaseException:
                await closed(made)
                raise
        except (RedisError, OSError, TimeoutError):
            if not self.reads_only:
                self.finder.lost(self.address)
            await asyncio.sleep(0.05)
            return False
        self.redis = made
        self.figures.connections += 1
        self.connection = self.figures.connections
        return True

    async def _leave(self) -> None:
        if self.redis is not None:
            await closed(self.redis)
            self.redis = None

    async def _ask(
        self, commands: Sequence[tuple[bytes, ...]], records: list[Record], transaction: bool
    ) -> None:
        assert self.redis is not None
        try:
            if transaction or len(commands) > 1:
                pipeline = self.redis.pipeline(transaction=transaction)
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
            else:
                answers = [await self.redis.execute_command(*commands[0])]
        except (RedisError, OSError, TimeoutError) as error:
            answers = [error] * len(commands)
        complete = now_us()
        for record in records:
            record.complete = complete
            mine, answers = answers[: len(record.parts)], answers[len(record.parts) :]
            classify(record, mine)


def classify(record: Record, answers: Sequence[Any]) -> None:
    """The outcome that redis-py's answers state."""
    error = next((answer for answer in answers if isinstance(answer, BaseException)), None)
    if error is not None:
        word = next((word for kind, word in REFUSING.items() if isinstance(error, kind)), "")
        record.outcome = REFUSED if word else UNKNOWN
        text = str(error)
        record.detail = (
            f"{word} {text}"
            if word
            else text
            if text.startswith("UNKNOWN")
            else f"{type(error).__name__} {text}"
        )
        return
    record.outcome = OK
    for part, answer in zip(record.parts, answers, strict=True):
        part.answer = "OK" if answer is True else answer
