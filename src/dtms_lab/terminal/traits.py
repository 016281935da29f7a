"""What differs from one broker's terminal to another's, and from one just started to one that has run for days."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec

from dtms.domain.units import SECOND
from dtms.errors import SettingsError
from dtms_lab.terminal.server_time import NEW_YORK_PLUS_7, offset_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """A terminal that has just been started. Delays are ms of the terminal's own clock, >= 0.

    Attributes:
        market_watch: The symbols that are selected from the start.
        quotes_after: From a symbol's selection to its first quote.
        history_after: From the first question for a symbol's bars of one timeframe until all are there. In the first half
            of it the answer is none, with `last_error` "call failed"; then there are `history_first` bars.
        history_first: As many of the newest bars are there first, >= 1.
        last_ticks: Whether the trade server hands out ticks from before the terminal's start. Where it does not, a symbol
            has no quote until its next one comes: over a weekend, until the market opens.
        watches_positions: Whether a symbol with an open position counts as selected.
        zone: The clock by which the trade server stamps: "new-york+7", or a zone of the IANA database.
    """

    market_watch: frozenset[str] = frozenset()
    quotes_after: int = SECOND
    history_after: int = 3 * SECOND
    history_first: int = 300
    last_ticks: bool = False
    watches_positions: bool = False
    zone: str = NEW_YORK_PLUS_7

    def __post_init__(self) -> None:
        """Refuse what no terminal has."""
        for name in ("quotes_after", "history_after"):
            if getattr(self, name) < 0:
                msg = f"the terminal's {name} is {getattr(self, name)} ms; it must be 0 or more"
                raise SettingsError(msg)
        if self.history_first < 1:
            msg = f"the terminal's history_first is {self.history_first} bars; it must be 1 or more"
            raise SettingsError(msg)
        offset_of(self.zone)


FRESH: Final = Traits()
"""A terminal that has just been started, with nothing in Market Watch."""

RUNNING: Final = Traits(quotes_after=0, history_after=0, last_ticks=True, watches_positions=True)
"""A terminal that has run for long: what is asked for is there."""


def traits_text(traits: Traits) -> str:
    """Return traits as the text that `read_traits` takes."""
    return msgspec.json.encode(traits).decode()


def read_traits(text: str) -> Traits:
    """Return the traits of a text: a JSON object; what it leaves out is as by default.

    Raises:
        SettingsError: It is none, or names a trait that there is not.
    """
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
        traits = msgspec.convert(given, Traits)
    except msgspec.MsgspecError as error:
        msg = f"the terminal's traits {text!r} cannot be read ({error}); give a JSON object"
        raise SettingsError(msg) from error
    known = [each.name for each in fields(Traits)]
    strange = sorted(set(given) - set(known))
    if strange:
        msg = f"a terminal has no trait {strange[0]!r}; it has {', '.join(known)}"
        raise SettingsError(msg)
    return traits
