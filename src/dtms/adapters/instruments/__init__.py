"""Instruments as data: the shipped catalogue, files of one's own, and what is derived for a symbol that neither has."""

from __future__ import annotations

from dtms.adapters.instruments.book import SHIPPED, USD_RATES, InstrumentBook, open_book
from dtms.adapters.instruments.derive import derived
from dtms.adapters.instruments.spec import SymbolSpec

__all__ = ["SHIPPED", "USD_RATES", "InstrumentBook", "SymbolSpec", "derived", "open_book"]
