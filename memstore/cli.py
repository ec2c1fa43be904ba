"""The command line: `memstore server`, `local`, `demo`, `status`, `health`, `secret`, `settings`,
`version`.

Decides: options, and that an error is one line on standard error with an exit code. The code is 2
for a wrong setting, 1 for anything else that stops a command.
Must not know: how the work is done.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from memstore import secret_files
from memstore.config import ConfigError, ServerConfig, example, load
from memstore.version import VERSION

if TYPE_CHECKING:
    from memstore.ops.topology import Plan

FAILED: Final = 1
WRONG_SETTING: Final = 2

HELP: Final = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
    help="An in-memory store that speaks RESP; every acknowledged write is on disk in two of "
    "three zones.",
    epilog=(
        "Start with: memstore local (a cluster on this machine), memstore status (how it is), "
        "memstore demo (kills a zone under load). COMMAND --help says more."
    ),
)
local_app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)


def refuse(text: str, code: int) -> NoReturn:
    print(f"memstore: {text}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def print_version(wanted: bool) -> None:
    if wanted:
        print(VERSION)
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool,
        typer.Option("--version", help="print the version", is_eager=True, callback=print_version),
    ] = False,
) -> None:
    """The options before the name of a command."""


def between(low: int, high: int) -> Callable[[int | None], int | None]:
    """Check that an option's number is in a range, which the option's help states."""

    def check(value: int | None) -> int | None:
        if value is not None and not low <= value <= high:
            raise typer.BadParameter(f"{value} is not between {low} and {high}")
        return value

    return check


def settings(path: Path | None, overrides: dict[str, Any]) -> ServerConfig:
    try:
        return load(path, overrides)
    except ConfigError as error:
        refuse(str(error), WRONG_SETTING)


def secret(path: Path | None) -> str:
    """Return the text of a secret file; empty if no file is given."""
    try:
        return secret_files.read(path) if path is not None else ""
    except secret_files.SecretFileError as error:
        refuse(str(error), WRONG_SETTING)


def pairs(given: list[str]) -> dict[str, str]:
    """Read ``--set name=value``, any number of times."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            refuse(f"--set {text}: write --set name=value", WRONG_SETTING)
        found[name.strip()] = value.strip()
    return found


Password = Annotated[
    str,
    typer.Option(envvar="REDISCLI_AUTH", help="password of the engine nodes", show_default=False),
]
PasswordFile = Annotated[Path | None, typer.Option(help="file with the engine nodes' password")]

# Options of a setting are read as text: the table of settings knows their types and limits, and its
# error is one line.

LocalFolder = Annotated[
    Path, typer.Option("--dir", help="folder of the cluster: data, traces, topology.json")
]
FirstPort = Annotated[
    int,
    typer.Option(
        help="port of the first engine node, 1 to 65535; the others follow",
        metavar="PORT",
        callback=between(1, 65535),
    ),
]
FirstLogPort = Annotated[
    int,
    typer.Option(
        help="port of the first log node, up to 65535; the others follow (default 7401)",
        metavar="PORT",
        callback=between(0, 65535),
        show_default=False,
    ),
]
Replicas = Annotated[
    int,
    typer.Option(
        help="engine nodes beside the primary, 0 to 32", metavar="NUMBER", callback=between(0, 32)
    ),
]
LeaseMs = Annotated[
    str | None,
    typer.Option(
        help="the primary's lease in milliseconds, 100 to 60000 (default 1000)", metavar="MS"
    ),
]
SERVER_EXAMPLES: Final = (
    "Example: memstore server --az a --log txlog://h1:7401,h2:7401,h3:7401/shard-0 --create"
)
LOCAL_EXAMPLES: Final = (
    "Examples: memstore local --port 7000 --replicas 1; memstore local --cluster --restart; "
    "in another terminal: memstore local stop engine-a, then memstore local start engine-a"
)
STATUS_EXAMPLES: Final = (
    "Examples: memstore status; memstore status --watch; memstore status 10.0.0.5:6379 --json"
)


