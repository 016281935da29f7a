"""Open and protect: from an order to a position that never stood without its stop, and its way under management.

Planning, in one transaction: the intent to open and the message that registers what comes of it. Whoever dies after that,
the gateway carries out the one and the outbox the other. Nothing is sent from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, NoReturn

from dtms.app.commands.opening_checks import (
    OpeningRefusal,
    OpeningRefusedError,
    Order,
    checked,
    expected_margin,
    size_field,
)
from dtms.app.commands.opening_limits import check_limits
from dtms.app.gateway.preconditions import taken_on_netting
from dtms.app.journal import journal
from dtms.app.journal.mode_facts import read_modes
from dtms.app.market.market_data import MarketData, SymbolMarket
from dtms.app.market.risk_inputs import RiskInputs
from dtms.app.views.trade_cache import KILL_FACT
from dtms.core.arbiter import review_opening
from dtms.core.settle import SettleContext, StepEnd
from dtms.domain.action import OpenTrade
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, intent_id, tag_of
from dtms.domain.market import Quote
from dtms.domain.modes import Mode
from dtms.domain.position import Account, PositionsRead
from dtms.domain.records import OutboxKind
from dtms.domain.rules import CommandRule
from dtms.domain.units import SECOND, Millis, TradeId
from dtms.domain.verdict import KillLevel, Refusal, Snapshot
from dtms.errors import InvalidDataError, InvariantError, StaleDataError, StaleWriteError
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger, LedgerWrite

RULE: Final = CommandRule.OPEN
_DECISION: Final = "open"

OUTBOX_GRACE: Final = 15 * SECOND
"""The request that opens registers the trade itself; the outbox takes over where it has not within this."""


@dataclass(slots=True, kw_only=True)
class Opening:
    """Plans openings for one account.

    `new_rails` makes a gatherer that reads the day's baseline anew: the DTMS server keeps it up to date. `lock` guards the
    desk, which the exit manager's thread uses too.
    """

    ledger: Ledger
    reads: BrokerReads
    clock: Clock
    desk: MarketData
    new_rails: Callable[[], RiskInputs]
    lock: AbstractContextManager[object]
    advisory: bool

    def plan(
        self,
        order: Order,
        *,
        request: str,
        actor: str,
        also: Callable[[LedgerWrite, Intent], None] = lambda _tx, _intent: None,
    ) -> Intent:
        """Write the intent to open with the message that registers it; return the intent.

        Args:
            order: What is wanted.
            request: What names the request for ever, such as its idempotency key with its sender.
            actor: Who asks, for the audit.
            also: Writes more in the same transaction.

        Raises:
            OpeningRefusedError: It cannot be; nothing was written.
            StaleDataError: The symbol has no quote yet.
            BrokerUnavailableError: The broker could not be asked; nothing was written.
        """
        if self.advisory:
            raise OpeningRefusedError(
                OpeningRefusal.NOT_ARMED, "not_armed", "The account is advisory; arm it before anything is opened."
            )
        now = self.clock.market_now()
        account = self.reads.account()
        read = self.reads.positions()
        with self.lock:
            desk = self._desk(order.symbol, now)
            quote = desk.feed.last
            if quote is None:
                msg = f"there is no quote of {desk.instrument.symbol} yet"
                raise StaleDataError(msg)
            profile = _profile(order, desk)
            action = self._action(order, desk, quote, account, read)
            self._check_rails(action, desk, quote, account, read, now)
        intent = _intent(action, request, now, desk.policy.operation.priced_expiry_s)
        body = json.dumps({"intent_id": intent.intent_id, "profile": profile})
        with self.ledger.write() as tx:
            level = tx.fact(KILL_FACT)
            if level is not None:
                _denied("kill_switch", f"The kill switch is at {KillLevel(level)}; nothing is opened.")
            taken = "" if account.hedging else taken_on_netting(tx, intent)
            if taken:
                _denied("symbol_taken", f"{taken[0].upper()}{taken[1:]}.")
            if not tx.add_intent(intent):
                msg = f"intent {intent.intent_id} of this opening is there already; read it instead"
                raise StaleWriteError(msg)
            tx.add_outbox(OutboxKind.REGISTER, intent.intent_id, body, Millis(self.clock.wall_now() + OUTBOX_GRACE))
            tx.add_audit(at=now, actor=actor, what="open_asked", trade_id=intent.trade_id, body=body)
            also(tx, intent)
        return intent

    def intent(self, key: str) -> Intent:
        """Return the intent of an opening as it stands.

        Raises:
            InvariantError: The ledger does not hold it although it was written.
        """
        with self.ledger.read() as tx:
            found = tx.intent(key)
        if found is None:
            msg = f"the ledger does not hold intent {key}, which an opening has written; restore it from a backup"
            raise InvariantError(msg)
        return found

    def ended(self, key: str) -> bool:
        """Say whether nothing more is to be waited for: the opening is done, refused, or its outcome unknown."""
        return self.intent(key).state not in (IntentState.PLANNED, IntentState.SENDING, IntentState.ACKED)

    def withdraw(self, key: str) -> Intent:
        """Cancel an opening that no gateway has claimed, so that it is not sent later; return it as it stands."""
        intent = self.intent(key)
        if intent.state is not IntentState.PLANNED or not isinstance(intent.action, OpenTrade):
            return intent
        now = self.clock.market_now()
        with self.lock:
            desk = self.desk.symbol(intent.action.symbol, now)
        scene = SettleContext(now=now, instrument=desk.instrument, hours=desk.hours, policy=desk.policy)
        try:
            with self.ledger.write() as tx:
                journal.conclude(tx, intent, StepEnd.CANCELLED, None, scene, reason="no gateway took it in time")
        except StaleWriteError:
            pass  # a gateway was faster: it stands as that one left it
        return self.intent(key)

    def _desk(self, symbol: str, now: Millis) -> SymbolMarket:
        try:
            desk = self.desk.symbol(symbol, now)
            self.desk.refresh(symbol, now)
            self.desk.quote(symbol, now)
            self.desk.poll_bars(symbol, now)
        except InvalidDataError as error:
            raise OpeningRefusedError(
                OpeningRefusal.INVALID,
                "symbol_unknown",
                "the broker does not know it or its data cannot be true",
                "symbol",
            ) from error
        return desk

    def _action(
        self, order: Order, desk: SymbolMarket, quote: Quote, account: Account, read: PositionsRead
    ) -> OpenTrade:
        held = [position for position in read.positions if position.symbol == desk.instrument.symbol]
        if held and not account.hedging:
            _denied("symbol_taken", "The account nets and the symbol has a position already; close that one first.")
        volume = sum(position.volume for position in held)
        action = checked(order, desk.instrument, quote, desk.atr, volume)
        price = quote.opening(action.side)
        check_limits(action, desk.instrument, price, desk.atr, desk.policy, account.equity, size_field(order))
        return action

    def _check_rails(
        self,
        action: OpenTrade,
        desk: SymbolMarket,
        quote: Quote,
        account: Account,
        read: PositionsRead,
        now: Millis,
    ) -> None:
        rails = self.new_rails()
        if rails.due(now):
            rails.sample(account, now)
        kill, mode = self._limits()
        extra = expected_margin(action, desk.instrument, quote.opening(action.side), account, read.positions)
        snap = Snapshot(
            now=now,
            instrument=desk.instrument,
            account=account,
            hours=desk.hours,
            quote=quote,
            quote_stale=desk.feed.is_stale(now),
            view=None,
            score=None,
            indicators=None if desk.view is None else desk.view.indicators,
            gone=False,
            hedge_gone=False,
            rails=rails.facts(desk, account, now, extra_margin=extra),
            kill=kill,
            mode=mode,
            commission_per_lot=0.0,
            swap_per_lot=0.0,
            oldest_on_symbol=True,
        )
        answer = review_opening(action, snap, desk.policy, rule=RULE).answer
        if isinstance(answer, Refusal):
            _denied(answer.rule, f"Not opened: {answer.reason}.")

    def _limits(self) -> tuple[KillLevel | None, Mode]:
        """Return the kill switch's level and the mode, as the ledger has them now."""
        with self.ledger.read() as tx:
            level, mode = tx.fact(KILL_FACT), read_modes(tx).mode
        return None if level is None else KillLevel(level), mode


