"""What the broker's history tells beside the open positions: one step done twice, what was opened and never written, and
deals that the broker has corrected since.

Exactly-once is judged here: all attempts of one step share a tag's stem, and no two positions may have one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dtms.app.journal.scan import each_intent, openings_since
from dtms.app.journal.tags import is_tag, stem_of
from dtms.app.positions.hold import hold
from dtms.app.reconcile.broker_view import OVERLAP, View
from dtms.app.reconcile.position_origin import Register
from dtms.domain.position import Deal, DealEntry
from dtms.domain.trade import Hold, Trade
from dtms.domain.units import Millis, TradeId
from dtms.ports.ledger import Ledger, LedgerRead
from dtms.ports.notifier import AlertKind, Notifier

_DOUBLED_FACT: Final = "doubled_told"
_MOST_TOLD: Final = 200
_FIGURES: Final = ("price", "profit", "commission", "swap", "fee")
"""What a broker books anew; who dealt, when and how much stays."""


@dataclass(slots=True, kw_only=True)
class History:
    """Judges the deals of whole views; what it has told is told once."""

    ledger: Ledger
    notifier: Notifier
    _told: set[int] = field(default_factory=set)
    _compared: frozenset[Deal] = frozenset()
    """The deals of the last whole view, of which the ledger has what is true."""

    def unrecorded(self, tx: LedgerRead, register: Register, view: View) -> tuple[str, ...]:
        """Tell of positions that were opened and closed in our name and that no order of the ledger opened: an old backup."""
        here = {position.identifier for position in view.read.positions}
        if view.full:
            self._told &= {deal.deal_id for deal in view.deals}
        opened = [
            deal
            for deal in view.deals
            if deal.entry is DealEntry.IN
            and deal.position not in here | register.let_go
            and register.ours(deal.magic, deal.comment)
            and deal.deal_id not in self._told
        ]
        if not opened:
            return ()
        since = Millis(min(deal.at for deal in opened) - OVERLAP)
        recorded: set[object] = set()
        for intent in openings_since(tx, since):
            recorded |= {intent.tag, None if intent.receipt is None else intent.receipt.position}
        strays = []
        for deal in opened:
            self._told.add(deal.deal_id)
            known = tx.trade_by_id(TradeId(str(deal.position))) is not None
            if not known and deal.comment not in recorded and deal.position not in recorded:
                strays.append(f"position {deal.position} was opened in our name and the ledger does not know it")
        for stray in strays:
            self.notifier.alert(AlertKind.ORPHAN, "history", f"{stray}; was the ledger restored from an older copy?")
        return tuple(strays)

    def take_corrections(self, view: View) -> None:
        """Take over what the broker has corrected in the deals of the ledger's trades, of closed ones too.

        A swap or a commission is often booked anew a day later: the money of a closed trade is as true as its deals.
        """
        if not view.full:
            return
        fresh = frozenset(view.deals) - self._compared
        with self.ledger.read() as tx:
            known = {deal.deal_id: deal for position in {d.position for d in fresh} for deal in tx.deals(position)}
        wrong = sorted(
            (deal for deal in fresh if deal.deal_id in known and _figures(deal) != _figures(known[deal.deal_id])),
            key=lambda deal: (deal.at, deal.deal_id),
        )
        if wrong:
            with self.ledger.write() as tx:
                tx.add_deals(wrong)
                for deal in wrong:
                    was = _figures(known[deal.deal_id])
                    body = json.dumps({"deal": deal.deal_id, "was": was, "is": _figures(deal)})
                    tx.add_audit(at=view.read.as_of, actor="gateway", what="deal_corrected", trade_id=None, body=body)
        self._compared = frozenset(view.deals)

    def hold_doubled(self, deals: Iterable[Deal]) -> None:
        """Hold each trade for which one step was done twice, once: exactly-once is broken, and a person must see it."""
        twice = _doubled((deal.comment, deal.position) for deal in deals if deal.entry is DealEntry.IN)
        if not twice:
            return
        with self.ledger.read() as tx:
            told = _doubled_told(tx)
        for stem, positions in twice.items():
            if stem in told:
                continue
            detail = (
                f"one step has opened the positions {', '.join(map(str, sorted(positions)))}; close what is too much"
            )
            with self.ledger.write() as tx:
                owner = _owner(tx, stem, positions)
                hold(tx, owner, Hold.INVARIANT)
                tx.set_fact(_DOUBLED_FACT, json.dumps([*_doubled_told(tx), stem][-_MOST_TOLD:]))
            self.notifier.alert(AlertKind.QUARANTINED, stem if owner is None else str(owner.ticket), detail)


def _figures(deal: Deal) -> dict[str, float]:
    return {name: getattr(deal, name) for name in _FIGURES}


def _doubled(deals: Iterable[tuple[str, int]]) -> dict[str, set[int]]:
    """Return the stems of tags under which more than one position was opened, with these positions."""
    found: dict[str, set[int]] = {}
    for comment, position in deals:
        if is_tag(comment):
            found.setdefault(stem_of(comment), set()).add(position)
    return {stem: positions for stem, positions in found.items() if len(positions) > 1}


def _doubled_told(tx: LedgerRead) -> list[str]:
    text = tx.fact(_DOUBLED_FACT)
    return [] if text is None else list(json.loads(text))


def _owner(tx: LedgerRead, stem: str, positions: set[int]) -> Trade | None:
    for trade in tx.open_trades():
        if positions & {trade.identifier, *trade.children}:
            return trade
        if any(intent.tag.startswith(stem) for intent in each_intent(tx, trade.trade_id)):
            return trade
    return None
