"""The numbers of the regime (behaviour.md section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.policy import checks
from dtms.domain.score import Session, Structure, Volatility
from dtms.domain.symbols import canonical
from dtms.errors import SettingsError

_DEFAULT_BASES = (
    ("XAUUSD", 0.001),
    ("BTCUSD", 0.002),
    ("BTCUSDT", 0.002),
    ("EURUSD", 0.0005),
    ("GBPUSD", 0.0005),
    ("USDJPY", 0.0007),
    ("GBPJPY", 0.0007),
    ("EURJPY", 0.0007),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimePolicy:
    """What the regime of a symbol is, and how far its impulse threshold adapts.

    Bars are M15 bars. The effective impulse threshold is base x session x volatility x structure factor, clamped to
    [`clamp_low`, `clamp_high`] x base.

    Attributes:
        base_by_symbol: Impulse threshold by canonical symbol, as a fraction of price, each 0.00001 to 0.1.
        base_other: The same for symbols that are not listed; 0.00001 to 0.1, default 0.001.
        clamp_low: Lower clamp, a multiple of the base; 0.1 to 1, default 0.5.
        clamp_high: Upper clamp, a multiple of the base; 1 to 10, default 1.8.
        session_asian: Threshold factor from 00 to 08 UTC; 0.1 to 10, default 1.5.
        session_london: From 08 to 13; 0.1 to 10, default 1.0.
        session_overlap: From 13 to 16; 0.1 to 10, default 0.7.
        session_new_york: From 16 to 21; 0.1 to 10, default 0.8.
        session_late: From 21 to 24; 0.1 to 10, default 1.5.
        session_weekend: While the market is closed, crypto on Saturday and Sunday; 0.1 to 10, default 1.5.
        volatility_low: Threshold factor of a Low regime; 0.1 to 10, default 1.4.
        volatility_normal: Of a Normal one; 0.1 to 10, default 1.0.
        volatility_high: Of a High one; 0.1 to 10, default 0.8.
        structure_range: Threshold factor in a Range; 0.1 to 10, default 1.3.
        structure_trend: In a Trend; 0.1 to 10, default 1.0.
        atr_bars: Period of Wilder's ATR, on M15 and on M5; 2 to 100 bars, default 14.
        atr_mean_bars: So many previous ATR values make the mean that volatility is measured by; 2 to 100, default 20.
        low_ratio: ATR below this multiple of its mean is Low; 0.05 to 1, default 0.7.
        high_ratio: ATR above this multiple of its mean is High; 1 to 10, default 1.3.
        bollinger_bars: Bars of the Bollinger bands; 2 to 60, default 20.
        bollinger_deviations: Half-width of the bands in standard deviations; 0.5 to 5, default 2.
        width_bars: So many of the symbol's own last band widths are ranked; 20 to 2,000, default 500.
        width_bars_min: Below so many widths the fixed share of price decides; 2 to 2,000, default 100.
        width_percentile: A width below this percentile is a Range; 1 to 99 percent, default 30.
        width_fraction: The fixed share, a fraction of the evaluated close; 0.0001 to 0.1, default 0.004.
    """

    base_by_symbol: tuple[tuple[str, float], ...] = _DEFAULT_BASES
    base_other: float = 0.001
    clamp_low: float = 0.5
    clamp_high: float = 1.8
    session_asian: float = 1.5
    session_london: float = 1.0
    session_overlap: float = 0.7
    session_new_york: float = 0.8
    session_late: float = 1.5
    session_weekend: float = 1.5
    volatility_low: float = 1.4
    volatility_normal: float = 1.0
    volatility_high: float = 0.8
    structure_range: float = 1.3
    structure_trend: float = 1.0
    atr_bars: int = 14
    atr_mean_bars: int = 20
    low_ratio: float = 0.7
    high_ratio: float = 1.3
    bollinger_bars: int = 20
    bollinger_deviations: float = 2.0
    width_bars: int = 500
    width_bars_min: int = 100
    width_percentile: float = 30.0
    width_fraction: float = 0.004

    def __post_init__(self) -> None:
        for symbol, base in self.base_by_symbol:
            checks.number(f"regime.base_by_symbol.{symbol}", base, 1e-5, 0.1, "of price")
            if canonical(symbol) != symbol:
                msg = f"policy regime.base_by_symbol.{symbol} would never be used; write {canonical(symbol)}"
                raise SettingsError(msg)
        checks.number("regime.base_other", self.base_other, 1e-5, 0.1, "of price")
        checks.number("regime.clamp_low", self.clamp_low, 0.1, 1.0, "x base")
        checks.number("regime.clamp_high", self.clamp_high, 1.0, 10.0, "x base")
        for session in Session:
            checks.number(f"regime.session_{session.value}", self.session_factor(session), 0.1, 10.0)
        for volatility in Volatility:
            checks.number(f"regime.volatility_{volatility.value}", self.volatility_factor(volatility), 0.1, 10.0)
        for structure in Structure:
            checks.number(f"regime.structure_{structure.value}", self.structure_factor(structure), 0.1, 10.0)
        whole("regime.atr_bars", self.atr_bars, 2, 100)
        whole("regime.atr_mean_bars", self.atr_mean_bars, 2, 100)
        checks.number("regime.low_ratio", self.low_ratio, 0.05, 1.0, "x mean ATR")
        checks.number("regime.high_ratio", self.high_ratio, 1.0, 10.0, "x mean ATR")
        whole("regime.bollinger_bars", self.bollinger_bars, 2, 60)
        checks.number("regime.bollinger_deviations", self.bollinger_deviations, 0.5, 5.0, "standard deviations")
        whole("regime.width_bars", self.width_bars, 20, 2_000)
        whole("regime.width_bars_min", self.width_bars_min, 2, 2_000)
        checks.number("regime.width_percentile", self.width_percentile, 1.0, 99.0, "percent")
        checks.number("regime.width_fraction", self.width_fraction, 1e-4, 0.1, "of the close")
        if self.width_bars_min > self.width_bars:
            msg = (
                f"policy regime.width_bars_min is {self.width_bars_min}, more than regime.width_bars "
                f"{self.width_bars}; the percentile would never be used: lower it"
            )
            raise SettingsError(msg)

    def base(self, symbol: str) -> float | None:
        """Return the calibrated base threshold of a canonical symbol, None where the symbol is not listed."""
        return dict(self.base_by_symbol).get(symbol)

    def session_factor(self, session: Session) -> float:
        """Return the threshold factor of a session."""
        return float(getattr(self, f"session_{session.value}"))

    def volatility_factor(self, volatility: Volatility) -> float:
        """Return the threshold factor of a volatility."""
        return float(getattr(self, f"volatility_{volatility.value}"))

    def structure_factor(self, structure: Structure) -> float:
        """Return the threshold factor of a structure."""
        return float(getattr(self, f"structure_{structure.value}"))


def whole(name: str, value: float, least: int, most: int) -> None:
    """Refuse anything but a whole number of bars between `least` and `most`.

    Raises:
        SettingsError: Names the field, the value and the range; set it inside the range.
    """
    if not isinstance(value, int):
        msg = f"policy {name} is {value!r}; set it to a whole number between {least} and {most}"
        raise SettingsError(msg)
    checks.number(name, value, least, most, "bars")
