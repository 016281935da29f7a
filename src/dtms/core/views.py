"""An output row of the kernels as the domain's words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from dtms.core._jit import Floats
from dtms.core.layout import (
    BRANCHES,
    BREAK_DOWN,
    BREAK_UP,
    CHARACTER_DOWN,
    CHARACTER_UP,
    Block,
    Out,
)
from dtms.core.params import LAYERS, N_LAYERS, SESSIONS, STRUCTURES, VOLATILITIES
from dtms.domain.market import Timeframe
from dtms.domain.policy.score import ScorePolicy
from dtms.domain.score import (
    Confluence,
    Indicators,
    LayerReading,
    MarketView,
    Regime,
    Score,
    StructureEvent,
    StructureEventKind,
)
from dtms.domain.units import Millis, Side

_CONFLUENCES: Final = (Confluence.SUPPORTIVE, Confluence.ADVERSE, Confluence.MIXED, Confluence.NEUTRAL)
_EVENTS: Final = (
    (BREAK_UP, StructureEventKind.BREAK_UP),
    (BREAK_DOWN, StructureEventKind.BREAK_DOWN),
    (CHARACTER_UP, StructureEventKind.CHARACTER_UP),
    (CHARACTER_DOWN, StructureEventKind.CHARACTER_DOWN),
)
_NAMES: Final = tuple(
    tuple(tuple(name for n, name in enumerate(names) if bits >> n & 1) for bits in range(1 << len(names)))
    for names in (BRANCHES[layer] for layer in LAYERS)
)
"""Per layer, the branch names of every possible set of bits."""

STALE: Final = "stale bars"


class ViewMaker:
    """Output rows of one symbol into views.

    Lean on purpose: most of the time of a live M5 step goes into these values.
    """

    __slots__ = ("_available_share", "_calibrated", "_regimes", "_symbol", "_weights")

    def __init__(self, symbol: str, policy: ScorePolicy, *, calibrated: bool) -> None:
        self._symbol = symbol
        self._calibrated = calibrated
        self._weights = tuple(policy.weight(layer) for layer in LAYERS)
        self._available_share = policy.available_share
        self._regimes: dict[tuple[float, float, float, float], Regime] = {}

    def view(self, out: Floats) -> MarketView:
        """Return the view that a filled output row says."""
        row: list[float] = out.tolist()
        at = Millis(int(row[Out.START]) + Timeframe.M5.value)
        regime = self._regime(row)
        events = int(row[Out.EVENTS])
        return MarketView(
            symbol=self._symbol,
            at=at,
            close=row[Out.CLOSE],
            buy=self._score(row, Out.BUY, Side.BUY, at, regime),
            sell=self._score(row, Out.SELL, Side.SELL, at, regime),
            indicators=_indicators(row),
            events=tuple(StructureEvent(kind=kind, at=at) for bit, kind in _EVENTS if events & bit) if events else (),
        )

    def _regime(self, row: list[float]) -> Regime:
        key = (row[Out.SESSION], row[Out.VOLATILITY], row[Out.RANGING], row[Out.THRESHOLD])
        known = self._regimes.get(key)
        if known is None:
            known = self._regimes[key] = Regime(
                session=SESSIONS[int(key[0])],
                volatility=VOLATILITIES[int(key[1])],
                structure=STRUCTURES[int(key[2])],
                threshold=key[3],
                calibrated=self._calibrated,
            )
        return known

    def _score(self, row: list[float], block: int, side: Side, at: Millis, regime: Regime) -> Score:
        raws = row[block : block + N_LAYERS]
        bits = row[block + Block.BITS : block + Block.BITS + N_LAYERS]
        adaptive = row[Out.ADAPTIVE : Out.ADAPTIVE + N_LAYERS]
        layers = tuple(
            LayerReading(
                layer=LAYERS[i],
                raw=None if raws[i] != raws[i] else raws[i],
                weight=self._weights[i],
                adaptive=adaptive[i],
                branches=_NAMES[i][int(bits[i])],
            )
            for i in range(N_LAYERS)
        )
        total = _known(row[block + Block.TOTAL])
        share_high = row[block + Block.SHARE_HIGH]
        return Score(
            symbol=self._symbol,
            side=side,
            at=at,
            total=total,
            missing="" if total is not None else self._missing(layers),
            layers=layers,
            confluence=_CONFLUENCES[int(row[block + Block.CONFLUENCE])],
            regime=regime,
            flip_against=row[block + Block.FLIP_AGAINST] > 0.0,
            opposite_share_high=None if math.isnan(share_high) else share_high > 0.0,
        )

    def _missing(self, layers: tuple[LayerReading, ...]) -> str:
        absent = ", ".join(reading.layer.value for reading in layers if reading.raw is None)
        held = sum(reading.weight for reading in layers if reading.raw is not None)
        return (
            f"layers with {held:g} of {sum(self._weights):g} weight are available, "
            f"less than {self._available_share:.0%}: unavailable are {absent}"
        )


def staled(view: MarketView) -> MarketView:
    """Return the view without totals, because its bar is too old to act on."""
    return replace(
        view,
        buy=replace(view.buy, total=None, missing=STALE),
        sell=replace(view.sell, total=None, missing=STALE),
    )


def _known(x: float) -> float | None:
    return None if math.isnan(x) else x


def _indicators(row: list[float]) -> Indicators:
    squeeze = row[Out.SQUEEZE]
    return Indicators(
        atr_m5=_known(row[Out.ATR_M5]),
        atr_m15=_known(row[Out.ATR_M15]),
        squeeze=None if math.isnan(squeeze) else squeeze > 0.0,
        extension=_known(row[Out.EXTENSION]),
        extension_p90=_known(row[Out.EXTENSION_RANK]),
        ema50_m15_slope=_known(row[Out.FAST_SLOPE]),
        ema200_m15_slope=_known(row[Out.SLOW_SLOPE]),
        ema50_h1_slope=_known(row[Out.H1_SLOPE]),
        vwap=_known(row[Out.VWAP]),
    )
