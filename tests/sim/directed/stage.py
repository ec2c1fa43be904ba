"""The stage of a directed schedule: a cluster without drawn faults, and tools to place faults.

Decides: how a schedule waits for a moment, cuts and heals, lets a node campaign or not, asks as a
client. It judges at the end all that an ordinary run judges.
Must not know: any one schedule.

A moment is a condition that is checked between two events, so a fault comes exactly when the
condition first holds. A schedule removes only what safety must not depend on. This is jitter (a
node campaigns on command) and luck (which unsynced bytes a power loss leaves).
A schedule that does not reach its own moments fails as *not staged*, which is no finding: only a
broken promise catches a mutant.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sim import records, seams
from tests.sim.clients import Wire, classify
from tests.sim.cluster import PORT, EngineMember, LogMember, Member
from tests.sim.faults import SECOND
from tests.sim.history import judge
from tests.sim.records import STRONG, Part, Record
from tests.sim.run import PROGRESS_US, Plan, Run
from tests.sim.world import Loop, Violation
from txlog.storage.store import LogStore

NEVER = 1 << 62
QUIET: dict[str, Any] = {
    "broken_clocks": False, "drift_ppm": 0, "skew_ms": 0, "delay_us": 400, "sync_us": 150,
    "segment_bytes": 64 * 1024, "cache_bytes": 1 << 20, "max_entry_bytes": 4096, "digest_ms": 0,
    "message_bytes": 4 << 20, "window_entries": 4096, "keep_bytes": 16 << 20,
}  # fmt: skip
NOT_STAGED = "not staged: "


class NotStaged(Exception):
    """The schedule did not reach its own moments."""


@dataclass(frozen=True)
class Schedule:
    name: str
    act: Callable[[Stage], None] | Callable[[], None]
    settings: dict[str, Any] = field(default_factory=dict)
    staged: bool = True  # False: it needs no cluster

    @property
    def what(self) -> str:
        return (self.act.__doc__ or "").strip()


SCHEDULES: dict[str, Schedule] = {}


def alone(act: Callable[[], None]) -> Callable[[], None]:
    """Register a schedule that tests one part of the real code, without the cluster."""
    name = act.__name__.replace("_", "-")
    SCHEDULES[name] = Schedule(name, act, staged=False)
    return act


def schedule(**settings: Any) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a schedule; ``settings`` replace the quiet ones.
    By node: ``clocks``, how much faster than true time, ppm; ``walls``, how far the wall clock is
    ahead, ms.
    """

    def add(act: Callable[[Stage], None]) -> Callable[[Stage], None]:
        name = act.__name__.replace("_", "-")
        assert name not in SCHEDULES
        SCHEDULES[name] = Schedule(name, act, settings)
        return act

    return add


def play(name: str, seed: int = 1, trace: bool = False) -> list[str]:
    """Play a schedule and give the findings; empty: all promises held."""
    chosen = SCHEDULES[name]
    if not chosen.staged:
        return _alone(chosen)
    settings = {**QUIET, **chosen.settings}
    clocks: dict[str, int] = settings.pop("clocks", {})
    walls: dict[str, int] = settings.pop("walls", {})
    stage = Stage(Plan(seed, kinds=(), trace=trace, settings=settings), clocks, walls)
    gc.disable()
    try:
        with seams.installed(stage.world):
            stage.begin()
            chosen.act(stage)  # type: ignore[call-arg]  # staged ones take it
            stage.finish()
    except Violation as violation:
        return [str(violation)]
    except NotStaged as missed:
        return [NOT_STAGED + str(missed)]
    finally:
        gc.enable()
        stage.cluster.over = True
        stage.world.close()
    return judge(stage.run.history)


def _alone(chosen: Schedule) -> list[str]:
    try:
        chosen.act()  # type: ignore[call-arg]  # those that are not staged take nothing
    except Violation as violation:
        return [str(violation)]
    except NotStaged as missed:
        return [NOT_STAGED + str(missed)]
    return []


