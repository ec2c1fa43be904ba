"""An engine node's process: sockets, clocks, timers, and the machines they drive.

Decides: nothing about terms, leases or positions. `roles` says what to do, and this carries it out.
The shard says which replies may leave, and connections send them.
Must not know: what a command means, how the log agrees. Everything runs in one loop's thread.

Order of a change of role: the machine's outputs are carried out one after the other. Then the
shard's role, the facts and the link follow. Sessions that waited go on in the next turn of the
loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, assert_never

import structlog

from memstore.commands import build_table
from memstore.config import ServerConfig
from memstore.engine import access
from memstore.engine.engine import Engine
from memstore.engine.keyspace import Keyspace
from memstore.engine.session import Session
from memstore.log.interface import CampaignLost, Heartbeat, Log, NoMajority, Writer
from memstore.node.client_connection import ClientConnection
from memstore.node.client_requests import ClientRequests
from memstore.node.clocks import WallClock
from memstore.node.errors import ErrorContainment
from memstore.node.facts_writer import FactsWriter
from memstore.node.identity import describe_node, own_leadership
from memstore.node.loop_budget import LoopBudget
from memstore.node.primary import PrimaryDriver
from memstore.node.replica import ReplicaDriver
from memstore.node.replica_link import ReplicaLink
from memstore.node.upkeep import Upkeep
from memstore.replication import outputs, takeover
from memstore.replication.control_entries import (
    decode_handover,
    decode_leadership,
    mismatches,
)
from memstore.replication.digest_schedule import Digests
from memstore.replication.follower import Follower
from memstore.replication.roles import DRAINING, PRIMARY, RESTORING, Roles
from memstore.replication.shard import Shard
from txlog.clock import timer_s
from txlog.entry import HANDOVER, LEADERSHIP, Entry

log = structlog.get_logger("memstore.node")


class EngineNode:
    """See `NodeServices` in `client_connection` for what connections use of it."""

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
        describe_node(facts, config, txlog, host, port, self.wall.read())
        self.me = own_leadership(facts, config, txlog.incarnation)
        self.follower = Follower(self.engine, self.clock())
        self.replica = ReplicaDriver(self.follower, self.clock, self._on_applied, self._on_stuck)
        self.roles = Roles(facts.node_id, txlog.incarnation, config.lease_ms, rng, self.clock())
        self.follower.distrusted = self.roles.mismatches.distrusted
        self.primary: PrimaryDriver | None = None
        self.writer: Writer | None = None  # while this node is primary
        self.link = ReplicaLink(
            facts,
            txlog.incarnation,
            self._applied_position,
            lambda: access.link_password(self.engine.settings),
            self.wall_ms,
        )
        self.loop = asyncio.get_running_loop()
        self.errors = ErrorContainment(self)
        self.budget = LoopBudget(self.loop, self.clock, self.errors.on_client_error)
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
        self._upkeep = Upkeep(self)

    # ----------------------------------------------------------------- life

    def start(self) -> None:
        self._upkeep.start()
        # an embedded log needs no keeper process, and no limit
        if self.config.busy_limit_ms or self.log.embedded:
            self.log.start_lease_keeper(self.config.busy_limit_ms)
        self.act()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._upkeep.stop()
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
        """A signal, SHUTDOWN, or an error of the program. What was executed before it can still be
        committed.
        """
        self.roles.on_terminate(reason, self.clock(), code)
        self.act()

    def spawn(self, work: Any) -> None:
        """Run a coroutine to its end; an error in it ends the node."""
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
                self.end("a task of the node failed", 1)

    # ----------------------------------------------------------------- what connections use

    def on_bug(self, error: Exception) -> None:
        self.errors.on_bug(error)

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
            self.check_lease()
        self.resume_sessions()

    def resume_sessions(self) -> None:
        """In the next turn of the loop, resume the sessions that may go on."""
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
                    self.errors.on_client_error(sink, error)
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
        """Carry out the outputs of the role machine until there are no more."""
        if self._acting:
            return  # called while an output is carried out: the loop below sees the new outputs
        self._acting = True
        try:
            while asked := self.roles.take_outputs():
                for output in asked:
                    self._carry_out(output)
        finally:
            self._acting = False
        self._settle_role()
        self.resume_sessions()
        self._arm()

    def _carry_out(self, output: outputs.Output) -> None:
        match output:
            case outputs.HideUntilCaughtUp():
                self.shard.become_restoring()
            case outputs.Follow():
                self._follow()
            case outputs.StopFollowing():
                self.replica.close()
            case outputs.RestoreFromLog():
                self._restore_from_log()
            case outputs.IgnoreDigests():
                self.follower.ignore_digests()
            case outputs.BecomeReplica():
                self._become_replica()
            case outputs.AskProbe():
                self.spawn(self._probe())
            case outputs.StartCampaign():
                self.spawn(self._campaign())
            case outputs.AbandonWriter():
                self._abandon_writer()
            case outputs.TakeOver():
                self._take_over()
            case outputs.StepDown():
                self._step_down(output)
            case outputs.HoldCommands():
                self._hold_commands()
            case outputs.ReleaseCommands():
                self._release_commands()
            case outputs.AppendHandover():
                self._append_handover(output.payload)
            case outputs.ReleaseLease():
                self._release_lease(output.successor)
            case outputs.HandoverOver():
                self.client_requests.on_handover_over(output.error, output.successor)
            case outputs.Exit():
                self.end(output.reason, output.code)
            case outputs.LogEvent():
                self._log_event(output)
            case _:
                assert_never(output)

    def _settle_role(self) -> None:
        role, shard = self.roles.role, self.shard
        if role == RESTORING and shard.role != RESTORING:
            shard.become_restoring()
        elif role not in (RESTORING, PRIMARY) and shard.role not in (RESTORING, PRIMARY):
            shard.role = role
        self.facts_writer.update_role()

    def _arm(self) -> None:
        """Keep one timer for the role machine and the shard. A timer that fires too early does
        nothing, which is cheaper than a new timer each time.
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
        self.check_lease()
        now_us = self.clock()
        at = self.shard.deadline()
        if at and now_us >= at:
            self.shard.on_deadline(now_us)
        self.resume_sessions()
        self._arm()

    def check_lease(self) -> None:
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

    def _follow(self) -> None:
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
            self.end(f"an error of the program while the log was applied: {reason}", 1)

    def _applied_position(self) -> int:
        return self.follower.position

    # ----------------------------------------------------------------- changes of role

    def _become_replica(self) -> None:
        self.shard.become_replica()
        self.shard.on_applied(self.follower.followed, self.follower.wall_ms)
        if self._handover_pause:
            self.shard.begin_handover_pause()

    def _restore_from_log(self) -> None:
        """Memory is discarded. To free it at once would stop the loop, so the new keyspace frees it
        in pieces.
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

    async def _probe(self) -> None:
        result = await self.log.probe()
        self.roles.on_probe(result.would_promise, self.clock(), result.wait_ms, result.windows)
        self.act()

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
        except CampaignLost as refused:
            self.roles.on_campaign_lost(
                refused.reason, refused.retry_ms, refused.held, self.clock(), refused.windows
            )
            self.act()
            return
        self._won = writer
        if not takeover.may_apply_prefix(self.roles.role, self.follower is follower):
            self._abandon_writer()
            return
        self.replica.close()
        follower.feed(writer.prefix)
        while not self.replica.apply_all() and not follower.stuck:
            await asyncio.sleep(0)
        if not self._has_won(writer) or self.roles.stuck:
            return  # abandoned while the prefix was applied
        lost = takeover.why_lost(writer.lost, follower.position, writer.next_position)
        if lost:
            self._abandon_writer()
            self.roles.on_campaign_lost(
                f"lost while its prefix was applied: {lost}", 0, False, self.clock()
            )
            self._follow()
        else:
            self.roles.on_campaign_won(writer.term, writer.lease_until_us, self.clock())
        self.act()

    def _has_won(self, writer: Writer) -> bool:
        """This is a function because the attribute changes while `_campaign` waits: compiled code
        assumes the value that `_campaign` assigned.
        """
        return self._won is writer

    def _abandon_writer(self) -> None:
        if self._won is not None:
            self._won.stop()
            self._won = None

    def _take_over(self) -> None:
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
            self.errors.on_release_error,
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
            if self.errors.release(session, data) and close:
                session.sink.close()
        if clean:
            self.follower.adopt(followed, chain, primary.last_entry_ms)
            self.roles.on_followed(followed[1], self.clock())
            self.facts.applied, self.facts.applied_ms = followed[1], self.follower.wall_ms
        self.roles.on_stepped_down(clean, self.clock())

    # ----------------------------------------------------------------- hand-over

    def _hold_commands(self) -> None:
        self._handover_pause = True
        self.shard.begin_handover_pause()
        self.loop.call_soon(self._check_drained)

    def _release_commands(self) -> None:
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

    def _append_handover(self, payload: bytes) -> None:
        assert self.primary is not None
        self.primary.append_handover(payload)

    def _release_lease(self, successor: bytes) -> None:
        assert self.writer is not None
        self.spawn(self._release(self.writer, successor))

    async def _release(self, writer: Writer, successor: bytes) -> None:
        while not takeover.may_release(writer.in_flight, writer.lost, self.writer is writer):
            await asyncio.sleep(0.001)
        await writer.release(successor)
        self.roles.on_released(self.clock())
        self.act()

    def end(self, reason: str, code: int) -> None:
        log.info("end", text=reason)
        if not self.ended.done():
            self.ended.set_result(code)
