"""Campaigns: many runs of one scenario each, with a condition beyond those of every run.

A scenario draws from its own generator: a run is a function of the campaign's name and seed alone.

Decides: the scenarios, their conditions, the figures in the report.
Must not know: how a run proceeds otherwise (`run`), how many are wanted.
`main` prints; exit code 1 when the condition does not hold.

    make sim CAMPAIGN=power-loss RUNS=500            fresh seeds on all cores (FROM=1: from 1 on)
    make sim CAMPAIGN=power-loss SEED=17 TRACE=1     one of them again
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.sim.cluster import GROUP, LOG_NAME, EngineMember, LogMember
from tests.sim.faults import KINDS, SECOND
from tests.sim.history import judge
from tests.sim.run import FAULTS_END_US, PROGRESS_US, QUIET_US, Plan, Result, Run
from tests.sim.world import Violation
from txlog.entry import Entry
from txlog.storage import inspect
from txlog.storage.recovery import scan_segment
from txlog.storage.segment import (
    FRAME_HEADER_BYTES,
    log_id,
    parse_segment_name,
    read_frame_header,
    segment_seed,
)

AT_ONCE_US = 3000  # the power of three machines ends within this time
STEP_US = 10_000  # time between two checks of a scenario
# change of leadership, after the primary is cut off from the log: five leases
CHANGE_WITHIN_US = 5 * SECOND
LOOK_AFTER_US = 10 * SECOND  # delay before the check of what rots while its node runs
FOLDER = Path("/data/logs") / LOG_NAME


@dataclass
class Outcome:
    """The outcome of one run."""

    seed: int
    problems: list[str]
    figures: Counter[str]
    remarks: list[str]  # for people: counted, but no failure
    times_us: list[int]
    result: Result


class Campaign(Run):
    name = ""
    kinds: tuple[str, ...] = ()  # ordinary faults that happen too
    settings: dict[str, int] = {}
    least_served = 0.0  # the share of the runs that must not be counted as "did not serve again"

    def __init__(self, seed: int, trace: bool = False) -> None:
        super().__init__(Plan(seed, kinds=self.kinds, trace=trace, settings=dict(self.settings)))
        self.rng = self.world.rng(f"campaign {self.name}")
        self.figures: Counter[str] = Counter()
        self.remarks: list[str] = []
        self.times_us: list[int] = []
        self.world.at(QUIET_US, None, self.scenario)

    def scenario(self) -> None:
        """Schedule what goes wrong; called when the cluster has had time to start."""
        raise NotImplementedError

    def outcome(self) -> Outcome:
        result = self.run()
        return Outcome(
            self.plan.seed, result.problems, self.figures, self.remarks, self.times_us, result
        )

    # ----------------------------------------------------------------- for scenarios

    def tell(self, text: str) -> None:
        self.world.note("CAMPAIGN", text)

    def when(
        self,
        reached: Callable[[], bool],
        then: Callable[[], None],
        within_us: int,
        otherwise: Callable[[], None],
    ) -> None:
        """Call `then` as soon as `reached` holds; checked every `STEP_US`."""
        if reached():
            then()
        elif within_us <= 0:
            otherwise()
        else:
            self.world.after(
                STEP_US, None, self.when, reached, then, within_us - STEP_US, otherwise
            )

    def files_of(self, member: LogMember) -> list[tuple[Path, bytes]]:
        return [
            (path, bytes(inode.data))
            for path, inode in sorted(member.disk._tree.items())
            if path.is_relative_to(FOLDER)
        ]

    def findings(self, member: LogMember) -> list[str]:
        """What `txlog verify` says of the node's folder."""
        with self._copied(member) as folder:
            return [
                str(finding).replace(folder, member.name)
                for finding in inspect.verify(Path(folder)).findings
            ]

    def entries(self, member: LogMember) -> dict[int, bytes]:
        """position -> chain of every good entry on the node's disk."""
        with self._copied(member) as folder:
            return {
                entry.position: entry.chain
                for entry in inspect.entries(Path(folder))
                if isinstance(entry, Entry)
            }

    def _copied(self, member: LogMember) -> tempfile.TemporaryDirectory[str]:
        folder = tempfile.TemporaryDirectory(prefix="memstore-sim-")
        for path, data in self.files_of(member):
            at = Path(folder.name) / path.relative_to(FOLDER)
            at.parent.mkdir(exist_ok=True)
            at.write_bytes(data)
        return folder

    def agree(self) -> bool:
        """All three log nodes are whole and hold the same log to its end, committed."""
        drivers = [member.driver for member in self.cluster.logs]
        if any(driver is None for driver in drivers):
            return False
        acceptors = [driver._acceptor for driver in drivers]
        whole = all(
            one.counts
            and not one.holes
            and not one.tail_damage
            and one.durable == one.last[1] == one.committed
            for one in acceptors
        )
        return whole and len({(one.last, one.last_chain) for one in acceptors}) == 1


