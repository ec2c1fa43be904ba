"""Starts and ends an engine node's process: sockets, signals, exit codes.

Decides: the one line that is printed when the node cannot start: exit code 2 for a wrong setting, 1
for anything else.
Must not know: roles.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import Final, cast

import structlog
import uvloop

from memstore import events
from memstore.config import ServerConfig
from memstore.log.interface import LogUnusable
from memstore.log.opening import make_log
from memstore.node.descriptors import RESERVED, Room, make_room
from memstore.node.node import EngineNode
from memstore.secret_files import SecretFileError, read_log_secret
from memstore.version import VERSION
from txlog.address import AddressError, LogAddress
from txlog.resolver import RESOLVER
from txlog.trust import NoSecret, check_callee

FAILED: Final = 1
WRONG_SETTING: Final = 2
LAST_WORDS_S: Final = 0.05  # time for the last replies to leave
OWN_NAME_S: Final = 5.0  # a resolver must find this machine's address within this time

log = structlog.get_logger("memstore.node")


class NodeStartError(Exception):
    """One line for the operator, and the exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


def run(config: ServerConfig) -> int:
    """Serve until a signal or SHUTDOWN; returns the exit code."""
    events.configure(config.log_level, config.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(config))
    except NodeStartError as error:
        sys.stderr.write(f"memstore: {error}\n")
        return error.code


async def serve(config: ServerConfig) -> int:
    address, secret = read_addresses(config)
    room = fit_clients(config)
    sockets = open_sockets(config.bind, config.port, room.backlog)
    port = int(sockets[0].getsockname()[1])
    host = config.announce_host or await announced(sockets)
    rng = random.Random(int.from_bytes(os.urandom(16), "big"))
    transaction_log = make_log(
        address, config.az, rng, secret, config.create_log, config.commit_timeout_ms
    )
    try:
        await transaction_log.open()
    except (LogUnusable, OSError, ValueError) as error:
        raise NodeStartError(f"the log {address} cannot be used: {error}") from None
    node = EngineNode(config, transaction_log, host, config.announce_port or port, rng)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(node.errors.on_loop_error)
    servers = [
        await loop.create_server(
            lambda: cast(asyncio.Protocol, node.new_connection()), sock=sock, backlog=room.backlog
        )
        for sock in sockets
    ]
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, node.terminate, signal.Signals(number).name)
    log.info(
        "start",
        text=f"memstore {VERSION} on port {port}, az {config.az or '-'}, log {address}",
        pid=os.getpid(),
        node=node.facts.node_id,
    )
    if not transaction_log.embedded:
        node.facts_writer.update_quorum()
    node.start()
    try:
        return await node.ended
    finally:
        for server in servers:
            server.close()
        await node.stop()
        await asyncio.sleep(LAST_WORDS_S)


def fit_clients(config: ServerConfig) -> Room:
    """Lower maxclients to what the limit on open files leaves room for, and report it. Raises
    `NodeStartError`.
    """
    room = make_room(config.maxclients, config.tcp_backlog)
    if not room.enough:
        raise NodeStartError(
            f"the limit on open files (ulimit -n) is {room.limit}; at least {RESERVED + 1} are "
            f"needed: {RESERVED} are kept back, and one for a client"
        )
    if room.clients < config.maxclients:
        text = (
            f"maxclients is lowered from {config.maxclients} to {room.clients}: the limit on open "
            f"files (ulimit -n) is {room.limit}, and {RESERVED} of them "
            "are kept back for files, log nodes and other nodes"
        )
        log.warning(
            "maxclients", text=text, maxclients=room.clients, limit=room.limit, reserved=RESERVED
        )
        config.maxclients = room.clients
        config.most_clients = room.clients
    return room


def read_addresses(config: ServerConfig) -> tuple[LogAddress, bytes | None]:
    try:
        address = LogAddress.parse(config.log)
        secret = read_log_secret(Path(config.secret_file)) if config.secret_file else None
        check_callee(
            [host for host, _ in address.nodes],
            secret,
            config.log_without_secret,
            "log-without-secret = yes",
        )
    except (AddressError, SecretFileError, NoSecret) as error:
        raise NodeStartError(str(error), WRONG_SETTING) from None
    return address, secret


def open_sockets(bind: str, port: int, backlog: int) -> list[socket.socket]:
    """One listening socket for each address. A ``-`` before an address: no error if the address
    does not exist. Raises `NodeStartError`.
    """
    opened: list[socket.socket] = []
    for word in bind.split() or ["127.0.0.1"]:
        optional, name = word.startswith("-"), word.removeprefix("-")
        try:
            for family, place in places(name):
                taken = opened[0].getsockname()[1] if opened and not port else port
                opened.append(listen(family, place, taken, backlog))
        except OSError as error:
            if optional and error.errno in (
                errno.EADDRNOTAVAIL,
                errno.EAFNOSUPPORT,
                errno.ENOPROTOOPT,
            ):
                continue
            for sock in opened:
                sock.close()
            if error.errno == errno.EADDRINUSE:
                raise NodeStartError(f"port {port} on {name} is in use") from None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise NodeStartError(
                    f"port {port} on {name} may not be used: {os.strerror(error.errno)}"
                ) from None
            raise NodeStartError(
                f"cannot listen on {name}:{port}: {error.strerror or error}", WRONG_SETTING
            ) from None
    if not opened:
        raise NodeStartError(
            f"none of the addresses in bind = '{bind}' exists on this machine", WRONG_SETTING
        )
    return opened


def places(name: str) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses that an entry of ``bind`` means: itself, every address (``*``, ``::*``), or the
    addresses of a host name.
    """
    if name in ("*", "0.0.0.0"):
        return [(socket.AF_INET, "0.0.0.0")]
    if name == "::*":
        return [(socket.AF_INET6, "::")]
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found))


def listen(family: socket.AddressFamily, place: str, port: int, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((place, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


async def announced(sockets: list[socket.socket]) -> str:
    """The host that other nodes get: the first address listened on, or this machine's name if that
    is every address.
    """
    host = str(sockets[0].getsockname()[0])
    if host not in ("0.0.0.0", "::"):
        return host
    name = socket.gethostname()
    try:
        addresses = await RESOLVER.find(name, OWN_NAME_S)
    except (OSError, TimeoutError) as error:
        log.warning(
            "own-name",
            text="others are told 127.0.0.1, set announce-host: this machine's name has no "
            f"address: {error}",
        )
        return "127.0.0.1"
    return next((address for address in addresses if ":" not in address), addresses[0])
