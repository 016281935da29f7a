"""What the client returns is what the broker said: value for value, error for error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtms.adapters.gateway_client import GatewayClient
from dtms.adapters.gateway_client.wire import is_symbol
from dtms.cli.instruments import exported
from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, AccountKind, Deal, DealEntry, DealReason, Position, PositionsRead
from dtms.domain.units import Millis, Side
from dtms.errors import DtmsError, InvalidDataError
from dtms.ports.broker import BrokerReads
from dtms_lab.instruments.book import parse

SMALL = settings(max_examples=40)

int64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
tickets = st.integers(min_value=1, max_value=2**63 - 1)
moments = st.integers(min_value=-(10**13), max_value=10**13).map(Millis)
numbers = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-9, max_value=1e12)
volumes = st.none() | st.floats(min_value=0, max_value=1e12)
words = st.text(st.characters(codec="utf-8"), max_size=30)
sides = st.sampled_from(Side)
symbols = (
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]) | st.sampled_from(",%#/. "), max_size=30)
    .map(lambda text: f"{text}A")
    .filter(is_symbol)
)

bars = st.tuples(moments, st.lists(positive, min_size=4, max_size=4), volumes, volumes, volumes).map(
    lambda parts: Bar(
        start=parts[0],
        low=min(parts[1]),
        high=max(parts[1]),
        open=parts[1][0],
        close=parts[1][3],
        volume=parts[2],
        buy_volume=parts[3],
        sell_volume=parts[4],
    )
)
quotes = st.tuples(words, moments, positive, positive, volumes, volumes, volumes).map(
    lambda parts: Quote(
        symbol=parts[0],
        at=parts[1],
        bid=min(parts[2:4]),
        ask=max(parts[2:4]),
        volume=parts[4],
        buy_volume=parts[5],
        sell_volume=parts[6],
    )
)
positions = st.builds(
    Position,
    ticket=tickets,
    identifier=int64,
    symbol=words,
    side=sides,
    volume=numbers,
    entry=numbers,
    stop=st.none() | numbers,
    target=st.none() | numbers,
    current=numbers,
    profit=numbers,
    swap=numbers,
    magic=int64,
    comment=words,
    opened_at=moments,
)
deals = st.builds(
    Deal,
    deal_id=int64,
    order_id=int64,
    position=tickets,
    symbol=words,
    side=sides,
    entry=st.sampled_from(DealEntry),
    reason=st.sampled_from(DealReason),
    volume=numbers,
    price=numbers,
    profit=numbers,
    commission=numbers,
    swap=numbers,
    fee=numbers,
    magic=int64,
    comment=words,
    at=moments,
)
instruments = st.builds(
    Instrument,
    symbol=words,
    canonical=words,
    asset=st.sampled_from(AssetClass),
    digits=st.integers(min_value=0, max_value=8),
    **dict.fromkeys(
        ("point", "tick_size", "contract_size", "value_per_unit", "volume_min", "volume_max", "volume_step"), positive
    ),
    volume_limit=st.none() | positive,
    stops_level=st.floats(min_value=0, max_value=1e6),
    freeze_level=st.floats(min_value=0, max_value=1e6),
    currency_base=words,
    currency_profit=words,
    hedge_allowed=st.booleans(),
    opening_allowed=st.booleans(),
)
accounts = st.builds(
    Account,
    login=int64,
    server=words,
    kind=st.sampled_from(AccountKind),
    currency=words,
    currency_digits=st.integers(min_value=0, max_value=8),
    hedging=st.booleans(),
    fifo=st.booleans(),
    balance=numbers,
    equity=numbers,
    margin=numbers,
    margin_free=numbers,
    margin_level=st.none() | numbers,
    trade_allowed=st.booleans(),
)
reads_of_positions = st.builds(
    PositionsRead,
    token=st.integers(min_value=0, max_value=2**63 - 1),
    as_of=moments,
    positions=st.lists(positions, max_size=4).map(tuple),
)


def as_port(client: GatewayClient) -> BrokerReads:
    """The type checker holds that the client is the port."""
    return client


def outcome(ask: Callable[[], Any]) -> Any:
    """The value, or the class of the error."""
    try:
        return ask()
    except DtmsError as error:
        return type(error)


@SMALL
@given(account=accounts)
def test_the_account_arrives_as_it_is(gateway: Any, account: Account) -> None:
    gateway.reads.account_now = account

    assert as_port(gateway.client).account() == account


@SMALL
@given(read=reads_of_positions)
def test_positions_arrive_as_they_are_with_their_token_and_instant(gateway: Any, read: PositionsRead) -> None:
    gateway.reads.positions_now = read

    assert gateway.client.positions() == read


@SMALL
@given(symbol=symbols, instrument=instruments)
def test_an_instrument_arrives_as_it_is_under_any_brokers_spelling(
    gateway: Any, symbol: str, instrument: Instrument
) -> None:
    gateway.reads.instruments = {symbol: instrument}

    assert gateway.client.instrument(symbol) == instrument


@SMALL
@given(symbol=symbols, quote=quotes)
def test_a_quote_arrives_as_it_is(gateway: Any, symbol: str, quote: Quote) -> None:
    gateway.reads.instruments = {
        symbol: gateway.reads.instruments["EURUSDc"],
        "EURUSDc": gateway.reads.instruments["EURUSDc"],
    }
    gateway.reads.quotes = {symbol: quote}

    assert gateway.client.quote(symbol) == quote


@SMALL
@given(symbol=symbols, history=st.lists(bars, max_size=6), count=st.integers(min_value=1, max_value=8), data=st.data())
def test_bars_arrive_as_they_are(gateway: Any, symbol: str, history: list[Bar], count: int, data: Any) -> None:
    timeframe = data.draw(st.sampled_from(Timeframe))
    known = gateway.reads.instruments["EURUSDc"]
    gateway.reads.instruments = {symbol: known, "EURUSDc": known}
    gateway.reads.histories = {(symbol, timeframe): tuple(history)}

    assert gateway.client.bars(symbol, timeframe, count) == gateway.reads.bars(symbol, timeframe, count)


@SMALL
@given(found=st.lists(deals, max_size=5), data=st.data())
def test_deals_arrive_as_they_are(gateway: Any, found: list[Deal], data: Any) -> None:
    gateway.reads.all_deals = tuple(found)
    position = data.draw(st.sampled_from([deal.position for deal in found]) if found else tickets)
    start, end = sorted((data.draw(moments), data.draw(moments)))

    assert gateway.client.deals(position) == gateway.reads.deals(position)
    assert gateway.client.deals_between(start, end) == gateway.reads.deals_between(start, end)


@SMALL
@given(
    down=st.booleans(),
    symbol=st.sampled_from(["EURUSDc", "SILENT", "NONE", "", ".", "..", "a,b", "a\x00b", "É", "x" * 65]),
)
def test_errors_arrive_as_the_errors_they_are(gateway: Any, down: bool, symbol: str) -> None:
    gateway.reads.down = down
    asks: list[Callable[[Any], Any]] = [
        lambda broker: broker.quote(symbol),
        lambda broker: broker.instrument(symbol),
        lambda broker: broker.bars(symbol, Timeframe.M5, 3),
    ]
    if down:
        asks += [
            lambda broker: broker.account(),
            lambda broker: broker.positions(),
            lambda broker: broker.deals(10),
            lambda broker: broker.deals_between(Millis(0), Millis(10)),
        ]
    if down and not is_symbol(symbol):
        asks = asks[3:]  # what can be no symbol is refused before anybody is asked

    for ask in asks:
        assert outcome(partial(ask, gateway.client)) == outcome(partial(ask, gateway.reads))


def test_a_batch_of_quotes_tells_each_symbol_its_own_story(gateway: Any) -> None:
    found = gateway.client.quotes(["SILENT", "EURUSDc", "NONE", "EURUSDc", "a,b"])

    assert found["EURUSDc"] == gateway.reads.quotes["EURUSDc"]
    assert {symbol: type(told).__name__ for symbol, told in found.items()} == {
        "SILENT": "StaleDataError",
        "EURUSDc": "Quote",
        "NONE": "InvalidDataError",
        "a,b": "InvalidDataError",
    }


@SMALL
@given(names=st.lists(symbols, min_size=1, max_size=8, unique=True))
def test_a_batch_of_quotes_reaches_every_spelling_whole(gateway: Any, names: list[str]) -> None:
    gateway.reads.instruments = dict.fromkeys([*names, "EURUSDc"], gateway.reads.instruments["EURUSDc"])
    gateway.reads.quotes = {name: Quote(symbol=name, at=Millis(1), bid=1.0, ask=1.1) for name in names}

    assert gateway.client.quotes(names) == gateway.reads.quotes


def test_a_batch_larger_than_one_request_is_asked_in_several(gateway: Any) -> None:
    known = gateway.reads.instruments["EURUSDc"]
    quote = gateway.reads.quotes["EURUSDc"]
    names = [f"S{index}" for index in range(250)]
    gateway.reads.instruments = dict.fromkeys(names, known)
    gateway.reads.quotes = {name: dataclasses.replace(quote, symbol=name) for name in names}

    assert gateway.client.quotes(names) == gateway.reads.quotes
    assert gateway.client.quotes([]) == {}


def test_an_exported_instrument_file_has_what_the_gateway_tells(gateway: Any) -> None:
    specs, _ = parse(exported(gateway.client, ()), "exported.toml")

    told = gateway.reads.instruments["EURUSDc"]
    spec = specs["EURUSD"]
    assert (spec.digits, spec.tick_size, spec.contract_size) == (told.digits, told.tick_size, told.contract_size)
    assert (spec.volume_max, spec.spread_typical) == (told.volume_max, 0.0001)
    with pytest.raises(InvalidDataError):
        exported(gateway.client, ("NONE",))
