"""The screen of `memstore status`: two tables and a headline.

Decides: what a line shows, and which columns are left out on a narrow terminal.
Must not know: how the nodes are asked.
Invariant: at 80 columns and less, node, port, role and state stay whole; the other columns are left
out one after the other.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from memstore.engine.values import parse_integer
from txlog.address import format_host_port, parse_host_port
from txlog.tools.admin import NodeStatus

WIDTH: Final = 140  # if there is no terminal
MEASURED_WIDTH: Final = 1000  # to measure a table without a limit
STATE_WIDTH: Final = 9  # of "candidate": the column of a role or state always has room for it
STATE_WRAPS: Final = 24  # a longer role or state is wrapped before a column is left out
LABEL_WRAPS: Final = 40  # a longer name of a node is wrapped
# columns that are left out on a narrow terminal, in this order
ENGINE_OPTIONAL: Final = ("memory", "clients", "lease left", "applied", "lag", "AZ")
LOG_OPTIONAL: Final = ("lease window", "committed", "log", "last id", "lag", "AZ")
ENGINE_COLUMNS: Final = (
    *("node", "AZ", "role", "applied", "lag", "lease left", "clients", "memory"),
)
LOG_COLUMNS: Final = (
    *("node", "AZ", "log", "last id", "committed", "lag", "lease window", "state"),
)
RIGHT: Final = frozenset(
    ("applied", "lag", "lease left", "clients", "memory", "last id", "committed", "lease window")
)
STYLES: Final = {
    "primary": "bold green",
    "replica": "green",
    "candidate": "yellow",
    "restoring": "yellow",
}

HostPort = tuple[str, int]
Row = list[str | Text]


@dataclass(slots=True)
class EngineAnswer:
    """An engine node's answer. ``facts`` is empty if there is none: ``error`` says why."""

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
class Screen:
    """The answers of all nodes."""

    engines: list[EngineAnswer]
    nodes: list[NodeStatus]
    names: dict[HostPort, str]

    @property
    def primaries(self) -> list[EngineAnswer]:
        return [engine for engine in self.engines if engine.role == "primary"]

    def lag(self, engine: EngineAnswer) -> int:
        """How many entries the node is behind. A primary's own memory is always the newest."""
        if engine.role == "primary":
            return 0
        committed = max((one.number("log_committed") for one in self.engines), default=0)
        return max(0, committed - engine.number("log_applied"))


