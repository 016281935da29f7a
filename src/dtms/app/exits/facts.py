"""What the exit rules are shown of one trade: prices, indicators, hours, costs. Nothing is decided here."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtms.app.market.market_data import SymbolMarket
from dtms.domain.exits import ExitSnapshot
from dtms.domain.market import Timeframe
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import HOUR, Millis
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock
from dtms.ports.vix import VixHistory

_WARNINGS = (TradeState.WARNING_L1, TradeState.WARNING_L2)


@dataclass(slots=True, kw_only=True)
class ExitFacts:
    """Gathers one trade's facts."""

    reads: BrokerReads
    clock: Clock
    vix: VixHistory
    _swaps: dict[int, float] = field(default_factory=dict)
    _swaps_at: Millis | None = None

    def snapshot(self, trade: Trade, desk: SymbolMarket, now: Millis, *, known: bool) -> ExitSnapshot | None:
        """Return what the rules see now, None where there is no quote yet.

        Args:
            trade: As the ledger has it.
            desk: Its symbol's, with the newest quote and bars taken in.
            now: Market time.
            known: Whether the defence has answered; where it has not, nobody says that it warns or that it does not.

        Raises:
            BrokerError: The positions' swaps are due to be read and cannot be.
        """
        quote = desk.feed.last
        if quote is None:
            return None
        vix = self.vix.last(now)
        return ExitSnapshot(
            now=now,
            quote=quote,
            quote_stale=desk.feed.is_stale(now),
            instrument=desk.instrument,
            indicators=None if desk.view is None else desk.view.indicators,
            session=desk.hours.session(now),
            hours=desk.hours,
            commission_per_lot=trade.commission_per_lot,
            swap=self._swap(trade),
            vix=None if vix is None else vix.value,
            vix_age_ms=None if vix is None else now - vix.known_at,
            dtms_warns=trade.state in _WARNINGS if known else None,
            bar_at=Timeframe.M5.start_of(now) if desk.view is None else desk.view.at,
        )

    def _swap(self, trade: Trade) -> float:
        """Return the swap on the position as of the last read of all positions, at most one hour old."""
        now = self.clock.market_now()
        if self._swaps_at is None or now - self._swaps_at >= HOUR:
            self._swaps = {p.identifier: p.swap for p in self.reads.positions().positions}
            self._swaps_at = now
        return self._swaps.get(trade.identifier, 0.0)
