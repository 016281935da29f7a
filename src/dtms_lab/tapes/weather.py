"""The market-weather generator: a seed in, a tape out, with every kind of trouble that a defended trade can meet.

It is scripted, not sampled: a script is a skeleton of spells (a crash, a base, a rally), and noise that reverts to the
skeleton makes it look like a market. Only `random.Random.random` and exact arithmetic are used, so that a seed gives the same
tape under every release of Python and NumPy. It is no model of returns: nothing may be learned from it about an edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from dtms.domain.calendar import MarketHours
from dtms.domain.market import Bar, Timeframe
from dtms.domain.score import Session
from dtms.domain.symbols import asset_class, canonical
from dtms.domain.units import DAY, HOUR, MINUTE, Millis
from dtms.errors import SettingsError
from dtms_lab.tapes.scripts import OVERTURE, SCRIPTS, Kind, Spell, Weather
from dtms_lab.tapes.tape import Tape

__all__ = ["DEFAULT_START", "SCRIPTS", "Kind", "Spell", "Weather", "make_tape", "mirrored", "play", "shipped_tape"]

DEFAULT_START = Millis(1_715_205_600_000)
"""A Wednesday, 22:00 UTC, when the metals open after their daily break."""


SHIPPED_SEED = 12
_SHIPPED = (
    "relapse", "trap", "whipsaw", "flag", "turn", "snap", "relapse", "limbo", "spring", "trap",
    "stalemate", "flag", "drizzle", "relapse", "slide", "flag", "trap", "turn", "relapse", "gap",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Climate:
    """A symbol's scale: its price, its usual ATR(M15), its quiet spread, and the decimals it is quoted with."""

    price: float
    unit: float
    spread: float
    digits: int


