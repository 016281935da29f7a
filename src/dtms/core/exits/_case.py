"""What every rule is given, and the few questions that several of them ask. No rule: rules import this, never each other."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.action import SetStop
from dtms.domain.exits import ExitSnapshot, ExitState, Proposal, Skipped
from dtms.domain.policy.exits import ExitPolicy, ExitProfile
from dtms.domain.rules import ExitRule
from dtms.domain.trade import Trade
from dtms.domain.units import Price

_NOISE = 1e-6
"""Share of a tick below which two prices are the same: 1.1050 - 1.1000 is a little less than 0.0050 in binary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What the market multiplies the triggers by, and why; `why` is "" where nothing applies."""

    factor: float
    why: str


BASE = Trigger(factor=1.0, why="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One trade, what its rules remember, and the market: the argument of every rule."""

    trade: Trade
    book: ExitState
    market: ExitSnapshot
    policy: ExitPolicy
    trigger: Trigger = BASE

    @property
    def profile(self) -> ExitProfile:
        """The trade's numbers."""
        return self.book.profile

    @property
    def price(self) -> float:
        """The executable price."""
        return self.market.quote.executable(self.trade.side)

    @property
    def noise(self) -> float:
        """Price units under which a difference is rounding of binary fractions."""
        return _NOISE * self.market.instrument.tick_size

    @property
    def at_r(self) -> str:
        """The r-multiple as a person reads it."""
        return f"at {self.trade.r_multiple(self.price):+.2f} R"

    def reached(self, price: float, r: float) -> bool:
        """Say whether a price lies `r` or more in the trade's favour."""
        return self.trade.favourable(price) >= r * self.trade.r - self.noise

    def beyond(self, level: float) -> float:
        """Return how far the executable price lies beyond a stop level, in price units; <= 0 where it would be hit."""
        return self.trade.side * (self.price - level)

    def shown(self, price: float) -> str:
        """Return a price or distance with the instrument's digits."""
        return f"{price:.{self.market.instrument.digits}f}"


def stop_change(case: Case, rule: ExitRule, stop: Price, reason: str, *, widens: bool = False) -> Proposal | Skipped:
    """Return the proposal of a stop that the rule wants, or why it must wait.

    A broker takes a stop that the price is beyond by its stops level, and changes none inside its freeze level; the tick
    on top is for the quote that comes while the request is under way.
    """
    instrument = case.market.instrument
    needed = instrument.stops_level + instrument.freeze_level + instrument.tick_size
    beyond = case.beyond(stop)
    if beyond < needed - case.noise:
        return Skipped(
            rule=rule,
            reason=f"price is {case.shown(beyond)} beyond stop {case.shown(stop)}; the broker takes it from "
            f"{case.shown(needed)} on",
        )
    action = SetStop(ticket=case.trade.ticket, stop=stop, target=case.trade.target, widens=widens)
    return Proposal(rule=rule, action=action, reason=reason, price_based=True)
