"""Child processes of a local cluster: starting, watching, adopting, stopping.

Decides: how a process is started so that it dies with its parent, and how a process that another
program started from topology.json is recognised.
Must not know: what the processes are for, in which order they start and stop.

A child lives in its own session, so that Ctrl-C at the terminal reaches only the parent, which
stops the others in order. Where the kernel supports it (Linux), the child is killed when the parent
dies for any reason: the rest of a cluster would hold ports and folders. The child asks the kernel
for this between fork and exec. It is not part of the command, so another program that starts the
same command again owns that process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiofiles

from memstore.ops.topology import Process

PR_SET_PDEATHSIG: Final = 1
PROC: Final = Path("/proc")


def make_die_with_parent() -> Callable[[], None] | None:
    """Returns the function that a child runs between fork and exec; everything it needs is looked
    up before the fork. None if the kernel does not support it.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent, getppid, leave = os.getpid(), os.getppid, os._exit
    death = int(signal.SIGKILL)

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, death, 0, 0, 0)
        if getppid() != parent:
            leave(1)

    return die_with_parent


class Child:
    """A running process of the cluster: our child, or adopted (another program's process, known by
    its pid).
    """

    __slots__ = ("_popen", "pid")

    def __init__(self, pid: int, popen: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self._popen = popen

    @staticmethod
    def start(process: Process, trace: int) -> Child:
        popen = subprocess.Popen(
            process.command,
            cwd=process.cwd,
            stdin=subprocess.DEVNULL,
            stdout=trace,
            stderr=trace,
            start_new_session=True,
            preexec_fn=make_die_with_parent(),
        )
        return Child(popen.pid, popen)

    @property
    def adopted(self) -> bool:
        return self._popen is None

    def ended(self) -> str | None:
        """How the process ended; None while it lives."""
        if self._popen is None:
            return None if alive(self.pid) else "died"
        code = self._popen.poll()
        if code is None:
            return None
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"

    def suspended(self) -> bool:
        """Whether it was stopped by SIGSTOP; False where the system does not report it."""
        return state(self.pid) in (b"T", b"t")

    def signal(self, number: signal.Signals) -> None:
        if self.ended() is None:
            with suppress(ProcessLookupError):  # it ended between the two lines
                os.kill(self.pid, number)


def alive(pid: int) -> bool:
    """Whether ``pid`` runs. A process that ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if not PROC.is_dir():
        return True  # kill() decides
    return state(pid) not in (b"", b"Z", b"X")


def state(pid: int) -> bytes:
    """The kernel's letter for the state of a process; empty if there is no such process."""
    try:
        return (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return b""


def command_of(pid: int) -> list[bytes]:
    """The command line of a process; empty where the system does not show it."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []  # it ended


def find(command: list[str]) -> int | None:
    """The pid of a living process with exactly this command line. None if there is none, or if the
    system does not show command lines.
    """
    wanted = [os.fsencode(arg) for arg in command]
    if not PROC.is_dir():
        return None
    for entry in os.listdir(PROC):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        if command_of(int(entry)) == wanted and alive(int(entry)):
            return int(entry)
    return None


async def last_line(trace: Path) -> str:
    """The last line that a process wrote, shortened: usually it says why the process ended. The
    reason may be a bad disk, so the loop does not wait for the read.
    """
    try:
        async with aiofiles.open(trace, "rb") as file:
            size = await file.seek(0, os.SEEK_END)
            await file.seek(max(0, size - 4096))
            lines = (await file.read()).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""
