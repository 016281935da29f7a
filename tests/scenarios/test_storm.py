"""Orders cannot storm: what the broker refuses is asked for again once a bar at most, less and less often, told once.

Virtual time, a quote each second: an exit is wanted on every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from tests.api.conftest import World, WorldMaker
from tests.scenarios.test_partition import CutOff, cut_off

from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.receipt import Rejection
from dtms.domain.units import MINUTE, Millis, Side
from dtms.domain.verdict import KillLevel
from dtms.ports.notifier import AlertKind
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.closures import Closure
from dtms_lab.terminal.records import AccountSpec, Request

BARS = 9
"""Of 45 minutes."""


@dataclass(slots=True)
class Exits:
    """One trade whose exit rules want it closed from the second bar on."""

    cut: CutOff
    ticket: int

    @property
    def sent(self) -> list[Intent]:
        """The exits' intents that have left for the broker."""
        return [i for i in self.cut.world.intents() if i.owner is Planner.EXITS and i.sent_at is not None]

    def run(self, minutes: float) -> None:
        self.cut.run(round(minutes * 60))


@pytest.fixture
def stalling(make_world: WorldMaker) -> Callable[..., Exits]:
    """Makes a trade that the stall exit wants closed after two bars; `before` acts at the broker first."""

    def make(*, account: AccountSpec | None = None, before: Callable[[World], object] = lambda _world: None) -> Exits:
        world = make_world(account=account)
        before(world)
        cut = cut_off(world)
        ticket = world.managed()
        book = world.book(ticket)
        assert book is not None
        stall = replace(
            book.profile, breakeven=False, partial=False, trail=False, stall=True, stall_bars=2, stall_r=5.0
        )
        with world.ledger.write() as tx:
            tx.put_exit_book(replace(book, profile=stall))
        return Exits(cut, ticket)

    return make


def by_hand(world: World) -> None:
    """A foreign position, older than ours."""
    done = world.sim.send(
        Request(
            action=Mt5.TRADE_ACTION_DEAL,
            symbol="EURUSD",
            type=Mt5.ORDER_TYPE_BUY,
            volume=0.1,
            type_filling=Mt5.ORDER_FILLING_IOC,
        ),
        reason=Mt5.DEAL_REASON_CLIENT,
    )
    assert done.retcode == Mt5.TRADE_RETCODE_DONE, done
    world.later(1)


def holiday(exits: Exits, minutes: int = 24 * 60) -> None:
    """Let the broker answer every order with MARKET_CLOSED, on a day that the product's calendar has as open."""
    now = exits.cut.world.clock.now
    exits.cut.world.sim.close(Closure(start=now, end=Millis(now + minutes * MINUTE), quoted=True))


def test_on_a_holiday_a_close_is_tried_less_and_less_often(stalling: Callable[..., Exits]) -> None:
    """Quotes go on, as at brokers that show them out of session, and every order is answered MARKET_CLOSED."""
    exits = stalling()
    holiday(exits)
    exits.run(10 + 5 * BARS)
    tries = exits.sent
    assert {(i.kind.value, i.state, i.receipt and i.receipt.rejection) for i in tries} == {
        ("close", IntentState.REJECTED, Rejection.MARKET_CLOSED)
    }
    waits = [later.created_at - earlier.created_at for earlier, later in pairwise(tries)]
    assert 2 <= len(tries) <= BARS // 2
    assert all(later >= earlier for earlier, later in pairwise(waits))
    assert min(waits) >= 4 * MINUTE
    told = [alert.subject for alert in exits.cut.world.notifier.alerts if alert.kind is AlertKind.PARKED]
    assert told == ["EURUSD"]


def test_a_restart_forgets_no_refusal(stalling: Callable[..., Exits]) -> None:
    exits = stalling()
    holiday(exits)
    exits.run(10 + 20)
    before = len(exits.sent)
    for _ in range(10):
        exits = Exits(cut_off(exits.cut.world), exits.ticket)
        exits.run(0.5)
    assert len(exits.sent) - before <= 1


def test_once_the_market_is_open_again_the_trade_is_closed(stalling: Callable[..., Exits]) -> None:
    exits = stalling()
    holiday(exits, minutes=20)
    exits.run(40)
    assert exits.cut.world.positions() == []


def test_on_a_fifo_account_a_younger_position_is_not_even_tried_and_its_turn_comes(
    stalling: Callable[..., Exits],
) -> None:
    exits = stalling(account=AccountSpec(fifo_close=True), before=by_hand)
    exits.run(10 + 5 * BARS)
    assert exits.sent == []
    told = [
        alert
        for alert in exits.cut.world.notifier.alerts
        if alert.subject == exits.cut.world.trade(exits.ticket).trade_id
    ]
    assert ["older" in alert.detail or "oldest" in alert.detail for alert in told] == [True]
    older = next(ticket for ticket, *_ in exits.cut.world.positions() if ticket != exits.ticket)
    close_by_hand(exits.cut.world, older)
    exits.run(6)
    assert [i.state for i in exits.sent] == [IntentState.APPLIED]
    assert exits.cut.world.positions() == []


def close_by_hand(world: World, ticket: int) -> None:
    held = world.sim.state.positions[ticket]
    kind = Mt5.ORDER_TYPE_SELL if held.side is Side.BUY else Mt5.ORDER_TYPE_BUY
    done = world.sim.send(
        Request(
            action=Mt5.TRADE_ACTION_DEAL,
            symbol=held.symbol,
            type=kind,
            volume=held.volume,
            position=ticket,
            type_filling=Mt5.ORDER_FILLING_IOC,
        ),
        reason=Mt5.DEAL_REASON_CLIENT,
    )
    assert done.retcode == Mt5.TRADE_RETCODE_DONE, done


def test_at_pause_the_exits_write_no_intent_at_all(stalling: Callable[..., Exits]) -> None:
    exits = stalling()
    exits.cut.world.executor.gate.kill.press(KillLevel.PAUSE, "me")
    exits.run(15)
    assert [i for i in exits.cut.world.intents() if i.owner is Planner.EXITS] == []
    exits.cut.world.executor.gate.kill.release("me")
    exits.run(1)
    assert exits.cut.world.positions() == []
