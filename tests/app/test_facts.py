"""What others make of a position: turned round, averaged, closed and opened again. It is ended or held, never touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.app.rig import Rig
from tests.app.test_by_hand import person
from tests.app.test_orphans import again, ours
from tests.app.test_reconcile import reconciler

from dtms.app.commands.registration import RefusalKind, RegistrationRefusedError
from dtms.app.journal import pnl
from dtms.app.reconcile.strays import strays
from dtms.domain.instrument import Instrument
from dtms.domain.position import Position
from dtms.domain.trade import Hold, Trade, TradeState
from dtms.domain.units import Lots, Side
from dtms.domain.verdict import KillLevel
from dtms.errors import InvalidDataError
from dtms.ports.notifier import AlertKind
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec

_S = TradeState
_BUY, _SELL = Mt5.ORDER_TYPE_BUY, Mt5.ORDER_TYPE_SELL
_KIND = {Side.BUY: _BUY, Side.SELL: _SELL}


@pytest.fixture
def netting() -> Rig:
    return Rig(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING, balance=100_000.0))


def others_deal(rig: Rig, side: Side, volume: float, **levels: float) -> None:
    """Deal on the symbol without naming a position, as another program does on a netting account."""
    done = rig.order(action=Mt5.TRADE_ACTION_DEAL, type=_KIND[side], volume=volume, **levels)
    assert done.retcode == Mt5.TRADE_RETCODE_DONE, done


def there(rig: Rig) -> Position:
    (found,) = rig.broker.positions().positions
    return found


def fall_on(rig: Rig, trade: Trade) -> None:
    """Let the score fall to the bottom, whatever has become of the trade."""
    for score in (-2.0, -4.0, -6.0):
        rig.next_bar()
        if rig.trade(trade.ticket).is_open:
            rig.decide(trade, score)
        rig.pass_time(5)


@pytest.mark.parametrize("side", Side)
def test_a_netting_position_that_is_turned_round_ends_the_trade_and_the_other_side_is_left_alone(
    netting: Rig, side: Side
) -> None:
    rig = netting
    trade = rig.managed(side)
    others_deal(rig, side.opposite, 2.0, sl=2_000.0 + side * 10.0)
    turned = there(rig)
    rig.pass_time(15)
    after = rig.trade(trade.ticket)
    assert (after.state, after.last_row, rig.alerts()) == (_S.CLOSED, "gone_healthy", ["by_hand"])
    fall_on(rig, trade)
    assert (rig.writes.sent, replace(there(rig), current=0.0, profit=0.0)) == (
        [],
        replace(turned, current=0.0, profit=0.0),
    )
    with rig.ledger.read() as tx:
        assert [deal.entry.value for deal in tx.deals(trade.identifier)] == ["in", "inout"]


def test_until_its_deals_come_a_turned_position_is_frozen_and_a_person_is_called(netting: Rig) -> None:
    rig = netting
    trade = rig.managed()
    rig.reads.no_deals = True
    others_deal(rig, Side.SELL, 2.0, sl=2_010.0)
    rig.pass_time(15)
    after = rig.trade(trade.ticket)
    assert (after.hold, after.stop, rig.alerts()) == (Hold.ANOTHER, trade.stop, ["quarantined"])
    fall_on(rig, trade)
    assert rig.writes.sent == []
    with pytest.raises(RegistrationRefusedError) as refused:
        person(rig).confirm(trade.ticket, actor="me")
    assert refused.value.kind is RefusalKind.CONFLICT
    rig.reads.no_deals = False
    rig.pass_time(2)
    assert (rig.trade(trade.ticket).state, rig.writes.sent, there(rig).side) == (_S.CLOSED, [], Side.SELL)


def test_what_was_planned_before_a_position_turned_is_not_sent_to_the_other_side(netting: Rig) -> None:
    rig = netting
    trade = rig.fall(rig.managed(), -2.0)
    sent = len(rig.writes.sent)
    rig.next_bar()
    rig.decide(trade, -4.0)  # the partial close is planned, and no gateway was there yet
    others_deal(rig, Side.SELL, 2.0, sl=2_010.0)
    rig.pass_time(15)
    assert (len(rig.writes.sent), there(rig).volume, rig.trade(trade.ticket).state) == (sent, 1.0, _S.CLOSED)


def test_a_position_turned_round_twice_between_two_looks_is_not_the_trade_any_more(netting: Rig) -> None:
    rig = netting
    trade = rig.managed()
    rig.pass_time(1)
    others_deal(rig, Side.SELL, 2.0)
    others_deal(rig, Side.BUY, 2.0, sl=1_980.0)
    rig.pass_time(15)
    fall_on(rig, trade)
    assert (rig.trade(trade.ticket).state, rig.writes.sent, there(rig).stop) == (_S.CLOSED, [], 1_980.0)


def test_a_netting_position_closed_and_opened_again_between_two_looks_is_somebody_elses(netting: Rig) -> None:
    rig = netting
    trade = rig.managed()
    rig.settle()
    others_deal(rig, Side.SELL, 1.0)
    others_deal(rig, Side.BUY, 1.0, sl=1_980.0)
    rig.pass_time(15)
    fall_on(rig, trade)
    assert (rig.trade(trade.ticket).state, rig.writes.sent, there(rig).stop) == (_S.CLOSED, [], 1_980.0)


def test_a_turned_position_is_foreign_to_the_gateway_and_can_be_adopted_as_a_trade_of_its_own(netting: Rig) -> None:
    rig = netting
    trade = rig.managed()
    others_deal(rig, Side.SELL, 2.0, sl=2_010.0)
    rig.pass_time(15)
    mine = rig.register(there(rig))
    rig.pass_time(15)
    rig.reads.hidden = {mine.identifier}
    rig.pass_time(70)
    rig.reads.hidden = set()
    rig.pass_time(3)
    after = rig.trade(mine.ticket)
    assert (after.side, after.state, mine.trade_id != trade.trade_id) == (Side.SELL, _S.HEALTHY, True)


# ----- averaged


@pytest.mark.parametrize("side", Side)
def test_a_position_averaged_and_reduced_again_between_two_looks_is_held_until_confirmed(
    netting: Rig, side: Side
) -> None:
    rig = netting
    trade = rig.managed(side)
    rig.price(2_000.0 + side * 10.0)
    others_deal(rig, side, 1.0)
    others_deal(rig, side.opposite, 1.0)
    shown = there(rig)
    rig.pass_time(30)
    held = rig.trade(trade.ticket)
    assert (held.hold, held.entry, held.volume, rig.alerts()) == (Hold.ENTRY, trade.entry, Lots(1.0), ["quarantined"])
    (words,) = [alert.detail for alert in rig.notifier.alerts if alert.kind is AlertKind.QUARANTINED]
    assert str(shown.entry) in words
    assert f"dtms confirm {trade.ticket}" in words
    fall_on(rig, trade)
    assert rig.writes.sent == []
    confirmed = person(rig).confirm(trade.ticket, actor="me")
    assert (confirmed.hold, confirmed.entry, confirmed.r) == (Hold.NONE, shown.entry, trade.r)
    rig.pass_time(10)
    assert rig.trade(trade.ticket).hold is Hold.NONE
    rig.fall(rig.trade(trade.ticket), -2.0, -4.0)
    assert there(rig).volume == 0.5


def test_a_plan_of_a_trade_that_others_have_averaged_waits_for_a_person(netting: Rig) -> None:
    rig = netting
    trade = rig.fall(rig.managed(), -2.0)
    rig.dealer.refuses = lambda request: Mt5.TRADE_RETCODE_REJECT if request.magic == 77 else None
    rig.next_bar()
    rig.decide(trade, -4.0)
    rig.carry_out()
    assert rig.trade(trade.ticket).pending is not None
    rig.dealer.refuses = lambda _request: None
    others_deal(rig, Side.BUY, 1.0)
    rig.pass_time(400)
    assert (rig.trade(trade.ticket).hold, there(rig).volume) == (Hold.VOLUME_ADDED, 2.0)


def test_a_reopening_at_another_price_is_no_averaging_and_the_entry_that_was_paid_stays(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.price(2_004.0)
    new = rig.sim.reopen(trade.ticket, price=2_004.0)
    rig.pass_time(5)
    after = rig.trade(new)
    assert (after.hold, after.entry, after.shown_entry, rig.alerts()) == (Hold.NONE, trade.entry, 2_004.0, [])
    rig.fall(after, -2.0, -4.0)
    assert there(rig).volume == 0.5


def test_a_part_closed_by_hand_against_an_opposite_position_is_taken_as_it_is(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    opposite = rig.open(Side.SELL, volume=0.4, stop=None)
    done = rig.order(action=Mt5.TRADE_ACTION_CLOSE_BY, position=trade.ticket, position_by=opposite.ticket)
    assert done.retcode == Mt5.TRADE_RETCODE_DONE
    rig.pass_time(5)
    after = rig.trade(trade.ticket)
    assert (after.volume, after.hold, after.entry) == (Lots(0.6), Hold.NONE, trade.entry)


def test_a_renamed_symbol_is_not_traded_under_its_old_name(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.shown = lambda position: replace(position, symbol="XAUUSD.r")
    rig.pass_time(15)
    fall_on(rig, trade)
    assert (rig.trade(trade.ticket).hold, rig.alerts(), rig.writes.sent) == (Hold.ANOTHER, ["quarantined"], [])


class Delisted:
    """Reads of a broker that knows a symbol under its new name alone."""

    def __init__(self, reads: Any) -> None:
        self._reads = reads

    def instrument(self, symbol: str) -> Instrument:
        msg = f"the broker does not know {symbol}"
        raise InvalidDataError(msg)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)


def test_a_symbol_that_was_renamed_while_everything_was_down_holds_its_trade(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.shown = lambda position: replace(position, symbol="XAUUSD.r")
    rig.reads = Delisted(rig.reads)  # type: ignore[assignment]
    rig.start(epoch=2)
    rig.pass_time(30)
    assert (rig.trade(trade.ticket).hold, rig.writes.sent) == (Hold.ANOTHER, [])
    assert rig.alerts().count("quarantined") == 1


def test_a_child_that_is_shown_on_the_other_side_is_left_alone_and_its_trade_is_held(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    child, sent = trade.hedge.identifier, len(rig.writes.sent)
    rig.reads.shown = lambda p: replace(p, side=p.side.opposite, stop=None) if p.identifier == child else p
    rig.hand_stop(trade.ticket, 1_998.0)
    rig.pass_time(5)
    after = rig.trade(trade.ticket)
    assert (after.hold, after.legs, rig.alerts()) == (Hold.ANOTHER, trade.legs, ["quarantined"])
    fall_on(rig, trade)
    assert len(rig.writes.sent) == sent


def test_a_position_that_was_turned_round_cannot_be_registered_as_the_trade_that_it_was(netting: Rig) -> None:
    rig = netting
    trade = rig.managed()
    shown = there(rig)
    rig.reads.shown = lambda p: replace(p, side=Side.SELL)
    with pytest.raises(RegistrationRefusedError) as refused:
        rig.register(shown)
    assert (refused.value.kind, rig.trade(trade.ticket).hold) == (RefusalKind.CONFLICT, Hold.NONE)


def test_what_a_turned_position_earns_is_not_the_trades(netting: Rig) -> None:
    rig = netting
    trade = rig.managed()
    others_deal(rig, Side.SELL, 2.0)
    rig.price(1_990.0)
    assert pnl.floating(rig.trade(trade.ticket), rig.broker.positions().positions) == 0.0


def test_flatten_closes_no_stray_that_others_have_turned_round_since(netting: Rig) -> None:
    rig = netting
    ours(rig)
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    others_deal(rig, Side.SELL, 0.5)
    rig.executor.gate.kill.press(KillLevel.FLATTEN, "me")
    rig.pass_time(3)
    assert (there(rig).side, there(rig).volume, rig.writes.sent) == (Side.SELL, 0.3, [])
    again(rig, found)
    with rig.ledger.read() as tx:
        assert strays(tx) == ()
