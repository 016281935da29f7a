"""From a tape's clock to UTC: the zone is written in the file, given, or inferred from the market's hours.

`server` is the clock of most MetaTrader brokers: New York plus seven hours, so that the day ends at the 17:00 rollover.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.units import DAY, HOUR, MINUTE, Millis
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


_USUAL = ("server", "UTC", "EST", "America/New_York")
"""The clocks that tapes without a label are tried on, the likeliest first."""

_FIRST_SHARE_TRADE = 4 * HOUR
_LAST_SHARE_TRADE = 20 * HOUR
"""American shares trade between these hours of New York, before and after the main session included."""


@dataclass(slots=True)
class Zone:
    """One clock: `local` milliseconds are its wall clock counted as if it were UTC."""

    name: str
    tz: tzinfo
    ahead: int = 0
    """Milliseconds that the clock runs ahead of `tz`."""
    _offsets: dict[int, tuple[int, ...]] = field(default_factory=dict, repr=False)

    @property
    def fixed(self) -> int | None:
        """Return how far this clock is ahead of UTC where that never changes, in milliseconds; else None."""
        offset = self.tz.utcoffset(None) if isinstance(self.tz, timezone) else None
        return None if offset is None else offset // _MILLISECOND + self.ahead

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
    """The zone of a tape that does not name it, with the sentence that says so; no zone where none fits.

    `sure` says that the market's hours told it; else it is assumed.
    """

    zone: Zone | None
    note: str
    sure: bool = False


def infer_zone(local: list[int], asset: AssetClass, *, server_clock: bool) -> Inferred:
    """Return the zone under which a tape's rows fall into the market's weekly hours and daily break.

    `server_clock` says that a MetaTrader wrote the tape. Where the hours do not tell, such a tape is on a server's clock; a
    coin's tape of anybody else is in UTC, a share's in New York time, any other on a server's clock.
    """
    usual = _usual(local, asset, server_clock=server_clock)
    say = "say --tape-tz where that is wrong"
    if MarketHours(asset).never_closes:
        why = "the rows name no time zone and the market never closes, which leaves no trace of it"
        if all(usual.candidates(at) for at in local):
            return Inferred(zone=usual, note=f"{why}: {usual.name} is assumed; {say}")
        why += f", but some stand in an hour that {usual.name} skips"
        return Inferred(zone=zone_named("UTC"), note=f"{why}: UTC is assumed; {say}")
    slots = sorted({at // _SLOT for at in local})
    ranked = _ranked(slots, asset)
    (closed, best), (next_closed, _) = ranked[0], ranked[1] if len(ranked) > 1 else (len(slots), ranked[0][1])
    if closed > _TOLERATED * len(slots):
        why = f"no zone fits: with {best.name}, the best, {closed} of {len(slots)} quarter hours with rows are closed"
        return Inferred(zone=None, note=why)
    if next_closed - closed < max(1.0, _CLEAR * len(slots)):
        note = (
            f"the rows name no time zone and are too few to infer one from the market's hours: {usual.name} is assumed"
        )
        return Inferred(zone=usual, note=f"{note}; {say}")
    note = (
        f"the rows name no time zone; {best.name} is inferred from the market's hours: with it {closed} of "
        f"{len(slots)} quarter hours with rows are closed, with the next best {next_closed}"
    )
    return Inferred(zone=best, note=note, sure=True)


def _usual(local: list[int], asset: AssetClass, *, server_clock: bool) -> Zone:
    if server_clock:
        return zone_named("server")
    if asset is AssetClass.CRYPTO:
        return zone_named("UTC")
    of_day = [at % DAY for at in local]
    if asset is AssetClass.OTHER and min(of_day) >= _FIRST_SHARE_TRADE and max(of_day) <= _LAST_SHARE_TRADE:
        return zone_named("America/New_York")
    return zone_named("server")


def _ranked(slots: list[int], asset: AssetClass) -> list[tuple[int, Zone]]:
    """Return the usual zones by how many of the slots are closed under them; of zones that mean the same instants the first."""
    found: list[tuple[int, Zone]] = []
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for name in _USUAL:
        zone = zone_named(name)
        instants = tuple(zone.candidates(slot * _SLOT) for slot in (slots[0], slots[len(slots) // 2], slots[-1]))
        if instants not in seen:
            seen.add(instants)
            found.append((closed_slots(slots, zone, asset), zone))
    return sorted(found, key=lambda each: each[0])


def closed_slots(slots: list[int], zone: Zone, asset: AssetClass) -> int:
    """Return how many of these quarter hours (local) lie outside the market's hours, or do not exist, under a zone."""
    hours = MarketHours(asset)
    closed = 0
    for slot in slots:
        found = zone.candidates(slot * _SLOT)
        closed += not found or not hours.is_open(Millis(found[0]))
    return closed


def contradiction(local: list[int], zone: Zone, asset: AssetClass) -> str | None:
    """Return a sentence where many rows lie outside the market's hours under a zone that was named: then it is hardly right."""
    slots = sorted({at // _SLOT for at in local})
    closed = closed_slots(slots, zone, asset)
    if closed <= _SUSPICIOUS * len(slots):
        return None
    why = f"{closed} of {len(slots)} quarter hours with rows lie outside the market's hours: is the time zone right?"
    better, best = _ranked(slots, asset)[0]
    if better < closed and best.name != zone.name:
        return f"{why} With {best.name} it is {better}; say --tape-tz {best.name} where that is meant"
    return why
