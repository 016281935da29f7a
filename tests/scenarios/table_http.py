"""Scenarios 60 to 70: HTTP and the operator."""

from __future__ import annotations

from tests.scenarios.scenario import Group, Scenario, at

SCENARIOS = (
    Scenario(
        number=60,
        group=Group.HTTP,
        words="No key, a wrong one, one in the query, ten thousand guesses: refused, no effect.",
        tests=(
            *at(
                "web/test_guard.py",
                "test_a_write_without_the_token_is_unauthorized_and_has_no_effect",
                "test_a_token_in_the_query_does_not_count",
                "test_a_token_without_the_scope_is_forbidden",
            ),
            *at(
                "scenarios/test_http.py",
                "test_ten_thousand_guesses_of_the_token_have_no_effect_and_leave_the_service_at_work",
            ),
        ),
        later="One token for all writes: keys with scopes, expiry and a limit of failed tries come with the hardening of HTTP.",
    ),
    Scenario(
        number=61,
        group=Group.HTTP,
        words="Another Host, a page from elsewhere, a form, a preflight, a foreign WebSocket: refused.",
        tests=(
            *at(
                "web/test_guard.py",
                "test_a_host_that_is_not_ours_is_misdirected",
                "test_a_foreign_origin_is_forbidden",
                "test_a_cross_site_fetch_is_forbidden_and_a_same_origin_one_is_not",
                "test_a_websocket_from_a_foreign_page_is_closed",
            ),
            *at("web/test_body.py", "test_another_content_type_is_unsupported"),
            *at("web/test_serve.py", "test_the_guards_hold_over_a_socket"),
        ),
    ),
    Scenario(
        number=62,
        group=Group.HTTP,
        words="JSON that is none, too deep, too large, doubled keys, NaN, 1e400, lone surrogates, gzip, a length that lies: 4xx, in time.",
        tests=(
            *at(
                "web/test_body.py",
                "test_a_bad_value_is_a_422_that_names_its_field",
                "test_what_is_no_strict_json_is_a_4xx",
                "test_a_compressed_body_is_unsupported",
                "test_any_bytes_are_a_value_or_a_4xx",
                "test_a_body_that_never_ends_is_cut_off",
            ),
            *at("server/test_registration.py", "test_no_body_whatever_makes_a_500_or_writes"),
            *at("scenarios/test_http.py", "test_a_body_with_two_lengths_is_one_request_or_none"),
        ),
        later="The fuzz of 100,000 requests (G8) comes with the hardening of HTTP.",
    ),
    Scenario(
        number=63,
        group=Group.HTTP,
        words="Paths that climb, escapes, SQL, very long ones, unknown trades: 404 or 403.",
        tests=(
            *at("scenarios/test_http.py", "test_a_path_that_tries_to_be_clever_is_told_nothing_and_changes_nothing"),
            *at("server/test_reads.py", "test_an_unknown_trade_is_404_with_our_code"),
            *at("web/test_problem.py", "test_a_ticket_in_a_path_is_plain_digits_of_64_bits"),
        ),
        later="There is one account and one tenant an installation.",
    ),
    Scenario(
        number=64,
        group=Group.HTTP,
        words="The same key: fifty at once are one effect with one answer; another body is 422; under way is 409; also after a restart.",
        tests=(
            *at("scenarios/test_http.py", "test_fifty_equal_requests_at_once_open_one_trade"),
            *at(
                "api/test_idempotency.py",
                "test_the_same_key_with_another_body_is_422",
                "test_a_request_that_is_still_under_way_is_409",
                "test_a_repetition_after_a_restart_finds_the_trade_that_was_opened",
            ),
            *at("machines/test_dedupe.py", "test_whatever_comes_twice_is_done_once"),
        ),
    ),
    Scenario(
        number=65,
        group=Group.HTTP,
        words="Slow senders, idle connections, pipelining, a client that leaves after its POST: the service answers others, the effect is journaled once.",
        tests=at(
            "scenarios/test_http.py",
            "test_a_client_that_leaves_after_its_post_has_its_effect_once",
            "test_slow_and_idle_connections_do_not_keep_others_from_an_answer",
            "test_pipelined_requests_are_answered_in_their_order",
        ),
        later="No limit of connections a client: loopback only. Four hundred idle ones were tried, not ten thousand.",
    ),
    Scenario(
        number=66,
        group=Group.HTTP,
        words="Volume -1, 0, 1e-9, over the limit, off the step; a stop on the wrong side; a price of twelve digits: 422, no intent.",
        tests=(
            *at("api/test_opening.py", "test_what_cannot_be_opened_is_422_with_its_field_and_leaves_no_intent"),
            *at("server/test_registration.py", "test_a_bad_body_is_422_with_the_field_and_nothing_is_written"),
            *at("api/test_exits.py", "test_rules_that_cannot_be_are_422_with_the_field"),
        ),
    ),
    Scenario(
        number=67,
        group=Group.HTTP,
        words="The kill switch is pressed in the middle of a send, twice, or with the ledger down: nothing new after its answer, flatten goes on after a kill.",
        tests=(
            *at(
                "api/test_kill_switch.py",
                "test_after_the_answer_nothing_that_adds_risk_is_sent",
                "test_pressed_while_the_ledger_is_locked_it_holds_as_soon_as_it_can",
                "test_flatten_goes_on_after_a_restart",
                "test_flatten_that_is_enforced_a_hundred_times_writes_each_step_once",
            ),
            *at(
                "app/test_kill_file.py",
                "test_a_press_between_claim_and_send_is_in_time",
                "test_a_kill_during_flatten_is_taken_up_where_it_was",
                "test_api_and_gateway_that_both_flatten_close_each_trade_once",
                "test_a_word_in_the_file_refuses_what_adds_risk_with_nobody_else_alive",
            ),
            *at("up/test_kill_file.py", "test_a_person_with_nothing_but_a_shell_closes_every_trade_once"),
        ),
        kinds=("operator: kill switch",),
    ),
    Scenario(
        number=68,
        group=Group.HTTP,
        words="The configuration is reloaded with invalid or looser limits: as a whole or not at all.",
        tests=at("domain/test_policy_file.py", "test_every_fault_of_the_settings_is_said_at_once"),
        later="Nothing is reloaded while it runs: settings and policy are read and checked as a whole at the start.",
    ),
    Scenario(
        number=69,
        group=Group.HTTP,
        words="The log cannot be written: trading goes on. The audit cannot be written: nothing is sent, a person is called.",
        tests=(
            *at(
                "scenarios/test_logs_and_audit.py",
                "test_the_gateway_recovers_sends_and_survives_a_failing_pass_while_its_logs_cannot_be_written",
                "test_alerts_reach_a_person_while_the_log_cannot_be_written",
                "test_without_an_audit_nothing_is_sent_a_person_is_called_and_the_stop_stays",
            ),
            *at(
                "app/test_modes.py", "test_a_broken_audit_chain_halts_until_a_start_finds_it_whole_and_a_person_resumes"
            ),
        ),
        later="A log pipe that nobody empties stops its writer; the supervisor's watchdog starts that one again.",
    ),
    Scenario(
        number=70,
        group=Group.HTTP,
        words="Secrets appear in no log, error, metric, database or command line.",
        tests=(
            *at("scenarios/test_http.py", "test_no_secret_is_anywhere_but_in_its_own_file"),
            *at("web/test_guard.py", "test_no_token_is_ever_logged"),
            *at("ledger/test_opening.py", "test_a_server_that_is_not_there_is_said_without_its_password"),
            *at("cli/test_config.py", "test_show_tells_settings_and_policy_and_no_secret"),
            *at("worker/test_worker.py", "test_the_arguments_are_not_on_the_command_line"),
        ),
    ),
)
