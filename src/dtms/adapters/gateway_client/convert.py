"""Domain values to the gateway's wire types and back: whatever is encoded decodes to an equal value.

A number that is not finite has no JSON form; it is refused before it could turn into "there is none".
"""

from __future__ import annotations

import math

import msgspec

from dtms.adapters.gateway_client.wire import (
    AccountWire,
    BarWire,
    DealWire,
    InstrumentWire,
    PositionWire,
    QuoteWire,
    SideWord,
    from_iso,
)
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote
from dtms.domain.position import Account, Deal, Position
from dtms.domain.units import Side, Ticket, to_iso
from dtms.errors import InvalidDataError


def quote_to_wire(quote: Quote) -> QuoteWire:
    """Return the quote as it is sent."""
    _require_finite("quote", quote.symbol, quote.bid, quote.ask, quote.volume, quote.buy_volume, quote.sell_volume)
    return QuoteWire(
        symbol=quote.symbol,
        at=to_iso(quote.at),
        bid=quote.bid,
        ask=quote.ask,
        volume=quote.volume,
        buy_volume=quote.buy_volume,
        sell_volume=quote.sell_volume,
    )


def quote_from_wire(wire: QuoteWire) -> Quote:
    """Return the quote that was sent."""
    return Quote(
        symbol=wire.symbol,
        at=from_iso(wire.at),
        bid=wire.bid,
        ask=wire.ask,
        volume=wire.volume,
        buy_volume=wire.buy_volume,
        sell_volume=wire.sell_volume,
    )


def bar_to_wire(bar: Bar) -> BarWire:
    """Return the bar as it is sent; its constructor has checked the numbers."""
    return BarWire(
        start=to_iso(bar.start),
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=bar.volume,
        buy_volume=bar.buy_volume,
        sell_volume=bar.sell_volume,
    )


def bar_from_wire(wire: BarWire) -> Bar:
    """Return the bar that was sent."""
    return Bar(
        start=from_iso(wire.start),
        open=wire.open,
        high=wire.high,
        low=wire.low,
        close=wire.close,
        volume=wire.volume,
        buy_volume=wire.buy_volume,
        sell_volume=wire.sell_volume,
    )


def instrument_to_wire(instrument: Instrument) -> InstrumentWire:
    """Return the instrument as it is sent."""
    _require_finite("instrument", instrument.symbol, instrument.volume_limit)
    return InstrumentWire(**{name: getattr(instrument, name) for name in InstrumentWire.__struct_fields__})


def instrument_from_wire(wire: InstrumentWire) -> Instrument:
    """Return the instrument that was sent."""
    return Instrument(**msgspec.structs.asdict(wire))


def position_to_wire(position: Position) -> PositionWire:
    """Return the position as it is sent."""
    numbers = (position.volume, position.entry, position.stop, position.target)
    _require_finite("position", position.ticket, *numbers, position.current, position.profit, position.swap)
    return PositionWire(
        ticket=position.ticket,
        identifier=position.identifier,
        symbol=position.symbol,
        side=_word(position.side),
        volume=position.volume,
        entry=position.entry,
        stop=position.stop,
        target=position.target,
        current=position.current,
        profit=position.profit,
        swap=position.swap,
        magic=position.magic,
        comment=position.comment,
        opened_at=to_iso(position.opened_at),
    )


def position_from_wire(wire: PositionWire) -> Position:
    """Return the position that was sent."""
    return Position(
        ticket=Ticket(wire.ticket),
        identifier=wire.identifier,
        symbol=wire.symbol,
        side=Side[wire.side],
        volume=wire.volume,
        entry=wire.entry,
        stop=wire.stop,
        target=wire.target,
        current=wire.current,
        profit=wire.profit,
        swap=wire.swap,
        magic=wire.magic,
        comment=wire.comment,
        opened_at=from_iso(wire.opened_at),
    )


def deal_to_wire(deal: Deal) -> DealWire:
    """Return the deal as it is sent."""
    costs = (deal.profit, deal.commission, deal.swap, deal.fee)
    _require_finite("deal", deal.deal_id, deal.volume, deal.price, *costs)
    same = {name: getattr(deal, name) for name in DealWire.__struct_fields__ if name not in {"side", "at"}}
    return DealWire(side=_word(deal.side), at=to_iso(deal.at), **same)


def deal_from_wire(wire: DealWire) -> Deal:
    """Return the deal that was sent."""
    return Deal(**{**msgspec.structs.asdict(wire), "side": Side[wire.side], "at": from_iso(wire.at)})


def account_to_wire(account: Account) -> AccountWire:
    """Return the account as it is sent."""
    money = (account.balance, account.equity, account.margin, account.margin_free, account.margin_level)
    _require_finite("account", account.login, *money)
    return AccountWire(**{name: getattr(account, name) for name in AccountWire.__struct_fields__})


def account_from_wire(wire: AccountWire) -> Account:
    """Return the account that was sent."""
    return Account(**msgspec.structs.asdict(wire))


def _word(side: Side) -> SideWord:
    return "BUY" if side is Side.BUY else "SELL"


def _require_finite(what: str, which: str | int, *values: float | None) -> None:
    for value in values:
        if value is not None and not math.isfinite(value):
            msg = f"{what} {which}: {value!r} is not finite; it cannot be told"
            raise InvalidDataError(msg)
