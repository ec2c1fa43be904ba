"""The `txlog` command line: a log node, and the operator's tools.

Decides: arguments, what is printed, exit codes (0 fine, 1 found something wrong, 2 a setting or
argument is wrong; `server` has its own, see `server.node`).
Must not know: how anything is done.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from txlog import config as settings
from txlog.address import AddressError, parse_host_port, valid_log_name
from txlog.tool_connection import AdminError
from txlog.tools.admin import NodeStatus, ask_status, init_group
from txlog.tools.delete import delete_log
from txlog.tools.replace import describe, replace_node
from txlog.trust import NoSecret, check_callee

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The transaction log: a log node and its tools.",
)

SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file", help="File with the secret that log nodes and their clients share."
    ),
]
WithoutSecret = Annotated[
    bool,
    typer.Option(
        "--without-secret",
        help="Without --secret-file, use log nodes on other machines: whatever answers there is "
        "believed.",
    ),
]
Nodes = Annotated[list[str], typer.Argument(metavar="HOST:PORT...", help="The log nodes.")]


def _fail(reason: str, code: int = 1) -> typer.Exit:
    typer.echo(f"txlog: {reason}", err=True)
    return typer.Exit(code)


def _secret(path: Path | None) -> bytes | None:
    try:
        return settings.read_secret(path) if path is not None else None
    except settings.ConfigError as error:
        raise _fail(str(error), 2) from error


def _addresses(nodes: list[str]) -> list[tuple[str, int]]:
    try:
        return [parse_host_port(part) for node in nodes for part in node.split(",") if part]
    except AddressError as error:
        raise _fail(str(error), 2) from error


def _trusted(
    addresses: list[tuple[str, int]], path: Path | None, without_secret: bool
) -> bytes | None:
    """The secret for log nodes at these addresses; None only where that is allowed."""
    secret = _secret(path)
    try:
        check_callee([host for host, _ in addresses], secret, without_secret, "--without-secret")
    except NoSecret as error:
        raise _fail(str(error), 2) from error
    return secret


@app.command()
def server(
    az: Annotated[
        str | None, typer.Option(help="The availability zone this node stands in.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help=f"Port to listen on (default {settings.DEFAULT_PORT}; 0: any free one)."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data folder: empty, or this node's own.")
    ] = None,
    bind: Annotated[
        str | None,
        typer.Option(help="Address to listen on; any but a loopback address needs --secret-file."),
    ] = None,
    secret_file: SecretFile = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file (TOML); the command line wins.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.")] = None,
) -> None:
    """Run a log node in the foreground."""
    from txlog.events import configure
    from txlog.server.node import EXIT_SETTING, run

    given: dict[str, Any] = {
        "az": az,
        "port": port,
        "data": data,
        "bind": bind,
        "secret_file": secret_file,
        "log_format": log_format,
    }
    try:
        loaded = settings.load(config, given)
    except settings.ConfigError as error:
        raise _fail(str(error), EXIT_SETTING) from error
    configure(loaded.log_format)
    raise typer.Exit(run(loaded))


@app.command()
def init(
    nodes: Nodes,
    secret_file: SecretFile = None,
    without_secret: WithoutSecret = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for nodes that are not up yet.")
    ] = 30.0,
) -> None:
    """Make a group of these log nodes, once. Run again it changes nothing and says so."""
    addresses = _addresses(nodes)
    secret = _trusted(addresses, secret_file, without_secret)
    try:
        line = asyncio.run(
            init_group(addresses, secret, wait, lambda text: typer.echo(text, err=True))
        )
    except AdminError as error:
        raise _fail(str(error)) from error
    typer.echo(line)


@app.command("replace-node")
def replace_node_command(
    lost: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="The log node whose disk or machine is lost, by its address in the group.",
        ),
    ],
    new: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="The log node that takes its place: up, with an empty data folder. May be the "
            "same address.",
        ),
    ],
    nodes: Annotated[
        list[str],
        typer.Argument(
            metavar="HOST:PORT...",
            help="Other log nodes of the group; one is enough, it knows the rest.",
        ),
    ],
    secret_file: SecretFile = None,
    without_secret: WithoutSecret = False,
    wait: Annotated[
        float,
        typer.Option(help="Seconds to watch the newcomer copy; it goes on without being watched."),
    ] = 600.0,
) -> None:
    """Put a new log node in the place of a lost one, while the group serves. Run again after an
    interruption it goes on, or says that all is done.
    """
    pair = _addresses([lost]) + _addresses([new])
    others = _addresses(nodes)
    secret = _trusted(pair + others, secret_file, without_secret)
    try:
        line = asyncio.run(
            replace_node(
                pair[0], pair[1], others, secret, wait, lambda text: typer.echo(text, err=True)
            )
        )
    except AdminError as error:
        raise _fail(str(error)) from error
    except (OSError, TimeoutError) as error:
        raise _fail(
            f"a log node stopped answering ({str(error) or 'no answer'}): run the command again"
        ) from error
    typer.echo(line)


@app.command("delete-log")
def delete_log_command(
    log: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The log, as in the engine nodes' --log address: shard-0."
        ),
    ],
    nodes: Annotated[
        list[str],
        typer.Argument(
            metavar="HOST:PORT...", help="Log nodes of the group; one is enough, it knows the rest."
        ),
    ],
    confirm: Annotated[
        str, typer.Option(metavar="NAME", help="The log's name again. Its data is gone afterwards.")
    ] = "",
    secret_file: SecretFile = None,
    without_secret: WithoutSecret = False,
    wait: Annotated[
        float,
        typer.Option(help="Seconds to wait until no engine node uses the log and no lease runs."),
    ] = 5.0,
) -> None:
    """Delete a log with all its data. All its log nodes must answer, its engine nodes must be
    stopped. Run again after an interruption it goes on.
    """
    addresses = _addresses(nodes)
    if not valid_log_name(log):
        raise _fail(f"{log[:80]!r} is not a log's name", 2)
    if confirm != log:
        raise _fail(
            f"this deletes all data of log '{log}': give --confirm {log} if that is meant", 2
        )
    secret = _trusted(addresses, secret_file, without_secret)
    try:
        line = asyncio.run(
            delete_log(log, addresses, secret, wait, lambda text: typer.echo(text, err=True))
        )
    except AdminError as error:
        raise _fail(str(error)) from error
    except (OSError, TimeoutError) as error:
        raise _fail(
            f"a log node stopped answering ({str(error) or 'no answer'}): run the command again"
        ) from error
    typer.echo(line)


@app.command()
def status(
    nodes: Nodes, secret_file: SecretFile = None, without_secret: WithoutSecret = False
) -> None:
    """One table: promise, last id, committed, lag, suspect or not, lease window. Exit code 1 when
    no majority answers.
    """
    from rich.console import Console

    addresses = _addresses(nodes)
    answers = asyncio.run(ask_status(addresses, _trusted(addresses, secret_file, without_secret)))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_status_table(answers))
    for line in _memberships(answers):
        console.print(line)
    # two addresses may lead to one
    healthy = len(
        {
            answer.status["node"]
            for answer in answers
            if answer.status is not None and answer.status["group"]
        }
    )
    if healthy < len(answers) // 2 + 1:
        raise _fail(f"no majority: {healthy} of {len(answers)} log nodes are there and in a group")


@app.command()
def health(
    node: Annotated[
        str, typer.Argument(metavar="HOST:PORT")
    ] = f"127.0.0.1:{settings.DEFAULT_PORT}",
    secret_file: SecretFile = None,
    without_secret: WithoutSecret = False,
) -> None:
    """Exit code 0 if the log node answers, in a group already or not yet; else 1 with the reason:
    for health checks.
    """
    addresses = _addresses([node])[:1]
    (answer,) = asyncio.run(ask_status(addresses, _trusted(addresses, secret_file, without_secret)))
    if answer.status is None:
        raise _fail(f"{answer.address}: {answer.error}")


def _status_table(answers: list[NodeStatus]) -> Any:
    from rich.table import Table

    table = Table(title=None)
    columns = (
        "log",
        "node",
        "az",
        "address",
        "promise",
        "last",
        "committed",
        "lag",
        "lease window",
        "scrub",
        "state",
    )
    for column in columns:
        table.add_column(column, no_wrap=column != "state")
    furthest: dict[str, int] = {}
    for answer in answers:
        for row in answer.status["logs"] if answer.status else []:
            furthest[row["log"]] = max(furthest.get(row["log"], 0), row["last"][1])
    rows: list[tuple[str, ...]] = []
    for answer in answers:
        if answer.status is None:
            rows.append(
                (
                    "",
                    "",
                    "",
                    answer.address,
                    *[""] * (len(columns) - 5),
                    f"[red]{answer.error}[/red]",
                )
            )
            continue
        node, az = answer.status["node"], answer.status["az"]
        if answer.status["replaced"]:
            rows.append(("", node, az, answer.address, "", "", "", "", "", "[red]replaced[/red]"))
            continue
        for name in answer.status["deleting"]:
            rows.append(
                (
                    name,
                    node,
                    az,
                    answer.address,
                    *[""] * (len(columns) - 5),
                    "[red]being deleted: run txlog delete-log again[/red]",
                )
            )
        if not answer.status["logs"]:
            rows.append(
                (
                    "",
                    node,
                    az,
                    answer.address,
                    *[""] * (len(columns) - 5),
                    "no logs yet" if answer.status["group"] else "[red]belongs to no group[/red]",
                )
            )
        rows += [
            (
                name,
                node,
                az,
                answer.address,
                *[""] * (len(columns) - 5),
                f"[red]refused: {why}[/red]",
            )
            for name, why in answer.status["refused"].items()
        ]
        for row in answer.status["logs"]:
            term, position = row["last"]
            window = (
                f"{row['window_left_ms']} ms of {row['window_writer'][:8]}"
                if row["window_left_ms"]
                else "closed"
            )
            rows.append(
                (
                    row["log"],
                    node,
                    az,
                    answer.address,
                    str(row["promised"]),
                    f"{position}@{term}",
                    str(row["committed"]),
                    str(furthest[row["log"]] - position),
                    window,
                    _scrub(row),
                    _state(row),
                )
            )
    for row_text in sorted(rows, key=lambda text: (text[0], text[1], text[3])):
        table.add_row(*row_text)
    return table


def _scrub(row: dict[str, Any]) -> str:
    """How far the scrubber is: passes that ended, the one under way, what was found."""
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
        return f"[yellow]newcomer, does not count yet: {describe(row)}[/yellow]"
    if row["suspect"]:
        return (
            f"[yellow]suspect from position {row['suspect']['position']}: "
            f"{row['suspect']['reason']}[/yellow]"
        )
    if row["holes"]:
        return f"[yellow]{len(row['holes'])} damaged entries being put back[/yellow]"
    return "[red]disk full[/red]" if row["disk_full"] else "good"


def _memberships(answers: list[NodeStatus]) -> list[str]:
    """A line for each membership version that is gone by;
    more than one means that a replacement is under way.
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


Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="A log node's data folder, an embedded log's folder, or one log's folder.",
    ),
]


