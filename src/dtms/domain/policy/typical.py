"""Typical spreads, in price units: what the spread rail uses before it has seen enough quotes.

Source:
    Median ask minus bid of the recorded tapes where they have both (OANDA EURUSD and XAUUSD 2014, FXCM GBPUSD 2012 and
    USDJPY 2013); the others are common retail spreads. Every one is configurable per symbol (`spread_typical`).
"""

from __future__ import annotations

SPREAD_TYPICAL: dict[str, float] = {
    "EURUSD": 0.00012,
    "GBPUSD": 0.00018,
    "USDJPY": 0.015,
    "GBPJPY": 0.030,
    "EURJPY": 0.020,
    "XAUUSD": 0.30,
    "BTCUSD": 15.0,
    "BTCUSDT": 1.0,
    "ETHUSD": 1.5,
}
