"""The tests that cannot run on compiled modules, each with its reason.
`tests/conftest.py` skips them in a compiled run, and the summary counts them.

Decides: nothing else. The list should be short: where possible, a test gives its substitute to a
constructor instead of replacing a name (docs/compiled.md).
"""

from __future__ import annotations

_MUTANT = "a mutant replaces a piece of a function's source"
_PATCH = "it plants a bug in a method of a compiled class"
_SIZES = "it makes sizes small that are constants of the compiled code"
_CALLS = "it counts the calls of a compiled function"
_DESK = "it gives the errands a stand-in for the node"
_STORE = "it replaces a method of a compiled store"
_CLIENT = "it gives the writer a stand-in for the client"
_STAND_IN = "it calls methods of the node on a stand-in for it"

_ERRANDS = (
    "test_a_handover_that_is_refused_at_once_is_answered_behind_what_came_before",
    "test_a_handover_to_nobody_is_answered_behind_a_write_that_waits",
    "test_a_wait_that_is_over_leaves_no_timer_behind",
    "test_a_connection_speaks_for_one_replica_however_many_it_names",
    "test_a_handover_that_a_step_down_has_answered_is_not_answered_again",
    "test_a_failover_asked_for_during_a_handover_is_no_answer_to_it",
    "test_who_was_answered_late_goes_on",
    "test_a_position_is_given_when_all_that_the_session_has_seen_is_committed",
    "test_a_position_is_given_when_the_write_has_moved_and_is_committed",
    "test_a_position_that_is_given_too_early_is_noticed",
    "test_a_position_that_waits_is_answered_by_a_demotion",
    "test_a_position_that_does_not_exist_keeps_nothing_waiting",
    "test_a_transaction_has_no_position_before_it_ends",
)


def _in(path: str, reason: str, *tests: str) -> dict[str, str]:
    return {f"{path}::{test}": reason for test in tests}


INTERPRETED_ONLY: dict[str, str] = {
    **_in(
        "tests/replication/test_recovery.py",
        _MUTANT,
        "test_a_reader_that_gets_the_bit_wrong_is_found",
    ),
    **_in(
        "tests/replication/test_unit_hook.py",
        _MUTANT,
        "test_a_path_that_tells_nothing_is_found",
    ),
    **_in(
        "tests/engine/test_quicklist.py",
        _SIZES,
        "test_any_history_of_tiny_nodes",
    ),
    **_in(
        "tests/engine/test_quicklist.py",
        _CALLS,
        "test_an_element_of_evenly_long_ones_is_cut_out",
    ),
    **_in(
        "tests/node/test_forgotten_errors.py",
        _MUTANT,
        "test_a_planted_bug_in_the_link_is_found",
    ),
    **_in(
        "tests/txlog/consensus/test_stand_stills.py",
        _MUTANT,
        "test_a_planted_bug_in_what_the_lease_keeper_relies_on_is_found",
    ),
    **_in(
        "tests/node/test_engine_node.py",
        _STAND_IN,
        "test_a_parked_command_that_fails_costs_only_its_own_client_the_connection",
        "test_a_client_that_said_goodbye_is_closed_at_a_demotion",
        "test_a_release_waits_for_what_a_term_sealed_again_has_put_behind_the_handover",
        "test_a_term_sealed_again_while_its_prefix_is_applied_is_a_lost_campaign",
    ),
    **_in("tests/node/test_client_requests.py", _DESK, *_ERRANDS),
    **_in(
        "tests/node/test_contained_errors.py",
        _MUTANT,
        "test_each_guard_is_needed",
    ),
    **_in("tests/replication/test_waiting.py", _MUTANT, "test_each_guard_is_needed"),
    **_in(
        "tests/replication/test_waiting.py",
        _CALLS,
        "test_a_commit_looks_at_no_wait_that_goes_on",
    ),
    **_in(
        "tests/sim/test_campaigns.py",
        _MUTANT,
        "test_a_lost_write_fails_power_loss",
    ),
    **_in(
        "tests/sim/test_campaigns.py",
        _PATCH,
        "test_a_hole_that_is_passed_over_fails_triple_corrupt",
        "test_windows_that_never_close_fail_primary_cut",
        "test_seals_that_are_given_up_too_soon_fail_slow_disks",
        "test_damage_that_nobody_repairs_fails_bit_flip",
        "test_windows_that_hold_nobody_up_fail_replica_partition",
    ),
    **_in(
        "tests/sim/test_digests.py",
        _PATCH,
        "test_without_the_comparison_nobody_would_know",
    ),
    **_in(
        "tests/sim/test_directed.py",
        _MUTANT,
        "test_the_schedule_shows_its_mutant",
    ),
    **_in(
        "tests/sim/test_runs.py",
        _MUTANT,
        "test_a_planted_bug_is_found",
    ),
    **_in(
        "tests/sim/test_world.py",
        _MUTANT,
        "test_every_mutant_still_fits_the_code",
    ),
    **_in(
        "tests/txlog/service/test_pending_ack.py",
        _STORE,
        "test_it_is_given_when_the_disk_has_it",
        "test_it_is_never_given_when_the_membership_has_changed",
    ),
    **_in(
        "tests/txlog/service/test_driver_errors.py",
        _STORE,
        "test_an_error_in_a_sync",
        "test_an_error_between_two_outputs",
        "test_an_error_in_a_heartbeat",
        "test_a_process_short_of_files_goes_on_without_the_scrubber",
    ),
    **_in(
        "tests/txlog/service/test_memory_bounds.py",
        _SIZES,
        "test_an_answer_is_no_larger_than_a_node_gives",
    ),
    **_in(
        "tests/txlog/service/test_reopened_term.py",
        _CLIENT,
        "test_an_owner_that_came_after_a_second_seal_of_the_term_appends_the_leadership",
    ),
}
