"""The arbiter: rules propose, it disposes. Safety lives here once; the executor takes only what it approved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dtms.core import rails
from dtms.domain.action import Action, Close, OpenHedge, OpenTrade, Reduce, RiskDirection, SetStop, risk_of
from dtms.domain.instrument import Instrument
from dtms.domain.modes import Mode
from dtms.domain.policy import Policy
from dtms.domain.rules import Rule
from dtms.domain.trade import Hold, Trade
from dtms.domain.verdict import Approved, KillLevel, Refusal, Snapshot

_NOISE_TICKS = 0.01
"""The difference of two prices on the grid is no exact multiple of it in binary fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The arbiter's word on one action, with the rails it asked."""

    answer: Approved | Refusal
    rails: tuple[tuple[str, bool], ...] = ()

    @property
    def approved(self) -> bool:
        """Say whether the action may be planned."""
        return isinstance(self.answer, Approved)


def review(action: Action, trade: Trade, snap: Snapshot, policy: Policy, *, rule: Rule) -> Ruling:
    """Return whether an action may be planned.

    Args:
        action: The absolute target, quantised.
        trade: The trade as the decision saw it.
        snap: What else the decision saw.
        policy: Grants and limits.
        rule: Who proposes it, for the record.

    Returns:
        `Approved` with the direction of risk and any flags, or the `Refusal` with the first rule that denied.
    """
    for refused, reason in _denials(action, trade, snap):
        return Ruling(answer=Refusal(rule=refused, reason=reason, action=action))
    risk = risk_of(action)
    if risk is not RiskDirection.INCREASE:
        return Ruling(answer=Approved(action=action, rule=rule, risk=risk))
    return _review_increase(action, snap, policy, rule)


def review_opening(action: OpenTrade, snap: Snapshot, policy: Policy, *, rule: Rule) -> Ruling:
    """Return whether a new position may be planned: nobody's trade yet, so only mode, kill switch, price and rails count.

    At any level of the kill switch, PAUSE too, nothing is opened.
    """
    for refused, reason in _opening_denials(action, snap):
        return Ruling(answer=Refusal(rule=refused, reason=reason, action=action))
    return _review_increase(action, snap, policy, rule)


def _opening_denials(action: OpenTrade, snap: Snapshot) -> Iterator[tuple[str, str]]:
    if snap.kill is not None:
        yield "kill_switch", f"the kill switch is at {snap.kill}; nothing is opened"
    if snap.mode in (Mode.HALT, Mode.PROTECT_ONLY):
        yield "mode", f"the system is in {snap.mode}; nothing is opened"
    if not snap.account.trade_allowed:
        yield "trade_disabled", "the broker does not let this account trade now"
    if not snap.instrument.opening_allowed:
        yield "trade_mode", f"the broker allows only closing on {action.symbol}"
    if snap.quote is None:
        yield "no_quote", "no accepted quote yet"
        return
    distance = action.side * (snap.quote.executable(action.side) - action.stop)
    least = max(snap.instrument.stops_level, 0.5 * snap.instrument.tick_size)
    if distance < least - _NOISE_TICKS * snap.instrument.tick_size:
        yield "stops_level", _too_near(snap.instrument, action.stop, distance, least)


def _review_increase(action: Action, snap: Snapshot, policy: Policy, rule: Rule) -> Ruling:
    answers = rails.ask(snap.rails, policy.rails)
    asked = tuple((answer.rail, answer.allowed) for answer in answers)
    denial = next((answer for answer in answers if not answer.allowed), None)
    if denial is not None:
        return Ruling(answer=Refusal(rule=denial.rail, reason=denial.reason, action=action), rails=asked)
    flags = tuple(answer.flag for answer in answers if answer.flag)
    approved = Approved(action=action, rule=rule, risk=RiskDirection.INCREASE, flags=flags)
    return Ruling(answer=approved, rails=asked)


def _denials(action: Action, trade: Trade, snap: Snapshot) -> Iterator[tuple[str, str]]:
    if trade.hold is not Hold.NONE:
        yield "hold", f"ticket {trade.ticket} is observed only: {trade.hold}"
    if snap.mode is Mode.HALT:
        yield "mode", "the system is in HALT; nothing is sent automatically"
    match action:
        case SetStop():
            yield from _stop_denials(action, trade, snap)
        case Reduce() | Close():
            if snap.account.fifo and not snap.oldest_on_symbol:
                yield (
                    "fifo",
                    f"ticket {trade.ticket} is not the oldest on {trade.symbol}; a FIFO account closes that first",
                )
        case OpenHedge() if not (snap.account.hedging and snap.instrument.hedge_allowed):
            yield "hedge_impossible", f"account or symbol {trade.symbol} does not allow a hedge"
        case _:
            pass
    if risk_of(action) is RiskDirection.INCREASE:
        if snap.mode is Mode.PROTECT_ONLY or snap.kill in (KillLevel.PROTECT_ONLY, KillLevel.FLATTEN):
            yield "mode", "only what reduces risk is let through"
        if not snap.instrument.opening_allowed:
            yield "trade_mode", f"the broker allows only closing on {trade.symbol}"


def _stop_denials(action: SetStop, trade: Trade, snap: Snapshot) -> Iterator[tuple[str, str]]:
    if action.ticket != trade.ticket:
        return  # a child's stop follows its parent; the gateway checks it against the child itself
    present = trade.stop
    same = snap.instrument.same_price(action.stop, present)
    if not action.widens and not same and not snap.instrument.is_tighter(trade.side, action.stop, present):
        shown = "none" if present is None else snap.instrument.shown(present)
        yield "monotone_stop", f"stop {snap.instrument.shown(action.stop)} would loosen {shown}"
    if snap.quote is None:
        yield "no_quote", "no accepted quote yet"
        return
    distance = trade.side * (snap.quote.executable(trade.side) - action.stop)
    least = snap.instrument.stops_level
    if distance < max(least, 0.5 * snap.instrument.tick_size) - _NOISE_TICKS * snap.instrument.tick_size:
        yield "stops_level", _too_near(snap.instrument, action.stop, distance, least)


def _too_near(instrument: Instrument, stop: float, distance: float, least: float) -> str:
    shown = instrument.shown
    return f"stop {shown(stop)} is {shown(distance)} from the price, the broker asks for {shown(least)}"
