"""A broker's instruments as the text of an instrument file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtms.domain.instrument import Instrument
from dtms_lab.instruments.derive import CLASSES, class_of

_HEAD = """\
# Specifications as the broker told them. Units: tick_size and spread_typical in price units, levels in points, volumes in lots.
# A broker's terminal tells neither commission (a lot and side, in account currency) nor what swaps are in money: write
# commission_per_lot, swap_long and swap_short where they matter. spread_typical is the spread at the moment of this export.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a broker tells of one instrument: its specification, and the spread of its last quote in price units."""

    instrument: Instrument
    spread: float


def text_of(told: Sequence[Told]) -> str:
    """Return an instrument file that `open_book` reads back with these instruments."""
    return "\n".join((_HEAD, *(_table(each) for each in told)))


def _table(told: Told) -> str:
    found = told.instrument
    values: list[tuple[str, object]] = [
        ("class", _kind(found)),
        ("digits", found.digits),
        ("tick_size", found.tick_size),
        ("contract_size", found.contract_size),
        ("volume_min", found.volume_min),
        ("volume_max", found.volume_max),
        ("volume_step", found.volume_step),
        ("volume_limit", found.volume_limit or 0.0),
        ("stops_level", round(found.stops_level / found.point)),
        ("freeze_level", round(found.freeze_level / found.point)),
        ("spread_typical", max(round(told.spread, found.digits), found.tick_size)),
    ]
    if found.currency_base:
        values.append(("currency_base", found.currency_base))
    if found.currency_profit:
        values.append(("currency_profit", found.currency_profit))
    lines = [f"{key} = {_quoted(value) if isinstance(value, str) else repr(value)}" for key, value in values]
    return "\n".join((f"[instrument.{_quoted(found.symbol)}]", *lines, ""))


def _kind(found: Instrument) -> str:
    """Return the class by name where the name tells it, else what the broker says of its hours."""
    named = class_of(found.canonical)
    if CLASSES[named] is found.asset:
        return named
    return next((kind for kind, asset in CLASSES.items() if asset is found.asset), "share")


def _quoted(text: str) -> str:
    """Return a TOML basic string."""
    escaped = "".join(
        f"\\u{ord(each):04x}" if ord(each) < 32 or ord(each) == 127 else each  # noqa: PLR2004 - control characters
        for each in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'
