"""The laws of the machine: mirror, monotone stop, bounded closing, one answer to one question, nothing undeclared."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.core_machine.bench import (
    BAR,
    GOLD,
    NETTING,
    POLICY,
    T0,
    TICKET,
    Broker,
    filled,
    make_trade,
    refused,
    scene,
)
from tests.core_machine.ride import CENTRE, DENIED, Bar, bars, decided, rides, seen

from dtms.core import machine, settle
from dtms.core.decide import decide
from dtms.core.settle import StepEnd
from dtms.domain.action import Action, Close, OpenHedge, ReAdd, Reduce, RiskDirection, SetStop, risk_of
from dtms.domain.policy import DefencePolicy, Policy
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.trade import Owner, PlanStep, Trade, TradeState
from dtms.domain.transitions import ROWS, TABLE, PlanKind
from dtms.domain.units import SECOND, Lots, Millis, Price, Side
from dtms.domain.verdict import Snapshot, Verdict

POLICIES = [
    POLICY,
    replace(POLICY, defence=DefencePolicy(defence="reduce")),
    replace(POLICY, defence=DefencePolicy(small_lot="close_all", re_add="on")),
]
_policies = st.sampled_from(POLICIES)


def reflected(price: Price | None) -> Price | None:
    return None if price is None else Price(round(2 * CENTRE - price, 2))


def mirrored(action: Action) -> Action:
    """Return the action as the other side would see it."""
    match action:
        case SetStop() | OpenHedge() | ReAdd():
            changes: dict[str, Any] = {"stop": reflected(action.stop), "target": reflected(action.target)}
            if not isinstance(action, SetStop):
                changes["side"] = action.side.opposite
            return replace(action, **changes)
        case _:
            return action


def told(verdict: Verdict) -> tuple[Any, ...]:
    return (
        verdict.row,
        verdict.fallbacks,
        [refusal.rule for refusal in verdict.refusals],
        verdict.rails,
        verdict.flags,
    )


def all_steps(steps: tuple[PlanStep, ...]) -> list[PlanStep]:
    """Return the steps of a plan with everything that could follow where one is impossible."""
    return [found for step in steps for found in (step, *all_steps(step.fallback))]


def main_risk(trade: Trade) -> float:
    """Return the money, in price units times lots, that the main leg loses at its stop, at least 0."""
    assert trade.stop is not None
    return max(0.0, -trade.favourable(trade.stop)) * trade.volume


@given(market=rides, policy=_policies)
def test_a_mirrored_market_gives_the_mirrored_decisions(market: list[Bar], policy: Policy) -> None:
    both = itertools.zip_longest(decided(market, Side.BUY, policy=policy), decided(market, Side.SELL, policy=policy))
    for buy, sell in both:
        assert (buy is None) == (sell is None)
        (mine, said, _), (other, answer, _) = buy, sell
        assert told(said) == told(answer)
        assert [mirrored(step.action) for step in all_steps(said.steps)] == [
            step.action for step in all_steps(answer.steps)
        ]
        assert (mine.state, mine.volume, mine.stop) == (other.state, other.volume, reflected(other.stop))


@given(market=rides, policy=_policies, side=st.sampled_from(Side))
def test_a_stop_never_goes_to_the_losing_side_of_where_it_was(market: list[Bar], policy: Policy, side: Side) -> None:
    last = Price(CENTRE - side * 10.0)
    for trade, _, _ in decided(market, side, policy=policy):
        assert trade.stop is not None
        assert side * (trade.stop - last) >= 0
        last = trade.stop


@given(market=rides, policy=_policies, side=st.sampled_from(Side))
def test_the_worst_loss_at_the_stop_never_grows_without_a_grant(market: list[Bar], policy: Policy, side: Side) -> None:
    unwilling = [replace(bar, denied=True) for bar in market]
    risk = 10.0
    for trade, verdict, _ in decided(unwilling, side, policy=policy):
        planned = all_steps(verdict.steps)
        assert [step.action for step in planned if risk_of(step.action) is RiskDirection.INCREASE] == []
        if trade.is_open:
            assert main_risk(trade) <= risk + 1e-9
            risk = main_risk(trade)


@given(market=rides, side=st.sampled_from(Side))
def test_without_buying_back_the_main_legs_loss_at_the_stop_never_grows_even_with_every_rail_open(
    market: list[Bar], side: Side
) -> None:
    risk = 10.0
    for trade, _, _ in decided([replace(bar, denied=False) for bar in market], side):
        if trade.is_open:
            assert main_risk(trade) <= risk + 1e-9
            risk = main_risk(trade)


@given(market=rides, side=st.sampled_from(Side))
def test_with_buying_back_the_loss_at_the_stops_never_exceeds_the_first_risk(market: list[Bar], side: Side) -> None:
    policy = POLICIES[2]
    for trade, _, _ in decided([replace(bar, denied=False) for bar in market], side, policy=policy):
        added = sum(
            max(0.0, side * (leg.entry - (leg.stop or 0.0))) * leg.volume for leg in trade.legs if leg.side is side
        )
        if trade.is_open:
            assert main_risk(trade) + added <= 10.0 + 1e-6
            assert trade.volume + sum(leg.volume for leg in trade.legs if leg.side is side) <= 1.0 + 1e-9


@given(market=rides, policy=_policies, side=st.sampled_from(Side))
def test_the_same_question_asked_twice_has_the_same_answer(market: list[Bar], policy: Policy, side: Side) -> None:
    trade = make_trade(side=side)
    for place, bar in enumerate(market):
        snap = seen(bar, side, T0 + place * BAR)
        assert snap.view is not None
        observed = machine.observe(trade, snap.view)
        first = decide(snap, observed, policy)
        assert decide(snap, observed, policy) == first
        begun = settle.begin(observed, first, scene(snap.now, policy))
        assert settle.begin(observed, first, scene(snap.now, policy)) == begun
        trade = Broker(policy=policy).carry_out(begun.trade, snap)


@given(market=rides, policy=_policies)
def test_only_declared_transitions_happen_and_the_version_grows_with_each(market: list[Bar], policy: Policy) -> None:
    before = make_trade(bars_in_state=2, bars_since_registration=0, registered_at=T0)
    for trade, verdict, _ in decided(market, policy=policy):
        if trade.state is not before.state:
            assert (before.state, trade.state) in TABLE
            assert verdict.row in {row.name for row in TABLE[before.state, trade.state]}
            assert trade.version > before.version
        assert trade.version >= before.version
        before = trade


@given(market=rides)
def test_a_scale_of_prices_scales_the_stops_and_changes_no_decision(market: list[Bar]) -> None:
    """Ten times the prices and ticks: gold quoted in tenths gives the same rows, and stops ten times as far."""
    coarse = replace(GOLD, tick_size=0.1, point=0.1, digits=1, value_per_unit=10.0)

    def scaled(snap: Snapshot) -> Snapshot:
        assert snap.quote is not None
        assert snap.indicators is not None
        assert snap.indicators.atr_m15 is not None
        assert snap.view is not None
        quote = replace(snap.quote, bid=round(snap.quote.bid * 10, 1), ask=round(snap.quote.ask * 10, 1))
        indicators = replace(snap.indicators, atr_m15=snap.indicators.atr_m15 * 10)
        return replace(
            snap,
            instrument=coarse,
            quote=quote,
            indicators=indicators,
            view=replace(snap.view, indicators=indicators),
        )

    ten = decided(market, change=scaled, entry=20_000.0, r=100.0, stop=Price(19_900.0), initial_stop=Price(19_900.0))
    for plain, big in itertools.zip_longest(decided(market), ten):
        assert (plain is None) == (big is None)
        assert told(plain[1]) == told(big[1])
        assert (plain[0].state, plain[0].volume) == (big[0].state, big[0].volume)
        assert plain[0].stop is not None
        assert big[0].stop == pytest.approx(plain[0].stop * 10)


# ----- flapping

FALL = (-2.0, -2.0, -2.0, -4.0, -4.0, -4.0, -6.0, -6.0, -6.0)
RISE = (-1.0, -1.0, -1.0, 1.0, 1.0, 1.0)


def off(policy: Policy, market: list[Bar], **first: Any) -> tuple[Broker, Trade]:
    """Ride and return the broker's counts with the last trade."""
    broker = Broker(policy=policy)
    last = make_trade()
    for trade, _, _ in decided(market, policy=policy, broker=broker, **first):
        last = trade
    return broker, last


