"""One whole look at the broker: positions and deals that belong together, or none. Nothing is concluded from them here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dtms.domain.position import Deal, PositionsRead
from dtms.domain.units import DAY, Millis
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock

OVERLAP: Final = DAY
"""Deals are read so far back behind the last clean view, and so far ahead: a broker's clock may be off by hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the broker showed under one token: positions, and for a full one its deals."""

    read: PositionsRead
    deals: tuple[Deal, ...]
    full: bool


class TornViewError(Exception):
    """The reads do not belong together; nothing is concluded from them."""


@dataclass(slots=True, kw_only=True)
class Viewer:
    """Looks at one account, whose key every view must show; it remembers how old the last one was."""

    clock: Clock
    account: str
    _as_of: Millis = Millis(0)
    _token: int = -1

    def take(self, reads: BrokerReads, confirmed: Millis | None) -> View:
        """Read the broker, with the history since an instant that was `confirmed`; positions alone where that is None.

        Raises:
            BrokerError: It does not answer.
            TornViewError: The reads are not of one account, or time went back between them.
        """
        before = reads.account().key
        read = reads.positions()
        deals: tuple[Deal, ...] = ()
        if confirmed is not None:
            now = self.clock.market_now()
            since = min(confirmed, now) - OVERLAP
            deals = reads.deals_between(Millis(since), Millis(now + OVERLAP))
        after = reads.account().key
        if not before == after == self.account:
            msg = f"the terminal shows account {before}, then {after}, instead of {self.account}; log it in there again"
            raise TornViewError(msg)
        as_of, token = self._as_of, self._token
        self._as_of, self._token = read.as_of, read.token
        if read.as_of < as_of or read.token == token:
            msg = f"a read is as of {read.as_of} (token {read.token}) after one as of {as_of}; it is not believed"
            raise TornViewError(msg)
        return View(read=read, deals=deals, full=confirmed is not None)
