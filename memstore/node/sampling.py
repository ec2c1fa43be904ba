"""Samples of the process and its loop, taken a few times a second; and when Python's cyclic
collector may run.

Decides: when the collector runs.
Must not know: what samples are shown for.

The collector's full rounds visit every container, for seconds in a large keyspace, so Python's own
schedule is switched off. Young objects are visited a little at a time. A full round runs only while
there is little data: garbage in cycles comes from connections and tasks, not from data.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from typing import Final

import structlog

from memstore.engine.facts import Facts
from memstore.engine.keyspace import Keyspace
from memstore.replication import shard

BEAT_S: Final = 0.005
LONG_TURN_US: Final = 100_000
TELL_EVERY_US: Final = 10_000_000  # at most one warning of a long turn in this time
FULL_EVERY_S: Final = 60.0
FULL_BELOW_KEYS: Final = 50_000
_PAGE: Final = resource.getpagesize()

log = structlog.get_logger("memstore.node")


class LoopLagMonitor:
    """The longest turn of the event loop: the delay of a timer shows how long the turn before it
    was.

    A turn has two causes: our own work, and a machine that ran something else meanwhile (a disk,
    another process, another guest). The processor time of the loop's thread tells them apart.
    Without it, a long turn on a busy machine makes people search for work that did not happen.
    There is one limit: a hypervisor may stop the whole machine for a while. Then the thread that
    was running seems to have used that time.
    """

    def __init__(
        self,
        facts: Facts,
        clock: Callable[[], int],
        wall_ms: Callable[[], int],
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._facts = facts
        self._clock = clock
        self._wall_ms = wall_ms
        self._cpu_ns = cpu_ns
        self._loop = asyncio.get_running_loop()
        self._due_us = clock()
        self._began_ns = 0
        self._told_us = 0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._began_ns = self._cpu_ns()
        self._due_us = self._clock() + int(BEAT_S * 1_000_000)
        self._handle = self._loop.call_later(BEAT_S, self._beat)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _beat(self) -> None:
        now_us = self._clock()
        late_us = now_us - self._due_us
        if late_us > self._facts.longest_turn_us:
            self._facts.longest_turn_us = late_us
            self._facts.longest_turn_cpu_us = (self._cpu_ns() - self._began_ns) // 1000
            self._facts.longest_turn_at_ms = self._wall_ms()
        if late_us >= LONG_TURN_US and now_us - self._told_us >= TELL_EVERY_US:
            self._told_us = now_us
            log.warning(
                "long-turn",
                ms=late_us // 1000,
                own_cpu_ms=(self._cpu_ns() - self._began_ns) // 1_000_000,
            )
        self.start()


class GcScheduler:
    """Runs Python's cyclic collector explicitly."""

    def __init__(self) -> None:
        self._ticks = 0
        self._full_in = 0.0

    def start(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()
        self._full_in = FULL_EVERY_S

    def tick(self, elapsed_s: float, keys: Callable[[], int]) -> None:
        self._ticks += 1
        self._full_in -= elapsed_s
        if self._full_in <= 0:
            self._full_in = FULL_EVERY_S
            if keys() < FULL_BELOW_KEYS:
                gc.collect()
                return
        gc.collect(1 if self._ticks % 10 == 0 else 0)


def key_count(keyspace: Keyspace) -> int:
    return sum(len(database) for database in keyspace.existing())


def describe_process(facts: Facts) -> None:
    """Facts that stay constant in a process's life."""
    facts.pid = os.getpid()
    facts.os = f"{platform.system()} {platform.release()} {platform.machine()}"
    facts.python = f"{platform.python_implementation()} {platform.python_version()}"
    facts.executable = sys.executable
    facts.compiled = not (shard.__file__ or "").endswith(".py")
    try:
        facts.system_memory_bytes = os.sysconf("SC_PHYS_PAGES") * _PAGE
    except (ValueError, OSError):
        facts.system_memory_bytes = 0  # this system does not report it


class Sampler:
    """Rates and sizes for INFO."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._before = (0, 0, 0)  # commands, input bytes, output bytes

    def sample(self, elapsed_s: float) -> None:
        facts = self._facts
        usage = resource.getrusage(resource.RUSAGE_SELF)
        facts.cpu_user_us = int(usage.ru_utime * 1_000_000)
        facts.cpu_system_us = int(usage.ru_stime * 1_000_000)
        facts.rss_bytes = resident_bytes() or usage.ru_maxrss * 1024
        facts.rss_peak_bytes = max(facts.rss_peak_bytes, facts.rss_bytes, usage.ru_maxrss * 1024)
        now = (facts.commands_processed, facts.input_bytes, facts.output_bytes)
        commands, received, sent = (
            max(0, new - old) for new, old in zip(now, self._before, strict=True)
        )
        self._before = now
        if elapsed_s > 0:
            facts.commands_per_second = int(commands / elapsed_s)
            facts.input_kbps = int(received / 1024 / elapsed_s)
            facts.output_kbps = int(sent / 1024 / elapsed_s)


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not report it."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0