@pytest.mark.parametrize("policy", POLICIES[:2], ids=["hedge", "reduce"])
@pytest.mark.parametrize(
    "wave",
    [(*FALL, *RISE), (-4.0, 0.0), (-6.0, 1.0), (-6.0, -6.0, -1.0, -1.0), (-2.0, 0.0)],
    ids=["through all states", "between warnings", "extremes", "in and out of the hedge", "first warning"],
)
def test_a_score_that_flaps_ten_thousand_times_closes_no_more_than_one_full_fall(
    policy: Policy, wave: tuple[float, ...]
) -> None:
    market = [Bar(score, 0) for score in itertools.islice(itertools.cycle(wave), 10_000)]
    broker, last = off(policy, market)
    # Half of it, and once half of the rest in a hedge's place: what a trade that falls all the way gives up.
    assert broker.closed <= 0.75 + 1e-9
    assert broker.reductions <= 2
    assert broker.hedges <= 1
    assert last.volume >= 0.25 or last.state is TradeState.CLOSED


def test_a_full_fall_under_the_policy_reduce_closes_three_quarters_and_ten_thousand_more_close_nothing_else() -> None:
    one, _ = off(POLICIES[1], [Bar(score, 0) for score in FALL])
    many, _ = off(POLICIES[1], [Bar(score, 0) for score in (FALL + RISE) * 800])
    assert (one.closed, many.closed) == (0.75, 0.75)
    assert (one.reductions, many.reductions) == (2, 2)


