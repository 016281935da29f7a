"""Bugs that the drill has to find: switches that only tests can turn, each a mistake that such systems have really had."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import dtms.adapters.mt5.orders as mt5_orders
from dtms.adapters.mt5 import Mt5Sender
from dtms.adapters.sql import sqlite
from dtms.adapters.sql.writing import WriteTransaction
from dtms.app.evidence import proof
from dtms.app.evidence.in_doubt import InDoubt, Settlement
from dtms.app.exits import manager
from dtms.app.gateway import preconditions
from dtms.app.gateway.executor import Executor
from dtms.app.journal import journal
from dtms.app.modes.pass_health import PassHealth
from dtms.app.positions import legs, recognise
from dtms.app.positions.facts import FactKeeper
from dtms.app.reconcile.reconciler import Reconciler
from dtms.app.views import snapshots
from dtms.core import applied, machine, plans, settle
from dtms.core.exits import _patience
from dtms.core.settle import SettleContext, Settled, StepEnd
from dtms.domain.action import Close, OpenHedge, Reduce, SetStop
from dtms.domain.exits import ExitDecision, Proposal
from dtms.domain.intent import Intent, IntentState
from dtms.domain.position import PositionsRead
from dtms.domain.trade import Trade, TradeState
from dtms.domain.transitions import PlanKind
from dtms.domain.units import Millis, Price
from dtms.errors import InvalidDataError, OutcomeUnknownError, StaleWriteError
from dtms_lab.drill.script import ScriptedMarketData

Patch = pytest.MonkeyPatch
Switch = Callable[[Patch], None]


def skip_the_fsync(patch: Patch) -> None:
    """The ledger is opened without waiting for the disk."""
    prepare = sqlite._prepare

    def quick(connection: Any, record: object) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA synchronous = OFF")

    patch.setattr(sqlite, "_prepare", quick)


def no_settle_window(patch: Patch) -> None:
    """What is not seen at the first look is taken as not applied."""
    settlement = InDoubt.settlement

    def hasty(doubts: InDoubt, *rest: Any) -> Settlement:
        found = settlement(doubts, *rest)
        return Settlement(end=StepEnd.NOT_APPLIED, receipt=None, reason="not seen") if found is None else found

    patch.setattr(InDoubt, "settlement", hasty)


def none_means_flat(patch: Patch) -> None:
    """A position that is missing in one read is taken as closed."""

    proved_gone = FactKeeper._proved_gone

    def gone(keeper: FactKeeper, trade: Trade, shown: Any, *rest: Any) -> bool:
        return shown is None or proved_gone(keeper, trade, shown, *rest)

    patch.setattr(FactKeeper, "_proved_gone", gone)


def retry_on_time_out(patch: Patch) -> None:
    """An order without an answer is sent again."""
    send = Mt5Sender.send

    def again(sender: Mt5Sender, action: Any, **rest: Any) -> Any:
        try:
            return send(sender, action, **rest)
        except OutcomeUnknownError:
            return send(sender, action, **rest)

    patch.setattr(Mt5Sender, "send", again)


def omit_the_target(patch: Patch) -> None:
    """A stop change does not name the target that is there, so the broker removes it."""
    set_levels = mt5_orders.set_levels
    patch.setattr(mt5_orders, "set_levels", lambda position, stop, _target: set_levels(position, stop, None))


def ignore_the_epoch(patch: Patch) -> None:
    """A gateway that was replaced goes on claiming."""
    claim = WriteTransaction.claim

    def unfenced(tx: WriteTransaction, intent: Intent, *, epoch: int, **rest: Any) -> Intent | None:
        tx._meta.gateway_epoch = min(tx._meta.gateway_epoch, epoch)
        return claim(tx, intent, epoch=epoch, **rest)

    patch.setattr(WriteTransaction, "claim", unfenced)


def state_before_action(patch: Patch) -> None:
    """A transition is committed when it is decided, not when it is done."""
    write_verdict = journal.write_verdict

    def early(tx: Any, trade: Trade, verdict: Any, scene: SettleContext, *, regime: str = "") -> Trade:
        saved = write_verdict(tx, trade, verdict, scene, regime=regime)
        if saved.pending is None or saved.pending_to is TradeState.CLOSED:
            return saved
        done = settle.commit(saved, scene)
        written: Trade = tx.save_trade(done.trade)
        if done.committed is not None:
            journal._tell_commit(tx, written, done.committed, scene.now)
        return written

    patch.setattr(journal, "write_verdict", early)


def forget_the_hedge(patch: Patch) -> None:
    """A hedge that was opened is not linked to its trade."""
    more = applied._more

    def unlinked(trade: Trade, kind: Any, action: Any, receipt: Any, now: Millis) -> Trade:
        return trade if isinstance(action, OpenHedge) else more(trade, kind, action, receipt, now)

    patch.setattr(applied, "_more", unlinked)


def loosen_on_widen(patch: Patch) -> None:
    """An exit rule that wants room marks its stop change as the widening which nobody has granted."""
    from dtms.core.exits import propose_all

    def roomy(trade: Trade, book: Any, snapshot: Any, policy: Any) -> ExitDecision:
        decision = propose_all(trade, book, snapshot, policy)
        return replace(decision, proposals=tuple(_roomier(trade, proposal) for proposal in decision.proposals))

    patch.setattr(manager, "propose_all", roomy)
    patch.setattr(manager.IntelligentExitManager, "_approved", lambda *_args: True)


def _roomier(trade: Trade, proposal: Proposal) -> Proposal:
    action = proposal.action
    if not isinstance(action, SetStop) or trade.stop is None:
        return proposal
    stop = Price(round(trade.stop - trade.side * 0.1 * trade.r, 5 if trade.symbol == "EURUSD" else 2))
    return replace(proposal, action=replace(action, stop=stop, widens=True))


def resend_the_part_whole(patch: Patch) -> None:
    """After a part fill the first volume is sent again, not the rest."""
    reduce = Mt5Sender._reduce
    first: dict[tuple[int, float], float] = {}

    def whole(sender: Mt5Sender, action: Reduce, position: Any, tries: Any) -> Any:
        wanted = first.setdefault((position.identifier, action.remaining), position.volume - action.remaining)
        rest = round(position.volume - wanted, 8)
        target = rest if 0 < rest < action.remaining else action.remaining
        return reduce(sender, replace(action, remaining=target), position, tries)

    patch.setattr(Mt5Sender, "_reduce", whole)


def trust_a_stale_cache(patch: Patch) -> None:
    """The last look before sending is at what was read a while ago."""
    check = Executor._check
    kept: dict[int, PositionsRead] = {}

    def cached(executor: Executor, intent: Intent) -> Any:
        reads: Any = executor.reads
        known = kept.get(id(executor))
        if known is None or executor.clock.market_now() - known.as_of > 20_000:
            known = kept[id(executor)] = reads.positions()
        executor.reads = _Fixed(reads, known)
        try:
            return check(executor, intent)
        finally:
            executor.reads = reads

    patch.setattr(Executor, "_check", cached)


class _Fixed:
    """Reads whose positions stand still."""

    def __init__(self, reads: Any, positions: PositionsRead) -> None:
        self._reads = reads
        self._positions = positions

    def positions(self) -> PositionsRead:
        return self._positions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)


def drop_a_deadline(patch: Patch) -> None:
    """HEDGED has no deadline any more."""
    deadline_of = machine.deadline_of

    def endless(state: TradeState, *rest: Any) -> Any:
        return None if state is TradeState.HEDGED else deadline_of(state, *rest)

    patch.setattr(machine, "deadline_of", endless)


def acknowledged_is_done(patch: Patch) -> None:
    """What the broker acknowledged is not read back."""
    find = proof.find

    def believing(intent: Intent, *rest: Any) -> proof.Evidence:
        seen = find(intent, *rest)
        if intent.state is IntentState.ACKED:
            return replace(seen, seen=proof.Seen.APPLIED)
        return seen

    patch.setattr(proof, "find", believing)


def two_hedges(patch: Patch) -> None:
    """Nobody remembers that a trade had its hedge."""
    import dtms.app.gateway.executor as gateway

    hedge = plans._hedge

    def forgetful(trade: Trade, *rest: Any) -> Any:
        return hedge(replace(trade, marks=replace(trade.marks, hedge_used=False)), *rest)

    patch.setattr(plans, "_hedge", forgetful)
    patch.setattr(gateway, "hedged_before", lambda _tx, _intent: False)


def crash_means_not_sent(patch: Patch) -> None:
    """What was on its way when the gateway died is taken as not sent."""

    def hopeful(executor: Executor) -> None:
        with executor.ledger.read() as tx:
            unfinished = tx.unfinished()
        for intent in unfinished:
            if intent.state is IntentState.SENDING:
                executor.conclusions.end(intent, StepEnd.REJECTED, None, "the gateway died before")
        executor.tick()

    patch.setattr(Executor, "recover", hopeful)


def leave_the_children(patch: Patch) -> None:
    """A trade is closed with its hedge still open."""
    plan = plans.make

    def main_only(row: Any, trade: Trade, *rest: Any) -> Any:
        made = plan(row, trade, *rest)
        if row.plan not in (PlanKind.CLOSE, PlanKind.CLOSE_CHILDREN):
            return made
        steps = tuple(step for step in made.steps if getattr(step.action, "ticket", None) == trade.ticket)
        alone = tuple(
            replace(step, action=Close(ticket=trade.ticket)) if isinstance(step.action, Close) else step
            for step in steps
        )
        return replace(made, steps=alone)

    def childless(trade: Trade, scene: SettleContext) -> Settled:
        return advance(replace(trade, legs=()) if trade.pending_to is TradeState.CLOSED else trade, scene)

    advance = settle._advance
    patch.setattr(plans, "make", main_only)
    patch.setattr(settle, "_advance", childless)


def exits_do_not_defer(patch: Patch) -> None:
    """The exit manager acts while the defence does."""
    from dtms.core import exits

    def closed_alone(trade: Trade) -> str:
        return "" if trade.is_open and trade.volume > 0 else "the trade is closed"

    patch.setattr(manager, "deferral", closed_alone)
    patch.setattr(exits, "deferral", closed_alone)
    patch.setattr(manager.IntelligentExitManager, "_is_dtms_in_defensive_mode", lambda _self, _ticket: False)


def exits_retry_at_once(patch: Patch) -> None:
    """A refused exit is wanted again at once, and the exits do not ask whether a FIFO account denies it."""
    of = snapshots.Snapshots.of

    def blind(self: Any, *rest: Any, **more: Any) -> Any:
        seen = of(self, *rest, **more)
        return replace(seen, oldest_on_symbol=True) if more["view"] is None else seen

    patch.setattr(_patience, "given_up", lambda *_args: "")
    patch.setattr(snapshots.Snapshots, "of", blind)


def no_record_of_a_stop(patch: Patch) -> None:
    """A stop is moved and nobody writes down why."""
    patch.setattr(journal, "_record_stop", lambda *_args: None)


def send_before_writing(patch: Patch) -> None:
    """The order leaves first, and is written down afterwards."""

    def hasty(executor: Executor, intent: Intent, position: Any) -> bool:
        planned = replace(intent, state=IntentState.PLANNED)
        with executor.ledger.write() as tx:
            tx._change(_BACK, id=intent.intent_id)  # type: ignore[attr-defined]
        assert executor.writes is not None
        executor.crash.reach("gateway.before_send")
        try:
            receipt = executor.writes.send(intent.action, position=position, tag=intent.tag)
        except OutcomeUnknownError:
            receipt = None
        with executor.ledger.write() as tx:
            claimed = tx.claim(planned, epoch=executor.epoch, now=executor.clock.market_now())
        if claimed is None or receipt is None:
            raise StaleWriteError("it was claimed by another")
        return executor.conclusions.unknown(claimed, "sent")

    patch.setattr(Executor, "_send", hasty)


def _back() -> Any:
    from sqlalchemy import bindparam, update

    from dtms.adapters.sql.schema import INTENTS

    return update(INTENTS).values(state="PLANNED").where(INTENTS.c.intent_id == bindparam("id"))


_BACK = _back()


def bars_before_quotes(patch: Patch) -> None:
    """After a start the bars of an open trade are asked for before any quote, and refused until there was one."""
    open_desk = ScriptedMarketData._open

    def refused(desk: ScriptedMarketData, symbol: str, now: Millis) -> Any:
        with desk.ledger.read() as tx:
            if any(trade.symbol == symbol for trade in tx.open_trades()):
                raise InvalidDataError(f"bars of {symbol}: the server's offset is not known; wait for a quote")
        return open_desk(desk, symbol, now)

    patch.setattr(ScriptedMarketData, "_open", refused)


def no_reconcile_after_a_failed_pass(patch: Patch) -> None:
    """A gateway whose pass has failed goes on with what it knew before."""
    patch.setattr(Reconciler, "want", lambda _reconciler: None)


def a_part_counts_as_the_whole(patch: Patch) -> None:
    """What was asked is booked as done: a reduction that was filled in part as a whole one."""
    less = applied._less
    patch.setattr(
        applied, "_less", lambda trade, action, _receipt, *, partial: less(trade, action, None, partial=False)
    )


def pause_is_not_looked_at(patch: Patch) -> None:
    """The exits go on under the kill switch's pause."""
    load = manager.IntelligentExitManager._load

    def careless(manager: Any) -> None:
        load(manager)
        manager._kill = None

    patch.setattr(manager.IntelligentExitManager, "_load", careless)