def _profile(order: Order, desk: SymbolMarket) -> str:
    exits = desk.policy.exits
    name = exits.default_profile if order.profile is None else order.profile
    if name not in exits.names:
        detail = f"there is no such profile; known are {', '.join(exits.names)}"
        raise OpeningRefusedError(OpeningRefusal.INVALID, "profile_unknown", detail, "profile")
    return name


def _intent(action: OpenTrade, request: str, now: Millis, expiry_s: float) -> Intent:
    """Return the PLANNED intent; it has a trade of its own name until the broker has given the position a number."""
    trade_id = TradeId(f"open:{hashlib.sha256(f'{request}|{now}'.encode()).hexdigest()[:24]}")
    return Intent(
        intent_id=intent_id(trade_id, _DECISION, 0, 1, now),
        trade_id=trade_id,
        position=None,
        decision_id=_DECISION,
        step=0,
        attempt=1,
        action=action,
        precondition=Precondition(price_based=True),
        owner=Planner.COMMAND,
        rule=RULE,
        state=IntentState.PLANNED,
        tag=tag_of(trade_id, _DECISION, 0, 1),
        created_at=now,
        expires_at=Millis(round(now + expiry_s * SECOND)),
    )


def _denied(code: str, detail: str) -> NoReturn:
    raise OpeningRefusedError(OpeningRefusal.DENIED, code, detail)
