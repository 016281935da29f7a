"""Walks through the journal's intents, a page at a time: all of them, or those of one trade."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dtms.domain.action import OpenHedge, OpenTrade, ReAdd
from dtms.domain.intent import Intent
from dtms.domain.units import Millis, TradeId
from dtms.ports.ledger import LedgerRead

OPENINGS: Final = (OpenHedge, ReAdd, OpenTrade)
"""Actions after which there is a position that was not there before."""

_PAGE: Final = 1_000


def each_intent(
    tx: LedgerRead, trade_id: TradeId | None = None, *, since: Millis = Millis(0), after: str = ""
) -> Iterator[Intent]:
    """Yield intents, oldest first: of one trade where it is named, created at or after `since`, behind the id `after`."""
    while page := tx.intents(trade_id=trade_id, since=since, after=after, limit=_PAGE):
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].intent_id


def openings_since(tx: LedgerRead, since: Millis) -> Iterator[Intent]:
    """Yield the intents that open a position, created at or after an instant."""
    return (intent for intent in each_intent(tx, since=since) if isinstance(intent.action, OPENINGS))
