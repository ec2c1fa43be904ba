"""The faults of a run and their times: a schedule drawn from the seed before anything happens.

A schedule is drawn apart from the run. So a run that leaves out some of its faults (`only`) gets
the same commands otherwise. Bits are flipped only on the machine of one AZ, because the log
promises no more.

Decides: kinds, times, targets and lengths of faults, and how each is done and undone.
Must not know: what is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.sim.cluster import Cluster, EngineMember, Member
from tests.sim.disk import Disk
from tests.sim.network import Link
from tests.sim.replacement import LOST, Replacement
from tests.sim.world import World

SECOND = 1_000_000
AIM_US = 1_500_000
AIM_STEP_US = 700

# kind -> its weight in the draw
KINDS = {
    "kill": 6, "kill-primary": 4, "power": 5, "power-logs": 2, "power-all": 1, "power-inside": 4,
    "pause": 5, "pause-primary": 3, "stall": 5, "cut": 6, "cut-one-way": 6, "cut-primary": 3,
    "az-loss": 2, "slow-link": 4, "lossy-link": 4, "narrow-link": 2, "reset": 5, "slow-disk": 4,
    "disk-full": 3, "sync-error": 2, "read-error": 2, "bit-flip": 3, "wall-jump": 2, "hand-over": 6,
    "terminate": 3, "stray-tail": 5, "cut-candidate": 4, "lone-writer": 3, "rotten-tail": 4,
    LOST: 0,
}  # fmt: skip


@dataclass(slots=True)
class Fault:
    number: int
    kind: str
    at_us: int
    lasts_us: int
    draw: int  # the seed for the fault's further choices
    aimed: bool  # the fault waits for a moment at which something is under way

    def __str__(self) -> str:
        return (
            f"#{self.number} {self.kind} at {self.at_us / 1e6:.3f} for {self.lasts_us / 1e6:.3f} s"
        )


def schedule(rng: Random, kinds: list[str], start_us: int, end_us: int) -> list[Fault]:
    """Draw one to a dozen faults, in bursts or alone."""
    found: list[Fault] = []
    kinds = [kind for kind in kinds if kind != LOST]  # drawn apart (`replacement.add`)
    if not kinds:
        return found
    at = start_us
    pace = rng.choice((1, 3, 6)) * SECOND
    favourites = [rng.choice(kinds) for _ in range(2)]  # a run prefers some kinds
    while True:
        at += int(rng.expovariate(1) * pace) + 1000
        if at >= end_us:
            return found
        kind = (
            rng.choice(favourites)
            if rng.random() < 0.3
            else rng.choices(kinds, [KINDS[kind] for kind in kinds])[0]
        )
        lasts = min(
            int(rng.expovariate(1) * rng.choice((300_000, 2 * SECOND, 5 * SECOND))) + 1000,
            12 * SECOND,
            end_us - at,
        )
        if kind == "disk-full":  # it has an effect only when the node needs the next segment
            lasts = min(max(lasts, 6 * SECOND), end_us - at)
        found.append(
            Fault(len(found) + 1, kind, at, lasts, rng.getrandbits(32), rng.random() < 0.6)
        )


class Faults:
    def __init__(self, cluster: Cluster, hand_over: Callable[[EngineMember], None]) -> None:
        self.cluster = cluster
        self.world: World = cluster.world
        self.network = cluster.network
        self._hand_over = hand_over
        self._undo: dict[int, Callable[[], None]] = {}
        self.replacement = Replacement(cluster, self)
        self.rotten = cluster.world.rng("rotten").choice(cluster.logs)  # bits flip here only
        self._begin: dict[str, Callable[[Fault, Random], Callable[[], None] | None]] = {
            "kill": self._kill, "kill-primary": self._kill_primary, "power": self._power,
            "power-logs": self._power_logs, "power-all": self._power_all,
            "power-inside": self._power_inside, "pause": self._pause,
            "pause-primary": self._pause_primary, "stall": self._stall, "cut": self._cut,
            "cut-one-way": self._cut_one_way, "cut-primary": self._cut_primary,
            "az-loss": self._az_loss, "slow-link": self._slow_link, "lossy-link": self._lossy_link,
            "narrow-link": self._narrow_link, "reset": self._reset, "slow-disk": self._slow_disk,
            "disk-full": self._disk_full, "sync-error": self._sync_error,
            "read-error": self._read_error, "bit-flip": self._bit_flip,
            "wall-jump": self._wall_jump, "hand-over": self._ask_hand_over,
            "terminate": self._terminate, "stray-tail": self._stray_tail,
            "cut-candidate": self._cut_candidate, "lone-writer": self._lone_writer,
            "rotten-tail": self._rotten_tail, LOST: self.replacement.begin,
        }  # fmt: skip

    def plan(self, faults: list[Fault]) -> None:
        for fault in faults:
            self.world.at(fault.at_us, None, self._start, fault)

    def _start(self, fault: Fault, waited_us: int = 0) -> None:
        if fault.aimed and waited_us < AIM_US and not self._under_way():
            self.world.after(AIM_STEP_US, None, self._start, fault, waited_us + AIM_STEP_US)
            return
        self.world.faults[fault.kind] += 1
        self.world.note("FAULT", str(fault))
        undo = self._begin[fault.kind](fault, Random(fault.draw))
        if undo is not None:
            self._undo[fault.number] = undo
            self.world.after(fault.lasts_us, None, self._stop, fault.number)

    def _under_way(self) -> bool:
        """Whether the primary has entries that are not committed."""
        primary = self.cluster.primary
        return (
            primary is not None
            and primary.node is not None
            and primary.node.writer is not None
            and primary.node.writer.in_flight > 0
        )

    def _stop(self, number: int) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            self.world.note("FAULT", f"#{number} is over")
            undo()

    def stop_all(self) -> None:
        for number in list(self._undo):
            self._stop(number)
        for member in self.cluster.logs:
            member.disk.fail_syncs = member.disk.fail_reads = member.disk.crash_in = 0
        for one in [*self.cluster.logs, *self.cluster.engines]:
            one.clock.stall_in = 0

    # ----------------------------------------------------------------- processes and machines

    def _any(self, rng: Random) -> Member:
        return rng.choice([*self.cluster.logs, *self.cluster.engines])

    def _kill(self, fault: Fault, rng: Random) -> None:
        self._any(rng).kill()

    def _kill_primary(self, fault: Fault, rng: Random) -> None:
        if (primary := self.cluster.primary) is not None:
            primary.kill()

    def _power(self, fault: Fault, rng: Random) -> None:
        self._any(rng).lose_power(fault.lasts_us)

    def _power_logs(self, fault: Fault, rng: Random) -> None:
        for member in self.cluster.logs:
            member.lose_power(int(fault.lasts_us * (0.5 + rng.random() / 2)))

    def _power_all(self, fault: Fault, rng: Random) -> None:
        for member in [*self.cluster.logs, *self.cluster.engines]:
            member.lose_power(int(fault.lasts_us * (0.5 + rng.random() / 2)))

    def _power_inside(self, fault: Fault, rng: Random) -> None:
        for disk in self._disks(rng):
            disk.crash_in = rng.choice((2, 4, rng.randint(1, 8), rng.randint(1, 40)))
            disk.crash_in_segment = rng.random() < 0.8

    def _pause(self, fault: Fault, rng: Random) -> None:
        self._any(rng).pause(fault.lasts_us)

    def _pause_primary(self, fault: Fault, rng: Random) -> None:
        if (primary := self.cluster.primary) is not None:
            primary.pause(max(fault.lasts_us, 200_000))

    def _stall(self, fault: Fault, rng: Random) -> None:
        """Stop the machine's processor between two steps of one callback."""
        member = self.cluster.primary or self._any(rng)
        member.clock.stall_in, member.clock.stall_us = (
            rng.randint(1, 60),
            max(fault.lasts_us, 100_000),
        )

    # ----------------------------------------------------------------- the network

    def block(self, pairs: list[tuple[str, str]]) -> Callable[[], None]:
        for pair in pairs:
            self.network.link(*pair).blocked += 1

        def undo() -> None:
            for pair in pairs:
                self.network.link(*pair).blocked -= 1
                self.network.healed(*pair)

        return undo

    def _around(self, members: list[Member], rng: Random, both: bool) -> list[tuple[str, str]]:
        inside = [member.host for member in members]
        outside = [
            member.host
            for member in [*self.cluster.logs, *self.cluster.engines]
            if member.host not in inside
        ]
        out = [(a, b) for a in inside for b in outside]
        back = [(b, a) for a, b in out]
        if both:
            return out + back
        return out if rng.random() < 0.5 else back

    def _cut(self, fault: Fault, rng: Random) -> Callable[[], None]:
        if rng.random() < 0.5:
            return self.block(self._around([self._any(rng)], rng, True))
        a, b = rng.sample([*self.cluster.logs, *self.cluster.engines], 2)
        return self.block([(a.host, b.host), (b.host, a.host)])

    def _cut_one_way(self, fault: Fault, rng: Random) -> Callable[[], None]:
        if rng.random() < 0.5:
            return self.block(self._around([self._any(rng)], rng, False))
        a, b = rng.sample([*self.cluster.logs, *self.cluster.engines], 2)
        return self.block([(a.host, b.host)])

    def _cut_primary(self, fault: Fault, rng: Random) -> Callable[[], None] | None:
        """Cut the primary off from some or all log nodes; its clients still reach it."""
        primary = self.cluster.primary
        if primary is None:
            return None
        logs = rng.sample(self.cluster.logs, rng.randint(1, 3))
        pairs = [(primary.host, member.host) for member in logs]
        back = [(b, a) for a, b in pairs]
        return self.block(rng.choice((pairs, back, pairs + back)))

    def _stray_tail(self, fault: Fault, rng: Random) -> None:
        """Entries reach one log node only; then their writer may die.
        Sometimes that log node is then away while others continue without it.
        """
        primary = self.cluster.primary
        if primary is None:
            return
        stray, *others = rng.sample(self.cluster.logs, 3)
        undo = self.block([(primary.host, other.host) for other in others])
        alone_us = rng.randrange(20_000, 900_000)
        away = rng.random() < 0.7

        def end() -> None:
            undo()
            if rng.random() < 0.8:
                primary.kill()
            if away and rng.random() < 0.5:
                stray.lose_power(rng.randrange(2, 6) * SECOND)
            elif away:
                self.world.after(
                    rng.randrange(2, 6) * SECOND, None, self.block(self._around([stray], rng, True))
                )

        self.world.after(alone_us, None, end)

    def _rotten_tail(self, fault: Fault, rng: Random) -> None:
        """A bit rots in the newest entry of a node that acknowledged it (S3).
        One of the other nodes lacks the entry, and the third is away.
        """
        primary = self.cluster.primary
        if primary is None:
            return
        rotten = self.rotten
        lacking, away = rng.sample(
            [member for member in self.cluster.logs if member is not rotten], 2
        )
        undo = self.block([(primary.host, lacking.host)])

        def rot() -> None:
            if (where := rotten.disk.flip_bit_at_the_end(rng)) != "":
                rotten.rotten = True
                self.world.note("FAULT", f"a bit of {rotten.name} is flipped: {where}")
            rotten.kill()
            away.lose_power(rng.randrange(3, 6) * SECOND)
            if rng.random() < 0.7:
                primary.kill()
            undo()

        self.world.after(rng.randrange(100_000, 1_500_000), None, self._when_acknowledged, rot)

    def _when_acknowledged(self, then: Callable[[], None], waited_us: int = 0) -> None:
        """Call `then` a moment after something is under way.
        At that moment a majority has just taken it.
        """
        if waited_us < AIM_US and not self._under_way():
            self.world.after(
                AIM_STEP_US, None, self._when_acknowledged, then, waited_us + AIM_STEP_US
            )
        else:
            self.world.after(self.cluster.settings.delay_us * 5 + 2000, None, then)

    def _lone_writer(self, fault: Fault, rng: Random) -> None:
        """The primary gets nothing from two log nodes while they hear it, or the reverse.
        It comes back just when others have taken over.
        """
        primary = self.cluster.primary
        if primary is None:
            return
        pairs = [(member.host, primary.host) for member in rng.sample(self.cluster.logs, 2)]
        undo = self.block(pairs if rng.random() < 0.7 else [(b, a) for a, b in pairs])
        self.world.after(rng.randrange(900_000, 1_600_000), None, undo)

    def _cut_candidate(self, fault: Fault, rng: Random, waited_us: int = 0) -> None:
        """Wait for a node that seals, then cut it off from all log nodes but one, or kill it."""
        if waited_us == 0 and (primary := self.cluster.primary) is not None:
            if rng.random() < 0.5:
                primary.kill()
            else:
                primary.pause(rng.randrange(1_000_000, 1_400_000))
        for member in self.cluster.engines:
            node = member.node
            writer = node.log.writer if node is not None and member.alive else None
            if writer is not None and writer._proposer.state in ("sealing", "opening"):
                if rng.random() < 0.3:
                    member.kill()
                    return
                hosts = [log.host for log in rng.sample(self.cluster.logs, 2)]
                pairs = (
                    [(member.host, host) for host in hosts]
                    if rng.random() < 0.5
                    else [(host, member.host) for host in hosts]
                )
                self.world.after(rng.randrange(50_000, 2_000_000), None, self.block(pairs))
                return
        if waited_us < 3 * SECOND:
            self.world.after(
                AIM_STEP_US, None, self._cut_candidate, fault, rng, waited_us + AIM_STEP_US
            )

    def _az_loss(self, fault: Fault, rng: Random) -> Callable[[], None]:
        index = rng.randrange(3)
        return self.block(
            self._around([self.cluster.logs[index], self.cluster.engines[index]], rng, True)
        )

    def _links(self, rng: Random) -> list[Link]:
        member = self._any(rng)
        others = [
            other.host
            for other in [*self.cluster.logs, *self.cluster.engines]
            if other is not member
        ]
        return [
            link
            for other in others
            for link in (
                self.network.link(member.host, other),
                self.network.link(other, member.host),
            )
        ]

    def _slow_link(self, fault: Fault, rng: Random) -> Callable[[], None]:
        links, slower = self._links(rng), rng.choice((20_000, 200_000, 800_000))
        for link in links:
            link.delay_us += slower
            link.jitter_us += slower

        def undo() -> None:
            for link in links:
                link.delay_us -= slower
                link.jitter_us -= slower

        return undo

    def _lossy_link(self, fault: Fault, rng: Random) -> Callable[[], None]:
        links, loss = self._links(rng), rng.choice((0.01, 0.1, 0.3))
        for link in links:
            link.loss += loss

        def undo() -> None:
            for link in links:
                link.loss = max(0.0, link.loss - loss)

        return undo

    def _narrow_link(self, fault: Fault, rng: Random) -> Callable[[], None]:
        """Small packets pass, large ones do not."""
        member = self._any(rng)
        pairs = [
            (member.host, other.host)
            for other in [*self.cluster.logs, *self.cluster.engines]
            if other is not member
        ]
        for pair in pairs:
            self.network.link(*pair).narrow += 1

        def undo() -> None:
            for pair in pairs:
                self.network.link(*pair).narrow -= 1
                self.network.healed(*pair)

        return undo

    def _reset(self, fault: Fault, rng: Random) -> None:
        a, b = rng.sample([*self.cluster.logs, *self.cluster.engines], 2)
        self.network.reset_between(a.host, b.host, rng.random() < 0.5)

    # ----------------------------------------------------------------- disks

    def _disks(self, rng: Random) -> list[Disk]:
        """The disks, not the machines: when the fault ends, a machine may have another disk."""
        return [member.disk for member in rng.sample(self.cluster.logs, rng.choice((1, 1, 2, 3)))]

    def _slow_disk(self, fault: Fault, rng: Random) -> Callable[[], None]:
        disks, slower = self._disks(rng), rng.choice((5_000, 30_000, 300_000))
        for disk in disks:
            disk.slow_us += slower

        def undo() -> None:
            for disk in disks:
                disk.slow_us -= slower

        return undo

    def _disk_full(self, fault: Fault, rng: Random) -> Callable[[], None]:
        disks = self._disks(rng)
        for disk in disks:
            disk.full += 1

        def undo() -> None:
            for disk in disks:
                disk.full -= 1

        return undo

    def _sync_error(self, fault: Fault, rng: Random) -> None:
        rng.choice(self.cluster.logs).disk.fail_syncs = 1

    def _read_error(self, fault: Fault, rng: Random) -> None:
        rng.choice(self.cluster.logs).disk.fail_reads = rng.randint(1, 3)

    def _bit_flip(self, fault: Fault, rng: Random) -> None:
        """Flip a bit under a running node, for the scrubber and readers to find.
        The bit is anywhere, or in entries that may not be known committed yet.
        """
        disk = self.rotten.disk
        where = disk.flip_bit(rng) if rng.random() < 0.7 else disk.flip_bit_at_the_end(rng)
        if where:
            self.rotten.rotten = True
            self.world.note("FAULT", f"a bit of {self.rotten.name} is flipped: {where}")

    # ----------------------------------------------------------------- clocks, administration

    def _wall_jump(self, fault: Fault, rng: Random) -> None:
        member = rng.choice(self.cluster.engines)
        member.clock.wall_offset_ms += rng.choice((-3_600_000, -2_000, 500, 2_000, 3_600_000))

    def _ask_hand_over(self, fault: Fault, rng: Random) -> None:
        if (primary := self.cluster.primary) is not None:
            self._hand_over(primary)

    def _terminate(self, fault: Fault, rng: Random) -> None:
        rng.choice(self.cluster.engines).terminate()
