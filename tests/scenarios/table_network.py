"""Scenarios 45 to 59: the network between the services, time, and market data."""

from __future__ import annotations

from tests.scenarios.scenario import Group, Scenario, at

SCENARIOS = (
    Scenario(
        number=45,
        group=Group.NETWORK,
        words="The DTMS server is out of reach for 9.999 s, up to 30.000 s, 30.001 s: cache, last known, default, exactly, and said.",
        tests=(
            *at(
                "client/test_query_contract.py",
                "test_an_answer_is_fresh_under_ten_seconds",
                "test_the_last_known_state_serves_until_thirty_seconds_and_no_longer",
                "test_the_thirtieth_second_is_exact_to_the_nanosecond",
                "test_ages_run_from_the_sending_not_from_the_receipt",
            ),
            *at(
                "time/test_thirty_seconds.py",
                "test_the_manager_asks_again_at_ten_seconds_to_the_millisecond",
                "test_the_manager_defers_to_the_last_known_state_for_thirty_seconds_to_the_millisecond",
            ),
        ),
        kinds=("network: server cut",),
    ),
    Scenario(
        number=46,
        group=Group.NETWORK,
        words="Requests arrive and their answers are lost: repeated requests have one effect.",
        tests=(
            *at("server/test_registration.py", "test_the_same_registration_again_is_200_and_writes_nothing"),
            *at("api/test_opening.py", "test_what_was_opened_is_registered_within_five_seconds_of_the_servers_return"),
            *at("api/test_idempotency.py", "test_the_same_request_again_gives_the_same_answer_and_opens_nothing"),
            *at("restart/test_drill.py", "test_the_gateway_was_frozen_also_past_its_lease_and_the_links_were_bad"),
            *at("machines/test_dedupe.py", "test_whatever_comes_twice_is_done_once"),
        ),
        kinds=("network: reply lost", "operator: repeated request"),
    ),
    Scenario(
        number=47,
        group=Group.NETWORK,
        words="A slow drip, a half-open connection, a reset after the body, a name that does not resolve: bounded, the loop keeps its pace.",
        tests=(
            *at(
                "client/test_over_sockets.py",
                "test_a_drip_of_one_byte_each_1_9_seconds_is_cut_off_at_two_seconds_twice",
                "test_a_hang_is_cut_off_and_the_connection_is_closed",
                "test_a_name_that_does_not_resolve_is_an_outage",
                "test_every_fault_gives_the_last_known_state_after_the_agreed_attempts",
            ),
            *at("gateway_http/test_client_faults.py", "test_a_gateway_that_hangs_is_given_up"),
            *at("restart/test_drill.py", "test_the_gateway_was_frozen_also_past_its_lease_and_the_links_were_bad"),
        ),
        kinds=("network: slow",),
        later="There is no TLS yet: nothing is served off this machine.",
    ),
    Scenario(
        number=48,
        group=Group.NETWORK,
        words="The answer is of an older version, of another trade, cut, or no number: refused, as if out of reach.",
        tests=at(
            "client/test_not_as_agreed.py",
            "test_a_bad_answer_counts_as_unreachable_and_is_tried_twice",
            "test_a_lower_version_of_the_same_epoch_is_refused",
            "test_whatever_the_server_sends_is_an_answer_for_this_trade_or_none",
        ),
        kinds=("network: garbled",),
    ),
    Scenario(
        number=49,
        group=Group.NETWORK,
        words="The trade is defended, the server is out of reach, an exit signal comes: no naked hedge, nothing closed twice.",
        tests=at(
            "scenarios/test_partition.py",
            "test_no_exit_touches_a_hedged_trade_however_long_the_server_is_out_of_reach",
            "test_a_defence_that_is_planned_and_not_sent_yet_is_not_doubled_by_an_exit",
            "test_the_same_signals_are_acted_on_where_nobody_defends_the_trade",
        ),
        kinds=("network: server cut", "operator: exit rules"),
    ),
    Scenario(
        number=50,
        group=Group.NETWORK,
        words="The link flaps each second for ten minutes: no decision swings with it.",
        tests=(
            *at("api/test_loop.py", "test_a_short_outage_is_not_told_and_the_count_begins_anew"),
            *at(
                "time/test_thirty_seconds.py",
                "test_a_link_that_flaps_for_ten_minutes_never_changes_what_is_believed_of_a_defended_trade",
                "test_a_link_that_flaps_proposes_nothing_twice_for_a_trade_that_is_free",
            ),
        ),
        kinds=("network: request lost", "network: reply lost"),
    ),
    Scenario(
        number=51,
        group=Group.NETWORK,
        words="NATS is down, delivers again, out of order, or lost its stream: the ledger decides.",
        later="NATS is not connected yet; all wake-ups are polls of the ledger.",
    ),
    Scenario(
        number=52,
        group=Group.NETWORK,
        words="Services restart together, in any order.",
        tests=(
            *at(
                "up/test_killed.py",
                "test_each_process_was_killed_and_started_again_once",
                "test_the_restarted_system_answers_what_the_ledger_says",
            ),
            *at(
                "sim/test_simulate.py",
                "test_restarting_every_service_again_and_again_changes_nothing_that_is_decided_or_done",
            ),
            *at(
                "restart/test_drill.py",
                "test_every_run_was_made_and_every_promise_kept",
                "test_a_gateway_that_dies_in_each_of_its_recoveries_and_all_services_at_once_come_back",
            ),
        ),
        kinds=("ledger: power loss", "clock: reboot"),
    ),
    Scenario(
        number=53,
        group=Group.TIME,
        words="The wall clock steps by an hour or ten years, is slewed, or the broker's summer time begins: no trigger by it, ages unaffected.",
        tests=(
            *at("adapters/test_clocks.py", "test_the_boot_clock_never_goes_back"),
            *at("mt5/test_server_time.py", "test_the_estimate_changes_only_when_most_of_the_last_ticks_agree"),
            *at("terminal_faults/test_faults_around.py", "test_a_clock_that_jumps_comes_back"),
            *at(
                "time/test_jumps.py",
                "test_a_trades_life_is_the_same_whatever_the_wall_clock_did_meanwhile",
                "test_no_deadline_fires_from_a_wall_clock_that_is_set",
                "test_the_brokers_clock_that_changes_its_offset_is_followed_within_a_few_ticks",
            ),
            *at(
                "time/test_anchored_clock.py",
                "test_a_leap_second_or_a_small_correction_is_followed_slowly_and_never_backward",
                "test_a_slew_of_500_ppm_is_followed",
            ),
            *at("app/test_modes.py", "test_a_step_of_the_wall_clock_degrades_until_a_whole_pass_and_a_reconcile"),
        ),
        kinds=("clock: wall jump", "clock jump"),
    ),
    Scenario(
        number=54,
        group=Group.TIME,
        words="The machine sleeps for hours: everything is stale, leases have ended, it reconciles first.",
        tests=(
            *at("client/test_query_contract.py", "test_an_answer_that_the_machine_slept_through_is_a_timeout"),
            *at(
                "time/test_jumps.py",
                "test_after_eight_hours_of_sleep_quotes_are_stale_and_what_happened_is_taken_in_first",
            ),
            *at("time/test_anchored_clock.py", "test_eight_hours_of_sleep_have_passed"),
            *at(
                "app/test_modes.py", "test_a_reboot_or_sleep_leaves_only_protection_until_a_whole_pass_and_a_reconcile"
            ),
        ),
        kinds=("clock: suspend",),
    ),
    Scenario(
        number=55,
        group=Group.TIME,
        words="A reboot begins the boot-time clock anew: all ages count as expired.",
        tests=(
            *at("ledger/test_leases.py", "test_another_boot_of_the_machine_ends_every_lease"),
            *at(
                "time/test_anchored_clock.py",
                "test_after_a_boot_with_a_wall_clock_from_the_past_time_does_not_run_backward",
            ),
            *at("time/test_jumps.py", "test_a_boot_under_the_rig_turns_nothing_back"),
            *at(
                "app/test_modes.py", "test_a_reboot_or_sleep_leaves_only_protection_until_a_whole_pass_and_a_reconcile"
            ),
        ),
        kinds=("clock: reboot",),
    ),
    Scenario(
        number=56,
        group=Group.TIME,
        words="Bad ticks (0, negative, crossed, spike, doubled, out of order, frozen, of another symbol) are dropped and never reach the trail.",
        tests=(
            *at(
                "app/test_quotes_and_rails.py",
                "test_an_older_quote_is_dropped_and_counted_and_the_same_one_is_nothing_new",
                "test_a_jump_of_more_than_five_atr_is_a_bad_tick_until_a_second_one_goes_the_same_way",
                "test_what_is_believed_is_in_order_of_time_and_never_a_lone_jump",
            ),
            *at(
                "domain/test_values.py",
                "test_a_quote_that_cannot_be_is_refused",
                "test_a_crossed_quote_is_refused_and_a_locked_one_is_not",
            ),
            *at("gateway_http/test_client_faults.py", "test_an_answer_about_another_symbol_or_timeframe_is_no_answer"),
            *at(
                "ticks/test_planted.py",
                "test_what_is_planted_never_moves_a_stop",
                "test_without_the_checks_the_same_spikes_move_the_stop",
            ),
            *at(
                "ticks/test_feed.py",
                "test_a_bad_tick_is_dropped_and_counted_and_the_desk_goes_on",
                "test_a_price_of_a_hundred_times_as_much_is_dropped_though_no_atr_is_known",
                "test_another_symbols_quote_is_dropped",
                "test_a_frozen_feed_is_stale_by_when_its_last_change_was_received",
                "test_a_real_crash_does_not_blind_the_feed",
            ),
        ),
        kinds=("market: bad tick",),
    ),
    Scenario(
        number=57,
        group=Group.TIME,
        words="The spread grows twentyfold at the rollover: no stop moves on it.",
        tests=at("app/test_quotes_and_rails.py", "test_a_spread_of_more_than_ten_usual_ones_is_a_bad_tick"),
        kinds=("market: spread",),
    ),
    Scenario(
        number=58,
        group=Group.TIME,
        words="A burst of quotes: coalesced, the latest wins.",
        tests=at(
            "ticks/test_feed.py", "test_of_fifty_thousand_quotes_a_second_the_last_one_counts_and_nothing_piles_up"
        ),
    ),
    Scenario(
        number=59,
        group=Group.TIME,
        words="Bars are missing, doubled, revised, or come late: the newest is decided, a revision changes nothing.",
        tests=(
            *at("app/test_monitor.py", "test_a_bar_is_decided_once_however_many_passes_see_it"),
            *at("core_score/test_laws.py", "test_a_bar_that_comes_again_changes_nothing_and_is_counted"),
            *at(
                "server/test_bars_law.py",
                "test_a_decision_is_made_of_every_bar_that_was_shown_by_then_and_of_nothing_later",
            ),
            *at(
                "ticks/test_feed.py",
                "test_a_bar_off_the_minute_is_dropped_and_counted_and_the_symbol_is_scored_all_the_same",
            ),
        ),
        kinds=("market: gap", "market: silence", "history lag"),
    ),
)
