"""What a decision saw and what it concluded: the snapshot goes in, the verdict comes out and is the audit record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtms.domain.action import Action, RiskDirection
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import Instrument
from dtms.domain.market import Quote
from dtms.domain.modes import Mode
from dtms.domain.position import Account
from dtms.domain.rules import Rule
from dtms.domain.score import Indicators, MarketView
from dtms.domain.trade import PlanStep, TradeState
from dtms.domain.units import Millis, Ticket, TradeId


class KillLevel(StrEnum):
    """The operator's kill switch."""

    PAUSE = "pause"
    PROTECT_ONLY = "protect_only"
    FLATTEN = "flatten"


@dataclass(frozen=True, slots=True, kw_only=True)
class RailFacts:
    """What the rails look at; None says "not known", which each rail answers in its own way.

    Losses are fractions of the equity at the day's start, positive when lost. `news` names the event whose window is
    open, "" where none is; `news_known` is False without a calendar. `margin_level` is in percent after the action.
    """

    day_loss: float | None
    hour_loss: float | None
    losing_streak: int | None
    news: str
    news_known: bool
    spread: float | None
    spread_median: float | None
    margin_level: float | None
    quote_stale: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a decision about one trade may see, at one instant.

    `quote` is the last accepted one, None before the first. `view` is set only on the decision of a newly closed M5 bar;
    `indicators` are the latest known. `score` is the last score that is not stale, None where there is none.
    `gone` is true once the position's end is proved (two clean reads and deals that sum up); `hedge_gone` once two clean
    reads miss the hedge while the parent is there. `oldest_on_symbol` is false where an older position of the symbol is
    open, ours or not: a FIFO account closes that first. Nothing here has a default: a fact that is left out would be one
    that nobody has looked at.
    """

    now: Millis
    instrument: Instrument
    account: Account
    hours: MarketHours
    quote: Quote | None
    quote_stale: bool
    view: MarketView | None
    score: float | None
    indicators: Indicators | None
    gone: bool
    hedge_gone: bool
    rails: RailFacts
    kill: KillLevel | None
    mode: Mode
    commission_per_lot: float
    swap_per_lot: float
    oldest_on_symbol: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An action that was not let through: by which rule, and why, in a sentence."""

    rule: str
    reason: str
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """An action that passed the arbiter; the executor takes nothing else."""

    action: Action
    rule: Rule
    risk: RiskDirection
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One decision about one trade, complete enough to be judged later.

    `row` and `to` are None where nothing changes. `steps` are the plan in order; `refusals` what was wanted and not let
    through; `fallbacks` what was taken instead at planning time; `rails` which rails were asked and whether they let it
    pass. `bar` is the M5 bar decided, None between bars.
    """

    trade_id: TradeId
    ticket: Ticket
    at: Millis
    bar: Millis | None
    version: int
    state: TradeState
    score: float | None
    row: str | None = None
    to: TradeState | None = None
    steps: tuple[PlanStep, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    fallbacks: tuple[str, ...] = ()
    rails: tuple[tuple[str, bool], ...] = ()
    flags: tuple[str, ...] = ()
    policy_hash: str = ""
