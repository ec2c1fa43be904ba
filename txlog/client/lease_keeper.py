"""L7, the loop's side: its beat, the lease keeper's process, and the renewals of that process while
the loop stood still.

Decides: that the loop stood still and for how long; when the process is started again.
Must not know: the proposer beyond what `Writer` offers. The process renews the lease while the loop
is inside one long command. `txlog.lease_keeper.board` says what the two sides exchange and why it
is safe. Everything in this module runs in the loop's thread, so no other thread changes a lease.

An embedded log has no process. Its folder is locked and it has one writer, in this process, so no
other process can seal: a lease is valid after any stand-still.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

import txlog
from txlog.client.members import HostPort
from txlog.lease_keeper.board import Answers, Board, RenewalOrder

if TYPE_CHECKING:
    from txlog.client.client import LogClient
    from txlog.client.writer import Writer

BEAT_S: Final = 0.05
_POLITE: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_FIRST_WAIT_US: Final = 200_000  # before an ended process is started again; doubled each time
_LONGEST_WAIT_US: Final = 30_000_000
_LIVED_US: Final = 10_000_000  # a process that lived this long starts again at the first wait
_STOOD_US: Final = 125_000  # without a writer: a tick so late means that the loop stood still
_CHECK_US: Final = 500_000  # between two checks whether the process lives
# After so many checks in a row without a new beat, the process counts as hung. The limit counts
# checks and not time, because the machine may have slept.
_SILENT_CHECKS: Final = 4
_STARTING_CHECKS: Final = 20  # the same limit while it starts
_LAST_WAIT_S: Final = 0.1  # for the end of a killed process when the client closes

log = structlog.get_logger("txlog.keeper")


class LeaseKeeper:
    """A client has one for its whole life; it serves each of the client's writers in turn."""

    def __init__(self, client: LogClient, limit_ms: int) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.stood_still_us = 0  # the newest stand-still
        self._client = client
        self._limit_ms = limit_ms
        self._clock = client.clock
        self._loop = asyncio.get_running_loop()
        self._beat_us = self._clock()
        self._timer: asyncio.TimerHandle | None = None
        self._addresses: list[tuple[str, str, int] | None] = [None] * client.nodes
        self._seen: Answers | None = None
        self._board: Board | None = None
        self._memory: mmap.mmap | None = None
        self._file = -1
        self._control = -1
        self._started_us = 0
        self._start_at_us = 0
        self._wait_us = _FIRST_WAIT_US
        self._check_at_us = 0
        self._heard_us = 0  # the process' beat at the last check
        self._silent_checks = 0
        self._killed: list[subprocess.Popen[bytes]] = []  # their end was not seen yet

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        if not self._client.embedded:
            if (
                sys.platform != "linux"
                or not os.path.exists(f"/proc/{os.getpid()}/stat")
                or not sys.executable
            ):
                log.warning(
                    "no lease keeper on this system: a command that runs longer than the lease "
                    "costs the primary its role"
                )
            else:
                self._make_board()
                if self._board is not None:
                    self._spawn()
        self._beat()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._start_at_us = 0
        self._end_process()
        for process in self._killed:
            # the process is inside the kernel; it ends later by itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_WAIT_S)
        self._close_board()

    def _close_board(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _make_board(self) -> None:
        """Make the board. Without shared memory there is no board and no process: the node then
        works as on a system that has no lease keeper.
        """
        size = Board.size(self._client.nodes)
        try:
            if hasattr(os, "memfd_create"):
                self._file = os.memfd_create("txlog lease", os.MFD_CLOEXEC)
            else:
                with tempfile.TemporaryFile() as file:
                    self._file = os.dup(file.fileno())
            os.ftruncate(self._file, size)
            self._memory = mmap.mmap(self._file, size)
        except OSError as error:
            reason = error.strerror or str(error)
            log.warning(
                "no lease keeper: a command that runs longer than the lease costs the primary its "
                "role",
                reason=reason,
            )
            self._close_board()
            return
        self._board = Board(memoryview(self._memory), self._client.nodes)
        self._board.order(None)

    def _spawn(self) -> None:
        """Start the process. It imports from the same places as this one, whatever is in the
        working directory. Without `site` it needs less memory and time.
        """
        root = str(Path(txlog.__path__[0]).parent)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([root, *(path for path in sys.path if path)]),
        }
        command = [
            sys.executable,
            "-S",
            "-P",
            "-m",
            "txlog.lease_keeper",
            str(os.getpid()),
            str(self._file),
            str(self._client.nodes),
            str(self._limit_ms),
        ]
        now = self._started_us = self._clock()
        self._check_at_us = now + _CHECK_US
        self._heard_us = self._silent_checks = 0
        try:
            near, far = os.pipe()
        except OSError as no_pipe:
            self._restart_later(now, no_pipe.strerror or str(no_pipe))
            return
        os.set_blocking(far, False)
        # The process inherits these blocked signals. Otherwise a Ctrl-C for the whole process group
        # could end it before it blocks them itself.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _POLITE)
        try:
            self.process = subprocess.Popen(
                command,
                stdin=near,
                stdout=subprocess.DEVNULL,
                env=environment,
                pass_fds=(self._file,),
            )
        except OSError as error:
            os.close(far)
            self._restart_later(now, error.strerror or str(error))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(near)
        self._control = far
        self._send_settings()

    def _end_process(self) -> None:
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        if self.process is not None:
            self.process.kill()
            if self.process.poll() is None:
                self._killed.append(self.process)
            self.process = None
        if self._board is not None:
            self._board.connected(0)
            self._board.keeper_beat(0)

    def _restart_later(self, now: int, reason: str) -> None:
        if now - self._started_us >= _LIVED_US:
            self._wait_us = _FIRST_WAIT_US
        log.warning(
            "there is no lease keeper, it is started again",
            reason=reason,
            wait_ms=self._wait_us // 1000,
        )
        self._start_at_us = now + self._wait_us
        self._wait_us = min(2 * self._wait_us, _LONGEST_WAIT_US)

    @property
    def lines(self) -> int:
        """The number of log nodes to which the process is connected."""
        return self._board.lines if self._board is not None else 0

    # ------------------------------------------------------------------ what the process is told

    def on_node_met(self, index: int, node: str, address: HostPort) -> None:
        """The loop's own connection has reached this node at this address."""
        place = (node, *address)
        if self._addresses[index] != place:
            self._addresses[index] = place
            self._send_settings()

    def on_membership(self) -> None:
        """S8: another version. A place whose node is not known to be a member waits until the loop
        has reached a member there.
        """
        node_of = self._client.members.node_of
        self._addresses = [
            place if place is not None and node_of.get(index) == place[0] else None
            for index, place in enumerate(self._addresses)
        ]
        self._send_settings()

    def _send_settings(self) -> None:
        """Send the settings by the pipe: arguments and the environment would show the secret."""
        client = self._client
        if self._control < 0:
            return
        told = {
            "log": client.address.log, "incarnation": client.incarnation.hex(),
            "group": client.members.group.hex(), "membership": client.membership,
            "secret": client.secret.hex() if client.secret is not None else None,
            "places": self._addresses,
        }  # fmt: skip
        line = json.dumps(told).encode() + b"\n"
        try:
            written = os.write(self._control, line)
        except OSError:
            written = 0
        if written != len(line):  # it does not read, or has ended: the next one gets all
            self._end_process()
            self._restart_later(self._clock(), "it did not read what it was told")

    def order(self, order: RenewalOrder | None, lease_until_us: int) -> None:
        """Tell the process what it may renew from now on, and the lease's end now. L4: a writer
        that gives its lease up passes None at once.
        """
        if self._board is not None:
            self._board.order(order, lease_until_us)

    # ------------------------------------------------------------------ the beat

    def _beat(self) -> None:
        now = self._clock()
        self.on_loop_tick(now)
        self._timer = self._loop.call_later(BEAT_S, self._beat)
        if now >= self._check_at_us:
            self._check_at_us = now + _CHECK_US
            self._killed = [process for process in self._killed if process.poll() is None]
            if self.process is not None and (code := self.process.poll()) is not None:
                self._end_process()
                self._restart_later(now, f"signal {-code}" if code < 0 else f"exit code {code}")
            elif self.process is not None and self._hangs():
                self._end_process()
                self._restart_later(now, "it did not turn any more, and was killed")
            if self.process is None and self._start_at_us and now >= self._start_at_us:
                self._start_at_us = 0
                self._spawn()

    def _hangs(self) -> bool:
        heard_us = self._board.keeper_beat_us if self._board is not None else 0
        self._silent_checks = self._silent_checks + 1 if heard_us == self._heard_us else 0
        self._heard_us = heard_us
        return self._silent_checks >= (_SILENT_CHECKS if heard_us else _STARTING_CHECKS)

    def on_loop_tick(self, now: int) -> None:
        """The loop turns. If it stood still before, the writer gets the duration and the renewals
        of that time before it checks any time-out.
        """
        writer = self._client.writer
        stood_us = now - self._beat_us - int(BEAT_S * 1e6)
        self._beat_us = now
        if writer is None:
            if stood_us > _STOOD_US:
                self._client.pace.stood_still(stood_us, now)
            if self._board is not None:
                self._board.beat(now, 0)
            return
        stood_still = stood_us > writer.lease_ms * 125
        if stood_still:
            self.stood_still_us = stood_us
            writer.on_stood_still(stood_us, now)
            if self._client.embedded and writer.renewable is not None:
                writer.on_keeper_renewed(0, *writer.renewable, now, now)
        if self._board is not None:
            self._count_renewals(self._board, writer, now, stood_us if stood_still else 0)
            self._board.beat(now, writer.renews_until(now))
        writer.due_us = now + int(BEAT_S * 1e6) + writer.lease_ms * 125

    def _count_renewals(self, board: Board, writer: Writer, now: int, stood_us: int) -> None:
        answers = board.read_answers()
        if answers is None or answers == self._seen:
            return
        seen, self._seen = self._seen, answers
        if (answers.term, answers.ballot_id) != writer.renewable:
            return
        for index, sent_us in enumerate(answers.sent_us):
            if sent_us:
                writer.on_keeper_renewed(index, answers.term, answers.ballot_id, sent_us, now)
        before = (
            seen.questions
            if seen is not None and (seen.term, seen.ballot_id) == (answers.term, answers.ballot_id)
            else 0
        )
        if answers.questions > before and stood_us:
            log.info(
                "the event loop stood still, the lease was renewed beside it",
                rounds=answers.questions - before,
                ms=stood_us // 1000,
            )
