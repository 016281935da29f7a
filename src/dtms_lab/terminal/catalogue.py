"""The instruments that the simulated broker offers where nobody names others: the shipped ones of `dtms_lab.instruments`.

A test or a drill makes another instrument with `dataclasses.replace`.
"""

from __future__ import annotations

from dtms_lab.instruments import SHIPPED as CATALOGUE
from dtms_lab.instruments import USD_RATES, SymbolSpec

__all__ = ["CATALOGUE", "USD_RATES", "SymbolSpec"]
