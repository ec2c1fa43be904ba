"""Which role this node plays, and what follows from it: restoring, replica, candidate, primary, and
the hand-over.

Decides: when to campaign, to which node to hand over, when to stop serving, whether memory survives
a demotion.
Must not know: sockets, the log's messages, commands, replies. Inputs are ``on_<event>(...,
now_us)``; outputs are taken with ``take_outputs``; one timer, ``deadline``.

Nothing here guards safety. Two nodes with wrong beliefs lose only time, since the log decides which
node writes (its rules A1, L1-L4, W1-W5).
Invariants: a process always starts as ``restoring``. A node that is stuck, or has not followed the
log to the end known here, does not campaign. A primary whose lease has run out steps down. Memory
is kept at a demotion only if everything in it is committed. A node whose memory differs from a
digest in the log serves and campaigns only after it has built its memory again from the log.

Times: ``lease`` is the unit of everything. A node watches a closed window for lease/16 and up to
lease/8 more. So several replicas do not start at once, and the writer of a term just opened gets
its first Append out. A node invited by a Release or HANDOVER campaigns at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from memstore.replication.control_entries import Handover, Leadership
from memstore.replication.digest_mismatch import GIVE_UP, IGNORE, RESTORE, DigestMismatches
from memstore.replication.follower import Difference
from memstore.replication.lease_windows import LeaseWindows
from memstore.replication.outputs import (
    AbandonWriter,
    AppendHandover,
    AskProbe,
    BecomeReplica,
    Exit,
    Follow,
    HandoverOver,
    HideUntilCaughtUp,
    HoldCommands,
    IgnoreDigests,
    LogEvent,
    Output,
    ReleaseCommands,
    ReleaseLease,
    RestoreFromLog,
    StartCampaign,
    StepDown,
    StopFollowing,
    TakeOver,
)
from memstore.replication.role import CANDIDATE as CANDIDATE
from memstore.replication.role import PRIMARY as PRIMARY
from memstore.replication.role import REPLICA as REPLICA
from memstore.replication.role import RESTORING as RESTORING
from memstore.replication.role import Role
from txlog.entry import NO_ENTRY, EntryId

# Phases of a hand-over.
DRAINING: Final = "draining"
COMMITTING: Final = "committing"
RELEASING: Final = "releasing"

REPLICA_SILENT_US: Final = 1_000_000  # a replica silent for longer is no successor


@dataclass(slots=True)
class Peer:
    """A replica, as its own reports describe it."""

    node: str
    incarnation: bytes
    az: str
    host: str
    port: int
    applied: int = 0
    heard_us: int = 0

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class Roles:
    __slots__ = (
        "_author_gone_since", "_backoff_until", "_campaign_at", "_closed_since", "_handover_until",
        "_ineligible_until", "_invited_until", "_lease", "_lease_until", "_other_named_until",
        "_outputs", "_probe_at", "_probe_granted", "_probing", "_release_commands_at", "_rng",
        "_since", "_windows_until", "az_rank", "committed", "exit_code", "exiting", "followed",
        "incarnation", "lease_ms", "log_empty", "mismatches", "node", "peers", "phase", "primary",
        "role", "stuck", "successor", "target", "window_left_ms", "windows",
    )  # fmt: skip

    def __init__(
        self, node: str, incarnation: bytes, lease_ms: int, rng: Random, now_us: int
    ) -> None:
        self.node = node
        self.incarnation = incarnation
        self.lease_ms = lease_ms
        self.role: Role = RESTORING
        self.target = -1  # the committed end when this node began to restore; -1: unknown
        self.followed = 0
        self.committed = 0  # as this node's log node reports
        self.log_empty = False
        # rank of this node's AZ among the log nodes' AZs, sorted; the driver sets it
        self.az_rank = 1
        self.stuck = ""
        self.mismatches = DigestMismatches()
        self.primary: Leadership | None = None  # the known leader; None: none
        self.windows = LeaseWindows(node, incarnation)
        self.peers: dict[str, Peer] = {}
        self.phase = ""  # of the current hand-over
        self.successor: Peer | None = None
        self.exiting = ""  # why the process ends after it gives up the role
        self.exit_code = 0
        self.window_left_ms = 0
        self._rng = rng
        self._lease = lease_ms * 1000
        self._outputs: list[Output] = [Follow()]
        self._since = now_us  # when this role began
        self._closed_since = 0
        self._campaign_at = 0
        self._probe_at = now_us + self._lease
        self._probing = False
        # the newest probe says: campaign although this node's own log node shows an open window
        self._probe_granted = False
        # since then no window of the log is open; an overruled primary led last
        self._author_gone_since = 0
        self._backoff_until = 0
        # until then too many windows are open for a campaign, by the newest probe
        self._windows_until = 0
        self._ineligible_until = 0
        self._invited_until = 0
        self._other_named_until = 0  # another node was named as successor
        self._lease_until = 0
        self._handover_until = 0
        self._release_commands_at = (
            0  # commands held after a hand-over are released by then, whichever node leads
        )

    # ----------------------------------------------------------------- the machine's contract

    def take_outputs(self) -> list[Output]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def deadline(self) -> int:
        """When to call `on_deadline`; 0: no need."""
        if self.role is PRIMARY:
            times = (
                [self._handover_until]
                if self.phase in (COMMITTING, RELEASING)
                else [self._lease_until, self._handover_until]
            )
        elif self.role is REPLICA:
            times = [
                self._campaign_at,
                self._probe_at,
                self._release_commands_at,
                self._forget_at(),
            ]
        else:
            times = [self._release_commands_at, self._forget_at() if self.role is CANDIDATE else 0]
        return min((t for t in times if t), default=0)

    def on_deadline(self, now_us: int) -> None:
        if self._release_commands_at and now_us >= self._release_commands_at:
            self._release_commands()
        if self.role is PRIMARY:
            if now_us >= self._lease_until and self.phase not in (COMMITTING, RELEASING):
                self._step_down("the lease ran out")
            elif self._handover_until and now_us >= self._handover_until:
                self._give_up_handover("not everything was committed in time", now_us)
        elif self.role is not RESTORING:
            if self._closed_since and now_us >= self._forget_at():
                self._closed_since = now_us  # check again a quarter of a lease later
                if now_us >= max(
                    self._other_named_until, self._invited_until
                ) and not self.windows.is_alive(self.primary, now_us):
                    self.primary = None
            if self.role is REPLICA:
                self._on_replica_deadline(now_us)

    def _forget_at(self) -> int:
        """When clients no longer get the name of a primary whose window stays closed."""
        return self._closed_since + self._lease // 4 if self._closed_since else 0

    def _on_replica_deadline(self, now_us: int) -> None:
        if self._campaign_at and now_us >= self._campaign_at:
            self._campaign(now_us)
        elif now_us >= self._probe_at:
            self._probe_at = now_us + self._lease
            if not self._probing and not self.stuck and not self.exiting:
                self._probing = True
                self._outputs.append(AskProbe())

    # ----------------------------------------------------------------- following the log

    def on_heartbeat(
        self,
        committed: int,
        last: EntryId,
        promised: int,
        window_left_ms: int,
        successor: bytes,
        now_us: int,
        writer: bytes = b"",
    ) -> None:
        """What this node's log node reports. ``writer``: the writer whose window it is."""
        self.committed = max(self.committed, committed)
        self.log_empty = committed == 0 and last == NO_ENTRY and promised == 0
        self.window_left_ms = window_left_ms
        self.windows.on_heartbeat(writer, window_left_ms, now_us)
        self._update_primary(now_us)
        if self.role is RESTORING:
            if self.target < 0:
                self.target = committed
            if self.mismatches.distrusted_author:
                self._watch_author(window_left_ms, now_us)
            self._maybe_restored(now_us)
        if self.role not in (REPLICA, CANDIDATE):
            return
        if successor == self.incarnation:
            self._invite(now_us)
        elif successor or window_left_ms > 0:
            # The window is not the known primary's. Its writer may be unable to get an entry
            # committed, so clients are sent to neither.
            other = bool(writer) and self.primary is not None and writer != self.primary.incarnation
            self._closed_since = (self._closed_since or now_us) if other and not successor else 0
            if other:
                self.windows.on_other_writer()
            if not self._probe_granted:
                self._campaign_at = 0
            if successor:
                self._other_named_until = max(self._other_named_until, now_us + self._lease // 8)
        else:
            self._closed_since = self._closed_since or now_us
            if not self._campaign_at and self.role is REPLICA:
                self._plan_campaign(now_us)

    def _update_primary(self, now_us: int) -> None:
        """The writer of the newest LEADERSHIP entry is the primary (again) when a window of it was
        seen.
        """
        if self.primary is None and self.role is not PRIMARY:
            self.primary = self.windows.live_primary(now_us)

    def on_followed(self, followed: int, now_us: int) -> None:
        """Everything up to this position is applied."""
        self.followed = followed
        self.committed = max(self.committed, followed)
        if self.role is RESTORING:
            self._maybe_restored(now_us)

    def on_stuck(self, reason: str, now_us: int) -> None:
        """The log holds something that this node cannot read or apply. The node stops there,
        reports it, and never leads.
        """
        self.stuck = reason
        self._outputs += [
            StopFollowing(),
            LogEvent("stuck", f"stopped following the log: {reason}", warning=True),
        ]
        if self.role is CANDIDATE:
            self._outputs.append(AbandonWriter())
        if self.role is not RESTORING:
            self.role, self._since = RESTORING, now_us
            self._finish_exit()

    def on_differs(self, difference: Difference, won: bool, now_us: int) -> None:
        """A DIGEST entry says that the primary's memory differed from the memory here. This node no
        longer shows this memory, and does not lead with it.

        ``won``: a campaign was won, and the entry belongs to its prefix.
        """
        decision = self.mismatches.decide(difference)
        if decision == GIVE_UP:
            self.on_stuck(self.mismatches.trouble, now_us)
            return
        if decision == IGNORE and self.role is CANDIDATE and won:
            self.mismatches.on_author_gone()  # the writer that this campaign won has fenced it
            self._outputs += [
                IgnoreDigests(),
                LogEvent("digest-ignored", self.mismatches.trouble, warning=True),
            ]
            return
        if self.role is CANDIDATE:
            self._outputs.append(AbandonWriter())
        self.role, self._since, self._author_gone_since = RESTORING, now_us, 0
        if decision == RESTORE:
            # The known committed position is forgotten too: log nodes that have started since then
            # may report it only after a node leads again.
            self.target, self.followed, self.committed = -1, 0, 0
            self._outputs += [
                RestoreFromLog(),
                Follow(),
                LogEvent("digest-differs", self.mismatches.trouble, warning=True),
            ]
        else:
            self._outputs += [
                IgnoreDigests(),
                Follow(),
                LogEvent("digest-ignored", self.mismatches.trouble, warning=True),
            ]
        self._finish_exit()  # an exit that waited for the end of the campaign may go on

    def _watch_author(self, window_left_ms: int, now_us: int) -> None:
        """A primary whose digests are overruled no longer leads when no node has led for a lease.
        (Another node's LEADERSHIP entry says it at once.)
        """
        if window_left_ms > 0:
            self._author_gone_since = 0
        elif not self._author_gone_since:
            self._author_gone_since = now_us
        elif now_us >= self._author_gone_since + self._lease:
            self.mismatches.on_author_gone()

    def on_leadership(self, leadership: Leadership, now_us: int) -> None:
        """A LEADERSHIP entry was followed."""
        self.windows.newest = leadership
        # a HANDOVER entry named this writer
        expected = self.primary is not None and self.primary.incarnation == leadership.incarnation
        if self.windows.is_self(leadership.node, leadership.incarnation):
            self.primary = None
        elif not expected:
            # the entry may be old: only an open window says that its writer leads now
            self.primary = self.windows.live_primary(now_us)
            if self.primary is None:
                self._probe_at = now_us
        if leadership.incarnation != self.mismatches.distrusted_author:
            self.mismatches.on_author_gone()
        self._other_named_until = self._invited_until = 0
        if self.role is REPLICA:
            self._closed_since = self._campaign_at = 0
            self._probe_granted = False
        if leadership.incarnation != self.incarnation and self._release_commands_at:
            self._release_commands()

    def on_handover(self, handover: Handover, now_us: int) -> None:
        """A HANDOVER entry was followed. Until the successor leads or half a lease is over, no
        other node needs to try.
        """
        if self.role is PRIMARY:
            return
        if self.primary is None or self.windows.is_self(handover.node, handover.incarnation):
            # an old entry, or an earlier process of this node: do not redirect clients to the node
            # that they are connected to
            self.primary = None
        else:
            self.primary = Leadership(
                handover.node,
                handover.incarnation,
                handover.az,
                handover.host,
                handover.port,
                self.lease_ms,
            )
        if handover.incarnation == self.incarnation:
            self._invite(now_us)
        else:
            self._other_named_until = now_us + self._lease // 2

    def _maybe_restored(self, now_us: int) -> None:
        if (
            0 <= self.target <= self.followed
            and not self.stuck
            and not self.exiting
            and not self.mismatches.distrusted_author
        ):
            self.mismatches.on_serving()
            self.role, self._since = REPLICA, now_us
            self._closed_since = self._campaign_at = 0
            self._probe_at = now_us + self._lease + self._rng.randrange(self._lease // 4 + 1)
            self._outputs += [
                BecomeReplica(),
                LogEvent("replica", f"following the log, {self.followed} entries applied"),
            ]

    # ----------------------------------------------------------------- candidate

    def _may_campaign(self, now_us: int) -> bool:
        return (
            self.role is REPLICA
            and not self.stuck
            and not self.exiting
            and self.followed >= self.committed
            and now_us >= self._ineligible_until
        )

    def _invite(self, now_us: int) -> None:
        """A Release or HANDOVER named this node. Clients are sent here from now on. Their commands
        are held until this node leads, or has failed to.
        """
        if now_us >= self._invited_until:
            self._invited_until = self._release_commands_at = now_us + self._lease // 2
            # the primary named this node: it need not wait because it handed over a moment ago
            self._backoff_until = self._ineligible_until = 0
            self._outputs.append(HoldCommands())
        if self.role is REPLICA and not self._campaign_at:
            self._campaign_at = max(now_us, self._backoff_until)

    def _plan_campaign(self, now_us: int) -> None:
        if self.log_empty:
            # A shard's first primary: the first AZ's node goes first, the others give it time.
            wait = 0 if self.az_rank == 0 else self._lease * (self.az_rank + 1)
            at = self._since + wait + self._rng.randrange(self._lease // 32 + 1)
        else:
            at = now_us + self._lease // 16 + self._rng.randrange(self._lease // 8 + 1)
        self._campaign_at = max(
            at,
            self._backoff_until,
            self._windows_until,
            self._other_named_until,
            self._ineligible_until,
        )

    def _campaign(self, now_us: int) -> None:
        self._campaign_at, self._probe_granted = 0, False
        if not self._may_campaign(now_us):
            if self.followed < self.committed:
                self._campaign_at = now_us + self._lease // 16
            return
        self.role, self._since = CANDIDATE, now_us
        self._outputs += [LogEvent("candidate", "campaigning"), StartCampaign()]

    def on_probe(
        self,
        would_promise: bool,
        now_us: int,
        wait_ms: int = 0,
        windows: tuple[tuple[bytes, int], ...] = (),
    ) -> None:
        """The answer to `AskProbe`. ``wait_ms``: until a majority might promise. ``windows``: the
        writers whose windows are open, and for how long.
        """
        self._probing = False
        self.windows.on_answers(windows, now_us)
        self._update_primary(now_us)
        self._windows_until = now_us + wait_ms * 1000
        if wait_ms and self.role is REPLICA:
            self._wait_for_windows(now_us)
        if (
            would_promise
            and self._may_campaign(now_us)
            and now_us >= max(self._other_named_until, self._backoff_until)
        ):
            # A majority is ready for another writer. Jitter keeps two replicas that see this from
            # campaigning at the same time.
            self._probe_granted = not self.log_empty
            self._campaign_at = now_us + self._rng.randrange(self._lease // 8 + 1)
            if self.log_empty:
                self._plan_campaign(now_us)

    def on_campaign_won(self, term: int, lease_until_us: int, now_us: int) -> None:
        """LEADERSHIP is committed, and everything up to it applied."""
        if self.role is not CANDIDATE or self.exiting:
            self._outputs.append(AbandonWriter())
            if self.role is CANDIDATE:
                self._back_to_replica(now_us)
                self._finish_exit()
            return
        self.role, self._since = PRIMARY, now_us
        self.mismatches.on_serving()
        self._lease_until = lease_until_us
        self._closed_since = self._campaign_at = self._invited_until = self._other_named_until = 0
        self.target = -1
        self._outputs += [
            StopFollowing(),
            TakeOver(),
            LogEvent("primary", f"primary of term {term}"),
        ]
        if self._release_commands_at:
            self._release_commands()

    def _wait_for_windows(self, now_us: int) -> None:
        """Other log nodes hold a window that may be closed at the log node read here. The next
        probe comes before it ends, and delays a campaign again.
        """
        self._probe_at = min(self._probe_at, now_us + self._lease // 2)
        if self._campaign_at and now_us >= self._invited_until:
            after = (
                self._windows_until + self._lease // 16 + self._rng.randrange(self._lease // 8 + 1)
            )
            self._campaign_at = max(self._campaign_at, after)

    def on_campaign_lost(
        self,
        reason: str,
        retry_ms: int,
        held: bool,
        now_us: int,
        windows: tuple[tuple[bytes, int], ...] = (),
    ) -> None:
        if self.role is not CANDIDATE:
            return
        self._back_to_replica(now_us)
        self.windows.on_answers(windows, now_us)
        self._update_primary(now_us)
        if windows:
            self._wait_for_windows(now_us)
        invited = now_us < self._invited_until
        if invited and held:
            # the Release that opens the way for this node is on its way
            wait = 10_000 + self._rng.randrange(10_000)
        elif retry_ms > 0:
            wait = retry_ms * 1000 + self._rng.randrange(self._lease // 8 + 1)
        else:
            wait = self._lease // 8 + self._rng.randrange(self._lease * 3 // 8 + 1)
        self._backoff_until = now_us + wait
        if invited:
            self._campaign_at = self._backoff_until
        self._outputs.append(
            LogEvent("campaign-lost", f"campaign lost: {reason}; not again for {wait // 1000} ms")
        )
        self._finish_exit()

    def _back_to_replica(self, now_us: int) -> None:
        self.role, self._since = REPLICA, now_us
        self._campaign_at = 0
        self._probe_at = now_us + self._lease + self._rng.randrange(self._lease // 4 + 1)

    # ----------------------------------------------------------------- primary

    def on_lease(self, lease_until_us: int, now_us: int) -> None:
        """The writer's lease as it is now. It is zero while a hand-over is being committed; another
        timer ends that.
        """
        if self.role is PRIMARY:
            self._lease_until = lease_until_us

    def on_writer_lost(self, reason: str, now_us: int) -> None:
        """The writer is fenced or has given up. Its entries that are not known to be committed will
        never be known to be.
        """
        if self.role is PRIMARY:
            self._step_down(reason)

    def _step_down(self, reason: str) -> None:
        if any(isinstance(output, StepDown) for output in self._outputs):
            # one input may show the end of the role in two ways (a reply after the lease's end, and
            # the lease's end)
            return
        if self.phase and self.successor is not None:
            self._outputs.append(HandoverOver(f"no longer primary: {reason}"))
        self._outputs.append(StepDown(reason))

    def on_stepped_down(self, clean: bool, now_us: int) -> None:
        """``clean``: nothing is uncommitted, and nothing executed still waits to be appended. So
        memory is the committed state.
        """
        handed_over = self._release_commands_at > 0
        if not handed_over:
            self.primary = None
        self.peers.clear()
        self.committed = 0
        if clean and handed_over:
            self._back_to_replica(now_us)
            self._outputs += [
                BecomeReplica(),
                Follow(),
                LogEvent("demoted", "replica on the spot: all it held is committed"),
            ]
        elif clean:
            # This node does not know how long it was away. A command that has waited in its socket
            # since then may be answered only when the log's end is in memory.
            self.role, self._since, self.target = RESTORING, now_us, -1
            self._outputs += [
                HideUntilCaughtUp(),
                Follow(),
                LogEvent(
                    "demoted", "all it held is committed and stays: following the log to its end"
                ),
            ]
        else:
            self.role, self._since, self.target, self.followed = RESTORING, now_us, -1, 0
            self._outputs += [
                RestoreFromLog(),
                Follow(),
                LogEvent(
                    "demoted",
                    "restoring from the log: some of what it held may never have happened",
                    warning=True,
                ),
            ]
        if self.phase:
            # a hand-over that failed: the commands held for it are answered in the present role
            self._outputs.append(ReleaseCommands())
        self.phase, self._handover_until, self.successor = "", 0, None
        self._finish_exit()

    # ----------------------------------------------------------------- hand-over

    def on_peer(self, peer: Peer, now_us: int) -> None:
        """A replica's report."""
        peer.heard_us = now_us
        self.peers[peer.node] = peer

    def on_peer_gone(self, node: str, incarnation: bytes) -> None:
        peer = self.peers.get(node)
        if peer is not None and peer.incarnation == incarnation:
            del self.peers[node]

    def live_peers(self, now_us: int) -> list[Peer]:
        return [
            self.peers[node]
            for node in sorted(self.peers)
            if now_us - self.peers[node].heard_us < REPLICA_SILENT_US + self._lease
        ]

    def on_handover_asked(self, wanted: str, now_us: int) -> None:
        """``wanted``: a replica's id (or its beginning) or ``host:port``; empty: the most
        caught-up replica.
        """
        error = ""
        if self.role is not PRIMARY:
            error = "this node is not the primary"
        elif self.phase:
            error = "a hand-over is under way"
        else:
            peers = self.live_peers(now_us)
            if wanted:
                peers = [
                    p for p in peers if p.address == wanted or p.node.startswith(wanted.lower())
                ]
            if not peers:
                error = f"no replica {wanted} is connected" if wanted else "no replica is connected"
            elif len(peers) > 1 and wanted:
                error = f"more than one replica is meant by {wanted}"
            else:
                self.successor = max(peers, key=lambda p: p.applied)  # the first by id among equals
        if error:
            self._outputs.append(HandoverOver(error))
            return
        assert self.successor is not None
        self.phase = DRAINING
        self._handover_until = now_us + self._lease
        self._outputs += [
            HoldCommands(),
            LogEvent(
                "handover", f"handing over to {self.successor.address} ({self.successor.node[:8]})"
            ),
        ]

    def on_drained(self, now_us: int) -> None:
        """Everything executed is committed, and no new command is taken."""
        if self.phase != DRAINING:
            return
        if self.successor is None:
            self._step_down(self.exiting)
            return
        self.phase = COMMITTING
        s = self.successor
        self._outputs.append(
            AppendHandover(Handover(s.node, s.incarnation, s.az, s.host, s.port).encode())
        )

    def on_handover_committed(self, now_us: int) -> None:
        if self.phase == COMMITTING and self.successor is not None:
            self.phase = RELEASING
            self._outputs.append(ReleaseLease(self.successor.incarnation))

    def on_released(self, now_us: int) -> None:
        """Every log node in reach got the Release; this writer's term is over."""
        if self.phase != RELEASING or self.successor is None:
            return
        s = self.successor
        self.phase, self._handover_until = "", 0
        self.primary = Leadership(s.node, s.incarnation, s.az, s.host, s.port, self.lease_ms)
        self._other_named_until = now_us + self._lease // 2
        self._ineligible_until = now_us + self._lease * 3 // 2
        self._release_commands_at = now_us + self._lease
        self._outputs += [HandoverOver("", s.address), StepDown("handed over", reserved=True)]

    def _give_up_handover(self, reason: str, now_us: int) -> None:
        phase, self._handover_until = self.phase, 0
        if phase == DRAINING and not self.exiting:
            # The lease is still held: go on as primary.
            self.phase, self.successor = "", None
            self._outputs += [
                HandoverOver(reason),
                ReleaseCommands(),
                LogEvent("handover-failed", reason, warning=True),
            ]
        elif phase == RELEASING:
            # at least one Release was sent: the term is over, whichever log node received it
            self.on_released(now_us)
        else:
            self._step_down(f"the hand-over did not complete: {reason}")

    def _release_commands(self) -> None:
        self._release_commands_at = 0
        self._outputs.append(ReleaseCommands())
        self._finish_exit()

    # ----------------------------------------------------------------- the end

    def on_terminate(self, reason: str, now_us: int, code: int = 0) -> None:
        """Hand over first, then end. A second call ends at once. ``code``: the exit code."""
        self.exit_code = max(self.exit_code, code)
        if self.exiting:
            self._outputs.append(Exit(self.exit_code, f"{reason}, again"))
            return
        self.exiting = reason
        if self.role is CANDIDATE:
            return  # its end is near; see on_campaign_won and on_campaign_lost
        if self.role is not PRIMARY:
            self._finish_exit()
        elif not self.phase:
            if self.live_peers(now_us):
                self.on_handover_asked("", now_us)
            else:
                # no node to hand over to: commit what was executed, then let the lease run out
                self.phase = DRAINING
                self._handover_until = now_us + self._lease
                self._outputs.append(HoldCommands())

    def _finish_exit(self) -> None:
        if self.exiting and self.role is not PRIMARY and not self._release_commands_at:
            self._outputs.append(Exit(self.exit_code, self.exiting))
