"""Which specification a symbol has: of a file of one's own, else the shipped one, else one derived by its class."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from dtms.domain.symbols import canonical
from dtms.errors import SettingsError
from dtms_lab.instruments.derive import CLASSES, class_of, derived, path_of
from dtms_lab.instruments.spec import SymbolSpec

FILE_NAME: Final = "instruments.toml"
"""A file of this name in the data folder is read without being asked for."""

_TABLES: Final = frozenset({"instrument", "usd_rates"})
_POSITIVE: Final = frozenset(
    {"tick_size", "contract_size", "volume_min", "volume_max", "volume_step", "spread_typical"}
)
_NOT_NEGATIVE: Final = frozenset({"commission_per_lot", "commission_per_million", "margin_hedged", "volume_limit"})
_SIGNED: Final = frozenset({"swap_long", "swap_short"})
_COUNTS: Final = {"digits": 12, "stops_level": 1_000_000, "freeze_level": 1_000_000}
_TEXTS: Final = frozenset({"description", "currency_base", "currency_profit", "currency_margin"})
_FLAGS: Final = frozenset({"swap_every_day"})
_NUMBERS: Final = _POSITIVE | _NOT_NEGATIVE | _SIGNED
KEYS: Final = _NUMBERS | set(_COUNTS) | _TEXTS | _FLAGS | {"class"}
"""Every key that an instrument's table may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentBook:
    """Specifications by name (our spelling) and US dollars for one unit of a currency."""

    specs: Mapping[str, SymbolSpec]
    usd_rates: Mapping[str, float]

    def spec(self, symbol: str, price: float) -> tuple[SymbolSpec, bool]:
        """Return the specification of a symbol that stands at about `price`, and whether it had to be derived."""
        found = self.specs.get(symbol)
        return (derived(symbol, price), True) if found is None else (found, False)

    def covering(self, symbol: str, price: float) -> InstrumentBook:
        """Return the book with a specification of this symbol in it, derived where nobody gave one."""
        spec, _ = self.spec(symbol, price)
        return replace(self, specs={**self.specs, symbol: spec})


def files_of(folder: Path, given: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Return the instrument files that count: the data folder's `instruments.toml` where there is one, then those given."""
    own = folder / FILE_NAME
    return (*([own.absolute()] if own.is_file() else []), *(path.absolute() for path in given))


def open_book(files: Sequence[Path] = ()) -> InstrumentBook:
    """Return the shipped book with what files say; a later one wins.

    Raises:
        SettingsError: A file cannot be read, or a table, key or value in it is none; the sentence names it.
    """
    specs, rates = dict(SHIPPED), dict(USD_RATES)
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"instrument file {path} cannot be read ({error}); check the path"
            raise SettingsError(msg) from error
        more, also = parse(text, str(path))
        specs |= more
        rates |= also
    return InstrumentBook(specs=specs, usd_rates=rates)


def parse(text: str, name: str) -> tuple[dict[str, SymbolSpec], dict[str, float]]:
    """Return the specifications and rates of an instrument file's text; `name` is what a sentence calls it.

    Raises:
        SettingsError: It is no TOML, or a table, key or value in it is none.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"instrument file {name} is not TOML: {error}; correct it there"
        raise SettingsError(msg) from error
    unknown = sorted(document.keys() - _TABLES)
    if unknown:
        msg = f"instrument file {name}: {unknown[0]!r} is no table of it; write [instrument.SYMBOL] and [usd_rates]"
        raise SettingsError(msg)
    specs = {}
    for symbol, table in _table(document, "instrument", name).items():
        ours = canonical(symbol)
        specs[ours] = _spec(ours, _table({symbol: table}, symbol, name), f"instrument file {name}: {symbol}")
    rates = {}
    for currency, value in _table(document, "usd_rates", name).items():
        rates[currency] = _number(f"instrument file {name}: usd_rates.{currency}", value, least=0.0, open_below=True)
    return specs, rates


def _table(document: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        msg = f"instrument file {name}: {key} is {found!r}, no table; write [instrument.SYMBOL] with a key a line"
        raise SettingsError(msg)
    return found


def _spec(symbol: str, table: Mapping[str, Any], where: str) -> SymbolSpec:
    unknown = sorted(table.keys() - KEYS)
    if unknown:
        msg = f"{where}.{unknown[0]} is no key; known are {', '.join(sorted(KEYS))}"
        raise SettingsError(msg)
    kind = table.get("class", class_of(symbol))
    if kind not in CLASSES:
        msg = f"{where}.class is {kind!r}; it is one of {', '.join(CLASSES)}"
        raise SettingsError(msg)
    given = {key: _value(f"{where}.{key}", key, value) for key, value in table.items() if key != "class"}
    if "digits" not in given or "spread_typical" not in given:
        msg = f"{where} says no {'digits' if 'digits' not in given else 'spread_typical'}; a price's digits and the usual spread (in price units) are needed"
        raise SettingsError(msg)
    base = derived(symbol, 1.0, kind)
    changes: dict[str, Any] = {
        "description": symbol,
        "path": path_of(symbol, kind),
        "tick_size": float(f"1e-{given['digits']}"),
        "stops_level": 0,
        "commission_per_lot": 0.0,
        "volume_min": 0.01 if kind == "crypto" else base.volume_min,
        "volume_step": 0.01 if kind == "crypto" else base.volume_step,
        **given,
    }
    changes.setdefault("margin_hedged", float(changes.get("contract_size", base.contract_size)) / 2)
    names = {each.name for each in fields(SymbolSpec)}
    spec = replace(base, **{key: value for key, value in changes.items() if key in names})
    if spec.volume_min > spec.volume_max or spec.tick_size < spec.point * 0.999:
        msg = f"{where}: volume_min {spec.volume_min:g} is above volume_max {spec.volume_max:g}, or tick_size {spec.tick_size:g} finer than {spec.digits} digits; correct them"
        raise SettingsError(msg)
    return spec


def _value(where: str, key: str, value: object) -> object:
    if key in _TEXTS:
        if isinstance(value, str) and value.strip():
            return value
        msg = f"{where} is {value!r}; write a text in quotes"
        raise SettingsError(msg)
    if key in _FLAGS:
        if isinstance(value, bool):
            return value
        msg = f"{where} is {value!r}; write true or false"
        raise SettingsError(msg)
    if key in _COUNTS:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _COUNTS[key]:
            return value
        msg = f"{where} is {value!r}; write a whole number from 0 to {_COUNTS[key]}"
        raise SettingsError(msg)
    least = -math.inf if key in _SIGNED else 0.0
    return _number(where, value, least=least, open_below=key in _POSITIVE)


def _number(where: str, value: object, *, least: float, open_below: bool) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        number = float(value)
        if number > least or (number >= least and not open_below):
            return number
    msg = f"{where} is {value!r}; write a finite number {'above' if open_below else 'of at least'} {least:g}"
    raise SettingsError(msg)


_TEXT: Final = resources.files(__package__).joinpath("shipped.toml").read_text(encoding="utf-8")
SHIPPED, USD_RATES = parse(_TEXT, "shipped.toml")
