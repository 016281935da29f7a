"""The terminal's structs in our words; no call is made here.

A value that has no word of ours raises: it is never passed on as something neutral.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from dtms.adapters.mt5 import constants as c
from dtms.adapters.mt5.server_time import ServerClock
from dtms.adapters.mt5.surface import AccountInfo, SymbolInfo, TerminalInfo, Tick, TradeDeal, TradeOrder, TradePosition
from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.market import Bar, Quote
from dtms.domain.position import Account, AccountKind, Deal, DealReason, Position, WorkingOrder
from dtms.domain.symbols import asset_class, canonical, forex_pair, halves_of, is_outside
from dtms.domain.units import Side, Ticket
from dtms.errors import InvalidDataError, NotPricedError, StaleDataError

instrument_facts = attrgetter(
    "name",
    "path",
    "digits",
    "point",
    "trade_tick_size",
    "trade_tick_value",
    "trade_tick_value_loss",
    "trade_contract_size",
    "trade_calc_mode",
    "trade_mode",
    "trade_stops_level",
    "trade_freeze_level",
    "volume_min",
    "volume_max",
    "volume_step",
    "volume_limit",
    "currency_base",
    "currency_profit",
)
"""All that an `Instrument` depends on, to see cheaply whether one made before still holds."""

_FOLDERS = (
    ("indic", AssetClass.INDEX),
    ("index", AssetClass.INDEX),
    ("crypto", AssetClass.CRYPTO),
    ("metal", AssetClass.METAL),
)
"""Words in the symbol tree's first folder: brokers name it freely, these are the usual ones."""

_canonical = lru_cache(maxsize=4_096)(canonical)


def account_of(info: AccountInfo, terminal: TerminalInfo) -> Account:
    """Return the account; trading is allowed where account, program and terminal all allow it.

    Whose money it is, is what account and terminal say: the simulated terminal has its own name.
    """
    kind = AccountKind.SIMULATED if terminal.name == c.SIMULATED_TERMINAL else c.ACCOUNT_KIND.get(info.trade_mode)
    if kind is None:
        msg = f"account {info.login}: trade mode {info.trade_mode} is none of {sorted(c.ACCOUNT_KIND)}; update the adapter"
        raise InvalidDataError(msg)
    allowed = (info.trade_allowed, info.trade_expert, terminal.trade_allowed, not terminal.tradeapi_disabled)
    return Account(
        login=info.login,
        server=info.server,
        kind=kind,
        currency=info.currency,
        currency_digits=info.currency_digits,
        hedging=is_hedging(info),
        fifo=bool(info.fifo_close),
        balance=info.balance,
        equity=info.equity,
        margin=info.margin,
        margin_free=info.margin_free,
        margin_level=info.margin_level if info.margin > 0 else None,
        trade_allowed=all(allowed),
    )


def is_hedging(info: AccountInfo) -> bool:
    """Say whether the account holds several positions of a symbol side by side."""
    return info.margin_mode == c.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING


def instrument_of(info: SymbolInfo, *, hedge_allowed: bool, aliases: dict[str, str] | None) -> Instrument:
    """Return the instrument: levels in price units, the value of one unit taken from the losing side where there is one.

    Raises:
        NotPricedError: The terminal has not worked out the tick's value yet.
    """
    tick_size = info.trade_tick_size if info.trade_tick_size > 0 else info.point
    tick_value = info.trade_tick_value_loss if info.trade_tick_value_loss > 0 else info.trade_tick_value
    if not tick_value > 0:
        msg = (
            f"symbol {info.name}: the terminal gives the tick value {tick_value!r}; it has no price yet, "
            "wait for the first quote"
        )
        raise NotPricedError(msg)
    name = _name_of(info, aliases)
    return Instrument(
        symbol=info.name,
        canonical=name,
        asset=_asset_of(name, info),
        digits=info.digits,
        point=info.point,
        tick_size=tick_size,
        contract_size=info.trade_contract_size,
        value_per_unit=tick_value / tick_size,
        volume_min=info.volume_min,
        volume_max=info.volume_max,
        volume_step=info.volume_step,
        volume_limit=info.volume_limit if info.volume_limit > 0 else None,
        stops_level=info.trade_stops_level * info.point,
        freeze_level=info.trade_freeze_level * info.point,
        currency_base=info.currency_base,
        currency_profit=info.currency_profit,
        hedge_allowed=hedge_allowed,
        opening_allowed=info.trade_mode == c.SYMBOL_TRADE_MODE_FULL,
    )


def position_of(raw: TradePosition, clock: ServerClock) -> Position:
    """Return one open position."""
    return Position(
        ticket=Ticket(raw.ticket),
        identifier=raw.identifier,
        symbol=raw.symbol,
        side=_side(raw.type, f"position {raw.ticket}"),
        volume=raw.volume,
        entry=raw.price_open,
        stop=_level(raw.sl),
        target=_level(raw.tp),
        current=raw.price_current,
        profit=raw.profit,
        swap=raw.swap,
        magic=raw.magic,
        comment=raw.comment,
        opened_at=clock.to_utc(raw.time_msc),
    )


