"""The history in windows, so that memory and time stay bounded.

Each window has its own keys. It is judged when all its operations are answered, and is then
dropped.

Decides: when a window closes, what its final state is, what is kept.
Must not know: faults. A window's keys are divided into groups that share nothing, and
`tests.sim.history` judges each group alone. The final state is read at the primary after the last
answer. An unknown write that lies in a socket may still happen then: no client reads the key any
more. Journals of one group of each window are kept to the end and read again: a write may be lost
late.
Invariants: a window that is not judged keeps its records. At most UNJUDGED_MAX windows are open or
not judged, else clients wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from redis.exceptions import RedisError

from tests.sim import history
from tests.sim.records import APPEND, COUNT, GET, OK, READ, UNKNOWN, Part, Record
from tests.sim.workload import COUNTERS, JOURNALS, LEASES, REGISTERS, key_of
from tests.system.soak.redispy import closed, now_us, redis_client
from tests.system.workload import Finder

UNJUDGED_MAX = 8
FILES_KEPT = 6  # newest histories on disk; a history with a finding stays
FINAL_BOUND_S = 120.0
CHUNK = 50  # commands in a pipeline


class Window:
    def __init__(self, number: int, groups: int) -> None:
        self.number = number
        self.groups: list[list[Record]] = [[] for _ in range(groups)]
        self.outstanding = 0
        self.closed = False
        self.done = asyncio.Event()

    def prefix(self, group: int) -> str:
        return f"w{self.number}.g{group}:"

    @contextlib.contextmanager
    def during(self, group: int, records: list[Record]) -> Iterator[None]:
        self.groups[group] += records
        self.outstanding += 1
        try:
            yield
        finally:
            self.outstanding -= 1
            self._look()

    def close(self) -> None:
        self.closed = True
        self._look()

    def _look(self) -> None:
        if self.closed and not self.outstanding:
            self.done.set()

    @property
    def operations(self) -> int:
        return sum(map(len, self.groups))


class Windows:
    def __init__(self, groups: int, seconds: float, folder: Path, finder: Finder) -> None:
        self.group_count = groups
        self.seconds = seconds
        self.folder = folder
        self.finder = finder
        self.current = Window(1, groups)
        self.unjudged = 0
        self.room = asyncio.Event()
        self.room.set()
        self.judged: Counter[str] = Counter()  # "windows", "operations", "final reads"
        self.findings: list[str] = []
        # journal -> (its final value, tokens that may still be added to it)
        self.kept: dict[str, tuple[str, frozenset[str]]] = {}
        self._files: list[Path] = []

    async def admitted(self) -> None:
        await self.room.wait()

    async def run(self, over: asyncio.Event) -> None:
        """Open and judge windows until `over`, then judge the last."""
        judging: set[asyncio.Task[None]] = set()
        turn = asyncio.Lock()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self.seconds)
            ended, self.current = self.current, Window(self.current.number + 1, self.group_count)
            ended.close()
            self.unjudged += 1
            if self.unjudged >= UNJUDGED_MAX:
                self.room.clear()
            judging.add(task := asyncio.create_task(self._settle(ended, turn)))
            task.add_done_callback(judging.discard)
            if over.is_set():
                await asyncio.gather(*judging)
                return

    async def _settle(self, window: Window, turn: asyncio.Lock) -> None:
        await window.done.wait()
        async with turn:
            found: list[str] = []
            for group in range(self.group_count):
                found += await self._settle_group(window, group)
            self.judged["windows"] += 1
            self.judged["operations"] += window.operations
            await asyncio.to_thread(self._write, window, bool(found))
            self.findings += [f"window {window.number}: {text}" for text in found]
            self.unjudged -= 1
            if self.unjudged < UNJUDGED_MAX:
                self.room.set()

    async def _settle_group(self, window: Window, group: int) -> list[str]:
        prefix = window.prefix(group)
        kinds = [(READ, "j", JOURNALS), (COUNT, "c", COUNTERS), (GET, "r", REGISTERS)]
        finals = await self.read_finals(
            [
                Part(kind, prefix + key_of(family, index))
                for kind, family, count in kinds
                for index in range(count)
            ]
        )
        if not finals:
            return [
                f"the final state of group {group} could not be read within {FINAL_BOUND_S:g} s"
            ]
        records = window.groups[group]
        records += finals
        self.judged["final reads"] += len(finals)
        found = await asyncio.to_thread(history.judge, records)
        if group == window.number % self.group_count:
            self._keep(records, finals)
        await self._delete(prefix)
        return found

    # ------------------------------------------------------------------ the final state

    async def read_finals(self, parts: list[Part]) -> list[Record]:
        """Strong reads at the primary, all of them answered.
        An empty list, if that is not possible within the bound.
        """
        end = time.monotonic() + FINAL_BOUND_S
        while time.monotonic() < end:
            records = []
            for start in range(0, len(parts), CHUNK):
                records += await self._read_at_primary(
                    [Part(part.kind, part.key) for part in parts[start : start + CHUNK]]
                )
            if len(records) == len(parts) and all(record.outcome == OK for record in records):
                return records
            await asyncio.sleep(0.2)
        return []

    async def _read_at_primary(self, parts: list[Part]) -> list[Record]:
        answers = await self.at_primary([("GET", part.key) for part in parts])
        if answers is None:
            return []
        invoke, complete, values = answers
        records = []
        for part, value in zip(parts, values, strict=True):
            if value is not None and not isinstance(value, str):
                return []
            part.answer = value
            records.append(Record(-1, 0, [part], invoke, complete, OK, final=True))
        return records

    async def at_primary(
        self, commands: list[tuple[str, ...]]
    ) -> tuple[int, int, list[object]] | None:
        """Send one pipeline on its own connection; (time asked, time answered, answers).
        The answers may be errors. None: the pipeline failed.
        """
        try:
            address = await asyncio.wait_for(self.finder.find(), 2.0)
        except TimeoutError:
            return None
        client = redis_client(address)
        try:
            await client.initialize()
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            invoke = now_us()
            answers = await pipeline.execute(raise_on_error=False)
            complete = now_us()
            if any(isinstance(answer, BaseException) for answer in answers):
                self.finder.lost(address)
            return invoke, complete, answers
        except (RedisError, OSError, TimeoutError):
            self.finder.lost(address)
            return None
        finally:
            await closed(client)

    async def _delete(self, prefix: str) -> None:
        """Delete what is judged and not kept.
        If it fails, some keys remain: this does no harm in a run of bounded length.
        """
        families = (("j", JOURNALS), ("c", COUNTERS), ("r", REGISTERS), ("e", LEASES))
        keys = [
            prefix + key_of(family, index) for family, count in families for index in range(count)
        ]
        await self.at_primary([("UNLINK", *[key for key in keys if key not in self.kept])])

    # ------------------------------------------------------------------ what is kept

    def _keep(self, records: list[Record], finals: list[Record]) -> None:
        open_tokens: dict[str, set[str]] = {}
        for record in records:
            if record.outcome == UNKNOWN:
                for part in record.parts:
                    if part.kind == APPEND:
                        open_tokens.setdefault(part.key, set()).add(str(part.value).rstrip(","))
        for record in finals:
            part = record.parts[0]
            if part.kind == READ:
                self.kept[part.key] = (
                    str(part.answer or ""),
                    frozenset(open_tokens.get(part.key, ())),
                )

    async def look_at_kept(self) -> list[str]:
        """The errors in the journals that were kept, at the end of the run."""
        finals = await self.read_finals([Part(READ, key) for key in self.kept])
        if self.kept and not finals:
            return ["the journals kept from earlier windows could not be read"]
        found = []
        for record in finals:
            part = record.parts[0]
            before, may_join = self.kept[part.key]
            value = str(part.answer or "")
            if not value.startswith(before):
                found.append(
                    f"{part.key}: what was there when its window was judged is lost: "
                    f"{len(before)} bytes then, {len(value)} now"
                )
            elif any(token not in may_join for token in value[len(before) :].split(",")[:-1]):
                found.append(
                    f"{part.key}: grew after its window was judged by what had been answered or "
                    "refused"
                )
        return found

    def _write(self, window: Window, bad: bool) -> None:
        path = self.folder / f"history-{window.number}{'-BAD' if bad else ''}.jsonl.gz"
        with gzip.open(path, "wt", compresslevel=1) as file:
            for group in window.groups:
                for record in group:
                    file.write(json.dumps(asdict(record)) + "\n")
        if not bad:
            self._files.append(path)
            if len(self._files) > FILES_KEPT:
                self._files.pop(0).unlink(missing_ok=True)
