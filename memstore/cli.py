"""The command line: `memstore server`, `local`, `demo`, `status`, `health`, `secret`, `settings`,
`version`.

Decides: options, and that everything wrong with them is told in one line on standard error with an
exit code: 2 for a setting that is wrong, 1 for anything else that keeps a command from its work.
Must not know: how the work is done.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from memstore import secret_files
from memstore.config import ConfigError, ServerConfig, example, load
from memstore.version import VERSION

FAILED: Final = 1
WRONG_SETTING: Final = 2

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="An in-memory store that speaks RESP; every acknowledged write is on disk in two of "
    "three zones.",
)


def refuse(text: str, code: int) -> NoReturn:
    print(f"memstore: {text}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def settings(path: Path | None, overrides: dict[str, Any]) -> ServerConfig:
    try:
        return load(path, overrides)
    except ConfigError as error:
        refuse(str(error), WRONG_SETTING)


def secret(path: Path | None) -> str:
    """What a secret file holds; nothing where none is given."""
    try:
        return secret_files.read(path) if path is not None else ""
    except secret_files.SecretFileError as error:
        refuse(str(error), WRONG_SETTING)


def pairs(given: list[str]) -> dict[str, str]:
    """``--set name=value``, any number of times."""
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

# Options are taken as text where a setting stands behind them: the table of settings knows their
# types and limits, and says what is wrong in its own line.


@app.command()
def server(
    port: Annotated[str | None, typer.Option(help="TCP port for clients (default 6379)")] = None,
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
    lease_ms: Annotated[
        str | None, typer.Option(help="the primary's lease in milliseconds (default 1000)")
    ] = None,
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
    # here, so that the other commands start without the server's imports
    from memstore.node.node import run

    sys.exit(run(values))


@app.command()
def local(
    dir: Annotated[
        Path, typer.Option("--dir", help="folder for data, traces and topology.json")
    ] = Path(".memstore"),
    port: Annotated[
        int, typer.Option(help="port of the first engine node; the others follow", min=1, max=65535)
    ] = 6379,
    log_port: Annotated[
        int,
        typer.Option(
            help="port of the first log node; the others follow (default 7401)",
            min=0,
            max=65535,
            show_default=False,
        ),
    ] = 0,
    replicas: Annotated[
        int, typer.Option(help="engine nodes beside the primary", min=0, max=32)
    ] = 2,
    lease_ms: Annotated[
        str | None, typer.Option(help="the primary's lease in milliseconds (default 1000)")
    ] = None,
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
    from memstore.ops.local import run
    from memstore.ops.topology import LocalError, Plan

    values = settings(
        config, {"lease-ms": lease_ms} | ({"cluster-enabled": True} if cluster else {})
    )
    if bool(compile_command) != bool(compiled_tree):
        refuse("--compile-command and --compiled-tree go together", WRONG_SETTING)
    plan = Plan(
        dir,
        port,
        log_port,
        replicas,
        values.lease_ms,
        reset,
        restart,
        config,
        cluster,
        shlex.split(compile_command),
        compiled_tree,
    )
    try:
        code = run(plan, say, values.requirepass)
    except LocalError as error:
        refuse(str(error), error.code)
    sys.exit(code)


@app.command()
def demo() -> None:
    """Kill a primary and a log node under load, and look for every acknowledged write."""
    from memstore.ops.demo import run

    sys.exit(run())


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


@app.command()
def status(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[HOST:PORT]...",
            help="engine nodes (default: the local cluster's, else 127.0.0.1:6379)",
        ),
    ] = None,
    dir: Annotated[Path, typer.Option("--dir", help="folder of a local cluster")] = Path(
        ".memstore"
    ),
    password: Password = "",
    password_file: PasswordFile = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="file with the secret shared with the log nodes")
    ] = None,
) -> None:
    """One screen: who is primary, and how every node of the shard and of its log is doing."""
    from memstore.ops.status import StatusError, show

    try:
        log_secret = secret_files.read_log_secret(secret_file) if secret_file is not None else None
        code = asyncio.run(show(targets or [], dir, secret(password_file) or password, log_secret))
    except (StatusError, secret_files.SecretFileError) as error:
        refuse(str(error), WRONG_SETTING)
    sys.exit(code)


@app.command()
def health(
    target: Annotated[str, typer.Argument(metavar="HOST:PORT")] = "127.0.0.1:6379",
    password: Password = "",
    password_file: PasswordFile = None,
) -> None:
    """Exit code 0 if the engine node serves (as primary or replica), else 1 with the reason:
    for health checks.
    """
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
        # What the option parser found wrong, without its page of usage. Its classes moved between
        # versions; what they share is this method.
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
