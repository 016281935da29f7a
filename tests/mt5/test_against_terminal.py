"""The adapter on the simulated terminal: each action moves the broker, and the reads tell what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.adapters.mt5 import Mt5Broker, Mt5Module, Mt5Sender
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, Reduce, SetStop
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import AccountKind, DealEntry, DealReason, Position
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Lots, Millis, Price, Side, Ticket, from_utc
from dtms.errors import BrokerUnavailableError, InvalidDataError, InvariantError, OutcomeUnknownError, StaleDataError
from dtms.ports.broker import BrokerReads, BrokerWrites
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.catalogue import CATALOGUE, SymbolSpec
from dtms_lab.terminal.dealer import Fill
from dtms_lab.terminal.link import DirectLink, IpcError, Reply, no_connection, out_of_step, reply_lost, send_failed
from dtms_lab.terminal.oracle import OracleLog
from dtms_lab.terminal.records import AccountSpec, Request
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.server_time import eet_new_york_dst
from dtms_lab.terminal.terminal import SimTerminal

START = from_utc(datetime(2024, 3, 5, 10, 0, 30, tzinfo=UTC))
SEEN = SeenOffset(ahead=eet_new_york_dst(START), at=START)
FAILURES: tuple[Callable[[], IpcError], ...] = (no_connection, send_failed, reply_lost, out_of_step)


class Dealer:
    """Fills as the test says, else everything."""

    def __init__(self) -> None:
        self.fill = Fill()

    def answer(self, request: Request, quote: Quote | None) -> Fill:
        return self.fill


class FaultyLink(DirectLink):
    """Fails one kind of call, before or after the terminal did it."""

    def __init__(self, backend: TerminalBackend) -> None:
        super().__init__(backend)
        self.failing: dict[str, tuple[bool, IpcError]] = {}

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        if op not in self.failing:
            return super().call(op, args)
        applied, error = self.failing.pop(op)
        if applied:
            super().call(op, args)
        raise error


class Desk:
    """One simulated broker, the adapter on it, and hands for both."""

    def __init__(self, *, account: AccountSpec | None = None, **changes: Any) -> None:
        self.now = START
        self.dealer = Dealer()
        self.oracle = OracleLog()
        self.is_open = True
        specs = {name: replace(spec, **changes) for name, spec in CATALOGUE.items()}
        self.server = SimServer(
            now=lambda: self.now,
            account=account,
            specs=specs,
            recorder=self.oracle,
            dealer=self.dealer,
            market_open=lambda _symbol, _at: self.is_open,
        )
        backend = TerminalBackend(self.server)
        self.link = FaultyLink(backend)
        self.flags = backend.flags
        self.terminal = SimTerminal(self.server, backend=backend, link=self.link)
        self.broker = self.make_broker()
        self.reads: BrokerReads = self.broker
        self.sender: BrokerWrites = Mt5Sender(self.broker)
        self.quote(1.1, 1.1001)
        self.sent = 0

    def make_broker(self, *, seen: SeenOffset | None = SEEN, **changes: Any) -> Mt5Broker:
        mt5: Mt5Module = self.terminal
        given: dict[str, Any] = {"expected_login": 10000042, "expected_server": "DTMS-Simulated", "magic": 77}
        broker = Mt5Broker(mt5, clock=lambda: self.now, **(given | changes))
        if seen is not None:
            broker.recall_offset(seen)
        return broker

    def quote(self, bid: float, ask: float, symbol: str = "EURUSD") -> None:
        self.now = Millis(self.now + SECOND)
        self.server.on_quote(Quote(symbol=symbol, at=self.now, bid=bid, ask=ask))

    def send(self, action: Action, position: Position | None) -> Receipt:
        self.sent += 1
        return self.sender.send(action, position=position, tag=f"tag{self.sent}")

    def positions(self) -> tuple[Position, ...]:
        return self.reads.positions().positions

    def opened(self, side: Side = Side.BUY, volume: float = 0.3) -> Position:
        """Open a position with a stop 100 and a target 200 points away, and return it."""
        entry = 1.1001 if side is Side.BUY else 1.1
        action = OpenTrade(
            symbol="EURUSD",
            side=side,
            volume=Lots(volume),
            stop=Price(round(entry - side * 0.0100, 5)),
            target=Price(round(entry + side * 0.0200, 5)),
        )
        receipt = self.send(action, None)
        return next(p for p in self.positions() if p.identifier == receipt.position)

    def again(self, position: Position) -> Position:
        """Read one position anew."""
        (found,) = (p for p in self.positions() if p.identifier == position.identifier)
        return found


def hedge_of(parent: Position, volume: float = 0.15) -> OpenHedge:
    side = parent.side.opposite
    return OpenHedge(
        ticket=parent.ticket,
        side=side,
        volume=Lots(volume),
        stop=Price(round(1.1 - side * 0.0050, 5)),
        target=Price(parent.stop or 0.0),
    )


def netting() -> Desk:
    return Desk(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))


sides = pytest.mark.parametrize("side", list(Side))


@sides
def test_an_opening_is_there_with_its_levels_its_tag_and_its_deal(side: Side) -> None:
    desk = Desk()
    position = desk.opened(side)

    entry = 1.1001 if side is Side.BUY else 1.1
    assert (position.symbol, position.side, position.volume, position.entry) == ("EURUSD", side, 0.3, entry)
    assert position.stop == pytest.approx(entry - side * 0.01)
    assert position.target == pytest.approx(entry + side * 0.02)
    assert (position.magic, position.comment, position.opened_at) == (77, "tag1", desk.now)
    (deal,) = desk.reads.deals(position.identifier)
    assert (deal.entry, deal.side, deal.volume, deal.price) == (DealEntry.IN, side, 0.3, entry)
    assert (deal.reason, deal.comment, deal.at, deal.commission) == (DealReason.PROGRAM, "tag1", desk.now, -1.05)


def test_an_opening_without_a_target_has_none() -> None:
    desk = Desk()
    desk.send(OpenTrade(symbol="EURUSD", side=Side.BUY, volume=Lots(0.1), stop=Price(1.09), target=None), None)

    assert [(p.stop, p.target) for p in desk.positions()] == [(1.09, None)]


@sides
def test_a_stop_change_moves_the_stop_and_keeps_the_target(side: Side) -> None:
    desk = Desk()
    before = desk.opened(side)
    stop = Price(round(1.1 - side * 0.004, 5))
    receipt = desk.send(SetStop(ticket=before.ticket, stop=stop, target=Price(before.target or 0.0)), before)

    after = desk.again(before)
    assert (receipt.outcome, receipt.goal_met, receipt.code) == (Outcome.APPLIED, False, 10009)
    assert (after.stop, after.target, after.volume) == (stop, before.target, before.volume)
    assert [entry.tag for entry in desk.oracle.tagged("tag2")] == ["tag2"]


def test_a_stop_change_can_take_the_target_away() -> None:
    desk = Desk()
    before = desk.opened()
    desk.send(SetStop(ticket=before.ticket, stop=Price(1.095), target=None), before)

    assert (desk.again(before).stop, desk.again(before).target) == (1.095, None)


def test_a_stop_that_is_there_already_has_met_its_goal() -> None:
    desk = Desk()
    held = desk.opened()
    same = SetStop(ticket=held.ticket, stop=Price(held.stop or 0.0), target=Price(held.target or 0.0))
    receipt = desk.send(same, held)

    assert (receipt.outcome, receipt.goal_met, receipt.code) == (Outcome.APPLIED, True, 10025)
    assert desk.oracle.tagged("tag2") == ()


@sides
def test_a_stop_beyond_the_market_is_refused_and_changes_nothing(side: Side) -> None:
    desk = Desk()
    held = desk.opened(side)
    receipt = desk.send(SetStop(ticket=held.ticket, stop=Price(round(1.1 + side * 0.01, 5)), target=None), held)

    assert (receipt.outcome, receipt.rejection) == (Outcome.REJECTED, Rejection.INVALID_STOPS)
    assert (desk.again(held).stop, desk.again(held).target) == (held.stop, held.target)


@sides
@given(st.integers(min_value=1, max_value=29))
def test_a_partial_close_leaves_exactly_what_was_asked(side: Side, steps: int) -> None:
    desk = Desk()
    held = desk.opened(side)
    remaining = Lots(round(0.01 * steps, 2))
    receipt = desk.send(Reduce(ticket=held.ticket, remaining=remaining), held)

    after = desk.again(held)
    assert (after.volume, after.stop, after.target) == (remaining, held.stop, held.target)
    assert (receipt.outcome, receipt.filled) == (Outcome.APPLIED, round(0.3 - remaining, 2))
    out = desk.reads.deals(held.identifier)[-1]
    assert (out.entry, out.side, out.volume, out.comment) == (DealEntry.OUT, side.opposite, receipt.filled, "tag2")
    assert (out.deal_id, out.order_id, out.price) == (receipt.deal, receipt.order, receipt.price)


def test_a_partial_close_sent_twice_with_a_fresh_read_closes_once() -> None:
    desk = Desk()
    held = desk.opened()
    action = Reduce(ticket=held.ticket, remaining=Lots(0.1))
    desk.send(action, held)
    receipt = desk.send(action, desk.again(held))

    assert (receipt.goal_met, desk.again(held).volume) == (True, 0.1)


@sides
def test_a_close_leaves_nothing_but_its_deals(side: Side) -> None:
    desk = Desk()
    held = desk.opened(side)
    receipt = desk.send(Close(ticket=held.ticket), held)

    assert (receipt.outcome, receipt.filled, desk.positions()) == (Outcome.APPLIED, 0.3, ())
    assert [(d.entry, d.volume) for d in desk.reads.deals(held.identifier)] == [
        (DealEntry.IN, 0.3),
        (DealEntry.OUT, 0.3),
    ]


def test_a_close_of_a_position_that_the_stop_took_has_met_its_goal() -> None:
    desk = Desk()
    held = desk.opened()
    desk.quote(1.08, 1.0801)
    receipt = desk.send(Close(ticket=held.ticket), held)

    assert (receipt.outcome, receipt.goal_met, receipt.code) == (Outcome.APPLIED, True, 10036)
    out = desk.reads.deals(held.identifier)[-1]
    assert (out.reason, out.price, out.comment[:3]) == (DealReason.STOP, 1.08, "[sl")


def test_anything_else_on_a_position_that_the_stop_took_is_told_that_it_is_gone() -> None:
    desk = Desk()
    held = desk.opened()
    desk.quote(1.08, 1.0801)
    actions: tuple[Action, ...] = (
        SetStop(ticket=held.ticket, stop=Price(1.07), target=None),
        Reduce(ticket=held.ticket, remaining=Lots(0.1)),
    )

    assert [desk.send(action, held).rejection for action in actions] == [Rejection.POSITION_GONE] * 2


@sides
def test_a_hedge_stands_beside_its_parent_and_can_be_closed_alone(side: Side) -> None:
    desk = Desk()
    parent = desk.opened(side)
    receipt = desk.send(hedge_of(parent), parent)
    (hedge,) = (p for p in desk.positions() if p.identifier == receipt.position)
    desk.send(CloseHedge(ticket=parent.ticket, hedge=hedge.ticket), hedge)

    assert (hedge.side, hedge.volume, hedge.ticket, hedge.comment) == (side.opposite, 0.15, receipt.ticket, "tag2")
    assert hedge.target == parent.stop
    assert desk.positions() == (desk.again(parent),)


@sides
def test_a_close_by_ends_both_positions_in_one_step(side: Side) -> None:
    desk = Desk()
    parent = desk.opened(side, 0.2)
    hedge = desk.send(hedge_of(parent, 0.2), parent)
    receipt = desk.send(Close(ticket=parent.ticket, by=Ticket(hedge.ticket or 0)), parent)

    assert (receipt.outcome, receipt.filled, desk.positions()) == (Outcome.APPLIED, 0.2, ())
    assert desk.reads.deals(parent.identifier)[-1].entry is DealEntry.OUT_BY
    assert desk.reads.deals(hedge.position or 0)[-1].entry is DealEntry.OUT_BY


def test_a_re_add_is_a_second_position_on_a_hedging_account() -> None:
    desk = Desk()
    parent = desk.opened()
    again = ReAdd(ticket=parent.ticket, side=Side.BUY, volume=Lots(0.1), stop=Price(1.09), target=None)
    receipt = desk.send(again, parent)

    assert [(p.identifier, p.volume) for p in desk.positions()] == [(parent.identifier, 0.3), (receipt.position, 0.1)]


def test_a_re_add_grows_the_one_position_of_a_netting_account() -> None:
    desk = netting()
    parent = desk.opened()
    again = ReAdd(ticket=parent.ticket, side=Side.BUY, volume=Lots(0.1), stop=Price(1.09), target=None)
    receipt = desk.send(again, parent)

    (grown,) = desk.positions()
    assert grown.volume == pytest.approx(0.4)
    assert grown.identifier == parent.identifier
    assert (receipt.position, receipt.filled) == (parent.identifier, 0.1)


@sides
def test_a_netting_account_is_reduced_and_closed_but_never_hedged(side: Side) -> None:
    desk = netting()
    held = desk.opened(side)
    hedge = desk.send(hedge_of(held), held)
    untouched = desk.again(held)
    desk.send(Reduce(ticket=held.ticket, remaining=Lots(0.1)), held)
    reduced = desk.again(held)
    desk.send(Close(ticket=held.ticket), reduced)

    assert (hedge.rejection, untouched.volume) == (Rejection.HEDGE_PROHIBITED, 0.3)
    assert (reduced.volume, desk.positions()) == (0.1, ())
    assert not desk.reads.instrument("EURUSD").hedge_allowed
    assert not desk.reads.account().hedging


def test_a_broker_that_forbids_hedging_says_so_and_nothing_opens() -> None:
    desk = Desk(account=AccountSpec(hedge_prohibited=True))
    parent = desk.opened()

    assert desk.send(hedge_of(parent), parent).rejection is Rejection.HEDGE_PROHIBITED
    assert desk.positions() == (parent,)


def test_part_of_a_close_is_told_as_part() -> None:
    desk = Desk()
    held = desk.opened()
    desk.dealer.fill = Fill(volume=0.12)
    receipt = desk.send(Close(ticket=held.ticket), held)

    assert (receipt.outcome, receipt.filled, receipt.code) == (Outcome.PARTIAL, 0.12, 10010)
    assert desk.again(held).volume == pytest.approx(0.18)


def test_a_hedge_is_opened_whole_or_not_at_all() -> None:
    desk = Desk()
    parent = desk.opened()
    desk.dealer.fill = Fill(volume=0.1)
    receipt = desk.send(hedge_of(parent), parent)

    assert (receipt.rejection, desk.positions()) == (Rejection.DEALER, (parent,))


@pytest.mark.parametrize("execution", [Mt5.SYMBOL_TRADE_EXECUTION_REQUEST, Mt5.SYMBOL_TRADE_EXECUTION_INSTANT])
@sides
def test_orders_pass_where_they_must_name_their_price(execution: int, side: Side) -> None:
    desk = Desk(execution=execution)
    held = desk.opened(side)
    desk.send(hedge_of(held), held)
    desk.send(Close(ticket=held.ticket), held)

    assert [p.side for p in desk.positions()] == [side.opposite]


@pytest.mark.parametrize("mask", [1, 2, 3])
def test_every_filling_mask_is_served(mask: int) -> None:
    desk = Desk(filling_mask=mask)
    held = desk.opened()
    hedge = desk.send(hedge_of(held), held)
    desk.send(Close(ticket=held.ticket), held)

    assert [p.identifier for p in desk.positions()] == [hedge.position]


def test_refusals_come_in_our_words() -> None:
    frozen = Desk(freeze_level=2_000)
    held = frozen.opened()
    closed = Desk()
    closed.opened()
    closed.is_open = False
    off = Desk()
    off.opened()
    off.flags.trade_allowed = False
    disabled = Desk()
    disabled.opened()
    disabled.flags.tradeapi_disabled = True
    poor = Desk(account=AccountSpec(balance=400.0))
    poor.opened()
    requoted = Desk()
    requoted.opened()
    requoted.dealer.fill = Fill(retcode=10004)
    desks = (frozen, closed, off, disabled, poor, requoted)
    action = OpenTrade(symbol="EURUSD", side=Side.BUY, volume=Lots(0.3), stop=Price(1.09), target=None)

    assert [d.send(action if d is not frozen else Close(ticket=held.ticket), held).rejection for d in desks] == [
        Rejection.FROZEN,
        Rejection.MARKET_CLOSED,
        Rejection.AUTO_TRADING_OFF,
        Rejection.AUTO_TRADING_OFF,
        Rejection.NO_MONEY,
        Rejection.PRICE_MOVED,
    ]


@pytest.mark.parametrize("failure", [send_failed, reply_lost, out_of_step])
def test_an_order_applied_without_a_reply_is_unknown_and_was_applied_once(failure: Callable[[], IpcError]) -> None:
    desk = Desk()
    parent = desk.opened()
    desk.link.failing["order_send"] = (True, failure())
    with pytest.raises(OutcomeUnknownError, match="reconcile"):
        desk.send(hedge_of(parent), parent)

    assert [p.comment for p in desk.positions()] == ["tag1", "tag2"]
    assert len(desk.oracle.tagged("tag2")) == 1


@pytest.mark.parametrize("failure", FAILURES)
def test_an_order_that_may_have_left_is_never_called_unsent(failure: Callable[[], IpcError]) -> None:
    desk = Desk()
    parent = desk.opened()
    desk.link.failing["order_send"] = (False, failure())
    expected = BrokerUnavailableError if failure is no_connection else OutcomeUnknownError
    with pytest.raises(expected):
        desk.send(hedge_of(parent), parent)

    assert desk.positions() == (parent,)


@pytest.mark.parametrize("op", ["terminal_info", "account_info", "symbol_info"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_check_that_fails_before_the_order_leaves_it_unsent(op: str, failure: Callable[[], IpcError]) -> None:
    desk = Desk()
    parent = desk.opened()
    desk.link.failing[op] = (True, failure())
    with pytest.raises(BrokerUnavailableError):
        desk.send(hedge_of(parent), parent)

    assert desk.positions() == (parent,)


def test_an_opening_is_known_by_its_order_while_the_terminal_lags() -> None:
    desk = Desk()
    parent = desk.opened()
    desk.terminal.backend.view.set_lag(10 * SECOND)
    receipt = desk.send(hedge_of(parent), parent)
    lagging = desk.positions()
    desk.now = Millis(desk.now + MINUTE)

    assert lagging == (parent,)
    assert [p.identifier for p in desk.positions()] == [parent.identifier, receipt.position]


@pytest.mark.parametrize("op", ["positions_get", "terminal_info", "account_info"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_read_is_never_an_account_without_positions(op: str, failure: Callable[[], IpcError]) -> None:
    desk = Desk()
    desk.opened()
    desk.link.failing[op] = (True, failure())
    with pytest.raises(BrokerUnavailableError):
        desk.positions()

    assert len(desk.positions()) == 1


def test_a_disconnected_terminal_tells_nothing_and_sends_nothing() -> None:
    desk = Desk()
    held = desk.opened()
    desk.flags.connected = False
    with pytest.raises(BrokerUnavailableError):
        desk.positions()
    with pytest.raises(BrokerUnavailableError):
        desk.send(Close(ticket=held.ticket), held)
    desk.flags.connected = True

    assert desk.positions() == (held,)


def test_another_account_behind_the_terminal_is_refused() -> None:
    desk = Desk(account=AccountSpec(login=5))

    with pytest.raises(BrokerUnavailableError, match="account 5 on DTMS-Simulated, expected is 10000042"):
        desk.positions()


def test_the_account_is_told() -> None:
    desk = Desk()
    desk.opened()
    account = desk.reads.account()

    assert (account.key, account.kind, account.currency) == ("DTMS-Simulated:10000042", AccountKind.SIMULATED, "USD")
    assert (account.hedging, account.fifo, account.trade_allowed) == (True, False, True)
    assert account.equity == pytest.approx(account.balance - 3.0)
    assert account.margin_free == pytest.approx(account.equity - account.margin)


def value_of(spec: SymbolSpec, price: float) -> float:
    return spec.contract_size if spec.currency_profit == "USD" else spec.contract_size / price


@pytest.mark.parametrize("symbol", [name for name, spec in CATALOGUE.items() if spec.currency_profit in ("USD", "JPY")])
def test_every_instrument_of_the_simulated_broker_is_told(symbol: str) -> None:
    desk = Desk()
    desk.quote(150.0, 150.1, symbol)
    if symbol != "USDJPY":
        desk.quote(150.0, 150.1, "USDJPY")
    spec = desk.server.state.specs[symbol]
    found = desk.reads.instrument(symbol)

    assert (found.symbol, found.digits, found.tick_size) == (symbol, spec.digits, spec.tick_size)
    assert (found.volume_min, found.volume_max, found.volume_step) == (
        spec.volume_min,
        spec.volume_max,
        spec.volume_step,
    )
    assert found.value_per_unit == pytest.approx(value_of(spec, 150.0), rel=2e-3)
    assert (found.stops_level, found.freeze_level) == (spec.stops_distance, spec.freeze_distance)
    assert found.asset is spec.asset


def test_a_symbol_that_the_broker_does_not_have_is_named_by_every_read() -> None:
    desk = Desk()
    asks: tuple[Callable[[], object], ...] = (
        lambda: desk.reads.instrument("NOPE"),
        lambda: desk.reads.quote("NOPE"),
        lambda: desk.reads.bars("NOPE", Timeframe.M1, 5),
    )
    for ask in asks:
        with pytest.raises(InvalidDataError, match="does not know the symbol 'NOPE'"):
            ask()


def test_a_symbol_without_a_quote_yet_is_stale() -> None:
    with pytest.raises(StaleDataError, match="XAUUSD"):
        Desk().reads.quote("XAUUSD")


def test_quotes_are_dated_in_utc_in_winter_and_in_summer() -> None:
    desk = Desk()
    winter = desk.reads.quote("EURUSD")
    desk.now = Millis(desk.now + 120 * DAY)
    desk.quote(1.2, 1.2001)

    assert (winter.at, winter.bid, winter.ask) == (START + SECOND, 1.1, 1.1001)
    assert desk.reads.quote("EURUSD").at == desk.now


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1])
def test_bars_are_the_recorded_ones_also_across_the_change_of_summer_time(timeframe: Timeframe) -> None:
    desk = Desk()
    begin = from_utc(datetime(2024, 3, 8, tzinfo=UTC))
    minutes = [Millis(begin + n * MINUTE) for n in range(4 * 24 * 60)]
    bars = [Bar(start=at, open=1.1, high=1.2, low=1.0, close=1.1 + n * 1e-5, volume=2) for n, at in enumerate(minutes)]
    desk.server.load_history("BTCUSD", bars)
    desk.now = Millis(begin + 4 * DAY)
    found = desk.reads.bars("BTCUSD", timeframe, 3 * DAY // timeframe.value)

    starts = list(range(begin + DAY, begin + 4 * DAY, timeframe.value))
    assert [bar.start for bar in found] == starts
    closes = [bars[(start + timeframe.value - begin) // MINUTE - 1].close for start in starts]
    assert [bar.close for bar in found] == pytest.approx(closes)


def test_the_running_bar_is_told_only_when_it_has_ended() -> None:
    desk = Desk()
    minute = Millis(desk.now - desk.now % MINUTE)
    before = desk.reads.bars("EURUSD", Timeframe.M1, 5)
    desk.now = Millis(minute + MINUTE)

    assert before == ()
    assert [bar.start for bar in desk.reads.bars("EURUSD", Timeframe.M1, 5)] == [minute]


def test_deals_of_a_window_are_cut_in_utc() -> None:
    desk = Desk()
    first = desk.opened()
    opened_at = desk.now
    desk.now = Millis(desk.now + HOUR)
    desk.quote(1.1, 1.1001)
    desk.send(Close(ticket=first.ticket), first)

    assert [d.entry for d in desk.reads.deals_between(opened_at, opened_at)] == [DealEntry.IN]
    assert [d.entry for d in desk.reads.deals_between(Millis(opened_at + 1), desk.now)] == [DealEntry.OUT]
    assert len(desk.reads.deals_between(Millis(0), desk.now)) == 2


def test_an_unstated_offset_is_learnt_from_the_simulated_server() -> None:
    desk = Desk()
    broker = desk.make_broker(seen=None)
    broker.instrument("EURUSD")
    desk.server.on_quote(Quote(symbol="EURUSD", at=desk.now, bid=1.1, ask=1.1001))
    with pytest.raises(StaleDataError, match="clock offset"):
        broker.quote("EURUSD")
    desk.quote(1.1002, 1.1003)

    assert broker.quote("EURUSD").at == desk.now


def test_the_commission_is_that_of_both_sides() -> None:
    desk = Desk()
    held = desk.opened()

    assert desk.broker.commission_per_lot("EURUSD", held.identifier) == pytest.approx(7.0)


@given(
    side=st.sampled_from(list(Side)),
    steps=st.lists(
        st.tuples(st.sampled_from(["stop", "reduce", "hedge", "unhedge", "quote"]), st.integers(-30, 30)), max_size=8
    ),
)
def test_the_reads_are_the_servers_truth_after_any_actions(side: Side, steps: list[tuple[str, int]]) -> None:
    desk = Desk()
    main = desk.opened(side)
    for what, size in steps:
        held = {p.identifier: p for p in desk.positions()}
        parent = held.get(main.identifier)
        hedge = next((p for p in held.values() if p.identifier != main.identifier), None)
        if what == "quote":
            desk.quote(1.1 + size * 1e-3, 1.1001 + size * 1e-3)
        elif what == "unhedge" and hedge is not None:
            desk.send(CloseHedge(ticket=main.ticket, hedge=hedge.ticket), hedge)
        elif parent is not None and what == "stop":
            desk.send(SetStop(ticket=main.ticket, stop=Price(round(1.1 + size * 1e-4, 5)), target=None), parent)
        elif parent is not None and what == "reduce" and size > 0:
            desk.send(Reduce(ticket=main.ticket, remaining=Lots(round(size * 0.01, 2))), parent)
        elif parent is not None and what == "hedge" and hedge is None:
            desk.send(hedge_of(parent, min(0.15, parent.volume)), parent)

    truth = desk.server.state.positions.values()
    assert [(p.identifier, p.side, p.volume, p.stop, p.target) for p in desk.positions()] == [
        (p.identifier, p.side, p.volume, p.stop, p.target) for p in truth
    ]
    assert all(p.volume <= 0.3 for p in truth)


def test_a_hedge_on_the_wrong_side_never_reaches_the_server() -> None:
    desk = Desk()
    parent = desk.opened()
    wrong = replace(hedge_of(parent), side=parent.side)
    with pytest.raises(InvariantError):
        desk.send(wrong, parent)

    assert desk.positions() == (parent,)
