"""The numbers of the score (behaviour.md section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from dtms.domain.policy import checks
from dtms.domain.policy.regime import RegimePolicy, whole
from dtms.domain.score import Layer
from dtms.errors import SettingsError

__all__ = ["RegimePolicy", "ScorePolicy"]

_SINGLE_LAYER_LIMIT = 4.0
"""No single layer may reach minus this alone: a law of behaviour.md section 3, whatever the weights are set to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePolicy:
    """Weights, raw values and thresholds of the six layers.

    Raw values lie in [-1, +1]; negative ones speak against the trade. Percentages are fractions of the evaluated M5
    bar's close. RSI levels are those of a BUY, a SELL mirrors them at 100 - level.

    Attributes:
        structure_weight: Weight of the structure layer; 0 to 10, default 3.0.
        vwap_weight: Of vwap and volume; 0 to 10, default 2.0.
        momentum_weight: Of momentum; 0 to 10, default 2.0.
        ema_weight: Of the EMA alignment; 0 to 10, default 1.5.
        delta_weight: Of delta pressure; 0 to 10, default 1.0.
        candle_weight: Of candle conviction; 0 to 10, default 1.0.
        available_share: Below this share of the total weight there is no score; 0 to 1, default 0.6.
        structure_bars: Window that swings are looked for in, M15 bars; 8 to 60, default 20.
        structure_break: A close so far beyond a swing breaks it, a fraction; 0 to 0.01, default 0.0003.
        structure_character_atr: A close so far beyond the later swing changes the character; 0.01 to 5 ATR, default 0.25.
        structure_fade_bars: A structure event has faded to nothing after so many M15 bars; 1 to 31, default 8.
        structure_with: Raw value of a break with the trade; 0 to 1, default 1.
        structure_against: Of a break against it; -1 to 0, default -2/3.
        structure_character: Of a change of character against it; -1 to 0, default -1.
        vwap_bars_min: VWAP is unavailable for so many first bars of the session day; 0 to 60 M5 bars, default 6.
        vwap_impulse_bars: The impulse is measured over so many M5 bars; 1 to 7, default 3.
        vwap_release: An impulse below this share of the threshold ends a flip; 0 to 1, default 0.7.
        vwap_flip_against: Raw value of a flip against the trade; -1 to 0, default -2/3.
        vwap_flip_with: Of a flip with it; 0 to 1, default +1/3.
        vwap_share_bars: The volume share looks at so many last M5 bars of the day; 1 to 60, default 12.
        vwap_share_high: Opposite share above which the first value counts; 0 to 1, default 0.65.
        vwap_share_high_low_volatility: The same in a Low regime; 0 to 1, default 0.72.
        vwap_share_mid: Opposite share above which the second value counts; 0 to 1, default 0.55.
        vwap_share_low: Opposite share below which the third value counts; 0 to 1, default 0.35.
        vwap_share_high_raw: First value; -1 to 0, default -1/3.
        vwap_share_mid_raw: Second value; -1 to 0, default -1/6.
        vwap_share_low_raw: Third value; 0 to 1, default +1/3.
        rsi_bars: Period of RSI on M15; 2 to 100, default 14.
        rsi_lag: RSI is compared with its value so many bars ago; 1 to 7, default 2.
        rsi_weak: Below this and falling is weak; 0 to 100, default 45.
        rsi_weak_low_volatility: The same in a Low regime; 0 to 100, default 40.
        rsi_stretched: Above this and rising is stretched; 0 to 100, default 70.
        rsi_support: Above this and rising supports; 0 to 100, default 50.
        rsi_weak_raw: Raw value of weak; -1 to 0, default -2/3.
        rsi_stretched_raw: Of stretched; -1 to 0, default -1/3.
        rsi_support_raw: Of support; 0 to 1, default +1/3.
        macd_fast: Fast period of MACD on M15; 2 to 99, default 12.
        macd_slow: Slow period; 3 to 200, default 26.
        macd_signal: Signal period; 2 to 100, default 9.
        macd_bars: The histogram is monotone over so many bars; 2 to 8, default 3.
        macd_raw: Raw value of a histogram that rises with the trade, and minus it against; 0 to 1, default 1/3.
        ema_fast: Period of the faster EMA on M15; 2 to 400, default 50.
        ema_slow: Period of the slower EMA; 3 to 400, default 200.
        ema_slope_bars: Bars over which the EMAs' change is measured; 1 to 60, default 10.
        ema_fast_flat_atr: A change within this is flat; 0 to 5 ATR, default 0.15.
        ema_slow_flat_atr: The same for the slower EMA; 0 to 5 ATR, default 0.05.
        ema_both_with: Raw value of both with the trade; 0 to 1, default +2/3.
        ema_fast_against: Of the faster against, the slower not; -1 to 0, default -2/3.
        ema_both_against: Of both against; -1 to 0, default -1.
        ema_h1_bars: Period of the EMA on H1 whose last change the exits read; 2 to 400, default 50.
        delta_bars: Signed volume is ranked against so many previous M5 windows; 2 to 500, default 120.
        delta_bars_min: Below so many the layer is unavailable; 2 to 500, default 30.
        delta_z: A z-score beyond this counts; 0 to 10 standard deviations, default 0.5.
        delta_against: Raw value of pressure against the trade; -1 to 0, default -1.
        delta_with: Of pressure with it; 0 to 1, default +1.
        candle_body: A candle of conviction has at least this share of its range as body; 0 to 1, default 0.65.
        candle_range_atr: And at least this range; 0 to 10 ATR(M5), default 0.8.
        candle_against_vwap: Raw value against the trade and closing through VWAP; -1 to 0, default -1.
        candle_against: Against it; -1 to 0, default -1/2.
        candle_with: With it; 0 to 1, default +1/4.
        candle_with_vwap: With it and closing through VWAP; 0 to 1, default +1/2.
        range_structure, range_vwap, range_momentum, range_ema, range_delta, range_candle: Adaptive factors in a Range;
            0 to 3, default 0.7, 1.3, 1.0, 0.8, 1.2, 1.1.
        high_structure, high_vwap, high_momentum, high_ema, high_delta, high_candle: Adaptive factors in High
            volatility; 0 to 3, default 1.2, 0.9, 0.8, 1.0, 1.1, 0.9.
        asian_factor: Adaptive factor of every layer in the Asian session; 0 to 3, default 0.8.
        squeeze_bars: Period of the Keltner channel, its EMA and its ATR, on M15; 2 to 100, default 20.
        squeeze_atr: Half-width of the Keltner channel; 0.1 to 10 ATR, default 1.5.
        extension_bars: The stretch from the slower EMA is ranked in so many last M15 bars; 20 to 2,000, default 1,000.
        extension_bars_min: Below so many there is no percentile; 2 to 2,000, default 300.
        extension_percentile: The percentile of the stretch that exits read; 1 to 99 percent, default 90.
        confluence_share: From this share on the layers are one-sided; 0.5 to 1, default 0.70.
        confluence_min: Below this weighted sum of both sides they say nothing; 0 to 10 points, default 1.
    """

    structure_weight: float = 3.0
    vwap_weight: float = 2.0
    momentum_weight: float = 2.0
    ema_weight: float = 1.5
    delta_weight: float = 1.0
    candle_weight: float = 1.0
    available_share: float = 0.6
    structure_bars: int = 20
    structure_break: float = 0.0003
    structure_character_atr: float = 0.25
    structure_fade_bars: int = 8
    structure_with: float = 1.0
    structure_against: float = -2 / 3
    structure_character: float = -1.0
    vwap_bars_min: int = 6
    vwap_impulse_bars: int = 3
    vwap_release: float = 0.7
    vwap_flip_against: float = -2 / 3
    vwap_flip_with: float = 1 / 3
    vwap_share_bars: int = 12
    vwap_share_high: float = 0.65
    vwap_share_high_low_volatility: float = 0.72
    vwap_share_mid: float = 0.55
    vwap_share_low: float = 0.35
    vwap_share_high_raw: float = -1 / 3
    vwap_share_mid_raw: float = -1 / 6
    vwap_share_low_raw: float = 1 / 3
    rsi_bars: int = 14
    rsi_lag: int = 2
    rsi_weak: float = 45.0
    rsi_weak_low_volatility: float = 40.0
    rsi_stretched: float = 70.0
    rsi_support: float = 50.0
    rsi_weak_raw: float = -2 / 3
    rsi_stretched_raw: float = -1 / 3
    rsi_support_raw: float = 1 / 3
    macd_fast: int = 12
    macd_slow: int = 26
    macd_signal: int = 9
    macd_bars: int = 3
    macd_raw: float = 1 / 3
    ema_fast: int = 50
    ema_slow: int = 200
    ema_slope_bars: int = 10
    ema_fast_flat_atr: float = 0.15
    ema_slow_flat_atr: float = 0.05
    ema_both_with: float = 2 / 3
    ema_fast_against: float = -2 / 3
    ema_both_against: float = -1.0
    ema_h1_bars: int = 50
    delta_bars: int = 120
    delta_bars_min: int = 30
    delta_z: float = 0.5
    delta_against: float = -1.0
    delta_with: float = 1.0
    candle_body: float = 0.65
    candle_range_atr: float = 0.8
    candle_against_vwap: float = -1.0
    candle_against: float = -0.5
    candle_with: float = 0.25
    candle_with_vwap: float = 0.5
    range_structure: float = 0.7
    range_vwap: float = 1.3
    range_momentum: float = 1.0
    range_ema: float = 0.8
    range_delta: float = 1.2
    range_candle: float = 1.1
    high_structure: float = 1.2
    high_vwap: float = 0.9
    high_momentum: float = 0.8
    high_ema: float = 1.0
    high_delta: float = 1.1
    high_candle: float = 0.9
    asian_factor: float = 0.8
    squeeze_bars: int = 20
    squeeze_atr: float = 1.5
    extension_bars: int = 1_000
    extension_bars_min: int = 300
    extension_percentile: float = 90.0
    confluence_share: float = 0.70
    confluence_min: float = 1.0

    def __post_init__(self) -> None:
        for name in _AGAINST:
            checks.number(f"score.{name}", getattr(self, name), -1.0, 0.0)
        for name in _WITH:
            checks.number(f"score.{name}", getattr(self, name), 0.0, 1.0)
        for name, low, high, unit in _RANGES:
            checks.number(f"score.{name}", getattr(self, name), low, high, unit)
        for name, least, most in _BARS:
            whole(f"score.{name}", getattr(self, name), least, most)
        for layer in Layer:
            checks.number(f"score.{layer.value}_weight", self.weight(layer), 0.0, 10.0)
            checks.number(f"score.range_{layer.value}", self.range_factor(layer), 0.0, 3.0)
            checks.number(f"score.high_{layer.value}", self.high_factor(layer), 0.0, 3.0)
        self._check_order()
        self._check_single_layer()

    def weight(self, layer: Layer) -> float:
        """Return the weight of a layer."""
        return float(getattr(self, f"{layer.value}_weight"))

    def range_factor(self, layer: Layer) -> float:
        """Return the adaptive factor of a layer in a Range."""
        return float(getattr(self, f"range_{layer.value}"))

    def high_factor(self, layer: Layer) -> float:
        """Return the adaptive factor of a layer in High volatility."""
        return float(getattr(self, f"high_{layer.value}"))

    def lowest_raw(self, layer: Layer) -> float:
        """Return the lowest raw value that the layer's rules can give."""
        lowest = {
            Layer.STRUCTURE: min(self.structure_against, self.structure_character),
            Layer.VWAP: self.vwap_flip_against + min(self.vwap_share_high_raw, self.vwap_share_mid_raw),
            Layer.MOMENTUM: min(self.rsi_weak_raw, self.rsi_stretched_raw) - self.macd_raw,
            Layer.EMA: min(self.ema_fast_against, self.ema_both_against),
            Layer.DELTA: self.delta_against,
            Layer.CANDLE: min(self.candle_against, self.candle_against_vwap),
        }
        return lowest[layer]

    def highest_raw(self, layer: Layer) -> float:
        """Return the highest raw value that the layer's rules can give."""
        highest = {
            Layer.STRUCTURE: self.structure_with,
            Layer.VWAP: self.vwap_flip_with + self.vwap_share_low_raw,
            Layer.MOMENTUM: self.rsi_support_raw + self.macd_raw,
            Layer.EMA: self.ema_both_with,
            Layer.DELTA: self.delta_with,
            Layer.CANDLE: max(self.candle_with, self.candle_with_vwap),
        }
        return highest[layer]

    def adaptive(self, layer: Layer, *, ranging: bool, high: bool, asian: bool) -> float:
        """Return the product of the adaptive factors that apply to a layer."""
        factor = self.range_factor(layer) if ranging else 1.0
        factor *= self.high_factor(layer) if high else 1.0
        return factor * (self.asian_factor if asian else 1.0)

    def reach(self, available: Iterable[Layer], *, ranging: bool, high: bool, asian: bool) -> tuple[float, float]:
        """Return the lowest and the highest score that the available layers can give together in a regime.

        A threshold outside is one that nothing can reach there.
        """
        factors = {
            layer: self.weight(layer) * self.adaptive(layer, ranging=ranging, high=high, asian=asian)
            for layer in available
        }
        lowest = sum(self.lowest_raw(layer) * factor for layer, factor in factors.items())
        return lowest, sum(self.highest_raw(layer) * factor for layer, factor in factors.items())

    def _check_order(self) -> None:
        shares = (self.vwap_share_low, self.vwap_share_mid, self.vwap_share_high)
        checks.ascending("score.vwap_share_low, vwap_share_mid, vwap_share_high", *shares)
        checks.ascending(
            "score.vwap_share_mid, vwap_share_high_low_volatility",
            self.vwap_share_mid,
            self.vwap_share_high_low_volatility,
        )
        checks.ascending(
            "score.rsi_weak, rsi_support, rsi_stretched", self.rsi_weak, self.rsi_support, self.rsi_stretched
        )
        checks.ascending("score.macd_fast, macd_slow", self.macd_fast, self.macd_slow)
        checks.ascending("score.ema_fast, ema_slow", self.ema_fast, self.ema_slow)
        for name in ("delta_bars", "extension_bars"):
            least, most = getattr(self, f"{name}_min"), getattr(self, name)
            if least > most:
                msg = f"policy score.{name}_min is {least}, more than score.{name} {most}; it would never be met: lower it"
                raise SettingsError(msg)
        if sum(self.weight(layer) for layer in Layer) <= 0:
            msg = "policy score: every weight is 0, so there is no score; give at least one layer a weight"
            raise SettingsError(msg)

    def _check_single_layer(self) -> None:
        for layer in Layer:
            lowest = self.lowest_raw(layer)
            if not (lowest >= -1.0 - 1e-9 and self.highest_raw(layer) <= 1.0 + 1e-9):
                msg = (
                    f"policy score: the raw values of layer {layer.value} add up to [{lowest:g}, "
                    f"{self.highest_raw(layer):g}]; lower them until they stay in [-1, +1]"
                )
                raise SettingsError(msg)
            worst = max(
                self.adaptive(layer, ranging=ranging, high=high, asian=asian)
                for ranging, high, asian in product((False, True), repeat=3)
            )
            if lowest * self.weight(layer) * worst <= -_SINGLE_LAYER_LIMIT:
                msg = (
                    f"policy score: layer {layer.value} alone reaches {lowest * self.weight(layer) * worst:g} points "
                    f"(weight {self.weight(layer):g} x factor {worst:g}); no layer may reach -{_SINGLE_LAYER_LIMIT:g} alone: "
                    "lower its weight or its factors"
                )
                raise SettingsError(msg)


