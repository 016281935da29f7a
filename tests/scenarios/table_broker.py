"""Scenarios 16 to 30: the broker, its answers and what it does to positions."""

from __future__ import annotations

from tests.scenarios.scenario import Group, Scenario, at

SCENARIOS = (
    Scenario(
        number=16,
        group=Group.BROKER,
        words="Time-out, applied: found and never sent again.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_what_was_applied_without_an_answer_is_found_and_never_sent_again",
            ),
            *at(
                "worker/test_hanging_broker.py",
                "test_an_order_that_hangs_is_killed_unknown_and_settled_by_what_the_broker_shows",
            ),
        ),
        kinds=("failed -10002 applied", "failed -10001 applied", "hang applied"),
    ),
    Scenario(
        number=17,
        group=Group.BROKER,
        words="Time-out, not applied: told after the settle time, tried once more.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_what_was_lost_on_the_way_is_told_after_the_settle_time_and_tried_once_more",
            ),
            *at(
                "worker/test_hanging_broker.py",
                "test_an_order_that_hangs_is_killed_unknown_and_settled_by_what_the_broker_shows",
            ),
        ),
        kinds=("failed -10002", "hang"),
    ),
    Scenario(
        number=18,
        group=Group.BROKER,
        words="Time-out, applied after half the settle time and after a read that did not show it: one in all, or quarantine.",
        tests=(
            *at(
                "scenarios/test_at_the_broker.py",
                "test_an_order_that_comes_after_half_the_settle_time_and_after_a_read_that_did_not_show_it_is_one",
            ),
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_a_hedge_that_comes_late_but_before_the_quarantine_is_counted_once",
                "test_a_hedge_that_comes_after_its_quarantine_is_still_one_and_no_second_one_is_sent",
                "test_an_order_that_the_broker_still_works_on_is_never_not_applied_however_late_it_fills",
            ),
        ),
        kinds=("late", "late after a read", "late 10008"),
        later="One that no list of active orders shows, later than the settle time, can be applied twice: a residual risk.",
    ),
    Scenario(
        number=19,
        group=Group.BROKER,
        words="A reply comes twice, or belongs to an earlier request: never credited to another intent.",
        tests=(
            *at("terminal_faults/test_faults_through_the_executor.py", "test_a_doubled_reply_changes_nothing"),
            *at(
                "terminal_faults/test_faults_at_the_adapter.py",
                "test_the_result_of_the_order_before_is_not_credited_to_this_one",
            ),
            *at("worker/test_broken_child.py", "test_an_answer_that_came_twice_is_not_credited_to_the_next_order"),
        ),
        kinds=("doubled", "previous", "previous applied", "failed -10000"),
    ),
    Scenario(
        number=20,
        group=Group.BROKER,
        words="No answer to a read of positions: nothing is concluded, least of all 'flat'.",
        tests=(
            *at("app/test_by_hand.py", "test_while_the_broker_is_down_nothing_ends"),
            *at("app/test_unknown.py", "test_while_the_broker_cannot_be_read_nothing_is_concluded_from_silence"),
            *at("mt5/test_reads.py", "test_none_is_never_an_answer"),
            *at("app/test_reconcile.py", "test_a_broker_that_cannot_tell_proves_nothing"),
        ),
        kinds=("failed -1", "failed -10004", "network: reads lost"),
    ),
    Scenario(
        number=21,
        group=Group.BROKER,
        words="An empty list for one read while positions exist: an end needs two clean reads and deals.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_one_empty_list_of_positions_ends_no_trade_and_repeats_nothing",
                "test_an_empty_list_after_an_earlier_part_was_closed_is_no_proof_of_the_rest",
            ),
            *at("app/test_by_hand.py", "test_an_empty_read_is_not_flat_however_long_it_lasts_without_deals"),
            *at(
                "app/test_reconcile.py",
                "test_one_empty_list_is_no_end_and_is_not_clean_and_the_next_read_puts_it_right",
            ),
        ),
        kinds=("empty",),
    ),
    Scenario(
        number=22,
        group=Group.BROKER,
        words="A smaller volume is filled than asked: the rest is a new intent, the sum exact.",
        tests=at(
            "terminal_faults/test_faults_through_the_executor.py",
            "test_a_part_fill_is_completed_by_a_new_intent_and_the_sum_is_exact",
            "test_a_part_fill_without_comment_and_without_answer_is_quarantined_and_never_not_applied",
        ),
        kinds=("part fill 10009", "part fill 10010"),
    ),
    Scenario(
        number=23,
        group=Group.BROKER,
        words="A storm of requotes: bounded attempts, then a person is called.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_a_storm_of_requotes_is_tried_three_times_and_then_told",
            ),
            *at("app/test_limits.py", "test_a_storm_of_requotes_ends_after_a_bounded_number_of_tries"),
        ),
        kinds=("storm 10004",),
    ),
    Scenario(
        number=24,
        group=Group.BROKER,
        words="The price moved inside the stops level, the position is frozen: no tight loop, the policy's fallback.",
        tests=(
            *at(
                "scenarios/test_at_the_broker.py",
                "test_a_stop_that_the_broker_will_not_have_is_tried_a_few_times_and_the_warning_stands",
                "test_a_part_that_may_not_be_closed_in_a_frozen_market_is_tried_a_few_times_and_told",
            ),
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_a_refusal_is_tried_again_where_that_can_help_and_told_where_it_cannot",
            ),
        ),
        kinds=("moved", "answer 10016", "answer 10029"),
    ),
    Scenario(
        number=25,
        group=Group.BROKER,
        words="The market is closed, an action waits, it reopens beyond the stop: judged anew at the new price, nothing stale is sent.",
        tests=(
            *at(
                "scenarios/test_at_the_broker.py",
                "test_what_was_parked_over_the_weekend_is_never_sent_to_a_position_that_the_gap_has_stopped_out",
                "test_a_stop_that_was_worked_out_on_friday_is_not_set_on_sunday",
                "test_a_close_that_waited_for_the_market_goes_at_the_price_of_the_reopening_and_once",
            ),
            *at(
                "app/test_gateway.py", "test_at_a_reopening_a_close_waits_for_the_spread_but_no_longer_than_ten_minutes"
            ),
        ),
        kinds=("storm 10018", "market: gap"),
    ),
    Scenario(
        number=26,
        group=Group.BROKER,
        words="Trading is switched off, or the password only reads: no storm, a person is called within one cycle.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_trading_that_is_switched_off_calls_a_person_within_one_pass_and_sends_no_storm",
            ),
            *at(
                "app/test_breaker.py",
                "test_trading_that_is_off_opens_it_at_the_first_answer_with_a_page",
                "test_the_button_is_noticed_within_a_second_with_nothing_to_send_and_so_is_its_return",
                "test_while_it_is_open_what_reduces_risk_is_tried_on_with_pauses_and_its_success_closes_it",
            ),
            *at(
                "app/test_modes.py",
                "test_trading_switched_off_leaves_only_protection_at_once_until_something_was_carried_out",
            ),
        ),
        kinds=("switched account", "switched api", "switched button", "switched programs"),
    ),
    Scenario(
        number=27,
        group=Group.BROKER,
        words="A person closes, closes in part, moves the stop, or opens on the same symbol while an intent is on its way: no fight, no reopening.",
        tests=(
            *at(
                "app/test_facts.py",
                "test_what_was_planned_before_a_position_turned_is_not_sent_to_the_other_side",
                "test_a_netting_position_closed_and_opened_again_between_two_looks_is_somebody_elses",
            ),
            *at("app/test_by_hand.py", "test_a_stop_that_is_put_back_is_told_once_with_the_way_to_keep_it"),
            *at("app/test_gateway.py", "test_what_was_decided_on_has_changed_so_nothing_is_sent"),
            *at(
                "app/test_by_hand.py",
                "test_floor_moves_a_loosened_stop_back_once_and_then_gives_way",
                "test_volume_taken_off_by_hand_is_taken_as_it_is",
                "test_an_opposite_position_opened_by_hand_is_foreign",
            ),
            *at("app/test_unknown.py", "test_a_hand_that_closes_the_same_part_does_not_make_our_partial_done_twice"),
            *at("app/test_reconcile.py", "test_what_a_hand_has_changed_is_counted_and_clean"),
        ),
        kinds=(
            "operator: stop by hand",
            "operator: partial by hand",
            "operator: close by hand",
            "operator: foreign position",
            "operator: close by",
            "operator: trailing stop",
        ),
    ),
    Scenario(
        number=28,
        group=Group.BROKER,
        words="The broker's stop fires between decision and send: a close has met its goal, a hedge is cancelled.",
        tests=at(
            "terminal_faults/test_faults_through_the_executor.py",
            "test_a_stop_that_is_hit_on_the_way_ends_the_trade_and_a_close_has_met_its_goal",
            "test_what_the_broker_closes_on_the_way_is_rejected_and_the_trade_ends_by_proof",
        ),
        kinds=("moved", "answer 10036"),
    ),
    Scenario(
        number=29,
        group=Group.BROKER,
        words="The main leg's stop fires while the hedge opens: the lone hedge is seen and closed within 10 s.",
        tests=(
            *at("app/test_by_hand.py", "test_a_stopped_parent_takes_its_hedge_along_within_ten_seconds"),
            *at(
                "app/test_unknown.py",
                "test_a_hedge_whose_parent_ends_while_it_is_in_doubt_is_closed_within_ten_seconds",
            ),
        ),
        kinds=("moved", "operator: close by hand"),
    ),
    Scenario(
        number=30,
        group=Group.BROKER,
        words="A stop-out closes some legs: reconciled, only what reduces risk goes on.",
        tests=(
            *at("terminal_faults/test_faults_around.py", "test_a_stop_out_closes_positions_and_says_why"),
            *at("app/test_modes.py", "test_a_stop_out_leaves_only_protection_until_there_is_margin_again"),
        ),
        kinds=("stop out", "broker: margin raised"),
    ),
)
