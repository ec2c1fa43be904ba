"""Moves a serving local cluster from the interpreted to the compiled build: compile in the
background, then move the processes one by one.

Decides: the order of the move, when a process counts as good again, what happens when the compiler
or a compiled process fails.
Must not know: how modules are compiled (a command does it), how processes are started and watched.

Order: log nodes one at a time, each only while all are good; then replicas; the primary last, by
MEMSTORE HANDOVER. At the end its role goes back to it.
Invariants: the move takes down at most one process at a time. A process that fails goes back to its
old code, and the rest is not moved.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import hiredis

from memstore.ops.member import Member
from memstore.ops.processes import last_line, make_die_with_parent
from memstore.ops.resp_client import NoAnswer, RespClient
from txlog.tools.admin import ask_status

LOOK_S: Final = 0.1  # between two checks of the nodes
# a restarted process must be good within this time: an engine node replays its log
GOOD_S: Final = 600.0
HANDOVER_MS: Final = 15_000  # MEMSTORE HANDOVER must be answered within this time
HANDOVERS: Final = 5  # tries
PAUSE_S: Final = 1.0  # between two tries
END_S: Final = 5.0  # after this time a compiler that was asked to stop is killed

Say = Callable[[str], None]


class MovableCluster(Protocol):
    """What the move uses of a running cluster."""

    @property
    def logs(self) -> list[Member]: ...

    @property
    def engines(self) -> list[Member]: ...

    async def restart(self, member: Member, cwd: str) -> bool:
        """End the process in order and start it with the code in ``cwd``; whether it listens."""

    def resp_client(self, member: Member, timeout_ms: int) -> RespClient: ...


class MoveError(Exception):
    """The move stops here; the text is one line."""


async def compile_and_move(
    cluster: MovableCluster, command: list[str], tree: Path, log: Path, say: Say
) -> None:
    say(
        f"the hot modules are compiled in the background (log: {log}); make run COMPILED=0 turns "
        "this off"
    )
    began = time.monotonic()
    code = await run_quietly(command, log)
    if code != 0:
        words = await last_line(log) or f"{command[0]} ended with exit code {code} and said nothing"
        say(f"the hot modules are not compiled: {words}; the nodes stay interpreted (log: {log})")
        return
    say(
        f"compiled after {time.monotonic() - began:.0f} s: the nodes move to the compiled build, "
        "one by one"
    )
    try:
        await Move(cluster, str(tree), say).run()
    except MoveError as error:
        say(f"the move to the compiled build ends here: {error}")


async def run_quietly(command: list[str], log: Path) -> int:
    """Run ``command`` at the lowest priority and return its exit code. When this program ends, the
    command ends too, with everything that it started.
    """
    idle = ["nice", "-n", "19"] if shutil.which("nice") else []
    if shutil.which("ionice"):
        idle += ["ionice", "-c", "3"]
    with open(log, "wb") as out:
        try:
            child = await asyncio.create_subprocess_exec(
                *idle,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=make_die_with_parent(),
            )
        except OSError as error:
            out.write(f"{command[0]} cannot be started: {error.strerror}\n".encode())
            return 1
    try:
        return await child.wait()
    finally:
        if child.returncode is None:
            await end_group(child)


async def end_group(child: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            await asyncio.wait_for(child.wait(), END_S)
        except ProcessLookupError:
            return  # the whole group ended by itself
        except TimeoutError:
            continue  # SIGKILL next


class Move:
    def __init__(self, cluster: MovableCluster, tree: str, say: Say) -> None:
        self._cluster = cluster
        self._tree = tree
        self._say = say

    async def run(self) -> None:
        cluster = self._cluster
        leader = await self._until_engines_good()
        for member in cluster.logs:
            await self._until_logs_good()
            await self._move(member)
            # A lease that the log node granted before it ended may still be open. After two leases
            # only a renewed lease can be open.
            await asyncio.sleep(2 * int(leader.facts.get("lease_ms", "0")) / 1000)
            await self._until_logs_good()
            self._say(f"{member.process.name} runs compiled")
        for member in [*(other for other in cluster.engines if other is not leader), leader]:
            if member.role == "primary" and not await self._hand_over(member, None):
                raise MoveError(
                    f"{member.process.name} is the only engine node, so it stays interpreted "
                    "until the next start"
                )
            await self._move(member)
            await self._until_engines_good()
            if member.facts.get("memstore_compiled") != "1":
                raise MoveError(
                    f"{member.process.name} was started in {self._tree} and runs interpreted all "
                    "the same"
                )
            self._say(f"{member.process.name} runs compiled")
        primary = await self._until_engines_good()
        if primary is not leader:
            await self._hand_over(primary, leader)
        self._say("every node runs compiled now")

    async def _move(self, member: Member) -> None:
        """Move one process. Before a `MoveError` it restarts the process with its old code."""
        before = member.process.cwd
        if before == self._tree:
            return
        if await self._cluster.restart(member, self._tree):
            return
        name = member.process.name
        self._say(f"{name} does not run compiled; it goes back to the interpreted code")
        if not await self._cluster.restart(member, before):
            raise MoveError(f"{name} does not start interpreted either; see {member.process.trace}")
        raise MoveError(f"{name} does not run compiled; see {member.process.trace}")

    async def _until(self, what: str, ready: Callable[[], object | None]) -> None:
        deadline = time.monotonic() + GOOD_S
        while not ready():
            if time.monotonic() > deadline:
                raise MoveError(f"{what} after {GOOD_S:.0f} s")
            await asyncio.sleep(LOOK_S)

    async def _until_engines_good(self) -> Member:
        """Wait until there is one primary and all others are replicas. Returns the primary."""

        def roles() -> list[str]:
            return sorted(
                member.role if member.child is not None else "" for member in self._cluster.engines
            )

        await self._until(
            "engine nodes are not good",
            lambda: roles() == ["primary", *["replica"] * (len(self._cluster.engines) - 1)],
        )
        return next(member for member in self._cluster.engines if member.role == "primary")

    async def _until_logs_good(self) -> None:
        """Wait until all log nodes answer and no log is damaged. Each must hold what was committed
        at the first check, and the primary must have its lease from each.
        """
        addresses = [(member.process.host, member.process.port) for member in self._cluster.logs]
        deadline = time.monotonic() + GOOD_S
        goals: dict[str, int] = {}
        while True:
            nodes = [node.status for node in await ask_status(addresses)]
            found = [status for status in nodes if status is not None]
            rows = [{row["log"]: row for row in status["logs"]} for status in found]
            if not goals:
                goals = {
                    name: max(mine[name]["committed"] for mine in rows if name in mine)
                    for name in {name for mine in rows for name in mine}
                }
            good = len(found) == len(addresses) and all(
                name in mine and is_good(mine[name], goal)
                for mine in rows
                for name, goal in goals.items()
            )
            good = good and any(
                connected_to_all(member, len(addresses)) for member in self._cluster.engines
            )
            if good:
                return
            if time.monotonic() > deadline:
                raise MoveError(
                    f"log nodes are not good after {GOOD_S:.0f} s; see 'memstore status'"
                )
            await asyncio.sleep(LOOK_S)

    async def _hand_over(self, primary: Member, to: Member | None) -> bool:
        """Whether there is a node to hand over to. Raises `MoveError` if the hand-over failed."""
        if len(self._cluster.engines) == 1:
            return False
        words = ["MEMSTORE", "HANDOVER", *([f"{to.process.host}:{to.process.port}"] if to else [])]
        why = ""
        for _ in range(HANDOVERS):
            client = self._cluster.resp_client(primary, HANDOVER_MS)
            try:
                (answer,) = await client.ask(tuple(words))
                if not isinstance(answer, hiredis.ReplyError):
                    await self._until(
                        f"{primary.process.name} has handed over and is primary",
                        lambda: primary.role not in ("", "primary"),
                    )
                    await self._until_engines_good()
                    return True
                why = str(answer)
            except NoAnswer as error:
                why = str(error)
            finally:
                client.close()
            await asyncio.sleep(PAUSE_S)
            if primary.role != "primary":
                await self._until_engines_good()
                return True  # another node leads already
        raise MoveError(f"{primary.process.name} does not hand over: {why}")


def is_good(row: dict[str, object], goal: int) -> bool:
    """Whether one log of a log node is good: it holds everything up to ``goal``, is not damaged,
    and a primary has its lease from it.
    """
    last = row["last"]
    assert isinstance(last, list)
    return (
        int(last[1]) >= goal
        and bool(row["window_left_ms"])
        and not any(row.get(trouble) for trouble in ("broken", "suspect", "holes", "disk_full"))
    )


def connected_to_all(member: Member, nodes: int) -> bool:
    """Whether this is a primary that is connected to each log node."""
    links = [member.facts.get(f"log_node{number}", "") for number in range(nodes)]
    return member.role == "primary" and all(",connected=1," in link for link in links)
