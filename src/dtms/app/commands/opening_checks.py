"""What an order to open must be before it is planned: on the grid, on the right side, of a risk that is known. Pure.

A refusal names the field and what the market or the broker asks for, never the value that was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from dtms.domain.action import OpenTrade
from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.market import Quote
from dtms.domain.position import Account, Position
from dtms.domain.units import Lots, Price, Side
from dtms.errors import DtmsError

_LOTS_NOISE = 1e-6
"""Lots: sums of volumes differ by the noise of binary fractions."""

_LEVEL_NOISE = 0.01
"""Share of a tick: the difference of two prices on the grid is no exact multiple of it in binary fractions."""

_MIN_R_SPREADS = 2.0
_MIN_R_ATR = 0.25
"""The least R of a registration (behaviour.md section 1); what the DTMS server would refuse is not opened."""

_LEVERAGE = {
    AssetClass.FX: 20.0,
    AssetClass.METAL: 20.0,
    AssetClass.INDEX: 20.0,
    AssetClass.CRYPTO: 2.0,
    AssetClass.OTHER: 5.0,
}
"""The least leverage that a retail account may be expected to have: ESMA Decision (EU) 2018/796, article 2 and annex I;
for FX that of the pairs which are not majors. More leverage needs less margin, so the estimate is on the careful side."""


class OpeningRefusal(StrEnum):
    """What kind of no it is."""

    NOT_ARMED = "not_armed"
    INVALID = "invalid"
    DENIED = "denied"


class OpeningRefusedError(DtmsError):
    """An order to open that cannot be; nothing was written.

    Attributes:
        kind: Not armed, not valid, or denied by rails, kill switch or account.
        code: Our word for the reason.
        field: The request's field to change, "" where it is none.
    """

    def __init__(self, kind: OpeningRefusal, code: str, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.code = code
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller wants to open: a volume in lots, or the money to be risked between entry and stop."""

    symbol: str
    side: Side
    volume: float | None
    risk_money: float | None
    stop: float
    target: float | None
    profile: str | None


def checked(order: Order, instrument: Instrument, quote: Quote, atr: float | None, held: float) -> OpenTrade:
    """Return the quantised action of an order.

    Args:
        order: What is wanted.
        instrument: Its grid and levels.
        quote: The last accepted one.
        atr: ATR(M15) in price units, None where it is not known.
        held: Volume that is open on the symbol already, for its limit.

    Raises:
        OpeningRefusedError: Names the field.
    """
    stop = _on_grid(order.stop, instrument, "stop_loss")
    target = None if order.target is None else _on_grid(order.target, instrument, "take_profit")
    least = max(instrument.stops_level, instrument.tick_size)
    enough = least - _LEVEL_NOISE * instrument.tick_size
    price = quote.executable(order.side)
    if order.side * (price - stop) < enough:
        _invalid(
            "stop_on_wrong_side",
            f"it must lie on the losing side of the price by at least {instrument.shown(least)}",
            "stop_loss",
        )
    if target is not None and order.side * (target - price) < enough:
        detail = f"it must lie on the winning side of the price by at least {instrument.shown(least)}"
        _invalid("target_on_wrong_side", detail, "take_profit")
    risk = order.side * (quote.opening(order.side) - stop)
    _check_risk(risk, quote.spread, atr, instrument)
    volume = _volume(order, risk, instrument)
    if instrument.volume_limit is not None and held + volume > instrument.volume_limit + _LOTS_NOISE:
        shown = instrument.shown_lots
        detail = f"the symbol's limit is {shown(instrument.volume_limit)} lots, {shown(held)} are open"
        _invalid("volume_limit", detail, size_field(order))
    return OpenTrade(symbol=instrument.symbol, side=order.side, volume=volume, stop=stop, target=target)


def expected_margin(
    action: OpenTrade, instrument: Instrument, price: float, account: Account, positions: tuple[Position, ...]
) -> float:
    """Return the margin that an opening will take at most, account currency.

    The broker's own figure cannot be read through the gateway. The notional over the least usual leverage bounds it from
    above, and so does the whole account's margin scaled by volume where the symbol is held already: the smaller counts.
    """
    by_leverage = instrument.money(price, action.volume) / _LEVERAGE[instrument.asset]
    # What is held both ways takes little margin or none: only the net tells what a lot costs.
    net = abs(sum(position.side * position.volume for position in positions if position.symbol == action.symbol))
    if instrument.is_flat(net):
        return by_leverage
    return min(by_leverage, account.margin * action.volume / net)


def _on_grid(price: float, instrument: Instrument, field: str) -> Price:
    kept = instrument.kept(price)
    if kept is None:
        tick = instrument.shown(instrument.tick_size)
        _invalid("price_off_grid", f"prices of this symbol are multiples of {tick}, {tick} at least", field)
    return kept


def _check_risk(risk: float, spread: float, atr: float | None, instrument: Instrument) -> None:
    least = max(_MIN_R_SPREADS * spread, 0.0 if atr is None else _MIN_R_ATR * atr)
    if risk < least:
        detail = f"R must be at least max(2 x spread, 0.25 ATR(M15)) = {instrument.shown(least)}; the stop is too near"
        _invalid("risk_unknown", detail, "stop_loss")


def _volume(order: Order, risk: float, instrument: Instrument) -> Lots:
    field = size_field(order)
    wanted = order.volume
    if wanted is None:
        if order.risk_money is None:
            _invalid("size_missing", "give volume or risk_money", field)
        wanted = instrument.lots_down(order.risk_money / instrument.money(risk, 1.0))
        if wanted <= 0:
            least = instrument.money(risk, instrument.volume_min)
            _invalid("risk_too_small", f"the minimum lot risks {least:.2f} at this stop", field)
    if not instrument.tradable(wanted):
        shown = instrument.shown_lots
        detail = (
            f"volumes of this symbol go from {shown(instrument.volume_min)} to {shown(instrument.volume_max)} "
            f"in steps of {shown(instrument.volume_step)}"
        )
        _invalid("volume_off_grid", detail, field)
    return instrument.lots_down(wanted)


def size_field(order: Order) -> str:
    """Return the request's field that decides the size."""
    return "risk_money" if order.volume is None else "volume"


def _invalid(code: str, detail: str, field: str) -> NoReturn:
    raise OpeningRefusedError(OpeningRefusal.INVALID, code, detail, field)
