"""When a tape's rows were: from their own clock to UTC, with a remark wherever the clock was not beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dtms.domain.instrument import AssetClass
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms_lab.tapes._clock import Times
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._formats import OWN
from dtms_lab.tapes._layout import Layout
from dtms_lab.tapes._remarks import Remarks
from dtms_lab.tapes._rows import Rows
from dtms_lab.tapes._zones import Zone, contradiction, infer_zone, wall_clock, zone_named

_UTC: Final = "UTC"
_ODD: Final = 0.01
"""Share of rows whose second time differs from the usual difference: changes of summer time are fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocked:
    """What is needed to put one file's rows in time."""

    path: Path
    asset: AssetClass
    tz: str | None
    remarks: Remarks


def to_utc(clocked: Clocked, rows: Rows, layout: Layout) -> list[Millis]:
    """Return the rows' instants.

    Raises:
        SettingsError: The zone is unknown, none fits, or a row stands in an hour that it skips.
    """
    _compare_times(clocked, rows)
    zone = _zone(clocked, rows, layout)
    if zone is None:
        return [Millis(at) for at in rows.times]
    fixed = zone.fixed
    if fixed is not None:
        return [Millis(at - fixed) for at in rows.times]
    starts = []
    earliest = 0
    for line, local in zip(rows.lines, rows.times, strict=True):
        at = zone.to_utc(local, earliest)
        if at is None:
            why = f"{wall_clock(local)} does not exist in {zone.name}: the clock is put forward then"
            raise defect(clocked.path, line, why, "name the right zone with --tape-tz")
        starts.append(at)
        # Two quotes may share an instant, two bars may not: that decides which of two equal wall clocks is meant.
        earliest = at if layout.ticks else at + 1
    return starts


def _zone(clocked: Clocked, rows: Rows, layout: Layout) -> Zone | None:
    """Return the zone of the rows' clock; None where they are UTC as they stand."""
    api_dump = layout.form.server_clock and layout.form.name.startswith("MetaTrader's API")
    if rows.aware and rows.epoch and layout.form.server_clock:
        clocked.remarks.note("the epochs count on the broker's clock, as MetaTrader's API stamps them, not in UTC")
        return zone_named(clocked.tz) if clocked.tz is not None else _inferred(clocked, rows, layout)
    if rows.aware:
        return _labelled(clocked, rows, may_lie=api_dump, sure=layout.form is OWN)
    if clocked.tz is not None:
        zone = zone_named(clocked.tz)
    elif rows.zone is not None:
        clocked.remarks.note(f"times are {rows.zone}, as each says")
        zone = zone_named(rows.zone)
    elif layout.zone is not None:
        clocked.remarks.note(
            f"times are {layout.zone}, as {'its header says' if not layout.form.zone else 'this format always is'}"
        )
        zone = zone_named(layout.zone)
    else:
        return _inferred(clocked, rows, layout)
    _doubt_label(clocked, rows, zone)
    return zone


def _labelled(clocked: Clocked, rows: Rows, *, may_lie: bool, sure: bool) -> Zone | None:
    """Judge rows that say where they are from UTC: a zone that a person names is believed where the label is in doubt."""
    utc = zone_named(_UTC)
    doubt = None if sure else contradiction(rows.times, utc, clocked.asset)
    if clocked.tz is not None and (may_lie or doubt is not None):
        clocked.remarks.note(f"the rows say UTC; they are read as {clocked.tz}, as --tape-tz says")
        zone = zone_named(clocked.tz)
        _doubt_label(clocked, rows, zone)
        return zone
    if clocked.tz is not None:
        clocked.remarks.note(f"the rows name their offset from UTC, so the given time zone {clocked.tz} is not used")
    if may_lie:
        clocked.remarks.doubt(
            "zone_label",
            "the rows say UTC, but MetaTrader's API names the broker's clock so; say --tape-tz where they differ",
        )
    elif doubt is not None:
        clocked.remarks.doubt("zone_label", f"the rows say UTC, and {doubt}")
    return None


def _doubt_label(clocked: Clocked, rows: Rows, zone: Zone) -> None:
    doubt = contradiction(rows.times, zone, clocked.asset)
    if doubt is not None:
        clocked.remarks.doubt("zone_label", f"the times are taken for {zone.name}, and {doubt}")


def _inferred(clocked: Clocked, rows: Rows, layout: Layout) -> Zone:
    found = infer_zone(rows.times, clocked.asset, server_clock=layout.form.server_clock)
    if found.zone is None:
        why = f"the rows name no time zone and {found.note}"
        raise defect(clocked.path, None, why, "name the zone with --tape-tz")
    if found.sure:
        clocked.remarks.note(found.note)
    else:
        clocked.remarks.doubt("zone_assumed", found.note)
    return found.zone


def _compare_times(clocked: Clocked, rows: Rows) -> None:
    for name, other in rows.others.items():
        _compare(clocked, rows, name, other)


def _compare(clocked: Clocked, rows: Rows, name: str, other: Times) -> None:
    """Doubt a second time column that is not the first one's time, whatever clock it may be on."""
    steps = [b - a for a, b in zip(rows.times, other.values, strict=True)]
    if all(abs(step) < SECOND for step in steps):
        return
    if all(other.values[i] % (24 * 60 * MINUTE) == 0 for i in range(len(other.values))):
        return  # a date beside a full time
    usual = sorted(steps)[len(steps) // 2]
    odd = sum(abs(step - usual) >= SECOND for step in steps)
    hours = f"{usual / (60 * MINUTE):+g} h"
    how = (
        f"differs by {hours} in every row"
        if odd <= _ODD * len(steps)
        else f"differs, by {hours} in most rows and otherwise in {odd}"
    )
    clocked.remarks.doubt(
        "second_time",
        f"column {name!r} tells the time too and {how} from the one that is read; say which with --columns time=...",
    )
