"""One soak from its first process to its verdict.

Decides: the order of steps, how many clients of which kind there are, which checks a run must pass.
Must not know: how a fault is done, how a history is judged. A run with a finding keeps its folder:
data, output of all processes, histories, schedule, report.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.sim.records import EVENTUAL, SESSION, STRONG
from tests.system.cluster import REPOSITORY, scratch
from tests.system.soak.clients import Client, Figures
from tests.system.soak.faults import Done, Faults
from tests.system.soak.network import Network, choose
from tests.system.soak.report import Report
from tests.system.soak.schedule import KINDS, Fault, schedule
from tests.system.soak.watch import Seen, Watch
from tests.system.soak.windows import Windows
from tests.system.soak.zones import Zones, disks_possible
from tests.system.workload import Finder

RESULTS = REPOSITORY / "build" / "soak"
EQUAL_BOUND_S = 60.0
RATE = 400


@dataclass
class Plan:
    seconds: float = 1800.0
    seed: int = 1
    kinds: tuple[str, ...] = tuple(KINDS)
    rate: int = RATE  # operations a second, all clients together, while there is no fault
    window_s: float = 12.0
    groups: int = 8  # groups of keys and clients that share nothing
    writers: int = 24  # clients at the primary; they read too
    strong: int = 8  # readers at replicas
    session: int = 4
    eventual: int = 4
    network: str = "auto"
    faults: tuple[Fault, ...] | None = None  # these replace the faults drawn from the seed

    def levels(self) -> list[tuple[str, bool]]:
        """(level, reads only) of each client."""
        readers = [(STRONG, self.strong), (SESSION, self.session), (EVENTUAL, self.eventual)]
        return [(STRONG, False)] * self.writers + [
            (level, True) for level, count in readers for _ in range(count)
        ]


Say = Callable[[str], None]


async def soak(plan: Plan, say: Say = print) -> Report:
    network, why = choose(plan.network)
    no_disks = disks_possible()
    report = Report(
        begun=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        seed=plan.seed,
        revision=_revision(),
        minutes=plan.seconds / 60,
        network=f"{network.name} ({why})",
        disks=f"on the real disk, none is ever full ({no_disks})"
        if no_disks
        else "one ext4 image a log node",
        clients={
            "writers and readers": plan.writers,
            "strong readers": plan.strong,
            "session readers": plan.session,
            "eventual readers": plan.eventual,
        },
    )
    faults = (
        list(plan.faults)
        if plan.faults is not None
        else schedule(plan.seed, plan.seconds, possible(plan.kinds, network, not no_disks))
    )
    folder = scratch("soak")
    (folder / "schedule.txt").write_text("".join(f"{fault}\n" for fault in faults))
    say(
        f"soak of {plan.seconds / 60:g} minutes, seed {plan.seed}, {len(faults)} faults; network: "
        f"{report.network}; disks: {report.disks}; folder {folder}"
    )
    cluster = Zones(network, folder, disks=not no_disks)
    try:
        await network.open(cluster.log_ports)
        await asyncio.to_thread(cluster.start)
        await _hurt(plan, cluster, network, faults, report, say)
        await _last_looks(cluster, report)
    except BaseException as error:
        report.verdict("the run came to its end", [f"{type(error).__name__}: {error}"])
        raise
    finally:
        await asyncio.to_thread(cluster.stop)
        await network.close()
        if report.passed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            report.kept = f"{folder} (disks/*.img hold the log nodes' folders: mount -o loop)"
            report.save(folder)
        say(report.text())
        say(f"report: {report.save(RESULTS)}")
    return report


def possible(kinds: Iterable[str], network: Network, disks: bool) -> list[str]:
    """The kinds without those that this network and these disks cannot have."""
    return [
        kind
        for kind in kinds
        if (disks or KINDS[kind].group != "disk")
        and (network.cuts_clients or "clients" not in kind)
    ]


async def _hurt(
    plan: Plan, cluster: Zones, network: Network, faults: list[Fault], report: Report, say: Say
) -> None:
    finder = Finder(cluster.addresses())
    figures = Figures()
    windows = Windows(plan.groups, plan.window_s, cluster.root, finder)
    watch, hurting = Watch(cluster), Faults(cluster, network, say)
    over, judged = asyncio.Event(), asyncio.Event()
    levels = plan.levels()
    clients = [
        Client(number, number % plan.groups, windows, finder, figures, plan.seed, level, reads_only)
        for number, (level, reads_only) in enumerate(levels)
    ]
    begun = time.monotonic()
    watching = asyncio.create_task(watch.run(over))
    judging = asyncio.create_task(windows.run(judged))
    telling = asyncio.create_task(_tell(figures, windows, begun, say))
    asking = [asyncio.create_task(client.run(len(levels) / plan.rate, over)) for client in clients]
    breaking = asyncio.create_task(hurting.run(faults, begun))
    tasks = [watching, judging, *asking, breaking]
    try:
        await _until(begun + plan.seconds, tasks)
        await breaking  # everything is healed from here on
        over.set()
        report.minutes = (time.monotonic() - begun) / 60
        await asyncio.gather(*asking, watching)
        judged.set()
        await judging
        report.verdict(
            "journals of earlier windows are as they were judged", await windows.look_at_kept()
        )
    finally:
        over.set()
        telling.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(telling, *tasks, return_exceptions=True)
    _fill(report, figures, windows, hurting.done, watch.seen)


async def _until(end: float, tasks: list[asyncio.Task[None]]) -> None:
    """Sleep until `end`; an error in any of the tasks ends the run."""
    while (left := end - time.monotonic()) > 0:
        done, _ = await asyncio.wait(
            tasks, timeout=min(left, 1.0), return_when=asyncio.FIRST_EXCEPTION
        )
        for task in done:
            task.result()


async def _tell(figures: Figures, windows: Windows, begun: float, say: Say) -> None:
    while True:
        await asyncio.sleep(30)
        good, all_ = figures.outcomes["ok"], sum(figures.outcomes.values())
        found = f"{windows.judged['windows']} windows judged" + (
            f", {len(windows.findings)} FINDINGS" if windows.findings else ""
        )
        minutes = (time.monotonic() - begun) / 60
        say(f"[{minutes:.1f} min] {all_} operations, {good / max(1, all_):.1%} succeeded, {found}")


def _fill(report: Report, figures: Figures, windows: Windows, done: Done, seen: Seen) -> None:
    report.outcomes = dict(figures.outcomes)
    report.errors = dict(figures.errors)
    report.succeeded = {"kind": dict(figures.kinds), "level": dict(figures.levels)}
    kinds = sorted(done.counts | done.skipped)
    report.faults = {
        kind: {
            "count": done.counts[kind],
            "seconds": done.seconds[kind] / 1000,
            "left out": done.skipped[kind],
        }
        for kind in kinds
    }
    report.seen = {
        "role changes": seen.role_changes,
        "longest time without a primary, s": round(seen.longest_without_primary_s, 1),
        "time without a primary in sum, s": round(seen.without_primary_s, 1),
        "longest time without an acknowledged write, s": round(figures.longest_without, 1),
        "full disks that a log node spoke of": done.noticed_full,
        "connections of clients": figures.connections,
    }
    report.judged = dict(windows.judged)
    report.verdict(
        "no lost write, no dirty read, one order of everything, in every window", windows.findings
    )
    report.verdict("everybody was well again after each fault", done.problems)
    report.verdict("nobody ended without a fault", seen.died)
    report.demand_successes()


async def _last_looks(cluster: Zones, report: Report) -> None:
    """Check that all engine nodes have equal states, and all log nodes whole folders."""
    end = time.monotonic() + EQUAL_BOUND_S
    digests: dict[str, str] = {}
    while time.monotonic() < end:
        digests = {
            row.name: await asyncio.to_thread(cluster.digest, row) for row in cluster.engines()
        }
        if len(set(digests.values())) == 1 and all(digests.values()):
            break
        await asyncio.sleep(1.0)
    equal = len(set(digests.values())) == 1 and "" not in digests.values()
    report.verdict("all engine nodes have the same state", [] if equal else [f"{digests}"])
    found = []
    for row in cluster.log_nodes():
        wrong = await asyncio.to_thread(cluster.wait_whole, row, EQUAL_BOUND_S)
        found += [wrong] if wrong else []
    rows = [*cluster.engines(), *cluster.log_nodes()]
    cluster.down |= {row.name for row in rows}
    for row in rows:
        with contextlib.suppress(ProcessLookupError):
            await asyncio.to_thread(cluster.terminate, row, 20.0)
    for row in cluster.log_nodes():
        wrong = await asyncio.to_thread(cluster.verify, row)
        found += [wrong] if wrong else []
    report.verdict("all log nodes are whole, by `txlog status` and `txlog verify`", found)


def _revision() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
