"""What the broker shows of an intent: its position, its deals, its instrument. Reads only; nothing is decided here."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtms.app.evidence import proof
from dtms.app.evidence.proof import Evidence, Seen
from dtms.app.journal.scan import OPENINGS
from dtms.core.settle import StepEnd
from dtms.domain.action import Close, OpenTrade, SetStop
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent
from dtms.domain.position import Deal, PositionsRead
from dtms.domain.receipt import Receipt
from dtms.domain.trade import Trade
from dtms.domain.units import MINUTE, Millis
from dtms.errors import BrokerError, MarketDataError, StaleWriteError
from dtms.ports.broker import BrokerReads
from dtms.ports.ledger import Ledger


@dataclass(slots=True, kw_only=True)
class BrokerLookup:
    """Asks the broker on behalf of one gateway; it remembers each instrument as it was last."""

    ledger: Ledger
    reads: BrokerReads
    _instruments: dict[str, Instrument] = field(default_factory=dict)

    def seen(self, intent: Intent, read: PositionsRead | None = None) -> Evidence:
        """Return what shows of an intent in a read, a fresh one when None.

        Raises:
            BrokerError: It cannot be told now.
            MarketDataError: Its instrument cannot be used.
        """
        look = self.reads.positions() if read is None else read
        with self.ledger.read() as tx:
            trade = tx.trade_by_id(intent.trade_id)
        instrument = self.last_instrument(symbol_of(intent, trade))
        if not isinstance(intent.action, OPENINGS):
            deals = () if intent.position is None else self.reads.deals(intent.position)
            return proof.find(intent, look, deals, instrument)
        found = proof.find(intent, look, (), instrument)
        if found.seen is Seen.APPLIED:
            return found
        # What was opened may be closed again, or stand there under another comment: its deals tell.
        deals = self.reads.deals_between(Millis(intent.created_at - MINUTE), Millis(look.as_of + MINUTE))
        return proof.find(intent, look, deals, instrument)

    def proved_gone(self, intent: Intent) -> bool:
        """Say whether deals prove the end of a position that was not in the read: one read can be wrong."""
        try:
            return intent.position is not None and proof.flat(self.reads.deals(intent.position))
        except BrokerError:
            return False

    def deals_after(
        self, intent: Intent, end: StepEnd, receipt: Receipt | None, trade: Trade | None
    ) -> tuple[Deal, ...]:
        """Return the deals of the positions that a volume change touched; none where they cannot be read now."""
        if end not in (StepEnd.APPLIED, StepEnd.PARTIAL) or isinstance(intent.action, SetStop) or trade is None:
            return ()
        touched = {trade.identifier, *trade.children} | ({intent.position} if intent.position is not None else set())
        if receipt is not None and receipt.position is not None:
            touched.add(receipt.position)
        try:
            return tuple(deal for position in sorted(touched) for deal in self.reads.deals(position))
        except BrokerError:
            return ()

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument as it is now."""
        self._instruments[symbol] = self.reads.instrument(symbol)
        return self._instruments[symbol]

    def last_instrument(self, symbol: str) -> Instrument:
        """Return the instrument, as it was last where it cannot be read now: enough to conclude, never to send."""
        try:
            return self.instrument(symbol)
        except (BrokerError, MarketDataError):
            if symbol not in self._instruments:
                raise
            return self._instruments[symbol]


def symbol_of(intent: Intent, trade: Trade | None) -> str:
    """Return the symbol that an intent is about.

    Raises:
        StaleWriteError: The ledger holds nothing that tells it.
    """
    if trade is not None:
        return trade.symbol
    if isinstance(intent.action, (Close, OpenTrade)) and intent.action.symbol:
        return intent.action.symbol
    msg = f"intent {intent.intent_id} belongs to trade {intent.trade_id}, which the ledger does not hold"
    raise StaleWriteError(msg)
