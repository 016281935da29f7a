"""From a tape's clock to UTC: the zone is written in the file, given, or inferred from the market's hours.

`server` is the clock of most MetaTrader brokers: New York plus seven hours, so that the day ends at the 17:00 rollover.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.units import HOUR, MINUTE, Millis
from dtms.errors import SettingsError

_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall-clock arithmetic, no instant
_MILLISECOND = timedelta(milliseconds=1)
_SLOT = 15 * MINUTE
"""Every zone has changed its offset at quarter hours only since 1970, and markets open and close at them."""

_TOLERATED = 0.05
"""Share of quarter hours with bars outside the weekly hours: early and late quotes and odd exporters happen."""

_CLEAR = 0.01
"""By how much of the quarter hours the best zone must beat the next; less says the tape is too short to tell. A currency
tape read in the wrong zone has 1.7 % to 2.5 % of its quarter hours in the weekend, a metal tape 6 %."""

_SUSPICIOUS = 0.015
"""Share of quarter hours outside the market's hours from which a given zone is doubted: under the least of the above, over
the 1.1 % of an older gold tape, whose daily break began at 17:15."""


@dataclass(slots=True)
class Zone:
    """One clock: `local` milliseconds are its wall clock counted as if it were UTC."""

    name: str
    tz: tzinfo
    ahead: int = 0
    """Milliseconds that the clock runs ahead of `tz`."""
    _offsets: dict[int, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def candidates(self, local: int) -> tuple[int, ...]:
        """Return the instants with this wall clock: one, two where it is turned back, none where it is put forward."""
        slot = local // _SLOT
        offsets = self._offsets.get(slot)
        if offsets is None:
            offsets = self._offsets[slot] = self._slot_offsets(slot * _SLOT)
        return tuple(local - offset for offset in offsets)

    def to_utc(self, local: int, earliest: int) -> Millis | None:
        """Return the instant of a row, where the hour is there twice the first not before `earliest`; None where none is."""
        found = self.candidates(local)
        if not found:
            return None
        return Millis(next((at for at in found if at >= earliest), found[-1]))

    def _slot_offsets(self, local: int) -> tuple[int, ...]:
        wall = _NAIVE_EPOCH + timedelta(milliseconds=local - self.ahead)
        offsets = set()
        for fold in (0, 1):
            aware = wall.replace(tzinfo=self.tz, fold=fold)
            if aware.astimezone(UTC).astimezone(self.tz).replace(tzinfo=None) == wall:
                offset = aware.utcoffset()
                offsets.add(((offset or timedelta()) // _MILLISECOND) + self.ahead)
        return tuple(sorted(offsets, reverse=True))


def naive_millis(when: datetime) -> int:
    """Return a wall clock's milliseconds."""
    return (when - _NAIVE_EPOCH) // _MILLISECOND


def wall_clock(local: int) -> str:
    """Return a wall clock's milliseconds as text."""
    return (_NAIVE_EPOCH + timedelta(milliseconds=local)).isoformat(sep=" ")


def zone_named(name: str) -> Zone:
    """Return the zone of a name: UTC, server, EST (UTC-5 all year), or an IANA name.

    Raises:
        SettingsError: The name is none of these.
    """
    match name.casefold():
        case "utc":
            return Zone("UTC", UTC)
        case "server":
            return Zone("server", ZoneInfo("America/New_York"), 7 * HOUR)
        case "est":
            return Zone("EST", timezone(timedelta(hours=-5)))
    try:
        return Zone(name, ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"tape time zone {name!r} is not known; say UTC, server, EST or an IANA name such as Europe/Athens"
        raise SettingsError(msg) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """The zone of a tape that does not name it, with the sentence that says so; no zone where none fits."""

    zone: Zone | None
    note: str


def infer_zone(local: list[int], asset: AssetClass) -> Inferred:
    """Return the zone under which a tape's rows fall into the market's weekly hours and daily break."""
    server = zone_named("server")
    if MarketHours(asset).never_closes:
        why = "the rows name no time zone and the market never closes, which leaves no trace of it"
        if all(server.candidates(at) for at in local):
            return Inferred(zone=server, note=f"{why}: server is assumed; say --tape-tz where that is wrong")
        why += ", but some stand in an hour that server skips"
        return Inferred(zone=zone_named("UTC"), note=f"{why}: UTC is assumed; say --tape-tz where that is wrong")
    slots = sorted({at // _SLOT for at in local})
    zones = (server, zone_named("UTC"), zone_named("EST"))
    ranked = sorted(((closed_slots(slots, zone, asset), rank) for rank, zone in enumerate(zones)))
    (closed, best), (next_closed, _), _ = ranked
    if closed > _TOLERATED * len(slots):
        why = f"no zone fits: with {zones[best].name}, the best, {closed} of {len(slots)} quarter hours with rows are closed"
        return Inferred(zone=None, note=why)
    if next_closed - closed < max(1.0, _CLEAR * len(slots)):
        note = "the rows name no time zone and are too few to infer one from the market's hours: server is assumed"
        return Inferred(zone=server, note=f"{note}; say --tape-tz where that is wrong")
    note = (
        f"the rows name no time zone; {zones[best].name} is inferred from the market's hours: with it {closed} of "
        f"{len(slots)} quarter hours with rows are closed, with the next best {next_closed}"
    )
    return Inferred(zone=zones[best], note=note)


def closed_slots(slots: list[int], zone: Zone, asset: AssetClass) -> int:
    """Return how many of these quarter hours (local) lie outside the market's hours, or do not exist, under a zone."""
    hours = MarketHours(asset)
    closed = 0
    for slot in slots:
        found = zone.candidates(slot * _SLOT)
        closed += not found or not hours.is_open(Millis(found[0]))
    return closed


def hours_note(starts: list[Millis], asset: AssetClass) -> str | None:
    """Return a warning where many rows lie outside the market's hours: then the zone is hardly right."""
    slots = sorted({at // _SLOT for at in starts})
    closed = closed_slots(slots, zone_named("UTC"), asset)
    if closed <= _SUSPICIOUS * len(slots):
        return None
    return f"{closed} of {len(slots)} quarter hours with rows lie outside the market's hours: is the time zone right?"