_CLIMATES = {
    "XAUUSD": _Climate(price=2_400.0, unit=3.0, spread=0.22, digits=2),
    "BTCUSD": _Climate(price=65_000.0, unit=190.0, spread=12.0, digits=2),
    "EURUSD": _Climate(price=1.0850, unit=0.00050, spread=0.00007, digits=5),
    "GBPUSD": _Climate(price=1.2650, unit=0.00065, spread=0.00009, digits=5),
    "USDJPY": _Climate(price=151.0, unit=0.080, spread=0.009, digits=3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nature:
    """How a kind of spell moves: which way, how rough, how it swings, how busy it is, how wide and how often its spread spikes."""

    direction: int
    noise: float
    swing: float
    period: int
    spread: float
    spikes: float
    activity: float


_NATURES = {
    Kind.TREND_UP: _Nature(direction=1, noise=0.8, swing=0.8, period=70, spread=1.0, spikes=0.0, activity=1.1),
    Kind.TREND_DOWN: _Nature(direction=-1, noise=0.8, swing=0.8, period=70, spread=1.0, spikes=0.0, activity=1.1),
    Kind.RANGE: _Nature(direction=0, noise=0.7, swing=1.0, period=90, spread=1.0, spikes=0.0, activity=0.8),
    Kind.CRASH: _Nature(direction=-1, noise=1.5, swing=0.0, period=1, spread=3.5, spikes=0.04, activity=3.0),
    Kind.RECOVERY: _Nature(direction=1, noise=1.2, swing=0.0, period=1, spread=1.3, spikes=0.01, activity=2.0),
    Kind.GAP: _Nature(direction=-1, noise=1.0, swing=0.0, period=1, spread=2.5, spikes=0.0, activity=1.5),
    Kind.QUIET: _Nature(direction=0, noise=0.3, swing=1.0, period=60, spread=1.1, spikes=0.0, activity=0.4),
}

_SESSION_PACE = {
    Session.ASIAN: 0.75,
    Session.LONDON: 1.0,
    Session.OVERLAP: 1.2,
    Session.NEW_YORK: 1.0,
    Session.LATE: 0.7,
    Session.WEEKEND: 0.7,
}
_NOISE = 0.16
"""Standard deviation of a minute's noise in units: fifteen such minutes of a random walk range over one unit."""

_REVERSION = 0.03
"""Share of the distance to the skeleton that goes each minute; the noise wanders about 0.6 units off."""

_SPREAD_DECAY = 0.88
"""A widened spread keeps so much of its excess each minute: the onset of a crash blocks what adds risk, its end does not."""

_REOPENING = 2.0
"""The excess of the spread, in quiet spreads, at the first minute after a closed market."""

_LONG_CLOSE = 4 * HOUR
_WEEKEND_JUMP = 0.8
"""Over a close longer than the above the price jumps by a normal of so many units."""

_TICKS_A_MINUTE = 90.0
_HOME = 0.04
"""Share by which the price may leave the climate's before scripts are turned so that they lead back."""


def make_tape(seed: int, days: int, symbol: str = "XAUUSD", start: Millis = DEFAULT_START) -> Tape:
    """Return a tape of generated weather: every script in shuffled order, right way up or upside down, again and again.

    Args:
        seed: The same seed gives the same tape.
        days: Calendar days from `start`, > 0; bars exist only while the market is open.
        symbol: One of the symbols whose scale is known.
        start: The first instant, a whole minute.

    Raises:
        SettingsError: The symbol is not known here, `days` or `start` is out of range, or the market is closed throughout.
    """
    if days <= 0:
        msg = f"a tape of {days} days has no bars; ask for at least 1"
        raise SettingsError(msg)
    market = _market(seed, symbol, start)
    _fill(market, _endless(market), Millis(start + days * DAY))
    return _tape(market, f"generated market weather, seed {seed}, {days} days: no recorded prices")


def play(seed: int, weather: Weather, symbol: str = "XAUUSD", start: Millis = DEFAULT_START) -> Tape:
    """Return a tape of one given weather, once through, in the market's open minutes.

    Raises:
        SettingsError: The symbol is not known here, the weather is empty, or `start` is no whole minute.
    """
    market = _market(seed, symbol, start)
    _fill(market, iter(weather), None)
    return _tape(market, f"generated market weather, seed {seed}, {len(weather)} spells: no recorded prices")


def shipped_tape() -> Tape:
    """Return the tape that the product ships: every row of the transition table happens on it, many times.

    Each script is played upright and upside down, so that BUY and SELL meet all of it. With the entries `every:30,12` every
    row happens at least three times; a test holds that.
    """
    weather = OVERTURE
    for number, name in enumerate(_SHIPPED * 2):
        weather += SCRIPTS[name] if (number + SHIPPED_SEED) % 2 else mirrored(SCRIPTS[name])
    return play(SHIPPED_SEED, weather)


def mirrored(weather: Weather) -> Weather:
    """Return the weather upside down."""
    return tuple(Spell(kind=spell.kind, minutes=spell.minutes, strength=-spell.strength) for spell in weather)


@dataclass(slots=True, kw_only=True)
class _Market:
    """The generator's state: where skeleton and noise are, in units from the climate's price, and the bars so far."""

    rng: Random
    symbol: str
    climate: _Climate
    hours: MarketHours
    at: Millis
    close: float
    spread: float
    skeleton: float = 0.0
    noise: float = 0.0
    excess: float = 0.0
    bars: list[Bar]
    asks: list[Bar]

    def price(self) -> float:
        """The price of the present skeleton and noise."""
        return round(self.climate.price + self.climate.unit * (self.skeleton + self.noise), self.climate.digits)

    def jump(self, units: float) -> None:
        """Move without trading: the next bar opens there."""
        self.skeleton += units
        self.close = self.price()


def _market(seed: int, symbol: str, start: Millis) -> _Market:
    name = canonical(symbol)
    climate = _CLIMATES.get(name)
    if climate is None:
        msg = f"no weather for {symbol}: its scale is not known; take one of {', '.join(_CLIMATES)}"
        raise SettingsError(msg)
    if start < 0 or start % MINUTE:
        msg = f"a tape cannot start at {start} ms; give a whole minute, 0 or later"
        raise SettingsError(msg)
    return _Market(
        rng=Random(seed),
        symbol=name,
        climate=climate,
        hours=MarketHours(asset_class(name)),
        at=start,
        close=climate.price,
        spread=climate.spread,
        bars=[],
        asks=[],
    )


def _tape(market: _Market, note: str) -> Tape:
    if not market.bars:
        msg = (
            f"the market of {market.symbol} is closed or the weather empty: no bars; start at another time or say more"
        )
        raise SettingsError(msg)
    return Tape(
        symbol=market.symbol,
        timeframe=Timeframe.M1,
        bars=tuple(market.bars),
        asks=tuple(market.asks),
        quotes=None,
        has_volume=True,
        has_side=True,
        notes=(note,),
    )


def _endless(market: _Market) -> Iterator[Spell]:
    rng = market.rng
    yield from OVERTURE
    while True:
        for name in _shuffled(rng, list(SCRIPTS)):
            size = 0.8 + 0.5 * rng.random()
            pace = 0.85 + 0.3 * rng.random()
            away = market.skeleton * market.climate.unit / market.climate.price
            net = sum(_NATURES[spell.kind].direction * spell.strength for spell in SCRIPTS[name])
            homeward = -1 if net * away > 0 else 1
            size *= homeward if abs(away) > _HOME else (1, -1)[int(2 * rng.random())]
            for spell in SCRIPTS[name]:
                minutes = max(1, int(spell.minutes * pace))
                yield Spell(kind=spell.kind, minutes=minutes, strength=spell.strength * size)


def _shuffled(rng: Random, names: list[str]) -> list[str]:
    """Fisher and Yates by `random()` alone: the library's own shuffle is not promised to stay the same."""
    for i in range(len(names) - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        names[i], names[j] = names[j], names[i]
    return names


def _fill(market: _Market, spells: Iterator[Spell], end: Millis | None) -> None:
    """Play spells until they or the time end; closed hours pass between minutes."""
    for spell in spells:
        nature = _NATURES[spell.kind]
        origin = market.skeleton
        _spike(market, nature)
        for i in range(spell.minutes):
            origin += _pass_closed_hours(market)
            if end is not None and market.at >= end:
                return
            if spell.kind is not Kind.GAP:
                market.skeleton = origin + _skeleton(spell, nature, i + 1)
                _trade(market, nature)
            market.at = Millis(market.at + MINUTE)
        if spell.kind is Kind.GAP:
            market.jump(nature.direction * spell.strength)


def _spike(market: _Market, nature: _Nature) -> None:
    peak = (nature.spread - 1.0) * (0.5 + market.rng.random())
    market.excess = max(market.excess, peak)


def _pass_closed_hours(market: _Market) -> float:
    """Go on to the next open minute; return how far the price jumped meanwhile, in units."""
    if market.hours.is_open(market.at):
        return 0.0
    opened = Millis(market.hours.after_open(market.at, MINUTE) - MINUTE)
    jump = _normal(market.rng) * _WEEKEND_JUMP if opened - market.at > _LONG_CLOSE else 0.0
    market.jump(jump)
    market.at = opened
    market.excess = max(market.excess, _REOPENING)
    return jump


def _skeleton(spell: Spell, nature: _Nature, minute: int) -> float:
    """Return how far the spell has led after so many minutes, in units."""
    way = nature.direction * spell.strength * minute / spell.minutes
    swing = nature.swing * (spell.strength if nature.direction == 0 else (1.0 if spell.strength > 0 else -1.0))
    return way + swing * _triangle(minute / nature.period)


def _triangle(turns: float) -> float:
    """Return a wave that starts at 0 and goes to 1, -1 and back in each turn."""
    return 4.0 * abs((turns + 0.75) % 1.0 - 0.5) - 1.0


def _normal(rng: Random) -> float:
    """Return about a standard normal: four uniforms, exact arithmetic, never beyond 3.5."""
    return (rng.random() + rng.random() + rng.random() + rng.random() - 2.0) * 1.7320508075688772


def _trade(market: _Market, nature: _Nature) -> None:
    """Add one minute's bid and ask bar on the way to the present skeleton."""
    rng, climate = market.rng, market.climate
    pace = _SESSION_PACE[market.hours.session(market.at)]
    rough = _NOISE * nature.noise * pace
    market.noise += rough * _normal(rng) - _REVERSION * market.noise
    opened, close = market.close, market.price()
    reach = 1.2 * rough * climate.unit
    high = round(max(opened, close) + reach * rng.random() * rng.random(), climate.digits)
    low = round(min(opened, close) - reach * rng.random() * rng.random(), climate.digits)
    ticks, buys = _activity(rng, nature.activity * pace, (close - opened) / climate.unit)
    bid = Bar(
        start=market.at,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=float(ticks),
        buy_volume=float(buys),
        sell_volume=float(ticks - buys),
    )
    if rng.random() < nature.spikes:
        _spike(market, nature)
    before = market.spread
    point = 1.0 / 10**climate.digits
    market.spread = max(point, climate.spread * (1.0 + market.excess) * (0.9 + 0.2 * rng.random()))
    market.excess *= _SPREAD_DECAY
    market.bars.append(bid)
    market.asks.append(_ask(bid, before, market.spread, climate.digits))
    market.close = close


def _activity(rng: Random, pace: float, move: float) -> tuple[int, int]:
    """Return a minute's ticks and how many of them buyers made; `move` is the minute's, in units."""
    ticks = max(1, int(_TICKS_A_MINUTE * pace * (0.6 + 0.8 * rng.random()) * (1.0 + 2.0 * abs(move))))
    push = move / _NOISE
    share = 0.5 + 0.35 * push / (1.0 + abs(push)) + 0.1 * (rng.random() - 0.5)
    return ticks, int(ticks * share)


def _ask(bid: Bar, before: float, after: float, digits: int) -> Bar:
    wide, narrow = max(before, after), min(before, after)
    return Bar(
        start=bid.start,
        open=round(bid.open + before, digits),
        high=round(bid.high + wide, digits),
        low=round(bid.low + narrow, digits),
        close=round(bid.close + after, digits),
    )