def screen_width() -> int | None:
    """None: as wide as the terminal."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given):
        return int(given)
    return None if sys.stdout.isatty() else WIDTH


def draw(console: Console, screen: Screen) -> None:
    console.print(headline(screen.primaries, screen.engines, screen.names))
    console.print()
    console.print(
        table_that_fits(
            console, lambda left_out: engine_table(screen, left_out), ENGINE_OPTIONAL, "role"
        )
    )
    console.print()
    if screen.nodes:
        console.print(
            table_that_fits(
                console, lambda left_out: log_table(screen, left_out), LOG_OPTIONAL, "state"
            )
        )
    elif any(engine.role == "restoring" for engine in screen.engines):
        console.print("The log nodes are not known yet: the engine node is restoring.")
    elif any(engine.facts for engine in screen.engines):
        console.print("The log is embedded: one copy, on the engine node's own disk.")


def table_that_fits(
    console: Console,
    make: Callable[[frozenset[str]], Table],
    optional: tuple[str, ...],
    wraps: str,
) -> Table:
    """The table with as many columns as fit into the console. The columns of ``optional`` are left
    out one after the other; the column ``wraps`` is wrapped.
    """
    wide = console.options.update(width=MEASURED_WIDTH)
    for count in range(len(optional)):
        table = make(frozenset(optional[:count]))
        (column,) = [column for column in table.columns if column.header == wraps]
        column.max_width = STATE_WRAPS
        needed = Measurement.get(console, wide, table).maximum
        column.max_width = None
        if needed <= console.width:
            return table
    return make(frozenset(optional))


def make_table(
    title: str,
    columns: tuple[str, ...],
    wraps: str,
    rows: list[Row],
    left_out: frozenset[str],
) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    longest = max((len(str(row[0])) for row in rows), default=0)
    kept = [index for index, column in enumerate(columns) if column not in left_out]
    for index in kept:
        column = columns[index]
        table.add_column(
            column,
            justify="right" if column in RIGHT else "left",
            no_wrap=column != wraps and (column != "node" or longest <= LABEL_WRAPS),
            overflow="fold",
            min_width=STATE_WIDTH if column == wraps else None,
        )
    for row in rows:
        table.add_row(*[row[index] if index < len(row) else "" for index in kept])
    return table


def label(address: HostPort, names: dict[HostPort, str]) -> str:
    text = format_host_port(*address)
    return f"{names[address]} {text}" if address in names else text


def headline(
    primaries: list[EngineAnswer], engines: list[EngineAnswer], names: dict[HostPort, str]
) -> Text:
    if not primaries and any(engine.error == "password needed" for engine in engines):
        return Text(
            "password needed: give --password-file FILE, or set REDISCLI_AUTH", style="bold red"
        )
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


# --------------------------------------------------------------------------- engine nodes


def engine_table(screen: Screen, left_out: frozenset[str]) -> Table:
    rows = [engine_cells(screen, engine) for engine in screen.engines]
    return make_table("engine nodes", ENGINE_COLUMNS, "role", rows, left_out)


def engine_cells(screen: Screen, engine: EngineAnswer) -> Row:
    name = label(engine.address, screen.names)
    if engine.error:
        reason = engine.error.removeprefix(format_host_port(*engine.address)).strip()
        return [name, "", Text(reason, style="red")]
    primary = engine.role == "primary"
    return [
        name,
        engine.facts.get("availability_zone", ""),
        role_cell(engine),
        f"{engine.number('log_applied'):,}",
        "" if primary else f"{screen.lag(engine):,}",
        f"{engine.number('lease_left_ms')} ms" if primary else "",
        engine.facts.get("connected_clients", ""),
        engine.facts.get("used_memory_human", ""),
    ]


def role_cell(engine: EngineAnswer) -> Text:
    target = engine.number("log_restore_target")
    role = Text(
        f"restoring {engine.number('log_applied'):,} of {target:,}"
        if engine.role == "restoring" and target
        else engine.role,
        style=STYLES.get(engine.role, ""),
    )
    if trouble := engine.facts.get("log_digest_trouble", ""):
        role.append(f": {trouble}", style="red")
    return role


# --------------------------------------------------------------------------- log nodes


def log_table(screen: Screen, left_out: frozenset[str]) -> Table:
    furthest: dict[str, int] = {}
    for node in screen.nodes:
        for row in node.status["logs"] if node.status else []:
            furthest[row["log"]] = max(furthest.get(row["log"], 0), row["last"][1])
    rows: list[Row] = []
    for node in sorted(
        screen.nodes, key=lambda node: (node.status["az"] if node.status else "~", node.address)
    ):
        name = label(parse_host_port(node.address), screen.names)
        if node.status is None:
            rows.append(silent_cells(screen, node, name))
        elif not node.status["logs"]:
            rows.append(empty_cells(node.status, name))
        else:
            rows += [
                log_cells(node.status, row, name, furthest[row["log"]])
                for row in node.status["logs"]
            ]
    return make_table("log nodes", LOG_COLUMNS, "state", rows, left_out)


def silent_cells(screen: Screen, node: NodeStatus, name: str) -> Row:
    """A node that did not answer this command. It may still answer the engine nodes: they may have
    another secret.
    """
    seen_by = {
        seen["address"]: seen
        for engine in screen.engines
        for seen in engine.listed("log_node")
        if seen.get("address")
    }
    fact = seen_by.get(node.address, {})
    state = plain(node.error)
    if fact.get("connected") == "1":
        state += f"; engine nodes see it connected, last position {fact.get('last', '?')}"
    return [name, fact.get("az", ""), "", "", "", "", "", Text(state, style="red")]


def empty_cells(status: dict[str, Any], name: str) -> Row:
    member = bool(status["group"])
    state = "holds no log yet" if member else "belongs to no group: it does not vote"
    text = Text(state, style="" if member else "red")
    return [name, status["az"], "", "", "", "", "", text]


def log_cells(status: dict[str, Any], row: dict[str, Any], name: str, furthest: int) -> Row:
    term, position = row["last"]
    lag = furthest - position
    return [
        name,
        status["az"],
        row["log"],
        f"{position:,} of term {term}",
        f"{row['committed']:,}",
        f"{lag:,}",
        f"{row['window_left_ms']} ms" if row["window_left_ms"] else "closed",
        log_state(row, lag),
    ]


def plain(error: str) -> str:
    """An operating system's error without its number, and without the address, which the line shows
    anyway.
    """
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
