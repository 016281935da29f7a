"""What is traded, and the only quantiser: prices to the tick grid, volumes to the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from dtms.domain.units import Lots, Price, Side
from dtms.errors import InvalidDataError

_GRID_TOLERANCE = 1e-6
"""Share of one grid step within which a float counts as on the grid: noise of binary fractions, far under a tick."""


class AssetClass(StrEnum):
    """What decides the session day, the market's hours and the weekend."""

    FX = "fx"
    METAL = "metal"
    INDEX = "index"
    CRYPTO = "crypto"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One symbol at one broker.

    All distances are in price units (a broker's points are multiplied out in the adapter). `symbol` is the broker's
    spelling, `canonical` ours. `value_per_unit` is the account-currency result of a price move of 1.0 on 1.0 lot.
    `volume_limit` caps the symbol's exposure, None where there is none.
    """

    symbol: str
    canonical: str
    asset: AssetClass
    digits: int
    point: float
    tick_size: float
    contract_size: float
    value_per_unit: float
    volume_min: float
    volume_max: float
    volume_step: float
    volume_limit: float | None = None
    stops_level: float = 0.0
    freeze_level: float = 0.0
    currency_base: str = ""
    currency_profit: str = ""
    hedge_allowed: bool = True
    opening_allowed: bool = True

    def __post_init__(self) -> None:
        positive = {
            "point": self.point,
            "tick_size": self.tick_size,
            "contract_size": self.contract_size,
            "value_per_unit": self.value_per_unit,
            "volume_min": self.volume_min,
            "volume_max": self.volume_max,
            "volume_step": self.volume_step,
        }
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                msg = f"instrument {self.symbol}: {name} is {value!r}; it must be finite and positive"
                raise InvalidDataError(msg)
        for name, value in (("stops_level", self.stops_level), ("freeze_level", self.freeze_level)):
            if not (math.isfinite(value) and value >= 0):
                msg = f"instrument {self.symbol}: {name} is {value!r}; it must be finite and >= 0"
                raise InvalidDataError(msg)

    @property
    def volume_digits(self) -> int:
        """The digits after the point that the volume's step needs: 2 for 0.01, 0 for 1."""
        exponent = Decimal(repr(self.volume_step)).normalize().as_tuple().exponent
        return max(0, -exponent) if isinstance(exponent, int) else 0

    def shown(self, price: float) -> str:
        """Return a price or a distance of prices with the instrument's digits."""
        return f"{price:.{self.digits}f}"

    def shown_level(self, price: float | None) -> str:
        """Return a stop or target with the instrument's digits, "none" where there is none."""
        return "none" if price is None else self.shown(price)

    def shown_lots(self, volume: float) -> str:
        """Return a volume with the digits of its step."""
        return f"{volume:.{self.volume_digits}f}"

    def nearest(self, price: float) -> Price:
        """Return the grid price nearest to `price`."""
        return Price(_on_grid(price, self.tick_size, self.digits, _nearest))

    def kept(self, price: float) -> Price | None:
        """Return the grid price that `price` is; None where it cannot be kept as it was given.

        That is: off the grid by more than the noise of binary fractions, or under one tick. A level of 0 is none at all to a
        terminal, so what rounds to 0 has lost its meaning, whatever it differs by.
        """
        nearest = self.nearest(price)
        same = abs(nearest - price) <= _GRID_TOLERANCE * self.tick_size
        return nearest if same and nearest > 0 else None

    def at_or_above(self, price: float) -> Price:
        """Return the lowest grid price >= `price`; above 0 for every price above 0."""
        found = _on_grid(price, self.tick_size, self.digits, _up)
        return Price(found if found > 0 or price <= 0 else self.tick_size)

    def at_or_below(self, price: float) -> Price:
        """Return the highest grid price <= `price`."""
        return Price(_on_grid(price, self.tick_size, self.digits, _down))

    def stop(self, side: Side, price: float) -> Price:
        """Return the stop of a position of this side, rounded away from danger: never a larger loss than `price` means.

        It is 0 or less where no stop can be there: under one tick for a SELL, and for whatever was not above 0.
        """
        return self.at_or_above(price) if side is Side.BUY else self.at_or_below(price)

    def same_price(self, a: float | None, b: float | None) -> bool:
        """Say whether two prices are the same tick; two absent prices are the same, one absent is not."""
        if a is None or b is None:
            return a is b
        return abs(a - b) < 0.5 * self.tick_size

    def is_tighter(self, side: Side, stop: float, than: float | None) -> bool:
        """Say whether `stop` risks less than `than` by at least half a tick; any stop is tighter than none."""
        return than is None or side * (stop - than) >= 0.5 * self.tick_size

    def lots_down(self, volume: float) -> Lots:
        """Return the greatest tradable multiple of the step <= `volume`, 0 where that is under the minimum."""
        lots = _on_grid(volume, self.volume_step, 8, _down)
        return Lots(lots) if lots >= self.volume_min - _GRID_TOLERANCE * self.volume_step else Lots(0.0)

    def same_lots(self, a: float, b: float) -> bool:
        """Say whether two volumes are the same step."""
        return abs(a - b) < 0.5 * self.volume_step

    def is_flat(self, volume: float) -> bool:
        """Say whether nothing tradable is left of a volume."""
        return volume < 0.5 * self.volume_step

    def tradable(self, volume: float) -> bool:
        """Say whether a volume is on the step grid and between minimum and maximum."""
        steps = volume / self.volume_step
        slack = _GRID_TOLERANCE * self.volume_step
        return (
            abs(steps - round(steps)) < _GRID_TOLERANCE and self.volume_min - slack <= volume <= self.volume_max + slack
        )

    def money(self, price_move: float, volume: float) -> float:
        """Return the account-currency result of a favourable move of `price_move` price units on `volume` lots."""
        return price_move * volume * self.value_per_unit


def _nearest(steps: float) -> int:
    return math.floor(steps + 0.5)


def _up(steps: float) -> int:
    near = round(steps)
    return near if abs(steps - near) < _noise(steps) else math.ceil(steps)


def _down(steps: float) -> int:
    near = round(steps)
    return near if abs(steps - near) < _noise(steps) else math.floor(steps)


def _noise(steps: float) -> float:
    """Return what a division may be off by: beyond some 1e9 steps the float's own spacing is more than the tolerance."""
    return max(_GRID_TOLERANCE, 4.0 * math.ulp(steps))


def _on_grid(value: float, step: float, digits: int, rounding: Callable[[float], int]) -> float:
    if not math.isfinite(value):
        msg = f"{value!r} is not a finite number and has no place on a grid of {step}"
        raise InvalidDataError(msg)
    count = rounding(value / step)
    return round(float(Decimal(count) * Decimal(repr(step))), digits)
