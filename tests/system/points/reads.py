"""Write at the primary, wait for OK, read at a replica: a strong read always gives the new value.

Decides: how often, through which links, at which level.
Must not know: how strong reads are made. Many pairs of connections run in parallel, each on its own
key, strictly write, OK, read. Otherwise 10,000 rounds over a delayed link would take an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

from tests.system.client import Address, Closed, Connection, ReplyError, ask
from tests.system.cluster import Cluster, wait_until
from tests.system.proxy import proxies
from tests.system.results import Result

ROUNDS = 10_000
PAIRS = 25
DELAY_S = 0.02


@dataclass
class Tally:
    new: int = 0
    old: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def rounds(self) -> int:
        return self.new + self.old + sum(self.errors.values())


async def read_after_write(
    primary: Address, replica: Address, rounds: int, level: str | None, tag: str
) -> Tally:
    """`rounds` times over PAIRS pairs of connections."""
    tally = Tally()
    pairs = min(PAIRS, rounds)
    await asyncio.gather(
        *(
            _pair(
                primary, replica, rounds // pairs + (n < rounds % pairs), level, f"{tag}:{n}", tally
            )
            for n in range(pairs)
        )
    )
    return tally


async def _pair(
    primary: Address, replica: Address, rounds: int, level: str | None, key: str, tally: Tally
) -> None:
    writer, reader = await Connection.open(primary), await Connection.open(replica)
    with contextlib.closing(writer), contextlib.closing(reader):
        if level is not None:
            reply = await reader.call("MEMSTORE", "READS", level)
            assert reply == b"OK", f"MEMSTORE READS {level}: {reply!r}"
        for number in range(rounds):
            try:
                await _round(writer, reader, key, f"{number}".encode(), tally)
            except (Closed, TimeoutError) as error:
                tally.errors[f"{type(error).__name__}: {error}"] += 1
                return


async def _round(
    writer: Connection, reader: Connection, key: str, value: bytes, tally: Tally
) -> None:
    written = await writer.call("SET", key, value)
    if written != b"OK":
        tally.errors[f"write: {str(written).split(' ')[0]}"] += 1
        return
    reply = await reader.call("GET", key)
    if isinstance(reply, ReplyError):
        tally.errors[str(reply).split(" ")[0]] += 1
    elif reply == value:
        tally.new += 1
    else:
        tally.old += 1


async def strong(
    cluster: Cluster, rounds: int = ROUNDS, delayed_rounds: int | None = None
) -> Result:
    """Strong reads: normally, through delayed links, and with a log node stopped.
    `eventual` must be able to give old values where links are slow.
    """
    result = Result(f"write at the primary, read at a replica, {rounds} times")
    delayed = rounds if delayed_rounds is None else delayed_rounds

    async def run(
        name: str, replica: Address, count: int, level: str | None, old_allowed: bool = False
    ) -> Tally:
        primary = await asyncio.to_thread(cluster.wait_primary)
        tally = await read_after_write(primary.address, replica, count, level, f"raw:{name}")
        problems = []
        if tally.old and not old_allowed:
            problems.append(f"{name}: {tally.old} OLD values")
        if tally.errors and not old_allowed:
            problems.append(f"{name}: errors {dict(tally.errors)}")
        if old_allowed and not tally.old:
            problems.append(f"{name}: no old value was seen, so the delay delays nothing")
        result.add(
            {
                "variant": name,
                "rounds": tally.rounds,
                "new": tally.new,
                "old": tally.old,
                "errors": sum(tally.errors.values()),
            },
            problems,
        )
        return tally

    primary = cluster.wait_primary()
    replica = next(p for p in cluster.engines() if p.name != primary.name)
    await run("strong, default of the connection", replica.address, rounds, None)
    await run("strong, asked for", replica.address, min(rounds, 1000), "strong")
    async with proxies([node.address for node in cluster.log_nodes()], DELAY_S) as made:
        slow = await asyncio.to_thread(
            cluster.add_engine, "engine-slow", [p.address for p in made], replica.az
        )
        await asyncio.to_thread(
            wait_until, "the slow replica reads", lambda: _reads(slow.address), 30
        )
        await run(
            f"strong, log links delayed by {DELAY_S * 1000:g} ms", slow.address, delayed, "strong"
        )
        await run(
            f"eventual, log links delayed by {DELAY_S * 1000:g} ms",
            slow.address,
            min(delayed, 1000),
            "eventual",
            old_allowed=True,
        )
        cluster.kill(slow)
        del cluster.added[slow.name]
    node = next(n for n in cluster.log_nodes() if n.az == replica.az)
    await asyncio.to_thread(cluster.kill, node)
    await run(
        f"strong, {node.name} (the replica's own AZ) killed", replica.address, rounds, "strong"
    )
    await asyncio.to_thread(cluster.restart, node)
    other = next(n for n in cluster.log_nodes() if n.az != replica.az)
    await asyncio.to_thread(
        wait_until, f"{node.name} is back", lambda: _good(cluster, node.name), 30
    )
    await asyncio.to_thread(cluster.pause, other)
    await run(f"strong, {other.name} paused", replica.address, rounds, "strong")
    cluster.resume(other)
    return result


def _reads(address: Address) -> bool:
    with contextlib.suppress(OSError):
        return not isinstance(ask(address, "GET", "no such key", timeout=3), ReplyError)
    return False


def _good(cluster: Cluster, name: str) -> bool:
    row = cluster.log_status().get(name)
    return row is not None and row.state == "good" and row.last >= 0
