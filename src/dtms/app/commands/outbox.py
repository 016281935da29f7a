"""What must reach the DTMS server at least once: the registration of what an opening has opened.

An item was written with the intent to open. It is done when the trade is in the ledger with its exit rules, or when nothing
was opened, or when what was opened is proved to be closed again. Until then it is tried again, less and less often.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from dtms.app.commands.registration import Registration
from dtms.app.evidence.proof import flat
from dtms.app.reconcile.strays import close_bare
from dtms.domain.action import OpenTrade
from dtms.domain.exits import ExitState
from dtms.domain.figures import plain
from dtms.domain.intent import Intent, IntentState
from dtms.domain.policy import Policies
from dtms.domain.position import Position
from dtms.domain.records import OutboxItem
from dtms.domain.trade import Trade
from dtms.domain.units import SECOND, Millis, Ticket
from dtms.errors import BrokerError, InvalidDataError, MarketDataError, StaleWriteError
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger, LedgerRead
from dtms.ports.notifier import AlertKind, Notifier

FIRST_WAIT: Final = 1 * SECOND
LONGEST_WAIT: Final = 60 * SECOND
"""Before an item is tried again that the DTMS server has refused."""

_SILENCE_WAIT: Final = 5 * SECOND
"""At most, where nobody has refused it: what was opened is unmanaged for so long after the server or the broker is back."""

_FILLED: Final = frozenset({IntentState.APPLIED, IntentState.PARTIAL})
_NOTHING_OPENED: Final = frozenset({IntentState.REJECTED, IntentState.CANCELLED, IntentState.NOT_APPLIED})


class RegisterWord(StrEnum):
    """What the DTMS server said to a registration."""

    REGISTERED = "registered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterAnswer:
    """Its answer, with the reason where it is no yes."""

    word: RegisterWord
    reason: str = ""


class Registrar(Protocol):
    """The way to the DTMS server's registration; the same one again is harmless there."""

    def register(self, wanted: Registration) -> RegisterAnswer:
        """Ask once; never raises for what the server or the way to it does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one attempt: `trade` is the managed trade; `done` without one says that nothing is left to protect.

    `silent` says that the DTMS server did not answer: there is no use in asking it for the next item at once; `refused`,
    that it said no.
    """

    done: bool
    silent: bool = False
    refused: bool = False
    trade: Trade | None = None
    ticket: Ticket | None = None
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class Outbox:
    """Delivers what waits; safe to call from several threads, each item is tried by one of them at a time."""

    ledger: Ledger
    reads: BrokerReads
    clock: Clock
    policies: Policies
    registrar: Registrar
    notifier: Notifier
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _trying: set[str] = field(default_factory=set)

    def deliver_due(self) -> int:
        """Try the items whose time has come; return how many are done now. A silent server costs one attempt.

        Raises:
            LedgerError: Nothing can be read or written; the caller tries again.
        """
        now = self.clock.wall_now()
        with self.ledger.read() as tx:
            # An instant that is further ahead than any wait was written before the wall clock was put back.
            due = [item for item in tx.waiting() if item.next_at <= now or item.next_at > now + LONGEST_WAIT]
        done = 0
        for item in due:
            found = self.deliver(item.key)
            done += found.done
            if found.silent:
                break
        return done

    def deliver(self, key: str) -> Delivery:
        """Try the item of one opening now, whenever it is due.

        Raises:
            LedgerError: It cannot be read or written.
        """
        with self._lock:
            if key in self._trying:
                return Delivery(done=False, reason="it is being registered at this moment")
            self._trying.add(key)
        try:
            return self._deliver(key)
        finally:
            with self._lock:
                self._trying.discard(key)

    def _deliver(self, key: str) -> Delivery:
        with self.ledger.read() as tx:
            item = next((waiting for waiting in tx.waiting() if waiting.key == key), None)
            intent = tx.intent(key)
            if item is None or intent is None:
                return _delivered(tx, intent)
        try:
            found = self._try(item, intent)
        except (BrokerError, MarketDataError) as error:
            found = Delivery(done=False, reason=f"what was opened cannot be told now: {error}")
        if not found.done:
            self._again(item, found)
        return found

    def _try(self, item: OutboxItem, intent: Intent) -> Delivery:
        if intent.state in _NOTHING_OPENED:
            return self._close(item, intent, f"nothing was opened: {intent.state}")
        position = self._position(intent)
        if position is None:
            ended = self._is_over(intent)
            if ended:
                return self._close(item, intent, "the position was closed before it was registered")
            reason = "it is not known yet whether it was opened"
            return Delivery(done=False, reason=reason if intent.state not in _FILLED else "the broker does not show it")
        managed = self._managed(position)
        if managed is None or position.stop is None:
            answer = self.registrar.register(_registration(intent, position, _profile_of(item)))
            if answer.word is not RegisterWord.REGISTERED:
                return self._not_registered(position, answer)
        return self._finish(item, position)

    def _position(self, intent: Intent) -> Position | None:
        """Return the open position of an opening: by the number that the broker gave, else by our tag."""
        read = self.reads.positions()
        receipt = intent.receipt
        if receipt is not None and receipt.position is not None:
            return read.find(receipt.position)
        return next((position for position in read.positions if position.comment == intent.tag), None)

    def _is_over(self, intent: Intent) -> bool:
        """Say whether deals prove that what was opened is closed; absence from one read proves nothing."""
        receipt = intent.receipt
        return receipt is not None and receipt.position is not None and flat(self.reads.deals(receipt.position))

    def _managed(self, position: Position) -> Trade | None:
        with self.ledger.read() as tx:
            return _open_trade(tx, position)

    def _finish(self, item: OutboxItem, position: Position) -> Delivery:
        """Give the registered trade its exit rules and mark the item as done, in one transaction."""
        exits = self.policies.of(self.reads.instrument(position.symbol).canonical).exits
        profile = _profile_of(item)
        name = profile if profile in exits.names else exits.default_profile
        try:
            with self.ledger.write() as tx:
                trade = _open_trade(tx, position)
                if trade is None:
                    reason = "the DTMS server says that it is registered, the ledger does not show it"
                    return Delivery(done=False, ticket=position.ticket, reason=reason)
                if tx.exit_book(trade.ticket) is None:
                    tx.put_exit_book(
                        ExitState(
                            trade_id=trade.trade_id,
                            ticket=trade.ticket,
                            profile_name=name,
                            profile=exits.profile(name),
                        )
                    )
                tx.done_outbox(item)
        except StaleWriteError:
            return Delivery(done=False, ticket=position.ticket, reason="somebody else wrote first")
        return Delivery(done=True, trade=trade, ticket=trade.ticket)

    def _not_registered(self, position: Position, answer: RegisterAnswer) -> Delivery:
        closing = False
        if position.stop is None:
            rejected = answer.word is RegisterWord.REFUSED
            with self.ledger.write() as tx:
                closing = close_bare(tx, position, self.clock.market_now(), rejected=rejected)
        reason = f"{answer.reason}; it stands without its stop and is being closed" if closing else answer.reason
        if closing or answer.word is RegisterWord.REFUSED:
            stop = "without a stop" if position.stop is None else f"with stop {plain(position.stop)}"
            detail = f"the position is open {stop} and not managed by DTMS: {reason}"
            self.notifier.alert(AlertKind.UNPROTECTED, str(position.ticket), detail)
        silent, refused = answer.word is RegisterWord.UNREACHABLE, answer.word is RegisterWord.REFUSED
        return Delivery(done=False, silent=silent, refused=refused, ticket=position.ticket, reason=reason)

    def _close(self, item: OutboxItem, intent: Intent, reason: str) -> Delivery:
        with self.ledger.write() as tx:
            tx.done_outbox(item)
            now = self.clock.market_now()
            body = json.dumps({"intent_id": intent.intent_id, "reason": reason})
            tx.add_audit(at=now, actor="outbox", what="not_registered", trade_id=intent.trade_id, body=body)
        return Delivery(done=True, reason=reason)

    def _again(self, item: OutboxItem, found: Delivery) -> None:
        longest = LONGEST_WAIT if found.refused else _SILENCE_WAIT
        wait = min(longest, FIRST_WAIT * 2 ** min(item.attempts, 10))
        next_at = Millis(self.clock.wall_now() + wait)
        try:
            with self.ledger.write() as tx:
                tx.retry_outbox(item, next_at=next_at, error=found.reason[:500])
        except StaleWriteError:
            return  # another process counted this attempt


