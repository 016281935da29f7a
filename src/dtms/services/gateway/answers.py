"""What the gateway answers to each question: asked at the desk, encoded. Blocking; the routes run it off the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from dtms.adapters.gateway_client import convert, wire
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Deal
from dtms.domain.units import Millis, to_iso
from dtms.errors import InvalidDataError, StaleDataError
from dtms.ports.broker import BrokerReads
from dtms.services.gateway.desk import SerializedReads, Taken
from dtms.services.web.problem import Problem

T = TypeVar("T")

_QuoteFault = Literal["symbol_unknown", "data_stale", "data_invalid"]


def account(desk: SerializedReads) -> bytes:
    """Answer /account."""
    taken = desk.take(lambda reads: reads.account())
    account_wire = convert.account_to_wire(taken.value)
    return msgspec.json.encode(wire.AccountAnswer(as_of=to_iso(taken.as_of), token=taken.token, account=account_wire))


def positions(desk: SerializedReads) -> bytes:
    """Answer /positions; the instant and number are those of the broker's own read."""
    read = desk.take(lambda reads: reads.positions()).value
    found = [convert.position_to_wire(position) for position in read.positions]
    return msgspec.json.encode(wire.PositionsAnswer(as_of=to_iso(read.as_of), token=read.token, positions=found))


def instrument(desk: SerializedReads, symbol: str) -> bytes:
    """Answer /instruments/{symbol}.

    Raises:
        Problem: 404, the symbol is unknown.
    """
    taken = desk.take(lambda reads: _of_symbol(reads, symbol, lambda: reads.instrument(symbol)))
    found = convert.instrument_to_wire(taken.value)
    return msgspec.json.encode(wire.InstrumentAnswer(as_of=to_iso(taken.as_of), token=taken.token, instrument=found))


def symbols(desk: SerializedReads) -> bytes:
    """Answer /symbols."""
    taken = desk.take(lambda reads: reads.market_watch())
    return msgspec.json.encode(
        wire.SymbolsAnswer(as_of=to_iso(taken.as_of), token=taken.token, symbols=sorted(taken.value))
    )


def bars(desk: SerializedReads, symbol: str, timeframe: Timeframe, count: int) -> bytes:
    """Answer /bars/{symbol}.

    Raises:
        Problem: 404, the symbol is unknown.
    """

    def ask(reads: BrokerReads) -> tuple[Bar, ...]:
        return _of_symbol(reads, symbol, lambda: reads.bars(symbol, timeframe, count))

    taken = desk.take(ask)
    return msgspec.json.encode(
        wire.BarsAnswer(
            as_of=to_iso(taken.as_of),
            token=taken.token,
            symbol=symbol,
            timeframe=timeframe.name,
            bars=[convert.bar_to_wire(bar) for bar in taken.value],
        )
    )


def quotes(desk: SerializedReads, symbols: tuple[str, ...]) -> bytes:
    """Answer /quotes: one entry a symbol; one without a quote says why and does not cost the others theirs."""
    taken = desk.take(lambda reads: [_asked_quote(reads, symbol) for symbol in symbols])
    return msgspec.json.encode(wire.QuotesAnswer(as_of=to_iso(taken.as_of), token=taken.token, quotes=taken.value))


def deals_of(desk: SerializedReads, position: int) -> bytes:
    """Answer /deals?position=."""
    return _deals(desk.take(lambda reads: reads.deals(position)))


def deals_between(desk: SerializedReads, start: Millis, end: Millis) -> bytes:
    """Answer /deals?from=&to=."""
    return _deals(desk.take(lambda reads: reads.deals_between(start, end)))


def _deals(taken: Taken[tuple[Deal, ...]]) -> bytes:
    found = [convert.deal_to_wire(deal) for deal in taken.value]
    return msgspec.json.encode(wire.DealsAnswer(as_of=to_iso(taken.as_of), token=taken.token, deals=found))


def _asked_quote(reads: BrokerReads, symbol: str) -> wire.AskedQuote:
    try:
        quote: Quote = reads.quote(symbol)
        return wire.AskedQuote(asked=symbol, quote=convert.quote_to_wire(quote), code=None)
    except StaleDataError:
        code: _QuoteFault = "data_stale"
    except InvalidDataError:
        code = "data_invalid" if _is_known(reads, symbol) else "symbol_unknown"
    return wire.AskedQuote(asked=symbol, quote=None, code=code)


def _of_symbol(reads: BrokerReads, symbol: str, ask: Callable[[], T]) -> T:
    """Ask; where the data are refused, tell an unknown symbol from a known one whose data cannot be true."""
    try:
        return ask()
    except InvalidDataError:
        if _is_known(reads, symbol):
            raise
        detail = "The broker does not know this symbol; use the broker's spelling."
        raise Problem(404, "symbol_unknown", detail) from None


def _is_known(reads: BrokerReads, symbol: str) -> bool:
    try:
        reads.instrument(symbol)
    except InvalidDataError:
        return False
    except StaleDataError:
        return True  # known, and not priced yet
    return True
