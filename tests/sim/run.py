"""One run: a cluster, clients, faults, time, and a judgement.

Decides: the phases of a run (quiet start, faults, everything heals, the last reads), and which
conditions make it fail.
Must not know: how many runs there are. A run is a function of its `Plan` alone.
"""

from __future__ import annotations

import asyncio
import gc
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.sim import records, replacement, seams
from tests.sim.checkers import Checkers
from tests.sim.clients import Client, Finder, Wire
from tests.sim.cluster import END_OF_NODE, PORT, Cluster, EngineMember, LogMember, Member, Settings
from tests.sim.faults import KINDS, SECOND, Fault, Faults, schedule
from tests.sim.history import judge
from tests.sim.network import Network
from tests.sim.records import EVENTUAL, OK, REFUSED, SESSION, STRONG, Part, Record
from tests.sim.workload import COUNTERS, JOURNALS, LEASES, REGISTERS, key_of
from tests.sim.world import Loop, Violation, World

QUIET_US = 2 * SECOND  # before the first fault
FAULTS_END_US = 46 * SECOND
END_US = 60 * SECOND
PROGRESS_US = 10 * SECOND  # a primary must serve within this time after the end of the faults
STEPS = 600  # client operations
CLIENTS_END_US = 52 * SECOND  # after this time no client begins another operation
FINISH_US = 30 * SECOND


@dataclass
class Plan:
    seed: int
    steps: int = STEPS
    kinds: tuple[str, ...] = tuple(KINDS)
    only: frozenset[int] | None = None  # numbers of the faults that happen; None: all
    trace: bool = False
    # these replace settings that the seed draws
    settings: dict[str, int] = field(default_factory=dict)


@dataclass
class Result:
    plan: Plan
    problems: list[str]
    digest: int
    faults: Counter[str]
    counters: Counter[str]
    schedule: list[Fault]
    operations: int
    succeeded: int
    simulated_s: float
    cpu_s: float
    events: int
    lines: list[str]

    @property
    def ok(self) -> bool:
        return not self.problems


