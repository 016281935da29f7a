"""What the rails are told: losses of day and hour, losing streak, news, spread, margin, the quote's age."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field

from dtms.app.journal.pnl import realised
from dtms.app.market.market_data import SymbolMarket
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.policy.rails import RailsPolicy
from dtms.domain.position import Account, DealReason
from dtms.domain.trade import Trade
from dtms.domain.units import DAY, HOUR, MINUTE, Millis
from dtms.domain.verdict import RailFacts
from dtms.ports.ledger import Ledger, LedgerRead
from dtms.ports.news import NewsCalendar

_BASELINE_FACT = "rails_equity"
_SAMPLE_EVERY = 5 * MINUTE
_STREAK_DAYS = 7
_ACCOUNT_HOURS = MarketHours(AssetClass.FX)
"""The account's trading day follows the rollover of FX, whatever is traded on it."""


@dataclass(slots=True, kw_only=True)
class RiskInputs:
    """Gathers the rails' facts for one account.

    The equity at the day's start and the samples of the last hour are kept in the ledger, so that a restart in a losing
    day does not begin a new one.
    """

    ledger: Ledger
    policy: RailsPolicy
    news: NewsCalendar
    _day: Millis | None = None
    _day_equity: float | None = None
    _samples: deque[tuple[Millis, float]] = field(default_factory=deque)
    _loaded: bool = False
    _streak: int | None = None

    def due(self, now: Millis) -> bool:
        """Say whether a new sample of the equity is wanted: once in five minutes, and at the start of a day."""
        if not self._loaded:
            self._load()
        fresh = bool(self._samples) and now - self._samples[-1][0] < _SAMPLE_EVERY
        return not fresh or _ACCOUNT_HOURS.session_day_start(now) != self._day

    def sample(self, account: Account, now: Millis) -> None:
        """Take the account's equity into the day's and the hour's record."""
        day = _ACCOUNT_HOURS.session_day_start(now)
        if day != self._day:
            self._day, self._day_equity = day, account.equity
        self._samples.append((now, account.equity))
        while self._samples and now - self._samples[0][0] > HOUR:
            self._samples.popleft()
        self._save()

    def changed(self) -> None:
        """Forget the losing streak: a trade was closed since."""
        self._streak = None

    def facts(
        self, desk: SymbolMarket, account: Account, now: Millis, *, extra_margin: float | None = 0.0
    ) -> RailFacts:
        """Return the facts for an action on one symbol.

        Args:
            desk: The symbol.
            account: The account as just read.
            now: The market's instant.
            extra_margin: Margin that the action would take, account currency; None where it is not known.
        """
        if not self._loaded:
            self._load()
        today = _ACCOUNT_HOURS.session_day_start(now) == self._day
        hour_ago = next((equity for at, equity in self._samples if now - at <= HOUR + _SAMPLE_EVERY), None)
        instrument = desk.instrument
        currencies = tuple(c for c in (instrument.currency_base, instrument.currency_profit) if c)
        before, after = (round(m * MINUTE) for m in (self.policy.news_before_minutes, self.policy.news_after_minutes))
        return RailFacts(
            day_loss=self._loss(self._day_equity, account) if today else None,
            hour_loss=self._loss(hour_ago, account) if today else None,
            losing_streak=self._losing_streak(now),
            news=self.news.window(currencies, now, before, after),
            news_known=self.news.known(now),
            spread=None if desk.feed.last is None else desk.feed.last.spread,
            spread_median=desk.feed.median_spread(),
            margin_level=_margin_level(account, extra_margin),
            quote_stale=desk.feed.is_stale(now),
        )

    def _loss(self, before: float | None, account: Account) -> float | None:
        if before is None or self._day_equity is None or self._day_equity <= 0:
            return None
        return (before - account.equity) / self._day_equity

    def _losing_streak(self, now: Millis) -> int:
        if self._streak is None:
            with self.ledger.read() as tx:
                closed = tx.closed_since(Millis(now - _STREAK_DAYS * DAY))
                self._streak = _streak(tx, closed, self.policy.losing_r)
        return self._streak

    def _load(self) -> None:
        self._loaded = True
        with self.ledger.read() as tx:
            saved = tx.fact(_BASELINE_FACT)
        if saved is None:
            return
        record = json.loads(saved)
        self._day, self._day_equity = Millis(record["day"]), float(record["equity"])
        self._samples.extend((Millis(at), float(equity)) for at, equity in record["samples"])

    def _save(self) -> None:
        record = {"day": self._day, "equity": self._day_equity, "samples": list(self._samples)}
        with self.ledger.write() as tx:
            tx.set_fact(_BASELINE_FACT, json.dumps(record))


def _streak(tx: LedgerRead, closed: tuple[Trade, ...], limit: float) -> int:
    """Count the newest trades running that a stop ended at or below `limit` R."""
    count = 0
    for trade in reversed(closed):
        outs = [deal for deal in tx.deals(trade.identifier) if deal.reason in (DealReason.STOP, DealReason.STOP_OUT)]
        risk = trade.r * trade.initial_volume
        moved = sum(trade.side * (deal.price - trade.entry) * deal.volume for deal in outs)
        if not outs or realised(tx, trade) >= 0 or moved / risk > limit:
            return count
        count += 1
    return count


def _margin_level(account: Account, extra: float | None) -> float | None:
    if extra is None:
        return None
    margin = account.margin + extra
    return float("inf") if margin <= 0 else 100.0 * account.equity / margin