def _logs_below(folder: Path) -> list[Path]:
    from txlog.storage.inspect import find_logs

    try:
        found = find_logs(folder)
    except OSError as error:
        raise _fail(f"{folder} cannot be read: {error.strerror}", 2) from error
    if not found:
        raise _fail(f"there is no log in {folder}", 2)
    return found


@app.command()
def inspect(
    folder: Folder,
    start: Annotated[int, typer.Option("--from", min=1, help="First position.")] = 1,
    to: Annotated[int, typer.Option(min=0, help="Last position (0: the end).")] = 0,
    log: Annotated[str | None, typer.Option(help="Only the log of this name.")] = None,
) -> None:
    """Entries, terms, kinds and effects as text. Exit code 1 when something cannot be read."""
    from txlog.storage.inspect import Finding, describe, entries

    damaged = False
    for path in _logs_below(folder):
        if log is not None and path.name != log:
            continue
        typer.echo(f"# {path}")
        try:
            for item in entries(path, start, to):
                damaged = damaged or isinstance(item, Finding)
                typer.echo(f"! {item}" if isinstance(item, Finding) else describe(item))
        except OSError as error:
            raise _fail(f"{error.filename or path} cannot be read: {error.strerror}") from error
    if damaged:
        raise typer.Exit(1)


