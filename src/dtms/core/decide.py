"""Deciding: snapshot, trade and policy in, verdict out. Pure, total, and the verdict is the audit record."""

from __future__ import annotations

from dtms.core import machine, plans
from dtms.core.plans import Plan
from dtms.domain.policy import Policy
from dtms.domain.trade import Trade
from dtms.domain.transitions import Row
from dtms.domain.verdict import KillLevel, Snapshot, Verdict


def decide(snap: Snapshot, trade: Trade, policy: Policy) -> Verdict:
    """Return what happens to one trade at one instant: at most one transition, with its plan.

    Args:
        snap: All that may be seen; its `view` is set on the decision of a newly closed M5 bar.
        trade: The trade with that bar already observed (`machine.observe`).
        policy: Every number.

    Returns:
        The verdict; rows whose plan is impossible now are passed over and leave their refusals in it.
    """
    passed_over = Plan()
    if snap.kill is not KillLevel.PAUSE or snap.gone:
        for row in machine.candidates(trade, snap, policy.machine):
            plan = plans.make(row, trade, snap, policy)
            if plan.impossible:
                passed_over = passed_over.then(plan)
                continue
            return _verdict(snap, trade, policy, row, passed_over.then(plan))
    return _verdict(snap, trade, policy, None, passed_over)


def _verdict(snap: Snapshot, trade: Trade, policy: Policy, row: Row | None, plan: Plan) -> Verdict:
    return Verdict(
        trade_id=trade.trade_id,
        ticket=trade.ticket,
        at=snap.now,
        bar=None if snap.view is None else snap.view.at,
        version=trade.version,
        state=trade.state,
        score=snap.score,
        row=None if row is None else row.name,
        to=None if row is None else row.target,
        steps=() if row is None else plan.steps,
        refusals=plan.refusals,
        fallbacks=() if row is None else plan.fallbacks,
        rails=plan.rails,
        flags=plan.flags,
        policy_hash=policy.digest,
    )
