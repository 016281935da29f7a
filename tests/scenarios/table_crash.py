"""Scenarios 1 to 15: crashes, the journal, the ledger."""

from __future__ import annotations

from tests.scenarios.scenario import Group, Scenario, at

SCENARIOS = (
    Scenario(
        number=1,
        group=Group.CRASH,
        words="Killed before the intent is committed: the decision is made again, once; no effect.",
        tests=(
            *at("app/test_monitor.py", "test_a_server_that_is_killed_at_its_decision_decides_the_bar_when_it_is_back"),
            *at("ledger/test_concurrency.py", "test_a_killed_writer_leaves_what_was_committed_and_nothing_of_the_rest"),
            *at("restart/test_drill.py", "test_every_run_was_made_and_every_promise_kept"),
        ),
        kinds=("process: crash server", "process: crash api"),
    ),
    Scenario(
        number=2,
        group=Group.CRASH,
        words="Killed after the intent is committed, before SENDING: it is sent or expires; at most one effect.",
        tests=(
            *at("app/test_gateway.py", "test_a_kill_behind_the_send_loses_nothing_and_does_nothing_twice"),
            *at("app/test_monitor.py", "test_a_plan_that_is_overtaken_before_it_was_sent_is_never_sent"),
            *at("restart/test_drill.py", "test_every_run_was_made_and_every_promise_kept"),
        ),
        kinds=("process: crash gateway",),
    ),
    Scenario(
        number=3,
        group=Group.CRASH,
        words="Killed after SENDING is committed, before a byte leaves: UNKNOWN, NOT_APPLIED after the settle time, a new attempt; one in all.",
        tests=(
            *at("app/test_gateway.py", "test_a_kill_before_the_send_does_nothing_twice_and_the_story_still_ends"),
            *at(
                "app/test_unknown.py",
                "test_what_never_arrived_is_not_applied_after_the_settle_time_and_no_sooner",
                "test_a_required_action_that_never_arrived_is_sent_again_as_a_new_attempt",
            ),
            *at("restart/test_drill.py", "test_every_run_was_made_and_every_promise_kept"),
        ),
        kinds=("process: crash gateway", "ledger: power loss"),
    ),
    Scenario(
        number=4,
        group=Group.CRASH,
        words="Killed after the broker applied it, before the reply was read: found, APPLIED; one in all.",
        tests=(
            *at("app/test_gateway.py", "test_a_gateway_that_is_killed_inside_the_brokers_call_finds_what_it_did"),
            *at("up/test_killed.py", "test_at_most_one_operation_is_applied_an_intent"),
            *at("restart/test_drill.py", "test_every_run_was_made_and_every_promise_kept"),
        ),
        kinds=("process: crash gateway", "hang applied"),
    ),
    Scenario(
        number=5,
        group=Group.CRASH,
        words="Killed after the reply, before its commit: the same.",
        tests=(
            *at("app/test_gateway.py", "test_a_kill_behind_the_send_loses_nothing_and_does_nothing_twice"),
            *at("restart/test_drill.py", "test_every_run_was_made_and_every_promise_kept"),
            *at(
                "postgres/test_conflicts.py",
                "test_a_system_whose_commits_are_lost_now_and_then_does_what_an_undisturbed_one_does",
            ),
        ),
        kinds=("process: crash gateway", "ledger: full"),
    ),
    Scenario(
        number=6,
        group=Group.CRASH,
        words="Killed between the answer's commit and the state's advance: it advances at recovery, once.",
        tests=(
            *at("app/test_gateway.py", "test_a_kill_behind_the_send_loses_nothing_and_does_nothing_twice"),
            *at("restart/test_drill.py", "test_every_run_was_made_and_every_promise_kept"),
        ),
        kinds=("process: crash gateway",),
    ),
    Scenario(
        number=7,
        group=Group.CRASH,
        words="Killed again and again during recovery: it converges without any further effect.",
        tests=(
            *at("app/test_gateway.py", "test_a_kill_before_the_send_does_nothing_twice_and_the_story_still_ends"),
            *at(
                "restart/test_drill.py",
                "test_processes_were_killed_and_killed_again_while_they_recovered",
                "test_a_gateway_that_dies_in_each_of_its_recoveries_and_all_services_at_once_come_back",
            ),
            *at("machines/test_journal.py", "test_the_journal_in_a_file_keeps_its_laws_through_every_death"),
        ),
        kinds=("process: crash loop",),
    ),
    Scenario(
        number=8,
        group=Group.CRASH,
        words="Power loss drops the unsynced tail or tears the last page: noticed; the broker's facts win; 'not sent' is never assumed.",
        tests=(
            *at(
                "ledger/test_opening.py",
                "test_a_damaged_ledger_is_refused",
                "test_a_file_is_written_ahead_fully_synced_and_with_foreign_keys",
            ),
            *at(
                "ledger/test_bad_input.py",
                "test_a_damaged_ledger_is_refused_at_the_start_untouched_and_the_stops_stay",
                "test_a_ledger_that_is_damaged_under_a_running_gateway_stops_it",
                "test_a_removed_file_whose_log_is_there_is_no_new_ledger",
            ),
        ),
        kinds=("ledger: power loss", "ledger: torn commit"),
    ),
    Scenario(
        number=9,
        group=Group.CRASH,
        words="Disk full, read-only, or an I/O error at the commit: nothing is sent, a person is called.",
        tests=(
            *at(
                "ledger/test_opening.py",
                "test_a_full_disk_is_said_and_nothing_is_written",
                "test_a_ledger_that_may_not_be_written_says_so",
            ),
            *at("up/test_gateway_process.py", "test_a_ledger_that_fails_is_alarmed_and_tried_again_later"),
            *at(
                "ledger/test_bad_input.py",
                "test_a_disk_that_takes_no_more_stops_sending_and_nothing_is_lost_once_there_is_room",
                "test_a_file_that_may_not_be_written_any_more_stops_sending",
                "test_a_folder_that_may_not_be_written_is_said_before_anything_is_made",
            ),
            *at("app/test_modes.py", "test_a_ledger_that_was_away_leaves_only_protection_until_a_reconcile"),
        ),
        kinds=("ledger: full",),
    ),
    Scenario(
        number=10,
        group=Group.CRASH,
        words="Database locked for too long, serialization failure, deadlock: the transaction is tried again, no side effect twice.",
        tests=(
            *at(
                "ledger/test_concurrency.py",
                "test_a_writer_waits_no_longer_than_its_limit_and_comes_back_to_its_place",
                "test_of_two_decisions_on_one_read_only_the_first_is_written",
            ),
            *at(
                "ledger/test_bad_input.py",
                "test_a_lock_that_stays_longer_than_the_wait_stops_sending_and_then_it_goes_on",
            ),
            *at(
                "postgres/test_conflicts.py",
                "test_a_deadlock_with_a_persons_query_is_a_lost_race_and_the_next_pass_goes_on",
                "test_writers_who_decide_on_an_earlier_read_lose_often_and_lose_nothing",
            ),
        ),
        kinds=("ledger: busy",),
    ),
    Scenario(
        number=11,
        group=Group.CRASH,
        words="Restored from an old backup: noticed; positions in our name that the ledger does not know are quarantined, no second hedge.",
        tests=(
            *at("ledger/test_records.py", "test_the_epoch_is_new_at_creation_and_at_restore"),
            *at(
                "app/test_orphans.py",
                "test_an_old_backup_shows_its_lost_hedge_and_no_second_one_is_opened",
                "test_an_orphan_is_called_by_name_once_with_what_to_do_and_never_touched",
                "test_what_was_opened_and_closed_while_the_ledger_slept_is_told_once_and_held_against_nobody",
            ),
            *at(
                "ledger/test_bad_input.py",
                "test_what_was_sent_after_the_backup_is_not_sent_again_by_the_restored_ledger",
                "test_what_was_planned_at_the_backup_and_never_sent_is_done_once_after_the_settle_time",
            ),
        ),
    ),
    Scenario(
        number=12,
        group=Group.CRASH,
        words="A migration killed half-way: the old version or the new one; a mixture is refused.",
        tests=(
            *at(
                "ledger/test_opening.py",
                "test_a_half_migrated_ledger_is_refused",
                "test_a_newer_schema_is_refused_untouched",
            ),
            *at(
                "ledger/test_bad_input.py",
                "test_a_migration_that_is_killed_half_way_leaves_the_old_schema_and_runs_again",
                "test_a_creation_that_was_broken_off_leaves_nothing_that_a_start_would_trust",
            ),
        ),
    ),
    Scenario(
        number=13,
        group=Group.CRASH,
        words="Two engines on one ledger: the second is refused or fenced.",
        tests=(
            *at("up/test_commands.py", "test_a_second_gateway_on_the_same_data_folder_is_refused"),
            *at("up/test_second_process.py", "test_a_stopped_gateway_keeps_its_place_without_its_lock_files"),
            *at("app/test_gateway.py", "test_two_gateways_do_not_both_send_one_intent"),
            *at("ledger/test_concurrency.py", "test_processes_never_claim_an_intent_twice"),
            *at(
                "ledger/test_leases.py",
                "test_the_second_process_of_a_role_on_one_ledger_is_refused_and_told_who_has_it",
                "test_of_many_that_race_for_a_free_lease_one_has_it",
            ),
            *at("ledger/test_keeping.py", "test_the_second_gateway_on_one_ledger_is_refused_and_changes_nothing"),
            *at(
                "ledger/test_postgres_outage.py",
                "test_of_two_gateways_with_two_data_folders_the_second_takes_over_and_the_first_sends_nothing_more",
            ),
            *at("machines/test_lease.py", "test_whatever_gateways_and_clocks_do_one_alone_may_send"),
        ),
        kinds=("process: race", "process: zombie"),
    ),
    Scenario(
        number=14,
        group=Group.CRASH,
        words="The owner is stopped past its time, another acts, the old one resumes in the middle of a send: refused by its epoch; one in all.",
        tests=(
            *at("app/test_gateway.py", "test_a_gateway_whose_time_is_over_sends_nothing"),
            *at("up/test_gateway_process.py", "test_a_gateway_that_was_replaced_sends_nothing_and_says_so"),
            *at("ledger/test_intents.py", "test_a_gateway_of_an_older_epoch_claims_nothing_any_more"),
            *at(
                "ledger/test_leases.py",
                "test_a_gateway_that_is_stopped_past_its_lease_loses_its_place",
                "test_whoever_lost_the_lease_writes_nothing_any_more",
                "test_a_new_owner_waits_until_nothing_of_the_old_one_can_arrive",
                "test_a_holder_sends_until_the_longest_send_would_outlive_its_lease",
            ),
            *at("restart/test_drill.py", "test_the_gateway_was_frozen_also_past_its_lease_and_the_links_were_bad"),
        ),
        kinds=("process: pause", "process: zombie"),
        later="A stop between the last check and the write to the pipe remains possible: the one gateway an account bounds it.",
    ),
    Scenario(
        number=15,
        group=Group.CRASH,
        words="PostgreSQL fails over and loses the last commits: everything is reconciled before anything is armed.",
        tests=(
            *at("ledger/test_opening.py", "test_a_server_commits_synchronously_and_ends_writers_that_hang"),
            *at(
                "ledger/test_postgres_outage.py",
                "test_a_server_that_goes_while_an_order_is_on_its_way_leaves_it_unknown_and_evidence_decides",
                "test_a_server_that_is_away_stops_sending_and_what_was_planned_is_sent_once_when_it_is_back",
                "test_a_lease_that_ended_in_the_outage_is_taken_anew_and_everything_on_its_way_is_in_doubt",
                "test_a_failover_that_lost_the_last_commits_sends_nothing_a_second_time",
            ),
        ),
        kinds=("ledger: power loss",),
        later="A promoted copy that had lost the last commits was played on one machine; no real replication was.",
    ),
)
