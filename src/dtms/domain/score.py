"""How a trade's market looks on one closed M5 bar: regime, layers, score, structure events, indicators."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtms.domain.units import Millis, Side


class Session(StrEnum):
    """The part of the trading day, by UTC, half-open."""

    ASIAN = "asian"
    LONDON = "london"
    OVERLAP = "overlap"
    NEW_YORK = "new_york"
    LATE = "late"
    WEEKEND = "weekend"


class Volatility(StrEnum):
    """ATR against its own recent mean."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Structure(StrEnum):
    """Whether the Bollinger width says range or trend."""

    RANGE = "range"
    TREND = "trend"


class Confluence(StrEnum):
    """How one-sided the layers are."""

    SUPPORTIVE = "supportive"
    ADVERSE = "adverse"
    MIXED = "mixed"
    NEUTRAL = "neutral"


class Layer(StrEnum):
    """The six signals of the score."""

    STRUCTURE = "structure"
    VWAP = "vwap"
    MOMENTUM = "momentum"
    EMA = "ema"
    DELTA = "delta"
    CANDLE = "candle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """The market's regime on M15; `threshold` is the adaptive impulse threshold as a fraction of price."""

    session: Session
    volatility: Volatility
    structure: Structure
    threshold: float
    calibrated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReading:
    """One layer for one side: `raw` in [-1, +1], None where unavailable; `branches` names the rules that fired."""

    layer: Layer
    raw: float | None
    weight: float
    adaptive: float
    branches: tuple[str, ...] = ()

    @property
    def contribution(self) -> float | None:
        """Raw x weight x adaptive factor, None where the layer is unavailable."""
        return None if self.raw is None else self.raw * self.weight * self.adaptive


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of one side on the M5 bar that ends at `at`; positive supports the trade.

    `total` is None where there is no score, and `missing` then says why. `flip_against` is true while the VWAP layer's
    flip against the trade holds; `opposite_share_high` while the opposite volume share is above its upper threshold,
    None without volumes.
    """

    symbol: str
    side: Side
    at: Millis
    total: float | None
    missing: str
    layers: tuple[LayerReading, ...]
    confluence: Confluence
    regime: Regime
    flip_against: bool
    opposite_share_high: bool | None


class StructureEventKind(StrEnum):
    """What the M15 structure did, in the direction of price."""

    BREAK_UP = "break_up"
    BREAK_DOWN = "break_down"
    CHARACTER_UP = "character_up"
    CHARACTER_DOWN = "character_down"


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureEvent:
    """A break of structure or a change of character on the M15 bar that ends at `at`."""

    kind: StructureEventKind
    at: Millis

    def breaks_with(self, side: Side) -> bool:
        """Say whether this is a break in the trade's favour."""
        return self.kind is (StructureEventKind.BREAK_UP if side is Side.BUY else StructureEventKind.BREAK_DOWN)

    def changes_against(self, side: Side) -> bool:
        """Say whether this is a change of character against the trade."""
        against = StructureEventKind.CHARACTER_DOWN if side is Side.BUY else StructureEventKind.CHARACTER_UP
        return self.kind is against


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicators:
    """The values that machine and exits read; None says "not enough bars", never zero.

    Prices are in price units. `squeeze` is Bollinger(20, 2) inside Keltner(20, 1.5) on M15. `extension` is
    (close - EMA200)/ATR(14) on M15, signed; `extension_p90` the 90th percentile of its absolute value over the last
    1,000 bars, None until 300 are known. Slopes are changes over 10 bars, in price units. `ema50_h1_slope` is the last
    change of EMA50 on H1.
    """

    atr_m5: float | None
    atr_m15: float | None
    squeeze: bool | None
    extension: float | None
    extension_p90: float | None
    ema50_m15_slope: float | None
    ema200_m15_slope: float | None
    ema50_h1_slope: float | None
    vwap: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """All that one closed M5 bar says about one symbol: the same for every trade on it."""

    symbol: str
    at: Millis
    close: float
    buy: Score
    sell: Score
    indicators: Indicators
    events: tuple[StructureEvent, ...]

    def score(self, side: Side) -> Score:
        """Return the score of one side."""
        return self.buy if side is Side.BUY else self.sell
