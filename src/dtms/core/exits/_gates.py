"""Readings of the indicators that more than one rule asks for. None says "not known", and each caller says what it does then."""

from __future__ import annotations

from dtms.domain.policy.exits import ExitPolicy
from dtms.domain.score import Indicators
from dtms.domain.units import Side


def extended(side: Side, indicators: Indicators | None, policy: ExitPolicy, canonical: str) -> bool | None:
    """Say whether the price is stretched in the trade's favour, measured in ATR from EMA200 on M15.

    The limit is the 90th percentile of the symbol's own last bars; until that is known, the policy's number.
    """
    if indicators is None or indicators.extension is None:
        return None
    own = indicators.extension_p90
    limit = policy.extended_limit(canonical) if own is None else own
    return side * indicators.extension > limit


def squeezed(indicators: Indicators | None) -> bool | None:
    """Say whether the Bollinger bands lie inside the Keltner channel on M15."""
    return None if indicators is None else indicators.squeeze


def ema50_h1_against(side: Side, indicators: Indicators | None) -> bool | None:
    """Say whether EMA50 on H1 moves against the trade."""
    if indicators is None or indicators.ema50_h1_slope is None:
        return None
    return side * indicators.ema50_h1_slope < 0


def trend_with(side: Side, indicators: Indicators | None, policy: ExitPolicy) -> bool | None:
    """Say whether EMA50 and EMA200 on M15 both move with the trade by more than what the score calls flat."""
    if indicators is None:
        return None
    atr, fast, slow = indicators.atr_m15, indicators.ema50_m15_slope, indicators.ema200_m15_slope
    if atr is None or fast is None or slow is None:
        return None
    return side * fast > policy.flat_ema50_atr * atr and side * slow > policy.flat_ema200_atr * atr
