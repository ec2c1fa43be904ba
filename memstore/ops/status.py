"""`memstore status` and `memstore health`: how a shard's nodes and its log's nodes are, asked from
the outside.

Decides: whom to ask, what a line shows, the exit code.
Must not know: anything the nodes do not say of themselves; nothing here is used for a decision.
From one node the others are found: engine nodes through INFO replication, log nodes through INFO
log. A node that does not answer is a line, not an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from memstore.engine.values import parse_integer
from memstore.ops.resp_client import NoAnswer, RespClient, parse_info
from memstore.ops.topology import TOPOLOGY
from txlog.client import AddressError
from txlog.client.address import format_host_port, parse_host_port
from txlog.tools.admin import NodeStatus, ask_status

DEFAULT_PORT: Final = 6379
NODES_MAX: Final = 64  # asked at most: a node's list of others is only as good as the node
ROUNDS_MAX: Final = 3  # a node, the primary it names, the replicas that one names
WIDTH: Final = 140  # where there is no terminal
MEASURED_WIDTH: Final = 1000  # of a table without a limit
STATE_WIDTH: Final = 9  # of "candidate", which a role's or state's column always holds
# columns that a narrow terminal goes without, in this order
ENGINE_OPTIONAL: Final = ("memory", "clients", "lease left", "applied")
LOG_OPTIONAL: Final = ("lease window", "committed", "log")
STYLES: Final = {
    "primary": "bold green",
    "replica": "green",
    "candidate": "yellow",
    "restoring": "yellow",
}

HostPort = tuple[str, int]


class StatusError(Exception):
    """An argument that names no node; one line."""


@dataclass(slots=True)
class EngineAnswer:
    """An engine node's answer. ``facts`` is empty where it gave none: ``error`` says why."""

    address: HostPort
    facts: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def role(self) -> str:
        return self.facts.get("memstore_role", "")

    def number(self, name: str) -> int:
        text = self.facts.get(name, "0")
        return parse_integer(text.encode("utf-8", "surrogateescape")) or 0

    def listed(self, prefix: str) -> Iterator[dict[str, str]]:
        """INFO's numbered fields: ``slave0:ip=...,port=...``."""
        index = 0
        while text := self.facts.get(f"{prefix}{index}"):
            yield dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)
            index += 1


@dataclass(slots=True)
class Targets:
    engines: list[HostPort]
    logs: list[HostPort]
    names: dict[HostPort, str]  # of a local cluster's processes


# --------------------------------------------------------------------------- asking


