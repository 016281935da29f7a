"""Trades, books and markets for the exit rules' tests, and a broker's answer to a proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dtms.core.exits import propose_all, settle
from dtms.core.settle import StepEnd
from dtms.domain.action import Action, Close, Reduce, SetStop
from dtms.domain.calendar import MarketHours
from dtms.domain.exits import ExitDecision, ExitSnapshot, ExitState, Proposal
from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.intent import Intent, IntentState, Planner, Precondition
from dtms.domain.market import Quote
from dtms.domain.policy.exits import ExitPolicy, ExitProfile
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.rules import ExitRule
from dtms.domain.score import Indicators, Session
from dtms.domain.trade import Owner, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Side, Ticket, TradeId

T0 = Millis(1_750_161_600_000)
"""A Tuesday, 12:00 UTC: every market is open."""

_BASE: dict[str, Any] = {
    "asset": AssetClass.FX,
    "digits": 5,
    "point": 0.00001,
    "tick_size": 0.00001,
    "contract_size": 100_000.0,
    "value_per_unit": 100_000.0,
    "volume_min": 0.01,
    "volume_max": 100.0,
    "volume_step": 0.01,
}
_INSTRUMENTS: dict[str, dict[str, Any]] = {
    "EURUSD": {},
    "USDJPY": {"digits": 3, "point": 0.001, "tick_size": 0.001, "value_per_unit": 100_000 / 150},
    "XAUUSD": {
        "asset": AssetClass.METAL,
        "digits": 2,
        "point": 0.01,
        "tick_size": 0.01,
        "contract_size": 100.0,
        "value_per_unit": 100.0,
    },
    "BTCUSD": {
        "asset": AssetClass.CRYPTO,
        "digits": 2,
        "point": 0.01,
        "tick_size": 0.01,
        "contract_size": 1.0,
        "value_per_unit": 1.0,
    },
    # A JPY account at 160 yen a dollar: a move of 1.0 on one lot is worth 16 million yen.
    "EURUSDj": {"value_per_unit": 16_000_000.0},
    "DE40": {
        "asset": AssetClass.INDEX,
        "digits": 1,
        "point": 0.1,
        "tick_size": 0.5,
        "contract_size": 1.0,
        "value_per_unit": 1.0,
        "volume_min": 0.1,
        "volume_step": 0.1,
    },
    "NI225": {
        "asset": AssetClass.INDEX,
        "digits": 0,
        "point": 1.0,
        "tick_size": 5.0,
        "contract_size": 10.0,
        "value_per_unit": 10.0,
        "volume_min": 1.0,
        "volume_step": 1.0,
    },
}
NAMES = tuple(_INSTRUMENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One accepted quote of a ride, and how the broker answers what is proposed on it."""

    quote: Quote
    end: StepEnd = StepEnd.APPLIED
    rejection: Rejection | None = None
    changes: tuple[tuple[str, object], ...] = ()


