"""Market weather as scripts: skeletons of spells in which a defended trade meets every kind of trouble."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtms.errors import SettingsError


class Kind(StrEnum):
    """What the market does in a spell."""

    TREND_UP = "trend_up"
    TREND_DOWN = "trend_down"
    RANGE = "range"
    CRASH = "crash"
    RECOVERY = "recovery"
    GAP = "gap"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One kind of weather for `minutes` > 0 of open market.

    `strength` is in units of the symbol's usual ATR(M15): how far a trend, crash or recovery goes, how far a gap jumps
    (after `minutes` of silence), how wide a range or a quiet spell swings to either side. A negative strength turns the
    spell upside down.
    """

    kind: Kind
    minutes: int
    strength: float

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            msg = f"spell {self.kind} lasts {self.minutes} minutes; make it at least 1"
            raise SettingsError(msg)


Weather = tuple[Spell, ...]


def _weather(*spells: tuple[Kind, int, float]) -> Weather:
    return tuple(Spell(kind=kind, minutes=minutes, strength=strength) for kind, minutes, strength in spells)


SCRIPTS: dict[str, Weather] = {
    # Told for a BUY; half of the time they are played upside down, for the SELL.
    "calm": _weather((Kind.RANGE, 180, 1.2), (Kind.QUIET, 60, 0.4), (Kind.TREND_UP, 120, 2.0)),
    "march": _weather((Kind.TREND_UP, 240, 8.0), (Kind.RANGE, 60, 0.8), (Kind.TREND_UP, 150, 5.0)),
    # A slow fall warns, and comes back.
    "grind": _weather(
        (Kind.TREND_UP, 90, 2.0), (Kind.TREND_DOWN, 150, 5.0), (Kind.RANGE, 45, 0.6), (Kind.RECOVERY, 90, 5.0)
    ),
    # Down and up again in two to three hours.
    "vee": _weather(
        (Kind.RANGE, 60, 0.8),
        (Kind.CRASH, 60, 8.0),
        (Kind.QUIET, 15, 0.3),
        (Kind.RECOVERY, 75, 8.5),
        (Kind.TREND_UP, 60, 2.0),
    ),
    # A fall in two legs, a base, then a break above the last swing, held.
    "turn": _weather(
        (Kind.RANGE, 60, 0.8),
        (Kind.CRASH, 50, 6.0),
        (Kind.RECOVERY, 40, 1.5),
        (Kind.CRASH, 30, 3.5),
        (Kind.RANGE, 30, 0.4),
        (Kind.RECOVERY, 60, 6.0),
        (Kind.TREND_UP, 120, 4.0),
    ),
    # A fall, then nothing for longer than a hedge may stand.
    "stalemate": _weather(
        (Kind.TREND_DOWN, 60, 2.0), (Kind.CRASH, 60, 8.0), (Kind.TREND_DOWN, 130, 3.5), (Kind.QUIET, 60, 0.4)
    ),
    # The rally that stops out the hedge.
    "snap": _weather((Kind.RANGE, 45, 0.8), (Kind.CRASH, 55, 7.0), (Kind.RECOVERY, 12, 5.5), (Kind.TREND_UP, 90, 3.0)),
    # Recovery that fails at once, and again.
    "relapse": _weather(
        (Kind.CRASH, 50, 7.0),
        (Kind.RECOVERY, 35, 4.0),
        (Kind.CRASH, 35, 5.0),
        (Kind.RANGE, 30, 0.6),
        (Kind.RECOVERY, 45, 5.0),
        (Kind.RANGE, 60, 1.0),
    ),
    # Recovery that nothing confirms.
    "limbo": _weather((Kind.CRASH, 55, 7.0), (Kind.RECOVERY, 25, 2.5), (Kind.QUIET, 75, 0.3), (Kind.RANGE, 45, 0.7)),
    # A weak bounce with rising lows that breaks: the change of character.
    "flag": _weather(
        (Kind.CRASH, 45, 5.0),
        (Kind.TREND_UP, 150, 2.5),
        (Kind.QUIET, 20, 0.3),
        (Kind.TREND_DOWN, 35, 1.5),
        (Kind.CRASH, 45, 5.0),
        (Kind.RANGE, 60, 0.8),
    ),
    # A low, a long rest, a retest and a quick break above what came between: the hedge goes before its stop is reached.
    "spring": _weather(
        (Kind.CRASH, 78, 4.2),
        (Kind.RECOVERY, 59, 2.6),
        (Kind.QUIET, 148, 0.7),
        (Kind.CRASH, 46, 1.8),
        (Kind.TREND_UP, 20, 5.1),
        (Kind.TREND_UP, 90, 2.0),
    ),
    # A spring that looks like a turn and is sold at once.
    "trap": _weather(
        (Kind.QUIET, 10, 0.4),
        (Kind.CRASH, 32, 9.0),
        (Kind.RECOVERY, 8, 8.1),
        (Kind.TREND_DOWN, 61, 5.8),
        (Kind.RANGE, 60, 0.8),
    ),
    # A drift too weak to go on and too steady to turn: a warning ends by time.
    "drizzle": _weather(
        (Kind.CRASH, 25, 2.0), (Kind.TREND_DOWN, 240, 2.0), (Kind.QUIET, 60, 0.3), (Kind.RECOVERY, 60, 3.0)
    ),
    # A warning, and then no quote for hours: deadlines run on without scores.
    "silence": _weather(
        (Kind.TREND_UP, 60, 1.5),
        (Kind.TREND_DOWN, 60, 3.0),
        (Kind.GAP, 150, 0.5),
        (Kind.RECOVERY, 60, 3.0),
        (Kind.RANGE, 45, 0.8),
    ),
    # A fall that never hurries and never rests.
    "slide": _weather(
        (Kind.TREND_UP, 240, 5.0), (Kind.CRASH, 185, 8.2), (Kind.CRASH, 240, 5.6), (Kind.RECOVERY, 120, 8.0)
    ),
    "whipsaw": _weather(
        (Kind.CRASH, 30, 4.0),
        (Kind.RECOVERY, 30, 5.0),
        (Kind.CRASH, 30, 6.0),
        (Kind.RECOVERY, 30, 5.5),
        (Kind.RANGE, 45, 1.2),
    ),
    # Silence, a jump against the trade, a slide, half of it taken back.
    "gap": _weather((Kind.RANGE, 45, 0.7), (Kind.GAP, 4, 4.0), (Kind.TREND_DOWN, 60, 2.5), (Kind.RECOVERY, 60, 3.0)),
}
"""What can happen to a trade that was opened before: a name, and the spells."""

OVERTURE = _weather((Kind.RANGE, 240, 1.2), (Kind.TREND_UP, 180, 4.0), (Kind.RANGE, 120, 1.0))
"""What every tape begins with: indicators need history before trouble."""
