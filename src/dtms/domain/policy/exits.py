"""The numbers of the exit rules (behaviour.md section 5): profiles, what symbol and session change, and the one grant.

Triggers are in R, the frozen initial risk per unit; trails in ATR(14) of M15.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from dtms.domain.policy import checks
from dtms.domain.score import Session
from dtms.errors import SettingsError

DEFAULT_PROFILE = "intraday"
OWN_NUMBERS = "own"
"""The profile name of a trade that gave its own numbers."""

_SWITCHES = ("breakeven", "partial", "trail", "widening", "adaptive", "max_age", "weekend", "stall")
_COUNTS = {
    "trail_close_quotes": (1, 20, "quotes"),
    "stall_bars": (1, 10_000, "M5 bars"),
}
_RANGES = {
    "breakeven_r": (0.05, 20, "R"),
    "breakeven_spreads": (0, 10, "spreads"),
    "partial_r": (0.05, 50, "R"),
    "partial_share": (0.01, 0.99, "of the volume"),
    "trail_step_atr": (0, 5, "ATR"),
    "trail_every_s": (0, 3_600, "s"),
    "trail_gates_factor": (1, 5, "times"),
    "widening_vix": (5, 100, "VIX points"),
    "widening_vix_span": (1, 100, "VIX points"),
    "widening_factor": (1, 3, "times"),
    "widening_cap_r": (1, 3, "R"),
    "vix_age_days": (0, 30, "days"),
    "extended_factor": (0.1, 1, "times"),
    "squeeze_factor": (0.1, 1, "times"),
    "trend_factor": (1, 5, "times"),
    "max_age_hours": (0.1, 10_000, "h"),
    "weekend_minutes": (1, 1_440, "min"),
    "stall_r": (0, 5, "R"),
}


def _code(table: str, currency: str) -> None:
    if not (currency.isascii() and currency.isupper() and currency.isalnum()):
        msg = f"policy exits.{table}.{currency} would never be used; write the currency in capitals, as symbols do"
        raise SettingsError(msg)


def _switch(name: str, value: object) -> None:
    if not isinstance(value, bool):
        msg = f"policy exits.{name} is {value!r}; set it to true or false"
        raise SettingsError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitProfile:
    """One named set of exit numbers, or a trade's own; the defaults are `intraday`.

    Attributes:
        breakeven: Whether the stop goes to breakeven. Off, `breakeven_r` still says from where on the trail works.
        breakeven_r: The trigger, 0.05 to 20 R.
        breakeven_spreads: Slippage allowance in present spreads, 0 to 10.
        partial, partial_r, partial_share: Whether, at which trigger (0.05 to 50 R) and how much (0.01 to 0.99 of the
            volume that is left when it fires) is taken off, once.
        trail: Whether the stop follows the best price from breakeven on.
        trail_atr: Its distance, 0.1 to 20 ATR(M15); None takes the symbol's multiple from the policy.
        trail_step_atr: The least step, 0 to 5 ATR(M15), never under one tick.
        trail_every_s: The least time between two steps, 0 to 3,600 s.
        trail_gates_factor: Multiplies the distance when two of three gates fail, 1 to 5.
        trail_close_quotes: So many accepted quotes running beyond the level close the trade, 1 to 20.
        widening: Whether a high VIX may widen the stop, once; it also needs the policy's `grant_widening`.
        widening_vix, widening_vix_span, widening_factor, widening_cap_r: Above `vix` (5 to 100 points) the distance from
            entry is multiplied by min(`factor` 1 to 3, 1 + (VIX - vix) / `span` 1 to 100), capped at `cap_r` (1 to 3 R).
        vix_age_days: An older value is unknown, 0 to 30 days.
        adaptive: Whether the market moves the triggers of breakeven and partial.
        extended_factor, squeeze_factor, trend_factor: By how much; 0.1 to 1, 0.1 to 1, 1 to 5.
        max_age, max_age_hours: Whether the trade closes after so much open-market time, 0.1 to 10,000 h.
        weekend, weekend_minutes: Whether it closes so long before the market's weekend, 1 to 1,440 min.
        stall, stall_bars, stall_r: Whether it closes when +`stall_r` (0 to 5 R) was not reached in so many M5 bars.

    Raises:
        SettingsError: Names the field, the value and its range.
    """

    breakeven: bool = True
    breakeven_r: float = 1.0
    breakeven_spreads: float = 0.5
    partial: bool = True
    partial_r: float = 2.0
    partial_share: float = 0.33
    trail: bool = True
    trail_atr: float | None = None
    trail_step_atr: float = 0.1
    trail_every_s: float = 30.0
    trail_gates_factor: float = 4 / 3
    trail_close_quotes: int = 2
    widening: bool = False
    widening_vix: float = 18.0
    widening_vix_span: float = 10.0
    widening_factor: float = 2.0
    widening_cap_r: float = 1.5
    vix_age_days: float = 4.0
    adaptive: bool = False
    extended_factor: float = 2 / 3
    squeeze_factor: float = 5 / 6
    trend_factor: float = 4 / 3
    max_age: bool = False
    max_age_hours: float = 24.0
    weekend: bool = False
    weekend_minutes: float = 30.0
    stall: bool = False
    stall_bars: int = 48
    stall_r: float = 0.2

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            _switch(name, getattr(self, name))
        for name, (low, high, unit) in _RANGES.items():
            checks.number(f"exits.{name}", getattr(self, name), low, high, unit)
        for name, (least, most, unit) in _COUNTS.items():
            value = getattr(self, name)
            checks.number(f"exits.{name}", value, least, most, unit)
            if not isinstance(value, int):
                msg = f"policy exits.{name} is {value!r}; set it to a whole number of {unit}"
                raise SettingsError(msg)
        if self.trail_atr is not None:
            checks.number("exits.trail_atr", self.trail_atr, 0.1, 20, "ATR")


PROFILES: dict[str, ExitProfile] = {
    DEFAULT_PROFILE: ExitProfile(),
    "scalp": ExitProfile(breakeven_r=0.75, partial_r=1.5),
    "swing": ExitProfile(breakeven_r=1.5, partial=False, trail_atr=3.0),
    "classic": ExitProfile(breakeven_r=0.3, partial_r=0.6, partial_share=0.5, adaptive=True),
}
"""The shipped profiles. `classic` is the older system's; it costs a good entry most of its expectancy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFactors:
    """What multiplies the trail in each session, 0.2 to 5 each; a known alternative is Asian 1.2, Overlap 0.9, Late and
    Weekend 1.2.
    """

    asian: float = 1.0
    london: float = 1.0
    overlap: float = 1.0
    new_york: float = 1.0
    late: float = 1.0
    weekend: float = 1.0

    def __post_init__(self) -> None:
        for session in Session:
            checks.number(f"exits.session_factors.{session}", self.of(session), 0.2, 5, "times")

    def of(self, session: Session) -> float:
        """Return the factor of a session."""
        return float(getattr(self, session.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPolicy:
    """What the exit rules may use beyond a trade's profile.

    A currency counts where the canonical symbol begins or ends with it; where two count, the greater value wins, for it
    is there because that currency needs the room: GBPJPY trails at GBP's 1.3, EURGBP too, EURJPY at 1.2.

    Attributes:
        profiles: The profiles with their names.
        default_profile: The name of the one that a trade without a word gets.
        session_factors: What multiplies the trail in each session.
        trail_default, trail_by_currency: The trail in ATR(M15), 0.1 to 20, where a profile names none.
        extended_default, extended_by_currency: What counts as stretched, 0.1 to 50 ATR(M15) from EMA200, until the symbol's
            own percentile is known.
        flat_ema50_atr, flat_ema200_atr: A change over 10 bars within so many ATR is flat, 0 to 5: as in the score.
        grant_widening: The explicit grant that an increase of risk needs; a trade's own numbers cannot give it.

    Raises:
        SettingsError: Names the field, the value and the remedy.
    """

    profiles: tuple[tuple[str, ExitProfile], ...] = tuple(PROFILES.items())
    default_profile: str = DEFAULT_PROFILE
    session_factors: SessionFactors = SessionFactors()
    trail_default: float = 1.5
    trail_by_currency: tuple[tuple[str, float], ...] = (("BTC", 2.0), ("GBP", 1.3), ("EUR", 1.2), ("JPY", 1.2))
    extended_default: float = 2.0
    extended_by_currency: tuple[tuple[str, float], ...] = (("BTC", 4.0),)
    flat_ema50_atr: float = 0.15
    flat_ema200_atr: float = 0.05
    grant_widening: bool = False

    def __post_init__(self) -> None:
        checks.one_of("exits.default_profile", self.default_profile, self.names)
        if OWN_NUMBERS in self.names:
            msg = f"policy exits.profiles has one named {OWN_NUMBERS!r}; that name is a trade's own numbers, choose another"
            raise SettingsError(msg)
        checks.number("exits.trail_default", self.trail_default, 0.1, 20, "ATR")
        checks.number("exits.extended_default", self.extended_default, 0.1, 50, "ATR")
        for currency, value in self.trail_by_currency:
            _code("trail_by_currency", currency)
            checks.number(f"exits.trail_by_currency.{currency}", value, 0.1, 20, "ATR")
        for currency, value in self.extended_by_currency:
            _code("extended_by_currency", currency)
            checks.number(f"exits.extended_by_currency.{currency}", value, 0.1, 50, "ATR")
        checks.number("exits.flat_ema50_atr", self.flat_ema50_atr, 0, 5, "ATR")
        checks.number("exits.flat_ema200_atr", self.flat_ema200_atr, 0, 5, "ATR")
        _switch("grant_widening", self.grant_widening)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the profiles."""
        return tuple(name for name, _ in self.profiles)

    def profile(self, name: str) -> ExitProfile:
        """Return a profile.

        Raises:
            SettingsError: There is none of this name; the message lists those that there are.
        """
        checks.one_of("exits profile", name, self.names)
        return dict(self.profiles)[name]

    def trail_multiple(self, canonical: str) -> float:
        """Return the trail of a canonical symbol in ATR(M15)."""
        return _by_currency(self.trail_by_currency, canonical, self.trail_default)

    def extended_limit(self, canonical: str) -> float:
        """Return how many ATR(M15) from EMA200 count as stretched until the symbol's own percentile is known."""
        return _by_currency(self.extended_by_currency, canonical, self.extended_default)


def profile_from(numbers: Mapping[str, object], base: ExitProfile = PROFILES[DEFAULT_PROFILE]) -> ExitProfile:
    """Return the profile of a trade that gives its own numbers; what it does not name is as in `base`.

    Raises:
        SettingsError: A field is unknown, of the wrong type or outside its range; the message names each unknown field.
    """
    known = {each.name for each in fields(ExitProfile)}
    unknown = sorted(str(name) for name in numbers if name not in known)
    if unknown:
        msg = f"exit rules have no field {', '.join(unknown)}; the fields are {', '.join(sorted(known))}"
        raise SettingsError(msg)
    values: dict[str, object] = {name: getattr(base, name) for name in known}
    values.update(numbers)
    return ExitProfile(**values)  # type: ignore[arg-type] # the constructor checks type and range of every field


def _by_currency(table: tuple[tuple[str, float], ...], canonical: str, default: float) -> float:
    found = [value for code, value in table if canonical.startswith(code) or canonical.endswith(code)]
    return max(found, default=default)
