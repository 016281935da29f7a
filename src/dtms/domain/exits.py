"""What the exit rules remember, see and propose. Frozen values; what they mean stands in ``dtms.core.exits``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dtms.domain.action import Action
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import Instrument
from dtms.domain.market import Quote
from dtms.domain.policy.exits import ExitProfile
from dtms.domain.rules import ExitRule
from dtms.domain.score import Indicators, Session
from dtms.domain.units import Lots, Millis, Ticket, TradeId
from dtms.errors import InvalidDataError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitState:
    """The exit rules of one trade with what each of them remembers.

    Attributes:
        profile_name: The profile's name in the policy, or `own` for the trade's own numbers.
        breakeven_done: The stop was at or past breakeven once; the trail works from then on.
        partial_done: The partial is done, for ever.
        partial_remaining: The volume that the partial under way leaves: asked, not known to be done.
        best: Highest bid of a BUY, lowest ask of a SELL, since this book was opened; None before the first quote.
        quote_at: The newest quote that was counted.
        trail_moved_at: When the trail last moved the stop.
        beyond_quotes: Accepted quotes running on which the price was beyond the trail's level.
        tightened: The stop was tighter than the initial one once; it is never widened after that.
        widened: The stop was widened; it is not widened again.
        given_up_bar: The M5 bar up to which a tighter stop is given up; the next attempt is on a later one.
        widening_given_up_bar, volume_given_up_bar, close_given_up_bar: The same for the wider stop, the partial and the
            close.
        stop_refusals, widening_refusals, volume_refusals, close_refusals: Refusals running of each; the wait grows with
            them.
        seq: Grows with each write; a write holds only on the seq that was read.
    """

    trade_id: TradeId
    ticket: Ticket
    profile_name: str
    profile: ExitProfile
    breakeven_done: bool = False
    partial_done: bool = False
    partial_remaining: Lots | None = None
    best: float | None = None
    quote_at: Millis | None = None
    trail_moved_at: Millis | None = None
    beyond_quotes: int = 0
    tightened: bool = False
    widened: bool = False
    given_up_bar: Millis | None = None
    widening_given_up_bar: Millis | None = None
    volume_given_up_bar: Millis | None = None
    close_given_up_bar: Millis | None = None
    stop_refusals: int = 0
    widening_refusals: int = 0
    volume_refusals: int = 0
    close_refusals: int = 0
    seq: int = 0

    def __post_init__(self) -> None:
        if self.best is not None and not (math.isfinite(self.best) and self.best > 0):
            msg = f"exit book of {self.ticket}: best price {self.best!r} is not finite and positive"
            raise InvalidDataError(msg)
        if self.partial_remaining is not None and not (
            math.isfinite(self.partial_remaining) and self.partial_remaining > 0
        ):
            msg = f"exit book of {self.ticket}: volume to be left {self.partial_remaining!r} is not finite and positive"
            raise InvalidDataError(msg)
        if self.beyond_quotes < 0 or self.seq < 0:
            msg = f"exit book of {self.ticket}: beyond_quotes {self.beyond_quotes} and seq {self.seq} must be >= 0"
            raise InvalidDataError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitSnapshot:
    """All that the exit rules may see of the market, at one instant.

    Attributes:
        quote: The last accepted quote; `quote_stale` says that it is too old for a decision on price.
        indicators: As of the last closed M5 bar; None where nothing is known yet.
        commission_per_lot: What opening and closing one lot costs together, account currency, >= 0.
        swap: What has accrued on the position, account currency, negative = debited.
        vix: The last value known and how old it is; None where none is known.
        dtms_warns: Whether DTMS holds the trade in a WARNING state; None where that is not known.
        bar_at: The end of the last closed M5 bar: what "one attempt a bar" counts on.
    """

    now: Millis
    quote: Quote
    quote_stale: bool
    instrument: Instrument
    indicators: Indicators | None
    session: Session
    hours: MarketHours
    commission_per_lot: float
    swap: float
    vix: float | None
    vix_age_ms: int | None
    dtms_warns: bool | None
    bar_at: Millis

    def __post_init__(self) -> None:
        symbol = self.instrument.symbol
        if not (math.isfinite(self.commission_per_lot) and self.commission_per_lot >= 0):
            msg = f"{symbol}: commission per lot {self.commission_per_lot!r} must be a cost >= 0, in account currency"
            raise InvalidDataError(msg)
        if not math.isfinite(self.swap):
            msg = f"{symbol}: swap {self.swap!r} is not finite; read the position again"
            raise InvalidDataError(msg)
        if self.vix is not None and not (math.isfinite(self.vix) and self.vix > 0):
            msg = f"VIX {self.vix!r} is not finite and positive; give None where it is not known"
            raise InvalidDataError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a rule wants: the arbiter disposes.

    `reason` is one sentence with its numbers. `price_based` marks a target or trigger that came from a price: such an
    intent is cancelled when it grows old, and decided anew.
    """

    rule: ExitRule
    action: Action
    reason: str
    price_based: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A rule that would have acted and did not, with the reason; `rule` is None where it holds for every rule."""

    rule: ExitRule | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitDecision:
    """One cycle's outcome for one trade: at most one stop change and one volume change, or one close alone.

    `book` is what the rules remember now; it is written in the same transaction as the proposals' intents.
    """

    proposals: tuple[Proposal, ...]
    skipped: tuple[Skipped, ...]
    book: ExitState