class Asked:
    """A request under way or answered. Several records are a pipeline."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.done = False
        self.answers: list[Any] = []

    @property
    def answer(self) -> Any:
        """The answer of the last command; None also when there is no answer yet."""
        return self.answers[-1] if self.answers else None


class Caller:
    """A client with one connection, opened at its first request."""

    def __init__(self, stage: Stage, number: int, member: EngineMember, level: str) -> None:
        self.stage = stage
        self.number = number
        self.member = member
        self.level = level
        self.wire: Wire | None = None
        self.asked = 0

    def ask(self, *commands: tuple[str | bytes, ...]) -> Asked:
        """Send one command, or MULTI to EXEC, at the present moment."""
        return self._send([[_encoded(command) for command in commands]])

    def pipeline(self, *commands: tuple[str | bytes, ...]) -> Asked:
        """Send several independent commands in one piece."""
        return self._send([[_encoded(command)] for command in commands])

    def _send(self, groups: list[list[tuple[bytes, ...]]]) -> Asked:
        stage, number = self.stage, self.number
        now, loop = stage.world.now, stage.cluster.clients
        found = []
        for group in groups:
            found.append(
                Record(
                    number,
                    self.asked,
                    _parts(group),
                    now,
                    level=self.level,
                    connection=number,
                    node=self.member.host,
                    commands=group,
                )
            )
        self.asked += 1
        stage.run.history += found
        asked = Asked(found)
        stage.world.at(now, loop, lambda: loop.create_task(self._ask(asked)))
        return asked

    async def _ask(self, asked: Asked) -> None:
        loop = self.stage.cluster.clients
        if self.wire is None:
            try:
                _, self.wire = await asyncio.wait_for(
                    loop.create_connection(Wire, self.member.host, PORT), 1.0
                )
            except (OSError, TimeoutError):
                for record in asked.records:
                    record.outcome = records.REFUSED
                asked.done = True
                return
            if self.level != STRONG:
                await self.wire.ask([(b"MEMSTORE", b"READS", self.level.encode())])
        answers = asked.answers = await self.wire.ask(
            [command for record in asked.records for command in record.commands], 30.0
        )
        for record in asked.records:
            record.complete = self.stage.world.now
            mine, answers = answers[: len(record.commands)], answers[len(record.commands) :]
            classify(record, mine)
        asked.done = True


def _encoded(command: tuple[str | bytes, ...]) -> tuple[bytes, ...]:
    return tuple(word.encode() if isinstance(word, str) else word for word in command)


def _parts(commands: list[tuple[bytes, ...]]) -> list[Part]:
    if commands[0] == (b"MULTI",):
        return [_part(command) for command in commands[1:-1]]
    assert len(commands) == 1
    return [_part(commands[0])]


def _part(command: tuple[bytes, ...]) -> Part:
    """How the history must treat a command, by command and family of the key."""
    words = [word.decode() for word in command]
    family = words[1].partition(":")[0] if len(words) > 1 else ""
    kinds = {
        ("GET", "r"): records.GET,
        ("GET", "{j}"): records.READ,
        ("GET", "c"): records.COUNT,
        ("GET", "e"): records.LOOK,
        ("INCR", "c"): records.INCREASE,
    }
    if (kind := kinds.get((words[0], family))) is not None:
        return Part(kind, words[1])
    kinds = {
        ("SET", "r"): records.SET,
        ("APPEND", "{j}"): records.APPEND,
        ("SET", "e"): records.LEASED,
    }
    if (kind := kinds.get((words[0], family))) is not None:
        return Part(kind, words[1], words[2])
    return Part(records.ANY, "", words[0])


class Stage:
    def __init__(self, plan: Plan, clocks: dict[str, int], walls: dict[str, int]) -> None:
        self.run = Run(plan)
        self.world = self.run.world
        self.cluster = self.run.cluster
        self.network = self.run.network
        self.logs: dict[str, LogMember] = {member.az: member for member in self.cluster.logs}
        self.engines: dict[str, EngineMember] = {
            member.az: member for member in self.cluster.engines
        }
        for member in self.members:
            member.clock.ppm, member.clock.wall_offset_ms = (
                clocks.get(member.name, 0),
                walls.get(member.name, 0),
            )
        self.run.checkers._check_leases = all(abs(ppm) <= 30_300 for ppm in clocks.values())
        self._held_back: set[str] = set()
        self._eager: set[str] = set()  # nodes that campaign again and again
        self._cuts: list[tuple[str, str]] = []
        self._callers = 0
        self._rules: list[Callable[[Loop], None]] = []

    @property
    def members(self) -> list[Member]:
        return [*self.cluster.logs, *self.cluster.engines]

    # ----------------------------------------------------------------- beginning and end

    def begin(self) -> None:
        """engine-a leads, the others follow; they campaign only on command."""
        self.world.after_event = self._after_event
        self.cluster.start()
        for member in self.cluster.engines:
            self.run._watch(member)
        self.hold_back("b", "c")
        self.until(lambda: self.leads("a"), "engine-a leads")
        self.until(lambda: all(self.role(az) == "replica" for az in "bc"), "the others follow")
        self.hold_back("a", "b", "c")
        self.run_for(50)

    def finish(self) -> None:
        """Heal everything and judge.
        The cluster must serve, every node must reach one state, and everything is read once more.
        """
        self.heal_all()
        self._held_back.clear()
        self._eager.clear()
        for engine in self.cluster.engines:
            if engine.alive and engine.node is not None:
                engine.node.roles._ineligible_until = 0
        for log in self.cluster.logs:
            log.disk.full, log.disk.slow_us, log.disk.crash_in, log.disk.fail_syncs = False, 0, 0, 0
        for member in self.members:
            self.power_on(member)
        self.run._until(lambda: self.cluster.primary is not None, PROGRESS_US, "no primary serves")
        self.run._until(self.run._level, PROGRESS_US, "the nodes did not come to the same position")
        self.run.checkers.compare_states()
        self.run._last_reads()

    def _after_event(self, loop: Loop) -> None:
        self.run.checkers.after_event(loop)
        if loop.name in self._held_back:
            node = self.engines[loop.name[-1]].node
            if node is not None:
                node.roles._ineligible_until = NEVER
        for rule in self._rules:
            rule(loop)

    # ----------------------------------------------------------------- time

    def run_for(self, ms: float) -> None:
        self.world.run(self.world.now + int(ms * 1000))

    def until(self, reached: Callable[[], Any], what: str, within_s: float = 6.0) -> None:
        """Run event by event until the condition holds."""
        world = self.world
        end = world.now + int(within_s * SECOND)
        while not reached():
            if world.now >= end or not world._heap:
                raise NotStaged(f"{what}, at {world.now / 1e6:.6f}: {self.run._describe()}")
            world.run(world._heap[0][0])

    def expect(self, holds: Any, promise: str) -> None:
        if not holds:
            raise Violation(promise)

    # ----------------------------------------------------------------- what a schedule can check

    def acceptor(self, az: str) -> Any:
        driver = self.logs[az].driver
        return driver._acceptor if driver is not None else None

    def last(self, az: str) -> int:
        """The log node's last position; -1: it is down."""
        acceptor = self.acceptor(az)
        return acceptor.last[1] if acceptor is not None else -1

    def proposer(self, az: str) -> Any:
        node = self.engines[az].node
        return (
            node.log.writer._proposer if node is not None and node.log.writer is not None else None
        )

    def window_left_ms(self, az: str) -> int:
        return int(self.acceptor(az).window_left_ms(self.logs[az].clock.now_us()))

    def role(self, az: str) -> str:
        node = self.engines[az].node
        return node.roles.role if node is not None and self.engines[az].alive else "down"

    def leads(self, az: str) -> bool:
        return self.cluster.primary is self.engines[az]

    # ----------------------------------------------------------------- who campaigns

    def hold_back(self, *azs: str) -> None:
        """Set the jitter of these nodes so that they never campaign."""
        for az in azs:
            self._eager.discard(az)
            self._held_back.add(f"engine-{az}")

    def let(self, az: str) -> None:
        """Let the node campaign by its own rules."""
        self._held_back.discard(f"engine-{az}")
        if (node := self.engines[az].node) is not None:
            node.roles._ineligible_until = 0

    def campaign(self, az: str) -> None:
        """End the waiting times of this node: it campaigns now, if it may at all."""
        member = self.engines[az]
        node = member.node
        self._held_back.discard(member.name)
        if node is None or not member.alive or member.loop is None:
            return

        def go() -> None:
            roles, now_us = node.roles, member.clock.now_us()
            roles._ineligible_until = roles._backoff_until = roles._other_named_until = 0
            if roles.role == "replica":
                roles._campaign_at = now_us
                roles.on_deadline(now_us)
                node.act()

        self.world.at(self.world.now, member.loop, go)

    def keep_campaigning(self, az: str, every_ms: float = 20.0) -> None:
        """Let the node campaign again and again until it leads or is held back."""
        self._eager.add(az)

        def again() -> None:
            if az not in self._eager or self.role(az) == "primary":
                self._eager.discard(az)
                return
            if self.role(az) != "candidate":
                self.campaign(az)
            self.world.after(int(every_ms * 1000), None, again)

        again()

    def elect(self, az: str, within_s: float = 6.0) -> None:
        self.keep_campaigning(az)
        self.until(lambda: self.leads(az), f"engine-{az} leads", within_s)
        self.hold_back(az)

    # ----------------------------------------------------------------- the network

    def cut(self, source: Member, *targets: Member) -> None:
        """Cut the links in one direction."""
        for target in targets:
            self._cuts.append((source.host, target.host))
            self.network.link(source.host, target.host).blocked += 1

    def part(self, one: Member, *others: Member) -> None:
        """Cut the links in both directions."""
        for other in others:
            self.cut(one, other)
            self.cut(other, one)

    def isolate(self, member: Member) -> None:
        self.part(member, *[other for other in self.members if other is not member])

    def heal(self, one: Member, *others: Member) -> None:
        hosts = {other.host for other in others or self.members}
        healed = [
            pair for pair in self._cuts if one.host in pair and hosts & (set(pair) - {one.host})
        ]
        self._cuts = [pair for pair in self._cuts if pair not in healed]
        for pair in healed:
            self.network.link(*pair).blocked -= 1
        for pair in healed:
            self.network.healed(*pair)

    def heal_all(self) -> None:
        for member in self.members:
            self.heal(member)

    # ----------------------------------------------------------------- machines and disks

    def power_off(self, *members: Member) -> None:
        for member in members:
            member.lose_power(NEVER)

    def power_on(self, member: Member) -> None:
        if member.host in self.network.gone:
            member.power_back(member.lives)

    def teach_slow_disks(self) -> None:
        """Show the drivers some slow syncs; only then do they wait for syncs beside the loop."""
        for number in range(12):
            self.told(self.ask("a", ("SET", "r:5", f"slow.{number}")))
        self.run_for(100)

    def nothing_survives(self, *logs: LogMember) -> None:
        """Lose all bytes that no sync covers at a power loss or a failed sync."""
        for log in logs:
            # what survives here
            log.disk._keep_some = lambda inode: None  # type: ignore[method-assign]

    def rot(self, log: LogMember, *positions: int) -> None:
        """Make the frames of these positions unreadable, headers and entries."""
        store: LogStore = log.driver.store
        log.rotten = True
        for position in positions:
            store_segment = max(
                (segment for segment in store._segments if segment.first <= position),
                key=lambda segment: segment.first,
            )
            offset = store._positions.offset(position)
            for copy in (
                log.disk._tree[store_segment.path].data,
                log.disk._tree[store_segment.path].durable,
            ):
                for at in range(offset, offset + 90):
                    copy[at] ^= 0xA5
            self.world.note("FAULT", f"position {position} of {log.name} rots")

    # ----------------------------------------------------------------- clients

    def caller(self, az: str, level: str = STRONG) -> Caller:
        self._callers += 1
        return Caller(self, self._callers, self.engines[az], level)

    def ask(self, az: str, *commands: tuple[str | bytes, ...], level: str = STRONG) -> Asked:
        """Ask from a new client of its own."""
        return self.caller(az, level).ask(*commands)

    def pipeline(self, az: str, *commands: tuple[str | bytes, ...]) -> Asked:
        return self.caller(az).pipeline(*commands)

    def told(self, asked: Asked, within_s: float = 6.0) -> Any:
        self.until(lambda: asked.done, "an answer", within_s)
        self.run_for(0.01)  # a later request is sent at a later time
        return asked.answer
