"""Positions without a stop at the broker: since when, and the alarm where that lasts. Nothing is decided or sent here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dtms.domain.policy import Policy
from dtms.domain.position import Position
from dtms.domain.trade import Trade
from dtms.domain.units import SECOND, Millis
from dtms.ports.notifier import AlertKind, Notifier


@dataclass(slots=True, kw_only=True)
class NakedWatch:
    """Alarms for positions without a stop; what it saw is lost in a restart, the trade remembers too."""

    notifier: Notifier
    _bare: dict[int, Millis] = field(default_factory=dict)

    def alarm_blind(self, trades: Iterable[Trade], now: Millis, after_s: float) -> None:
        """Alarm for each position that had no stop when it was last seen, where the broker cannot be asked now."""
        for trade in trades:
            since = self._bare.get(trade.identifier, trade.naked_since)
            if since is not None and now - since >= after_s * SECOND:
                detail = (
                    "the position had no stop at the broker when it was last seen, and the broker does not answer now"
                )
                self.notifier.alert(AlertKind.UNPROTECTED, str(trade.ticket), detail)

    def look(self, trade: Trade, main: Position, now: Millis, policy: Policy) -> None:
        """Alarm on every pass that finds a position without a stop for too long, whatever else is under way.

        The trade is not written while an intent of it is undecided, so since when is remembered here as well.
        """
        if main.stop is not None:
            self._bare.pop(trade.identifier, None)
            return
        seen = self._bare.setdefault(trade.identifier, now)
        naked = seen if trade.naked_since is None else min(seen, trade.naked_since)
        if now - naked >= policy.operation.naked_alarm_s * SECOND:
            self.notifier.alert(AlertKind.UNPROTECTED, str(trade.ticket), "the position has no stop at the broker")


def with_naked(trade: Trade, main: Position, now: Millis) -> Trade:
    """Measure the time without a stop at the broker."""
    if main.stop is None:
        return trade if trade.naked_since is not None else replace(trade, naked_since=now)
    if trade.naked_since is None:
        return trade
    return replace(trade, naked_since=None, naked_ms=trade.naked_ms + now - trade.naked_since)
