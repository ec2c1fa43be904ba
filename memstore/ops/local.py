"""`memstore local`: three log nodes and an engine node a zone on this machine, as separate
processes, watched from the foreground.

Decides: the order of starting and stopping, what is told as an event, when a dead process is
started again.
Must not know: terms, leases, positions; it learns roles as anybody does, by asking the nodes. What
it starts are ordinary commands (topology.json lists them): nothing here is needed for safety.

Order: log nodes, then the group (once a folder), then engine nodes, the one on ``--port`` first, so
that it becomes the primary. Stopping goes the other way round: replicas, the primary (which then
has nobody to hand over to and need not wait), log nodes last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

from memstore.ops.member import RESTART_MS, Member
from memstore.ops.processes import Child, find, last_line
from memstore.ops.resp_client import NoAnswer, RespClient, parse_info
from memstore.ops.topology import HOST, Folder, LocalError, Plan, Process, plan_processes
from memstore.ops.upgrade import compile_and_move
from txlog.tools.admin import AdminError, init_group

CHECK_MS: Final = 100  # between two looks at the processes
POLL_MS: Final = 200  # between two questions to a node
START_MS: Final = 30_000  # until a new process listens
# until the others start beside the node on --port, where there is data from an earlier run
FIRST_MS: Final = 4000
STOP_MS: Final = 10_000  # until a process that was told to stop is killed
RESTART_MS_MAX: Final = 8000
STEADY_MS: Final = 10_000  # a process that lived this long starts over with the shortest pause

Say = Callable[[str], None]


class LocalCluster:
    def __init__(
        self, plan: Plan, folder: Folder, processes: list[Process], say: Say, password: str = ""
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._members = [Member(process, password) for process in processes]
        self._primary = ""
        self._topology_failed = False
        self._watchers: list[asyncio.Task[None]] = []
        self._upgrade: asyncio.Task[None] | None = None
        self._password = password
        self._stop = asyncio.Event()
        self._signalled = False  # to stop, by a signal
        self._hurry = False

    # ----------------------------------------------------------------- start

    async def run(self) -> int:
        """Until a signal or a failed start. The exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        try:
            self._write_topology()
            started = await self._start_all()
            if started and self._plan.compile_command:
                self._upgrade = asyncio.create_task(self._compile_and_move())
            await self._stop.wait() if started else None
            for watcher in self._watchers:
                if watcher.done():
                    watcher.result()  # it never ends by itself: raise what ended it
            return 0 if started or self._signalled else 1
        finally:
            tasks = [*self._watchers, *([self._upgrade] if self._upgrade else [])]
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
        # The node on --port leads: always where the folder is fresh; where it has much to restore
        # first, the others do not wait for it.
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
        ports = ", ".join(str(member.process.port) for member in self.engines)
        await self._wait(lambda: "memstore_compiled" in first.facts, [first], quiet=True)
        build = {"1": "compiled", "0": "interpreted"}.get(
            first.facts.get("memstore_compiled", ""), "build unknown"
        )
        self._say(
            f"engine nodes on {HOST}, ports {ports} ({build}); data in {self._plan.folder}; "
            "Ctrl-C stops everything"
        )
        return True

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
        """A new group needs all of them, a group that is there a majority: what keeps the others
        away was said, and must not keep the shard away.
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
        """Until ``ready``, or one of ``members`` ends (said why), or a signal, or the time is over
        (said, unless ``quiet``).
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
                continue  # the usual case: no signal in this short while
        return True

    async def _make_group(self) -> bool:
        """As `txlog init` does, once a folder: a node that lost its data must not get an identity
        again just because the cluster starts.
        """
        try:
            await init_group([(member.process.host, member.process.port) for member in self.logs])
        except (AdminError, OSError, TimeoutError) as error:
            self._say(f"the log nodes could not be made a group: {error}")
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
            for member in self._members:
                if member.stopping:
                    continue  # `restart` ends it and looks after it
                if member.child is not None:
                    ended = member.child.ended()
                    if ended is not None:
                        await self._on_ended(member, ended)
                elif member.started:
                    self._revive(member)
            await asyncio.sleep(CHECK_MS / 1000)

    async def _on_ended(self, member: Member, ended: str) -> None:
        if time.monotonic() - member.started > STEADY_MS / 1000:
            member.pause_ms = RESTART_MS
        process = member.process
        was = f" (it was {member.role})" if member.role else ""
        words = await last_line(Path(process.trace)) if "exit code" in ended else ""
        self._say(f"{process.name} {ended}{was}{': ' + words if words else ''}")
        member.child, member.role, process.pid = None, "", None
        member.client.close()
        member.started = time.monotonic()
        self._write_topology()
        if self._primary == process.name:
            self._primary = ""

    def _revive(self, member: Member) -> None:
        """A dead process: has a tool started it again, or is it our turn to?"""
        pid = find(member.process.command)
        if pid is not None:
            member.child = Child(pid, None)
            member.started = time.monotonic()
            member.process.pid = pid
            self._write_topology()
            self._say(f"{member.process.name} runs again (pid {pid}, started by somebody else)")
        elif self._plan.restart and (time.monotonic() - member.started) * 1000 >= member.pause_ms:
            member.pause_ms = min(2 * member.pause_ms, RESTART_MS_MAX)
            self._start(member)
            self._say(f"{member.process.name} started again (pid {member.process.pid})")

    async def _poll_node(self, member: Member) -> None:
        """Ask an engine node for its role again and again, and tell what changed."""
        while True:
            if member.child is not None:
                try:
                    (answer,) = await member.client.ask(("INFO", "server", "replication", "log"))
                except NoAnswer as error:
                    self._on_silence(member, error)
                else:
                    self._on_answer(member, answer)
            await asyncio.sleep(POLL_MS / 1000)

    def _on_silence(self, member: Member, error: NoAnswer) -> None:
        if (
            member.silent
            or not member.role
            or member.child is None
            or member.child.ended() is not None
        ):
            return  # said already, not up yet, or dead: the process's end is its own line
        member.silent = True
        self._say(f"{member.process.name} is silent: {error}")

    def _on_answer(self, member: Member, answer: object) -> None:
        name = member.process.name
        if member.silent:
            member.silent = False
            self._say(f"{name} answers again")
        if not isinstance(answer, bytes):
            if member.note != str(answer):
                member.note = str(answer)
                self._say(f"{name}: {answer}")
            return
        member.facts = parse_info(answer)
        role = member.facts.get("memstore_role") or member.facts.get("role", "")
        if role == "restoring":
            self._on_restoring(member)
        if role == member.role:
            return
        before, member.role = member.role, role
        if role == "restoring" and not before:
            return  # every node starts so; it is told when it takes long
        if role == "primary":
            self._primary = name
            term = member.facts.get("log_term", "")
            self._say(
                f"{name} is the primary now{f', term {term}' if term else ''}: redis-cli -p "
                f"{member.process.port}"
            )
            return
        if self._primary == name:
            self._primary = ""
        self._say(f"{name}: {before + ' -> ' if before else ''}{role}")

    def _on_restoring(self, member: Member) -> None:
        """Once a second, how far it is and how fast."""
        done, target = (
            int(member.facts.get(name, "0")) for name in ("log_applied", "log_restore_target")
        )
        now, (then, before) = time.monotonic(), member.progress
        if done < before or not then:
            member.progress = now, done
        elif now - then >= 1 and done < target:
            rate = int((done - before) / (now - then))
            member.progress = now, done
            self._say(
                f"{member.process.name} is restoring: {done:,} of {target:,} entries, {rate:,} a "
                "second"
            )

    def _write_topology(self) -> None:
        try:
            self._folder.write_topology([member.process for member in self._members])
            self._topology_failed = False
        except OSError as error:
            # A full disk is the log nodes' business, which survive it; it must not end them.
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
        except Exception as error:  # the cluster serves without it
            self._say(f"the move to the compiled build ends here: {error!r}")

    def resp_client(self, member: Member, timeout_ms: int) -> RespClient:
        return RespClient(member.process.host, member.process.port, self._password, timeout_ms)

    async def restart(self, member: Member, cwd: str) -> bool:
        """End the process in order and start it with the code in ``cwd``; whether it listens."""
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
            self._say("stopping: engine nodes, then log nodes")
        await self._stop_some([member for member in self.engines if member.role != "primary"])
        await self._stop_some(self.engines)
        await self._stop_some(self.logs)
        self._say("stopped")

    async def _stop_some(self, members: list[Member]) -> None:
        living = [member for member in members if member.child is not None]
        for member in living:
            assert member.child is not None
            member.child.signal(signal.SIGTERM)
            # one that somebody stopped could not hear the other
            member.child.signal(signal.SIGCONT)
        deadline = time.monotonic() + STOP_MS / 1000
        while living and time.monotonic() < deadline and not self._hurry:
            await asyncio.sleep(0.02)
            living = self._running_of(living)
        for member in living:
            assert member.child is not None
            self._say(f"{member.process.name} does not stop: killed")
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