def deals_of(raw: Iterable[TradeDeal], clock: ServerClock) -> tuple[Deal, ...]:
    """Return the deals that traded, oldest first; deposits, corrections and fees booked apart are no deals of ours."""
    traded = [_deal(deal, clock) for deal in raw if deal.type in c.SIDE_OF_TYPE]
    return tuple(sorted(traded, key=lambda deal: (deal.at, deal.deal_id)))


def working_of(raw: Iterable[TradeOrder]) -> tuple[WorkingOrder, ...]:
    """Return the orders at the market; those that wait for a price are somebody else's business."""
    return tuple(
        WorkingOrder(
            order=order.ticket,
            symbol=order.symbol,
            position=order.position_id if order.position_id > 0 else None,
            comment=order.comment,
        )
        for order in raw
        if order.type in c.AT_THE_MARKET
    )


def quote_of(symbol: str, tick: Tick, clock: ServerClock) -> Quote:
    """Return the last quote; its volume only where the venue reports one.

    Raises:
        StaleDataError: The symbol had no tick yet.
    """
    if tick.time_msc == 0 or (tick.bid == 0 and tick.ask == 0):
        msg = f"symbol {symbol}: no quote yet; the market may be closed"
        raise StaleDataError(msg)
    volume = tick.volume_real if tick.volume_real > 0 else None
    return Quote(symbol=symbol, at=clock.to_utc(tick.time_msc), bid=tick.bid, ask=tick.ask, volume=volume)


def bars_of(rates: Any, clock: ServerClock) -> tuple[Bar, ...]:
    """Return the rows of a rates array as bars, oldest first; without any volume in them they have none."""
    names = ("open", "high", "low", "close", "tick_volume")
    columns: list[Sequence[float]] = [rates[name].tolist() for name in names]
    starts = clock.all_to_utc([seconds * 1_000 for seconds in rates["time"].tolist()])
    silent = not any(columns[4])
    return tuple(
        Bar(start=start, open=o, high=h, low=low, close=close, volume=None if silent else float(volume))
        for start, o, h, low, close, volume in zip(starts, *columns, strict=True)
    )


def _name_of(info: SymbolInfo, aliases: dict[str, str] | None) -> str:
    """Return our spelling of a symbol: the policy's word, else its name as far as the broker's own facts bear it out.

    A share that is called like a metal is no metal, and a pair under a name that says nothing is known by its currencies.
    """
    name = canonical(info.name, aliases) if aliases is not None else _canonical(info.name)
    if aliases is not None and name in aliases.values():
        return name
    halves = halves_of(name)
    if halves is not None and is_share(info):
        return info.name.upper()
    base, quote = info.currency_base.upper(), info.currency_profit.upper()
    if halves is None:
        pair = forex_pair(base, quote) if info.trade_calc_mode in c.CALC_MODES_FOREX else None
        return name if pair is None or is_outside(info.name) else pair
    written = "".join(letter for letter in info.name.upper() if letter.isalpha())
    if halves[0] in written:
        return name
    return forex_pair(halves[0], quote) or name  # GOLD on an account that pays it in euros


def is_share(info: SymbolInfo) -> bool:
    """Say whether the broker sorts a symbol among shares: by its calculation mode, or by a folder of its tree."""
    folders = info.path.lower().split("\\")[:-1]
    return info.trade_calc_mode in c.CALC_MODES_SHARES or any(
        word in folder for folder in folders for word in ("share", "stock", "equit")
    )


def _asset_of(name: str, info: SymbolInfo) -> AssetClass:
    """The symbol's name decides; for one that is no known pair the broker's own sorting: calculation mode, then folder."""
    asset = asset_class(name)
    if asset is not AssetClass.OTHER:
        return asset
    if info.trade_calc_mode == c.SYMBOL_CALC_MODE_CFDINDEX:
        return AssetClass.INDEX
    folder = info.path.split("\\", 1)[0].lower()
    return next((found for word, found in _FOLDERS if word in folder), AssetClass.OTHER)


def _deal(raw: TradeDeal, clock: ServerClock) -> Deal:
    entry = c.DEAL_ENTRY.get(raw.entry)
    if entry is None:
        msg = f"deal {raw.ticket}: entry {raw.entry} is none of {sorted(c.DEAL_ENTRY)}; update the adapter"
        raise InvalidDataError(msg)
    return Deal(
        deal_id=raw.ticket,
        order_id=raw.order,
        position=raw.position_id,
        symbol=raw.symbol,
        side=c.SIDE_OF_TYPE[raw.type],
        entry=entry,
        reason=c.DEAL_REASON.get(raw.reason, DealReason.OTHER),
        volume=raw.volume,
        price=raw.price,
        profit=raw.profit,
        commission=raw.commission,
        swap=raw.swap,
        fee=raw.fee,
        magic=raw.magic,
        comment=raw.comment,
        at=clock.to_utc(raw.time_msc),
    )


def _side(kind: int, what: str) -> Side:
    side = c.SIDE_OF_TYPE.get(kind)
    if side is None:
        msg = f"{what}: type {kind} is neither buy nor sell; update the adapter"
        raise InvalidDataError(msg)
    return side


def _level(price: float) -> float | None:
    """The terminal writes 0.0 for "none"."""
    return price if price > 0 else None
