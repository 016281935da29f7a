"""What is assumed inside a bar that is longer than a minute: M1 bars along one fixed path that the bar's four prices tell.

The path goes from the open to the extreme against the open trades, to the other extreme, to the close, as in a minute
(`path`), a third of the bar for each leg. So a bar that holds both a stop and a target ends at the stop. The M1 bars together
have the bar's own prices: whatever is as long as the bar or longer is as it was recorded.
"""

from __future__ import annotations

from dtms.domain.market import Bar
from dtms.domain.units import MINUTE, Millis

_LEGS = 3


def minutes_of(bar: Bar, count: int, *, low: bool, digits: int) -> list[Bar]:
    """Return the `count` M1 bars inside a bar; `low` says that its low comes before its high.

    Prices between the bar's own have `digits` decimals. A volume is spread evenly.
    """
    first, second = (bar.low, bar.high) if low else (bar.high, bar.low)
    corners = (bar.open, first, second, bar.close)
    ends = tuple(round(count * leg / _LEGS) for leg in range(_LEGS + 1))
    points = [bar.open]
    for leg in range(_LEGS):
        steps = ends[leg + 1] - ends[leg]
        a, b = corners[leg], corners[leg + 1]
        points += [_between(a, b, step / steps, digits) for step in range(1, steps)] + [b] * (steps > 0)
    return [
        Bar(
            start=Millis(bar.start + i * MINUTE),
            open=points[i],
            high=max(points[i], points[i + 1]),
            low=min(points[i], points[i + 1]),
            close=points[i + 1],
            volume=_share(bar.volume, count),
            buy_volume=_share(bar.buy_volume, count),
            sell_volume=_share(bar.sell_volume, count),
        )
        for i in range(count)
    ]


def _between(a: float, b: float, share: float, digits: int) -> float:
    return min(max(round(a + (b - a) * share, digits), min(a, b)), max(a, b))


def _share(volume: float | None, count: int) -> float | None:
    return None if volume is None else volume / count