@app.command()
def verify(folder: Folder) -> None:
    """Checksums, chain and order of everything in the folder. Exit code 1 with position and file
    when something does not check.
    """
    from txlog.server.identity import FolderError, read_identity
    from txlog.storage import inspect as look

    found = 0
    try:
        if (folder / "node.json").exists():
            read_identity(folder)
        for path in _logs_below(folder):
            summary = look.verify(path)
            for finding in summary.findings:
                typer.echo(f"! {finding}")
            found += len(summary.findings)
            typer.echo(
                f"{path}: {summary.entries} entries, {summary.bytes} bytes, last position "
                f"{summary.last}, {len(summary.findings) or 'no'} findings"
            )
    except FolderError as error:
        raise _fail(str(error)) from error
    except OSError as error:
        raise _fail(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    if found:
        raise typer.Exit(1)


def main() -> None:
    """What is wrong with the command line is told in one line; the parser's own classes moved
    between versions, what they share is a method.
    """
    if not __debug__:
        sys.stderr.write(
            "txlog: asserts are part of the design: start without -O and without PYTHONOPTIMIZE\n"
        )
        sys.exit(2)
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        if text := format_message().replace("\n", " ").strip():
            typer.echo(f"txlog: {text}", err=True)
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(code if isinstance(code, int) else 0)
