"""Market data for the score's tests: the six recorded M1 tapes, and random ones in every shape that the rules know."""

from __future__ import annotations

import csv
import gzip
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar
from dtms.domain.units import Millis, from_utc

MINUTE = 60_000
RECORDED = {
    "fxcm GBPUSD": ("fxcm_GBPUSD_M1_bid_201202.csv.gz", "GBPUSD", AssetClass.FX),
    "fxcm USDJPY": ("fxcm_USDJPY_M1_bid_201302.csv.gz", "USDJPY", AssetClass.FX),
    "mt5 XAUUSD": ("mt5_XAUUSD_M1_20250515_20250604.csv.gz", "XAUUSD", AssetClass.METAL),
    "mt5 BTCUSD": ("mt5_BTCUSD_M1_20250521_20250604.csv.gz", "BTCUSD", AssetClass.CRYPTO),
    "oanda EURUSD": ("oanda_EURUSD_M1_quote_20140501_20140515.csv.gz", "EURUSD", AssetClass.FX),
    "oanda XAUUSD": ("oanda_XAUUSD_M1_quote_20140501_20140515.csv.gz", "XAUUSD", AssetClass.METAL),
}
_SERVER = timezone(timedelta(hours=3))
MONDAY = Millis(1_700_438_400_000)
"""2023-11-20T00:00Z, a Monday."""


def recorded_bars(folder: Path, name: str) -> tuple[Bar, ...]:
    with gzip.open(folder / "bars_m1" / RECORDED[name][0], "rt") as file:
        rows = list(csv.reader(file))
    source = name.split(maxsplit=1)[0]
    return tuple(_bar(source, row) for row in rows[1:])


def _bar(source: str, row: list[str]) -> Bar:
    if source == "fxcm":
        start, prices, volume = datetime.fromisoformat(row[0]), row[1:5], None
    elif source == "mt5":
        start, prices, volume = datetime.fromisoformat(row[0]).replace(tzinfo=_SERVER), row[1:5], float(row[5])
    else:
        day = datetime.strptime(row[0], "%Y%m%d").replace(tzinfo=UTC)
        start, prices, volume = day + timedelta(milliseconds=int(row[1])), row[2:6], None
    opened, high, low, close = map(float, prices)
    return Bar(start=from_utc(start), open=opened, high=high, low=low, close=close, volume=volume)


def random_bars(
    seed: int, minutes: int, asset: AssetClass, *, volumes: bool, sides: bool, start: Millis = MONDAY
) -> tuple[Bar, ...]:
    """Return a random walk whose speed and direction change every hour or so, with gaps, flat and silent stretches."""
    rng = random.Random(seed)
    hours = MarketHours(asset)
    price, drift, speed = 2000.0, 0.0, 0.3
    bars = []
    for minute in range(minutes):
        at = Millis(start + minute * MINUTE)
        if minute % 60 == 0:
            drift = rng.choice((0.0, 0.0, 0.15, -0.15, 0.5, -0.5))
            speed = rng.choice((0.02, 0.3, 0.3, 1.0))
        if not hours.is_open(at) or rng.random() < 0.02:
            continue
        opened = price + (rng.gauss(0, 5) if rng.random() < 0.002 else 0.0)
        close = opened + speed * (drift + rng.gauss(0, 1))
        high = max(opened, close) + abs(rng.gauss(0, 0.4 * speed))
        low = min(opened, close) - abs(rng.gauss(0, 0.4 * speed))
        bought, sold = (float(int(20 * rng.random() * (1.5 + w * drift))) for w in (1, -1))
        bar = Bar(start=at, open=opened, high=high, low=low, close=close)
        if volumes:
            bar = replace(bar, volume=bought + sold)
        if sides:
            bar = replace(bar, buy_volume=bought, sell_volume=sold)
        bars.append(bar)
        price = close
    return tuple(bars)


def mirrored(bars: tuple[Bar, ...], centre: float) -> tuple[Bar, ...]:
    """Reflect prices about `centre` and swap buyers and sellers."""
    return tuple(
        Bar(
            start=b.start,
            open=2 * centre - b.open,
            high=2 * centre - b.low,
            low=2 * centre - b.high,
            close=2 * centre - b.close,
            volume=b.volume,
            buy_volume=b.sell_volume,
            sell_volume=b.buy_volume,
        )
        for b in bars
    )
