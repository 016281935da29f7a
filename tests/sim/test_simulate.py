"""The whole system over a short tape: lawful, the same twice, blind to the future, and no different for being restarted."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from tests.sim.tapes import WARM, cut, restart, run_of, weather, wide_rails

from dtms.app.defence.monitor import Monitor
from dtms.domain.policy import Policies, Policy
from dtms.domain.trade import TradeState
from dtms.domain.units import Millis
from dtms.domain.verdict import Verdict
from dtms_lab.simulate.report import report_of, verdict_hash
from dtms_lab.simulate.run import Run, findings
from dtms_lab.terminal.recorder import AppliedKind

LIVE = 500


@pytest.fixture(scope="module")
def ridden() -> Run:
    """A run to its end, made once: nobody changes it."""
    run = run_of(*weather(LIVE))
    run.run()
    return run


def told(run: Run) -> dict[str, Any]:
    """Return what a run has come to: transitions, trades and what the broker did."""
    with run.world.ledger.read() as tx:
        transitions = tx.transitions(limit=100_000)
        trades = tx.trades(limit=1_000)
        unfinished = tx.unfinished()
    return {
        "transitions": [replace(record, decision_id="") for record in transitions],
        "trades": [replace(trade, seq=0) for trade in trades],
        "unfinished": len(unfinished),
        "broker": [replace(entry, seq=0) for entry in run.world.oracle.entries],
    }


def spoken(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict)


def test_the_tape_shows_enough_to_judge_by(ridden: Run) -> None:
    report = report_of(findings(ridden))
    states = {TradeState(state) for state in report["states_visited"]}  # type: ignore[attr-defined]
    assert states == set(TradeState)
    assert ridden.world.oracle.of(AppliedKind.OPEN)


def test_no_law_is_broken_and_nothing_is_left_undecided(ridden: Run) -> None:
    found = findings(ridden)
    assert found.violations == ()
    assert told(ridden)["unfinished"] == 0
    assert max(found.naked_ms.values()) == 0


def test_the_same_tape_twice_is_the_same_run_to_the_last_digit(ridden: Run) -> None:
    again = run_of(*weather(LIVE))
    again.run()
    assert verdict_hash(again.tally.verdicts) == verdict_hash(ridden.tally.verdicts)
    assert told(again) == told(ridden)
    assert report_of(findings(again)) == report_of(findings(ridden))


def test_another_tape_is_another_run(ridden: Run) -> None:
    other = run_of(*weather(60, seed=5))
    other.run()
    assert verdict_hash(other.tally.verdicts) != verdict_hash(ridden.tally.verdicts)


@pytest.mark.parametrize("live", [211, 333])
def test_cutting_the_tape_changes_no_verdict_before_the_cut(ridden: Run, live: int) -> None:
    tape, start = weather(LIVE)
    short = run_of(cut(tape, WARM + live), start)
    short.run()
    last = tape.bars[WARM + live].start
    seen = [spoken(verdict) for verdict in short.tally.verdicts if verdict.at < last]
    assert seen == [spoken(verdict) for verdict in ridden.tally.verdicts if verdict.at < last]
    assert len(seen) > 100


def typical_spreads_only() -> Policies:
    """The policy without a median of spreads: what was seen of them is the one thing that a restart forgets."""

    def typical(policy: Policy) -> Policy:
        return replace(policy, rails=replace(policy.rails, spread_min_quotes=1_000_000))

    book = wide_rails()
    return Policies(
        default=typical(book.default), by_symbol={name: typical(each) for name, each in book.by_symbol.items()}
    )


def test_restarting_every_service_again_and_again_changes_nothing_that_is_decided_or_done() -> None:
    tape, start = weather(LIVE)
    plain = run_of(tape, start, policies=typical_spreads_only())
    plain.run()
    shaken = run_of(tape, start, policies=typical_spreads_only())
    steps = 0
    while shaken.world.step():
        shaken._watch_bars()
        steps += 1
        if steps % 211 == 0:
            restart(shaken)
    assert steps > 2_000
    assert told(shaken) == told(plain)
    assert findings(shaken).violations == ()


def test_verdicts_carry_the_policy_they_were_made_by(ridden: Run) -> None:
    digests = {verdict.policy_hash for verdict in ridden.tally.verdicts}
    assert digests == {ridden.world.policies.of("XAUUSD").digest}


def test_a_verdict_of_a_bar_comes_two_seconds_after_it_and_never_before(ridden: Run) -> None:
    for verdict in ridden.tally.verdicts:
        if verdict.bar is not None:
            assert verdict.at >= verdict.bar + 2_000
            assert verdict.bar % 300_000 == 0


def test_every_managed_trade_has_its_twin_and_its_money(ridden: Run) -> None:
    found = findings(ridden)
    assert len(found.results) == len(ridden.entries) > 5
    assert {result.ticket for result in found.results} == {entry.ticket for entry in ridden.entries}
    closed = [result for result in found.results if result.closed]
    assert closed
    for result in found.results:
        assert result.risk_money > 0
        assert result.costs > 0


def test_a_closed_trades_money_is_what_its_deals_say(ridden: Run) -> None:
    found = findings(ridden)
    with ridden.world.ledger.read() as tx:
        for entry, result in zip(ridden.entries, found.results, strict=True):
            if not result.closed:
                continue
            trade = next(t for t in found.trades if t.identifier == entry.identifier)
            booked = sum(deal.net for leg in (trade.identifier, *trade.children) for deal in tx.deals(leg))
            assert booked == pytest.approx(result.managed, abs=0.005)


def test_the_clock_of_the_run_ends_at_the_tapes_end(ridden: Run) -> None:
    tape, _ = weather(LIVE)
    assert ridden.world.clock.now >= Millis(tape.bars[-1].start)
    assert not ridden.world.step()


def test_a_broker_that_is_gone_for_a_while_fails_passes_and_breaks_no_law() -> None:
    run = run_of(*weather(60))
    flags = run.world.terminal.backend.flags
    steps = 0
    while run.world.step():
        run._watch_bars()
        steps += 1
        flags.connected = not 100 <= steps < 108
    found = findings(run)
    assert steps > 200
    assert set(found.failed_passes or ()) == {"dtms-server BrokerUnavailableError"}
    assert found.violations == ()
    assert run.world.services.failures[-1].at < run.world.clock.now - 600_000


def test_a_fault_of_our_own_ends_no_run_and_is_a_broken_law(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(*weather(20))
    tick, calls = Monitor.tick, [0]

    def broken(monitor: Monitor) -> None:
        calls[0] += 1
        if calls[0] == 30:
            raise ZeroDivisionError
        tick(monitor)

    monkeypatch.setattr(Monitor, "tick", broken)
    run.run()
    found = findings(run)
    assert found.failed_passes == {"dtms-server ZeroDivisionError": 1}
    assert [violation.law for violation in found.violations] == ["no pass fails on a fault of ours"]
    assert calls[0] > 60
