"""When a node may serve after it won a campaign, and when it may release a lease."""

from __future__ import annotations

import pytest

from memstore.replication.roles import CANDIDATE, PRIMARY, REPLICA, RESTORING
from memstore.replication.takeover import may_apply_prefix, may_release, why_lost


def test_only_a_candidate_that_kept_its_memory_applies_the_prefix() -> None:
    assert may_apply_prefix(CANDIDATE, True)
    assert not may_apply_prefix(CANDIDATE, False)
    for role in (PRIMARY, REPLICA, RESTORING):
        assert not may_apply_prefix(role, True)


def test_a_term_is_served_when_memory_is_the_log_up_to_its_first_entry() -> None:
    assert why_lost("", 6, 7) == ""


@pytest.mark.parametrize(
    ("lost", "applied", "next_position", "reason"),
    [
        ("fenced", 6, 7, "fenced"),
        ("", 7, 7, "others went on to 7"),
        ("", 12, 7, "others went on to 12"),
        ("", 5, 7, "the term was sealed again, and the log goes on behind the prefix"),
    ],
)
def test_a_term_is_lost_otherwise(lost: str, applied: int, next_position: int, reason: str) -> None:
    assert why_lost(lost, applied, next_position) == reason


def test_a_lease_is_released_when_all_that_the_writer_appended_is_committed() -> None:
    assert not may_release(1, "", True)
    assert may_release(0, "", True)
    assert may_release(1, "fenced", True) and may_release(1, "", False), "it waits for nothing"
