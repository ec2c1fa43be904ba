"""N clients that write and read without pause and record the answers.

Decides: what each client sends next, which node it asks, how a reply is classed (acknowledged,
refused, unknown).
Must not know: how the cluster was started or which faults it has; it gets addresses.
Invariants: a client has one operation outstanding. No operation is sent twice. Every written value
is unique. A refusal is believed (`checks` then requires the server to keep it). A reply that is
neither plain nor a typed refusal is unknown.

Keys: `own:C`, which client C alone writes with rising numbers; `shared:K`, which all write;
`journal:C:J`, to which client C appends, so that each acknowledged write can be found again at the
end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.system.client import Address, Closed, Connection, ReplyError
from tests.system.history import APPEND, OK, READ, REFUSED, UNKNOWN, WRITE, Operation

# These error codes say that the command was not executed.
REFUSALS = ("READONLY", "MASTERDOWN", "MOVED", "CLUSTERDOWN", "LOADING", "TRYAGAIN")
ENTRIES_A_JOURNAL = 100


@dataclass
class Plan:
    """The settings of the load. Times in seconds."""

    clients: int = 50
    shared_keys: int = 20
    think_s: float = 0.004  # mean pause of a client between operations
    reads: float = 0.2
    appends: float = 0.3
    shared: float = 0.3  # share of whole-value writes and reads that go to shared keys
    timeout_s: float = 10.0
    # additional clients that only read, at nodes that are not the primary (strong reads)
    replica_readers: int = 0
    seed: int = 1


class Finder:
    """Finds the primary once for all clients that lost it."""

    def __init__(self, addresses: list[Address]) -> None:
        self.addresses = addresses
        self.current: Address | None = None
        self.lock = asyncio.Lock()

    def lost(self, address: Address) -> None:
        if self.current == address:
            self.current = None

    def told(self, address: Address) -> None:
        """A refusal named the primary."""
        self.current = address

    async def find(self) -> Address:
        async with self.lock:
            while self.current is None:
                answers = await asyncio.gather(*(self._is_primary(a) for a in self.addresses))
                self.current = next(
                    (a for a, yes in zip(self.addresses, answers, strict=True) if yes), None
                )
                if self.current is None:
                    await asyncio.sleep(0.01)
            return self.current

    @staticmethod
    async def _is_primary(address: Address) -> bool:
        connection = None
        try:
            connection = await Connection.open(address, 0.3)
            reply = await connection.call("ROLE", timeout=0.3)
            return isinstance(reply, list) and reply[0] == b"master"
        except (OSError, TimeoutError):
            return False
        finally:
            if connection is not None:
                connection.close()


@dataclass
class Load:
    """A running load. `start`, let things happen, `finish`, then judge `history`."""

    addresses: list[Address]
    plan: Plan = field(default_factory=Plan)
    history: list[Operation] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)  # first words of every error reply
    closed_idle: int = 0  # connections that ended with nothing outstanding
    closed_outstanding: int = 0
    started: float = 0.0
    ended: float = 0.0
    stopping: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    finder: Finder = field(init=False)
    tag: str = ""

    def __post_init__(self) -> None:
        self.finder = Finder(self.addresses)

    async def start(self) -> None:
        await self.finder.find()
        self.started = time.monotonic()
        self.tasks = [asyncio.create_task(self._client(c)) for c in range(self.plan.clients)]
        self.tasks += [
            asyncio.create_task(self._replica_reader(self.plan.clients + c))
            for c in range(self.plan.replica_readers)
        ]

    async def finish(self) -> None:
        """Start no new operations; wait for those outstanding."""
        self.stopping = True
        self.ended = time.monotonic()
        done, pending = await asyncio.wait(self.tasks, timeout=self.plan.timeout_s + 5)
        for task in pending:
            task.cancel()
        assert not pending, f"{len(pending)} clients did not finish"
        for task in done:
            task.result()

    def acknowledged(self) -> list[Operation]:
        return [op for op in self.history if op.changes and op.outcome == OK]

    async def wait_acknowledged(self, count: int, bound_s: float) -> None:
        """Wait until this number of further writes is acknowledged."""
        target = len(self.acknowledged()) + count
        end = time.monotonic() + bound_s
        while len(self.acknowledged()) < target:
            if time.monotonic() > end:
                raise AssertionError(
                    f"not within {bound_s:g} s: {count} more acknowledged writes; errors "
                    f"{dict(self.errors)}"
                )
            await asyncio.sleep(0.02)

    # ------------------------------------------------------------------ one client

    async def _client(self, client: int) -> None:
        rng = random.Random(f"{self.plan.seed}/{client}")
        connection: Connection | None = None
        at: Address | None = None
        number = journal = 0
        while not self.stopping:
            if connection is None or connection.ended is not None:
                if connection is not None and at is not None:
                    self.closed_idle += (
                        connection.ended is not None and connection.ended != "closed by the test"
                    )
                    self.finder.lost(at)
                connection, at = await self._connect()
                if connection is None:
                    continue
            assert at is not None
            number += 1
            operation, command = self._next(rng, client, number, journal, at)
            if operation.kind == APPEND:
                journal += 1
            await self._perform(connection, operation, command)
            if operation.outcome == REFUSED:
                connection = self._follow(connection, at, operation)
                await asyncio.sleep(0.005)
            elif operation.outcome == UNKNOWN:
                self.finder.lost(at)
                connection.close()
                connection = None
            if self.plan.think_s:
                await asyncio.sleep(rng.random() * 2 * self.plan.think_s)
        if connection is not None:
            connection.close()

    async def _connect(self) -> tuple[Connection | None, Address | None]:
        try:
            address = await asyncio.wait_for(self.finder.find(), 1.0)
            return await Connection.open(address, 1.0), address
        except TimeoutError:
            return None, None
        except OSError:
            self.finder.lost(address)
            await asyncio.sleep(0.02)
            return None, None

    def _next(
        self, rng: random.Random, client: int, number: int, journal: int, at: Address
    ) -> tuple[Operation, list[Any]]:
        kind = rng.random()
        key = (
            f"{self.tag}shared:{rng.randrange(self.plan.shared_keys)}"
            if rng.random() < self.plan.shared
            else f"{self.tag}own:{client}"
        )
        value = f"{client}:{number}"
        if kind < self.plan.reads:
            return Operation(client, READ, key, None, 0, 0, UNKNOWN, node=at[1]), ["GET", key]
        if kind < self.plan.reads + self.plan.appends:
            key = f"{self.tag}journal:{client}:{journal // ENTRIES_A_JOURNAL}"
            return Operation(client, APPEND, key, value, 0, 0, UNKNOWN, node=at[1]), [
                "APPEND",
                key,
                value + ",",
            ]
        return Operation(client, WRITE, key, value, 0, 0, UNKNOWN, node=at[1]), ["SET", key, value]

    async def _perform(
        self, connection: Connection, operation: Operation, command: list[Any]
    ) -> None:
        """Send, wait, class the outcome, record."""
        operation.invoke = time.monotonic()
        try:
            reply = await connection.call(*command, timeout=self.plan.timeout_s)
            operation.complete = time.monotonic()
            classify(operation, reply)
            if isinstance(reply, ReplyError):
                self.errors[operation.detail.split(" ")[0]] += 1
        except Closed as closed:
            operation.complete = time.monotonic()
            operation.detail = f"closed: {closed}"
            self.closed_outstanding += 1
        except TimeoutError:
            operation.complete = time.monotonic()
            operation.detail = "no answer in time"
            self.errors["(no answer)"] += 1
        self.history.append(operation)

    def _follow(
        self, connection: Connection, at: Address, operation: Operation
    ) -> Connection | None:
        """The connection to use after a refusal; None: a new connection is needed.
        The finder learns of the node that the refusal names.
        """
        if (
            operation.detail.startswith(("TRYAGAIN", "LOADING"))
            and operation.kind == READ
            and connection.ended is None
        ):
            return connection
        self.finder.lost(at)
        _, _, named = operation.detail.partition("primary=")
        host, _, port = named.split(" ")[0].rpartition(":")
        if operation.detail.startswith("MOVED"):
            host, _, port = operation.detail.split(" ")[2].rpartition(":")
        if port.isdigit() and int(port) != at[1]:
            self.finder.told((host or at[0], int(port)))
        connection.close()
        return None

    # ------------------------------------------------------------------ strong readers at replicas

    async def _replica_reader(self, client: int) -> None:
        rng = random.Random(f"{self.plan.seed}/replica/{client}")
        connection: Connection | None = None
        at: Address = self.addresses[0]
        while not self.stopping:
            if connection is None or connection.ended is not None:
                at = rng.choice(
                    [a for a in self.addresses if a != self.finder.current] or self.addresses
                )
                try:
                    connection = await Connection.open(at, 0.5)
                except (OSError, TimeoutError):
                    await asyncio.sleep(0.05)
                    continue
            key = f"{self.tag}shared:{rng.randrange(self.plan.shared_keys)}"
            operation = Operation(client, READ, key, None, 0, 0, UNKNOWN, node=at[1])
            with contextlib.suppress(Closed):
                await self._perform(connection, operation, ["GET", key])
            if operation.outcome != OK:
                connection.close()
                connection = None
                await asyncio.sleep(0.02)
            await asyncio.sleep(rng.random() * 2 * max(self.plan.think_s, 0.002))
        if connection is not None:
            connection.close()


def classify(operation: Operation, reply: Any) -> None:
    """Record the outcome that a reply states."""
    if isinstance(reply, ReplyError):
        operation.detail = str(reply)
        operation.outcome = REFUSED if operation.detail.split(" ")[0] in REFUSALS else UNKNOWN
        return
    operation.outcome = OK
    if operation.kind == READ:
        operation.value = reply.decode() if isinstance(reply, bytes) else reply
