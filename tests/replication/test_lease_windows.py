"""Which node is named as primary: by open windows, at any log node.
It is never a dead node, and never the node itself.
"""

from __future__ import annotations

from memstore.replication.control_entries import Handover, Leadership
from memstore.replication.outputs import AskProbe, StartCampaign
from memstore.replication.roles import CANDIDATE, REPLICA
from tests.replication.test_roles import LEASE, ME, OTHER, Stage

THIRD = b"\x03" * 16
LEADS = Leadership("bb" * 20, OTHER, "b", "127.0.0.1", 6380, LEASE)


def follower(leadership: Leadership = LEADS) -> Stage:
    """A replica that has followed this entry while its log node shows no window."""
    stage = Stage()
    stage.roles.on_leadership(leadership, stage.us)
    stage.roles.on_followed(5, stage.us)
    stage.heartbeat(5, window=0)
    assert stage.roles.role == REPLICA
    stage.take()
    return stage


def port(stage: Stage) -> int:
    return stage.roles.primary.port if stage.roles.primary is not None else 0


def test_an_entry_of_the_past_names_nobody() -> None:
    stage = follower()
    assert port(stage) == 0
    assert stage.run(2000, window=0, stop=StartCampaign) and port(stage) == 0


def test_the_writer_of_the_newest_entry_is_named_when_its_window_is_seen() -> None:
    stage = Stage()
    stage.heartbeat(5)
    stage.roles.on_leadership(LEADS, stage.us)
    assert port(stage) == 6380, "while it restores: a heartbeat has shown the window"
    stage = follower()
    stage.heartbeat(5)
    assert port(stage) == 6380


def test_a_fresh_entry_is_confirmed_by_a_probe_at_once() -> None:
    stage = Stage().replica()
    stage.heartbeat(5, window=0)
    stage.roles.on_leadership(Leadership("cc" * 20, THIRD, "c", "127.0.0.1", 6381, LEASE), stage.us)
    assert stage.run(2, stop=AskProbe)
    stage.roles.on_probe(False, stage.us, 900, ((THIRD, 950),))
    assert port(stage) == 6381


def test_a_primary_seen_through_other_log_nodes_stays_named_and_is_not_challenged() -> None:
    """The log node that is read shows a closed window for ten leases.
    Every probe finds the primary's window at the other log nodes.
    """
    stage = Stage().replica()
    stage.roles.on_leadership(LEADS, stage.us)
    campaigns = named = 0
    for _ in range(10 * LEASE):
        stage.now += 1
        if stage.now % 100 == 0:
            stage.heartbeat(5, window=0)
        if stage.roles.deadline() <= stage.us:
            stage.roles.on_deadline(stage.us)
        for kind in stage.kinds():
            if kind is AskProbe:
                stage.roles.on_probe(False, stage.us, 800, ((OTHER, 850),))
            elif kind is StartCampaign:
                campaigns += 1
                assert stage.roles.role == CANDIDATE
                stage.roles.on_campaign_lost("held", 850, True, stage.us, ((OTHER, 850),))
        named += port(stage) == 6380
    assert campaigns <= 1 and named == 10 * LEASE


def test_a_primary_that_dies_behind_a_lost_path_is_forgotten_with_its_window_and_replaced() -> None:
    stage = follower()
    stage.roles.on_probe(False, stage.us, 800, ((OTHER, 850),))
    assert port(stage) == 6380
    assert not stage.run(800, window=0, stop=StartCampaign) and port(stage) == 6380
    assert stage.run(400, window=0, stop=StartCampaign)
    stage.roles.on_campaign_lost("refused", 100, False, stage.us)
    stage.run(300, window=0)
    assert port(stage) == 0


def test_a_majority_that_would_promise_ends_the_waiting_for_a_window_elsewhere() -> None:
    """One log node shows a window for a long time; then the other two are free."""
    stage = follower()
    stage.roles.on_probe(False, stage.us, 60_000, ((THIRD, 60_000),))
    stage.roles.on_probe(True, stage.us, 0, ((THIRD, 60_000),))
    assert stage.run(LEASE, window=0, stop=StartCampaign)


def test_another_writers_window_names_nobody() -> None:
    stage = follower()
    stage.roles.on_probe(False, stage.us, 800, ((THIRD, 850),))
    assert port(stage) == 0
    stage.roles.on_probe(False, stage.us, 800, ((THIRD, 850), (OTHER, 300)))
    assert port(stage) == 6380, (
        "the newest entry's writer goes before a writer of whom no entry is known"
    )


def test_a_writer_that_has_not_said_who_it_is_is_named_when_it_has() -> None:
    stage = follower()
    stage.roles.on_probe(False, stage.us, 800, ((THIRD, 850),))
    stage.roles.on_leadership(Leadership("cc" * 20, THIRD, "c", "127.0.0.1", 6381, LEASE), stage.us)
    assert port(stage) == 6381


def test_no_node_names_itself_or_a_former_life_of_its_own() -> None:
    for leadership in (
        Leadership("aa" * 20, THIRD, "a", "127.0.0.1", 6379, LEASE),
        Leadership("aa" * 20, ME, "a", "127.0.0.1", 6379, LEASE),
    ):
        stage = follower(leadership)
        stage.roles.on_probe(False, stage.us, 800, ((leadership.incarnation, 850),))
        stage.heartbeat(5)
        assert port(stage) == 0
        stage.roles.on_leadership(leadership, stage.us)
        assert port(stage) == 0
    stage = follower()
    stage.heartbeat(5)
    stage.roles.on_handover(Handover("aa" * 20, THIRD, "a", "127.0.0.1", 6379), stage.us)
    assert port(stage) == 0, (
        "the process that was named the successor is gone, and this one has its address"
    )


def test_a_handover_of_the_past_names_nobody() -> None:
    stage = follower()
    stage.roles.on_handover(Handover("cc" * 20, THIRD, "c", "127.0.0.1", 6381), stage.us)
    assert port(stage) == 0
    stage = follower()
    stage.heartbeat(5)
    stage.roles.on_handover(Handover("cc" * 20, THIRD, "c", "127.0.0.1", 6381), stage.us)
    assert port(stage) == 6381
