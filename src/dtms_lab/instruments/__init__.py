"""Instruments as data: the shipped catalogue, files of one's own, and what is derived for a symbol that neither has."""

from __future__ import annotations

from dtms_lab.instruments.book import FILE_NAME, SHIPPED, USD_RATES, InstrumentBook, files_of, open_book
from dtms_lab.instruments.derive import class_of, derived, said
from dtms_lab.instruments.spec import SymbolSpec

__all__ = [
    "FILE_NAME",
    "SHIPPED",
    "USD_RATES",
    "InstrumentBook",
    "SymbolSpec",
    "class_of",
    "derived",
    "files_of",
    "open_book",
    "said",
]