class Desk:
    """Makes what the rules are given; every value has a plain default, and keywords replace it."""

    t0 = T0
    names = NAMES
    step = Step

    def instrument(self, name: str = "EURUSD", **changes: Any) -> Instrument:
        values = {**_BASE, **_INSTRUMENTS[name], "symbol": name, "canonical": name[:6], **changes}
        return Instrument(**values)

    def trade(
        self, instrument: Instrument, side: Side, *, entry: float, r: float, volume: float = 1.0, **changes: Any
    ) -> Trade:
        stop = instrument.nearest(entry - side * r)
        trade = Trade(
            trade_id=TradeId("t1"),
            ticket=Ticket(1001),
            identifier=1001,
            symbol=instrument.symbol,
            side=side,
            entry=entry,
            initial_volume=Lots(volume),
            initial_stop=stop,
            r=abs(entry - stop),
            volume=Lots(volume),
            stop=stop,
            target=None,
            state=TradeState.HEALTHY,
            state_since=T0,
            version=1,
            owner=Owner.SHARED,
            registered_at=T0,
        )
        return replace(trade, **changes)

    def book(self, trade: Trade, profile: ExitProfile | None = None, **changes: Any) -> ExitState:
        numbers = ExitProfile() if profile is None else profile
        book = ExitState(trade_id=trade.trade_id, ticket=trade.ticket, profile_name="own", profile=numbers)
        return replace(book, **changes)

    def indicators(self, atr: float | None, **changes: Any) -> Indicators:
        quiet = Indicators(
            atr_m5=None,
            atr_m15=atr,
            squeeze=False,
            extension=0.0,
            extension_p90=3.0,
            ema50_m15_slope=0.0,
            ema200_m15_slope=0.0,
            ema50_h1_slope=0.0,
            vwap=None,
        )
        return replace(quiet, **changes)

    def quote(self, instrument: Instrument, bid: float, ask: float, *, at: int = T0) -> Quote:
        return Quote(symbol=instrument.symbol, at=Millis(at), bid=bid, ask=ask)

    def market(self, instrument: Instrument, bid: float, ask: float, *, now: int = T0, **changes: Any) -> ExitSnapshot:
        snapshot = ExitSnapshot(
            now=Millis(now),
            quote=self.quote(instrument, bid, ask, at=now),
            quote_stale=False,
            instrument=instrument,
            indicators=None,
            session=Session.LONDON,
            hours=MarketHours(instrument.asset),
            commission_per_lot=0.0,
            swap=0.0,
            vix=None,
            vix_age_ms=None,
            dtms_warns=False,
            bar_at=Millis(now - now % 300_000),
        )
        return replace(snapshot, **changes)

    def reflected(self, market: ExitSnapshot, centre: float) -> ExitSnapshot:
        """The same market in a mirror: p becomes 2c - p, so bid and ask change places and slopes their sign."""
        quote, seen = market.quote, market.indicators
        turned = replace(quote, bid=2 * centre - quote.ask, ask=2 * centre - quote.bid)
        if seen is not None:
            signed = ("extension", "ema50_m15_slope", "ema200_m15_slope", "ema50_h1_slope")
            values: dict[str, Any] = {name: _negative(getattr(seen, name)) for name in signed}
            seen = replace(seen, **values)
        return replace(market, quote=turned, indicators=seen)

    def intent(self, trade: Trade, proposal: Proposal, *, now: int, rejection: Rejection | None = None) -> Intent:
        receipt = None if rejection is None else Receipt(outcome=Outcome.REJECTED, code=1, rejection=rejection)
        return Intent(
            intent_id="i",
            trade_id=trade.trade_id,
            position=trade.identifier,
            decision_id="d",
            step=0,
            attempt=1,
            action=proposal.action,
            precondition=Precondition(),
            owner=Planner.EXITS,
            rule=proposal.rule,
            state=IntentState.ACKED,
            tag="tag",
            created_at=Millis(now),
            expires_at=None,
            receipt=receipt,
        )

    def answer(
        self,
        trade: Trade,
        book: ExitState,
        proposal: Proposal,
        *,
        now: int,
        end: StepEnd = StepEnd.APPLIED,
        rejection: Rejection | None = None,
    ) -> tuple[Trade, ExitState]:
        """Return trade and book after the broker's answer to one proposal."""
        after = _done(trade, proposal.action) if end is StepEnd.APPLIED else trade
        intent = self.intent(trade, proposal, now=now, rejection=rejection)
        return after, settle(book, intent, end, after, Millis(now))

    def ride(
        self, trade: Trade, book: ExitState, steps: Sequence[Step], market: ExitSnapshot, policy: ExitPolicy
    ) -> list[tuple[Trade, ExitState, ExitDecision]]:
        """Decide on each quote and apply the answers, until the stop is hit or the trade is closed."""
        seen: list[tuple[Trade, ExitState, ExitDecision]] = []
        for step in steps:
            at = step.quote.at
            values: dict[str, Any] = {
                "now": at,
                "quote": step.quote,
                "bar_at": Millis(at - at % 300_000),
                **dict(step.changes),
            }
            here = replace(market, **values)
            price = step.quote.executable(trade.side)
            if trade.volume <= 0 or (trade.stop is not None and trade.side * (price - trade.stop) <= 0):
                break
            decision = propose_all(trade, book, here, policy)
            book = decision.book
            for proposal in decision.proposals:
                trade, book = self.answer(trade, book, proposal, now=at, end=step.end, rejection=step.rejection)
            seen.append((trade, book, decision))
        return seen

    def stops(self, decision: ExitDecision) -> dict[ExitRule, Price]:
        return {each.rule: each.action.stop for each in decision.proposals if isinstance(each.action, SetStop)}

    def remaining(self, decision: ExitDecision) -> dict[ExitRule, Lots]:
        return {each.rule: each.action.remaining for each in decision.proposals if isinstance(each.action, Reduce)}

    def closes(self, decision: ExitDecision) -> tuple[ExitRule, ...]:
        return tuple(each.rule for each in decision.proposals if isinstance(each.action, Close))

    def skips(self, decision: ExitDecision) -> tuple[ExitRule | None, ...]:
        return tuple(each.rule for each in decision.skipped)


def _done(trade: Trade, action: Action) -> Trade:
    if isinstance(action, SetStop):
        return replace(trade, stop=action.stop, target=action.target, version=trade.version + 1)
    if isinstance(action, Reduce):
        return replace(trade, volume=action.remaining, version=trade.version + 1)
    return replace(trade, volume=Lots(0.0), version=trade.version + 1)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


@pytest.fixture(scope="session")
def desk() -> Desk:
    return Desk()
