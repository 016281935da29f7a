"""What each row of the transition table does at the broker: plans of absolute targets, every one through the arbiter.

A plan is complete when it is made: what follows where a required step turns out to be impossible stands in it as the
step's fallback.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from dtms.core import machine
from dtms.core.arbiter import review
from dtms.core.costs import SLIPPAGE_SPREADS, breakeven_level, unit_costs
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, ReAdd, Reduce, SetStop
from dtms.domain.policy import Policy
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Leg, PlanStep, Trade
from dtms.domain.transitions import PlanKind, Row
from dtms.domain.units import Lots, Price
from dtms.domain.verdict import Approved, Refusal, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in order, what was refused on the way, and what was taken instead.

    `impossible` says that the transition cannot happen now: a required step without fallback was refused.
    """

    steps: tuple[PlanStep, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    fallbacks: tuple[str, ...] = ()
    rails: tuple[tuple[str, bool], ...] = ()
    flags: tuple[str, ...] = ()
    impossible: bool = False

    def then(self, other: Plan) -> Plan:
        """Return this plan followed by another."""
        return Plan(
            steps=self.steps + other.steps,
            refusals=self.refusals + other.refusals,
            fallbacks=self.fallbacks + other.fallbacks,
            rails=self.rails + other.rails,
            flags=self.flags + other.flags,
            impossible=self.impossible or other.impossible,
        )


def make(row: Row, trade: Trade, snap: Snapshot, policy: Policy) -> Plan:
    """Return the plan of a row that holds."""
    match row.plan:
        case PlanKind.NONE:
            return Plan()
        case PlanKind.TIGHTEN:
            return tighten(trade, snap, policy)
        case PlanKind.PARTIAL:
            return _partial(trade, snap, policy)
        case PlanKind.HEDGE:
            return _hedge(trade, snap, policy)
        case PlanKind.UNHEDGE:
            return _unhedge(trade, snap, policy)
        case PlanKind.RE_ADD:
            return _re_add(trade, snap, policy)
        case PlanKind.CLOSE:
            return _close(trade)
        case PlanKind.CLOSE_CHILDREN:
            return Plan(steps=tuple(_closing(Close(ticket=leg.ticket), DefenceRule.CLOSE_CHILD) for leg in trade.legs))
        case _:
            assert_never(row.plan)


def closing(trade: Trade) -> Plan:
    """Return the closing plan of a trade, for who closes it by command: net exposure only falls on its way."""
    return _close(trade)


def tighten(trade: Trade, snap: Snapshot, policy: Policy, *, required: bool = False) -> Plan:
    """Return the plan that moves the stop closer to the price, empty where it gains too little or was done already."""
    target = _tighter_stop(trade, snap, policy)
    if target is None:
        return Plan()
    action = SetStop(ticket=trade.ticket, stop=target, target=trade.target)
    return _proposed(action, DefenceRule.TIGHTEN, trade, snap, policy, required=required)


def _tighter_stop(trade: Trade, snap: Snapshot, policy: Policy) -> Price | None:
    """Return price - side x max(0.3 R, 1.0 ATR(M15), stops + freeze level + 2 x spread), None where it is not better."""
    atr = None if snap.indicators is None else snap.indicators.atr_m15
    if snap.quote is None or snap.quote_stale or atr is None:
        return None
    price = snap.quote.executable(trade.side)
    done_at = trade.marks.tightened_at_r
    if done_at is not None and trade.r_multiple(price) < done_at + policy.defence.tighten_again_r:
        return None
    levels = snap.instrument.stops_level + snap.instrument.freeze_level
    distance = max(
        policy.defence.tighten_r * trade.r,
        policy.defence.tighten_atr * atr,
        levels + policy.defence.tighten_spreads * snap.quote.spread,
    )
    target = snap.instrument.stop(trade.side, price - trade.side * distance)
    least = max(snap.instrument.tick_size, policy.defence.tighten_min_r * trade.r)
    gained = None if trade.stop is None else trade.side * (target - trade.stop)
    enough = gained is None or gained >= least - 0.01 * snap.instrument.tick_size
    return target if enough else None


def _breakeven(trade: Trade, volume: float, snap: Snapshot, policy: Policy) -> Plan:
    """Return the plan that moves the stop to where nothing is lost, empty where the price does not allow it."""
    if snap.quote is None or snap.quote_stale:
        return Plan()
    costs = unit_costs(
        volume=volume,
        commission_per_lot=snap.commission_per_lot,
        swap=snap.swap_per_lot * volume,
        instrument=snap.instrument,
    )
    level = breakeven_level(
        side=trade.side,
        entry=trade.entry,
        costs=costs,
        allowance=SLIPPAGE_SPREADS * snap.quote.spread,
        instrument=snap.instrument,
    )
    beyond = trade.side * (snap.quote.executable(trade.side) - level)
    least = snap.instrument.stops_level + snap.instrument.freeze_level + snap.instrument.tick_size
    noise = 0.01 * snap.instrument.tick_size
    if beyond < least - noise or not snap.instrument.is_tighter(trade.side, level, trade.stop):
        return Plan()
    action = SetStop(ticket=trade.ticket, stop=level, target=trade.target)
    return _proposed(action, DefenceRule.BREAKEVEN, trade, snap, policy, required=False)


def _partial(trade: Trade, snap: Snapshot, policy: Policy) -> Plan:
    if trade.marks.defensive_partial_done:
        return _instead("partial_done", tighten(trade, snap, policy))
    remaining = _remaining(trade, policy.defence.partial_share, snap)
    if remaining is None:
        if policy.defence.small_lot == "close_all":
            return _instead("small_lot_close_all", _close(trade))
        return _instead("small_lot", tighten(trade, snap, policy))
    tighter = tighten(trade, snap, policy)
    reduction = _required(
        Reduce(ticket=trade.ticket, remaining=remaining),
        DefenceRule.PARTIAL,
        trade,
        snap,
        policy,
        tighter,
        "partial_refused",
    )
    if reduction.fallbacks:
        return reduction
    return reduction.then(_breakeven(trade, remaining, snap, policy))


def _remaining(trade: Trade, share: float, snap: Snapshot) -> Lots | None:
    """Return what is left after a share is closed, None where part or rest is below the minimum."""
    part = snap.instrument.lots_down(trade.volume * share)
    rest = snap.instrument.lots_down(trade.volume - part)
    return rest if part > 0 and rest > 0 else None


def _hedge(trade: Trade, snap: Snapshot, policy: Policy) -> Plan:
    instead = _reduction(trade, snap, policy)
    if trade.marks.hedge_used:
        return _instead("hedge_used", instead)
    volume = snap.instrument.lots_down(trade.volume * policy.defence.hedge_share)
    if volume <= 0:
        return _instead("hedge_below_minimum", tighten(trade, snap, policy))
    if policy.defence.defence == "reduce":
        return _instead("policy_reduce", instead)
    if not (snap.account.hedging and snap.instrument.hedge_allowed):
        return _instead("netting", _reduction(trade, snap, policy, rule=DefenceRule.HEDGE_EQUIVALENT))
    if machine.before_long_close(snap.now, snap.hours, policy.machine.no_hedge_before_close_minutes, policy.machine):
        return _instead("close_is_near", instead)
    atr = None if snap.indicators is None else snap.indicators.atr_m15
    if snap.quote is None or atr is None or trade.stop is None:
        return _instead("no_price", instead)
    side = trade.side.opposite
    distance = policy.defence.hedge_stop_atr * atr + snap.quote.spread
    action = OpenHedge(
        ticket=trade.ticket,
        side=side,
        volume=volume,
        stop=snap.instrument.stop(side, snap.quote.opening(side) - side * distance),
        target=trade.stop,
    )
    plan = _required(action, DefenceRule.HEDGE, trade, snap, policy, instead, "hedge_refused")
    steps = tuple(
        replace(step, own_stop_distance=distance) if isinstance(step.action, OpenHedge) else step for step in plan.steps
    )
    return replace(plan, steps=steps)


def _reduction(trade: Trade, snap: Snapshot, policy: Policy, rule: DefenceRule = DefenceRule.HEDGE_REDUCTION) -> Plan:
    """Return the plan that closes what a hedge would have covered: once a trade, else the stop is tightened."""
    remaining = _remaining(trade, policy.defence.hedge_share, snap)
    tighter = tighten(trade, snap, policy)
    if trade.marks.hedge_reduction_done:
        return _instead("reduction_done", tighter)
    if remaining is None:
        return _instead("small_lot", tighter)
    return _required(
        Reduce(ticket=trade.ticket, remaining=remaining), rule, trade, snap, policy, tighter, "reduction_refused"
    )


def _unhedge(trade: Trade, snap: Snapshot, policy: Policy) -> Plan:
    if trade.hedge is not None:
        action = CloseHedge(ticket=trade.ticket, hedge=trade.hedge.ticket)
        plan = _proposed(action, DefenceRule.UNHEDGE, trade, snap, policy, required=True)
        return plan if plan.steps else replace(plan, impossible=True)
    if trade.marks.hedge_equivalent <= 0 or trade.stop is None:
        return Plan()
    if machine.before_long_close(snap.now, snap.hours, policy.machine.no_hedge_before_close_minutes, policy.machine):
        return Plan(fallbacks=("close_is_near",))  # nothing is added so late: it stays reduced
    restore = ReAdd(
        ticket=trade.ticket,
        side=trade.side,
        volume=snap.instrument.lots_down(trade.marks.hedge_equivalent),
        stop=trade.stop,
        target=trade.target,
    )
    return _proposed(restore, DefenceRule.RESTORE, trade, snap, policy, required=False)


def _re_add(trade: Trade, snap: Snapshot, policy: Policy) -> Plan:
    taken = trade.marks.defensive_partial_volume
    wanted = policy.defence.re_add == "on" and not trade.marks.readd_done and taken > 0
    near = machine.before_long_close(snap.now, snap.hours, policy.machine.no_hedge_before_close_minutes, policy.machine)
    if not wanted or near or snap.quote is None or trade.stop is None:
        return Plan()
    entry = snap.quote.opening(trade.side)
    risk = trade.side * (entry - trade.stop)
    left = trade.r * trade.initial_volume - max(0.0, trade.favourable(trade.stop) * -1.0) * trade.volume
    by_risk = left / risk if risk > 0 else 0.0
    volume = snap.instrument.lots_down(min(taken, trade.initial_volume - trade.volume, by_risk))
    if volume <= 0:
        return Plan()
    action = ReAdd(ticket=trade.ticket, side=trade.side, volume=volume, stop=trade.stop, target=trade.target)
    return _proposed(action, DefenceRule.RE_ADD, trade, snap, policy, required=False)


def _close(trade: Trade) -> Plan:
    """Return the closing plan: net exposure only falls; it is *reduce* as a whole and no rail applies.

    The main leg goes down to the hedge's volume, then both are closed against each other; a hedge that is larger is
    brought down first. Where closing against is refused, the main leg goes first, the hedge after it.
    """
    hedge = trade.hedge
    others = tuple(
        _closing(Close(ticket=leg.ticket), DefenceRule.CLOSE_CHILD) for leg in trade.legs if leg is not hedge
    )
    if hedge is None:
        return Plan(steps=(*others, _closing(Close(ticket=trade.ticket), DefenceRule.CLOSE)))
    return Plan(steps=(*others, *_even(trade, hedge), _close_pair(trade, hedge)))


def _even(trade: Trade, hedge: Leg) -> tuple[PlanStep, ...]:
    if trade.volume > hedge.volume:
        return (_closing(Reduce(ticket=trade.ticket, remaining=hedge.volume), DefenceRule.CLOSE),)
    if hedge.volume > trade.volume:
        return (_closing(Reduce(ticket=hedge.ticket, remaining=trade.volume), DefenceRule.CLOSE),)
    return ()


def _close_pair(trade: Trade, hedge: Leg) -> PlanStep:
    apart = (
        _closing(Close(ticket=trade.ticket), DefenceRule.CLOSE),
        _closing(Close(ticket=hedge.ticket), DefenceRule.CLOSE_CHILD),
    )
    action = Close(ticket=trade.ticket, by=hedge.ticket)
    return PlanStep(action=action, rule=DefenceRule.CLOSE, required=True, fallback=apart, fallback_name="closed_apart")


def _closing(action: Action, rule: DefenceRule) -> PlanStep:
    return PlanStep(action=action, rule=rule, required=True)


def _instead(name: str, plan: Plan) -> Plan:
    return replace(plan, fallbacks=(name, *plan.fallbacks))


def _proposed(
    action: Action, rule: DefenceRule, trade: Trade, snap: Snapshot, policy: Policy, *, required: bool
) -> Plan:
    """Return the one-step plan of an action, or the plan that holds the arbiter's refusal."""
    ruling = review(action, trade, snap, policy, rule=rule)
    match ruling.answer:
        case Refusal() as refusal:
            return Plan(refusals=(refusal,), rails=ruling.rails)
        case Approved() as approved:
            at_r = None if snap.quote is None else trade.r_multiple(snap.quote.executable(trade.side))
            priced = isinstance(action, (SetStop, OpenHedge, ReAdd))
            taken = trade.volume - action.remaining if isinstance(action, Reduce) else 0.0
            step = PlanStep(
                action=approved.action, rule=rule, required=required, at_r=at_r, taken=taken, price_based=priced
            )
            return Plan(steps=(step,), rails=ruling.rails, flags=approved.flags)


def _required(
    action: Action,
    rule: DefenceRule,
    trade: Trade,
    snap: Snapshot,
    policy: Policy,
    instead: Plan,
    name: str,
) -> Plan:
    """Return the plan of a required action; where the arbiter refuses it, its fallback at once, under the rule's name."""
    plan = _proposed(action, rule, trade, snap, policy, required=True)
    if not plan.steps:
        refused = plan.refusals[0].rule
        return replace(plan, fallbacks=(f"{name}:{refused}",)).then(instead)
    step = replace(plan.steps[0], fallback=instead.steps, fallback_name=name)
    return replace(plan, steps=(step,))
