"""Trades, snapshots and a broker that answers at once, for the tests of machine, plans, settling, rails and arbiter.

Gold at 2,000.00 with a spread of 0.20, R = 10.00 and ATR(M15) = 4.00, so that every target can be worked out by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from dtms.core import machine, settle
from dtms.core.decide import decide
from dtms.core.settle import SettleContext, Settled, StepEnd
from dtms.domain.action import Action, CloseHedge, OpenHedge, ReAdd, Reduce
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.market import Quote
from dtms.domain.modes import Mode
from dtms.domain.policy import Policy
from dtms.domain.position import Account, AccountKind
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.score import (
    Confluence,
    Indicators,
    MarketView,
    Regime,
    Score,
    Session,
    Structure,
    StructureEvent,
    StructureEventKind,
    Volatility,
)
from dtms.domain.trade import Leg, LegKind, OnceFlags, Owner, PlanStep, ScorePoint, Trade, TradeState
from dtms.domain.units import HOUR, MINUTE, SECOND, Lots, Millis, Price, Side, Ticket, TradeId
from dtms.domain.verdict import RailFacts, Snapshot, Verdict

T0 = Millis(1_750_161_600_000)
"""A Tuesday, 12:00 UTC: every market is open, and a bar of every timeframe has just ended."""
FRIDAY_CLOSE = Millis(1_750_453_200_000)
"""Friday of the same week, 17:00 New York, 21:00 UTC: gold closes for the weekend."""
BAR = 5 * MINUTE
ENTRY = 2_000.0
R = 10.0
ATR = 4.0
SPREAD = 0.2
TICKET = Ticket(101)
HEDGE_TICKET = Ticket(102)
POLICY = Policy()
CALM = RailFacts(
    day_loss=0.0,
    hour_loss=0.0,
    losing_streak=0,
    news="",
    news_known=True,
    spread=SPREAD,
    spread_median=SPREAD,
    margin_level=1_000.0,
    quote_stale=False,
)
"""Nothing that would deny an increase of risk."""
GOLD = Instrument(
    symbol="XAUUSD",
    canonical="XAUUSD",
    asset=AssetClass.METAL,
    digits=2,
    point=0.01,
    tick_size=0.01,
    contract_size=100.0,
    value_per_unit=100.0,
    volume_min=0.01,
    volume_max=100.0,
    volume_step=0.01,
)
ACCOUNT = Account(
    login=1,
    server="Test",
    kind=AccountKind.SIMULATED,
    currency="USD",
    currency_digits=2,
    hedging=True,
    fifo=False,
    balance=10_000.0,
    equity=10_000.0,
    margin=100.0,
    margin_free=9_900.0,
    margin_level=10_000.0,
    trade_allowed=True,
)
NETTING = replace(ACCOUNT, hedging=False)
HOURS = MarketHours(AssetClass.METAL)
INDICATORS = Indicators(
    atr_m5=2.0,
    atr_m15=ATR,
    squeeze=False,
    extension=0.0,
    extension_p90=None,
    ema50_m15_slope=0.0,
    ema200_m15_slope=0.0,
    ema50_h1_slope=0.0,
    vwap=None,
)
_REGIME = Regime(
    session=Session.LONDON,
    volatility=Volatility.NORMAL,
    structure=Structure.TREND,
    threshold=0.001,
    calibrated=True,
)


def make_trade(state: TradeState = TradeState.HEALTHY, side: Side = Side.BUY, **changes: Any) -> Trade:
    """Return a trade of one lot that was registered an hour before and has been in its state for ten bars."""
    stop = Price(ENTRY - side * R)
    trade = Trade(
        trade_id=TradeId("101"),
        ticket=TICKET,
        identifier=101,
        symbol="XAUUSD",
        side=side,
        entry=ENTRY,
        initial_volume=Lots(1.0),
        initial_stop=stop,
        r=R,
        volume=Lots(1.0),
        stop=stop,
        target=None,
        state=state,
        state_since=Millis(T0 - HOUR),
        version=1,
        owner=Owner.DTMS if state in (TradeState.WARNING_L2, TradeState.HEDGED) else Owner.SHARED,
        registered_at=Millis(T0 - HOUR),
        bars_in_state=10,
        bars_since_registration=10,
    )
    return replace(trade, **changes)


def make_hedge(side: Side = Side.BUY, **changes: Any) -> Leg:
    """Return the hedge of a trade on this side: half a lot, filled an hour ago at the entry."""
    hedge = Leg(
        kind=LegKind.HEDGE,
        ticket=HEDGE_TICKET,
        identifier=102,
        side=side.opposite,
        volume=Lots(0.5),
        entry=ENTRY,
        stop=Price(ENTRY + side * 6.2),
        target=Price(ENTRY - side * R),
        opened_at=Millis(T0 - HOUR),
    )
    return replace(hedge, **changes)


def make_hedged(side: Side = Side.BUY, **changes: Any) -> Trade:
    """Return a HEDGED trade with an open hedge of half its volume."""
    marks = OnceFlags(defensive_partial_done=True, hedge_used=True, hedge_filled_at=Millis(T0 - HOUR))
    given: dict[str, Any] = {"legs": (make_hedge(side),), "children": (102,), "marks": marks, **changes}
    return make_trade(TradeState.HEDGED, side, **given)


def make_quote(price: float, side: Side = Side.BUY, at: int = T0, spread: float = SPREAD) -> Quote:
    """Return a quote whose executable price for this side is `price`."""
    bid = price if side is Side.BUY else round(price - spread, 10)
    ask = round(price + spread, 10) if side is Side.BUY else price
    return Quote(symbol="XAUUSD", at=Millis(at), bid=bid, ask=ask)


def make_score(side: Side, total: float | None, at: int = T0, **changes: Any) -> Score:
    score = Score(
        symbol="XAUUSD",
        side=side,
        at=Millis(at),
        total=total,
        missing="" if total is not None else "not asked",
        layers=(),
        confluence=Confluence.MIXED,
        regime=_REGIME,
        flip_against=False,
        opposite_share_high=None,
    )
    return replace(score, **changes)


def make_view(
    side: Side,
    total: float | None,
    *,
    at: int = T0,
    events: Iterable[StructureEventKind] = (),
    atr: float | None = ATR,
    **score: Any,
) -> MarketView:
    """Return the view of the bar that ends at `at`; only this side has a score."""
    mine = make_score(side, total, at, **score)
    other = make_score(side.opposite, None, at)
    return MarketView(
        symbol="XAUUSD",
        at=Millis(at),
        close=ENTRY,
        buy=mine if side is Side.BUY else other,
        sell=other if side is Side.BUY else mine,
        indicators=replace(INDICATORS, atr_m15=atr),
        events=tuple(StructureEvent(kind=kind, at=Millis(at)) for kind in events),
    )


def snapshot(
    side: Side = Side.BUY,
    price: float = ENTRY,
    *,
    now: int = T0 + 2 * SECOND,
    view: MarketView | None = None,
    score: float | None = None,
    **changes: Any,
) -> Snapshot:
    """Return what a decision sees between two bars, or on the bar of `view`."""
    seen = Snapshot(
        now=Millis(now),
        instrument=GOLD,
        account=ACCOUNT,
        hours=HOURS,
        quote=make_quote(price, side, now),
        quote_stale=False,
        view=view,
        score=score if view is None else view.score(side).total,
        indicators=INDICATORS if view is None else view.indicators,
        gone=False,
        hedge_gone=False,
        rails=CALM,
        kill=None,
        mode=Mode.NORMAL,
        commission_per_lot=0.0,
        swap_per_lot=0.0,
        oldest_on_symbol=True,
    )
    return replace(seen, **changes)


def on_bar(
    trade: Trade,
    total: float | None,
    *,
    price: float = ENTRY,
    at: int = T0,
    events: Iterable[StructureEventKind] = (),
    score: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[Trade, Snapshot]:
    """Return trade and snapshot of the decision on a closed bar, with that bar observed."""
    view = make_view(trade.side, total, at=at, events=events, **(score or {}))
    snap = snapshot(trade.side, price, now=at + 2 * SECOND, view=view, **changes)
    return machine.observe(trade, view), snap


def ran(*totals: float, until: int = T0, step: int = BAR) -> tuple[ScorePoint, ...]:
    """Return the remembered scores of the bars before the one that ends at `until`, the last of them just before it."""
    return tuple(
        ScorePoint(at=Millis(until - step * (len(totals) - place)), total=total) for place, total in enumerate(totals)
    )


def row_of(trade: Trade, snap: Snapshot, policy: Policy = POLICY) -> str | None:
    """Return the name of the row that holds now."""
    row = machine.next_row(trade, snap, policy.machine)
    return None if row is None else row.name


def scene(now: int = T0 + 2 * SECOND, policy: Policy = POLICY, instrument: Instrument = GOLD) -> SettleContext:
    return SettleContext(now=Millis(now), instrument=instrument, hours=HOURS, policy=policy)


def actions(steps: Iterable[PlanStep]) -> list[Action]:
    return [step.action for step in steps]


def refused(rejection: Rejection) -> Receipt:
    return Receipt(outcome=Outcome.REJECTED, code=1, rejection=rejection)


def filled(trade: Trade, action: Action, quote: Quote, *, price: float | None = None, volume: float = 0.0) -> Receipt:
    """Return the receipt of an action that was carried out, openings at the price of the quote or at `price`."""
    match action:
        case OpenHedge() | ReAdd():
            number = 200 + len(trade.children)
            return Receipt(
                outcome=Outcome.APPLIED,
                code=10009,
                ticket=number,
                position=number,
                filled=volume or action.volume,
                price=quote.opening(action.side) if price is None else price,
            )
        case Reduce():
            return Receipt(outcome=Outcome.APPLIED, code=10009, filled=volume or trade.volume - action.remaining)
        case _:
            return Receipt(outcome=Outcome.APPLIED, code=10009, filled=volume)


@dataclass(slots=True)
class Broker:
    """Answers every step of a plan at once, as `ends` says; counts what it closed and opened."""

    policy: Policy = POLICY
    ends: Callable[[Action], StepEnd] = lambda _action: StepEnd.APPLIED
    closed: float = 0.0
    reductions: int = 0
    hedges: int = 0
    readds: int = 0

    def carry_out(self, trade: Trade, snap: Snapshot) -> Trade:
        """Carry out the plan under way until it has committed or waits."""
        stage = scene(snap.now, self.policy, snap.instrument)
        while (step := settle.present_step(trade, snap.now)) is not None:
            end = self.ends(step.action)
            receipt = None
            if end is StepEnd.APPLIED and snap.quote is not None:
                receipt = filled(trade, step.action, snap.quote)
            elif end is StepEnd.REJECTED:
                receipt = refused(Rejection.LIMIT_REACHED)
            before = trade.volume
            trade = settle.settle(trade, step.action, end, receipt, stage).trade
            if end is StepEnd.APPLIED:
                self._count(step.action, before - trade.volume)
        return trade

    def decide(self, trade: Trade, snap: Snapshot) -> tuple[Trade, Verdict]:
        """Decide, begin what the verdict says, and carry it out."""
        verdict = decide(snap, trade, self.policy)
        begun: Settled = settle.begin(trade, verdict, scene(snap.now, self.policy, snap.instrument))
        return self.carry_out(begun.trade, snap), verdict

    def _count(self, action: Action, off: float) -> None:
        match action:
            case Reduce(ticket=ticket) if ticket == TICKET:
                self.closed += off
                self.reductions += 1
            case OpenHedge():
                self.hedges += 1
            case ReAdd():
                self.readds += 1
            case CloseHedge():
                pass
            case _:
                pass