def compare_no_facts(patch: Patch) -> None:
    """What the broker shows under a trade's number is taken for the trade, whatever its side and its entry are."""
    patch.setattr(recognise, "another", lambda *_args: ())
    patch.setattr(legs, "another", lambda *_args: ())
    patch.setattr(recognise, "other_facts", lambda *_args: ())
    patch.setattr(preconditions, "other_facts", lambda *_args: ())
    patch.setattr(recognise.Recogniser, "another", lambda *_args: False)
    patch.setattr(recognise.Recogniser, "entry", lambda *_args: recognise.EntrySays.SAME)


def green_over_a_failing_pass(patch: Patch) -> None:
    """A pass that fails again and again is counted, and told to nobody."""

    def counted(health: PassHealth, _error: Exception, *, started: bool = True) -> None:
        health.failures += 1

    patch.setattr(PassHealth, "failed", counted)


PLANTED: tuple[Switch, ...] = (
    skip_the_fsync,
    no_settle_window,
    none_means_flat,
    retry_on_time_out,
    omit_the_target,
    ignore_the_epoch,
    state_before_action,
    forget_the_hedge,
    loosen_on_widen,
    resend_the_part_whole,
    trust_a_stale_cache,
    drop_a_deadline,
    acknowledged_is_done,
    two_hedges,
    crash_means_not_sent,
    leave_the_children,
    exits_do_not_defer,
    exits_retry_at_once,
    no_record_of_a_stop,
    send_before_writing,
    bars_before_quotes,
    no_reconcile_after_a_failed_pass,
    green_over_a_failing_pass,
    a_part_counts_as_the_whole,
    pause_is_not_looked_at,
    compare_no_facts,
)
"""All of them, by what they are called."""


@contextlib.contextmanager
def planted(switch: Switch) -> Iterator[None]:
    """Turn one switch on for a while."""
    with pytest.MonkeyPatch.context() as patch:
        switch(patch)
        yield
