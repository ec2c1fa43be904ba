"""`memstore status` and `memstore health`: which nodes to ask, and what their answers mean.

Decides: which nodes are asked, the exit code, the JSON form.
Must not know: how a screen looks (`status_screen`), and anything that nodes do not report about
themselves. No decision depends on this. One node is enough to find the others: engine nodes through
INFO replication, log nodes through INFO log. A node that does not answer is a line, not an error,
as long as another one answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import hiredis
from rich.console import Console

from memstore.engine.values import parse_integer
from memstore.ops.processes import PROC, alive, command_of
from memstore.ops.resp_client import NoAnswer, RespClient, parse_info
from memstore.ops.status_screen import EngineAnswer, HostPort, Screen, draw, screen_width
from memstore.ops.topology import TOPOLOGY
from txlog.address import format_host_port, parse_host_port
from txlog.client import AddressError
from txlog.tools.admin import ask_status

DEFAULT_PORT: Final = 6379
NODES_MAX: Final = 64  # asked at most: a node's list of others may be wrong
# a node, then the primary that it names, then the replicas that the primary names
ROUNDS_MAX: Final = 3
WATCH_S: Final = 1.0  # between two screens
PASSWORD_NEEDED: Final = "password needed"
PASSWORD_HELP: Final = "give --password-file FILE, or set REDISCLI_AUTH"


class StatusError(Exception):
    """An argument that names no node; the text is one line."""


class NothingAnswers(Exception):
    """No node answers; the text is one line."""


@dataclass(slots=True)
class Targets:
    engines: list[HostPort]
    logs: list[HostPort]
    names: dict[HostPort, str]  # of the processes of a local cluster
    assumed: bool = False  # nothing names the nodes: the default port is tried


# --------------------------------------------------------------------------- asking


def find_targets(given: list[str], folder: Path) -> Targets:
    """The nodes ``given``, or those of the running local cluster. Raises `StatusError`."""
    if given:
        return Targets([parse_target(text) for text in given], [], {})
    try:
        rows = json.loads((folder / TOPOLOGY).read_text())["processes"]
        names = {(row["host"], int(row["port"])): (row["name"], row["kind"]) for row in rows}
        running = any(is_running(row) for row in rows)
    except FileNotFoundError:
        running = False
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StatusError(f"{folder / TOPOLOGY} cannot be read: {error}") from None
    if not running:
        return Targets([("127.0.0.1", DEFAULT_PORT)], [], {}, assumed=True)
    of_kind = {
        kind: [address for address, (_, row_kind) in names.items() if row_kind == kind]
        for kind in ("engine", "log")
    }
    return Targets(
        of_kind["engine"], of_kind["log"], {address: name for address, (name, _) in names.items()}
    )


def is_running(row: dict[str, Any]) -> bool:
    """Whether a process of topology.json runs. A file of an earlier run may have pids that now
    belong to other programs.
    """
    pid = row["pid"]
    if pid is None or not alive(int(pid)):
        return False
    return not PROC.is_dir() or command_of(int(pid)) == [word.encode() for word in row["command"]]


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
    if isinstance(answer, hiredis.ReplyError) and str(answer).startswith("NOAUTH"):
        return EngineAnswer(address, error=PASSWORD_NEEDED)
    if not isinstance(answer, bytes):
        return EngineAnswer(address, error=str(answer))
    facts = parse_info(answer)
    return (
        EngineAnswer(address, facts)
        if "memstore_role" in facts
        else EngineAnswer(address, error="not a memstore node")
    )


async def ask_engines(targets: list[HostPort], password: str) -> list[EngineAnswer]:
    """Ask the targets and the nodes that they name."""
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
    """Nodes that ``engine`` knows, with the id that it has for each ("": none)."""
    host, port = engine.facts.get("master_host", ""), engine.number("master_port")
    if host and port:
        yield (host, port), ""
    for replica in engine.listed("slave"):
        number = parse_integer(replica.get("port", "").encode("utf-8", "surrogateescape"))
        if replica.get("ip") and number is not None:
            yield (replica["ip"], number), replica.get("id", "")


def one_per_node(engines: Iterable[EngineAnswer]) -> list[EngineAnswer]:
    """One answer for each node, even if it was reached by two addresses; the first stays."""
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
    if engine.error == PASSWORD_NEEDED:
        return f"{target}: {PASSWORD_NEEDED}: {PASSWORD_HELP}"
    if engine.error:
        return engine.error
    return "" if engine.role in ("primary", "replica") else f"{target} is {engine.role}"


# --------------------------------------------------------------------------- the whole


async def look(given: list[str], folder: Path, password: str, secret: bytes | None) -> Screen:
    """Ask all nodes. Raises `StatusError`, and `NothingAnswers`."""
    targets = find_targets(given, folder)
    engines = await ask_engines(targets.engines, password)
    nodes = await ask_status(targets.logs or log_addresses(engines), secret)
    if not nodes and not any(engine.facts for engine in engines):
        raise NothingAnswers(why_nothing(engines, targets.assumed, folder))
    return Screen(engines, nodes, targets.names)


def why_nothing(engines: list[EngineAnswer], assumed: bool, folder: Path) -> str:
    if any(engine.error == PASSWORD_NEEDED for engine in engines):
        return f"{PASSWORD_NEEDED}: {PASSWORD_HELP}"
    if assumed and all("cannot be reached" in engine.error for engine in engines):
        return (
            f"no cluster runs here (nothing in {folder}, nothing at 127.0.0.1:{DEFAULT_PORT}): "
            "start one with 'make run' or 'memstore local', or name a node: memstore status "
            "HOST:PORT"
        )
    return "; ".join(engine.error for engine in engines)


async def show(
    given: list[str],
    folder: Path,
    password: str,
    secret: bytes | None,
    as_json: bool = False,
    watch: bool = False,
) -> int:
    """Print the screen; with ``watch``, repeatedly. Returns 0 if a primary serves, else 1. Raises
    `StatusError`, and `NothingAnswers`.
    """
    console = Console(highlight=False, width=screen_width())
    while True:
        screen = await look(given, folder, password, secret)
        if watch and console.is_terminal and not as_json:
            console.clear()
        if as_json:
            text = json.dumps(as_dict(screen), indent=None if watch else 2)
            console.print(text, markup=False, soft_wrap=True)
        else:
            draw(console, screen)
        if not watch:
            return 0 if screen.primaries else 1
        await asyncio.sleep(WATCH_S)


def as_dict(screen: Screen) -> dict[str, Any]:
    """The form of `--json`: numbers as numbers, unknown values as null."""
    return {
        "primary": next((format_host_port(*one.address) for one in screen.primaries), None),
        "engine_nodes": [engine_row(screen, engine) for engine in screen.engines],
        "log_nodes": [
            {"name": screen.names.get(parse_host_port(node.address)), **asdict(node)}
            for node in screen.nodes
        ],
    }


def engine_row(screen: Screen, engine: EngineAnswer) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": screen.names.get(engine.address),
        "address": format_host_port(*engine.address),
        "error": engine.error or None,
    }
    if engine.error:
        return row
    return row | {
        "az": engine.facts.get("availability_zone"),
        "role": engine.role,
        "term": engine.number("log_term"),
        "applied": engine.number("log_applied"),
        "lag": screen.lag(engine),
        "lease_left_ms": engine.number("lease_left_ms") if engine.role == "primary" else None,
        "clients": engine.number("connected_clients"),
        "memory_bytes": engine.number("used_memory"),
        "version": engine.facts.get("memstore_version"),
    }


def log_addresses(engines: list[EngineAnswer]) -> list[HostPort]:
    found: dict[HostPort, None] = {}
    for engine in engines:
        for node in engine.listed("log_node"):
            try:
                found[parse_host_port(node.get("address", ""))] = None
            except AddressError:
                continue  # an embedded log has no address
    return list(found)
