"""How many orders a closed market is sent: so many a symbol, however many trades there are and whoever wants something.

The bounds stand in docs/adr/0015-closures-are-learnt-from-orders-and-quotes.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.app.rig import SYMBOL, Rig
from tests.app.test_orphans import ours
from tests.app.test_reconcile import reconciler

from dtms.app.journal import journal
from dtms.domain.action import Action, Close, SetStop
from dtms.domain.intent import Planner
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.rules import ExitRule
from dtms.domain.trade import Trade
from dtms.domain.units import HOUR, MINUTE, SECOND, Millis, Price
from dtms.domain.verdict import KillLevel
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.closures import Closure as Holiday

WEEKEND = 49 * HOUR


def quoted(rig: Rig) -> None:
    """Orders are refused, and prices go on."""
    rig.sim.close(Holiday(start=rig.clock.now, end=Millis(rig.clock.now + 90 * HOUR), quoted=True))


def silent(rig: Rig) -> None:
    """Orders are refused, and there is not one tick."""
    rig.sim.close(Holiday(start=rig.clock.now, end=Millis(rig.clock.now + 90 * HOUR)))


def disabled(rig: Rig) -> None:
    """The broker lets nobody trade the symbol; the account may trade others."""
    specs: Any = rig.sim.state.specs
    specs[SYMBOL] = replace(specs[SYMBOL], trade_mode=Mt5.SYMBOL_TRADE_MODE_DISABLED)


def off(rig: Rig) -> None:
    """The account itself says that it may not trade."""
    rig.sim.state.trade_allowed = False


Shuts = Callable[[Rig], None]
ALL: tuple[Shuts, ...] = (quoted, silent, disabled, off)


@dataclass(slots=True)
class Wants:
    """Somebody who wants something of each trade, again with each bar."""

    rig: Rig
    trades: list[Trade]
    what: str
    bar: int = -1

    def again(self) -> None:
        bar = self.rig.clock.now // (5 * MINUTE)
        if bar == self.bar:
            return
        self.bar = bar
        for trade in self.trades:
            match self.what:
                case "exit":
                    self._plan(trade, Close(ticket=trade.ticket))
                case "stop":
                    self._plan(trade, SetStop(ticket=trade.ticket, stop=Price(1_991.0 + bar % 5), target=None))
                case _:
                    pass

    def _plan(self, trade: Trade, action: Action) -> None:
        rig = self.rig
        intent = journal.new_intent(
            rig.trade(trade.ticket),
            action,
            decision_id=f"{self.what}@{rig.clock.now}",
            owner=Planner.EXITS,
            rule=ExitRule.TIME_EXIT if self.what == "exit" else ExitRule.TRAILING,
            now=rig.clock.now,
            priced_expiry_s=60.0,
        )
        with rig.ledger.write() as tx:
            if all(each.resource is not intent.resource for each in tx.unfinished(trade.trade_id)):
                tx.add_intent(intent)


def begin(rig: Rig, what: str, trades: int) -> Wants:
    """Open the positions that something is wanted of."""
    if what != "flatten strays":
        managed = [rig.managed(volume=0.1) for _ in range(trades)]
        if what == "defence":
            managed = [rig.fall(trade, -2.0, -4.0) for trade in managed]
        return Wants(rig, managed, what)
    for _ in range(trades):
        ours(rig)
    found = reconciler(rig)
    found.start()
    for _ in range(15):
        rig.wait(1)
        rig.price(2_000.0)
        found.step()
        rig.settle()
    return Wants(rig, [], what)


def sent_in(what: str, shut: Shuts, trades: int, *hours: float) -> list[int]:
    """Return how many orders the broker has had at each of some instants after it closed."""
    rig = Rig()
    wants = begin(rig, what, trades)
    start, before, counts = rig.clock.now, len(rig.writes.sent), []
    shut(rig)
    if what.startswith("flatten"):
        rig.executor.gate.kill.press(KillLevel.FLATTEN, "me")
    if what == "defence":
        for trade in wants.trades:
            rig.turned(trade)
    for until in hours:
        while rig.clock.now < start + until * HOUR:
            passed = rig.clock.now - start
            rig.price(2_000.0 + passed // SECOND % 3 / 10)
            wants.again()
            rig.executor.watch()
            rig.settle()
            rig.wait(2 if passed < 10 * MINUTE else 10 if passed < HOUR else 120)
        counts.append(len(rig.writes.sent) - before)
    return counts


@pytest.mark.parametrize("trades", [1, 6])
@pytest.mark.parametrize("shut", ALL)
@pytest.mark.parametrize("what", ["exit", "defence", "stop"])
def test_a_closed_symbol_is_tried_seldom_whatever_its_trades_want(what: str, shut: Shuts, trades: int) -> None:
    in_ten_minutes, in_an_hour = sent_in(what, shut, trades, 1 / 6, 1)
    assert in_ten_minutes <= 7
    assert in_an_hour <= 11


@pytest.mark.parametrize("trades", [1, 6])
@pytest.mark.parametrize("shut", ALL)
@pytest.mark.parametrize("what", ["flatten", "flatten strays"])
def test_what_a_person_wants_closed_is_tried_more_often_and_bounded_too(what: str, shut: Shuts, trades: int) -> None:
    in_ten_minutes, in_an_hour = sent_in(what, shut, trades, 1 / 6, 1)
    assert 1 <= in_ten_minutes <= 7
    assert in_an_hour <= 17


@pytest.mark.long
@pytest.mark.parametrize("shut", ALL)
@pytest.mark.parametrize("what", ["exit", "defence", "stop", "flatten", "flatten strays"])
def test_a_day_and_a_weekend_spend_no_budget(what: str, shut: Shuts) -> None:
    in_a_day, in_a_weekend = sent_in(what, shut, 3, 24, WEEKEND / HOUR)
    wished = what.startswith("flatten")
    assert in_a_day <= (300 if wished else 110)
    assert in_a_weekend <= (600 if wished else 220)


def test_pressing_flatten_tries_at_once_what_has_been_closed_for_long() -> None:
    rig = Rig()
    wants = begin(rig, "exit", 3)
    quoted(rig)
    for _ in range(360):
        rig.price(2_000.0)
        wants.again()
        rig.settle()
        rig.wait(10)
    before = len(rig.writes.sent)
    rig.executor.gate.kill.press(KillLevel.FLATTEN, "me")
    rig.settle()
    assert len(rig.writes.sent) - before == 1


def test_the_first_quote_after_a_long_silence_lets_the_next_order_go_within_a_quarter_of_a_minute() -> None:
    rig = Rig()
    trade = rig.managed()
    rig.sim.close(Holiday(start=rig.clock.now, end=Millis(rig.clock.now + 12 * HOUR + 30 * MINUTE)))
    reopens = Millis(rig.clock.now + 12 * HOUR + 30 * MINUTE)
    wants = Wants(rig, [trade], "stop")
    while rig.clock.now < reopens:
        wants.again()
        rig.settle()
        rig.wait(120)
    before = len(rig.writes.sent)
    for _ in range(15):
        rig.price(2_000.0)
        wants.again()
        rig.settle()
        rig.wait(1)
    assert len(rig.writes.sent) > before


def test_trading_that_is_switched_on_again_is_seen_within_seconds() -> None:
    rig = Rig()
    wants = begin(rig, "exit", 1)
    off(rig)
    for _ in range(600):
        rig.price(2_000.0)
        wants.again()
        rig.executor.watch()
        rig.settle()
        rig.wait(2)
    rig.sim.state.trade_allowed = True
    trade = wants.trades[0]
    for _ in range(310):
        rig.price(2_000.0)
        wants.again()
        rig.executor.watch()
        rig.settle()
        rig.wait(1)
    assert rig.position(trade.identifier) is None


def test_openings_that_are_refused_make_nobody_wait_longer() -> None:
    rig = Rig()
    trade = rig.managed()
    quoted(rig)
    closing = Wants(rig, [trade], "exit")
    closing.again()
    rig.settle()
    closures = rig.executor.conclusions.closures
    before = closures.present(SYMBOL)
    refusal = Receipt(outcome=Outcome.REJECTED, code=10_018, rejection=Rejection.MARKET_CLOSED)
    for _ in range(5):
        rig.wait(1)
        rig.price(2_000.0)
        closures.answered(SYMBOL, refusal, rig.clock.now, waits=False)
    assert before is not None
    assert closures.present(SYMBOL) == before
