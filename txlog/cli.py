"""The `txlog` command line: a log node, and the operator's tools.

Decides: arguments, what is printed, exit codes (0 fine, 1 found something wrong, 2 a setting or
argument is wrong; `server` has its own, see `server.node`).
Must not know: how anything is done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from txlog import config as settings
from txlog.address import AddressError, parse_host_port, valid_log_name
from txlog.tool_connection import AdminError
from txlog.tools.admin import ask_status, init_group
from txlog.tools.delete import delete_log
from txlog.tools.replace import replace_node
from txlog.trust import NoSecret, check_callee
from txlog.version import VERSION

_WATCH_S: Final = 1.0

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The transaction log: a log node and its tools.",
    epilog=(
        "Start with: txlog server (three times, one in each zone), then txlog init once, then "
        "txlog status. COMMAND --help says more."
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def _main_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """The options before the name of a command."""


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
    """The secret for log nodes at these addresses; None only where no secret is allowed."""
    secret = _secret(path)
    try:
        check_callee([host for host, _ in addresses], secret, without_secret, "--without-secret")
    except NoSecret as error:
        raise _fail(str(error), 2) from error
    return secret


@app.command(epilog="Example: txlog server --az a --port 7401 --data /var/lib/txlog")
def server(
    az: Annotated[
        str | None, typer.Option(help="The availability zone this node stands in.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help=f"Port to listen on, up to 65535 (default {settings.DEFAULT_PORT}; 0: any free "
            "one).",
        ),
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
    from txlog.server.node import EXIT_SETTING
    from txlog.server.process import run

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


@app.command(epilog="Example: txlog init a:7401 b:7401 c:7401 --secret-file secret")
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


@app.command(
    "replace-node",
    epilog="Example: txlog replace-node --lost c:7401 --new d:7401 a:7401 b:7401",
)
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


@app.command("delete-log", epilog="Example: txlog delete-log shard-0 a:7401 --confirm shard-0")
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


@app.command(
    epilog="Examples: txlog status a:7401 b:7401 c:7401; txlog status --watch a:7401 b:7401 c:7401"
)
def status(
    nodes: Nodes,
    secret_file: SecretFile = None,
    without_secret: WithoutSecret = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")
    ] = False,
) -> None:
    """One table: promise, last id, committed, lag, suspect or not, lease window. Exit code 1 when
    no majority answers.
    """
    from rich.console import Console

    from txlog.tools import status_screen

    addresses = _addresses(nodes)
    secret = _trusted(addresses, secret_file, without_secret)
    console = Console(width=None if _has_width() else status_screen.WIDTH)
    while True:
        answers = asyncio.run(ask_status(addresses, secret))
        if watch and console.is_terminal and not as_json:
            console.clear()
        if as_json:
            indent = None if watch else 2
            typer.echo(json.dumps(status_screen.as_dict(answers), indent=indent))
        else:
            status_screen.draw(console, answers)
        if not watch:
            break
        time.sleep(_WATCH_S)
    healthy = status_screen.healthy(answers)
    if healthy < len(answers) // 2 + 1:
        raise _fail(f"no majority: {healthy} of {len(answers)} log nodes are there and in a group")


def _has_width() -> bool:
    return sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()


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


Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="A log node's data folder, an embedded log's folder, or one log's folder.",
    ),
]


def _from(least: int) -> Callable[[int], int]:
    """A check for an option with a lowest value. The option's help says the range in words."""

    def check(value: int) -> int:
        if value < least:
            raise typer.BadParameter(f"{value} is less than {least}")
        return value

    return check


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
    start: Annotated[
        int,
        typer.Option(
            "--from", metavar="POSITION", help="First position, 1 or more.", callback=_from(1)
        ),
    ] = 1,
    to: Annotated[
        int,
        typer.Option(metavar="POSITION", help="Last position (0: the end).", callback=_from(0)),
    ] = 0,
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


@app.command("settings")
def show_settings() -> None:
    """Every setting of a log node as a settings file, with its default and its limits."""
    typer.echo(settings.example(), nl=False)


def main() -> None:
    """Run the command line. An error in it becomes one line of text.

    The parser's own error classes moved between versions; they have a method in common.
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