def _delivered(tx: LedgerRead, intent: Intent | None) -> Delivery:
    """Say what an item that does not wait any more has led to."""
    receipt = None if intent is None else intent.receipt
    trade = None if receipt is None or receipt.ticket is None else tx.trade(Ticket(receipt.ticket))
    return Delivery(done=True, trade=trade, ticket=None if trade is None else trade.ticket)


def _open_trade(tx: LedgerRead, position: Position) -> Trade | None:
    trade = tx.trade(position.ticket)
    return trade if trade is not None and trade.is_open and trade.identifier == position.identifier else None


def _profile_of(item: OutboxItem) -> str:
    try:
        return str(json.loads(item.body)["profile"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"outbox item {item.item_id} ({item.key}) holds no registration: {error}; correct or remove it by hand"
        raise InvalidDataError(msg) from error


def _registration(intent: Intent, position: Position, profile: str) -> Registration:
    """Return what the DTMS server is told: the fill's facts, and the stop that was ordered as the first one."""
    action = intent.action
    ordered = action.stop if isinstance(action, OpenTrade) else position.stop
    return Registration(
        ticket=position.ticket,
        symbol=position.symbol,
        side=position.side,
        entry=position.entry,
        volume=position.volume,
        stop=ordered if position.stop is None else position.stop,
        initial_stop=ordered,
        target=position.target,
        profile=profile,
    )