def test_on_netting_the_hedges_volume_goes_and_comes_once() -> None:
    broker = Broker()
    market = [Bar(score, 0) for score in (FALL + RISE) * 20]
    seen_states = set()
    volumes = []
    for trade, _, _ in decided(market, broker=broker, change=lambda snap: replace(snap, account=NETTING)):
        seen_states.add(trade.state)
        volumes.append(trade.volume + sum(leg.volume for leg in trade.legs))
    assert (broker.hedges, broker.reductions) == (0, 2)
    assert broker.readds == 1
    assert max(volumes) == 1.0
    assert TradeState.HEDGED in seen_states


def test_a_part_is_bought_back_once_however_often_the_trade_recovers() -> None:
    policy = POLICIES[2]
    broker, _ = off(policy, [Bar(score, 0) for score in (FALL + RISE) * 50])
    assert broker.readds == 1


# ----- anything may happen to anything

_ENDS = st.sampled_from((StepEnd.APPLIED, *StepEnd))
"""Every end, and a good one twice."""


def public(trade: Trade) -> tuple[Any, ...]:
    return (trade.state, trade.pending_to, trade.stop, trade.target, trade.volume, trade.legs)


class Defence(RuleBasedStateMachine):
    """One trade under a market and a broker that do what they like."""

    policy = POLICY

    @initialize(policy=_policies, side=st.sampled_from(Side), netting=st.booleans(), fifo=st.booleans())
    def start(self, policy: Policy, side: Side, netting: bool, fifo: bool) -> None:
        self.policy = policy
        self.account = replace(NETTING, hedging=not netting, fifo=fifo)
        self.trade = make_trade(side=side, bars_in_state=2)
        self.before = self.trade
        self.now = int(T0)
        self.opened = 1.0
        self.off: dict[str, float] = {"defence.partial": 0.0, "reduction": 0.0}
        self.hedges = 0
        self.snap = seen(Bar(0.0, 0), side, self.now)

    def _moved(self, trade: Trade) -> None:
        self.before, self.trade = self.trade, trade

    @precondition(lambda self: self.trade.is_open)
    @rule(bar=bars, gone=st.sampled_from((False,) * 9 + (True,)), hedge_gone=st.sampled_from((False,) * 9 + (True,)))
    def bar(self, bar: Bar, gone: bool, hedge_gone: bool) -> None:
        self.now += bar.gap * BAR
        stops = {"gone": gone, "hedge_gone": hedge_gone and self.trade.hedge is not None, "account": self.account}
        self.snap = seen(bar, self.trade.side, self.now, **stops)
        assert self.snap.view is not None
        observed = machine.observe(self.trade, self.snap.view)
        verdict = decide(self.snap, observed, self.policy)
        if verdict.row is not None and self.trade.pending is not None:
            assert verdict.to is TradeState.CLOSED
        self._moved(settle.begin(observed, verdict, scene(self.snap.now, self.policy)).trade)

    @precondition(lambda self: settle.present_step(self.trade, Millis(self.now + 2 * SECOND)) is not None)
    @rule(end=_ENDS, rejection=st.sampled_from(list(Rejection)), share=st.floats(0.1, 0.9))
    def answer(self, end: StepEnd, rejection: Rejection, share: float) -> None:
        step = settle.present_step(self.trade, Millis(self.now + 2 * SECOND))
        assert step is not None
        assert self.snap.quote is not None
        receipt: Receipt | None = None
        if end is StepEnd.REJECTED:
            receipt = refused(rejection)
        elif end in (StepEnd.APPLIED, StepEnd.PARTIAL):
            receipt = self._filled(step.action, end, share)
        stage = scene(self.now + 2 * SECOND, self.policy)
        volume = self.trade.volume
        self._moved(settle.settle(self.trade, step.action, end, receipt, stage).trade)
        if isinstance(step.action, Reduce) and step.action.ticket == TICKET and self.trade.is_open:
            name = "defence.partial" if step.rule == "defence.partial" else "reduction"
            if step.rule != "defence.close":
                self.off[name] += volume - self.trade.volume
        if end in (StepEnd.APPLIED, StepEnd.PARTIAL) and isinstance(step.action, OpenHedge):
            self.hedges += 1
        if end is StepEnd.APPLIED and isinstance(step.action, ReAdd):
            self.opened += step.action.volume

    def _filled(self, action: Action, end: StepEnd, share: float) -> Receipt:
        assert self.snap.quote is not None
        whole = filled(self.trade, action, self.snap.quote)
        if end is StepEnd.APPLIED:
            return whole
        held = self._held(action)
        part = max(0.01, round(held * share, 2))
        return replace(whole, outcome=Outcome.PARTIAL, filled=min(part, held))

    def _held(self, action: Action) -> float:
        """Return how much an action would trade at most."""
        match action:
            case OpenHedge() | ReAdd():
                return action.volume
            case Reduce(ticket=ticket, remaining=remaining):
                held = {TICKET: self.trade.volume, **{leg.ticket: leg.volume for leg in self.trade.legs}}
                return max(0.01, held.get(ticket, 0.01) - remaining)
            case Close(ticket=ticket):
                held = {TICKET: self.trade.volume, **{leg.ticket: leg.volume for leg in self.trade.legs}}
                return max(0.01, held.get(ticket, 0.01))
            case _:
                return 0.01

    @rule(seconds=st.sampled_from((1, 5, 300)))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @invariant()
    def only_declared_transitions(self) -> None:
        old, new = self.before.state, self.trade.state
        assert old is new or (old, new) in TABLE

    @invariant()
    def version_grows_with_what_is_shown_and_never_falls(self) -> None:
        assert self.trade.version >= self.before.version
        if public(self.trade) != public(self.before):
            assert self.trade.version > self.before.version

    @invariant()
    def stop_never_loosens(self) -> None:
        assert self.trade.stop is not None
        assert self.before.stop is not None
        assert self.trade.side * (self.trade.stop - self.before.stop) >= 0

    @invariant()
    def closes_no_more_than_was_opened(self) -> None:
        assert self.trade.volume >= 0
        assert self.trade.volume <= self.opened + 1e-9

    @invariant()
    def once_a_trade(self) -> None:
        assert self.hedges <= 1
        assert self.off["defence.partial"] <= 0.5 + 1e-9
        assert self.off["reduction"] <= 0.5 + 1e-9

    @invariant()
    def closed_has_nothing_open(self) -> None:
        if self.trade.state is TradeState.CLOSED:
            assert (self.trade.legs, self.trade.pending, self.trade.volume) == ((), None, 0.0)
            assert machine.next_row(self.trade, self.snap, self.policy.machine) is None

    @invariant()
    def owner_says_who_defends(self) -> None:
        if self.trade.is_open:
            assert self.trade.owner is (Owner.DTMS if self.trade.defensive else Owner.SHARED)

    @invariant()
    def plan_never_runs_past_its_end(self) -> None:
        if self.trade.pending is not None:
            assert self.trade.pending.step < len(self.trade.pending.steps)
            assert self.trade.pending.attempt >= 1
            wanted = ROWS[self.trade.pending.row]
            assert self.trade.pending.to is wanted.target
            if wanted.plan is PlanKind.NONE:
                assert self.trade.pending.steps == ()


def test_whatever_market_and_broker_do_the_laws_hold() -> None:
    run_state_machine_as_test(Defence, settings=settings(max_examples=80, stateful_step_count=40, deadline=None))


def test_a_trade_that_lost_its_stop_by_hand_is_still_decided() -> None:
    trade = make_trade(stop=None)
    snap = seen(Bar(-2.5, 0), Side.BUY, T0, rails=DENIED)
    assert snap.view is not None
    moved, verdict = Broker().decide(machine.observe(trade, snap.view), snap)
    assert (verdict.row, moved.stop, moved.volume) == ("healthy_to_l1", Price(1_996.0), Lots(1.0))
