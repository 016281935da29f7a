"""The outcome of a reconciliation, as the ledger's fact `reconciled` tells it to every process. A record; nothing is read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from dtms.app.journal.mode_facts import RECONCILED_FACT
from dtms.app.reconcile.position_origin import Orphan
from dtms.domain.units import Millis
from dtms.ports.ledger import LedgerRead, LedgerWrite


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One reconciliation; it is the fact `reconciled`.

    `clean`: the view was whole, everything in our name has its record, and each trade is there or proved to have ended.
    `confirmed` is the instant up to which the history was read and agreed: that of the last full one that was clean, also of
    a process before this one; None where none was. `why` says why it was not clean.
    """

    at: Millis
    clean: bool
    full: bool
    confirmed: Millis | None = None
    why: str = ""
    orphans: tuple[Orphan, ...] = ()
    missing: tuple[int, ...] = ()
    changed: int = 0
    foreign: int = 0

    def same(self, other: Outcome | None) -> bool:
        """Say whether it tells nothing new beside its instant."""
        if other is None:
            return False
        return (self.clean, self.why, self.orphans, self.missing) == (
            other.clean,
            other.why,
            other.orphans,
            other.missing,
        )


def last_outcome(tx: LedgerRead) -> Outcome | None:
    """Return the last reconciliation that was written, None where there was none."""
    text = tx.fact(RECONCILED_FACT)
    if text is None:
        return None
    told = json.loads(text)
    told["orphans"] = tuple(Orphan(**orphan) for orphan in told["orphans"])
    told["missing"] = tuple(told["missing"])
    return Outcome(**told)


def orphan_on(tx: LedgerRead, symbol: str) -> Orphan | None:
    """Return an orphan on a symbol, where there is one: it may be the hedge that a lost record would have told of."""
    outcome = last_outcome(tx)
    return None if outcome is None else next((each for each in outcome.orphans if each.symbol == symbol), None)


def write_outcome(tx: LedgerWrite, outcome: Outcome) -> None:
    """Write the last reconciliation."""
    tx.set_fact(RECONCILED_FACT, json.dumps(asdict(outcome)))
