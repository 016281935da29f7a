"""Positions that a read does not show: missed once, missed twice a wait apart, and proved to have ended by their deals.

One read can be wrong, and an empty list proves nothing: only deals that sum to what was opened are proof. For how long a
position has been missing stands in its trade, so that no restart puts off the call for a person; what proves an end is two
reads of one process.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dtms.app.evidence.proof import flat
from dtms.domain.position import Deal, PositionsRead
from dtms.domain.trade import Missing, Trade
from dtms.domain.units import SECOND, Millis
from dtms.errors import BrokerError
from dtms.ports.broker import BrokerReads


@dataclass(slots=True)
class _Missing:
    since: Millis
    due: Millis
    token: int


@dataclass(slots=True, kw_only=True)
class Absences:
    """What one process has missed in its reads; lost in a restart, then gathered anew."""

    reads: BrokerReads
    _missing: dict[int, _Missing] = field(default_factory=dict)

    def is_here(self, identifier: int) -> None:
        """Forget that a position was missed: it is in the read."""
        self._missing.pop(identifier, None)

    def missed_twice(self, identifier: int, read: PositionsRead, wait_s: float) -> bool:
        """Say whether a position that is not in this read was not in another one either, `wait_s` seconds before."""
        first = self._missing.setdefault(identifier, _Missing(read.as_of, read.as_of, read.token))
        first.due = Millis(round(first.since + wait_s * SECOND))  # a hedge that is found meanwhile shortens the wait
        return read.token != first.token and read.as_of >= first.due

    def lasted_s(self, trade: Trade, identifier: int, read: PositionsRead) -> float:
        """Return for how long a position that was missed has been missing, seconds, by this process or those before it."""
        seen = self._missing[identifier].since
        return (read.as_of - min(seen, trade.missing_since(identifier) or seen)) / SECOND

    def proof(self, identifier: int) -> tuple[Deal, ...] | None:
        """Return the deals of a position where they prove its end, None where they do not or cannot be read now."""
        try:
            deals = self.reads.deals(identifier)
        except BrokerError:
            return None
        return deals if flat(deals) else None

    def next_check(self, now: Millis) -> Millis | None:
        """Return when the next position that was missed may be proved gone, None where none was missed lately."""
        return min((missing.due for missing in self._missing.values() if missing.due > now), default=None)


def with_missing(trade: Trade, read: PositionsRead) -> Trade:
    """Return the trade with which of its positions a read does not show, each since the first read that did not."""
    own = (trade.identifier, *(leg.identifier for leg in trade.legs))
    lost = [identifier for identifier in own if read.find(identifier) is None]
    if not lost and not trade.missing:
        return trade
    missing = tuple(Missing(identifier=i, since=trade.missing_since(i) or read.as_of) for i in lost)
    return trade if missing == trade.missing else replace(trade, missing=missing)
