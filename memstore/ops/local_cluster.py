"""The processes of a local cluster: started, watched and stopped in order.

Decides: the order of starting and stopping, when a dead process is started again, what a request of
another terminal does.
Must not know: terms, leases, positions. It learns the roles by asking the nodes (`role_reports`
reports them). Nothing here is needed for safety.

Order: log nodes, then the group (once for a folder), then engine nodes. The engine node on
``--port`` starts first, so that it becomes the primary. Stopping: replicas, then the primary, then
log nodes. When the primary stops, no replica is left for a hand-over, so it does not wait.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

from memstore.ops.member import RESTART_MS, Member
from memstore.ops.node_requests import take_requests
from memstore.ops.processes import Child, find, last_line
from memstore.ops.resp_client import NoAnswer, RespClient
from memstore.ops.role_reports import RoleReports
from memstore.ops.topology import DEFAULT_FOLDER, HOST, Folder, Plan, Process
from memstore.ops.upgrade import compile_and_move
from txlog.tools.admin import AdminError, init_group

CHECK_MS: Final = 100  # between two checks of the processes
POLL_MS: Final = 200  # between two requests to a node
START_MS: Final = 30_000  # a new process must listen within this time
# if data of an earlier run exists, the others wait at most this long for the node on --port
FIRST_MS: Final = 4000
STOP_MS: Final = 10_000  # after this time a process that was asked to stop is killed
RESTART_MS_MAX: Final = 8000
# a process that lived this long is next restarted after the shortest pause
STEADY_MS: Final = 10_000

Say = Callable[[str], None]


class LocalCluster:
    def __init__(
        self, plan: Plan, folder: Folder, processes: list[Process], say: Say, password: str = ""
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._members = [Member(process, password) for process in processes]
        self._reports = RoleReports(say)
        self._topology_failed = False
        self._watchers: list[asyncio.Task[None]] = []
        self._upgrade: asyncio.Task[None] | None = None
        self._password = password
        self._stops: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._signalled = False  # a signal asked it to stop
        self._hurry = False

    # ----------------------------------------------------------------- start

    async def run(self) -> int:
        """Run until a signal or a failed start. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        try:
            self._write_topology()
            started = await self._start_all()
            await self._stop.wait() if started else None
            for watcher in self._watchers:
                if watcher.done():
                    watcher.result()  # it never ends by itself: raise the error that ended it
            return 0 if started or self._signalled else 1
        finally:
            tasks = [*self._watchers, *self._stops, *([self._upgrade] if self._upgrade else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop_all()

    def _watch(self, what: Coroutine[None, None, None]) -> None:
        watcher = asyncio.create_task(what)
        watcher.add_done_callback(lambda _: self._stop.set())
        self._watchers.append(watcher)

    def _on_signal(self) -> None:
        self._hurry = self._signalled
        self._signalled = True
        self._stop.set()

    async def _start_all(self) -> bool:
        for member in self.logs:
            self._start(member)
        fresh = self._folder.fresh
        if not await self._logs_up(fresh) or (fresh and not await self._make_group()):
            return False
        self._watch(self._watch_processes())
        first, *others = self.engines
        self._start(first)
        self._watch(self._poll_node(first))
        if not await self._listening([first]):
            return False
        # In a fresh folder the others wait until the node on --port is the primary. In an old
        # folder that node may have much to restore, so they wait only a short time.
        led = await self._wait(
            lambda: first.role == "primary",
            [first],
            START_MS if fresh else FIRST_MS,
            quiet=not fresh,
        )
        if not led and (fresh or self._stop.is_set()):
            return False
        for member in others:
            self._start(member)
            self._watch(self._poll_node(member))
        if not await self._listening(others):
            return False
        await self._wait(lambda: all(serves(member) for member in others), others, FIRST_MS, True)
        await self._wait(lambda: "memstore_compiled" in first.facts, [first], quiet=True)
        if self._plan.compile_command:
            self._upgrade = asyncio.create_task(self._compile_and_move())
            await asyncio.sleep(0)  # lets it print first, so that the line below is the last one
        self._say_ready(first)
        return True

    def _say_ready(self, first: Member) -> None:
        ports = ", ".join(str(member.process.port) for member in self.engines)
        build = {"1": "compiled", "0": "interpreted"}.get(
            first.facts.get("memstore_compiled", ""), "build unknown"
        )
        self._say(
            f"engine nodes on {HOST}, ports {ports} ({build}); data in {self._plan.folder}; "
            "Ctrl-C stops everything"
        )

    def _start(self, member: Member) -> None:
        process = member.process
        trace = self._folder.open_trace(process)
        try:
            member.child = Child.start(process, trace)
        finally:
            os.close(trace)
        member.started = time.monotonic()
        member.role, member.facts, member.silent, member.note, member.progress = (
            "",
            {},
            False,
            "",
            (0.0, 0),
        )
        process.pid = member.child.pid
        self._write_topology()

    async def _logs_up(self, fresh: bool) -> bool:
        """A new group needs all of them. An existing group needs a majority: one damaged log node
        does not keep the shard from serving.
        """
        if fresh:
            return await self._listening(self.logs)
        up = [member for member in self.logs if await self._listening([member])]
        if self._stop.is_set():
            return False
        missing = ", ".join(member.process.name for member in self.logs if member not in up)
        if len(up) < len(self.logs) // 2 + 1:
            self._say(
                f"only {len(up)} of {len(self.logs)} log nodes are up, and "
                f"{len(self.logs) // 2 + 1} are needed: {missing} cannot start"
            )
            return False
        if missing:
            self._say(f"going on with {len(up)} of {len(self.logs)} log nodes, without {missing}")
        return True

    async def _listening(self, members: list[Member]) -> bool:
        return await self._wait(
            lambda: all(connectable(member.process) for member in members), members
        )

    async def _wait(
        self,
        ready: Callable[[], bool],
        members: list[Member],
        within_ms: int = START_MS,
        quiet: bool = False,
    ) -> bool:
        """Whether ``ready`` became true. False if one of ``members`` ends (a line says why), at a
        signal, or when the time is over (with a line, unless ``quiet``).
        """
        deadline = time.monotonic() + within_ms / 1000
        while not ready():
            for member in members:
                ended = member.child.ended() if member.child else None
                if ended is not None:
                    self._say(
                        f"{member.process.name} {ended} at start: "
                        f"{await last_line(Path(member.process.trace)) or 'it said nothing'}"
                    )
                    member.child, member.process.pid = None, None
                    return False
            if time.monotonic() > deadline:
                names = ", ".join(member.process.name for member in members)
                if not quiet:
                    self._say(
                        f"{names}: not ready after {within_ms // 1000} s; see "
                        f"{self._folder.path / 'logs'}"
                    )
                return False
            try:
                await asyncio.wait_for(self._stop.wait(), 0.05)
                return False
            except TimeoutError:
                continue  # the usual case: no signal in this short time
        return True

    async def _make_group(self) -> bool:
        """As `txlog init` does, once for a folder. The start of the cluster must not give a node
        that lost its data its identity back.
        """
        try:
            await init_group([(member.process.host, member.process.port) for member in self.logs])
        except (AdminError, OSError, TimeoutError) as error:
            self._say(f"the log nodes cannot be made a group: {error}")
            return False
        self._folder.group_made()
        return True

    # ----------------------------------------------------------------- watching

    @property
    def logs(self) -> list[Member]:
        return [member for member in self._members if member.process.kind == "log"]

    @property
    def engines(self) -> list[Member]:
        return [member for member in self._members if member.process.kind == "engine"]

    async def _watch_processes(self) -> None:
        while True:
            for verb, name in take_requests(self._folder.path):
                self._on_request(verb, name)
            for member in self._members:
                if member.stopping:
                    continue  # `restart` or `_stop_by_request` ends it
                if member.child is not None:
                    ended = member.child.ended()
                    if ended is not None:
                        await self._on_ended(member, ended)
                elif member.started:
                    self._revive(member)
            self._reports.on_logs(self.logs, time.monotonic())
            await asyncio.sleep(CHECK_MS / 1000)

    async def _on_ended(self, member: Member, ended: str) -> None:
        if time.monotonic() - member.started > STEADY_MS / 1000:
            member.pause_ms = RESTART_MS
        process = member.process
        was = f" (it was {member.role})" if member.role else ""
        words = await last_line(Path(process.trace)) if "exit code" in ended else ""
        hint = "" if self._plan.restart else self._start_hint(member)
        self._say(f"{process.name} {ended}{was}{': ' + words if words else ''}{hint}")
        member.child, member.role, process.pid = None, "", None
        member.client.close()
        member.started = time.monotonic()
        self._write_topology()

    def _revive(self, member: Member) -> None:
        """A dead process: adopt the one that another program started, or start it."""
        pid = find(member.process.command)
        if pid is not None:
            member.child = Child(pid, None)
            member.started = time.monotonic()
            member.process.pid = pid
            self._write_topology()
            self._say(f"{member.process.name} runs again (pid {pid}, started by another program)")
        elif member.held:
            return  # stopped by hand
        elif self._plan.restart and (time.monotonic() - member.started) * 1000 >= member.pause_ms:
            member.pause_ms = min(2 * member.pause_ms, RESTART_MS_MAX)
            self._start(member)
            self._say(f"{member.process.name} started again (pid {member.process.pid})")

    # ----------------------------------------------------------------- requests

    def _start_hint(self, member: Member) -> str:
        return f"; start it again: {start_command(self._folder.path, member.process.name)}"

    def _on_request(self, verb: str, name: str) -> None:
        """Handle `memstore local start` and `stop` of another terminal."""
        found = [member for member in self._members if member.process.name == name]
        if not found or found[0].stopping:
            return  # the requesting command has already checked the names
        (member,) = found
        if verb == "stop" and member.child is not None:
            member.held = member.stopping = True
            self._watch_one_stop(member)
        elif verb == "start" and member.child is None:
            member.held = False
            self._start(member)
            self._say(f"{name} started (pid {member.process.pid})")

    def _watch_one_stop(self, member: Member) -> None:
        task = asyncio.create_task(self._stop_by_request(member))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    async def _stop_by_request(self, member: Member) -> None:
        try:
            await self._stop_some([member])
            member.role, member.started = "", time.monotonic()
            self._say(f"{member.process.name} stopped{self._start_hint(member)}")
        finally:
            member.stopping = False

    async def _poll_node(self, member: Member) -> None:
        """Ask an engine node for its role, repeatedly."""
        while True:
            if member.child is not None:
                try:
                    (answer,) = await member.client.ask(("INFO", "server", "replication", "log"))
                except NoAnswer as error:
                    self._reports.on_no_answer(member, error)
                else:
                    self._reports.on_answer(member, answer)
            await asyncio.sleep(POLL_MS / 1000)

    def _write_topology(self) -> None:
        try:
            self._folder.write_topology([member.process for member in self._members])
            self._topology_failed = False
        except OSError as error:
            # Log nodes survive a full disk, so it must not end the cluster.
            if not self._topology_failed:
                self._say(f"topology.json is out of date, it cannot be written: {error.strerror}")
            self._topology_failed = True

    # ----------------------------------------------------------------- the compiled build

    async def _compile_and_move(self) -> None:
        assert self._plan.compiled_tree is not None
        log = self._folder.path / "logs" / "compile.log"
        try:
            await compile_and_move(
                self,
                self._plan.compile_command,
                self._plan.compiled_tree.absolute(),
                log,
                self._say,
            )
        except Exception as error:  # the cluster goes on interpreted
            self._say(f"the move to the compiled build ends here: {error!r}")

    def resp_client(self, member: Member, timeout_ms: int) -> RespClient:
        return RespClient(member.process.host, member.process.port, self._password, timeout_ms)

    async def restart(self, member: Member, cwd: str) -> bool:
        """Stop the process in order and start it with the code in ``cwd``. Returns whether it
        listens.
        """
        member.stopping = True
        try:
            await self._stop_some([member])
            if self._stop.is_set():
                return False
            member.process.cwd = cwd
            self._start(member)
            return await self._listening([member])
        finally:
            member.stopping = False

    # ----------------------------------------------------------------- stop

    async def _stop_all(self) -> None:
        if any(member.child is not None for member in self._members):
            self._say("stopping: engine nodes, then log nodes; Ctrl-C again kills them")
        await self._stop_some([member for member in self.engines if member.role != "primary"])
        await self._stop_some(self.engines)
        await self._stop_some(self.logs)
        self._say("stopped")

    async def _stop_some(self, members: list[Member]) -> None:
        living = [member for member in members if member.child is not None]
        for member in living:
            assert member.child is not None
            member.child.signal(signal.SIGTERM)
            # a suspended process takes no other signal
            member.child.signal(signal.SIGCONT)
        deadline = time.monotonic() + STOP_MS / 1000
        while living and time.monotonic() < deadline and not self._hurry:
            await asyncio.sleep(0.02)
            living = self._running_of(living)
        for member in living:
            assert member.child is not None
            why = (
                "killed at the second signal"
                if self._hurry
                else f"killed: it did not stop within {STOP_MS // 1000} s"
            )
            self._say(f"{member.process.name} {why}")
            member.child.signal(signal.SIGKILL)
        while living:
            await asyncio.sleep(0.01)
            living = self._running_of(living)
        self._write_topology()

    def _running_of(self, members: list[Member]) -> list[Member]:
        living = []
        for member in members:
            if member.child is not None and member.child.ended() is None:
                living.append(member)
            else:
                member.child, member.process.pid = None, None
                member.client.close()
        return living


def serves(member: Member) -> bool:
    return member.role in ("primary", "replica")


def connectable(process: Process) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((process.host, process.port)) == 0


def start_command(folder: Path, name: str) -> str:
    """The shell line that starts ``name`` again. It is short if the folder has its usual name and
    the program is in the same place: the user types such a line there.
    """
    program = Path(sys.executable).with_name("memstore")
    words = [str(program)] if program.exists() else [sys.executable, "-m", "memstore"]
    beside = folder.name == DEFAULT_FOLDER and program.is_relative_to(folder.parent)
    if beside and len(words) == 1:
        return shlex.join([str(program.relative_to(folder.parent)), "local", "start", name])
    return shlex.join([*words, "local", "start", name, "--dir", str(folder)])