def connectable(process: Process) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((process.host, process.port)) == 0


def check_ports(processes: list[Process]) -> None:
    """Every port free, before anything starts. Raises `LocalError`."""
    owners: dict[int, str] = {}
    for process in processes:
        if not 0 < process.port < 65536:
            raise LocalError(
                f"{process.name} would need port {process.port}, which does not exist: choose a "
                "lower --port or --log-port",
                2,
            )
        if process.port in owners:
            raise LocalError(
                f"{process.name} and {owners[process.port]} would both use port {process.port}: "
                "choose --port and --log-port further apart",
                2,
            )
        owners[process.port] = process.name
    for process in processes:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((process.host, process.port))
            except OSError as error:
                option = "--log-port" if process.kind == "log" else "--port"
                raise LocalError(
                    f"port {process.port} for {process.name} is taken "
                    f"({os.strerror(error.errno or 0)}): stop what uses it, or choose {option}"
                ) from None


def check_data(folder: Folder, processes: list[Process], say: Say) -> None:
    for process in processes:
        if not folder.fresh and process.data and not Path(process.data).exists():
            say(
                f"{process.name} has lost its data folder: it starts empty, belongs to no group "
                "and does not vote"
            )


def run(plan: Plan, say: Say, password: str = "") -> int:
    """Start the cluster and stay until Ctrl-C. Raises `LocalError` before anything was started; the
    exit code after.
    """
    folder = Folder.open(plan)
    try:
        processes = plan_processes(plan, folder)
        check_ports(processes)
        check_data(folder, processes, say)
        return asyncio.run(LocalCluster(plan, folder, processes, say, password).run())
    finally:
        folder.close()
