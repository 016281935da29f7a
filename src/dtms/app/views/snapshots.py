"""What a decision about one trade is shown, gathered in one place for the defence and for the exits. Nothing is decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dtms.app.market.market_data import SymbolMarket
from dtms.app.market.risk_inputs import RiskInputs
from dtms.app.positions.facts import Ends
from dtms.domain.modes import Mode
from dtms.domain.position import PositionsRead
from dtms.domain.score import MarketView
from dtms.domain.trade import Trade
from dtms.domain.units import Millis
from dtms.domain.verdict import KillLevel, Snapshot
from dtms.ports.broker import BrokerReads


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What holds for every trade of a pass: the operator's switch and the mode."""

    kill: KillLevel | None
    mode: Mode


@dataclass(slots=True, kw_only=True)
class Snapshots:
    """Gathers snapshots from one process's reads.

    `rails` returns what gathers the facts for the rails: the DTMS server's own, which keeps the account's record, or
    elsewhere one that reads that record anew.
    """

    reads: BrokerReads
    rails: Callable[[], RiskInputs]

    def of(
        self,
        trade: Trade,
        read: PositionsRead,
        desk: SymbolMarket,
        now: Millis,
        *,
        view: MarketView | None,
        ends: Ends,
        standing: Standing,
    ) -> Snapshot:
        """Return all that a decision about a trade may see now.

        Args:
            trade: As the ledger has it.
            read: A clean read of every open position.
            desk: Its symbol's, with the newest quote and bars taken in.
            now: Market time.
            view: The M5 bar that is decided, None between bars.
            ends: What this read proves about the trade's end.
            standing: What holds for every trade.

        Raises:
            BrokerError: The account cannot be read; nothing may be decided on an old one.
        """
        account = self.reads.account()
        shown = view if view is not None else desk.state.score_now(now)
        position = read.find(trade.identifier)
        siblings = [p for p in read.positions if p.symbol == trade.symbol]
        oldest = min(siblings, key=lambda p: (p.opened_at, p.ticket), default=position)
        lots = sum(p.volume for p in siblings)
        extra = None if lots <= 0 else account.margin * trade.volume / lots
        return Snapshot(
            now=now,
            instrument=desk.instrument,
            account=account,
            hours=desk.hours,
            quote=desk.feed.last,
            quote_stale=desk.feed.is_stale(now),
            view=view,
            score=None if shown is None else shown.score(trade.side).total,
            indicators=None if shown is None else shown.indicators,
            gone=ends.gone,
            hedge_gone=ends.hedge_gone,
            rails=self.rails().facts(desk, account, now, extra_margin=extra),
            kill=standing.kill,
            mode=standing.mode,
            commission_per_lot=trade.commission_per_lot,
            swap_per_lot=0.0 if position is None else position.swap / position.volume,
            oldest_on_symbol=position is None or oldest is position,
        )
