"""What a simulation found, as one JSON object; the keys are a contract with whoever reads it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from dtms.domain.action import kind_of
from dtms.domain.intent import Intent, IntentState
from dtms.domain.records import TransitionRecord
from dtms.domain.score import Layer, MarketView
from dtms.domain.trade import Trade
from dtms.domain.units import MINUTE, Millis
from dtms.domain.verdict import Refusal, Verdict
from dtms_lab.laws.invariants import Violation
from dtms_lab.tapes.tape import Doubt

_BOOTSTRAPS = 10_000
_SEED = 20_010_800
_SOON = 30 * MINUTE
_BANDS = (-2.0, -4.0, -6.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeResult:
    """One trade of the other program: managed, and the same entry left to its stop and target. Money in account currency."""

    ticket: int
    risk_money: float
    managed: float
    unmanaged: float
    costs: float
    closed: bool

    @property
    def managed_r(self) -> float:
        """The managed result as a multiple of the risk."""
        return self.managed / self.risk_money

    @property
    def difference_r(self) -> float:
        """Managed minus unmanaged, in R."""
        return (self.managed - self.unmanaged) / self.risk_money


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that a report is made of."""

    symbol: str
    bars: int
    results: Sequence[TradeResult]
    trades: Sequence[Trade]
    transitions: Sequence[TransitionRecord]
    intents: Sequence[Intent]
    refusals: Sequence[Refusal]
    rails: Mapping[tuple[str, bool], int]
    deferrals: int
    fallbacks: int
    naked_ms: Mapping[int, int]
    violations: Sequence[Violation]
    verdicts: Sequence[Verdict]
    views: Sequence[MarketView]
    assumptions: Sequence[str]
    doubts: Sequence[Doubt] = ()
    failed_passes: Mapping[str, int] | None = None
    """How often each process's pass failed, and on what; None where nobody counted: live the alerts tell it."""
    refused_entries: Sequence[str] = field(default_factory=tuple)


def report_of(found: Findings) -> dict[str, object]:
    """Return the report; the same findings give the same object, key by key."""
    rails = {rail for rail, _ in found.rails}
    return {
        "symbol": found.symbol,
        "bars": found.bars,
        "trades": len(found.results),
        "closed": sum(result.closed for result in found.results),
        "entries_refused": list(found.refused_entries),
        "transitions": _counted(f"{t.source}>{t.target}" for t in found.transitions),
        "rows": _counted(t.row for t in found.transitions),
        "rows_trades": _examples(found.transitions),
        "actions": _actions(found),
        "refusals": _counted(refusal.rule for refusal in found.refusals),
        "rails": {
            rail: {"let": found.rails.get((rail, True), 0), "denied": found.rails.get((rail, False), 0)}
            for rail in sorted(rails)
        },
        "deferrals": found.deferrals,
        "fallbacks": found.fallbacks,
        "planned_fallbacks": _counted(name for t in found.transitions for name in t.fallbacks),
        "naked_ms_max": max(found.naked_ms.values(), default=0),
        "invariant_violations": len(found.violations),
        "violations": [asdict(violation) for violation in found.violations[:20]],
        "failed_passes": None if found.failed_passes is None else dict(sorted(found.failed_passes.items())),
        "net_profit": _sum(result.managed for result in found.results),
        "unmanaged_net_profit": _sum(result.unmanaged for result in found.results),
        "expectancy_r": _mean([result.managed_r for result in found.results]),
        "cost_r": _mean([result.costs / result.risk_money for result in found.results]),
        "managed_minus_unmanaged_r": _interval([result.difference_r for result in found.results]),
        "stopped_within_30min_of_l1": _stopped_soon(found),
        "layers": _layers(found.views),
        "branches": _branches(found.views),
        "states_visited": sorted({t.source for t in found.transitions} | {t.target for t in found.transitions}),
        "score": _bands(found.views),
        "assumptions": list(found.assumptions),
        "doubts": [asdict(doubt) for doubt in found.doubts],
        "verdict_hash": verdict_hash(found.verdicts),
    }


