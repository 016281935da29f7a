"""Typical spreads, in price units: what the spread rail uses before it has seen enough quotes.

The simulated broker quotes with the same numbers where a tape has no ask.

Source:
    Typical retail accounts: XAUUSD 15 to 35 cents, majors 1 to 1.5 pips, crosses 1.5 to 2.5 pips. Every one is
    configurable per symbol (`spread_typical`).
"""

from __future__ import annotations

SPREAD_TYPICAL: dict[str, float] = {
    "XAUUSD": 0.25,
    "EURUSD": 0.00010,
    "GBPUSD": 0.00014,
    "USDJPY": 0.012,
    "EURJPY": 0.016,
    "GBPJPY": 0.022,
    "BTCUSD": 15.0,
    "BTCUSDT": 1.0,
    "ETHUSD": 1.5,
    "US30": 2.0,
}
