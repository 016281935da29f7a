"""From what was gathered to what goes over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dtms.app.reconcile.outcome import Outcome
from dtms.app.reconcile.strays import strays
from dtms.app.views.explain import Explanation
from dtms.app.views.queries import TradeFacts
from dtms.domain.action import Action, kind_of
from dtms.domain.intent import Intent
from dtms.domain.policy import Policy
from dtms.domain.records import TransitionRecord
from dtms.domain.score import LayerReading, Score
from dtms.domain.trade import Leg, Trade
from dtms.domain.transitions import ROWS
from dtms.domain.units import Millis, Side, to_iso
from dtms.ports.ledger import LedgerRead
from dtms.services.server import wire

JSON = msgspec.json.Encoder()


def trade(facts: TradeFacts, *, asked: int, epoch: str) -> wire.TradeAnswer:
    """Return the answer for one trade; `asked` is the ticket that it was asked by, which an older one may be."""
    return wire.TradeAnswer(**_trade_members(facts, asked, epoch))


def registered(facts: TradeFacts, *, asked: int, epoch: str, already: bool) -> wire.RegisteredAnswer:
    """Return the answer to a registration."""
    return wire.RegisteredAnswer(**_trade_members(facts, asked, epoch), already_registered=already)


def state(trade_: Trade) -> wire.StateAnswer:
    """Return what the exit manager must know."""
    return wire.StateAnswer(
        state=trade_.state, pending_to=trade_.pending_to, defensive=trade_.defensive, version=trade_.version
    )


def action(intent: Intent, trade_: Trade | None, scores: Sequence[tuple[Millis, float]]) -> wire.ActionAnswer:
    """Return one entry of the journal; `scores` are the trade's known ones, ascending by time."""
    settled = intent.settled_at
    after = None if settled is None else next((total for at, total in scores if at > settled), None)
    return wire.ActionAnswer(
        **_intent_members(intent),
        ticket=None if trade_ is None else trade_.ticket,
        decision_id=intent.decision_id,
        score_after=after,
    )


def reconciled(outcome: Outcome | None) -> wire.ReconciledAnswer | None:
    """Return the last comparison of broker and ledger, None where there was none yet."""
    if outcome is None:
        return None
    return wire.ReconciledAnswer(
        at=to_iso(outcome.at),
        clean=outcome.clean,
        full=outcome.full,
        why=outcome.why,
        orphans=tuple(
            wire.OrphanAnswer(
                ticket=orphan.ticket,
                symbol=orphan.symbol,
                direction=orphan.side,
                volume=orphan.volume,
                stop_loss=orphan.stop,
                why=orphan.why,
                since=to_iso(orphan.since),
            )
            for orphan in outcome.orphans
        ),
        missing=outcome.missing,
    )


def unmanaged(tx: LedgerRead) -> tuple[wire.UnmanagedAnswer, ...]:
    """Return the positions in our name that no trade manages, for every list of trades."""
    return tuple(
        wire.UnmanagedAnswer(
            ticket=stray.ticket,
            symbol=stray.symbol,
            direction=stray.side,
            volume=stray.volume,
            stop_loss=stray.stop,
            why=stray.why,
        )
        for stray in strays(tx)
    )


def explanation(found: Explanation, *, asked: int, epoch: str) -> wire.ExplainAnswer:
    """Return the answer to "why?"."""
    told = found.trade
    return wire.ExplainAnswer(
        ticket=asked,
        epoch=epoch,
        version=told.version,
        state=told.state,
        pending_to=told.pending_to,
        defensive=told.defensive,
        uncalibrated=not told.calibrated,
        state_since=to_iso(told.state_since),
        because=None if found.because is None else _because(found.because, found.policy),
        score=None if found.score is None else score(found.score),
        ways=tuple(
            wire.WayAnswer(
                row=way.row.name,
                to=way.row.target,
                cause=way.row.cause.name.lower(),
                when=way.row.when_by(found.policy),
                actions=way.row.actions_by(found.policy),
                holds_now=way.holds,
                triggers=tuple(
                    wire.TriggerAnswer(reach=t.reach.value, score=t.score, bars=t.bars, distance=t.distance)
                    for t in way.triggers
                ),
                events=way.events,
                at=_iso(way.at),
                blocked_by=way.blocked_by,
            )
            for way in found.ways
        ),
        sentence=found.sentence,
        as_of=to_iso(found.as_of),
    )


def score(told: Score) -> wire.ScoreAnswer:
    """Return a score with its layers."""
    return wire.ScoreAnswer(
        at=to_iso(told.at),
        total=told.total,
        missing=told.missing,
        layers={reading.layer: _layer(reading) for reading in told.layers},
        confluence=told.confluence,
        regime=wire.RegimeAnswer(
            session=told.regime.session,
            volatility=told.regime.volatility,
            structure=told.regime.structure,
            threshold=told.regime.threshold,
            calibrated=told.regime.calibrated,
        ),
        flip_against=told.flip_against,
        opposite_share_high=told.opposite_share_high,
    )


