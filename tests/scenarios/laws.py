"""The invariants and where each is checked: the drill's laws are read out of its source, so that none is claimed."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.scenarios.scenario import at

ROOT = Path(__file__).resolve().parents[2]
DRILL = ROOT / "src" / "dtms_lab" / "drill"
_LAW = re.compile(r"I(\d+) [A-Za-z0-9 -]{4,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """One invariant; `tests` are those beside the drill's laws, or in their place."""

    number: int
    words: str
    tests: tuple[str, ...] = ()


INVARIANTS = (
    Invariant(
        number=1,
        words="Exactly once: the broker applies at most one operation an intent, and one over all attempts of a step; a terminal state says which.",
        tests=(
            *at(
                "machines/test_journal.py", "test_the_journal_in_memory_keeps_its_laws_whatever_gateways_and_broker_do"
            ),
            *at("restart/test_drill.py", "test_every_run_was_made_and_every_promise_kept"),
        ),
    ),
    Invariant(
        number=2,
        words="Nothing lost: every decision is one intent, and every intent has an end, or a person was called.",
        tests=at("restart/test_drill.py", "test_every_run_was_made_and_every_promise_kept"),
    ),
    Invariant(
        number=3,
        words="Written ahead: whatever the broker applies has a durable intent in SENDING or UNKNOWN at that instant.",
        tests=at("app/test_gateway.py", "test_an_intent_is_sending_in_the_ledger_before_the_first_byte_leaves"),
    ),
    Invariant(
        number=4,
        words="Single writer: what is applied carries epochs that never fall.",
        tests=at("machines/test_lease.py", "test_whatever_gateways_and_clocks_do_one_alone_may_send"),
    ),
    Invariant(
        number=5,
        words="Protection: a managed position has a stop at the broker, no wider than the journaled bound, but for an alarmed window.",
        tests=at("up/test_killed.py", "test_every_managed_position_has_its_stop_at_every_instant"),
    ),
    Invariant(
        number=6,
        words="Ratchet: nothing automatic widens a stop or adds exposure outside of what is granted; no close exceeds its position.",
        tests=at("core_machine/test_laws.py", "test_the_worst_loss_at_the_stop_never_grows_without_a_grant"),
    ),
    Invariant(
        number=7,
        words="Pairing: a hedge is no larger than its main leg, and outlives it by 10 s at most without an alert.",
        tests=at(
            "app/test_by_hand.py",
            "test_a_stopped_parent_takes_its_hedge_along_within_ten_seconds",
            "test_a_hedge_that_is_larger_than_what_a_hand_has_left_is_brought_down_to_it",
        ),
    ),
    Invariant(
        number=8,
        words="No action from bad input: nothing is decided on a stale, crossed or impossible quote.",
        tests=at("ticks/test_planted.py", "test_what_is_planted_never_moves_a_stop"),
    ),
    Invariant(
        number=9,
        words="Foreign positions and orders are never touched.",
        tests=at("app/test_orphans.py", "test_a_foreign_position_is_nobodys_orphan"),
    ),
    Invariant(
        number=10,
        words="State machine: declared transitions only, CLOSED absorbs, versions grow; a state is shown when its action is done.",
        tests=at("machines/test_trade_machine.py", "test_whatever_market_and_broker_do_the_trade_keeps_its_laws"),
    ),
    Invariant(
        number=11,
        words="Audit: every effect at the broker has its record with a cause, and the chain of digests holds.",
        tests=at("up/test_killed.py", "test_the_audit_chain_holds_over_the_kills"),
    ),
    Invariant(
        number=12,
        words="Limits: sends, tries and queues stay within their bounds.",
        tests=at("app/test_limits.py", "test_no_second_and_no_day_ever_sees_more_than_its_budget"),
    ),
    Invariant(
        number=13,
        words="Determinism: the same seed leaves the same trace.",
        tests=at("drill/test_report.py", "test_a_seed_that_runs_twice_leaves_the_same_trace"),
    ),
    Invariant(
        number=14,
        words="HTTP: any request gets a documented answer, no 5xx of its own making, no effect unless 2xx, no secret.",
        tests=(
            *at("web/test_body.py", "test_any_bytes_are_a_value_or_a_4xx"),
            *at("server/test_registration.py", "test_no_body_whatever_makes_a_500_or_writes"),
        ),
    ),
    Invariant(
        number=15,
        words="Recovery is start: after a crash and a recovery everything stands as after a stop and a start.",
        tests=at(
            "sim/test_simulate.py",
            "test_restarting_every_service_again_and_again_changes_nothing_that_is_decided_or_done",
        ),
    ),
    Invariant(
        number=16,
        words="Progress: while a market is open and no fault holds, every armed trade is decided on every closed bar; else the mode is not NORMAL and a person is called within 60 s.",
        tests=at(
            "app/test_progress.py",
            "test_a_restart_that_cannot_read_the_bars_of_an_open_trade_calls_within_a_minute",
            "test_bars_that_stay_away_while_quotes_come_are_told_when_the_second_has_closed",
        ),
    ),
    Invariant(
        number=17,
        words="The books agree: right after a conclusion, with no other operation since, the ledger's volume and levels equal the broker's.",
    ),
    Invariant(
        number=18,
        words="Pause: at kill level `pause` nothing new is planned by anybody; exits neither.",
    ),
    Invariant(
        number=19,
        words="Every fact: a position whose side, entry, symbol or upward volume differs from its trade is never acted on as that trade.",
        tests=(
            *at("app/test_facts_law.py", "test_nothing_is_ever_sent_to_a_position_that_is_not_its_trade"),
            *at(
                "app/test_facts.py",
                "test_a_netting_position_that_is_turned_round_ends_the_trade_and_the_other_side_is_left_alone",
                "test_a_position_averaged_and_reduced_again_between_two_looks_is_held_until_confirmed",
            ),
        ),
    ),
)


def laws_of_the_drill() -> dict[int, dict[str, list[str]]]:
    """Return the laws that the drill reports: number of the invariant to module to the laws' names."""
    found: dict[int, dict[str, list[str]]] = defaultdict(dict)
    for path in sorted(DRILL.glob("*.py")):
        texts = {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)}
        for law in sorted(text for text in texts if isinstance(text, str) and _LAW.fullmatch(text)):
            number, words = law.split(" ", 1)
            found[int(number[1:])].setdefault(path.stem, []).append(words)
    return found
