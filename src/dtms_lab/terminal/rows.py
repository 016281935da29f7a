"""The server's records as rows of the package's structs: server time, 0.0 for "none", the vendor's order of fields."""

from __future__ import annotations

from typing import Any

from dtms.domain.market import Quote
from dtms.domain.units import SECOND
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.history import RateStore
from dtms_lab.terminal.records import SIDE_OF_TYPE, AccountSpec, SimDeal, SimOrder, SimPosition, market_type
from dtms_lab.terminal.state import Figures, ServerState
from dtms_lab.terminal.structs import FIELDS

Row = tuple[Any, ...]

_QUOTE_FLAGS = Mt5.TICK_FLAG_BID | Mt5.TICK_FLAG_ASK


def _level(level: float | None) -> float:
    return 0.0 if level is None else level


def position_row(state: ServerState, position: SimPosition) -> Row:
    """Return a `TradePosition`."""
    opened, updated = state.server_ms(position.opened_at), state.server_ms(position.updated_at)
    quote = state.quotes.get(position.symbol)
    return (
        position.ticket,
        opened // SECOND,
        opened,
        updated // SECOND,
        updated,
        market_type(position.side),
        position.magic,
        position.identifier,
        position.reason,
        position.volume,
        position.price_open,
        _level(position.stop),
        _level(position.target),
        position.price_open if quote is None else quote.executable(position.side),
        position.swap,
        state.current_profit(position),
        position.symbol,
        position.comment,
        "",
    )


def order_row(state: ServerState, order: SimOrder) -> Row:
    """Return a `TradeOrder`."""
    setup = state.server_ms(order.setup_at)
    done = 0 if order.done_at is None else state.server_ms(order.done_at)
    quote = state.quotes.get(order.symbol)
    side = SIDE_OF_TYPE.get(order.type)
    current = order.price if quote is None or side is None or order.done_at is not None else quote.opening(side)
    return (
        order.ticket,
        setup // SECOND,
        setup,
        done // SECOND,
        done,
        order.expiration,
        order.type,
        order.type_time,
        order.type_filling,
        order.state,
        order.magic,
        order.position_id,
        order.position_by_id,
        order.reason,
        order.volume,
        order.remaining,
        order.price,
        _level(order.stop),
        _level(order.target),
        current,
        0.0,
        order.symbol,
        order.comment,
        "",
    )


def deal_row(state: ServerState, deal: SimDeal) -> Row:
    """Return a `TradeDeal`."""
    at = state.server_ms(deal.at)
    return (
        deal.ticket,
        deal.order,
        at // SECOND,
        at,
        deal.type,
        deal.entry,
        deal.magic,
        deal.position_id,
        deal.reason,
        deal.volume,
        deal.price,
        deal.commission,
        deal.swap,
        deal.profit,
        deal.fee,
        deal.symbol,
        deal.comment,
        "",
    )


