"""The defence's pass at a real broker: which bar is decided, once, and what the decision is shown of the account."""

from __future__ import annotations

from dataclasses import replace

from tests.app.rig import SYMBOL, T0, Crash, Killed, Rig, bar

from dtms.domain.action import OpenHedge
from dtms.domain.intent import IntentState
from dtms.domain.score import MarketView
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import Lots, Millis
from dtms.domain.verdict import Verdict
from dtms_lab.terminal.records import AccountSpec

_S = TradeState


def show(rig: Rig, view: MarketView) -> None:
    """Put a view in the place of what the broker's own bars say now."""
    rig.server.desk.poll_bars(SYMBOL, rig.clock.now)
    rig.server.desk.symbol(SYMBOL, rig.clock.now).view = view


def scored(rig: Rig, trade: Trade, score: float | None) -> list[Verdict]:
    """Let a bar with this score close and every service act on it; return the decisions about the trade."""
    rig.next_bar()
    before = len(rig.verdicts)
    show(rig, bar(rig.clock.now, trade.side, score))
    rig.settle()
    return [verdict for verdict in rig.verdicts[before:] if verdict.ticket == trade.ticket]


def test_a_bar_is_decided_once_however_many_passes_see_it(rig: Rig) -> None:
    trade = rig.managed()
    assert len(scored(rig, trade, -1.0)) == 1
    rig.pass_time(60)
    assert len([v for v in rig.verdicts if v.bar is not None]) == 1
    assert rig.trade(trade.ticket).bars_since_registration == 1


def test_a_bar_that_ended_when_the_trade_was_registered_is_not_its_own(rig: Rig) -> None:
    trade = rig.managed()
    show(rig, bar(T0, trade.side, -9.0))
    rig.pass_time(5)
    assert (rig.verdicts, rig.trade(trade.ticket).bars_since_registration) == ([], 0)
    show(rig, bar(T0 + 1, trade.side, -9.0))
    rig.pass_time(5)
    assert [verdict.bar for verdict in rig.verdicts] == [T0 + 1]


def test_a_fall_goes_through_every_warning_by_the_monitor_alone(rig: Rig) -> None:
    trade = rig.managed()
    for score in (-1.0, -1.0, -2.0, -4.0, -4.0, -6.0, -6.0, -6.0):
        scored(rig, trade, score)
    # Nothing in the first two bars; then each state stands for two bars at least.
    assert rig.rows(trade) == ["healthy_to_l1", "l1_to_l2", "l2_to_hedged"]
    after = rig.trade(trade.ticket)
    assert (after.state, after.volume) == (_S.HEDGED, Lots(0.5))
    decided = [verdict for verdict in rig.verdicts if verdict.row == "l2_to_hedged"]
    assert [rail for rail, allowed in decided[0].rails if not allowed] == []


def test_an_unknown_atr_leaves_the_hedge_to_a_reduction(rig: Rig) -> None:
    trade = rig.managed()
    rig.put(replace(rig.trade(trade.ticket), state=_S.WARNING_L2, bars_in_state=5, bars_since_registration=5))
    rig.next_bar()
    view = bar(rig.clock.now, trade.side, -6.0)
    blind = replace(view, indicators=replace(view.indicators, atr_m15=None))
    show(rig, blind)
    rig.settle()
    with rig.ledger.read() as tx:
        assert tx.transitions(trade.trade_id)[-1].fallbacks == ("no_price",)
    assert rig.trade(trade.ticket).volume == Lots(0.5)


def test_on_a_fifo_account_only_the_oldest_of_a_symbol_is_halved() -> None:
    rig = Rig(account=AccountSpec(fifo_close=True))
    first, second = rig.managed(), rig.managed()
    for trade in (first, second):
        rig.put(replace(rig.trade(trade.ticket), state=_S.WARNING_L1, bars_in_state=5, bars_since_registration=5))
    scored(rig, first, -4.0)
    older, younger = rig.trade(first.ticket), rig.trade(second.ticket)
    assert (older.state, older.volume) == (_S.WARNING_L2, Lots(0.5))
    assert (younger.state, younger.volume) == (_S.WARNING_L2, Lots(1.0))
    with rig.ledger.read() as tx:
        assert tx.transitions(second.trade_id)[-1].fallbacks == ("partial_refused:fifo",)


def test_a_plan_that_is_overtaken_before_it_was_sent_is_never_sent(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.next_bar()
    rig.decide(trade, -6.0)
    rig.wait(30)
    rig.turned(trade)
    rig.carry_out()
    ends = [(i.state, i.reason) for i in rig.intents(trade) if isinstance(i.action, OpenHedge)]
    assert ends == [(IntentState.CANCELLED, "superseded")]
    assert (rig.broker.positions().positions, rig.trade(trade.ticket).state) == ((), _S.CLOSED)


def test_a_server_that_is_killed_at_its_decision_decides_the_bar_when_it_is_back() -> None:
    for point in ("server.before_decision", "server.decided"):
        rig = Rig(crash=Crash(at=point, times=3))
        trade = rig.managed()
        for score in (-1.0, -1.0, -2.0):
            try:
                scored(rig, trade, score)
            except Killed:
                rig.start(epoch=rig.executor.epoch + 1)
                show(rig, bar(rig.clock.now, trade.side, score))
                rig.settle()
        assert rig.rows(trade) == ["healthy_to_l1"]
        assert rig.trade(trade.ticket).stop == 1_996.0
        assert len(rig.intents(trade)) == 1


def test_without_trades_a_pass_asks_the_broker_for_nothing_but_the_account(rig: Rig) -> None:
    rig.reads.down = True  # positions cannot be read, and nobody asks for them
    rig.server.monitor.tick()
    assert rig.server.monitor.stats.errors == 0


def test_a_pass_without_the_broker_is_counted_and_the_heart_does_not_beat(rig: Rig) -> None:
    rig.managed()
    rig.settle()
    beat = rig.server.monitor.beat_ns
    rig.reads.down = True
    rig.wait(5)
    rig.server.monitor.tick()
    assert (rig.server.monitor.stats.errors, rig.server.monitor.beat_ns) == (1, beat)
    rig.reads.down = False
    rig.wait(1)
    rig.server.monitor.tick()
    assert rig.server.monitor.beat_ns == beat + 6_000_000_000


def test_the_next_wake_is_the_first_thing_that_may_happen_without_a_quote(rig: Rig) -> None:
    trade = rig.hedged()
    rig.settle()
    wake = rig.server.monitor.next_wake()
    assert wake is not None
    assert trade.deadline is not None
    assert rig.clock.now < wake <= trade.deadline
    assert rig.trade(trade.ticket).deadline == Millis(trade.state_since + 75 * 60_000)


def test_an_instrument_that_the_broker_changes_is_known_with_the_next_bar(rig: Rig) -> None:
    trade = rig.managed()
    before = rig.server.desk.symbol(SYMBOL, rig.clock.now).instrument
    spec = rig.sim.state.specs[SYMBOL]
    changed = replace(spec, contract_size=2.0 * spec.contract_size, stops_level=spec.stops_level + 40, volume_step=0.1)
    rig.terminal.backend.respecify(changed)
    scored(rig, trade, -1.0)
    after = rig.server.desk.symbol(SYMBOL, rig.clock.now).instrument
    assert after.contract_size == 2.0 * before.contract_size
    assert after.money(1.0, 1.0) == 2.0 * before.money(1.0, 1.0)
    assert after.volume_step == 0.1
    assert after.stops_level > before.stops_level
