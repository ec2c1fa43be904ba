"""A log node's process: data folder, listening socket, logs, signals, and the exit code.

Decides: which connections and logs exist, and with which code and words the process ends.
Must not know: what a log's messages mean.
Invariants: a log is opened once, however many callers name it; a node without a group has no log
(S7); a failed disk ends the process at once (A5).
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import secrets
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn, cast

import structlog

from txlog import handshake
from txlog.address import format_host_port, valid_log_name
from txlog.clock import now_us
from txlog.config import LogServerConfig
from txlog.messages import (
    DeleteLog,
    Hello,
    InitDone,
    InitGroup,
    JoinGroup,
    Membership,
    Reject,
    Status,
    StatusQuery,
    Welcome,
)
from txlog.server.admission import CALLED_BY_A_GROUP, check_group, check_log
from txlog.server.callers import Callers
from txlog.server.connection import CallerConnection, NodeMessage
from txlog.server.deletion import Deletions
from txlog.server.driver import LogDriver
from txlog.server.identity import DataFolder, DiskFull, Identity
from txlog.server.logs import StoreRefused, open_store
from txlog.server.membership import (
    MembershipGossip,
    check_version,
    current,
    is_member,
    refusal_of,
    superseded,
)
from txlog.server.peers import PeerLinks
from txlog.server.scrubbing import ScrubLimits
from txlog.server.session import CallerSession
from txlog.storage.files import keep_descriptors
from txlog.wire import PROTOCOL

# Exit codes, for service managers and people.
EXIT_OK: Final = 0
EXIT_DISK: Final = 1  # an I/O error on a log
EXIT_SETTING: Final = 2
EXIT_PORT: Final = 3
EXIT_FOLDER: Final = 4

GROUP_BYTES: Final = 16  # of a group's id
# A caller waits at most this long for a log that is being opened. Then it gets a proven refusal and
# tries again.
_OPENING_PATIENCE_S: Final = 2.0
_PEER: Final = "peer"
_FULL: Final = Reject(f"{handshake.BUSY}: the disk of this log node is full, nothing was changed")

log = structlog.get_logger("txlog.node")


class LogNodeStartError(Exception):
    """The node cannot start; the text is one line for the operator."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


def halt(reason: str) -> NoReturn:
    """A5: end at once, without a flush or a close: the kernel may mark pages clean that never
    reached the disk.
    """
    sys.stderr.write(f"txlog: halted: {reason}\n")
    sys.stderr.flush()
    os._exit(EXIT_DISK)