_AGAINST = (
    "structure_against",
    "structure_character",
    "vwap_flip_against",
    "vwap_share_high_raw",
    "vwap_share_mid_raw",
    "rsi_weak_raw",
    "rsi_stretched_raw",
    "ema_fast_against",
    "ema_both_against",
    "delta_against",
    "candle_against_vwap",
    "candle_against",
)
_WITH = (
    "structure_with",
    "vwap_flip_with",
    "vwap_share_low_raw",
    "rsi_support_raw",
    "macd_raw",
    "ema_both_with",
    "delta_with",
    "candle_with",
    "candle_with_vwap",
)
_RANGES = (
    ("available_share", 0.0, 1.0, "of the total weight"),
    ("structure_break", 0.0, 0.01, "of the close"),
    ("structure_character_atr", 0.01, 5.0, "ATR"),
    ("vwap_release", 0.0, 1.0, "of the threshold"),
    ("vwap_share_high", 0.0, 1.0, "of the volume"),
    ("vwap_share_high_low_volatility", 0.0, 1.0, "of the volume"),
    ("vwap_share_mid", 0.0, 1.0, "of the volume"),
    ("vwap_share_low", 0.0, 1.0, "of the volume"),
    ("rsi_weak", 0.0, 100.0, ""),
    ("rsi_weak_low_volatility", 0.0, 100.0, ""),
    ("rsi_stretched", 0.0, 100.0, ""),
    ("rsi_support", 0.0, 100.0, ""),
    ("ema_fast_flat_atr", 0.0, 5.0, "ATR"),
    ("ema_slow_flat_atr", 0.0, 5.0, "ATR"),
    ("delta_z", 0.0, 10.0, "standard deviations"),
    ("candle_body", 0.0, 1.0, "of the range"),
    ("candle_range_atr", 0.0, 10.0, "ATR"),
    ("asian_factor", 0.0, 3.0, ""),
    ("squeeze_atr", 0.1, 10.0, "ATR"),
    ("extension_percentile", 1.0, 99.0, "percent"),
    ("confluence_share", 0.5, 1.0, ""),
    ("confluence_min", 0.0, 10.0, "points"),
)
_BARS = (
    ("structure_bars", 8, 60),
    ("structure_fade_bars", 1, 31),
    ("vwap_bars_min", 0, 60),
    ("vwap_impulse_bars", 1, 7),
    ("vwap_share_bars", 1, 60),
    ("rsi_bars", 2, 100),
    ("rsi_lag", 1, 7),
    ("macd_fast", 2, 99),
    ("macd_slow", 3, 200),
    ("macd_signal", 2, 100),
    ("macd_bars", 2, 8),
    ("ema_fast", 2, 400),
    ("ema_slow", 3, 400),
    ("ema_slope_bars", 1, 60),
    ("ema_h1_bars", 2, 400),
    ("delta_bars", 2, 500),
    ("delta_bars_min", 2, 500),
    ("squeeze_bars", 2, 100),
    ("extension_bars", 20, 2_000),
    ("extension_bars_min", 2, 2_000),
)
