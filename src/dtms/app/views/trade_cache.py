"""The open trades as the ledger has them, read again only when somebody has written."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtms.app.journal.mode_facts import MODE_FACTS, Modes, modes_of
from dtms.app.market.closures import FACT as CLOSURES_FACT
from dtms.app.market.closures import decode_closures
from dtms.domain.closure import Closure
from dtms.domain.intent import Intent
from dtms.domain.modes import ActiveCause, Mode
from dtms.domain.trade import Trade
from dtms.domain.units import TradeId
from dtms.domain.verdict import KillLevel
from dtms.ports.ledger import Ledger

KILL_FACT = "kill_switch"
"""The ledger's fact that holds the kill switch's level."""


@dataclass(frozen=True, slots=True)
class LedgerView:
    """One consistent view: open trades, intents that something must still decide, the kill switch, the modes, and the
    markets that the broker has shown as closed.

    The kill switch is not in the mode: it has rules of its own. `shown_mode` of `dtms.core.modes` puts the two together.
    """

    revision: int
    trades: tuple[Trade, ...] = ()
    unfinished: tuple[Intent, ...] = ()
    kill: KillLevel | None = None
    modes: Modes = field(default_factory=Modes)
    closures: tuple[Closure, ...] = ()

    @property
    def mode(self) -> Mode:
        """What the ledger's causes leave the system to do by itself."""
        return self.modes.mode

    @property
    def causes(self) -> tuple[ActiveCause, ...]:
        """What takes the system out of NORMAL, the worst first."""
        return self.modes.causes

    def of(self, trade_id: TradeId) -> tuple[Intent, ...]:
        """Return the unfinished intents of one trade, oldest first."""
        return tuple(intent for intent in self.unfinished if intent.trade_id == trade_id)


class TradeCache:
    """Remembers the last page; a page is as old as the ledger's revision says, never older."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._page = LedgerView(revision=-1)

    def page(self) -> LedgerView:
        """Return the present page."""
        revision = self._ledger.revision()
        if revision != self._page.revision:
            with self._ledger.read() as tx:
                facts = tx.facts(KILL_FACT, CLOSURES_FACT, *MODE_FACTS)
                kill = facts.get(KILL_FACT)
                self._page = LedgerView(
                    revision,
                    tx.open_trades(),
                    tx.unfinished(),
                    None if kill is None else KillLevel(kill),
                    modes_of(facts),
                    decode_closures(facts.get(CLOSURES_FACT)),
                )
        return self._page
