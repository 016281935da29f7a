"""Scenarios 31 to 44: the broker, its terms, accounts and venues."""

from __future__ import annotations

from tests.scenarios.scenario import Group, Scenario, at

SCENARIOS = (
    Scenario(
        number=31,
        group=Group.BROKER,
        words="A hedge is refused (no money, prohibited, netting account): the fallback of the policy, no loop.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_a_hedge_that_is_refused_for_good_becomes_a_reduction",
            ),
            *at(
                "core_machine/test_plans.py",
                "test_where_a_hedge_cannot_be_the_same_volume_is_closed_and_the_reason_is_named",
            ),
            *at("mt5/test_sender.py", "test_a_hedge_never_leaves_on_a_netting_account"),
        ),
        kinds=("answer 10019", "answer 10046"),
    ),
    Scenario(
        number=32,
        group=Group.BROKER,
        words="The broker strips or rewrites the comment, or the number: matched otherwise, or quarantined; never 'not applied'.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_a_broker_that_rewrites_comments_hides_nothing_that_it_has_answered",
                "test_a_volume_change_is_found_without_its_comment_and_without_its_answer",
                "test_a_hedge_without_its_comment_and_without_its_answer_is_quarantined_and_never_not_applied",
            ),
            *at(
                "app/test_orphans.py",
                "test_a_hedge_whose_marks_the_broker_stripped_is_asked_about_and_settled_by_its_ticket",
            ),
        ),
        kinds=("comment stripped", "comment rewritten", "magic changed", "comment stripped and magic changed"),
    ),
    Scenario(
        number=33,
        group=Group.BROKER,
        words="A position's ticket changes at the rollover: followed by its identifier.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_a_stop_of_a_ticket_that_has_changed_is_set_at_the_new_one",
                "test_a_plan_outlives_a_second_change_of_the_ticket",
            ),
            *at("app/test_reconcile.py", "test_a_ticket_that_changes_is_followed_by_the_identifier"),
            *at(
                "app/test_by_hand.py",
                "test_a_ticket_that_changes_under_a_parked_closing_plan_is_closed_under_its_new_one",
            ),
        ),
        kinds=("reopened",),
    ),
    Scenario(
        number=34,
        group=Group.BROKER,
        words="Another account answers behind the terminal: nothing is sent, a person is called.",
        tests=(
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_a_pipe_that_leads_to_another_account_sends_nothing_there_and_one_order_here",
            ),
            *at("worker/test_worker.py", "test_a_new_child_on_another_account_is_refused_before_anything_is_sent"),
            *at(
                "app/test_breaker.py",
                "test_one_crossed_answer_sends_nothing_and_halts_nothing",
                "test_the_same_wrong_account_three_times_running_halts_and_a_person_resumes",
                "test_it_stays_halted_over_a_restart",
            ),
        ),
        kinds=("crossed",),
    ),
    Scenario(
        number=35,
        group=Group.BROKER,
        words="Stops level, step, tick or contract of an instrument change in the middle of a trade, or its name: quantised anew or held, no loop of invalid requests.",
        tests=(
            *at("app/test_monitor.py", "test_an_instrument_that_the_broker_changes_is_known_with_the_next_bar"),
            *at(
                "app/test_facts.py",
                "test_a_renamed_symbol_is_not_traded_under_its_old_name",
                "test_a_symbol_that_was_renamed_while_everything_was_down_holds_its_trade",
            ),
            *at(
                "scenarios/test_at_the_broker.py",
                "test_a_coarser_tick_in_the_middle_of_a_trade_puts_the_next_stop_on_the_new_grid",
                "test_a_wider_stops_level_in_the_middle_of_a_trade_keeps_the_next_stop_further_away",
                "test_a_coarser_volume_step_in_the_middle_of_a_trade_rounds_the_part_down_to_it",
            ),
            *at(
                "terminal_faults/test_faults_around.py",
                "test_a_reduction_of_what_a_new_step_does_not_hold_is_refused_without_a_loop",
            ),
            *at(
                "terminal_faults/test_faults_through_the_executor.py",
                "test_a_symbol_that_the_broker_lost_does_not_hold_up_the_others",
            ),
        ),
        kinds=("respecified", "broker: contract", "broker: symbol renamed"),
    ),
    Scenario(
        number=36,
        group=Group.BROKER,
        words="The rest after halving would be under the minimum: left or closed as the policy says, and named.",
        tests=at(
            "scenarios/test_at_the_broker.py", "test_a_lot_that_cannot_be_halved_is_left_or_closed_as_the_policy_says"
        ),
    ),
    Scenario(
        number=37,
        group=Group.BROKER,
        words="A stop is changed while a person has set a target: the target stays.",
        tests=(
            *at(
                "app/test_by_hand.py",
                "test_a_target_changed_by_hand_is_kept_through_our_own_stop_changes",
                "test_a_target_removed_by_hand_stays_removed",
            ),
            *at("mt5/test_against_terminal.py", "test_a_stop_change_moves_the_stop_and_keeps_the_target"),
        ),
        kinds=("operator: target by hand",),
    ),
    Scenario(
        number=38,
        group=Group.BROKER,
        words="A split or another unit rewrites the position: frozen, a person is called.",
        tests=at(
            "scenarios/test_at_the_broker.py", "test_a_position_that_the_broker_splits_is_frozen_and_a_person_called"
        ),
        kinds=("broker: deal corrected", "broker: renumbered"),
        later="A cash dividend that only moves the price is not told apart from the market.",
    ),
    Scenario(
        number=39,
        group=Group.BROKER,
        words="ccxt: 200 with an empty, cut or HTML body, or without an id: UNKNOWN.",
        later="ccxt is not connected yet.",
    ),
    Scenario(
        number=40,
        group=Group.BROKER,
        words="ccxt: a stop was cancelled and its successor not made: at most 2 s without one.",
        later="ccxt is not connected yet. MetaTrader 5 amends in place; the time without a stop is measured and alarmed all the same.",
    ),
    Scenario(
        number=41,
        group=Group.BROKER,
        words="ccxt: the client's order id is refused as a duplicate: looked up, credited once.",
        later="ccxt is not connected yet.",
    ),
    Scenario(
        number=42,
        group=Group.BROKER,
        words="One-way account where hedges were expected: never hedged, or refused.",
        tests=(
            *at(
                "scenarios/test_at_the_broker.py",
                "test_an_account_that_is_netting_is_never_hedged_whatever_the_policy_wants",
            ),
            *at("core_machine/test_rails_and_arbiter.py", "test_no_hedge_where_account_or_symbol_has_none"),
        ),
        later="The position mode of crypto venues comes with ccxt.",
    ),
    Scenario(
        number=43,
        group=Group.BROKER,
        words="The venue bans us for too many requests while a protective action is due: a reserved budget, a person is called.",
        tests=at(
            "app/test_limits.py",
            "test_after_too_many_requests_what_can_wait_waits_longer_and_longer_and_what_protects_does_not",
            "test_a_share_of_the_second_is_kept_for_what_protects",
            "test_when_the_ordinary_budget_of_a_day_is_spent_only_what_protects_is_sent_and_then_nothing",
        ),
        kinds=("answer 10024",),
        later="The 429 and 418 of crypto venues come with ccxt.",
    ),
    Scenario(
        number=44,
        group=Group.BROKER,
        words="A stream says filled, the query says open: the query wins after the settle time.",
        later="ccxt is not connected yet. MetaTrader 5 has no such stream: everything is read.",
    ),
)
