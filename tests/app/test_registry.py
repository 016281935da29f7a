"""Taking a position under management: what is asked of the broker, what is refused and why, and how it is let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.app.rig import SYMBOL, T0, Rig, bar

from dtms.app.commands.registration import RefusalKind, Registration, RegistrationRefusedError
from dtms.app.modes import flatten
from dtms.app.reconcile import strays
from dtms.app.reconcile.strays import stray_of
from dtms.domain.action import OpenTrade
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, tag_of
from dtms.domain.market import Quote
from dtms.domain.position import Position
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.rules import CommandRule
from dtms.domain.trade import Owner, TradeState
from dtms.domain.units import Lots, Price, Side, Ticket, TradeId
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec

_S = TradeState


def wanted(position: Position, **changes: Any) -> Registration:
    asked = Registration(
        ticket=position.ticket,
        symbol=position.symbol,
        side=position.side,
        entry=position.entry,
        volume=position.volume,
        stop=position.stop,
    )
    return replace(asked, **changes)


def refused(rig: Rig, position: Position, **changes: Any) -> tuple[RefusalKind, str]:
    with pytest.raises(RegistrationRefusedError) as caught:
        rig.server.registry.register(wanted(position, **changes))
    return caught.value.kind, caught.value.field


@pytest.mark.parametrize("side", Side)
def test_a_registered_trade_is_healthy_shared_and_has_its_risk_frozen(rig: Rig, side: Side) -> None:
    trade = rig.managed(side, volume=0.4)
    entry = 2_000.2 if side is Side.BUY else 2_000.0
    assert (trade.state, trade.owner, trade.version, trade.side) == (_S.HEALTHY, Owner.SHARED, 1, side)
    assert (trade.entry, trade.volume, trade.initial_volume) == (entry, Lots(0.4), Lots(0.4))
    assert trade.r == pytest.approx(abs(entry - trade.initial_stop))
    assert (trade.registered_at, trade.state_since, trade.naked_since) == (T0, T0, None)
    assert rig.writes.sent == []


def test_the_commission_of_both_sides_is_twice_what_the_opening_was_charged(rig: Rig) -> None:
    trade = rig.managed(volume=0.4)
    deals = rig.broker.deals(trade.identifier)
    assert trade.commission_per_lot == pytest.approx(-2 * sum(deal.commission for deal in deals) / 0.4)
    assert trade.commission_per_lot > 0


def test_a_position_without_a_stop_gets_the_given_one_and_has_it_read_back(rig: Rig) -> None:
    position = rig.open(stop=None)
    trade = rig.register(position, stop=1_990.0)
    assert (trade.stop, trade.initial_stop) == (Price(1_990.0), Price(1_990.0))
    seen = rig.position(trade.identifier)
    assert seen is not None
    assert seen.stop == 1_990.0
    assert rig.server.registry.protected(trade.ticket)
    assert [(i.rule, i.state) for i in rig.intents(trade)] == [("register.stop", IntentState.APPLIED)]


def test_until_the_first_stop_is_there_the_trade_is_not_protected_and_its_nakedness_is_counted(rig: Rig) -> None:
    position = rig.open(stop=None)
    rig.server.registry.register(wanted(position, stop=1_990.0))
    assert not rig.server.registry.protected(position.ticket)
    assert rig.trade(position.ticket).naked_since == T0
    rig.wait(1)
    rig.carry_out()
    rig.pass_time(1)
    assert rig.trade(position.ticket).naked_since is None
    assert 1_000 <= rig.trade(position.ticket).naked_ms <= 2_000


@pytest.mark.parametrize("side", Side)
def test_a_tighter_stop_that_is_there_is_kept(rig: Rig, side: Side) -> None:
    there = 2_000.0 - side * 6.0
    position = rig.open(side, stop=there)
    trade = rig.register(position, stop=there - side * 4.0, initial_stop=there - side * 4.0)
    assert (trade.stop, rig.writes.sent) == (Price(there), [])
    assert trade.initial_stop == Price(there - side * 4.0)


def test_a_looser_stop_that_is_there_is_tightened_to_the_given_one(rig: Rig) -> None:
    position = rig.open(stop=1_980.0)
    trade = rig.register(position, stop=1_990.0)
    assert trade.stop == Price(1_990.0)


def test_a_stop_between_two_ticks_is_rounded_away_from_danger(rig: Rig) -> None:
    position = rig.open(stop=None)
    assert rig.register(position, stop=1_990.001).stop == Price(1_990.01)


def test_a_missing_stop_must_be_given(rig: Rig) -> None:
    assert refused(rig, rig.open(stop=None)) == (RefusalKind.INVALID, "stop_loss")


@pytest.mark.parametrize("stop", [2_000.0, 2_000.01, 2_010.0])
def test_a_stop_that_is_not_on_the_losing_side_of_the_price_is_refused(rig: Rig, stop: float) -> None:
    position = rig.open(stop=None)
    kind, field = refused(rig, position, stop=stop, initial_stop=1_990.0)
    assert (kind, field) == (RefusalKind.WRONG_SIDE, "stop_loss")


@pytest.mark.parametrize("level", [1e-9, 0.004, 0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["stop", "initial_stop", "target"])
@pytest.mark.parametrize("side", Side)
def test_a_level_that_rounding_would_take_away_is_refused(rig: Rig, side: Side, field: str, level: float) -> None:
    position = rig.open(side, stop=None)
    told: dict[str, float] = {"stop": 2_000.0 - side * 10.0, field: level}
    kind, named = refused(rig, position, **told)
    assert (kind, named) == (
        RefusalKind.INVALID,
        {"stop": "stop_loss", "initial_stop": "initial_stop", "target": "take_profit"}[field],
    )
    with rig.ledger.read() as tx:
        assert (tx.open_trades(), tx.unfinished()) == ((), ())


@pytest.mark.parametrize("side", Side)
def test_a_target_that_the_price_has_passed_is_refused_because_the_stop_would_go_with_it(rig: Rig, side: Side) -> None:
    position = rig.open(side, stop=None)
    asked = {"stop": 2_000.0 - side * 10.0, "target": 2_000.0 - side * 5.0}
    assert refused(rig, position, **asked) == (RefusalKind.TARGET_WRONG_SIDE, "take_profit")


def test_a_stop_past_the_entry_needs_the_first_one(rig: Rig) -> None:
    position = rig.open()
    rig.price(2_020.0)
    rig.hand_stop(position.ticket, 2_005.0)
    moved = rig.position(position.identifier)
    assert moved is not None
    assert refused(rig, moved) == (RefusalKind.RISK_UNKNOWN, "initial_stop")
    trade = rig.register(moved, initial_stop=1_990.0)
    assert (trade.stop, trade.initial_stop) == (Price(2_005.0), Price(1_990.0))
    assert trade.r == pytest.approx(10.2)


@pytest.mark.parametrize("initial", [2_000.2, 2_010.0])
def test_a_first_stop_that_is_not_on_the_losing_side_of_the_entry_is_refused(rig: Rig, initial: float) -> None:
    assert refused(rig, rig.open(), initial_stop=initial)[0] is RefusalKind.RISK_UNKNOWN


def test_a_risk_of_less_than_two_spreads_is_refused(rig: Rig) -> None:
    position = rig.open(stop=1_999.8)
    assert refused(rig, position, initial_stop=1_999.81)[0] is RefusalKind.RISK_UNKNOWN
    assert rig.register(position, initial_stop=1_999.79).r == pytest.approx(0.41)


def test_a_risk_of_less_than_a_quarter_atr_is_refused(rig: Rig) -> None:
    desk = rig.server.desk.symbol("XAUUSD", rig.clock.now)
    desk.view = bar(rig.clock.now, Side.BUY, None)  # ATR(M15) is 4.00
    position = rig.open(stop=1_999.0)
    assert refused(rig, position, initial_stop=1_999.21)[0] is RefusalKind.RISK_UNKNOWN
    assert rig.register(position, initial_stop=1_999.2).r == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("field", ["stop", "initial_stop"])
def test_what_is_no_price_is_refused(rig: Rig, field: str, bad: float) -> None:
    assert refused(rig, rig.open(), **_one(field, bad))[0] is RefusalKind.INVALID


def _one(field: str, value: Any) -> dict[str, Any]:
    return {field: value}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"side": Side.SELL}, "direction"),
        ({"symbol": "EURUSD"}, "direction"),
        ({"entry": 2_000.22}, "entry"),
        ({"volume": 0.9}, "volume"),
    ],
)
def test_what_contradicts_the_broker_is_a_conflict_that_names_the_field(
    rig: Rig, changes: dict[str, Any], field: str
) -> None:
    rig.sim.on_quote(Quote(symbol="EURUSD", at=rig.clock.now, bid=1.1, ask=1.1001))
    assert refused(rig, rig.open(), **changes) == (RefusalKind.CONFLICT, field)


def test_an_entry_that_is_a_rounding_apart_is_the_brokers(rig: Rig) -> None:
    assert rig.register(rig.open(), entry=2_000.21).entry == 2_000.2


def test_a_ticket_that_is_not_open_is_refused(rig: Rig) -> None:
    position = rig.open()
    rig.hand_close(position.ticket)
    assert refused(rig, position) == (RefusalKind.NOT_OPEN, "ticket")
    assert refused(rig, position, ticket=Ticket(999)) == (RefusalKind.NOT_OPEN, "ticket")


def test_an_unknown_profile_is_refused(rig: Rig) -> None:
    assert refused(rig, rig.open(), profile="swingy") == (RefusalKind.UNKNOWN_PROFILE, "profile")


def test_registering_twice_is_registering_once(rig: Rig) -> None:
    position = rig.open()
    first = rig.server.registry.register(wanted(position))
    second = rig.server.registry.register(wanted(position))
    assert (first.already, second.already) == (False, True)
    assert second.trade == rig.trade(position.ticket)
    with rig.ledger.read() as tx:
        assert len(tx.open_trades()) == 1


def test_registering_again_with_other_facts_is_a_conflict(rig: Rig) -> None:
    position = rig.open()
    rig.register(position)
    assert refused(rig, position, initial_stop=1_985.0)[0] is RefusalKind.CONFLICT
    assert refused(rig, position, entry=2_001.0)[0] is RefusalKind.CONFLICT


def test_nothing_is_written_where_a_registration_is_refused(rig: Rig) -> None:
    position = rig.open(stop=None)
    refused(rig, position)
    with rig.ledger.read() as tx:
        assert (tx.open_trades(), tx.unfinished(), tx.last_event()) == ((), (), 0)


def test_on_netting_a_symbol_has_one_trade() -> None:
    rig = Rig(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))
    trade = rig.managed()
    # The broker has one position a symbol there, so a second trade could only be of another identifier.
    assert rig.server.registry.register(wanted(rig.broker.positions().positions[0])).already
    rig.hand_close(trade.ticket)
    other = rig.open(volume=0.3)
    assert other.identifier != trade.identifier
    assert refused(rig, other)[0] is RefusalKind.SYMBOL_TAKEN


def in_doubt(rig: Rig, **changes: Any) -> Intent:
    """Write an opening whose answer was lost."""
    trade_id = TradeId("open:test")
    intent = Intent(
        intent_id="01JXYW5CF82F1S7NR7PSM3V0FE",
        trade_id=trade_id,
        position=None,
        decision_id="open",
        step=0,
        attempt=1,
        action=OpenTrade(symbol=SYMBOL, side=Side.BUY, volume=Lots(0.5), stop=Price(1_990.0), target=None),
        precondition=Precondition(),
        owner=Planner.COMMAND,
        rule=CommandRule.OPEN,
        state=IntentState.PLANNED,
        tag=tag_of(trade_id, "open", 0, 1),
        created_at=rig.clock.now,
        expires_at=None,
    )
    with rig.ledger.write() as tx:
        assert tx.add_intent(intent)
        sending = tx.claim(intent, epoch=1, now=rig.clock.now)
        assert sending is not None
        unknown = replace(sending, state=IntentState.UNKNOWN, **changes)
        tx.save_intent(unknown, expected=IntentState.SENDING)
    return unknown


class Meanwhile:
    """The broker's reads; once, while a position's deals are asked for, something else happens."""

    def __init__(self, reads: Any, happens: Callable[[], object]) -> None:
        self._reads = reads
        self._happens: list[Callable[[], object]] = [happens]

    def deals(self, position: int) -> Any:
        while self._happens:
            self._happens.pop()()
        return self._reads.deals(position)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)


def decided(rig: Rig, intent: Intent) -> None:
    with rig.ledger.write() as tx:
        tx.save_intent(replace(intent, state=IntentState.QUARANTINED), expected=intent.state)


def test_what_an_opening_in_doubt_has_opened_is_registered_once_that_is_decided(rig: Rig) -> None:
    position = rig.open()
    named = Receipt(outcome=Outcome.PARTIAL, code=0, position=position.identifier, filled=0.2)
    intent = in_doubt(rig, receipt=named)
    assert refused(rig, position)[0] is RefusalKind.NOT_READY
    decided(rig, intent)
    assert rig.register(position).volume == position.volume


@pytest.mark.parametrize("sent", [True, False])
def test_a_position_that_is_being_closed_as_nobodys_is_registered_once_that_is_decided(rig: Rig, sent: bool) -> None:
    position = rig.open()
    stray = stray_of(position, "its trade was lost")
    closing = strays.closing(stray, decision_id="flatten@1", rule=flatten.RULE, now=rig.clock.now, attempt=1)
    with rig.ledger.write() as tx:
        assert tx.add_intent(closing)
        if sent:
            assert tx.claim(closing, epoch=1, now=rig.clock.now) is not None
    assert refused(rig, position)[0] is RefusalKind.NOT_READY
    with rig.ledger.write() as tx:
        before, after = (
            (IntentState.SENDING, IntentState.REJECTED) if sent else (IntentState.PLANNED, IntentState.CANCELLED)
        )
        tx.save_intent(replace(closing, state=after), expected=before)
    assert rig.register(position).volume == position.volume


def test_an_order_that_begins_while_a_registration_is_under_way_stops_it(rig: Rig) -> None:
    position = rig.open()
    named = Receipt(outcome=Outcome.PARTIAL, code=0, position=position.identifier, filled=0.2)
    rig.server.registry.reads = Meanwhile(rig.reads, lambda: in_doubt(rig, receipt=named))
    assert refused(rig, position)[0] is RefusalKind.NOT_READY
    with rig.ledger.read() as tx:
        assert tx.trade(position.ticket) is None


def test_on_netting_nothing_is_registered_on_which_an_opening_in_doubt_may_land() -> None:
    rig = Rig(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))
    position, intent = rig.open(), in_doubt(rig)
    assert refused(rig, position)[0] is RefusalKind.NOT_READY
    decided(rig, intent)
    assert rig.register(position).volume == position.volume


def test_an_opening_in_doubt_does_not_hold_up_another_position_where_the_account_hedges(rig: Rig) -> None:
    in_doubt(rig)
    position = rig.open()
    assert not rig.server.registry.register(wanted(position)).already


def test_a_trade_of_an_advisory_account_belongs_to_nobody(rig: Rig) -> None:
    rig.start(advisory=True, epoch=2)
    trade = rig.register(rig.open())
    assert trade.owner is Owner.NONE


# ----- letting go


def test_a_released_trade_keeps_its_stop_at_the_broker_and_is_managed_no_more(rig: Rig) -> None:
    trade = rig.managed()
    assert rig.server.registry.release(trade.ticket)
    after = rig.trade(trade.ticket)
    assert (after.state, after.owner, after.close_reason) == (_S.CLOSED, Owner.NONE, "released")
    seen = rig.position(trade.identifier)
    assert seen is not None
    assert (seen.stop, seen.volume) == (1_990.0, 1.0)
    rig.hand_stop(trade.ticket, None)
    rig.pass_time(10)
    assert (rig.writes.sent, rig.alerts()) == ([], [])


def test_what_was_planned_for_a_released_trade_is_not_sent(rig: Rig) -> None:
    trade = rig.managed()
    rig.next_bar()
    rig.decide(trade, -2.0)
    assert rig.server.registry.release(trade.ticket)
    rig.carry_out()
    assert rig.writes.sent == []
    assert [(i.state, i.reason) for i in rig.intents(trade)] == [(IntentState.CANCELLED, "released")]


def test_a_trade_is_not_released_while_one_of_its_orders_is_in_doubt(rig: Rig) -> None:
    trade = rig.managed()
    rig.writes.fate = lambda _action: "answer_lost"
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.executor.tick()
    with pytest.raises(RegistrationRefusedError) as caught:
        rig.server.registry.release(trade.ticket)
    assert caught.value.kind is RefusalKind.ON_ITS_WAY


def test_an_open_hedge_must_be_closed_first(rig: Rig) -> None:
    trade = rig.hedged()
    with pytest.raises(RegistrationRefusedError) as caught:
        rig.server.registry.release(trade.ticket)
    assert caught.value.kind is RefusalKind.HEDGE_OPEN
    assert not rig.server.registry.release(trade.ticket, force=True)
    rig.carry_out()
    assert rig.others(trade) == ()
    assert rig.server.registry.release(trade.ticket, force=True)
    assert rig.trade(trade.ticket).close_reason == "released"


def test_a_released_position_can_be_registered_again_as_a_new_trade(rig: Rig) -> None:
    trade = rig.managed()
    rig.server.registry.release(trade.ticket)
    position = rig.position(trade.identifier)
    assert position is not None
    again = rig.register(position)
    assert (again.trade_id != trade.trade_id, again.state) == (True, _S.HEALTHY)
    assert again.version > rig_version(rig, trade.trade_id)


def rig_version(rig: Rig, trade_id: Any) -> int:
    with rig.ledger.read() as tx:
        found = tx.trade_by_id(trade_id)
    assert found is not None
    return found.version


@pytest.mark.parametrize("ticket", [1, 50_000_099])
def test_what_is_not_managed_cannot_be_released(rig: Rig, ticket: int) -> None:
    with pytest.raises(RegistrationRefusedError) as caught:
        rig.server.registry.release(Ticket(ticket))
    assert caught.value.kind is RefusalKind.TRADE_UNKNOWN
