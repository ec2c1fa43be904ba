"""An engine node's process: sockets, clocks, timers, and the machines they drive.

Decides: nothing about terms, leases or positions. `roles` says what to do, and this carries it out;
the shard says what may be told, and connections tell it.
Must not know: what a command means, how the log agrees. Everything runs in one loop's thread.

Order of a change of role: the machine's outputs are carried out one after the other, then the
shard's role, the facts and the link follow, and sessions that waited go on in the next turn of the
loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from typing import Any, Final

import structlog

from memstore.commands import build_table
from memstore.config import ServerConfig
from memstore.engine import access
from memstore.engine.engine import Engine, HalfDone
from memstore.engine.keyspace import Keyspace
from memstore.engine.session import Session
from memstore.log.interface import CampaignLost, Heartbeat, Log, NoMajority, Writer
from memstore.node.client_connection import ClientConnection
from memstore.node.client_requests import ClientRequests
from memstore.node.clocks import WallClock
from memstore.node.facts_writer import FactsWriter
from memstore.node.loop_budget import Client, LoopBudget
from memstore.node.primary import PrimaryDriver
from memstore.node.replica import ReplicaDriver
from memstore.node.replica_link import ReplicaLink
from memstore.node.sampling import GcScheduler, LoopLagMonitor, Sampler, describe_process, key_count
from memstore.replication import outputs
from memstore.replication.control_entries import (
    Leadership,
    decode_handover,
    decode_leadership,
    mismatches,
)
from memstore.replication.digest_schedule import Digests
from memstore.replication.follower import Follower
from memstore.replication.roles import CANDIDATE, DRAINING, PRIMARY, RESTORING, Roles
from memstore.replication.shard import Shard
from memstore.version import VERSION
from txlog.clock import timer_s
from txlog.entry import HANDOVER, LEADERSHIP, Entry

TICK_S: Final = 0.1
FREE_UNITS: Final = 20_000  # discarded keys and members let go of at a time: a few milliseconds
FREE_AGAIN_S: Final = 0.01  # between two times while there is more

log = structlog.get_logger("memstore.node")


def node_id(log_name: str, az: str, host: str, port: int) -> str:
    """40 hex digits, the same whenever a node of this address starts again:
    nodes keep nothing on disk.
    """
    return hashlib.sha1(
        f"{log_name}|{az}|{host}:{port}".encode(), usedforsecurity=False
    ).hexdigest()


class EngineNode:
    """See `Host` in `connection` for what connections use of it."""

    def __init__(
        self,
        config: ServerConfig,
        txlog: Log,
        host: str,
        port: int,
        rng: random.Random,
        wall: WallClock | None = None,
    ) -> None:
        self.config = config
        self.log = txlog
        self.clock: Callable[[], int] = txlog.clock
        self.wall = wall or WallClock(txlog.clock)
        self.engine = Engine(config.engine, rng, build_table())
        self.engine.clock_us = self.clock
        self.shard = Shard(self.engine)
        facts = self.facts = self.engine.facts
        facts.host, facts.port, facts.az = host, port, config.az
        facts.log_name = txlog.name
        facts.node_id = node_id(txlog.name, config.az, host, port)
        facts.run_id = hashlib.sha1(txlog.incarnation, usedforsecurity=False).hexdigest()
        facts.started_ms = facts.role_since_ms = self.wall.read()
        describe_process(facts)
        limits = {
            "max-entry-bytes": config.max_entry_bytes,
            "databases": config.databases,
            "cluster-enabled": int(config.cluster_enabled),
        }
        incarnation, lease_ms = txlog.incarnation, config.lease_ms
        self.me = Leadership(
            facts.node_id, incarnation, config.az, host, port, lease_ms, VERSION, limits
        )
        self.follower = Follower(self.engine, self.clock())
        self.replica = ReplicaDriver(self.follower, self.clock, self._on_applied, self._on_stuck)
        self.roles = Roles(facts.node_id, txlog.incarnation, config.lease_ms, rng, self.clock())
        self.follower.distrusted = self.roles.mismatches.distrusted
        self.primary: PrimaryDriver | None = None
        self.writer: Writer | None = None  # while primary
        self.link = ReplicaLink(
            facts,
            txlog.incarnation,
            self._applied_position,
            lambda: access.link_password(self.engine.settings),
            self.wall_ms,
        )
        self.loop = asyncio.get_running_loop()
        self.budget = LoopBudget(self.loop, self.clock, self.on_client_error)
        self.ended: asyncio.Future[int] = self.loop.create_future()
        self.client_requests = ClientRequests(self)
        self.facts_writer = FactsWriter(self)
        self._won: Writer | None = None  # a campaign's writer whose prefix is being applied
        self._tasks: set[asyncio.Task[None]] = set()
        self._acting = False
        self._resume_scheduled = False
        self._handover_pause = False  # commands wait for the end of a hand-over
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0
        self._next_session = 0
        self._gc = GcScheduler()
        self._sampler = Sampler(facts)
        self._lag_monitor = LoopLagMonitor(facts, self.clock, self.wall_ms)
        self._carry_out: dict[type, Callable[[Any], None]] = {
            outputs.HideUntilCaughtUp: self._hide_until_caught_up, outputs.Follow: self._follow,
            outputs.StopFollowing: self._stop_following,
            outputs.RestoreFromLog: self._restore_from_log,
            outputs.IgnoreDigests: self._ignore_digests,
            outputs.BecomeReplica: self._become_replica, outputs.AskProbe: self._ask_probe,
            outputs.StartCampaign: self._start_campaign,
            outputs.AbandonWriter: self._abandon_writer, outputs.TakeOver: self._take_over,
            outputs.StepDown: self._step_down, outputs.HoldCommands: self._hold_commands,
            outputs.ReleaseCommands: self._release_commands,
            outputs.AppendHandover: self._append_handover,
            outputs.ReleaseLease: self._release_lease, outputs.HandoverOver: self._handover_over,
            outputs.Exit: self._end, outputs.LogEvent: self._log_event,
        }  # fmt: skip

    # ----------------------------------------------------------------- life

    def start(self) -> None:
        self._gc.start()
        self._lag_monitor.start()
        # an embedded log needs no process, and no limit
        if self.config.busy_limit_ms or self.log.embedded:
            self.log.start_lease_keeper(self.config.busy_limit_ms)
        self.spawn(self._tick_forever())
        self.spawn(self._free_forever())
        self.act()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._lag_monitor.stop()
        self.link.stop()
        self.replica.close()
        for session in list(self.engine.sessions.values()):
            if session.sink is not None:
                session.sink.close()
        await asyncio.sleep(0)
        if self.primary is not None:
            self.primary.end()
        await self.log.close()

    def terminate(self, reason: str, code: int = 0) -> None:
        """A signal, SHUTDOWN, or an error of the program after which what was executed before can
        still be committed.
        """
        self.roles.on_terminate(reason, self.clock(), code)
        self.act()

    def spawn(self, work: Any) -> None:
        """Run a coroutine to its end; what it raises ends the node."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("bug", text=f"{type(error).__name__}: {error}", exc_info=error)
            if self.shard.failed:
                self.terminate("a task of the node failed", 1)
            else:
                self._end(outputs.Exit(1, "a task of the node failed"))

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised an error and nothing took it. `ends_the_node` says which errors end the
        node, and why.
        """
        error = context.get("exception")
        ends = ends_the_node(context)
        if ends or "future" not in context:
            log.error(
                "bug",
                text=f"{context.get('message')}: {type(error).__name__}: {error}",
                exc_info=error,
            )
        else:
            log.warning(
                "forgotten-error", text=f"{context.get('message')}: {type(error).__name__}: {error}"
            )
        if isinstance(error, HalfDone):
            # no command runs any more (`Shard.failed`): what ran before is committed and answered
            self.terminate("an error of the program", 1)
        elif ends:
            if not is_a_clients(context):
                self._abort_clients()
            self._end(outputs.Exit(1, "an error of the program"))

    def on_bug(self, error: Exception) -> None:
        """A client's command ended in an error of the program; its connection closes itself when
        what came before is answered.
        """
        self.on_loop_error(
            self.loop, {"message": "a command failed", "exception": error, "client": True}
        )

    def on_client_error(self, client: Client, error: Exception) -> None:
        """As in a socket's callback, in one of our own: other clients go on."""
        self.on_loop_error(
            self.loop,
            {"message": "a command that waited failed", "exception": error, "client": True},
        )
        client.close()

    def on_release_error(self, client: Client, error: Exception) -> None:
        """A client was not given a reply that was due.
        It must not read a later one in that reply's place.
        """
        self.on_loop_error(
            self.loop, {"message": "a reply was not released", "exception": error, "client": True}
        )
        client.abort()

    def release(self, session: Session, data: bytes) -> bool:
        """Replies that waited. False: the client is gone; what goes wrong here costs it its
        connection, and no other client anything.
        """
        sink = session.sink
        if sink is None:
            return False
        try:
            sink.released(data)
        except Exception as error:
            self.on_release_error(sink, error)
            return False
        return True

    def _abort_clients(self) -> None:
        """Something of the node's own has stopped half-way. Replies may be lost there, and a later
        reply must not be read in the place of one.
        """
        for session in list(self.engine.sessions.values()):
            if session.sink is not None:
                session.sink.abort()

    # ----------------------------------------------------------------- what connections use

    def wall_ms(self) -> int:
        return self.wall.read()

    def new_connection(self) -> ClientConnection:
        self._next_session += 1
        return ClientConnection(
            self,
            Session(
                self._next_session,
                created_ms=self.wall_ms(),
                authenticated=not access.needs_password(self.engine.settings),
            ),
        )

    def accept(self, connection: ClientConnection) -> bytes:
        return self.client_requests.accept(connection)

    def on_disconnect(self, connection: ClientConnection) -> None:
        self.client_requests.on_disconnect(connection)

    def schedule_drain(self) -> None:
        if self.primary is not None:
            self.primary.schedule_drain()

    def after_batch(self) -> None:
        if self.engine.requests:
            self.client_requests.run()
        if self.engine.monitor_lines:
            lines, self.engine.monitor_lines = self.engine.monitor_lines, []
            for session, line in lines:
                if session.sink is not None:
                    session.sink.show(line)
        if self.shard.lease_expired:
            self._check_lease()
        self.resume_sessions()

    def resume_sessions(self) -> None:
        """In the next turn of the loop, let sessions go on that may."""
        if not self._resume_scheduled and (self.shard.runnable or self.shard.reads.wanted):
            self._resume_scheduled = True
            self.loop.call_soon(self._resume_sessions)

    def _resume_sessions(self) -> None:
        self._resume_scheduled = False
        for session in self.shard.take_runnable():
            sink = session.sink
            if sink is not None:
                try:
                    sink.run_parked()
                except Exception as error:
                    self.on_client_error(sink, error)
        if self.shard.reads.wanted:
            self.spawn(self._ask_tail(self.shard.reads.on_asked()))
        self.resume_sessions()
        self._arm()

    async def _ask_tail(self, question: int) -> None:
        bound = None
        try:
            bound = await self.log.tail(self.engine.settings.strong_read_timeout_ms)
            self.facts.strong_reads += 1
        except NoMajority as error:
            self.facts.strong_reads_failed += 1
            log.warning("no-majority", text=str(error))
        self.shard.on_tail(question, bound, self.clock())
        self.resume_sessions()
        self._arm()

    # ----------------------------------------------------------------- the role machine

    def act(self) -> None:
        """Carry out what the role machine asks for, until it asks for nothing more."""
        if self._acting:
            return  # an output's consequence: the loop below sees it
        self._acting = True
        try:
            while asked := self.roles.take_outputs():
                for output in asked:
                    self._carry_out[type(output)](output)
        finally:
            self._acting = False
        self._settle_role()
        self.resume_sessions()
        self._arm()

    def _settle_role(self) -> None:
        role, shard = self.roles.role, self.shard
        if role == RESTORING and shard.role != RESTORING:
            shard.become_restoring()
        elif role not in (RESTORING, PRIMARY) and shard.role not in (RESTORING, PRIMARY):
            shard.role = role
        self.facts_writer.update_role()

    def _arm(self) -> None:
        """One timer for the role machine and the shard. One that is too early fires in vain, which
        is cheaper than a new one each time.
        """
        deadline = min(
            (at for at in (self.roles.deadline(), self.shard.deadline()) if at), default=0
        )
        if not deadline or (self._timer is not None and self._timer_us <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_us = deadline
        self._timer = self.loop.call_later(timer_s(deadline - self.clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._check_lease()
        now_us = self.clock()
        at = self.shard.deadline()
        if at and now_us >= at:
            self.shard.on_deadline(now_us)
        self.resume_sessions()
        self._arm()

    def _check_lease(self) -> None:
        now_us = self.clock()
        if self.writer is not None:
            if self.shard.lease_expired and not self.roles.phase:
                self.roles.on_writer_lost("a reply was ready after the lease had ended", now_us)
            else:
                self.roles.on_lease(self.writer.renewed_until(now_us), now_us)
        at = self.roles.deadline()
        if at and now_us >= at:
            self.roles.on_deadline(now_us)
        self.act()

    def _log_event(self, output: outputs.LogEvent) -> None:
        (log.warning if output.warning else log.info)(output.event, text=output.text)

    # ----------------------------------------------------------------- following the log

    def _follow(self, _: outputs.Follow) -> None:
        if self.replica.subscription is None:
            follower = self.follower
            self.replica.open(
                self.log.subscribe(
                    follower.position + 1,
                    follower.chain,
                    self.replica.on_records,
                    self._on_heartbeat,
                    self._on_stuck,
                )
            )

    def _stop_following(self, _: outputs.StopFollowing) -> None:
        self.replica.close()

    def _on_heartbeat(self, beat: Heartbeat) -> None:
        self.roles.az_rank = self.facts_writer.az_rank()
        self.roles.on_heartbeat(
            beat.committed,
            beat.last,
            beat.promised,
            beat.window_left_ms,
            beat.successor,
            self.clock(),
            beat.writer,
        )
        if self.roles.role != PRIMARY:
            self.facts.committed = max(self.facts.committed, beat.committed)
            self.facts.restore_target = max(0, self.roles.target)
        self.act()

    def _on_applied(self, control: list[Entry]) -> None:
        """Entries were applied."""
        follower, roles, now_us = self.follower, self.roles, self.clock()
        self.wall.raise_floor(follower.wall_ms)
        roles.on_followed(follower.position, now_us)
        for entry in control:
            if entry.kind == LEADERSHIP:
                leadership = decode_leadership(entry.payload)
                self.facts.term = entry.term
                roles.on_leadership(leadership, now_us)
                if roles.role != RESTORING:
                    for text in mismatches(self.me, leadership):
                        log.warning("settings-differ", text=text)
            elif entry.kind == HANDOVER:
                roles.on_handover(decode_handover(entry.payload), now_us)
        self.shard.on_applied(follower.followed, follower.wall_ms)
        facts = self.facts
        facts.applied = follower.position
        facts.applied_ms = follower.wall_ms
        facts.last = max(facts.last, follower.received)
        facts.committed = max(facts.committed, follower.position)
        facts.entries_applied = follower.effects
        facts.digests = follower.digests
        if self.link.eager:
            self.link.nudge()
        self.client_requests.on_progress()
        self.act()

    def _on_stuck(self, reason: str) -> None:
        self.replica.subscription = None
        if self.follower.difference is not None:
            self.roles.on_differs(self.follower.difference, self._won is not None, self.clock())
        else:
            self.roles.on_stuck(reason, self.clock())
        self.act()
        if self.follower.broke:
            self._end(
                outputs.Exit(1, f"an error of the program while the log was applied: {reason}")
            )

    def _applied_position(self) -> int:
        return self.follower.position

    # ----------------------------------------------------------------- changes of role

    def _become_replica(self, _: outputs.BecomeReplica) -> None:
        self.shard.become_replica()
        self.shard.on_applied(self.follower.followed, self.follower.wall_ms)
        if self._handover_pause:
            self.shard.begin_handover_pause()

    def _hide_until_caught_up(self, _: outputs.HideUntilCaughtUp) -> None:
        self.shard.become_restoring()

    def _restore_from_log(self, _: outputs.RestoreFromLog) -> None:
        """Memory is thrown away; freeing it all at once would stop the loop, so the fresh keyspace
        lets go of it in pieces.
        """
        old = self.engine.keyspace
        fresh = self.engine.keyspace = Keyspace(self.config.databases)
        self.engine.context.keyspace = fresh
        self.engine.context.database = fresh.database(0)
        fresh.discard_all(old)
        self.replica.close()
        self.follower = Follower(self.engine, self.clock())
        self.follower.distrusted = self.roles.mismatches.distrusted
        self.replica = ReplicaDriver(self.follower, self.clock, self._on_applied, self._on_stuck)
        self.shard.on_rebuild()
        self.facts.applied = self.facts.committed = 0

    def _ignore_digests(self, _: outputs.IgnoreDigests) -> None:
        self.follower.ignore_digests()

    def _ask_probe(self, _: outputs.AskProbe) -> None:
        self.spawn(self._probe())

    async def _probe(self) -> None:
        result = await self.log.probe()
        self.roles.on_probe(result.would_promise, self.clock(), result.wait_ms, result.windows)
        self.act()

    def _start_campaign(self, _: outputs.StartCampaign) -> None:
        self.spawn(self._campaign())

    async def _campaign(self) -> None:
        follower = self.follower
        try:
            writer = await self.log.campaign(
                follower.followed,
                follower.chain,
                self.config.lease_ms,
                self.me.encode(),
                self.wall_ms,
            )
        except CampaignLost as lost:
            self.roles.on_campaign_lost(
                lost.reason, lost.retry_ms, lost.held, self.clock(), lost.windows
            )
            self.act()
            return
        self._won = writer
        if self.roles.role != CANDIDATE or self.follower is not follower:
            # what is in memory has turned out to be wrong meanwhile
            self._abandon_writer(outputs.AbandonWriter())
            return
        self.replica.close()
        follower.feed(writer.prefix)
        while not self.replica.apply_all() and not follower.stuck:
            await asyncio.sleep(0)
        if not self._has_won(writer) or self.roles.stuck:
            return  # abandoned meanwhile
        over = writer.lost
        if not over and follower.position >= writer.next_position:
            # The answers were long on their way: others have sealed, written and committed behind
            # this term's first entry.
            over = f"others went on to {follower.position}"
        elif not over and follower.position < writer.next_position - 1:
            over = "the term was sealed again, and the log goes on behind the prefix"
        if over:
            self._abandon_writer(outputs.AbandonWriter())
            self.roles.on_campaign_lost(
                f"lost while its prefix was applied: {over}", 0, False, self.clock()
            )
            self._follow(outputs.Follow())
        else:
            self.roles.on_campaign_won(writer.term, writer.lease_until_us, self.clock())
        self.act()

    def _has_won(self, writer: Writer) -> bool:
        """A call, since the attribute changes while `_campaign` waits: compiled code believes what
        that function assigned.
        """
        return self._won is writer

    def _abandon_writer(self, _: outputs.AbandonWriter) -> None:
        if self._won is not None:
            self._won.stop()
            self._won = None

    def _take_over(self, _: outputs.TakeOver) -> None:
        writer, self._won = self._won, None
        assert writer is not None
        self.writer = writer
        self.facts.term = writer.term
        self.link.stop()
        self.facts_writer.expect_replicas()
        self.shard.become_primary(writer.next_position, writer.next_position - 1)
        self.facts.committed = self.facts.last = writer.next_position - 1
        digests = Digests(
            self.config, self.follower.digest_place, self.facts.entries_appended, self.clock()
        )
        self.primary = PrimaryDriver(
            self.shard,
            writer,
            self.clock,
            self.wall_ms,
            self._on_committed,
            digests,
            self.config.lease_ms,
            self.on_release_error,
        )
        writer.on_lost = self._on_lost
        self.shard.lease = writer
        if self._handover_pause:
            self.shard.begin_handover_pause()

    def _on_lost(self, reason: str) -> None:
        self.roles.on_writer_lost(reason, self.clock())
        self.act()

    def _on_committed(self, position: int) -> None:
        primary = self.primary
        assert primary is not None
        self.client_requests.on_progress()
        if self.roles.phase:
            if primary.handover_position and position >= primary.handover_position:
                self.roles.on_handover_committed(self.clock())
                self.act()
            self._check_drained()
        if self.shard.runnable:
            self.resume_sessions()

    def _step_down(self, output: outputs.StepDown) -> None:
        primary, writer, shard = self.primary, self.writer, self.shard
        assert primary is not None and writer is not None
        clean = shard.drained and not shard.failed and not writer.in_flight
        followed, chain = writer.last
        committed = shard.tracker.committed
        self.primary = self.writer = None
        primary.end()
        log.warning("step-down", text=output.reason) if not output.reserved else log.info(
            "step-down", text=output.reason
        )
        self.client_requests.on_step_down()
        for session, data, close in shard.demote(committed):
            if self.release(session, data) and close:
                session.sink.close()
        if clean:
            self.follower.adopt(followed, chain, primary.last_entry_ms)
            self.roles.on_followed(followed[1], self.clock())
            self.facts.applied, self.facts.applied_ms = followed[1], self.follower.wall_ms
        self.roles.on_stepped_down(clean, self.clock())

    # ----------------------------------------------------------------- hand-over

    def _hold_commands(self, _: outputs.HoldCommands) -> None:
        self._handover_pause = True
        self.shard.begin_handover_pause()
        self.loop.call_soon(self._check_drained)

    def _release_commands(self, _: outputs.ReleaseCommands) -> None:
        self._handover_pause = False
        self.shard.end_handover_pause()

    def _check_drained(self) -> None:
        if (
            self.roles.phase == DRAINING
            and self.writer is not None
            and self.shard.drained
            and not self.writer.in_flight
        ):
            self.roles.on_drained(self.clock())
            self.act()

    def _append_handover(self, output: outputs.AppendHandover) -> None:
        assert self.primary is not None
        self.primary.append_handover(output.payload)

    def _release_lease(self, output: outputs.ReleaseLease) -> None:
        assert self.writer is not None
        self.spawn(self._release(self.writer, output.successor))

    async def _release(self, writer: Writer, successor: bytes) -> None:
        while writer.in_flight and not writer.lost and self.writer is writer:
            # a term sealed anew meanwhile has its LEADERSHIP behind the HANDOVER
            await asyncio.sleep(0.001)
        await writer.release(successor)
        self.roles.on_released(self.clock())
        self.act()

    def _handover_over(self, output: outputs.HandoverOver) -> None:
        self.client_requests.on_handover_over(output.error, output.successor)

    def _end(self, output: outputs.Exit) -> None:
        log.info("end", text=output.reason)
        if not self.ended.done():
            self.ended.set_result(output.code)

    # ----------------------------------------------------------------- several times a second

    async def _tick_forever(self) -> None:
        before_us, count = self.clock(), 0
        sampled_us = before_us
        while True:
            await asyncio.sleep(TICK_S)
            now_us = self.clock()
            elapsed_s, before_us = (now_us - before_us) / 1e6, now_us
            count += 1
            self._gc.tick(elapsed_s, lambda: key_count(self.engine.keyspace))
            if self.primary is not None:
                self.primary.tick(
                    any(database.volatile for database in self.engine.keyspace.existing())
                )
                self._check_lease()
            self.wall.read()
            self.facts_writer.update_shard()
            self.client_requests.tick(count)
            if count % 10 == 0:
                self._sampler.sample((now_us - sampled_us) / 1e6)
                sampled_us = now_us
                self.facts_writer.update_log()
                self.facts_writer.update_progress()
            self.resume_sessions()

    async def _free_forever(self) -> None:
        """What keys held before goes away a few milliseconds at a time, however it was given up."""
        while True:
            more = self.engine.keyspace.free_some(FREE_UNITS)
            await asyncio.sleep(FREE_AGAIN_S if more else TICK_S)


def is_a_clients(context: dict[str, Any]) -> bool:
    """Whether the error came up in work for one client alone."""
    return "client" in context or isinstance(context.get("protocol"), ClientConnection)


def ends_the_node(context: dict[str, Any]) -> bool:
    """Whether the node can no longer be trusted after an error that nothing took.

    It ends by a broken invariant or a half-done unit, wherever that shows. It ends by an error in a
    callback or timer: these are the node's own and may have stopped half-way. It ends by an error
    of a task, unless it is the operating system's: a part of the node has stopped. It goes on after
    an error in one client's callback, which costs that client its connection. A callback of a link
    to a log node or another node is the node's own: what it left undone may be any client's. It
    goes on after an error in a future that nothing waits for: a library leaves one behind when a
    connection or a look-up was given up, and no code of ours ran.
    """
    error, future = context.get("exception"), context.get("future")
    if error is None:
        return False
    if isinstance(error, AssertionError | HalfDone):
        return True
    if is_a_clients(context):
        return False
    return future is None or (isinstance(future, asyncio.Task) and not isinstance(error, OSError))


def run(config: ServerConfig) -> int:
    """The process: serve until a signal or SHUTDOWN; the exit code."""
    from memstore.node.process import run as run_process  # here: it makes a EngineNode

    return run_process(config)