@app.command(epilog=SERVER_EXAMPLES)
def server(
    port: Annotated[
        str | None,
        typer.Option(help="TCP port for clients, 0 to 65535 (default 6379)", metavar="PORT"),
    ] = None,
    az: Annotated[str | None, typer.Option(help="availability zone of this node")] = None,
    log: Annotated[
        str | None,
        typer.Option(help="txlog://HOST:PORT,HOST:PORT,HOST:PORT/shard-0 or embedded:DIR"),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="make the log if the log nodes have none of that name")
    ] = False,
    bind: Annotated[
        str | None, typer.Option(help="addresses to listen on (default: loopback)")
    ] = None,
    announce_host: Annotated[
        str | None, typer.Option(help="host that clients and other nodes are told")
    ] = None,
    announce_port: Annotated[
        str | None, typer.Option(help="port that clients and other nodes are told")
    ] = None,
    secret_file: Annotated[
        str | None, typer.Option(help="file with the secret shared with the log nodes")
    ] = None,
    lease_ms: LeaseMs = None,
    password_file: PasswordFile = None,
    config: Annotated[
        Path | None,
        typer.Option(help="a memstore.toml; 'memstore settings' prints one with every setting"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="any other setting; may be given several times"
        ),
    ] = None,
) -> None:
    """Run one engine node."""
    given = {
        "port": port,
        "az": az,
        "log": log,
        "create-log": True if create else None,
        "bind": bind,
        "announce-host": announce_host,
        "announce-port": announce_port,
        "secret-file": secret_file,
        "lease-ms": lease_ms,
        "requirepass": secret(password_file) or None,
    }
    values = settings(config, given | pairs(set_ or []))
    for name in ("az", "log"):
        if not getattr(values, name):
            refuse(
                f"'{name}' is not set: give --{name}, or a line in the settings file", WRONG_SETTING
            )
    from memstore.node.process import run  # the other commands start without these imports

    sys.exit(run(values))


@local_app.callback(epilog=LOCAL_EXAMPLES)
def local(
    context: typer.Context,
    dir: LocalFolder = Path(".memstore"),
    port: FirstPort = 6379,
    log_port: FirstLogPort = 0,
    replicas: Replicas = 2,
    lease_ms: LeaseMs = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="throw the data of earlier runs away first")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="start processes again that die")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="a memstore.toml for the engine nodes")
    ] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="engine nodes speak Redis Cluster's protocol")
    ] = False,
    compile_command: Annotated[
        str,
        typer.Option(
            help="command that makes --compiled-tree while the cluster runs; the nodes then "
            "move there"
        ),
    ] = "",
    compiled_tree: Annotated[
        Path | None, typer.Option(help="folder with both packages, compiled")
    ] = None,
) -> None:
    """Run a whole cluster on this machine: three log nodes and three engine nodes, one a zone."""
    context.obj = dir
    if context.invoked_subcommand is not None:
        return  # `start` or `stop`
    from memstore.ops.topology import Plan

    own = {"lease-ms": lease_ms} | ({"cluster-enabled": True} if cluster else {})
    values = settings(config, own)
    if bool(compile_command) != bool(compiled_tree):
        refuse("--compile-command and --compiled-tree go together", WRONG_SETTING)
    command = shlex.split(compile_command)
    ports = (port, log_port, replicas, values.lease_ms)
    run_local(
        Plan(dir, *ports, reset, restart, config, cluster, command, compiled_tree),
        values.requirepass,
    )


def run_local(plan: Plan, password: str) -> NoReturn:
    from memstore.ops.local import run
    from memstore.ops.topology import LocalError

    try:
        code = run(plan, say, password)
    except LocalError as error:
        refuse(str(error), error.code)
    sys.exit(code)


Folder = Annotated[
    Path | None, typer.Option("--dir", help="folder of the cluster (default .memstore)")
]


@local_app.command("start")
def start_node(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="engine-a, log-b, ...")],
    dir: Folder = None,
) -> None:
    """Start a process of the running cluster that died or was stopped."""
    from memstore.ops import node_requests

    with_cluster(lambda: node_requests.start_node(dir or context.obj, name, print))


@local_app.command("stop")
def stop_node(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="engine-a, log-b, ...; without it everything")
    ] = "",
    dir: Folder = None,
) -> None:
    """Stop a process of the running cluster in order, or the whole cluster."""
    from memstore.ops import node_requests

    folder = dir or context.obj
    if name:
        with_cluster(lambda: node_requests.stop_node(folder, name, print))
    else:
        with_cluster(lambda: node_requests.stop_cluster(folder, print))


def with_cluster(work: Callable[[], None]) -> None:
    from memstore.ops.topology import LocalError

    try:
        work()
    except LocalError as error:
        refuse(str(error), error.code)


app.add_typer(local_app, name="local")


@app.command()
def demo() -> None:
    """Kill a primary and a log node under load, and look for every acknowledged write."""
    from memstore.ops.demo import run

    sys.exit(run())


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


@app.command(epilog=STATUS_EXAMPLES)
def status(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[HOST:PORT]...",
            help="engine nodes (default: the local cluster's, else 127.0.0.1:6379)",
        ),
    ] = None,
    dir: LocalFolder = Path(".memstore"),
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, for programs")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="again every second, until Ctrl-C")
    ] = False,
    password: Password = "",
    password_file: PasswordFile = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="file with the secret shared with the log nodes")
    ] = None,
) -> None:
    """One screen: which node is the primary, and how every engine node and log node is."""
    from memstore.ops.status import NothingAnswers, StatusError, show

    try:
        log_secret = secret_files.read_log_secret(secret_file) if secret_file is not None else None
        words = secret(password_file) or password
        code = asyncio.run(show(targets or [], dir, words, log_secret, as_json, watch))
    except NothingAnswers as error:
        refuse(str(error), FAILED)
    except (StatusError, secret_files.SecretFileError) as error:
        refuse(str(error), WRONG_SETTING)
    sys.exit(code)


@app.command()
def health(
    target: Annotated[str, typer.Argument(metavar="HOST:PORT")] = "127.0.0.1:6379",
    password: Password = "",
    password_file: PasswordFile = None,
) -> None:
    """For health checks: exit code 0 if the engine node serves, else 1 with the reason."""
    from memstore.ops.status import StatusError, healthy

    try:
        reason = asyncio.run(healthy(target, secret(password_file) or password))
    except StatusError as error:
        refuse(str(error), WRONG_SETTING)
    if reason:
        refuse(reason, FAILED)


@app.command("settings")
def show_settings() -> None:
    """Print a memstore.toml with every setting, its unit, its range and its default."""
    print(example(), end="")


@app.command("secret")
def make_secrets(files: Annotated[list[Path], typer.Argument(metavar="FILE...")]) -> None:
    """Make files with a random secret each; one that exists is left as it is."""
    for path in files:
        try:
            made = secret_files.make(path)
        except secret_files.SecretFileError as error:
            refuse(str(error), FAILED)
        print(f"{path}: {'made' if made else 'is there already'}")


@app.command()
def version() -> None:
    """Print the version."""
    print(VERSION)


def main() -> None:
    if not __debug__:
        refuse(
            "asserts are part of the design: start without -O and without PYTHONOPTIMIZE",
            WRONG_SETTING,
        )
    try:
        app(standalone_mode=False)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        # An error of the option parser, without its usage text. The error classes moved between
        # versions, but all have this method.
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            if isinstance(error, typer.Abort):
                raise SystemExit(130) from None
            raise
        text = format_message().replace("\n", " ").strip()
        if not text:  # no command given: the help has been printed
            raise SystemExit(WRONG_SETTING) from None
        refuse(text, getattr(error, "exit_code", WRONG_SETTING))


if __name__ == "__main__":
    main()
