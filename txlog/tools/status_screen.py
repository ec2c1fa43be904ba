"""The screen of `txlog status`: a table with a line for each log and node, and the memberships.

Decides: what a line shows, and which columns a narrow terminal omits.
Must not know: how the nodes are asked.
Invariant: log, node, address and state are always shown; a narrow terminal omits the other columns
one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from txlog.tools.admin import NodeStatus, replace_command
from txlog.tools.replace import describe

WIDTH: Final = 160  # without a terminal
_COLUMNS: Final = (
    *("log", "node", "az", "address", "promise", "last", "committed", "lag"),
    *("lease window", "scrub", "state"),
)
# columns that a narrow terminal omits, in this order
_OPTIONAL: Final = ("scrub", "lease window", "promise", "az", "committed", "lag", "last")
_STATE_WIDTH: Final = 24  # a longer state is wrapped before a column is omitted
_MEASURED_WIDTH: Final = 1000  # of a table without a limit

Row = dict[str, str]


def draw(console: Console, answers: list[NodeStatus]) -> None:
    rows = sorted(_rows(answers), key=lambda row: (row["log"], row["node"], row["address"]))
    console.print(_table_that_fits(console, rows))
    for line in [*_memberships(answers), *replace_hints(answers)]:
        console.print(line, soft_wrap=True)


def as_dict(answers: list[NodeStatus]) -> list[dict[str, Any]]:
    """For programs: each node's own report, null where it does not answer."""
    return [
        {"address": answer.address, "error": answer.error or None, "status": answer.status}
        for answer in answers
    ]


def healthy(answers: list[NodeStatus]) -> int:
    """The number of log nodes that answer and have a group. Two addresses may lead to one node."""
    return len(
        {
            answer.status["node"]
            for answer in answers
            if answer.status is not None and answer.status["group"]
        }
    )


def replace_hints(answers: list[NodeStatus]) -> Iterator[str]:
    """The command for each empty node at the address of a member: its disk is lost."""
    grouped = [answer for answer in answers if answer.status is not None and answer.status["group"]]
    members = {
        member.partition("=")[2]
        for answer in grouped
        if answer.status is not None and not answer.status["replaced"]
        for member in answer.status["members"]
    }
    for answer in answers:
        if answer.status is None or answer.status["group"] or answer.address not in members:
            continue
        others = [other.address for other in grouped if other.address != answer.address]
        if 2 * len(others) <= len(members):
            continue  # replace-node copies from a majority
        yield (
            f"[yellow]log node {answer.address} has an empty data folder, and the group has it as "
            f"a member: if its disk is lost, run[/yellow]\n  "
            f"{replace_command(answer.address, others)}"
        )


# --------------------------------------------------------------------------- the table


def _table_that_fits(console: Console, rows: list[Row]) -> Table:
    wide = console.options.update(width=_MEASURED_WIDTH)
    for count in range(len(_OPTIONAL)):
        table = _make_table(rows, _OPTIONAL[:count])
        state = table.columns[-1]
        state.max_width = _STATE_WIDTH
        needed = Measurement.get(console, wide, table).maximum
        state.max_width = None
        if needed <= console.width:
            return table
    return _make_table(rows, _OPTIONAL)


def _make_table(rows: list[Row], left_out: tuple[str, ...]) -> Table:
    table = Table(title=None)
    kept = [column for column in _COLUMNS if column not in left_out]
    for column in kept:
        table.add_column(column, no_wrap=column not in ("state", "address"), overflow="fold")
    for row in rows:
        table.add_row(*[row.get(column, "") for column in kept])
    return table


def _rows(answers: list[NodeStatus]) -> Iterator[Row]:
    furthest: dict[str, int] = {}
    for answer in answers:
        for row in answer.status["logs"] if answer.status else []:
            furthest[row["log"]] = max(furthest.get(row["log"], 0), row["last"][1])
    for answer in answers:
        yield from _rows_of(answer, furthest)


def _rows_of(answer: NodeStatus, furthest: dict[str, int]) -> Iterator[Row]:
    status = answer.status

    def row(log: str = "", state: str = "", **more: str) -> Row:
        node = {"node": status["node"], "az": status["az"]} if status is not None else {"node": ""}
        return {"log": log, **node, "address": answer.address, "state": state, **more}

    if status is None:
        yield row(state=f"[red]{answer.error}[/red]")
        return
    if status["replaced"]:
        yield row(state="[red]replaced[/red]")
        return
    for name in status["deleting"]:
        yield row(name, "[red]being deleted: run txlog delete-log again[/red]")
    if not status["logs"]:
        yield row(state="no logs yet" if status["group"] else "[red]belongs to no group[/red]")
    for name, why in status["refused"].items():
        yield row(name, f"[red]refused: {why}[/red]")
    for log in status["logs"]:
        term, position = log["last"]
        yield row(
            log["log"],
            _state(log),
            promise=str(log["promised"]),
            last=f"{position}@{term}",
            committed=str(log["committed"]),
            lag=str(furthest[log["log"]] - position),
            **{"lease window": _window(log), "scrub": _scrub(log)},
        )


def _window(log: dict[str, Any]) -> str:
    if not log["window_left_ms"]:
        return "closed"
    return f"{log['window_left_ms']} ms of {log['window_writer'][:8]}"


def _scrub(row: dict[str, Any]) -> str:
    """The scrubber's progress: passes that ended, the present one, and what it found."""
    scrub = row.get("scrub")
    if scrub is None or not scrub["on"]:
        return "off"
    passes = f"{scrub['passes']} done"
    if scrub["done_percent"] is not None:
        passes += f", {scrub['done_percent']} %"
    return f"[yellow]{passes}, {scrub['findings']} found[/yellow]" if scrub["findings"] else passes


def _state(row: dict[str, Any]) -> str:
    if row["broken"]:
        return (
            f"[red]broken from position {row['broken']['position']}: "
            f"{row['broken']['reason']}[/red]"
        )
    if row["newcomer"]:
        return f"[yellow]learner, does not count yet: {describe(row)}[/yellow]"
    if row["suspect"]:
        return (
            f"[yellow]suspect from position {row['suspect']['position']}: "
            f"{row['suspect']['reason']}[/yellow]"
        )
    if row["holes"]:
        return f"[yellow]{len(row['holes'])} damaged entries being put back[/yellow]"
    return "[red]disk full[/red]" if row["disk_full"] else "good"


def _memberships(answers: list[NodeStatus]) -> list[str]:
    """A line for each membership version in use. More than one line means that a replacement is
    under way.
    """
    found: dict[tuple[int, str], list[str]] = {}
    lines = []
    for answer in answers:
        if answer.status is not None and answer.status["group"]:
            if answer.status["replaced"]:
                lines.append(
                    f"[red]log node {answer.status['node']} at {answer.address} was replaced in "
                    f"membership version {answer.status['membership']}: "
                    "stop it, and empty its folder before the machine is used as a log node "
                    "again[/red]"
                )
            else:
                found.setdefault(
                    (answer.status["membership"], ", ".join(answer.status["members"])), []
                ).append(answer.status["node"])
    for (version, members), nodes in sorted(found.items()):
        others = "" if len(found) == 1 else f" (at {', '.join(sorted(nodes))})"
        lines.append(f"membership version {version}{others}: {members}")
    return lines
