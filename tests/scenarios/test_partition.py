"""The exit manager cut off from the DTMS server while that defends a trade (reliability.md 11.2, scenario 49).

After 30 s the mandated default is "not defensive". Belief is not permission: ledger and broker say who may act.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import pytest
from tests.api.conftest import World
from tests.api.test_loop import Wire

from dtms import bootstrap
from dtms.app.journal import journal
from dtms.app.views.trade_cache import KILL_FACT
from dtms.core.settle import SettleContext
from dtms.domain.action import Close
from dtms.domain.calendar import MarketHours
from dtms.domain.intent import IntentState, Planner
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import LegKind, PlanStep, TradeState
from dtms.domain.verdict import KillLevel, Verdict
from dtms.services.api.loop import ExitPace
from dtms_lab.mt5_constants import Mt5


@dataclass
class CutOff:
    """A world whose exit manager has a wire of its own to the server."""

    world: World
    wire: Wire
    exits: bootstrap.Exits
    pace: ExitPace

    def run(self, seconds: int, *, bid: float | None = None) -> None:
        """Let the exits' loop and the gateway work for so long, a quote each second; the price goes there in small steps."""
        quote = self.world.broker.quote("EURUSD").bid
        for _ in range(seconds):
            if bid is not None:
                quote = round(quote + max(-0.0002, min(0.0002, bid - quote)), 5)
            self.world.later(1, bid=quote)
            self.pace.step()
            self.world.act()

    @property
    def by_exits(self) -> list[IntentState]:
        return [intent.state for intent in self.world.intents() if intent.owner is Planner.EXITS]


@pytest.fixture
def cut(world: World) -> CutOff:
    return cut_off(world)


def cut_off(world: World) -> CutOff:
    """Return a world with an exit manager of its own in it."""
    wire = Wire(world)
    exits = bootstrap.make_exit_manager(
        world.parts,
        world.broker,
        world.desk,
        server_url="http://127.0.0.1:8001",
        sleep=world.clock.sleep,
        transport=wire,
    )
    return CutOff(world, wire, exits, ExitPace(exits.work, world.desk, world.clock, threading.RLock()))


def eager(cut: CutOff, ticket: int) -> None:
    """Give the trade exit rules that soon want its stop moved, a part taken, and after six minutes all of it closed."""
    book = cut.world.book(ticket)
    assert book is not None
    profile = replace(book.profile, breakeven_r=0.2, partial_r=0.4, max_age=True, max_age_hours=0.1)
    with cut.world.ledger.write() as tx:
        tx.put_exit_book(replace(book, profile=profile))


def test_no_exit_touches_a_hedged_trade_however_long_the_server_is_out_of_reach(cut: CutOff) -> None:
    ticket = cut.world.hedged()
    eager(cut, ticket)
    cut.run(5)
    before, held = cut.world.trade(ticket), cut.world.positions()
    cut.wire.down = True

    cut.run(400, bid=1.0975)

    assert cut.exits.manager.stats.fallbacks > 0
    assert cut.exits.client.is_defensive(ticket) is False  # the mandated default
    assert cut.by_exits == []
    assert cut.world.positions() == held
    after = cut.world.trade(ticket)
    assert (after.state, after.stop, after.volume, after.version) == (
        TradeState.HEDGED,
        before.stop,
        before.volume,
        before.version,
    )
    assert [leg.kind for leg in after.legs] == [LegKind.HEDGE]


@pytest.mark.parametrize(("belief", "left_alone"), [("not_defensive", False), ("ledger", True)])
def test_by_the_policy_ledger_a_silent_server_leaves_the_question_to_the_ledger(
    world: World, belief: str, *, left_alone: bool
) -> None:
    shipped = world.parts.policies.default
    operation = replace(shipped.operation, dtms_unreachable=belief)
    policies = replace(world.parts.policies, default=replace(shipped, operation=operation))
    world.desk.policies = policies
    cut = cut_off(world)
    hedged, healthy = cut.world.hedged(), cut.world.managed()
    cut.run(5)
    cut.wire.down = True
    cut.run(40)
    manager = cut.exits.manager
    assert cut.exits.client.is_defensive(hedged) is False  # the mandated default
    assert manager._is_dtms_in_defensive_mode(hedged) is left_alone
    assert manager._is_dtms_in_defensive_mode(healthy) is False
    assert manager._is_dtms_in_defensive_mode(1) is False


def test_a_pause_is_no_deferral(cut: CutOff) -> None:
    ticket = cut.world.managed()
    eager(cut, ticket)
    with cut.world.ledger.write() as tx:
        tx.set_fact(KILL_FACT, KillLevel.PAUSE.value)
    cut.run(400, bid=1.0975)
    assert (cut.by_exits, cut.exits.manager.stats.deferrals) == ([], 0)


def test_the_same_signals_are_acted_on_where_nobody_defends_the_trade(cut: CutOff) -> None:
    """The other side of it: a dead server must not freeze the exits of a healthy trade."""
    ticket = cut.world.managed()
    eager(cut, ticket)
    cut.wire.down = True
    cut.run(400, bid=1.0975)
    assert {intent.kind.value for intent in cut.world.intents() if intent.owner is Planner.EXITS} == {
        "set_stop",
        "reduce",
        "close",
    }
    assert cut.world.positions() == []


def test_a_defence_that_is_planned_and_not_sent_yet_is_not_doubled_by_an_exit(cut: CutOff) -> None:
    """The server has decided to close both legs, the gateway is dead, and the exits want the trade closed as well."""
    ticket = cut.world.hedged()
    eager(cut, ticket)
    cut.run(5)
    cut.wire.down = True
    cut.world.gateway_works = False
    close_all(cut, ticket)
    cut.run(400, bid=1.0975)
    assert cut.by_exits == []

    cut.world.gateway_works = True
    cut.run(60)

    assert cut.world.positions() == []
    outs = [deal for deal in cut.world.sim.state.deals if deal.entry == Mt5.DEAL_ENTRY_OUT]
    assert sorted(deal.volume for deal in outs) == [0.1, 0.2]


def close_all(cut: CutOff, ticket: int) -> None:
    """Write the server's decision to close the trade and its hedge."""
    world, trade = cut.world, cut.world.trade(ticket)
    assert trade.hedge is not None
    actions = (Close(ticket=trade.ticket), Close(ticket=trade.hedge.ticket))
    verdict = Verdict(
        trade_id=trade.trade_id,
        ticket=trade.ticket,
        at=world.clock.now,
        bar=None,
        version=trade.version,
        state=trade.state,
        score=None,
        row="hedged_timeout",
        to=TradeState.CLOSED,
        steps=tuple(PlanStep(action=action, rule=DefenceRule.CLOSE, required=True) for action in actions),
    )
    instrument = world.broker.instrument("EURUSD")
    policy = world.parts.policies.of("EURUSD")
    scene = SettleContext(
        now=world.clock.now, instrument=instrument, hours=MarketHours(instrument.asset), policy=policy
    )
    with world.ledger.write() as tx:
        journal.write_verdict(tx, trade, verdict, scene)
