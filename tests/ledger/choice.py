"""Which ledger the rigs of other folders stand on: in memory, unless a folder says otherwise for its tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.domain.units import Millis


def _memory(_account: str) -> str:
    return "sqlite://"


@dataclass(slots=True)
class Choice:
    """Opens ledgers at the URL that `url` gives for an account, and remembers them to be closed."""

    url: Callable[[str], str] = _memory
    opened: list[SqlLedger] = field(default_factory=list)

    last: str = ""

    def url_of_last(self) -> str:
        """Where the last ledger was opened."""
        return self.last

    def open(self, account: str, clock: Callable[[], Millis], *, epoch: str | None = None) -> SqlLedger:
        self.last = self.url(account)
        ledger = open_ledger(self.last, account=account, clock=clock, epoch=epoch)
        if self.url is not _memory:
            self.opened.append(ledger)
        return ledger

    def reset(self) -> None:
        """Close what was opened elsewhere, and go back to memory."""
        while self.opened:
            self.opened.pop().close()
        self.url = _memory


CHOSEN = Choice()