class Run:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.world.tracing = plan.trace
        self.network = Network(self.world)
        settings = Settings(self.world.rng("settings"))
        for name, value in plan.settings.items():
            setattr(settings, name, value)
        self.cluster = Cluster(
            self.world, self.network, settings, self._on_error, self._on_start_failed, self._on_exit
        )
        self.checkers = Checkers(self.cluster)
        self.faults = Faults(self.cluster, self._hand_over)
        self.history: list[Record] = []
        self.problems: list[str] = []
        self.finder = Finder(self.cluster, self.world.rng("finder"))
        self.tasks: list[asyncio.Task[Any]] = []
        self.schedule = schedule(
            self.world.rng("faults"), list(plan.kinds), QUIET_US, FAULTS_END_US
        )
        loss = replacement.add(
            self.world.rng("replacement"), plan.kinds, len(self.schedule), QUIET_US, FAULTS_END_US
        )
        if loss is not None:
            number, at, lasts, draw = loss
            self.schedule.append(Fault(number, replacement.LOST, at, lasts, draw, draw % 2 == 1))

    # ----------------------------------------------------------------- the phases

    def run(self) -> Result:
        began = time.process_time()
        gc.disable()
        try:
            with seams.installed(self.world):
                self._phases()
        except Violation as violation:
            self.problems.append(str(violation))
        except Exception:
            # A judge or the world itself is wrong: this run has failed, and prints how to repeat it
            # like any other.
            self.problems.append(traceback.format_exc())
        finally:
            gc.enable()
            self.cluster.over = True
            self.world.close()
        if not self.problems:
            if self.cluster.settings.broken_clocks:
                self._believe_no_lease()
            self.problems += self._judged()
        mine = [record for record in self.history if not record.final]
        return Result(
            self.plan, self.problems, self.world.digest, self.world.faults, self.world.counters,
            self.schedule, len(mine), sum(record.outcome == OK for record in mine),
            self.world.now / 1e6, time.process_time() - began, self.world.events, self.world.lines,
        )  # fmt: skip

    def _judged(self) -> list[str]:
        return judge(self.history)

    def _believe_no_lease(self) -> None:
        """With clocks beyond the bound, an operation that only reads may see an old state.
        An operation that writes is in the log's order as always.
        """
        self.world.counters["run with broken clocks"] += 1
        for record in self.history:
            if (
                not record.final
                and record.level == STRONG
                and all(part.kind in records.READ_KINDS for part in record.parts)
            ):
                record.level = EVENTUAL

    def _begin(self) -> None:
        world, plan = self.world, self.plan
        world.after_event = self.checkers.after_event
        self.cluster.start()
        for member in self.cluster.engines:
            self._watch(member)
        chosen = [
            fault for fault in self.schedule if plan.only is None or fault.number in plan.only
        ]
        self.faults.plan(chosen)
        world.at(SECOND // 2, self.cluster.clients, self._start_clients)
        world.at(SECOND, None, self._compare)

    def _phases(self) -> None:
        self._begin()
        world = self.world
        world.run(FAULTS_END_US)
        world.note("RUN", "the faults are over")
        self.faults.stop_all()
        if self.cluster.settings.broken_clocks:
            for member in [*self.cluster.logs, *self.cluster.engines]:
                member.clock.run_at(0)
        self._until(lambda: self.cluster.primary is not None, PROGRESS_US, "no primary serves")
        self._until(
            lambda: all(task.done() for task in self.tasks), FINISH_US, "clients did not finish"
        )
        world.run(max(END_US, world.now))
        self._until(
            lambda: self.faults.replacement.finished,
            PROGRESS_US,
            "the learner does not count, or the lost node does not know",
        )
        self._until(self._level, PROGRESS_US, "the nodes did not come to the same position")
        self.checkers.compare_states()
        self._last_reads()

    def _until(self, reached: Any, within_us: int, otherwise: str) -> None:
        world = self.world
        end = world.now + within_us
        while not reached():
            if world.now >= end:
                raise Violation(f"{otherwise} within {within_us / 1e6:g} s: {self._describe()}")
            world.run(world.now + 50_000)

    def _describe(self) -> str:
        parts = []
        for member in self.cluster.engines:
            node = member.node
            parts.append(
                f"{member.name} {node.roles.role if node is not None else 'down'}"
                + (f" ({node.roles.stuck})" if node and node.roles.stuck else "")
            )
        for log in self.cluster.logs:
            driver = log.driver
            status = driver._acceptor.status(log.clock.now_us()) if driver is not None else None
            parts.append(
                f"{log.name} "
                + (
                    f"last {status['last']} committed {status['committed']} suspect "
                    f"{status['suspect']} broken {status['broken']}"
                    if status
                    else f"down ({log.ended_by})"
                )
            )
        return "; ".join(parts)

    def _level(self) -> bool:
        """Whether all engine nodes serve and have the same position: the load is over."""
        primary = self.cluster.primary
        if (
            primary is None
            or primary.node is None
            or primary.node.writer is None
            or primary.node.writer.in_flight
            or not primary.node.shard.drained
        ):
            return False
        position = primary.node.writer.next_position - 1
        others = [member for member in self.cluster.engines if member is not primary]
        return all(
            other.node is not None
            and other.node.roles.role == "replica"
            and other.node.follower.position == position
            for other in others
        )

    def _last_reads(self) -> None:
        task = self.cluster.clients.create_task(self._read_everything())
        self._until(task.done, PROGRESS_US, "the last reads were not answered")
        task.result()

    async def _read_everything(self) -> None:
        """Read each key at the primary until it answers."""
        keys = [(records.GET, key_of("r", i)) for i in range(REGISTERS)] + [
            (records.READ, key_of("j", i)) for i in range(JOURNALS)
        ]
        keys += [(records.COUNT, key_of("c", i)) for i in range(COUNTERS)] + [
            (records.LOOK, key_of("e", i)) for i in range(LEASES)
        ]
        reader = Client(99, self.cluster, self.finder, self.history, STRONG, False)
        for kind, key in keys:
            while True:
                if (reader.wire is None or reader.wire.closed) and not await reader._connect():
                    await asyncio.sleep(0.05)
                    continue
                record = Record(
                    99, 0, [Part(kind, key)], self.world.now, node=reader.host, final=True
                )
                record.commands = [(b"GET", key.encode())]
                await reader._ask([record])
                if record.outcome == OK:
                    break
                if record.outcome == REFUSED:
                    reader._refused(record.detail)
                await asyncio.sleep(0.05)

    # ----------------------------------------------------------------- clients

    def _start_clients(self) -> None:
        shares = (
            [(STRONG, False, False, 0.16)] * 4
            + [(STRONG, True, False, 0.1)] * 2
            + [(SESSION, True, False, 0.05), (EVENTUAL, True, False, 0.03)]
        )
        shares += [(STRONG, False, True, 0.08)]
        for number, (level, reads_only, anything, share) in enumerate(shares):
            client = Client(
                number, self.cluster, self.finder, self.history, level, reads_only, anything
            )
            operations = max(1, int(self.plan.steps * share))
            client.mean_pause_s = 0.85 * (FAULTS_END_US / 1e6 + 4) / operations
            self.tasks.append(
                self.cluster.clients.create_task(client.run(operations, CLIENTS_END_US))
            )

    def _hand_over(self, primary: EngineMember) -> None:
        async def ask() -> None:
            try:
                _, wire = await asyncio.wait_for(
                    self.cluster.clients.create_connection(Wire, primary.host, PORT), 0.5
                )
            except (OSError, TimeoutError):
                return
            answers = await wire.ask([(b"MEMSTORE", b"HANDOVER")], 3.0)
            self.world.note("clients", f"hand-over: {answers}")
            self.world.counters[
                "hand-over done"
                if answers and answers[0] in (b"OK", "OK")
                else "hand-over not done"
            ] += 1
            wire.transport.abort()

        self.world.at(
            self.world.now, self.cluster.clients, lambda: self.cluster.clients.create_task(ask())
        )

    # ----------------------------------------------------------------- watching

    def _compare(self) -> None:
        self.checkers.compare_states()
        self.world.after(int(1.7 * SECOND), None, self._compare)

    def _watch(self, member: EngineMember) -> None:
        died = member.died

        def also_forget() -> None:
            died()
            self.checkers.forget(member)

        # the checkers also need the end of a life
        member.died = also_forget  # type: ignore[method-assign]

    def _found(self, text: str) -> None:
        if self.world.violation is None:
            self.world.violation = Violation(text)

    def _on_error(self, loop: Loop, error: BaseException) -> None:
        """Report an unexpected error in one of the processes."""
        if loop.alive and not isinstance(error, Violation):
            frames = traceback.extract_tb(error.__traceback__)
            where = (
                f" ({frames[-1].name} in "
                f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})"
                if frames
                else ""
            )
            self._found(f"{loop.name}: {type(error).__name__}: {error}{where}")

    def _on_start_failed(self, member: Member, error: BaseException) -> None:
        if not (isinstance(member, LogMember) and (member.rotten or member.disk.hurt)):
            self._found(f"{member.name} cannot start: {error}")

    def _on_exit(self, member: Member, reason: str) -> None:
        """A process ended itself. That is right only after a fault of its disk or a signal."""
        self.world.counters["a process ended itself"] += 1
        if isinstance(member, LogMember):
            expected = bool(member.rotten or member.disk.hurt)
        else:
            expected = (
                isinstance(member, EngineMember)
                and reason == END_OF_NODE
                and member.terminated == member.lives
            )
        if not expected:
            self._found(f"{member.name} ended itself: {reason}")


def run(plan: Plan) -> Result:
    return Run(plan).run()