def verdict_hash(verdicts: Iterable[Verdict]) -> str:
    """Return the SHA-256 over the canonical JSON of all verdicts, in order."""
    digest = hashlib.sha256()
    for verdict in verdicts:
        digest.update(json.dumps(asdict(verdict), sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _examples(transitions: Iterable[TransitionRecord]) -> dict[str, list[str]]:
    """Return up to five trade ids for each row, so that a reader can look one up."""
    found: dict[str, list[str]] = {}
    for transition in transitions:
        ids = found.setdefault(transition.row, [])
        if transition.trade_id not in ids and len(ids) < 5:  # noqa: PLR2004 - a handful of examples
            ids.append(transition.trade_id)
    return dict(sorted(found.items()))


def _actions(found: Findings) -> dict[str, dict[str, int]]:
    ends = {
        IntentState.APPLIED: "applied",
        IntentState.PARTIAL: "partial",
        IntentState.REJECTED: "rejected",
    }
    table: dict[str, dict[str, int]] = {}

    def row(kind: str) -> dict[str, int]:
        return table.setdefault(kind, {"applied": 0, "partial": 0, "rejected": 0, "refused": 0})

    for intent in found.intents:
        end = ends.get(intent.state)
        if end is not None:
            row(intent.kind)[end] += 1
    for refusal in found.refusals:
        row(kind_of(refusal.action))["refused"] += 1
    return {kind: table[kind] for kind in sorted(table)}


def _stopped_soon(found: Findings) -> float | None:
    """Return the share of trades that entered WARNING_L1 and were stopped at the broker within 30 min of it."""
    entered: dict[str, Millis] = {}
    for transition in found.transitions:
        if transition.row == "healthy_to_l1":
            entered.setdefault(transition.trade_id, transition.committed_at)
    if not entered:
        return None
    soon = [
        trade
        for trade in found.trades
        if trade.trade_id in entered
        and trade.closed_at is not None
        and trade.close_reason.startswith("gone_")
        and trade.closed_at - entered[trade.trade_id] <= _SOON
    ]
    return len(soon) / len(entered)


def _layers(views: Sequence[MarketView]) -> dict[str, dict[str, float]]:
    table = {}
    for layer in Layer:
        raws = [
            reading.raw
            for view in views
            for score in (view.buy, view.sell)
            for reading in score.layers
            if reading.layer is layer
        ]
        known = [raw for raw in raws if raw is not None]
        available = len(known) / len(raws) if raws else 0.0
        non_zero = sum(abs(raw) > 0 for raw in known) / len(known) if known else 0.0
        table[layer.value] = {"available": available, "non_zero": non_zero}
    return table


def _branches(views: Sequence[MarketView]) -> dict[str, int]:
    return _counted(
        f"{reading.layer}.{branch}"
        for view in views
        for score in (view.buy, view.sell)
        for reading in score.layers
        for branch in reading.branches
    )


def _bands(views: Sequence[MarketView]) -> dict[str, float | None]:
    totals = [score.total for view in views for score in (view.buy, view.sell) if score.total is not None]
    return {
        f"le_{band:.0f}": sum(total <= band for total in totals) / len(totals) if totals else None for band in _BANDS
    }


def _sum(values: Iterable[float]) -> float:
    return round(sum(values), 2)


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 6) if values else None


def _interval(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean with its 95 % percentile-bootstrap interval over trades.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    if not values:
        return {"mean": None, "low": None, "high": None}
    sample = np.asarray(values)
    draws = np.random.Generator(np.random.PCG64(_SEED)).integers(0, len(sample), size=(_BOOTSTRAPS, len(sample)))
    means = sample[draws].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return {"mean": round(float(sample.mean()), 6), "low": round(float(low), 6), "high": round(float(high), 6)}