def find_targets(given: list[str], folder: Path) -> Targets:
    """Raises `StatusError`."""
    if given:
        return Targets([parse_target(text) for text in given], [], {})
    try:
        rows = json.loads((folder / TOPOLOGY).read_text())["processes"]
        names = {(row["host"], int(row["port"])): (row["name"], row["kind"]) for row in rows}
    except FileNotFoundError:
        return Targets([("127.0.0.1", DEFAULT_PORT)], [], {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StatusError(f"{folder / TOPOLOGY} cannot be read: {error}") from None
    of_kind = {
        kind: [address for address, (_, row_kind) in names.items() if row_kind == kind]
        for kind in ("engine", "log")
    }
    return Targets(
        of_kind["engine"], of_kind["log"], {address: name for address, (name, _) in names.items()}
    )


def parse_target(text: str) -> HostPort:
    """Raises `StatusError`."""
    try:
        return parse_host_port(text, DEFAULT_PORT)
    except AddressError as error:
        raise StatusError(str(error)) from None


async def ask_engine(address: HostPort, password: str) -> EngineAnswer:
    client = RespClient(*address, password=password)
    try:
        (answer,) = await client.ask(
            ("INFO", "server", "clients", "memory", "stats", "replication", "log")
        )
    except NoAnswer as error:
        return EngineAnswer(address, error=str(error))
    finally:
        client.close()
    if not isinstance(answer, bytes):
        return EngineAnswer(address, error=str(answer))
    facts = parse_info(answer)
    return (
        EngineAnswer(address, facts)
        if "memstore_role" in facts
        else EngineAnswer(address, error="not a memstore node")
    )


async def ask_engines(targets: list[HostPort], password: str) -> list[EngineAnswer]:
    """The targets, and the nodes they name."""
    found: dict[HostPort, EngineAnswer] = {}
    wanted = list(dict.fromkeys(targets))
    for _ in range(ROUNDS_MAX):
        for engine in await asyncio.gather(*(ask_engine(address, password) for address in wanted)):
            found[engine.address] = engine
        known_ids = {engine.facts.get("run_id") for engine in found.values()}
        others = [
            address
            for engine in found.values()
            for address, run_id in named_by(engine)
            if run_id not in known_ids
        ]
        wanted = [address for address in dict.fromkeys(others) if address not in found][
            : NODES_MAX - len(found)
        ]
        if not wanted:
            break
    return one_per_node(found.values())


def named_by(engine: EngineAnswer) -> Iterator[tuple[HostPort, str]]:
    """Nodes that ``engine`` knows, with the id it knows them by ("": none)."""
    host, port = engine.facts.get("master_host", ""), engine.number("master_port")
    if host and port:
        yield (host, port), ""
    for replica in engine.listed("slave"):
        number = parse_integer(replica.get("port", "").encode("utf-8", "surrogateescape"))
        if replica.get("ip") and number is not None:
            yield (replica["ip"], number), replica.get("id", "")


def one_per_node(engines: Iterable[EngineAnswer]) -> list[EngineAnswer]:
    """One line a node, although it may have been reached by two addresses; the first stays."""
    seen: set[str] = set()
    kept = []
    for engine in engines:
        run_id = engine.facts.get("run_id", "")
        if not run_id or run_id not in seen:
            kept.append(engine)
        seen.add(run_id)
    return sorted(
        kept, key=lambda engine: (engine.facts.get("availability_zone", "~"), engine.address)
    )


async def healthy(target: str, password: str) -> str:
    """Why the node is not healthy; "" if it serves. Raises `StatusError`."""
    engine = await ask_engine(parse_target(target), password)
    if engine.error:
        return engine.error
    return "" if engine.role in ("primary", "replica") else f"{target} is {engine.role}"


# --------------------------------------------------------------------------- showing


async def show(given: list[str], folder: Path, password: str, secret: bytes | None) -> int:
    """Print the screen. 0 where a primary serves, else 1. Raises `StatusError`."""
    targets = find_targets(given, folder)
    engines = await ask_engines(targets.engines, password)
    logs = targets.logs or log_addresses(engines)
    nodes = await ask_status(logs, secret)
    primaries = [engine for engine in engines if engine.role == "primary"]
    console = (
        Console(highlight=False) if Console().is_terminal else Console(highlight=False, width=WIDTH)
    )
    console.print(headline(primaries, engines, targets.names))
    console.print()
    console.print(
        table_that_fits(
            console,
            lambda left_out: engine_table(engines, targets.names, left_out),
            ENGINE_OPTIONAL,
        )
    )
    console.print()
    if nodes:
        console.print(
            table_that_fits(
                console,
                lambda left_out: log_table(nodes, engines, targets.names, left_out),
                LOG_OPTIONAL,
            )
        )
    elif any(engine.role == "restoring" for engine in engines):
        console.print("The log nodes are not known yet: the engine node is restoring.")
    elif any(engine.facts for engine in engines):
        console.print("The log is embedded: one copy, on the engine node's own disk.")
    return 0 if primaries else 1


def table_that_fits(
    console: Console, make: Callable[[frozenset[str]], Table], spare: tuple[str, ...]
) -> Table:
    """The table with as many columns as the console is wide enough for: those of ``spare`` are left
    out, the first of them first.
    """
    wide = console.options.update(width=MEASURED_WIDTH)
    for count in range(len(spare)):
        table = make(frozenset(spare[:count]))
        if Measurement.get(console, wide, table).maximum <= console.width:
            return table
    return make(frozenset(spare))


def make_table(
    title: str,
    columns: tuple[str, ...],
    right: frozenset[str],
    wraps: str,
    rows: list[list[str | Text]],
    left_out: frozenset[str],
) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    kept = [index for index, column in enumerate(columns) if column not in left_out]
    for index in kept:
        column = columns[index]
        least = STATE_WIDTH if column == wraps else None
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column != wraps,
            min_width=least,
        )
    for row in rows:
        table.add_row(*[row[index] if index < len(row) else "" for index in kept])
    return table


def log_addresses(engines: list[EngineAnswer]) -> list[HostPort]:
    found: dict[HostPort, None] = {}
    for engine in engines:
        for node in engine.listed("log_node"):
            try:
                found[parse_host_port(node.get("address", ""))] = None
            except AddressError:
                continue  # an embedded log has no address
    return list(found)


def label(address: HostPort, names: dict[HostPort, str]) -> str:
    text = format_host_port(*address)
    return f"{names[address]} {text}" if address in names else text


def headline(
    primaries: list[EngineAnswer], engines: list[EngineAnswer], names: dict[HostPort, str]
) -> Text:
    if not primaries:
        waiting = [
            f"{label(engine.address, names)} is {engine.role}" for engine in engines if engine.role
        ]
        return Text(
            f"no primary{': ' + ', '.join(waiting) if waiting else ', and no engine node answers'}",
            style="bold red",
        )
    text = Text()
    for primary in primaries:
        facts = primary.facts
        text.append(f"primary {label(primary.address, names)}", style="bold green")
        text.append(
            f" in {facts.get('availability_zone', '?')}, term {facts.get('log_term', '?')}, "
            f"committed {primary.number('log_committed'):,}"
        )
        text.append(
            f", {primary.number('instantaneous_ops_per_sec'):,} commands/s, memstore "
            f"{facts.get('memstore_version', '?')}\n"
        )
    text.rstrip()
    if len(primaries) > 1:
        text.append(
            "\nmore than one node calls itself primary: one of them has just lost its role, and "
            "its lease with it",
            style="yellow",
        )
    return text


def engine_table(
    engines: list[EngineAnswer], names: dict[HostPort, str], left_out: frozenset[str]
) -> Table:
    rows: list[list[str | Text]] = []
    committed = max((engine.number("log_committed") for engine in engines), default=0)
    for engine in engines:
        name = label(engine.address, names)
        if engine.error:
            rows.append(
                [
                    name,
                    "",
                    Text(
                        engine.error.removeprefix(format_host_port(*engine.address)).strip(),
                        style="red",
                    ),
                ]
            )
            continue
        facts, applied = engine.facts, engine.number("log_applied")
        target = engine.number("log_restore_target")
        role = Text(
            f"restoring {applied:,} of {target:,}"
            if engine.role == "restoring" and target
            else engine.role,
            style=STYLES.get(engine.role, ""),
        )
        if trouble := facts.get("log_digest_trouble", ""):
            role.append(f": {trouble}", style="red")
        # A primary's own memory is the newest there is; what it has applied is what is committed.
        lag = "" if engine.role == "primary" else f"{max(0, committed - applied):,}"
        lease = f"{engine.number('lease_left_ms')} ms" if engine.role == "primary" else ""
        memory = facts.get("used_memory_human", "")
        rows.append(
            [
                name,
                facts.get("availability_zone", ""),
                role,
                f"{applied:,}",
                lag,
                lease,
                facts.get("connected_clients", ""),
                memory,
            ]
        )
    columns = ("node", "AZ", "role", "applied", "lag", "lease left", "clients", "memory")
    return make_table(
        "engine nodes",
        columns,
        frozenset(("applied", "lag", "lease left", "clients", "memory")),
        "role",
        rows,
        left_out,
    )


def log_table(
    nodes: list[NodeStatus],
    engines: list[EngineAnswer],
    names: dict[HostPort, str],
    left_out: frozenset[str],
) -> Table:
    rows: list[list[str | Text]] = []
    seen_by = {
        node["address"]: node
        for engine in engines
        for node in engine.listed("log_node")
        if node.get("address")
    }
    furthest: dict[str, int] = {}
    for node in nodes:
        for row in node.status["logs"] if node.status else []:
            furthest[row["log"]] = max(furthest.get(row["log"], 0), row["last"][1])
    for node in sorted(
        nodes, key=lambda node: (node.status["az"] if node.status else "~", node.address)
    ):
        name = label(parse_host_port(node.address), names)
        if node.status is None:
            # It may speak to the engine nodes though not to us (its secret is not ours).
            fact = seen_by.get(node.address, {})
            state = plain(node.error) + (
                f"; engine nodes see it connected, last position {fact['last']}"
                if fact.get("connected") == "1"
                else ""
            )
            rows.append([name, fact.get("az", ""), "", "", "", "", "", Text(state, style="red")])
        elif not node.status["logs"]:
            state = (
                "holds no log yet"
                if node.status["group"]
                else "belongs to no group: it does not vote"
            )
            rows.append(
                [
                    name,
                    node.status["az"],
                    "",
                    "",
                    "",
                    "",
                    "",
                    Text(state, style="" if node.status["group"] else "red"),
                ]
            )
        for row in node.status["logs"] if node.status else []:
            term, position = row["last"]
            lag = furthest[row["log"]] - position
            window = f"{row['window_left_ms']} ms" if row["window_left_ms"] else "closed"
            az = node.status["az"] if node.status else ""
            rows.append(
                [
                    name,
                    az,
                    row["log"],
                    f"{position:,} of term {term}",
                    f"{row['committed']:,}",
                    f"{lag:,}",
                    window,
                    log_state(row, lag),
                ]
            )
    columns = ("node", "AZ", "log", "last id", "committed", "lag", "lease window", "state")
    return make_table(
        "log nodes",
        columns,
        frozenset(("last id", "committed", "lag", "lease window")),
        "state",
        rows,
        left_out,
    )


def plain(error: str) -> str:
    """An operating system's error without its number and the address that the line shows anyway."""
    match = re.match(r"\[Errno (\d+)\]", error)
    return f"cannot be reached: {os.strerror(int(match[1]))}" if match else error


def log_state(row: dict[str, Any], lag: int) -> Text:
    if row.get("broken"):
        return Text(
            f"refuses to serve from position {row['broken']['position']} on: "
            f"{row['broken']['reason']}",
            style="bold red",
        )
    if row.get("suspect"):
        return Text(
            f"suspect from position {row['suspect']['position']}: {row['suspect']['reason']}",
            style="yellow",
        )
    if row.get("disk_full"):
        return Text("disk full", style="red")
    if row.get("holes"):
        return Text(f"{len(row['holes'])} damaged entries are being put back", style="yellow")
    return Text("lags", style="yellow") if lag else Text("good", style="green")
