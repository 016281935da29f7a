"""What must still hold at the broker for an intent to be sent: by kind, against a fresh read. No I/O.

Compare-and-set: the decision wrote down what it saw, the gateway looks again just before it sends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dtms.app.evidence.proof import LOTS_NOISE
from dtms.app.journal.scan import each_intent
from dtms.app.positions.recognise import other_facts
from dtms.app.reconcile.outcome import orphan_on
from dtms.app.reconcile.strays import Stray
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, Reduce, SetStop
from dtms.domain.figures import plain
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent, IntentState
from dtms.domain.position import Position, PositionsRead
from dtms.domain.receipt import Rejection
from dtms.domain.trade import Trade
from dtms.ports.ledger import LedgerRead

_MAY_BE_OPEN = frozenset(
    {
        IntentState.SENDING,
        IntentState.ACKED,
        IntentState.APPLIED,
        IntentState.PARTIAL,
        IntentState.UNKNOWN,
        IntentState.QUARANTINED,
    }
)
"""Ends, and states before an end, after which a position may have been opened."""


def hedged_before(tx: LedgerRead, intent: Intent) -> bool:
    """Say whether another decision's hedge of the trade was opened or may have been; its ledger row is no second one.

    A position in our name on its symbol that the ledger does not know may be just that: its record was lost.
    """
    trade = tx.trade_by_id(intent.trade_id)
    if trade is not None and (trade.hedge is not None or orphan_on(tx, trade.symbol) is not None):
        return True
    return any(
        isinstance(other.action, OpenHedge) and other.intent_id != intent.intent_id and other.state in _MAY_BE_OPEN
        for other in each_intent(tx, intent.trade_id)
    )


def taken_on_netting(tx: LedgerRead, opening: Intent) -> str:
    """Return what of ours an opening would be netted with, "" where nothing is: a trade, or an opening that may land.

    A trade whose position the broker does not show counts too: it is not over before that is proved or a person says so,
    and what was opened could not be registered beside it.

    Args:
        tx: The ledger.
        opening: An intent that opens a position, on an account that nets.
    """
    action = opening.action
    if not isinstance(action, OpenTrade):
        return ""
    symbol = action.symbol
    trade = next((trade for trade in tx.open_trades() if trade.symbol == symbol), None)
    if trade is not None:
        return (
            f"the account nets and trade {trade.ticket} of {symbol} is managed; close, settle or release that one first"
        )
    before = (
        other
        for other in tx.unfinished()
        if isinstance(other.action, OpenTrade) and other.action.symbol == symbol and other.intent_id < opening.intent_id
    )
    other = next(before, None)
    return (
        "" if other is None else f"the account nets and order {other.intent_id}, which opens {symbol}, is {other.state}"
    )


def addressed(action: Action, position: Position | None) -> Action:
    """Return an action with the present ticket of its position: the journal knows it by its identifier, which stays."""
    if position is None or isinstance(action, OpenTrade):
        return action
    if isinstance(action, CloseHedge):
        return replace(action, hedge=position.ticket)
    return replace(action, ticket=position.ticket)


def not_the_trade(trade: Trade, position: Position, instrument: Instrument) -> tuple[Rejection, str] | None:
    """Return why a fresh read is not of the position that the trade is, or of its child: nothing is sent to another one."""
    facts = other_facts(trade, position, instrument)
    if not facts:
        return None
    price, lots = instrument.shown, instrument.shown_lots
    shown = f"{position.side.name} {lots(position.volume)} {position.symbol} from {price(position.entry)}"
    told = f"{trade.side.name} {lots(trade.volume)} {trade.symbol} from {price(trade.entry_at_broker)}"
    return (
        Rejection.PRECONDITION,
        f"{', '.join(facts)} of position {position.identifier} changed: {shown}, trade {told}",
    )


def not_the_stray(known: Iterable[Stray], position: Position) -> tuple[Rejection, str] | None:
    """Return why a fresh read is not of what stood in our name without a trade: others may have turned it round since."""
    stray = next((each for each in known if each.identifier == position.identifier), None)
    if stray is None:
        return Rejection.PRECONDITION, f"position {position.identifier} is not in our name any more"
    same = (position.side.name, position.symbol) == (stray.side, stray.symbol)
    if same and position.volume - stray.volume <= LOTS_NOISE:
        return None
    shown = f"{position.side.name} {plain(position.volume)} {position.symbol}"
    told = f"{stray.side} {plain(stray.volume)} {stray.symbol}"
    return Rejection.PRECONDITION, f"position {position.identifier} is {shown} by now, {told} was ours"


def _moved(
    position: Position, stop: float | None, target: float | None, instrument: Instrument
) -> tuple[Rejection, str] | None:
    """Return why a position's levels are not those that were seen; None where they are."""
    if instrument.same_price(position.stop, stop) and instrument.same_price(position.target, target):
        return None
    level = instrument.shown_level
    return Rejection.PRECONDITION, (
        f"stop {level(position.stop)} and target {level(position.target)} are not {level(stop)} and {level(target)} any more"
    )


def mismatch(
    intent: Intent, position: Position, read: PositionsRead, instrument: Instrument
) -> tuple[Rejection, str] | None:
    """Return why the fresh read contradicts what the decision saw; None where it may be sent."""
    seen, action = intent.precondition, intent.action
    level, lots = instrument.shown_level, instrument.shown_lots
    match action:
        case SetStop():
            if moved := _moved(position, seen.stop, seen.target, instrument):
                return moved
            loosens = position.stop is not None and instrument.is_tighter(position.side, position.stop, action.stop)
            if loosens and not action.widens:
                return Rejection.LOOSENS, f"stop {level(action.stop)} would loosen {level(position.stop)}"
        case ReAdd() if moved := _moved(position, action.stop, action.target, instrument):
            return moved  # where the account nets, the levels of an addition become the whole position's
        case Reduce() | OpenHedge() | ReAdd():
            if seen.volume is None or not instrument.same_lots(position.volume, seen.volume):
                seen_lots = "unknown" if seen.volume is None else lots(seen.volume)
                return Rejection.PRECONDITION, f"volume {lots(position.volume)} is not {seen_lots} any more"
            if isinstance(action, Reduce) and action.remaining >= position.volume:
                return (
                    Rejection.PRECONDITION,
                    f"remaining {lots(action.remaining)} is not less than {lots(position.volume)}",
                )
        case Close(by=by) if by is not None:
            if all(other.ticket != by for other in read.positions):
                return Rejection.PRECONDITION, f"position {by} to close against is not open any more"
        case Close() | CloseHedge() | OpenTrade():
            pass
    return None