def _trade_members(facts: TradeFacts, asked: int, epoch: str) -> dict[str, Any]:
    told = facts.trade
    return {
        "ticket": asked,
        "present_ticket": told.ticket,
        "symbol": told.symbol,
        "direction": told.side.name,
        "state": told.state,
        "pending_to": told.pending_to,
        "defensive": told.defensive,
        "version": told.version,
        "epoch": epoch,
        "owner": told.owner,
        "hold": told.hold,
        "profile": told.profile,
        "uncalibrated": not told.calibrated,
        "digits": None if facts.instrument is None else facts.instrument.digits,
        "volume_digits": None if facts.instrument is None else facts.instrument.volume_digits,
        "entry": told.entry,
        "volume": told.volume,
        "initial_volume": told.initial_volume,
        "stop_loss": told.stop,
        "initial_stop": told.initial_stop,
        "take_profit": told.target,
        "r": told.r,
        "current_price": facts.price,
        "profit": facts.floating,
        "realised": facts.realised,
        "total_r": facts.total_r,
        "r_multiple": facts.r_multiple,
        "score": None if facts.score is None else score(facts.score),
        "state_since": to_iso(told.state_since),
        "deadlines": _deadlines(facts),
        "legs": tuple(_leg(leg, facts) for leg in told.legs),
        "pending_intents": tuple(wire.IntentAnswer(**_intent_members(intent)) for intent in facts.unfinished),
        "last_actions": tuple(wire.IntentAnswer(**_intent_members(intent)) for intent in reversed(facts.actions)),
        "protection_active": facts.protected,
        "naked_ms": facts.naked_ms,
        "registered_at": to_iso(told.registered_at),
        "closed_at": _iso(told.closed_at),
        "close_reason": told.close_reason,
        "as_of": to_iso(facts.as_of),
    }


def _deadlines(facts: TradeFacts) -> tuple[wire.DeadlineAnswer, ...]:
    found = [wire.DeadlineAnswer(name=row.name, to=row.target, at=to_iso(at)) for row, at in facts.clock]
    pending = facts.trade.pending
    if pending is not None and pending.retry_at is not None:
        found.append(wire.DeadlineAnswer(name="retry", to=pending.to, at=to_iso(pending.retry_at)))
    return tuple(found)


def _leg(leg: Leg, facts: TradeFacts) -> wire.LegAnswer:
    seen = facts.positions.get(leg.identifier)
    return wire.LegAnswer(
        kind=leg.kind,
        ticket=leg.ticket,
        direction=leg.side.name,
        volume=leg.volume,
        entry=leg.entry,
        stop_loss=leg.stop,
        take_profit=leg.target,
        profit=None if seen is None else seen.profit + seen.swap,
        opened_at=to_iso(leg.opened_at),
    )


def _layer(reading: LayerReading) -> wire.LayerAnswer:
    return wire.LayerAnswer(
        raw=reading.raw,
        weight=reading.weight,
        adaptive=reading.adaptive,
        contribution=reading.contribution,
        available=reading.raw is not None,
        branches=reading.branches,
    )


def _because(record: TransitionRecord, policy: Policy) -> wire.BecauseAnswer:
    row = ROWS.get(record.row)
    return wire.BecauseAnswer(
        row=record.row,
        source=record.source,
        when="" if row is None else row.when_by(policy),
        decision_id=record.decision_id,
        decided_at=to_iso(record.decided_at),
        committed_at=to_iso(record.committed_at),
        score=record.score,
        fallbacks=record.fallbacks,
        plan=record.plan,
    )


def _intent_members(intent: Intent) -> dict[str, Any]:
    receipt = intent.receipt
    return {
        "id": intent.intent_id,
        "kind": intent.kind,
        "rule": intent.rule,
        "owner": intent.owner,
        "state": intent.state,
        "target": _target(intent.action),
        "step": intent.step,
        "attempt": intent.attempt,
        "reason": intent.reason,
        "outcome": None if receipt is None else receipt.outcome,
        "rejection": None if receipt is None else receipt.rejection,
        "broker_code": None if receipt is None else receipt.code,
        "filled": None if receipt is None else receipt.filled,
        "price": None if receipt is None else receipt.price,
        "score_before": intent.score_before,
        "regime": intent.regime,
        "created_at": to_iso(intent.created_at),
        "sent_at": _iso(intent.sent_at),
        "settled_at": _iso(intent.settled_at),
    }


def _target(action_: Action) -> wire.Target:
    """Return the absolute target, with directions as words."""
    members = {name: getattr(action_, name) for name in type(action_).__slots__}
    shown: wire.Target = {"kind": kind_of(action_).value}
    for name, value in members.items():
        if isinstance(value, Side):
            shown["direction"] = value.name
        else:
            shown[name] = value
    return shown


def _iso(at: Millis | None) -> str | None:
    return None if at is None else to_iso(at)