# --------------------------------------------------------------------------- power


class PowerLoss(Campaign):
    """All three log nodes lose power at one moment under load, up to three times a run.
    What was not synced is there, torn or gone.
    """

    name = "power-loss"
    least_served = 0.99

    def scenario(self) -> None:
        self.back = self.silent_until = 0
        at = self.world.now
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            at += self.rng.randrange(1 * SECOND, 3 * SECOND)
            self.world.at(at, None, self._loss)
            at += 13 * SECOND  # up to 2 s without power, then time to come back

    def _loss(self) -> None:
        self.back = 0  # when the last of them has power again; 0: none has lost it yet
        if self.rng.random() < 0.7:  # inside a write, each node in its own if it has one then
            for member in self.cluster.logs:
                member.disk.on_crash = partial(self._gone_inside, member)
                member.disk.crash_in, member.disk.crash_in_segment = self.rng.randint(1, 12), True
            self.world.after(SECOND, None, self._off)
        else:  # while an entry is under way
            moment = self.rng.randrange(3000)
            self.when(self.faults._under_way, lambda: self._later(moment), SECOND, self._off)

    def _later(self, us: int) -> None:
        self.world.after(us, None, self._off)

    def _gone_inside(self, member: LogMember) -> None:
        member.lose_power(self._dark())
        for other in self.cluster.logs:
            if other.disk.crash_in:
                other.disk.crash_in = self.rng.choice((1, 2))
        self._later(AT_ONCE_US)

    def _dark(self) -> int:
        """Draw the time for which one node has no power."""
        dark = self.rng.randrange(50_000, 2 * SECOND)
        self.back = max(self.back, self.world.now + dark)
        return dark

    def _off(self) -> None:
        if self.world.now < self.silent_until:
            return
        self.silent_until = self.world.now + 3 * SECOND  # counts as one loss
        for member in self.cluster.logs:
            member.disk.crash_in, member.disk.on_crash = 0, partial(member.lose_power, SECOND)
            if member.host not in self.network.gone:
                member.lose_power(self._dark())
        self.tell("power lost on all log nodes")
        self.figures["power losses of all three"] += 1
        lease = self.cluster.settings.lease_ms * 1000
        # An old lease must have ended: a node that serves then has its lease from the nodes that
        # came back.
        self.world.at(self.back + lease * 11 // 10, None, self._look, self.back)

    def _look(self, back: int) -> None:
        def served() -> None:
            self.figures["served again"] += 1
            self.times_us.append(self.world.now - back)

        def not_served() -> None:
            self.figures["did not serve again"] += 1
            self.remarks.append(
                f"did not serve within {PROGRESS_US // SECOND} s: {self._describe()}"
            )

        self.when(lambda: self.cluster.primary is not None, served, PROGRESS_US, not_served)

    def run(self) -> Result:
        result = super().run()
        if result.problems and self.figures["did not serve again"]:
            self.remarks += result.problems  # about progress alone: the disks show what is lost
            result.problems[:] = self._lost()
        return result

    def _lost(self) -> list[str]:
        held = [self.entries(member) for member in self.cluster.logs]
        return [
            f"entry {at} was committed and is on no disk"
            for at, chain in self.checkers.committed.items()
            if all(one.get(at) != chain for one in held)
        ]


# --------------------------------------------------------------------------- rot


class BitFlip(Campaign):
    """A bit of one log node's files is flipped under load; the node is killed, loses power or runs
    on. At the end all files check and all logs agree.
    """

    name = "bit-flip"

    def scenario(self) -> None:
        self.world.after(self.rng.randrange(SECOND, 25 * SECOND), None, self._flip)

    def _flip(self) -> None:
        rng = self.rng
        member = self.member = rng.choice(self.cluster.logs)
        member.rotten = True
        how = rng.choice(("its node is killed", "its node loses power", "its node runs on"))
        if how == "its node is killed":
            member.kill()
        elif how == "its node loses power":
            member.lose_power(SECOND)
        where = self._choose(member)
        self.tell(f"a bit of {member.name} is flipped: {where}; {how}")
        kinds = {"meta": "meta", "next": "a spare file"}
        self.figures[f"flipped in {kinds.get(where[:4], 'a segment')}"] += 1
        self.figures[how] += 1
        if how == "its node runs on":
            self.world.after(LOOK_AFTER_US, None, self._still_there)

    def _choose(self, member: LogMember) -> str:
        """Choose among bytes in use, the newest, meta, or any byte of any file."""
        rng, disk = self.rng, member.disk
        draw = rng.random()
        if draw < 0.35:
            return disk.flip_bit(rng)
        if draw < 0.55:
            return disk.flip_bit_at_the_end(rng)
        files = [
            (path, inode)
            for path, inode in sorted(disk._tree.items())
            if inode.data and (draw >= 0.75 or path.name == "meta")
        ]
        path, inode = rng.choice(files)
        return disk._flip(path, inode, rng.randrange(len(inode.data)), rng)

    def _still_there(self) -> None:
        if not self.findings(self.member):
            self.figures["gone while its node ran"] += 1
        else:
            self.member.kill()

    def _phases(self) -> None:
        super()._phases()
        self._until(self.agree, PROGRESS_US, "the log nodes do not agree")
        # damage to unused bytes, after the end of the newest segment: the next start finds it
        if self.findings(self.member):
            self.figures["one more restart"] += 1
            self.member.kill()
            self._until(lambda: not self.member.alive, SECOND, "the node did not end")
            self._until(self.agree, PROGRESS_US, "the log nodes do not agree after a restart")
        for member in self.cluster.logs:
            if found := self.findings(member):
                raise Violation(f"{member.name} is not clean: {'; '.join(found[:3])}")
        self.figures["all files clean, all logs equal"] += 1


class TripleCorrupt(Campaign):
    """The same proven entry rots in all three nodes, and every process starts again.
    No node serves a log with the hole; log nodes name position and file.
    """

    name = "triple-corrupt"
    LOOK_US = 12 * SECOND

    def scenario(self) -> None:
        self.position = 0
        self.world.after(self.rng.randrange(3 * SECOND, 25 * SECOND), None, self._rot)

    def _rot(self) -> None:
        drivers = [member.driver for member in self.cluster.logs]
        proven = min(driver.store._synced_evidence for driver in drivers) if all(drivers) else 0
        if not proven:
            self.world.after(SECOND // 10, None, self._rot)
            return
        # Often near the end: there the nodes know least about what is committed.
        self.position = (
            self.rng.randint(max(1, proven - 3), proven)
            if self.rng.random() < 0.3
            else self.rng.randint(1, proven)
        )
        power = self.rng.random() < 0.5
        for member in [*self.cluster.logs, *self.cluster.engines]:
            if power:
                member.lose_power(self.rng.randrange(100_000, SECOND))
            else:
                member.kill()
        for log in self.cluster.logs:
            log.rotten = True
            self.tell(f"entry {self.position} of {log.name} rots: {self._rot_in(log)}")
        self.figures["power lost everywhere" if power else "every process killed"] += 1
        self._watch_hole()

    def _rot_in(self, member: LogMember) -> str:
        """Flip one bit of the entry or its checksum."""
        log = log_id(bytes.fromhex(GROUP), LOG_NAME)
        firsts = {
            first: path
            for path, _ in self.files_of(member)
            if (first := parse_segment_name(path.name)) is not None
        }
        first = max(first for first in firsts if first <= self.position)
        inode, seed = member.disk._tree[firsts[first]], segment_seed(log, first)
        data = bytes(inode.data)
        at = scan_segment(data, first, None, seed).offsets[self.position - first]
        header = read_frame_header(data, at, seed)
        assert header is not None and header[1] == self.position
        return member.disk._flip(
            firsts[first],
            inode,
            at + FRAME_HEADER_BYTES + self.rng.randrange(header[0] + 4),
            self.rng,
        )

    def _watch_hole(self) -> None:
        """From now on, at each moment: no node gives out the entry or anything after it."""
        for log in self.cluster.logs:
            if (driver := log.driver) is not None and driver._acceptor.readable_upto(
                self.position
            ) >= self.position:
                self._found(f"{log.name} serves entry {self.position}, which rotted everywhere")
        for member in self.cluster.engines:
            if member.node is not None and member.node.follower.position >= self.position:
                self._found(
                    f"{member.name} has come to {member.node.follower.position}, and entry "
                    f"{self.position} rotted everywhere"
                )
        if self.cluster.primary is not None:
            self._found(
                f"{self.cluster.primary.name} serves, and entry {self.position} rotted everywhere"
            )
        if self.world.violation is not None:
            raise self.world.violation
        self.world.after(STEP_US, None, self._watch_hole)

    def _phases(self) -> None:
        self._begin()
        self._until(lambda: self.figures.total() > 0, FAULTS_END_US, "nothing was proven")
        self.world.run(self.world.now + self.LOOK_US)
        for log in self.cluster.logs:
            acceptor = log.driver._acceptor if log.driver is not None else None
            at, reason = (
                _refusal(acceptor) if acceptor is not None else (0, f"down: {log.ended_by}")
            )
            if (
                at != self.position
                or f" {self.position} " not in reason
                or ".seg at " not in reason
            ):
                raise Violation(
                    f"{log.name} does not refuse by name entry {self.position}: "
                    f"{reason or 'no reason'}"
                )
        if not any(
            log.driver._acceptor.broken for log in self.cluster.logs if log.driver is not None
        ):
            raise Violation(f"nobody says that no node has entry {self.position}")
        self.figures["refused, named, by all three"] += 1
        for member in self.cluster.engines:
            if member.node is not None and member.node.roles.stuck:
                self.figures["engine nodes that say why they wait"] += 1

    def _judged(self) -> list[str]:
        return []  # the end state cannot be read: the log refuses it


def _refusal(acceptor: Any) -> tuple[int, str]:
    """The position from which a log node refuses the log, and its reason.
    Either no node has the entry (S5), or the node is suspect (S3). It stays suspect where the
    damage is above what it knows committed: a writer that still holds the entry could repair it.
    """
    if acceptor.broken or acceptor.suspicion is None:
        return acceptor.broken, acceptor.broken_reason
    return acceptor.suspicion.position, acceptor.suspicion.reason


# --------------------------------------------------------------------------- who leads


class Leads(Campaign):
    """Campaigns about leadership, with clocks within the bound."""

    settings = {"broken_clocks": 0}

    def scenario(self) -> None:
        self.when(
            lambda: self.cluster.primary is not None,
            self._has_begun,
            20 * SECOND,
            lambda: self._found("nobody led at the start"),
        )

    def _has_begun(self) -> None:
        leader = self.cluster.primary
        assert leader is not None and leader.node is not None
        self.leader: EngineMember = leader
        self.incarnation: bytes = leader.node.log.incarnation
        self.terms_before = len(self.checkers.primaries)
        self.promised = self._promises()
        self.led()

    def led(self) -> None:
        """Called when the leader is known."""
        raise NotImplementedError

    def _promises(self) -> list[int]:
        return [
            member.driver._acceptor.promise.term if member.driver is not None else 0
            for member in self.cluster.logs
        ]

    def cut(self, pairs: Iterable[tuple[str, str]], for_us: int) -> None:
        self.world.after(for_us, None, self.faults.block(list(pairs)))


class ReplicaPartition(Leads):
    """Links between replicas and log nodes are cut (one way or both), slow, lossy or narrow.
    The primary and its links are whole: it keeps leading.
    """

    name = "replica-partition"
    KINDS = (
        "nothing arrives at the log",
        "nothing arrives at the replica",
        "cut both ways",
        "slow",
        "lossy",
        "narrow",
        "reset",
    )

    def led(self) -> None:
        at = self.world.now
        pace = self.rng.choice((SECOND, 3 * SECOND, 6 * SECOND))
        while (at := at + 1000 + int(self.rng.expovariate(1) * pace)) < FAULTS_END_US:
            lasts = min(
                10_000
                + int(self.rng.expovariate(1) * self.rng.choice((300_000, 2 * SECOND, 6 * SECOND))),
                FAULTS_END_US - at,
            )
            self.world.at(at, None, self._disturb, self.rng.choice(self.KINDS), lasts)

    def _disturb(self, kind: str, lasts: int) -> None:
        rng = self.rng
        replica = rng.choice(
            [member for member in self.cluster.engines if member is not self.leader]
        )
        logs = rng.sample(self.cluster.logs, rng.choice((1, 1, 2, 3, 3)))
        self.tell(
            f"{kind} between {replica.name} and {', '.join(log.name for log in logs)} for "
            f"{lasts / SECOND:g} s"
        )
        self.figures[kind] += 1
        there = [(replica.host, log.host) for log in logs]
        back = [(b, a) for a, b in there]
        links = [self.network.link(*pair) for pair in (there, back, there + back)[rng.randrange(3)]]
        if kind == "nothing arrives at the log":
            self.cut(there, lasts)
        elif kind == "nothing arrives at the replica":
            self.cut(back, lasts)
        elif kind == "cut both ways":
            self.cut(there + back, lasts)
        elif kind == "reset":
            for pair in there:
                self.network.reset_between(*pair, rng.random() < 0.5)
        elif kind == "lossy":
            self._change("loss", links, rng.choice((0.05, 0.3, 0.6)), lasts)
        elif kind == "narrow":
            self._change("narrow", links, 1, lasts)
            self.world.after(
                lasts + 1, None, lambda: [self.network.healed(*pair) for pair in there + back]
            )
        else:
            slower = rng.choice((20_000, 200_000, 800_000, 3_000_000))
            self._change("delay_us", links, slower, lasts)
            self._change("jitter_us", links, slower, lasts)

    def _change(self, what: str, links: list[object], by: float, lasts: int) -> None:
        def change(amount: float) -> None:
            for link in links:
                setattr(link, what, max(0, getattr(link, what) + amount))

        change(by)
        self.world.after(lasts, None, change, -by)

    def _phases(self) -> None:
        super()._phases()
        primary, checkers = self.cluster.primary, self.checkers
        later = [
            term
            for term in checkers.primaries[self.terms_before :]
            if checkers.owners.get(term) != self.incarnation
        ]
        if (
            primary is not self.leader
            or primary.node is None
            or primary.node.log.incarnation != self.incarnation
            or later
        ):
            raise Violation(
                f"{self.leader.name} led and was healthy; now it is "
                f"{primary.name if primary else 'nobody'}, terms of others: {later}"
            )
        if self._promises() != self.promised:
            self.figures["runs in which a promise was asked for and given"] += 1


class PrimaryCut(Leads):
    """The control: the primary is cut off from the log, one way or both.
    Another node leads within the bound.
    """

    name = "primary-cut"

    def led(self) -> None:
        self.world.after(self.rng.randrange(SECOND, 8 * SECOND), None, self._cut_off)

    def _cut_off(self) -> None:
        rng = self.rng
        old = self.cluster.primary or self.leader
        logs = rng.sample(self.cluster.logs, rng.choice((2, 3, 3)))
        there = [(old.host, log.host) for log in logs]
        back = [(b, a) for a, b in there]
        kind, pairs = rng.choice(
            (
                ("nothing arrives at the log", there),
                ("nothing arrives at the primary", back),
                ("cut both ways", there + back),
            )
        )
        self.tell(f"{kind}: {old.name} and {', '.join(log.name for log in logs)}")
        self.figures[f"{kind}, {len(logs)} log nodes"] += 1
        self.cut(pairs, FAULTS_END_US - self.world.now)
        began = self.world.now

        def changed() -> bool:
            return self.cluster.primary not in (None, old)

        def done() -> None:
            self.figures["changes of leadership"] += 1
            self.times_us.append(self.world.now - began)

        self.when(
            changed,
            done,
            CHANGE_WITHIN_US,
            lambda: self._found(
                f"nobody else leads {CHANGE_WITHIN_US / 1e6:g} s after {old.name} was cut off"
            ),
        )

    def _phases(self) -> None:
        super()._phases()
        if not self.figures["changes of leadership"]:
            raise Violation("leadership did not change")


# --------------------------------------------------------------------------- slow disks


class SlowDisks(Leads):
    """On two log nodes each sync takes long; the primary dies or hands over.
    The slow syncs start early or at the primary's end. Another node leads within the bound.
    """

    name = "slow-disks"
    # The bound. A promise takes two syncs after one under way, twice. Then come the entries before
    # it, the first entry of the new term, and a change of segment.
    SYNCS = 12
    LEASES = 5  # also: the window, pauses, an attempt that two candidates made at once

    def led(self) -> None:
        rng = self.rng
        self.sync_us = rng.choice((100, 150, 200, 300, 500, 700, 1000)) * 1000
        self.slow = rng.sample(self.cluster.logs, rng.choice((2, 2, 2, 3)))
        self.how = rng.choice(("killed", "killed", "power", "hand-over"))
        self.early = rng.random() < 0.7
        if self.early:
            self.world.after(rng.randrange(SECOND), None, self._slow_down)
        self.world.after(rng.randrange(2 * SECOND, 12 * SECOND), None, self._end)
        self.world.at(FAULTS_END_US - SECOND, None, self._mend)

    def _mend(self) -> None:
        for log in self.cluster.logs:
            log.disk.sync_us = self.cluster.settings.sync_us
        for member in [*self.cluster.logs, *self.cluster.engines]:
            member.held_down = False
            if not member.alive:
                self.network.gone.discard(member.host)
                member.start()

    def _slow_down(self) -> None:
        self.tell(
            f"a sync takes {self.sync_us // 1000} ms on {', '.join(log.name for log in self.slow)}"
        )
        for log in self.slow:
            log.disk.sync_us = self.sync_us

    def _end(self) -> None:
        old = self.cluster.primary
        if old is None:  # these disks can hardly bear the load: the role may change at this moment
            self.world.after(SECOND // 10, None, self._end)
            return
        if not self.early:
            self._slow_down()
        one_gone = len(self.slow) == 2 and self.rng.random() < 0.3
        if one_gone:  # the quick node too: every promise needs both slow disks
            quick = next(log for log in self.cluster.logs if log not in self.slow)
            quick.held_down = True
            quick.kill()
        self.figures[f"{self.how}, {self.sync_us // 1000} ms"] += 1
        self.figures["one node down"] += int(one_gone)
        if self.how == "hand-over":
            old.terminate()
        else:
            old.held_down = True
            if self.how == "killed":
                old.kill()
            else:
                old.lose_power(60 * SECOND)
        began = self.world.now
        within = self.LEASES * self.cluster.settings.lease_ms * 1000 + self.SYNCS * self.sync_us

        def done() -> None:
            self.figures["changes of leadership"] += 1
            self.times_us.append(self.world.now - began)
            leader = self.cluster.primary
            self.world.after(3 * SECOND, None, self._still, leader, leader.lives if leader else 0)

        self.when(
            lambda: self.cluster.primary not in (None, old),
            done,
            within,
            lambda: self._found(f"nobody else leads {within / 1e6:g} s after {old.name} ended"),
        )

    def _still(self, leader: EngineMember, life: int) -> None:
        """Count whether the new primary keeps its role."""
        self.figures[
            "still led 3 s later"
            if self.cluster.primary is leader and leader.lives == life
            else "another one 3 s later"
        ] += 1

    def _phases(self) -> None:
        super()._phases()
        if not self.figures["changes of leadership"]:
            raise Violation("leadership did not change")


# --------------------------------------------------------------------------- clocks


class BrokenClocks(Campaign):
    """Every machine's clock, engine nodes' too, runs at a rate from a tenth to tenfold.
    The rate changes during the run, under all other faults.
    """

    name = "broken-clocks"
    kinds = tuple(KINDS)
    settings = {"broken_clocks": 1}
    RATES_PPM = (-900_000, -500_000, -60_000, 0, 60_000, 1_000_000, 3_000_000, 9_000_000)

    def scenario(self) -> None:
        for member in [*self.cluster.logs, *self.cluster.engines]:
            self._another_rate(member)
        at = self.world.now
        while (at := at + 1 + int(self.rng.expovariate(1) * 5 * SECOND)) < FAULTS_END_US:
            self.world.at(
                at,
                None,
                self._another_rate,
                self.rng.choice([*self.cluster.logs, *self.cluster.engines]),
            )

    def _another_rate(self, member: LogMember | EngineMember) -> None:
        ppm = self.rng.choice(self.RATES_PPM)
        self.tell(f"the clock of {member.name} runs at {1 + ppm / 1e6:g} of its rate")
        self.figures["rates changed"] += 1
        member.clock.run_at(ppm)

    def _believe_no_lease(self) -> None:
        """Before that, count the runs in which a strong read saw an old state."""
        if judge(self.history):
            self.figures["runs with a stale read"] += 1
        super()._believe_no_lease()


CAMPAIGNS: dict[str, type[Campaign]] = {
    one.name: one
    for one in (
        PowerLoss,
        BitFlip,
        TripleCorrupt,
        ReplicaPartition,
        PrimaryCut,
        SlowDisks,
        BrokenClocks,
    )
}


# --------------------------------------------------------------------------- many runs


@dataclass
class Summary:
    name: str
    runs: int = 0
    failed: list[Outcome] = field(default_factory=list)
    not_served: list[Outcome] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    times_us: list[int] = field(default_factory=list)
    simulated_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.figures += outcome.figures
        self.faults += outcome.result.faults
        self.times_us += outcome.times_us
        self.simulated_s += outcome.result.simulated_s
        self.cpu_s += outcome.result.cpu_s
        if outcome.problems:
            self.failed.append(outcome)
        if outcome.figures["did not serve again"]:
            self.not_served.append(outcome)

    @property
    def holds(self) -> bool:
        served = 1 - len(self.not_served) / max(1, self.runs)
        return self.runs > 0 and not self.failed and served >= CAMPAIGNS[self.name].least_served


def command(name: str, seed: int) -> str:
    return f"make sim CAMPAIGN={name} SEED={seed}"


def one(task: tuple[str, int, bool]) -> Outcome:
    name, seed, trace = task
    return CAMPAIGNS[name](seed, trace).outcome()


def outcomes(name: str, seeds: list[int], processes: int) -> Iterator[Outcome]:
    """The outcomes of all seeds, in any order."""
    tasks = [(name, seed, False) for seed in seeds]
    if processes == 1:
        yield from map(one, tasks)
        return
    with get_context("fork").Pool(processes, maxtasksperchild=25) as pool:
        yield from pool.imap_unordered(one, tasks)


def show(outcome: Outcome, name: str) -> None:
    for text in outcome.problems[:5]:
        print(f"seed {outcome.seed}: FAILED: {text}")
    for text in outcome.remarks[:5]:
        print(f"seed {outcome.seed}: {text}")
    if outcome.problems or outcome.remarks:
        print(f"  again: {command(name, outcome.seed)}", flush=True)


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def campaign(name: str, runs: int, first: int | None, processes: int) -> int:
    first = first if first is not None else random.SystemRandom().randrange(1 << 40)
    print(
        f"campaign {name}: {runs} runs from seed {first}. {(CAMPAIGNS[name].__doc__ or '').strip()}"
    )
    summary, began = Summary(name), time.monotonic()
    for outcome in outcomes(name, [first + number for number in range(runs)], processes):
        summary.add(outcome)
        show(outcome, name)
    took = time.monotonic() - began
    print(
        f"{runs / took * 60:.0f} seeds a minute ({summary.cpu_s / runs:.2f} s of CPU a seed), "
        f"{summary.simulated_s / 3600:.2f} hours simulated"
    )
    print("seen: " + listed(summary.figures))
    print("faults: " + listed(summary.faults))
    if times := sorted(summary.times_us):
        print(
            f"it took {times[len(times) // 2] / 1e6:.2f} s in the middle, "
            f"{times[len(times) * 99 // 100] / 1e6:.2f} s at 99 %, {times[-1] / 1e6:.2f} s at most"
        )
    if CAMPAIGNS[name].least_served:
        print(
            f"served again by itself: {runs - len(summary.not_served)} of {runs} runs; at least "
            f"{100 * CAMPAIGNS[name].least_served:g} % must"
        )
    print(
        f"{len(summary.failed)} of {runs} failed; the condition "
        f"{'holds' if summary.holds else 'DOES NOT HOLD'}"
    )
    return 0 if summary.holds else 1


def main(name: str, seed: int | None, runs: int, first: int | None, trace: bool) -> int:
    """The entry point of `python -m tests.sim --campaign NAME`."""
    if seed is None:
        return campaign(name, runs, first, os.cpu_count() or 1)
    outcome = one((name, seed, trace))
    if outcome.problems and not trace:
        print("\n".join(outcome.result.lines[-60:]))
    show(outcome, name)
    print(
        f"seed {seed}: {'FAILED' if outcome.problems else 'ok'}, digest "
        f"{outcome.result.digest:08x}; {listed(outcome.figures)}"
    )
    sys.stdout.flush()
    return 1 if outcome.problems else 0
