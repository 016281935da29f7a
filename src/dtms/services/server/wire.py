"""The server's answers as they go over the wire. `dtms.client.wire` reads a part of them: those names are a contract."""

from __future__ import annotations

import msgspec

from dtms.domain.action import ActionKind
from dtms.domain.intent import IntentState, Planner
from dtms.domain.modes import Cause, Mode
from dtms.domain.receipt import Outcome, Rejection
from dtms.domain.score import Confluence, Layer, Session, Structure, StructureEventKind, Volatility
from dtms.domain.trade import Hold, LegKind, Owner, TradeState
from dtms.domain.verdict import KillLevel

Target = dict[str, float | int | str | bool | None]


class LayerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of the score; `raw` and `contribution` are null where it is not available."""

    raw: float | None
    weight: float
    adaptive: float
    contribution: float | None
    available: bool
    branches: tuple[str, ...]


class RegimeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The market's regime."""

    session: Session
    volatility: Volatility
    structure: Structure
    threshold: float
    calibrated: bool


class ScoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The score of the trade's side on the last closed M5 bar; `total` is null where there is none, `missing` says why."""

    at: str
    total: float | None
    missing: str
    layers: dict[Layer, LayerAnswer]
    confluence: Confluence
    regime: RegimeAnswer
    flip_against: bool
    opposite_share_high: bool | None


class LegAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One child position; `profit` is null where it was not seen lately."""

    kind: LegKind
    ticket: int
    direction: str
    volume: float
    entry: float
    stop_loss: float | None
    take_profit: float | None
    profit: float | None
    opened_at: str


class DeadlineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """When the clock acts: a row of the table, or `retry` for the next try of the step under way."""

    name: str
    to: TradeState
    at: str


class IntentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One intent with its outcome; `target` is the absolute goal at the broker."""

    id: str
    kind: ActionKind
    rule: str
    owner: Planner
    state: IntentState
    target: Target
    step: int
    attempt: int
    reason: str
    outcome: Outcome | None
    rejection: Rejection | None
    broker_code: int | None
    filled: float | None
    price: float | None
    score_before: float | None
    regime: str
    created_at: str
    sent_at: str | None
    settled_at: str | None


class TradeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One trade. `ticket` is the one asked for, `present_ticket` the broker's now; money and prices are null where unknown.

    `digits` and `volume_digits` are how many a price and a volume of the symbol are shown with; null where not known yet.
    """

    ticket: int
    present_ticket: int
    symbol: str
    direction: str
    state: TradeState
    pending_to: TradeState | None
    defensive: bool
    version: int
    epoch: str
    owner: Owner
    hold: Hold
    profile: str
    uncalibrated: bool
    digits: int | None
    volume_digits: int | None
    entry: float
    volume: float
    initial_volume: float
    stop_loss: float | None
    initial_stop: float
    take_profit: float | None
    r: float
    current_price: float | None
    profit: float | None
    realised: float
    total_r: float | None
    r_multiple: float | None
    score: ScoreAnswer | None
    state_since: str
    deadlines: tuple[DeadlineAnswer, ...]
    legs: tuple[LegAnswer, ...]
    pending_intents: tuple[IntentAnswer, ...]
    last_actions: tuple[IntentAnswer, ...]
    protection_active: bool
    naked_ms: int
    registered_at: str
    closed_at: str | None
    close_reason: str
    as_of: str


class RegisteredAnswer(TradeAnswer, frozen=True, kw_only=True):
    """The trade that was registered, now or before."""

    already_registered: bool


class UnmanagedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A position in our name that no trade manages; `stop_loss` as the broker showed it last, or as it was ordered."""

    ticket: int
    symbol: str
    direction: str
    volume: float
    stop_loss: float | None
    why: str


class TradesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of trades, ascending by ticket; `next_cursor` is null on the last.

    `unmanaged` are all positions in our name that no trade manages, on every page.
    """

    epoch: str
    trades: list[TradeAnswer]
    unmanaged: tuple[UnmanagedAnswer, ...]
    next_cursor: str | None


class StateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the exit manager must know of one ticket."""

    state: TradeState
    pending_to: TradeState | None
    defensive: bool
    version: int


class StatesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The states of the asked tickets; each stands in one of both."""

    epoch: str
    states: dict[int, StateAnswer]
    unknown: list[int]


class ActionAnswer(IntentAnswer, frozen=True, kw_only=True):
    """One entry of the journal; `score_after` is the first score known of the trade after the action had ended."""

    ticket: int | None
    decision_id: str
    score_after: float | None


class ActionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the journal, oldest first; `next_cursor` is null on the last."""

    epoch: str
    actions: list[ActionAnswer]
    next_cursor: str | None


class TriggerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A score that leads out of the state: on so many bars running, 0 with the clock's instant."""

    reach: str
    score: float
    bars: int
    distance: float | None


class WayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One row out of the present state."""

    row: str
    to: TradeState
    cause: str
    when: str
    actions: str
    holds_now: bool
    triggers: tuple[TriggerAnswer, ...]
    events: tuple[StructureEventKind, ...]
    at: str | None
    blocked_by: tuple[str, ...]


class BecauseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The transition that led to the present state."""

    row: str
    source: TradeState
    when: str
    decision_id: str
    decided_at: str
    committed_at: str
    score: float | None
    fallbacks: tuple[str, ...]
    plan: str


class ExplainAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why a trade is in its state, and what leads out of it."""

    ticket: int
    epoch: str
    version: int
    state: TradeState
    pending_to: TradeState | None
    defensive: bool
    uncalibrated: bool
    state_since: str
    because: BecauseAnswer | None
    score: ScoreAnswer | None
    ways: tuple[WayAnswer, ...]
    sentence: str
    as_of: str


class ChecksAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the monitor has done since the process started."""

    passes: int
    decisions: int
    transitions: int
    refusals: int
    errors: int


class OrphanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A position in our name without a record; a person adopts or releases it."""

    ticket: int
    symbol: str
    direction: str
    volume: float
    stop_loss: float | None
    why: str
    since: str


class ReconciledAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's last comparison of broker and ledger; `why` says what did not fit."""

    at: str
    clean: bool
    full: bool
    why: str
    orphans: tuple[OrphanAnswer, ...]
    missing: tuple[int, ...]


class SettledAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A quarantined order as a person has settled it."""

    id: str
    state: IntentState
    reason: str


class CauseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One cause that takes the system out of NORMAL; `ended` where it waits for a full reconcile alone."""

    cause: Cause
    mode: Mode
    since: str
    ended: str | None
    told_by: str
    detail: str
    remedy: str


class ModeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the system may do by itself, and why; `halted` where a person must resume."""

    mode: Mode
    causes: tuple[CauseAnswer, ...]
    kill_switch: KillLevel | None
    halted: bool


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system; counters are since the process started."""

    system_active: bool
    epoch: str
    uptime_s: float
    active_trades: int
    trades_by_state: dict[TradeState, int]
    checks: ChecksAnswer
    actions: dict[str, int]
    unfinished_intents: dict[str, int]
    last_check: str | None
    policy: str
    mode: Mode
    causes: tuple[CauseAnswer, ...]
    advisory: bool
    kill_switch: KillLevel | None
    reconciled: ReconciledAnswer | None
    as_of: str
