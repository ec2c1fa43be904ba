"""Requests that commands make to the node, and waits of clients for something other than a commit.
Requests are carried out; waits are timed and answered.

Decides: when WAIT, WAITAOF, MEMSTORE WAITFOR, MEMSTORE POSITION and a replica's report are
answered; which clients may connect.
Must not know: the reasons of roles, the log.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog

from memstore.commands.shard import replica_answer, wait_reply
from memstore.engine import access, reply
from memstore.engine.engine import PAUSE_NONE, Engine
from memstore.engine.facts import Facts
from memstore.engine.requests import (
    AbortShutdown,
    AskToLead,
    CloseSession,
    Handover,
    Pause,
    ReplicaReport,
    Request,
    Shutdown,
    Sleep,
    Unpause,
    WaitForReplicas,
)
from memstore.engine.session import Session
from memstore.node.client_connection import ClientConnection
from memstore.node.errors import ErrorContainment
from memstore.node.facts_writer import FactsWriter
from memstore.node.replica_link import ReplicaLink
from memstore.replication.roles import Peer, Roles
from memstore.replication.shard import Shard
from memstore.replication.waiting import wait_of

POLL_US: Final = 100_000  # a replica's report is answered after this time at the latest
HTTP_WARNING_EVERY_US: Final = 60_000_000  # one warning of an HTTP request in this time at most
PROTECTED: Final = (
    b"-DENIED this node has no password and protected mode is on, so it serves clients of this "
    b"machine only. "
    b"Set requirepass, or switch protected-mode off if nobody else can reach this port.\r\n"
)
FULL: Final = b"-ERR max number of clients reached\r\n"

log = structlog.get_logger("memstore.node")


class RequestsNode(Protocol):
    """What `ClientRequests` uses of the node."""

    engine: Engine
    facts: Facts
    shard: Shard
    roles: Roles
    link: ReplicaLink
    errors: ErrorContainment
    facts_writer: FactsWriter
    clock: Callable[[], int]
    loop: asyncio.AbstractEventLoop

    def wall_ms(self) -> int: ...

    def act(self) -> None:
        """Carry out the outputs of the role machine."""

    def resume_sessions(self) -> None:
        """Sessions may go on: resume them in the next turn of the loop."""

    def terminate(self, reason: str, code: int = 0) -> None: ...


class ClientRequests:
    def __init__(self, node: RequestsNode) -> None:
        self.node = node
        self._waits = node.shard.waiting
        self._timer: asyncio.TimerHandle | None = None  # for the earliest deadline of the waits
        self._timer_us = 0
        self._reports: list[tuple[ReplicaReport, int]] = []  # (report, answer by)
        self._links: dict[int, ReplicaReport] = {}  # session id -> newest report over it
        self._handover: Session | None = None  # the session that waits for the hand-over's end
        self._pause: asyncio.TimerHandle | None = None
        self._http_request_us = 0  # when the last warning of an HTTP request was logged

    # ----------------------------------------------------------------- the door

    def accept(self, connection: ClientConnection) -> bytes:
        node, session = self.node, connection.session
        engine, facts = node.engine, node.facts
        transport = connection.transport
        assert transport is not None
        peer = transport.get_extra_info("peername")
        session.address = name_of(peer)
        session.laddr = name_of(transport.get_extra_info("sockname"))
        engine.sessions[session.id] = session
        if len(engine.sessions) > engine.settings.maxclients:
            facts.connections_rejected += 1
            return FULL
        if (
            engine.settings.protected_mode
            and not access.needs_password(engine.settings)
            and not is_local(peer)
        ):
            facts.connections_rejected += 1
            return PROTECTED
        facts.connections_received += 1
        facts.clients_peak = max(facts.clients_peak, len(engine.sessions))
        return b""

    def on_disconnect(self, connection: ClientConnection) -> None:
        node, session = self.node, connection.session
        session.sink = None
        node.engine.sessions.pop(session.id, None)
        report = self._links.pop(session.id, None)
        if report is not None:
            node.roles.on_peer_gone(report.node, report.incarnation)
        self._waits.forget(session)
        self._reports = [
            (request, by) for request, by in self._reports if request.session is not session
        ]
        if self._handover is session:
            self._handover = None
        self._on_waits_changed()

    # ----------------------------------------------------------------- requests

    def run(self) -> None:
        """Take the requests of commands and carry them out in order."""
        engine = self.node.engine
        while engine.requests:
            asked, engine.requests = engine.requests, []
            for request in asked:
                self._handle(request)

    def _handle(self, request: Request) -> None:
        node = self.node
        if isinstance(request, CloseSession):
            self._close(request)
        elif isinstance(request, Sleep):
            time.sleep(request.us / 1e6)  # the purpose of DEBUG SLEEP: the loop stands still
        elif isinstance(request, Pause):
            self._start_pause(request)
        elif isinstance(request, Unpause):
            self._end_pause()
        elif isinstance(request, Shutdown):
            self._shut_down(request)
        elif isinstance(request, AbortShutdown):
            log.info("shutdown-abort", text="asked to call the shutdown off")
        elif isinstance(request, Handover):
            self._hand_over(request)
        elif isinstance(request, AskToLead):
            node.link.order(b"MEMSTORE", b"HANDOVER", node.facts.node_id.encode())
        elif isinstance(request, ReplicaReport):
            self._on_report(request)
        elif isinstance(request, WaitForReplicas):
            self._waits.add(wait_of(request, node.clock()))
            self._on_waits_changed()
            self._answer_reports(node.clock() + POLL_US)

    def _close(self, request: CloseSession) -> None:
        sink = request.session.sink
        if sink is None:
            return
        if request.hostile:
            self._log_http_request(request.session)
            sink.abort()
        elif request.after_replies:
            request.session.closing = True
            request.session.update_fast_path()
            self.node.loop.call_soon(sink.released, b"")
        else:
            sink.close()

    def _log_http_request(self, session: Session) -> None:
        """Logged at most once a minute: a web page can repeat its request."""
        now_us = self.node.clock()
        if not self._http_request_us or now_us - self._http_request_us >= HTTP_WARNING_EVERY_US:
            self._http_request_us = now_us
            text = (
                "possible attack: an HTTP request came to this port, perhaps from a web page; "
                "the connection is closed and the rest of it does not run"
            )
            log.warning("http-request", text=text, client=session.address)

    def _start_pause(self, request: Pause) -> None:
        node = self.node
        node.shard.update_fast_path()
        if self._pause is not None:
            self._pause.cancel()
        self._pause = node.loop.call_later(
            max(0, request.until_ms - node.wall_ms()) / 1000 + 0.001, self._end_pause
        )

    def _end_pause(self) -> None:
        node = self.node
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        node.engine.pause_mode = PAUSE_NONE
        node.shard.update_fast_path()
        node.shard.resume()
        node.resume_sessions()

    def _shut_down(self, request: Shutdown) -> None:
        node = self.node
        if request.now or request.force:
            node.roles.exiting = "SHUTDOWN"
            node.loop.call_soon(node.terminate, "SHUTDOWN NOW")
        else:
            node.loop.call_soon(node.terminate, "SHUTDOWN")

    # ----------------------------------------------------------------- hand-over

    def _hand_over(self, request: Handover) -> None:
        node = self.node
        if request.session is not None and self._handover is not None:
            self._answer_blocked(request.session, reply.error("ERR a hand-over is under way"))
            return
        if request.session is not None:
            self._handover = request.session
        node.loop.call_soon(self._ask_roles, request.wanted, request.session)

    def _ask_roles(self, wanted: str, session: Session | None) -> None:
        if session is None and self.node.roles.phase:
            # FAILOVER has its answer; the waiting session waits for the other hand-over
            log.warning("handover-failed", text="a hand-over is under way")
            return
        self.node.roles.on_handover_asked(wanted, self.node.clock())
        self.node.act()

    def on_handover_over(self, error: str, successor: str) -> None:
        session, self._handover = self._handover, None
        if error:
            log.warning("handover-failed", text=error)
        if session is not None:
            self._answer_blocked(session, reply.error(f"ERR {error}") if error else reply.OK)

    def _answer_blocked(self, session: Session, answer: bytes) -> None:
        """Answer a blocked session. If no reply waits before the answer, go past the shard: a
        change of role that is in progress must not affect it.
        """
        if session.held or session.out:
            self.node.shard.finish(session, answer)
            self.node.resume_sessions()
            return
        session.is_blocked = False
        session.update_fast_path()
        if self.node.errors.release(session, answer):
            self.node.shard.runnable.append(session)
            self.node.resume_sessions()

    # ----------------------------------------------------------------- replicas and waits for them

    def _on_report(self, report: ReplicaReport) -> None:
        node = self.node
        now_us = node.clock()
        before = self._links.get(report.session.id)
        if before is not None and before.node != report.node:
            # one connection reports for one replica
            node.roles.on_peer_gone(before.node, before.incarnation)
        self._links[report.session.id] = report
        node.roles.on_peer(
            Peer(
                report.node, report.incarnation, report.az, report.host, report.port, report.applied
            ),
            now_us,
        )
        if self._waits:
            node.facts_writer.update_shard()
            self.on_progress()
        self._reports.append((report, now_us + POLL_US))
        if node.facts.waiting_for_replicas:
            self._answer_reports(now_us + POLL_US)

    def _answer_reports(self, until_us: int) -> None:
        """Answer the reports that are due by ``until_us``."""
        due = [request for request, by in self._reports if by <= until_us]
        self._reports = [(request, by) for request, by in self._reports if by > until_us]
        for request in due:
            self.node.shard.finish(request.session, replica_answer(self.node.facts, request.node))
        if due:
            self.node.resume_sessions()

    def _on_waits_changed(self) -> None:
        facts = self.node.facts
        facts.waiting_for_replicas, facts.blocked_clients = (
            self._waits.for_replicas,
            len(self._waits),
        )
        deadline_us = self._waits.deadline()
        if self._timer is not None:
            if 0 < self._timer_us <= deadline_us:
                return  # it fires early and is set again: cheaper than a new timer each time
            self._timer.cancel()
            self._timer = None
        if deadline_us:
            self._timer_us = deadline_us
            delay_s = max(0, deadline_us - self.node.clock()) / 1e6 + 0.001
            self._timer = self.node.loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.on_progress()
        self._on_waits_changed()

    def on_progress(self) -> None:
        """Something was committed or applied, here or at a replica, or time has passed. Answer the
        waits that are over.
        """
        waits, node = self._waits, self.node
        if not waits:
            return
        facts = node.facts
        over = waits.on_progress(
            facts.committed,
            facts.committed if facts.role == "primary" else facts.applied,
            [replica.applied for replica in facts.replicas],
        )
        over += waits.on_deadline(node.clock())
        for wait in over:
            if wait.request is not None:
                node.shard.finish(wait.session, wait_reply(facts, wait.request))
        if over:
            self._on_waits_changed()
            node.resume_sessions()

    def on_step_down(self) -> None:
        """This node is no longer the primary. The shard's demotion answers sessions that wait for
        replicas, and the links of replicas.
        """
        self._waits.clear()
        self._reports.clear()
        self._links.clear()
        self._handover = None
        self._on_waits_changed()

    # ----------------------------------------------------------------- time

    def tick(self, count: int) -> None:
        self._answer_reports(self.node.clock())
        timeout = self.node.engine.settings.timeout
        if timeout and count % 10 == 0:
            self._close_idle(self.node.wall_ms() - timeout * 1000)

    def _close_idle(self, before_ms: int) -> None:
        for session in list(self.node.engine.sessions.values()):
            waits = session.is_blocked or session.monitor or session.held or session.parked
            if session.last_ms < before_ms and not waits and session.sink is not None:
                session.sink.close()


def name_of(address: Any) -> str:
    """``host:port`` of a socket's address; a path for a Unix socket."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0], address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return str(address or "")


def is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    try:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback
