"""Roles by example, on virtual time. Lease 1000 ms throughout; times below are milliseconds."""

from __future__ import annotations

from random import Random

import pytest

from memstore.replication.control_entries import Handover, Leadership, decode_handover
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
    Output,
    ReleaseCommands,
    ReleaseLease,
    RestoreFromLog,
    StartCampaign,
    StepDown,
    StopFollowing,
    TakeOver,
)
from memstore.replication.roles import CANDIDATE, PRIMARY, REPLICA, RESTORING, Peer, Roles

ME = b"\x01" * 16
OTHER = b"\x02" * 16
LEASE = 1000


class Stage:
    """A role machine, a clock, and its requests so far."""

    def __init__(self, seed: int = 1, az_rank: int = 0) -> None:
        self.now = 10_000
        self.roles = Roles("aa" * 20, ME, LEASE, Random(seed), self.us)
        self.roles.az_rank = az_rank
        self.asked: list[Output] = []
        self.take()

    @property
    def us(self) -> int:
        return self.now * 1000

    def take(self) -> list[Output]:
        new = self.roles.take_outputs()
        self.asked += new
        return new

    def kinds(self) -> list[type]:
        """The new outputs, without the lines for the event log."""
        return [type(o) for o in self.take() if type(o).__name__ != "LogEvent"]

    def heartbeat(
        self, committed: int = 5, last: int | None = None, window: int = 900, successor: bytes = b""
    ) -> None:
        position = committed if last is None else last
        writer = OTHER if window else b""
        self.roles.on_heartbeat(
            committed,
            (1, position) if position else (0, 0),
            1 if position else 0,
            window,
            successor,
            self.us,
            writer,
        )

    def run(self, ms: int, window: int | None = None, stop: type | None = None) -> bool:
        """Let time pass, with a heartbeat every 100 ms, until an output of type ``stop``.
        ``window`` is the window that the heartbeat reports.
        """
        end = self.now + ms
        while self.now < end:
            self.now += 1
            if window is not None and self.now % 100 == 0:
                self.heartbeat(self.roles.committed, window=window)
            at = self.roles.deadline()
            if at and at <= self.us:
                self.roles.on_deadline(self.us)
            if stop is not None and stop in self.kinds():
                return True
        return False

    def replica(self, position: int = 5) -> Stage:
        self.roles.on_followed(position, self.us)
        self.heartbeat(position)
        assert self.roles.role == REPLICA
        self.take()
        return self

    def primary(self, position: int = 5) -> Stage:
        self.replica(position)
        assert self.run(1000, window=0, stop=StartCampaign)
        self.roles.on_campaign_won(7, self.us + LEASE * 1000, self.us)
        assert self.kinds() == [StopFollowing, TakeOver]
        return self

    def peer(
        self, node: str = "bb" * 20, applied: int = 5, incarnation: bytes = OTHER, port: int = 2
    ) -> None:
        self.roles.on_peer(Peer(node, incarnation, "b", "127.0.0.1", port, applied), self.us)


# ---------------------------------------------------------------------- restoring


def test_a_new_process_follows_the_log_and_serves_nothing() -> None:
    roles = Roles("aa" * 20, ME, LEASE, Random(1), 0)
    assert roles.role == RESTORING
    assert [type(o) for o in roles.take_outputs()] == [Follow]


def test_it_leaves_restoring_at_the_committed_end_its_log_node_reported_at_the_start() -> None:
    stage = Stage()
    stage.heartbeat(committed=100)
    stage.roles.on_followed(99, stage.us)
    assert stage.kinds() == []
    stage.heartbeat(committed=120)  # later growth does not move the target
    stage.roles.on_followed(100, stage.us)
    assert stage.kinds() == [BecomeReplica]
    assert stage.roles.role == REPLICA


def test_a_restoring_node_does_not_campaign_however_closed_the_window() -> None:
    stage = Stage()
    stage.heartbeat(committed=100, window=0)
    assert not stage.run(10_000, window=0, stop=StartCampaign)


# ---------------------------------------------------------------------- when to campaign


def test_a_living_window_and_a_no_to_each_probe_keep_it_a_replica() -> None:
    stage = Stage().replica()
    for _ in range(5):
        assert stage.run(1500, window=900, stop=AskProbe)
        stage.roles.on_probe(False, stage.us)
    assert StartCampaign not in [type(o) for o in stage.asked]


def test_a_closed_window_leads_to_a_campaign_within_a_quarter_of_a_lease() -> None:
    for seed in range(20):
        stage = Stage(seed).replica()
        stage.heartbeat(window=0)
        begin = stage.now
        assert stage.run(1000, window=0, stop=StartCampaign)
        assert 62 <= stage.now - begin <= 250
        assert stage.roles.role == CANDIDATE


def test_a_window_that_opens_again_calls_the_campaign_off() -> None:
    stage = Stage().replica()
    stage.heartbeat(window=0)
    stage.now += 30
    stage.heartbeat(window=1000)
    assert not stage.run(900, window=1000, stop=StartCampaign)


def test_a_probe_granted_by_a_majority_leads_to_a_campaign_despite_a_living_window() -> None:
    stage = Stage().replica()
    assert stage.run(1500, window=900, stop=AskProbe)
    stage.roles.on_probe(True, stage.us)
    stage.heartbeat(window=900)
    assert stage.run(130, window=900, stop=StartCampaign)


def test_a_node_that_has_not_applied_the_committed_end_waits_with_its_campaign() -> None:
    stage = Stage().replica()
    stage.heartbeat(committed=50, window=0)
    assert not stage.run(1000, window=0, stop=StartCampaign)
    stage.roles.on_followed(50, stage.us)
    assert stage.run(500, window=0, stop=StartCampaign)


def test_a_lost_campaign_backs_off_as_told() -> None:
    stage = Stage().replica()
    assert stage.run(1000, window=0, stop=StartCampaign)
    stage.roles.on_campaign_lost("lease held", 700, True, stage.us)
    begin = stage.now
    assert stage.run(3000, window=0, stop=StartCampaign)
    assert 700 <= stage.now - begin <= 1000


def test_a_campaign_refused_backs_off_between_an_eighth_and_half_of_a_lease() -> None:
    waits = []
    for seed in range(20):
        stage = Stage(seed).replica()
        assert stage.run(1000, window=0, stop=StartCampaign)
        stage.roles.on_campaign_lost("refused", 0, False, stage.us)
        begin = stage.now
        assert stage.run(3000, window=0, stop=StartCampaign)
        waits.append(stage.now - begin)
    assert min(waits) >= 125 and max(waits) <= 700 and len(set(waits)) > 5


def test_on_an_empty_log_the_first_az_goes_first() -> None:
    first = Stage(az_rank=0)
    first.heartbeat(committed=0, last=0, window=0)
    first.take()
    assert first.run(150, window=0, stop=StartCampaign)
    later = Stage(az_rank=1)
    later.heartbeat(committed=0, last=0, window=0)
    later.take()
    assert not later.run(1900, stop=StartCampaign)
    assert later.run(300, stop=StartCampaign)


# ---------------------------------------------------------------------- the end of a primary


def test_a_primary_whose_lease_runs_out_steps_down() -> None:
    stage = Stage().primary()
    stage.roles.on_lease(stage.us + 500_000, stage.us)
    assert stage.run(600, stop=StepDown)


def test_two_reasons_to_step_down_at_once_make_one_step() -> None:
    stage = Stage().primary()
    # the loop stood still: the lease is over, and a reply was ready after its end
    stage.now += 5000
    stage.roles.on_writer_lost("a reply was ready after the lease had ended", stage.us)
    stage.roles.on_deadline(stage.us)
    assert stage.kinds().count(StepDown) == 1


def test_renewals_keep_it() -> None:
    stage = Stage().primary()
    for _ in range(20):
        stage.roles.on_lease(stage.us + 1_000_000, stage.us)
        assert not stage.run(300, stop=StepDown)


def test_a_clean_demotion_keeps_memory_and_shows_it_when_the_log_was_followed_to_its_end() -> None:
    for clean, expected in ((True, [HideUntilCaughtUp, Follow]), (False, [RestoreFromLog, Follow])):
        stage = Stage().primary()
        followed = stage.roles.followed
        stage.roles.on_writer_lost("fenced", stage.us)
        assert stage.kinds() == [StepDown]
        stage.roles.on_stepped_down(clean, stage.us)
        assert stage.kinds() == expected
        assert stage.roles.role == RESTORING
        assert stage.roles.primary is None
        if clean:
            stage.heartbeat(committed=followed + 2)
            stage.take()
            stage.roles.on_followed(followed + 1, stage.us)
            assert stage.kinds() == []
            stage.roles.on_followed(followed + 2, stage.us)
            assert stage.kinds() == [BecomeReplica]


def test_a_rebuilt_node_is_a_replica_again_when_it_has_followed_the_log() -> None:
    stage = Stage().primary()
    stage.roles.on_writer_lost("fenced", stage.us)
    stage.roles.on_stepped_down(False, stage.us)
    stage.heartbeat(committed=9)
    stage.take()
    stage.roles.on_followed(8, stage.us)
    assert stage.kinds() == []
    stage.roles.on_followed(9, stage.us)
    assert stage.kinds() == [BecomeReplica]


def test_a_node_that_met_something_unreadable_never_leads() -> None:
    stage = Stage().replica()
    stage.roles.on_stuck("position 6 has format 9", stage.us)
    assert stage.kinds() == [StopFollowing]
    assert not stage.run(5000, window=0, stop=StartCampaign)
    candidate = Stage().replica()
    assert candidate.run(1000, window=0, stop=StartCampaign)
    candidate.roles.on_stuck("position 6 cannot be applied", candidate.us)
    assert candidate.kinds() == [StopFollowing, AbandonWriter]


# ---------------------------------------------------------------------- who leads, as far as known


def test_the_primary_is_known_from_its_entry_and_forgotten_when_its_window_stays_closed() -> None:
    stage = Stage().replica()
    stage.roles.on_leadership(Leadership("cc" * 20, OTHER, "c", "127.0.0.1", 6381, LEASE), stage.us)
    assert not stage.run(2000, window=900, stop=StartCampaign)
    assert stage.roles.primary is not None and stage.roles.primary.port == 6381
    assert stage.run(500, window=0, stop=StartCampaign)
    stage.roles.on_campaign_lost("refused", 0, False, stage.us)
    stage.run(400, window=0)
    assert stage.roles.primary is None


# ---------------------------------------------------------------------- hand-over


def handed(stage: Stage) -> None:
    """Complete a hand-over that was accepted."""
    stage.roles.on_drained(stage.us)
    output = stage.take()[0]
    assert (
        isinstance(output, AppendHandover) and decode_handover(output.payload).incarnation == OTHER
    )
    stage.roles.on_handover_committed(stage.us)
    output = stage.take()[0]
    assert isinstance(output, ReleaseLease) and output.successor == OTHER
    stage.roles.on_released(stage.us)


def test_a_handover_drains_commits_releases_and_only_then_steps_down() -> None:
    stage = Stage().primary()
    stage.peer()
    stage.roles.on_handover_asked("", stage.us)
    assert stage.kinds() == [HoldCommands]
    handed(stage)
    assert stage.kinds() == [HandoverOver, StepDown]
    stage.roles.on_stepped_down(True, stage.us)
    assert stage.kinds() == [BecomeReplica, Follow]
    assert stage.roles.primary is not None and stage.roles.primary.port == 2


def test_commands_kept_are_let_go_when_the_successor_leads_or_after_a_lease() -> None:
    for arrives in (True, False):
        stage = Stage().primary()
        stage.peer()
        stage.roles.on_handover_asked("", stage.us)
        stage.take()
        handed(stage)
        stage.roles.on_stepped_down(True, stage.us)
        stage.take()
        if arrives:
            stage.roles.on_leadership(
                Leadership("bb" * 20, OTHER, "b", "127.0.0.1", 2, LEASE), stage.us
            )
            assert stage.kinds() == [ReleaseCommands]
        else:
            begin = stage.now
            assert stage.run(1500, stop=ReleaseCommands)
            assert stage.now - begin == LEASE


def test_the_old_primary_leaves_the_field_to_the_successor_and_may_win_again_later() -> None:
    stage = Stage().primary()
    stage.peer()
    stage.roles.on_handover_asked("", stage.us)
    stage.take()
    handed(stage)
    stage.roles.on_stepped_down(True, stage.us)
    stage.take()
    begin = stage.now
    assert stage.run(5000, window=0, stop=StartCampaign)
    assert stage.now - begin >= 1500


def test_the_most_caught_up_replica_is_chosen_unless_one_is_named() -> None:
    for wanted, port in (("", 3), ("bb", 2), ("127.0.0.1:2", 2), ("cc" * 20, 3)):
        stage = Stage().primary()
        stage.peer("bb" * 20, 5, OTHER, 2)
        stage.peer("cc" * 20, 9, b"\x03" * 16, 3)
        stage.roles.on_handover_asked(wanted, stage.us)
        assert stage.roles.successor is not None and stage.roles.successor.port == port


@pytest.mark.parametrize("wanted", ["", "dd", "127.0.0.1:9"])
def test_a_handover_to_nobody_is_refused_and_changes_nothing(wanted: str) -> None:
    stage = Stage().primary()
    if wanted:
        stage.peer()
    stage.roles.on_handover_asked(wanted, stage.us)
    outputs = stage.take()
    assert (
        len(outputs) == 1
        and isinstance(outputs[0], HandoverOver)
        and outputs[0].error.startswith("no replica")
    )
    assert stage.roles.role == PRIMARY and not stage.roles.phase


def test_a_replica_silent_for_too_long_is_no_successor() -> None:
    stage = Stage().primary()
    stage.peer()
    stage.roles.on_lease(stage.us + 10_000_000, stage.us)
    stage.run(2500)
    stage.roles.on_handover_asked("", stage.us)
    output = stage.take()[0]
    assert isinstance(output, HandoverOver) and output.error


def test_a_handover_that_cannot_drain_goes_on_as_primary() -> None:
    stage = Stage().primary()
    stage.peer()
    stage.roles.on_handover_asked("", stage.us)
    stage.roles.on_lease(stage.us + 10_000_000, stage.us)
    stage.take()
    assert stage.run(1100, stop=ReleaseCommands)
    assert stage.roles.role == PRIMARY and not stage.roles.phase


def test_a_handover_entry_that_does_not_commit_ends_in_a_demotion_and_no_release() -> None:
    stage = Stage().primary()
    stage.peer()
    stage.roles.on_handover_asked("", stage.us)
    stage.roles.on_drained(stage.us)
    stage.roles.on_lease(stage.us + 10_000_000, stage.us)
    assert stage.run(1100, stop=StepDown)
    assert ReleaseLease not in [type(o) for o in stage.asked]
    stage.roles.on_stepped_down(False, stage.us)
    assert stage.kinds() == [RestoreFromLog, Follow, ReleaseCommands]


def test_a_release_naming_this_node_sends_it_at_once_and_again_if_it_was_too_early() -> None:
    stage = Stage().replica()
    stage.roles.on_handover(Handover("aa" * 20, ME), stage.us)
    assert stage.run(2, stop=StartCampaign)
    stage.roles.on_campaign_lost("lease held", 900, True, stage.us)
    begin = stage.now
    assert stage.run(100, stop=StartCampaign)
    assert stage.now - begin <= 21


def test_a_node_that_handed_over_a_moment_ago_campaigns_at_once_when_it_is_named_again() -> None:
    stage = Stage().primary()
    stage.peer()
    stage.roles.on_handover_asked("", stage.us)
    stage.take()
    handed(stage)
    stage.roles.on_stepped_down(True, stage.us)
    stage.take()
    stage.roles.on_leadership(Leadership("bb" * 20, OTHER, "b", "127.0.0.1", 2, LEASE), stage.us)
    stage.take()
    stage.roles.on_handover(Handover("aa" * 20, ME), stage.us)
    begin = stage.now
    assert stage.run(1000, stop=StartCampaign)
    assert stage.now - begin <= 2


def test_commands_sent_to_the_successor_wait_until_it_leads_or_its_time_is_over() -> None:
    stage = Stage().replica()
    stage.roles.on_handover(Handover("aa" * 20, ME), stage.us)
    assert stage.kinds() == [HoldCommands]
    assert stage.run(2, stop=StartCampaign)
    stage.roles.on_campaign_won(8, stage.us + 1_000_000, stage.us)
    assert stage.kinds() == [StopFollowing, TakeOver, ReleaseCommands]
    failed = Stage().replica()
    failed.roles.on_handover(Handover("aa" * 20, ME), failed.us)
    begin = failed.now
    assert failed.run(2000, stop=ReleaseCommands)
    assert failed.now - begin == LEASE // 2


def test_a_heartbeat_with_this_node_as_successor_is_an_invitation_too() -> None:
    stage = Stage().replica()
    stage.heartbeat(window=0, successor=ME)
    assert stage.run(2, stop=StartCampaign)


def test_a_handover_to_another_node_is_not_disturbed() -> None:
    stage = Stage().replica()
    stage.roles.on_handover(Handover("bb" * 20, OTHER), stage.us)
    begin = stage.now
    assert stage.run(3000, window=0, stop=StartCampaign)
    assert stage.now - begin >= 500


# ---------------------------------------------------------------------- the end of the process


def test_sigterm_at_a_primary_hands_over_before_the_process_ends() -> None:
    stage = Stage().primary()
    stage.peer()
    stage.roles.on_terminate("SIGTERM", stage.us)
    assert stage.kinds() == [HoldCommands]
    handed(stage)
    stage.take()
    stage.roles.on_stepped_down(True, stage.us)
    assert Exit not in stage.kinds()  # the kept commands are answered first
    stage.roles.on_leadership(Leadership("bb" * 20, OTHER, "b", "127.0.0.1", 2, LEASE), stage.us)
    assert stage.kinds() == [ReleaseCommands, Exit]


def test_sigterm_at_a_primary_alone_commits_what_was_executed_and_ends() -> None:
    stage = Stage().primary()
    stage.roles.on_terminate("SIGTERM", stage.us)
    assert stage.kinds() == [HoldCommands]
    stage.roles.on_drained(stage.us)
    assert stage.kinds() == [StepDown]
    stage.roles.on_stepped_down(True, stage.us)
    assert stage.kinds()[-1] is Exit


def test_sigterm_elsewhere_ends_at_once() -> None:
    for stage in (Stage(), Stage().replica()):
        stage.roles.on_terminate("SIGTERM", stage.us)
        assert stage.kinds() == [Exit]


def test_sigterm_twice_ends_without_ceremony() -> None:
    stage = Stage().primary()
    stage.peer()
    stage.roles.on_terminate("SIGTERM", stage.us)
    stage.take()
    stage.roles.on_terminate("SIGTERM", stage.us)
    assert stage.kinds() == [Exit]


def test_a_campaign_won_while_the_process_ends_is_not_used() -> None:
    stage = Stage().replica()
    assert stage.run(1000, window=0, stop=StartCampaign)
    stage.roles.on_terminate("SIGTERM", stage.us)
    assert stage.kinds() == []
    stage.roles.on_campaign_won(7, stage.us + 1_000_000, stage.us)
    assert stage.kinds() == [AbandonWriter, Exit]


def test_a_candidate_that_gets_stuck_while_the_process_ends_ends_it() -> None:
    stage = Stage().replica()
    assert stage.run(1000, window=0, stop=StartCampaign)
    stage.roles.on_terminate("SIGTERM", stage.us)
    stage.roles.on_stuck("position 3 has format 9", stage.us)
    assert Exit in stage.kinds()


def test_a_primary_whose_window_another_holds_is_named_no_more() -> None:
    stage = Stage().replica()
    stage.roles.on_leadership(Leadership("bb" * 20, OTHER, "b", "127.0.0.1", 2, LEASE), stage.us)
    stage.roles.on_heartbeat(5, (1, 5), 1, 900, b"", stage.us, OTHER)
    assert stage.roles.primary is not None
    # another node is sealed and commits nothing: its window opens again and again
    for _ in range(8):
        stage.now += 100
        stage.roles.on_heartbeat(5, (1, 5), 2, 900, b"", stage.us, b"\7" * 16)
        stage.roles.on_deadline(stage.us)
    assert stage.roles.primary is None
