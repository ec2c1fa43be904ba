"""The tests that cannot run on compiled modules, each with its reason. `tests/conftest.py` skips them in a compiled run, and the summary counts them.

Decides: nothing else. There should be few: what a test replaces is given to a constructor instead wherever that is possible (docs/compiled.md).
"""

from __future__ import annotations

_MUTANT = "a mutant replaces a piece of a function's source"
_PATCH = "it plants a bug in a method of a compiled class"
_SIZES = "it makes sizes small that are constants of the compiled code"
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
    "test_a_position_that_is_given_too_early_is_noticed",
    "test_a_position_that_waits_is_answered_by_a_demotion",
    "test_a_position_that_does_not_exist_keeps_nothing_waiting",
    "test_a_transaction_has_no_position_before_it_ends",
)

INTERPRETED_ONLY: dict[str, str] = {
    "tests/engine/test_quicklist.py::test_any_history_of_tiny_nodes": _SIZES,
    "tests/engine/test_quicklist.py::test_an_element_of_evenly_long_ones_is_cut_out": "it counts the calls of a compiled function",
    "tests/replication/test_forgotten_errors.py::test_a_planted_bug_in_the_link_is_found": _MUTANT,
    "tests/txlog/consensus/test_stand_stills.py::test_a_planted_bug_in_what_the_lease_keeper_relies_on_is_found": _MUTANT,
    "tests/replication/test_review_node.py::test_a_parked_command_that_fails_costs_its_client_the_connection_and_no_other_client_anything": _STAND_IN,
    "tests/replication/test_review_node.py::test_a_client_that_said_goodbye_is_closed_at_a_demotion": _STAND_IN,
    "tests/replication/test_review_node.py::test_a_release_waits_for_what_a_term_sealed_anew_has_put_behind_the_handover": _STAND_IN,
    "tests/replication/test_review_node.py::test_a_term_sealed_anew_while_its_prefix_is_applied_is_a_lost_campaign_and_no_reason_to_end": _STAND_IN,
    **{f"tests/replication/test_review_errands.py::{name}": _DESK for name in _ERRANDS},
    "tests/replication/test_contained_errors.py::test_each_guard_is_needed": _MUTANT,
    "tests/sim/test_campaigns.py::test_a_lost_write_fails_power_loss": _MUTANT,
    "tests/sim/test_campaigns.py::test_a_hole_that_is_passed_over_fails_triple_corrupt": _PATCH,
    "tests/sim/test_campaigns.py::test_windows_that_never_close_fail_primary_cut": _PATCH,
    "tests/sim/test_campaigns.py::test_seals_that_are_given_up_too_soon_fail_slow_disks": _PATCH,
    "tests/sim/test_campaigns.py::test_damage_that_nobody_repairs_fails_bit_flip": _PATCH,
    "tests/sim/test_campaigns.py::test_windows_that_hold_nobody_up_fail_replica_partition": _PATCH,
    "tests/sim/test_digests.py::test_without_the_comparison_nobody_would_know": _PATCH,
    "tests/sim/test_directed.py::test_the_schedule_shows_its_mutant": _MUTANT,
    "tests/sim/test_runs.py::test_a_planted_bug_is_found": _MUTANT,
    "tests/sim/test_world.py::test_every_mutant_still_fits_the_code": _MUTANT,
    "tests/txlog/service/test_pending_ack.py::test_it_is_given_when_the_disk_has_it": _STORE,
    "tests/txlog/service/test_pending_ack.py::test_it_is_never_given_when_the_membership_has_changed": _STORE,
    "tests/txlog/service/test_review_half_alive.py::test_an_error_in_a_sync": _STORE,
    "tests/txlog/service/test_review_half_alive.py::test_an_error_between_two_outputs": _STORE,
    "tests/txlog/service/test_review_half_alive.py::test_an_error_in_a_heartbeat": _STORE,
    "tests/txlog/service/test_review_half_alive.py::test_a_process_short_of_files_goes_on_without_the_scrubber": _STORE,
    "tests/txlog/service/test_review_memory.py::test_an_answer_is_no_larger_than_a_node_gives": _SIZES,
    "tests/txlog/service/test_review_reopened.py::test_an_owner_that_came_after_the_term_was_sealed_again_appends_the_leadership_itself": _CLIENT,
}