class LogNode:
    """Implements `connection.LogNodeServices`. ``port`` is the one that was given, never 0."""

    def __init__(self, config: LogServerConfig, folder: DataFolder) -> None:
        self.config = config
        self.secret = config.secret
        self.max_frame_bytes = config.max_frame_bytes
        self.port = config.port
        self.incarnation = secrets.token_bytes(handshake.INCARNATION_BYTES)
        self._folder = folder
        self._rng = random.Random(secrets.randbits(128))
        self._logs: dict[str, asyncio.Task[LogDriver]] = {}
        # logs of this node that could not be opened at the start, with the reasons; they stay
        # closed until the process ends
        self._refused: dict[str, str] = {}
        self.max_output_bytes = config.max_output_bytes
        self._callers = Callers(
            config.max_connections,
            config.max_callers_per_address,
            config.max_total_output_bytes,
            config.max_total_input_bytes,
        )
        self._pid = os.getpid()
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="log reader")
        self._server: asyncio.Server | None = None
        self._beats: asyncio.Task[None] | None = None
        self._gossip = MembershipGossip(lambda: self.identity, self._on_gossip, self.secret)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._called_by = b""  # the group of a calling member or client, while this node has none
        self._deletions = Deletions(folder, self)

    @property
    def identity(self) -> Identity:
        return self._folder.identity

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Open the logs of the folder, then listen. Raises `LogNodeStartError`."""
        loop = asyncio.get_running_loop()
        for name in self.identity.logs:
            try:
                await self._driver(name)
            except StoreRefused as error:
                self._refused[name] = str(error)
                log.error("log refused, the others are served", log=name, reason=str(error))
        if self._refused and len(self._refused) == len(self.identity.logs):
            raise LogNodeStartError(next(iter(self._refused.values())), EXIT_FOLDER)
        try:
            self._server = await loop.create_server(
                lambda: cast(asyncio.Protocol, CallerConnection(self)),
                self.config.bind,
                self.config.port,
                backlog=512,
            )
        except OSError as error:
            where = format_host_port(self.config.bind, self.config.port)
            why = (
                "the port is taken"
                if error.errno == errno.EADDRINUSE
                else (error.strerror or str(error))
            )
            raise LogNodeStartError(f"cannot listen on {where}: {why}", EXIT_PORT) from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._callers.measure(len(self._logs))
        self._beats = loop.create_task(self._beat(), name="heartbeats")
        log.info(
            "log node listens", address=format_host_port(self.config.bind, self.port),
            az=self.config.az, data=str(self.config.data),
            group=self.identity.group or "none yet: run txlog init", node=self.identity.node,
            logs=self.identity.logs,
        )  # fmt: skip
        if self.identity.others:
            self._gossip.start()
        self._warn_if_replaced()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._beats is not None:
            self._beats.cancel()
        self._gossip.stop()
        for connection in self._connections():
            connection.close()
        for task in self._logs.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().close()
        self._readers.shutdown(wait=False)
        self._folder.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.config.heartbeat_ms / 1000)
            keep_descriptors()
            for task in self._logs.values():
                if task.done() and task.exception() is None:
                    task.result().beat()

    # ------------------------------------------------------------------ logs

    def _opened(self, name: str) -> asyncio.Task[LogDriver]:
        """The opening goes on even if every caller that waits for it gives up."""
        task = self._logs.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._open(name), name=f"open log {name}")
            self._logs[name] = task
        return task

    async def _driver(self, name: str) -> LogDriver:
        try:
            return await asyncio.shield(self._opened(name))
        except StoreRefused:
            self._logs.pop(name, None)
            raise

    async def _open(self, name: str) -> LogDriver:
        loop = asyncio.get_running_loop()
        config = self.config
        store = await loop.run_in_executor(
            None, open_store, self._folder, name, config.segment_bytes, config.cache_bytes
        )
        scrub = ScrubLimits(config.scrub_bytes_per_s, config.scrub_pause_s)
        driver = LogDriver(
            name,
            store,
            sorted(self.identity.others),
            self._rng,
            now_us,
            halt,
            self._readers,
            scrub,
            config.max_lease_ms,
        )
        driver.peers = self._peer_links(driver)
        driver.start()
        if self._server is not None:
            self._callers.measure(len(self._logs))
        log.info("log opened", **driver.status())
        return driver

    def _drivers(self) -> list[LogDriver]:
        return [
            task.result()
            for _, task in sorted(self._logs.items())
            if task.done() and not task.cancelled() and task.exception() is None
        ]

    def _peer_links(self, driver: LogDriver) -> PeerLinks:
        name = driver.name
        return PeerLinks(
            self.identity.others,
            lambda: self._peer_hello(name),
            self.secret,
            self._rng,
            driver.on_peer_fetched,
            self._gossip.on_membership_version,
            self.identity.members,
        )

    def _peer_hello(self, name: str) -> Hello:
        return Hello(
            PROTOCOL,
            name,
            self.incarnation,
            _PEER,
            self.identity.membership,
            self.identity.group_id,
        )

    # ------------------------------------------------------------------ connection.LogNodeServices

    def door(self, nonce: bytes) -> handshake.Door:
        return handshake.Door(self.secret, nonce, self.identity.group_id, self.identity.node)

    def check_hello(self, hello: Hello) -> Reject | None:
        if hello.group and not self.identity.group:
            self._called_by = hello.group
        if wrong := check_group(self.identity, hello):
            return wrong
        if wrong := check_version(self.identity, hello):
            self._gossip.on_membership_version(hello.membership)
            return wrong
        known = set(self.identity.logs) | set(self._logs)
        return check_log(self.identity, hello, known, self.config.max_logs) if hello.log else None

    async def open_session(self, hello: Hello, connection: CallerConnection) -> CallerSession | str:
        if hello.log in self._refused:
            return f"{handshake.LOG}: {self._refused[hello.log]}"
        try:
            if not (await asyncio.wait((self._opened(hello.log),), timeout=_OPENING_PATIENCE_S))[0]:
                return f"{handshake.BUSY}: the log is being opened"
            driver = await self._driver(hello.log)
        except StoreRefused as error:
            log.error("log cannot be opened", log=hello.log, reason=str(error))
            return f"{handshake.LOG}: {error}"
        except OSError as error:
            halt(
                f"log '{hello.log}': {error.filename or self.config.data}: "
                f"{error.strerror or error}"
            )
        except Exception as error:
            log.error("log cannot be opened", log=hello.log, exc_info=error)
            halt(f"log '{hello.log}': {error!r}")
        return CallerSession(driver, connection, hello.purpose == _PEER)

    def welcome(self, hello: Hello) -> Welcome:
        identity = self.identity
        return Welcome(
            identity.node,
            self.config.az,
            identity.group_id,
            identity.membership,
            identity.members,
            self.incarnation,
            identity.folder,
        )

    def on_connection(self, connection: CallerConnection) -> str:
        return self._callers.add(connection)

    def on_greeted(self, connection: CallerConnection) -> None:
        self._callers.greeted(connection)

    def on_connection_lost(self, connection: CallerConnection) -> None:
        self._callers.remove(connection)

    def on_output(self, connection: CallerConnection, held: int) -> None:
        self._callers.on_output(connection, held)

    def on_input(self, connection: CallerConnection, held: int) -> None:
        self._callers.on_input(connection, held)

    def _connections(self) -> list[CallerConnection]:
        return cast(list[CallerConnection], self._callers.everyone())

    def on_node_message(self, connection: CallerConnection, message: NodeMessage) -> None:
        if isinstance(message, StatusQuery):
            connection.send(Status(message.token, json.dumps(self.status())))
        elif isinstance(message, InitGroup):
            connection.send(self._init(message))
        elif isinstance(message, JoinGroup):
            connection.send(self._join(message))
        elif isinstance(message, DeleteLog):
            self._in_background(self._delete(connection, message))
        else:
            connection.send(self._adopt(message, False))

    # ------------------------------------------------------------------ administration

    def _init(self, wanted: InitGroup) -> InitDone | Reject:
        """S7: make the group. Blocks the loop for two fsyncs, once in a node's life."""
        identity = self.identity
        members = dict(member.split("=", 1) for member in wanted.members if "=" in member)
        if (
            len(wanted.group) != GROUP_BYTES
            or wanted.node not in members
            or len(members) != len(wanted.members)
        ):
            return Reject(
                f"{handshake.PROTOCOL}: a group needs an id of {GROUP_BYTES} bytes and distinct "
                "members, this node among them"
            )
        if wrong := next((member for member in wanted.members if not is_member(member)), None):
            return Reject(f"{handshake.PROTOCOL}: {wrong[:80]!r} is not a member: NODE=HOST:PORT")
        if identity.group:
            if (identity.group_id, identity.node, identity.members) == (
                wanted.group,
                wanted.node,
                wanted.members,
            ):
                return InitDone(wanted.group, wanted.node, False)
            return Reject(
                f"{handshake.GROUP}: this log node is '{identity.node}' of group {identity.group} "
                "already"
            )
        if self._called_by not in (b"", wanted.group):
            return Reject(CALLED_BY_A_GROUP)
        try:
            self._folder.write(
                Identity(
                    wanted.group.hex(), wanted.node, 1, list(wanted.members), [], identity.folder
                )
            )
        except DiskFull:
            return _FULL
        except OSError as error:
            halt(f"{self.config.data}: {error.strerror or error}")
        self._gossip.start()
        log.info(
            "log node joined its group",
            group=wanted.group.hex(),
            node=wanted.node,
            members=wanted.members,
        )
        return InitDone(wanted.group, wanted.node, True)

    # ------------------------------------------------------------------ S8: another membership

    def _adopt(self, wanted: Membership, from_member: bool) -> Membership | Reject:
        """Take a membership: write it to the disk first, then end the old version's connections.

        After it, the node answers nothing that was asked under the old version and refuses callers
        that use it. Blocks the loop for two fsyncs.
        """
        identity = self.identity
        if reason := refusal_of(identity, wanted, from_member):
            return Reject(reason)
        if wanted.version > identity.membership:
            try:
                self._folder.take_membership(wanted.version, wanted.members)
            except DiskFull:
                return _FULL
            except OSError as error:
                halt(f"{self.config.data}: {error.strerror or error}")
            log.info(
                "the group has another membership", version=wanted.version, members=wanted.members
            )
            for connection in self._connections():
                if connection.log_name:
                    connection.retire(
                        superseded(
                            self.identity, f"the group is at version {wanted.version} from now on"
                        )
                    )
            for driver in self._drivers():
                if not self.identity.replaced:
                    driver.on_membership(sorted(self.identity.others), self._peer_links(driver))
            self._warn_if_replaced()
        return current(self.identity)

    def _on_gossip(self, news: Membership) -> None:
        answer = self._adopt(news, True)
        if isinstance(answer, Reject):
            log.error(
                "another log node goes by a membership that cannot be taken here",
                version=news.version,
                members=news.members,
                reason=answer.reason,
            )

    def _warn_if_replaced(self) -> None:
        identity = self.identity
        if identity.replaced:
            log.error(
                "this log node was replaced; stop it, and empty its folder before the machine is "
                "used as a log node again",
                node=identity.node,
                version=identity.membership,
                members=identity.members,
            )

    def _join(self, wanted: JoinGroup) -> InitDone | Reject:
        """Take the place in the group. It belongs to this folder only, so a lost disk cannot come
        back under the same id.
        """
        identity = self.identity
        if wanted.folder != identity.folder or not identity.folder:
            return Reject(
                f"{handshake.GROUP}: the place was made for another data folder than this node's"
            )
        if identity.group:
            if (identity.group_id, identity.node) == (wanted.group, wanted.node):
                self._open_all(wanted.logs)  # the process may have ended before they existed
                return InitDone(wanted.group, wanted.node, False)
            return Reject(
                f"{handshake.GROUP}: this log node is '{identity.node}' of group {identity.group} "
                "already"
            )
        fresh = Identity(
            wanted.group.hex(),
            wanted.node,
            wanted.version,
            list(wanted.members),
            [],
            identity.folder,
            wanted.version,
        )
        if (
            len(wanted.group) != GROUP_BYTES
            or fresh.replaced
            or wanted.version < 2
            or not all(map(is_member, wanted.members))
        ):
            return Reject(
                f"{handshake.PROTOCOL}: a learner needs a group's id of {GROUP_BYTES} bytes, a "
                "version above 1, and members, this node among them"
            )
        try:
            self._folder.write(fresh)
        except DiskFull:
            return _FULL
        except OSError as error:
            halt(f"{self.config.data}: {error.strerror or error}")
        log.info(
            "log node joins its group",
            group=fresh.group,
            node=wanted.node,
            version=wanted.version,
            members=wanted.members,
        )
        self._open_all(wanted.logs)
        self._gossip.start()
        return InitDone(wanted.group, wanted.node, True)

    # ------------------------------------------------------------------ deletion.NodeLogs

    async def _delete(self, connection: CallerConnection, wanted: DeleteLog) -> None:
        try:
            connection.send(await self._deletions.step(wanted))
        except OSError as error:
            halt(f"{self.config.data}: {error.strerror or error}")
        except Exception as error:
            log.error("a log cannot be deleted", log=wanted.log, exc_info=error)
            halt(f"log '{wanted.log}': {error!r}")

    def in_use(self, name: str) -> str:
        task = self._logs.get(name)
        if task is not None and not task.done():
            return f"log '{name}' is being opened"
        users = [
            connection.peer_name
            for connection in self._connections()
            if connection.log_name == name and connection.purpose != _PEER
        ]
        if users:
            return (
                f"log '{name}' has {len(users)} connections of engine nodes ({users[0]}): stop "
                "those engine nodes first"
            )
        left = next(
            (
                driver.heartbeat().window_left_ms
                for driver in self._drivers()
                if driver.name == name
            ),
            0,
        )
        return f"a writer's lease on log '{name}' runs for {left} ms more" if left else ""

    def last_position(self, name: str) -> int:
        return next(
            (driver.heartbeat().last[1] for driver in self._drivers() if driver.name == name), 0
        )

    async def close_log(self, name: str) -> None:
        for connection in self._connections():
            if connection.log_name == name:
                connection.retire(Reject(f"{handshake.LOG}: log '{name}' is being deleted"))
        self._refused.pop(name, None)
        task = self._logs.pop(name, None)
        if task is not None and not task.cancelled() and task.exception() is None:
            await task.result().close()

    # ------------------------------------------------------------------ a new member's logs

    def _open_all(self, names: list[str]) -> None:
        for name in names:
            if valid_log_name(name):
                self._in_background(self._driver(name))

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        """An error in the task is the log's: a caller that asks for the log gets it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("log cannot be opened", reason=str(error))

    def status(self) -> dict[str, Any]:
        identity = self.identity
        logs = [driver.status() for driver in self._drivers()]
        return {
            "az": self.config.az, "node": identity.node, "group": identity.group,
            "membership": identity.membership, "members": identity.members,
            "joined": identity.joined, "replaced": identity.replaced, "logs": logs,
            "known_logs": identity.logs, "deleting": identity.deleting,
            "connections": len(self._callers), "max_connections": self._callers.limit,
            "refused": self._refused, "pid": self._pid,
        }  # fmt: skip