def tick_row(state: ServerState, quote: Quote) -> Row:
    """Return a `Tick`; there is no last price and no volume."""
    at = state.server_ms(quote.at)
    return (at // SECOND, quote.bid, quote.ask, 0.0, 0, at, _QUOTE_FLAGS, 0.0)


_ACCOUNT: dict[str, Any] = dict.fromkeys(FIELDS["AccountInfo"], 0.0)

NO_TICK: Row = (0, 0.0, 0.0, 0.0, 0, 0, 0, 0.0)
"""A `Tick` of a symbol that is in Market Watch and has had none yet."""


def account_row(state: ServerState, account: AccountSpec, figures: Figures) -> Row:
    """Return an `AccountInfo`."""
    values: dict[str, Any] = {
        "login": account.login,
        "trade_mode": account.trade_mode,
        "leverage": account.leverage,
        "limit_orders": account.limit_orders,
        "margin_so_mode": Mt5.ACCOUNT_STOPOUT_MODE_PERCENT,
        "trade_allowed": state.trade_allowed,
        "trade_expert": state.expert_allowed,
        "margin_mode": account.margin_mode,
        "currency_digits": account.currency_digits,
        "fifo_close": account.fifo_close,
        "balance": figures.balance,
        "profit": figures.profit,
        "equity": figures.equity,
        "margin": figures.margin,
        "margin_free": figures.margin_free,
        "margin_level": figures.margin_level,
        "margin_so_call": account.margin_call,
        "margin_so_so": account.stop_out,
        "name": account.name,
        "server": account.server,
        "currency": account.currency,
        "company": account.company,
    }
    return tuple((_ACCOUNT | values).values())


_TEXTS = frozenset(("bank", "basis", "category", "exchange", "formula", "isin", "page"))
_WHOLE = frozenset(
    (
        "chart_mode",
        "session_deals",
        "session_buy_orders",
        "session_sell_orders",
        "volume",
        "volumehigh",
        "volumelow",
        "time",
        "spread",
        "ticks_bookdepth",
        "start_time",
        "expiration_time",
        "order_gtc_mode",
        "option_mode",
        "option_right",
    )
)
_DYNAMIC = (
    "select",
    "visible",
    "time",
    "spread",
    "bid",
    "bidhigh",
    "bidlow",
    "ask",
    "askhigh",
    "asklow",
    "trade_tick_value",
    "trade_tick_value_profit",
    "trade_tick_value_loss",
)
_DYNAMIC_PLACES = tuple(FIELDS["SymbolInfo"].index(name) for name in _DYNAMIC)

_EXPIRATION_MODES = 15
"""GTC, day, specified, specified day."""


def symbol_template(spec: SymbolSpec) -> list[Any]:
    """Return a `SymbolInfo` without a market; `symbol_row` fills the rest in."""
    values: dict[str, Any] = {
        "custom": False,
        "select": False,
        "visible": False,
        "digits": spec.digits,
        "spread_float": True,
        "trade_calc_mode": spec.calc_mode,
        "trade_mode": spec.trade_mode,
        "trade_stops_level": spec.stops_level,
        "trade_freeze_level": spec.freeze_level,
        "trade_exemode": spec.execution,
        "swap_mode": Mt5.SYMBOL_SWAP_MODE_CURRENCY_DEPOSIT,
        "swap_rollover3days": Mt5.DAY_OF_WEEK_WEDNESDAY,
        "margin_hedged_use_leg": False,
        "expiration_mode": _EXPIRATION_MODES,
        "filling_mode": spec.filling_mask,
        "order_mode": spec.order_mode,
        "point": spec.point,
        "trade_tick_size": spec.tick_size,
        "trade_contract_size": spec.contract_size,
        "volume_min": spec.volume_min,
        "volume_max": spec.volume_max,
        "volume_step": spec.volume_step,
        "volume_limit": spec.volume_limit,
        "swap_long": spec.swap_long,
        "swap_short": spec.swap_short,
        "margin_hedged": spec.margin_hedged,
        "currency_base": spec.currency_base,
        "currency_profit": spec.currency_profit,
        "currency_margin": spec.currency_margin,
        "description": spec.description,
        "name": spec.name,
        "path": spec.path,
    }
    fallback: dict[str, Any] = dict.fromkeys(_TEXTS, "") | dict.fromkeys(_WHOLE, 0)
    return [values.get(field, fallback.get(field, 0.0)) for field in FIELDS["SymbolInfo"]]


def symbol_row(
    state: ServerState,
    template: list[Any],
    spec: SymbolSpec,
    rates: RateStore,
    quote: Quote | None,
    *,
    selected: bool,
) -> list[Any]:
    """Return a `SymbolInfo`: the template with the market of now; zeros where no quote has reached the terminal."""
    row = template.copy()
    if quote is None:
        row[_DYNAMIC_PLACES[0]] = row[_DYNAMIC_PLACES[1]] = selected
        return row
    tick_value = state.money.value_per_unit(spec, quote.bid) * spec.tick_size
    bid_low, bid_high, ask_low, ask_high = rates.day_range
    market = (
        selected,
        selected,
        state.server_seconds(quote.at),
        round(quote.spread / spec.point),
        quote.bid,
        bid_high,
        bid_low,
        quote.ask,
        ask_high,
        ask_low,
        tick_value,
        tick_value,
        tick_value,
    )
    for place, value in zip(_DYNAMIC_PLACES, market, strict=True):
        row[place] = value
    return row
